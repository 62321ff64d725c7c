"""The parts of a request that come from GIMP: the layer's pixels, the selection, and the image's masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from adain_style.client.choices import ChoiceError
from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.gimp.layers import (
    LayerBounds,
    all_layers,
    check_open,
    layer_format,
    read_layer,
    read_mask,
    read_reduced,
)
from adain_style.gimp.smaller import smaller_samples
from adain_style.gimp.typelibs import Gimp
from adain_style.host.requests import PREVIEW_CONTENT_SIDE, Content
from adain_style.host.settings import StylizeSettings

_HARD = bytes([0] + [255] * 255)
"""A table for bytes.translate() by which every selected pixel becomes wholly selected."""


@dataclass(frozen=True)
class MaskSource:
    """Something in an image that can be a region's mask.

    Attributes:
        name: Its name in scripts and presets. label: For people.
        drawable: Its pixels. left, top: Their position in the image.
    """

    name: str
    label: str
    drawable: Gimp.Drawable
    left: int = 0
    top: int = 0


def mask_sources(image: Gimp.Image) -> list[MaskSource]:
    """An image's saved channels, then its layer masks, then its layers; only the first of each name."""
    found: dict[str, MaskSource] = {}
    for source in _all_mask_sources(image):
        found.setdefault(source.name, source)
    return list(found.values())


def _all_mask_sources(image: Gimp.Image) -> Iterator[MaskSource]:
    for channel in image.get_channels():
        name = channel.get_name()
        yield MaskSource(name, _("Channel: {name}").format(name=name), channel)
    layers = list(all_layers(image.get_layers()))
    for layer in layers:
        if layer.get_mask() is not None:
            bounds, name = LayerBounds.of(layer), layer.get_name()
            yield MaskSource(
                f"mask:{name}", _("Mask of {name}").format(name=name), layer.get_mask(), bounds.left, bounds.top
            )
    for layer in layers:
        if not layer.is_group():
            bounds, name = LayerBounds.of(layer), layer.get_name()
            yield MaskSource(f"layer:{name}", _("Layer: {name}").format(name=name), layer, bounds.left, bounds.top)


@dataclass(frozen=True)
class LayerContent(Content):
    """A layer as it was read, with its bounds then, so that the result is put into the same layer only.

    Attributes:
        layer: GIMP's layer. bounds: Its bounds when it was read.
    """

    layer: Gimp.Layer
    bounds: LayerBounds


def read_content(layer: Gimp.Layer, settings: StylizeSettings, *, preview: bool = False) -> LayerContent:
    """Read a layer and the masks that the settings name.

    Args:
        layer: From one_layer().
        settings: Only their regions' masks and their output matter.
        preview: Whether to read 8 bits and reduce the layer.
    Raises:
        ChoiceError: The layer is gone, the selection does not touch it, or there is no such mask.
    """
    check_open(layer)
    bounds = LayerBounds.of(layer)
    image = layer.get_image()
    touches, *_box = layer.mask_intersect()
    if not touches:
        raise ChoiceError(_("The selection does not touch the layer '{name}'.").format(name=layer.get_name()))
    side = PREVIEW_CONTENT_SIDE if preview else None
    depth = "u8" if preview or layer_format(layer, alpha=False)[1] == "u8" else "f32"
    pixels = read_reduced(layer, PREVIEW_CONTENT_SIDE) if preview else read_layer(layer, alpha=not settings.in_place)
    selection, hard = None, _writes_over(settings) and not preview
    if not Gimp.Selection.is_empty(image):
        selection = read_mask(image.get_selection(), bounds, "u8" if hard else depth, side=side)
        if hard:
            # GIMP writes through the selection, so a soft edge would be applied twice.
            selection = replace(selection, data=bytes(selection.data).translate(_HARD))
    sources = {source.name: source for source in mask_sources(image)}
    masks = {}
    for name in {region.mask for region in settings.regions if region.mask}:
        source = sources.get(name) or sources.get(f"layer:{name}")
        if source is None:
            raise ChoiceError(_("There is no channel, layer mask or layer '{name}' in this image.").format(name=name))
        shifted = LayerBounds(bounds.left - source.left, bounds.top - source.top, bounds.width, bounds.height)
        mask = read_mask(source.drawable, shifted, depth, side=side)
        # Where GIMP writes through the selection, the masks need not be limited to it.
        masks[name] = mask if selection is None or hard else _both(mask, selection)
    return LayerContent(pixels, selection, masks, bounds.height, bounds.width, layer, bounds)


def compose_for(settings: StylizeSettings) -> str:
    """The value of StylizeRequest's `compose` for these settings."""
    if _writes_over(settings):
        return "blend"
    return "plain" if settings.in_place else "cutout"  # in place, GIMP writes through the selection


def _both(mask: Pixels, selection: Pixels) -> Pixels:
    """Intersect a mask with a selection: the smaller of both, as in GIMP."""
    return replace(mask, data=smaller_samples(mask.data, selection.data, mask.depth))


def _writes_over(settings: StylizeSettings) -> bool:
    """Whether the result is in place with regions that GIMP does not know, whose edges the server blends."""
    return settings.in_place and any(region.mask for region in settings.regions)
