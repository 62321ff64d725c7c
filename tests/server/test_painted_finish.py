"""The best quality from end to end, with the painter that there is: accepted, looked at, done twice."""

from __future__ import annotations

import numpy as np
import pytest

from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.jobs import Draft, Progress, StylizeRequest
from adain_style.client.progress import STAGES, finish_seconds, fraction
from support.helpers import picture_pixels, pixels_array, request

pytestmark = pytest.mark.timeout(300)  # optimising takes its time when other programs want the processor, too

SIDE = 64
STYLES = [("space-sun", 1.0)]
CONTENT = picture_pixels("chelsea.jpg", side=SIDE)


def _wanted(quality: str, *, preview: int = 0) -> StylizeRequest:
    return request(CONTENT, STYLES, quality=quality, preview=preview)


def _painted(client: Client, quality: str, *, preview: int = 0) -> bytes:
    return bytes(client.stylize(_wanted(quality, preview=preview)).pixels.data)


def test_best_is_finished_and_the_same_twice(client: Client) -> None:
    """Each quality makes another picture; the finish has the same result each time, with somebody who looks or not."""
    assert len({_painted(client, quality) for quality in protocol.QUALITY}) == len(protocol.QUALITY)
    assert _painted(client, "best") == bytes(client.stylize(_wanted("best"), on_draft=lambda _: None).pixels.data)


def test_finish_is_shown_step_by_step(client: Client) -> None:
    """Its steps are counted to the end, the bar goes on, and a draft has the picture's proportions."""
    seen: list[Progress] = []
    drafts: list[Draft] = []
    result = client.stylize(_wanted("best"), on_progress=seen.append, on_draft=drafts.append)
    steps = [progress for progress in seen if progress.stage == "finish"]
    assert [progress.step for progress in steps] == sorted({progress.step for progress in steps})
    assert steps[-1].steps - steps[-1].step <= 1
    assert {progress.stage for progress in seen} <= STAGES["best"].keys()
    assert [fraction(progress) for progress in seen] == sorted(fraction(progress) for progress in seen)
    assert drafts and all(1 <= draft.step <= draft.steps == steps[0].steps for draft in drafts)
    for draft in drafts:
        assert (draft.pixels.height, draft.pixels.width) == (CONTENT.height, CONTENT.width)
    shown, painted = pixels_array(drafts[-1].pixels), pixels_array(result.pixels)
    assert np.abs(shown.astype(int) - painted).mean() < np.abs(pixels_array(CONTENT).astype(int) - painted).mean()


def test_accepting_at_once_is_fine(client: Client) -> None:
    """Bit for bit: no step of the finish is made."""
    accepted = client.stylize(_wanted("best"), accepted=lambda: True)
    assert bytes(accepted.pixels.data) == _painted(client, "fine")


def test_accepting_in_the_midst_keeps_what_there_is(client: Client) -> None:
    """It is neither what was there before the finish nor what would have been there after it."""
    seen: list[Progress] = []
    kept = client.stylize(
        _wanted("best"),
        on_progress=seen.append,
        accepted=lambda: any(progress.stage == "finish" and progress.step >= 2 for progress in seen),
    )
    finish = [progress for progress in seen if progress.stage == "finish"]
    assert finish[-1].step < finish[-1].steps - 1
    assert bytes(kept.pixels.data) not in {_painted(client, "fine"), _painted(client, "best")}


@pytest.mark.parametrize("preview", [32, 500])
def test_preview_of_best_is_that_of_fine(client: Client, preview: int) -> None:
    """Bit for bit."""
    assert _painted(client, "best", preview=preview) == _painted(client, "fine", preview=preview)


def test_server_knows_how_long_its_finish_takes(client: Client) -> None:
    """More than nothing, and less than a day for a picture of 512 pixels a side."""
    seconds = finish_seconds(client.hello(), 512, 512, 1.0)
    assert seconds is not None and 0 < seconds < 86_400
