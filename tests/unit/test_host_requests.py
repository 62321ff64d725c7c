"""What a window's choices become on the wire."""

from __future__ import annotations

import pytest

from adain_client import protocol
from adain_client.choices import RegionChoice, StyleChoice
from adain_client.jobs import Pixels
from adain_host.requests import DRAFT_SIDE, PREVIEW_SIDE, Content, make_request, painted_size
from adain_host.settings import StylizeSettings
from support.helpers import random_pixels

CONTENT = Content(random_pixels(6, 8), None, {}, 6, 8)
CHOSEN = (RegionChoice((StyleChoice("waves"),)),)


def _quality(chosen: str, preview: int) -> str:
    settings = StylizeSettings(CHOSEN, quality=chosen)
    return make_request(CONTENT, settings, {"waves": "waves"}, preview=preview).quality


@pytest.mark.parametrize("quality", protocol.QUALITY)
def test_picture_is_painted_in_the_quality_that_was_chosen(quality: str) -> None:
    """And in the one in the middle when nobody has chosen."""
    assert _quality(quality, 0) == quality
    assert make_request(CONTENT, StylizeSettings(CHOSEN), {"waves": "waves"}).quality == "fine"


@pytest.mark.parametrize(("quality", "shown"), [("fast", "fast"), ("fine", "fine"), ("best", "fine")])
def test_preview_at_rest_shows_what_will_be_painted_short_of_the_finish(quality: str, shown: str) -> None:
    """While a slider moves it is fast, whatever is chosen."""
    assert _quality(quality, PREVIEW_SIDE) == shown
    assert _quality(quality, DRAFT_SIDE) == "fast"


def _mask(*rows: str) -> Pixels:
    """Selected, if only a little, where there is no blank."""
    return Pixels(bytes(0 if sign == " " else 1 for row in rows for sign in row), len(rows), len(rows[0]), "Y")


SELECTION = _mask("      ", "   x  ", "  xx  ", "      ")
SKY = _mask(" x    ", "      ", "      ", "      ")
EMPTY = _mask("      ", "      ", "      ", "      ")


@pytest.mark.parametrize(
    ("selection", "regions", "size"),
    [
        (None, [""], (40, 60)),
        (SELECTION, [""], (20, 20)),
        (None, ["sky"], (10, 10)),
        (SELECTION, ["", "sky"], (30, 30)),
        (None, ["", "sky"], (40, 60)),
        (SELECTION, ["", "not read yet"], (40, 60)),
        (EMPTY, [""], (0, 0)),
    ],
)
def test_painted_part_is_the_rectangle_around_all_regions(
    selection: Pixels | None, regions: list[str], size: tuple[int, int]
) -> None:
    """In the layer's pixels, of which the masks see one in a hundred here; all of it where a mask is not known."""
    content = Content(random_pixels(4, 6), selection, {"sky": SKY}, 40, 60)
    assert painted_size(content, StylizeSettings(tuple(RegionChoice(mask=mask) for mask in regions))) == size
