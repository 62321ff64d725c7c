"""What a window's choices become on the wire."""

from __future__ import annotations

import pytest

from adain_style.client import protocol
from adain_style.client.choices import RegionChoice, StyleChoice
from adain_style.client.jobs import Pixels
from adain_style.client.protocol import result_size
from adain_style.host.previews import preview_note
from adain_style.host.requests import (
    DRAFT_SIDE,
    PAINTED_SIDE,
    PREVIEW_CONTENT_SIDE,
    PREVIEW_SIDE,
    Content,
    make_request,
    painted_size,
)
from adain_style.host.settings import StylizeSettings
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


def _reduced(height: int, width: int, *, side: int = PREVIEW_CONTENT_SIDE) -> Content:
    """A layer as a host reads it for previews."""
    here = result_size(height, width, side)
    return Content(Pixels(bytes(here[0] * here[1]), *here, "Y"), None, {}, height, width)


def _painted(content: Content, stroke_size: float, preview: int) -> tuple[int, int]:
    """At what height and width the server paints a preview."""
    settings = StylizeSettings(CHOSEN, stroke_size=stroke_size)
    strokes = make_request(content, settings, {"waves": "waves"}, preview=preview).stroke_size
    return round(content.pixels.height / strokes), round(content.pixels.width / strokes)


@pytest.mark.parametrize("stroke_size", [2.4, 2.9, 3.5, 5.0, 7.3, 16.0, 32.0])
@pytest.mark.parametrize(("height", "width"), [(2000, 3000), (3000, 1999), (2987, 2011), (1537, 1537), (600, 3000)])
def test_preview_at_rest_is_painted_at_the_size_of_the_picture(height: int, width: int, stroke_size: float) -> None:
    """To the pixel, though the windows reduce the layer first; a draft is its strokes' size where it can be."""
    size = round(height / stroke_size), round(width / stroke_size)
    content = _reduced(height, width)
    assert _painted(content, stroke_size, PREVIEW_SIDE) == size
    assert max(_painted(content, stroke_size, DRAFT_SIDE)) == min(DRAFT_SIDE, max(size))


def test_previews_of_every_layer_fit_when_strokes_do() -> None:
    """Strokes that fit are rounded to tenths: what is painted is never more than a preview may be."""
    for width in range(1, 8000, 37):
        content = _reduced(1, width)
        assert _painted(content, 0.0, PREVIEW_SIDE)[1] == round(width / StylizeSettings().strokes_for(1, width))


@pytest.mark.parametrize("stroke_size", [1.0, 2.0])
def test_preview_is_painted_at_a_bearable_size_where_strokes_are_finer(stroke_size: float) -> None:
    """Where the picture itself would take too long; the window says so."""
    assert max(_painted(_reduced(2000, 3000), stroke_size, PREVIEW_SIDE)) == PAINTED_SIDE
    assert max(_painted(_reduced(1000, 1500), 1.0, PREVIEW_SIDE)) == PAINTED_SIDE


@pytest.mark.parametrize(
    ("side", "width", "stroke_size", "note"),
    [
        (PREVIEW_SIDE, 3000, 0.0, ""),
        (PREVIEW_SIDE, 3000, 2.0, "The strokes will be finer than shown here."),
        (PREVIEW_SIDE, 1280, 1.0, ""),
        (DRAFT_SIDE, 3000, 0.0, "The preview is being painted…"),
        (DRAFT_SIDE, 257, 0.0, "The preview is being painted…"),
        (DRAFT_SIDE, 256, 0.0, ""),
        (DRAFT_SIDE, 60, 0.0, ""),
    ],
)
def test_window_says_what_a_preview_does_not_show(side: int, width: int, stroke_size: float, note: str) -> None:
    """That it is a draft, or that the picture's strokes will be finer; nothing where it shows what will be painted."""
    content = _reduced(40, width)
    height, width = result_size(content.pixels.height, content.pixels.width, side)
    shown = Pixels(bytes(height * width), height, width, "Y")
    assert preview_note(shown, content, StylizeSettings(CHOSEN, stroke_size=stroke_size)) == note
    assert preview_note(shown, None, StylizeSettings(CHOSEN)) == ""


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
