"""The quality in a real Krita's panel: chosen, announced, painted, and a finish that is ended with what there is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hosts.finishing_server import FinishingServer
from hosts.krita import Krita, samples
from support.helpers import RunningServer

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(180)]

SCREENSHOTS = Path(__file__).parent / "screenshots"
CONNECT = """
    shown = panel()
    shown.start_server()
    yield from until(lambda: shown._wants_server is False)
"""


@pytest.fixture
def finishing(krita: Krita, server: RunningServer) -> Iterator[FinishingServer]:
    """A server that goes on until its picture is accepted; Krita's panel is connected with it."""
    with FinishingServer() as finishing:
        krita.use(finishing)
        krita.run(CONNECT)
        yield finishing
    krita.use(server)
    krita.run(CONNECT)


def test_quality_is_chosen_by_keys_and_painted(krita: Krita) -> None:
    """The quickest, by a real server; it is remembered, and Repeat Last takes it, too."""
    before, chosen, painted, kept = krita.run(
        """
        document, layer = picture(300, 200)
        shown = yield from open_panel()
        quality = shown.controls._quality
        before = quality.currentText()
        quality.setFocus()
        yield from press("Up")
        yield from click_style(0)
        yield from previewed(300)
        yield from click(shown._stylize)
        yield from until(lambda: len(document.topLevelNodes()) == 2)
        document.setActiveNode(layer)
        action("adain_style_repeat")
        repeated = shown._queue.jobs[-1].settings.quality
        yield from until(lambda: len(document.topLevelNodes()) == 3)
        yield from settle(document)
        return before, quality.currentText(), repeated, shown.controller.store.load().stylize.quality
        """
    )
    assert (before, chosen, painted, kept) == ("Fine", "Quick", "fast", "fast")


def test_finish_is_announced_shown_as_it_forms_and_kept(krita: Krita, finishing: FinishingServer) -> None:
    """How long it takes is said before; each job's row has the button, which works only while its own is finished."""
    said, waiting, running, forming, keeping, left, layers = krita.run(
        """
        document, layer = picture(300, 200)
        yield from settle(document)
        shown = yield from open_panel()
        said = [shown.controls._forecast.isVisible()]
        yield from click_style(0)
        yield from previewed(300)
        quality = shown.controls._quality
        quality.setFocus()
        yield from press("Down")
        said.append(shown.controls._forecast.text())
        shown.controls._fits.click()
        shown.controls._strokes.field.setValue(2)
        said.append(shown.controls._forecast.text())
        yield from click(shown._stylize)
        yield from until(lambda: shown.preview._forming)
        yield from click(shown._stylize)
        first, second = shown._queue.jobs
        rows = shown._queue_view._rows

        def button(job):
            made = rows[id(job)]._accept
            return made.isVisible(), made.isEnabled(), made.text()

        waiting, running = button(second), button(first)
        colour = shown.preview._forming.pixelColor(0, 0)
        forming = (shown.preview._forming.width(), colour.red(), colour.green(), colour.blue())
        shown._column.ensureWidgetVisible(quality)
        yield SEEN_S
        screenshot(path)
        yield from click(rows[id(first)]._accept)
        keeping = button(first)[:2] if first in shown._queue.jobs else (True, False)
        yield from until(lambda: first not in shown._queue.jobs and second.can_be_accepted)
        yield from click(rows[id(second)]._accept)
        yield from until(lambda: not shown._queue.jobs)
        yield from settle(document)
        left = shown.preview._forming
        return said, waiting, running, forming, keeping, left, state(document)["layers"]
        """,
        path=str(krita.folder / "krita-finishing.png"),
    )
    SCREENSHOTS.mkdir(exist_ok=True)
    shutil.move(krita.folder / "krita-finishing.png", SCREENSHOTS / "krita-finishing.png")
    assert said == [
        False,
        "The finish takes about 20 seconds on this machine.",
        "The finish takes about 4 seconds on this machine.",
    ]
    assert waiting == (True, False, "Keep this") and running == (True, True, "Keep this")
    assert forming == (4, 77, 77, 77) and keeping == (True, False) and left is None
    assert finishing.heard.count("accept") == 2
    assert {quality for preview, quality in finishing.asked if not preview} == {"best"}
    begun = finishing.asked.index((0, "best"))
    assert [asked for asked in finishing.asked[:begun] if asked[0]][-2:] == [(256, "fast"), (512, "fine")]
    assert [set(samples(layer).flat) for layer in layers[1:]] == [{77}, {78}]  # the second result above the first


