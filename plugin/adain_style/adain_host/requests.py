"""From what the user chose, and the pixels that a host read for it, to a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adain_client import protocol
from adain_client.choices import ChoiceError, RegionChoice
from adain_client.jobs import Pixels, Region, StyleSource, StylizeRequest
from adain_client.texts import _
from adain_host.settings import StylizeSettings

PREVIEW_CONTENT_SIDE = 1024
"""Longer side, in pixels, of what previews are made from."""
DRAFT_SIDE = 256
PREVIEW_SIDE = 512
"""Longer sides of a preview, in pixels: while a slider moves, and once it rests."""


@dataclass(frozen=True)
class Content:
    """A layer's pixels as a host read them, and the masks that the settings want.

    Attributes:
        pixels: Of the layer, at full size or, for previews, reduced.
        selection: Where the layer is to be painted, of the pixels' size; None for everywhere.
        masks: By name, of the pixels' size, for regions that have one of their own.
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
    """The request for settings on a layer.

    Args:
        content: As a host read it.
        settings: What the user chose.
        styles: For each style's source, what goes over the wire.
        preview: The result's longer side, in pixels; 0 for the layer's size. Previews are never finished.
        compose, transfer, sequence, smoothing: As StylizeRequest has them; previews are always blended.
    Raises:
        ChoiceError: A region has no style, or only such of weight 0.
    """
    regions = [_region(region, content, styles) for region in settings.regions]
    reduced = max(content.height, content.width) / max(content.pixels.height, content.pixels.width)
    return StylizeRequest(
        content.pixels,
        regions,
        stroke_size=max(1.0, settings.strokes_for(content.height, content.width) / reduced),
        detail=settings.detail,
        preview=preview,
        compose="blend" if preview else compose,
        transfer=transfer,
        model=settings.model,
        quality=_quality(settings, preview),
        sequence=sequence,
        smoothing=smoothing,
    )


def painted_size(content: Content, settings: StylizeSettings) -> tuple[int, int]:
    """How large the part of a layer is that is going to be painted: the server computes nothing else.

    Args:
        content: Reduced, as previews have it: its masks are of 8 bit.
        settings: What the user chose.
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
    """lines: Of all the masks, one mask after the other."""
    height, width = content.pixels.height, content.pixels.width
    rows = [number % height for number, line in enumerate(lines) if any(line)]
    if not rows:
        return 0, 0
    left = min(width - len(line.lstrip(b"\0")) for line in lines)
    right = max(len(line.rstrip(b"\0")) for line in lines)
    down, across = max(rows) + 1 - min(rows), right - left
    return round(down * content.height / height), round(across * content.width / width)


def _quality(settings: StylizeSettings, preview: int) -> str:
    """A draft has to be there before the slider has moved on; a preview at rest shows what will be painted."""
    is_draft = 0 < preview <= DRAFT_SIDE
    return "fast" if is_draft else protocol.painted_quality(settings.quality, preview)


def _region(region: RegionChoice, content: Content, styles: Mapping[str, StyleSource]) -> Region:
    if not any(style.weight > 0 for style in region.styles):
        raise ChoiceError(_("Choose at least one style."))
    return Region(
        [(styles[style.source], style.weight) for style in region.styles],
        alpha=region.alpha,
        mask=content.masks[region.mask] if region.mask else content.selection,
        preserve_color=region.preserve_color,
    )
