"""Building a request from the user's choices and the pixels that a host read for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adain_style.client import protocol
from adain_style.client.choices import ChoiceError, RegionChoice
from adain_style.client.jobs import Pixels, Region, StyleSource, StylizeRequest
from adain_style.client.texts import _
from adain_style.host.settings import StylizeSettings

PREVIEW_CONTENT_SIDE = 1536
"""Longer side, in pixels, of layers read for previews; half as large again, because they are reduced once more."""
PAINTED_SIDE = 1280
"""The longest side, in pixels, at which a preview is painted: more would take too long."""
DRAFT_SIDE = 256
PREVIEW_SIDE = 512
"""Longer sides of a preview, in pixels: while a slider moves, and once it rests."""


@dataclass(frozen=True)
class Content:
    """A layer's pixels as a host read them, and the masks that the settings use.

    Attributes:
        pixels: The layer's, at full size or, for previews, reduced.
        selection: Where the layer is to be painted, of the pixels' size; None for everywhere.
        masks: The masks of regions that have one of their own, by name; of the pixels' size.
        height, width: The layer's own, in pixels.
    """

    pixels: Pixels
    selection: Pixels | None
    masks: Mapping[str, Pixels]
    height: int
    width: int


def make_request(
    content: Content,
    settings: StylizeSettings,
    styles: Mapping[str, StyleSource],
    *,
    preview: int = 0,
    compose: str = "cutout",
    transfer: str = "srgb",
    sequence: bytes = b"",
    smoothing: float = 0.0,
) -> StylizeRequest:
    """Make the request to paint a layer with these settings.

    Args:
        content: The layer as a host read it.
        settings: The user's choices.
        styles: The pixels, file or name to send for each style's source.
        preview: The result's longer side, in pixels; 0 for the layer's size. A preview is painted at the size at which
            the layer will be painted, but at PAINTED_SIDE at most, and a draft at its own size at most. It is never
            finished.
        compose, transfer, sequence, smoothing: As in StylizeRequest; previews are always blended.
    Raises:
        ChoiceError: A region has no style, or only styles of weight 0.
    """
    regions = [_region(region, content, styles) for region in settings.regions]
    strokes = _stroke_size(content, settings, preview)
    draws_detail = not _is_draft(preview) or strokes > max(content.pixels.height, content.pixels.width) / DRAFT_SIDE
    return StylizeRequest(
        content.pixels,
        regions,
        stroke_size=strokes,
        detail=settings.detail if draws_detail else 0.0,
        preview=preview,
        compose="blend" if preview else compose,
        transfer=transfer,
        model=settings.model,
        quality=_quality(settings, preview),
        sequence=sequence,
        smoothing=smoothing,
    )


def shows_finer_strokes(content: Content, settings: StylizeSettings) -> bool:
    """Whether the layer will be painted with finer strokes than a preview at rest can have."""
    return max(_working_size(content, settings)) > PAINTED_SIDE


def _stroke_size(content: Content, settings: StylizeSettings, preview: int) -> float:
    """The stroke size that makes the server paint at exactly the layer's working size, or at a preview's largest.

    One row more or less gives another picture, because the network's strokes lie on a grid.
    """
    here = content.pixels.height, content.pixels.width
    strokes = settings.strokes_for(content.height, content.width)
    if here != (content.height, content.width):
        there = _working_size(content, settings)
        least = max(side / (painted + 0.5) for side, painted in zip(here, there, strict=True))
        most = min(side / (painted - 0.5) for side, painted in zip(here, there, strict=True))
        strokes = max(1.0, (least + most) / 2)
    if not preview:
        return strokes
    return max(strokes, max(here) / (DRAFT_SIDE if _is_draft(preview) else PAINTED_SIDE))


def _working_size(content: Content, settings: StylizeSettings) -> tuple[int, int]:
    """Height and width, in pixels, at which the server will paint the layer."""
    strokes = settings.strokes_for(content.height, content.width)
    return protocol.working_size(content.height, content.width, strokes)


def painted_size(content: Content, settings: StylizeSettings) -> tuple[int, int]:
    """The size of the part of a layer that will be painted; the server computes nothing else.

    Args:
        content: The layer reduced as for previews, so that its masks have 8 bits.
        settings: The user's choices.
    Returns:
        Height and width of the rectangle around all regions, in the layer's pixels.
    """
    masks = [content.masks.get(region.mask) if region.mask else content.selection for region in settings.regions]
    lines: list[bytes] = []
    for mask in masks:
        if mask is None:
            return content.height, content.width
        data, width = bytes(mask.data), mask.width
        lines += [data[start : start + width] for start in range(0, len(data), width)]
    return _box_size(lines, content)


def _box_size(lines: list[bytes], content: Content) -> tuple[int, int]:
    """lines: The lines of all masks, one mask after the other."""
    height, width = content.pixels.height, content.pixels.width
    rows = [number % height for number, line in enumerate(lines) if any(line)]
    if not rows:
        return 0, 0
    left = min(width - len(line.lstrip(b"\0")) for line in lines)
    right = max(len(line.rstrip(b"\0")) for line in lines)
    down, across = max(rows) + 1 - min(rows), right - left
    return round(down * content.height / height), round(across * content.width / width)


def _quality(settings: StylizeSettings, preview: int) -> str:
    """The quality to ask for: a draft has to arrive before the slider moves on; a preview at rest shows the result."""
    return "fast" if _is_draft(preview) else protocol.painted_quality(settings.quality, preview)


def _is_draft(preview: int) -> bool:
    return 0 < preview <= DRAFT_SIDE


def _region(region: RegionChoice, content: Content, styles: Mapping[str, StyleSource]) -> Region:
    if not any(style.weight > 0 for style in region.styles):
        raise ChoiceError(_("Choose at least one style."))
    return Region(
        [(styles[style.source], style.weight) for style in region.styles],
        alpha=region.alpha,
        mask=content.masks[region.mask] if region.mask else content.selection,
        preserve_color=region.preserve_color,
    )