def test_every_key_frame_has_a_finish_of_its_own(krita: Krita, finishing: FinishingServer) -> None:
    """The time is that of all of them; to keep one is to go on with the next."""
    said, frames, keys = krita.run(
        """
        document, layer = picture(300, 200)
        document.setActiveNode(layer)
        yield from settle(document)
        layer.enableAnimation()
        yield from settle(document)
        document.setCurrentTime(4)
        yield from settle(document)
        action("add_duplicate_frame")
        yield from settle(document)
        shown = yield from open_panel()
        shown.controller.use(type(shown.controller.editor.settings)(quality="best"))
        yield from click_style(0)
        yield from until(lambda: shown._frames.isVisible())
        shown._frames.setChecked(False)
        said = [shown.controls._forecast.text()]
        shown._frames.setChecked(True)
        said.append(shown.controls._forecast.text())
        shown.stylize()
        (job,) = shown._queue.jobs
        frames = []
        for _frame in range(2):
            yield from until(lambda: job.can_be_accepted)
            frames.append(job.text.partition(":")[0])
            shown._queue_view._rows[id(job)]._accept.click()
        yield from until(lambda: not shown._queue.jobs)
        yield from settle(document)
        shown._frames.setChecked(False)
        new = document.topLevelNodes()[1]
        return said, frames, [at for at in range(8) if new.hasKeyframeAtTime(at)]
        """
    )
    assert said == [
        "The finish takes about 20 seconds on this machine.",
        "The finish takes about 35 seconds on this machine.",
    ]
    assert frames == ["Key frame 1 of 2", "Key frame 2 of 2"] and keys == [0, 4]
    assert finishing.heard.count("accept") == 2


def test_real_finish_is_kept_before_its_end(krita: Krita) -> None:
    """The layer is there, painted, after some of the steps; its drafts have its proportions."""
    krita.log.write_text("")
    said, draft, layers = krita.run(
        """
        document, layer = picture(704, 352)
        shown = yield from open_panel()
        shown.controller.use(type(shown.controller.editor.settings)(quality="best"))
        yield from click_style(0)
        yield from previewed(512)
        said = shown.controls._forecast.text()
        yield from click(shown._stylize)
        (job,) = shown._queue.jobs
        yield from until(lambda: shown.preview._forming)
        draft = shown.preview._forming.width(), shown.preview._forming.height()
        yield SEEN_S
        screenshot(path)
        yield from click(shown._queue_view._rows[id(job)]._accept)
        yield from until(lambda: not shown._queue.jobs)
        yield from settle(document)
        return said, draft, state(document)["layers"]
        """,
        path=str(krita.folder / "krita-real-finish.png"),
        timeout_s=120.0,
    )
    shutil.move(krita.folder / "krita-real-finish.png", SCREENSHOTS / "krita-real-finish.png")
    assert said.startswith("The finish takes about") and draft == (512, 256)
    steps = re.findall(r"painting finish (\d+)/(\d+)", krita.log.read_text())
    assert 0 < int(steps[-1][0]) < int(steps[-1][1]) - 1
    source, painted = map(samples, layers)
    seen = source[..., 3] > 0
    assert np.abs(painted.astype(int) - source)[seen][:, :3].mean() > 5
    assert (painted[..., 3] == source[..., 3]).all()


def test_finish_goes_on_while_the_user_looks_at_another_layer(krita: Krita, finishing: FinishingServer) -> None:
    """Its drafts are not laid over that one; a cancelled finish leaves nothing of it."""
    hidden, layers, left = krita.run(
        """
        document, layer = picture(300, 200)
        other = add_layer(document, "Other", 100, 100)
        yield from settle(document)
        document.setActiveNode(layer)
        shown = yield from open_panel()
        shown.controller.use(type(shown.controller.editor.settings)(quality="best"))
        yield from click_style(0)
        yield from previewed(300)
        shown.stylize()
        job = shown._queue.jobs[-1]
        document.setActiveNode(other)
        yield from until(lambda: shown._snapshot.target.node == other and job.can_be_accepted)
        hidden = shown.preview._forming
        shown._queue_view._rows[id(job)]._cancel.click()
        yield from until(lambda: not shown._queue.jobs)
        yield from settle(document)
        return hidden, len(document.topLevelNodes()), shown.preview._forming
        """
    )
    assert (hidden, layers, left) == (None, 2, None) and "accept" not in finishing.heard
