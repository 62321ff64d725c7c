"""From what the user chose to a request: masks that the image has, styles that are pictures, layers or names."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from adain_client import protocol
from adain_client.choices import ChoiceError, RegionChoice, picture_and_crop, style_name
from adain_client.folders import user_styles_folder
from adain_client.jobs import Pixels, Region, StyleFile, StyleSource, StylizeRequest
from adain_client.texts import _
from adain_gimp.layers import (
    MAX_STYLE_SIDE,
    PREVIEW_CONTENT_SIDE,
    Place,
    all_layers,
    check_open,
    layer_format,
    read_layer,
    read_mask,
    read_reduced,
    write_pixels,
)
from adain_gimp.typelibs import Gimp, Gio
from adain_host.settings import Choices

LAYER_STYLE = "layer:"
"""Before the number of a layer that is used as a style; a number is good as long as its image is open."""
_HARD = bytes([0] + [255] * 255)
"""What is selected at all becomes selected wholly."""


@dataclass(frozen=True)
class MaskSource:
    """Something in an image that can say where a region is.

    Attributes:
        name: What scripts and presets call it. label: For people.
        drawable: Its pixels. left, top: Where they begin in the image.
    """

    name: str
    label: str
    drawable: Gimp.Drawable
    left: int = 0
    top: int = 0


def mask_sources(image: Gimp.Image) -> list[MaskSource]:
    """Saved channels, then layer masks, then layers, of an image; of a name only the first."""
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
            place, name = Place.of(layer), layer.get_name()
            yield MaskSource(
                f"mask:{name}", _("Mask of {name}").format(name=name), layer.get_mask(), place.left, place.top
            )
    for layer in layers:
        if not layer.is_group():
            place, name = Place.of(layer), layer.get_name()
            yield MaskSource(f"layer:{name}", _("Layer: {name}").format(name=name), layer, place.left, place.top)


@dataclass(frozen=True)
class Content:
    """A layer as it was read, and all that a request needs to know of its image.

    Attributes:
        layer: In GIMP. place: Where it was. pixels: What it held.
        selection: Of the layer's place; None when nothing is selected, so that everything is.
        masks: By name, for regions that have one of their own.
        full_size: The layer's longer side, in pixels.
    """

    layer: Gimp.Layer
    place: Place
    pixels: Pixels
    selection: Pixels | None
    masks: dict[str, Pixels]
    full_size: int


def read_content(layer: Gimp.Layer, choices: Choices, *, preview: bool = False) -> Content:
    """Read a layer and the masks that the choices name.

    Args:
        layer: As one_layer() gave it.
        choices: Their regions' masks and output count.
        preview: In 8 bit and reduced.
    Raises:
        ChoiceError: The layer is gone, the selection does not touch it, or there is no such mask.
    """
    check_open(layer)
    place = Place.of(layer)
    image = layer.get_image()
    touches, *_box = layer.mask_intersect()
    if not touches:
        raise ChoiceError(_("The selection does not touch the layer '{name}'.").format(name=layer.get_name()))
    side = PREVIEW_CONTENT_SIDE if preview else None
    depth = "u8" if preview or layer_format(layer, alpha=False)[1] == "u8" else "f32"
    pixels = read_reduced(layer, PREVIEW_CONTENT_SIDE) if preview else read_layer(layer, alpha=not choices.in_place)
    selection, hard = None, _writes_over(choices) and not preview
    if not Gimp.Selection.is_empty(image):
        selection = read_mask(image.get_selection(), place, "u8" if hard else depth, side=side)
        if hard:
            # GIMP writes through the selection, and so would soften its edge twice.
            selection = replace(selection, data=bytes(selection.data).translate(_HARD))
    sources = {source.name: source for source in mask_sources(image)}
    masks = {}
    for name in {region.mask for region in choices.regions if region.mask}:
        source = sources.get(name) or sources.get(f"layer:{name}")
        if source is None:
            raise ChoiceError(_("There is no channel, layer mask or layer '{name}' in this image.").format(name=name))
        shifted = Place(place.left - source.left, place.top - source.top, place.width, place.height)
        mask = read_mask(source.drawable, shifted, depth, side=side)
        # Where GIMP writes through the selection the masks need not know it.
        masks[name] = mask if selection is None or hard else _both(mask, selection)
    return Content(layer, place, pixels, selection, masks, max(place.width, place.height))


def make_request(
    content: Content, choices: Choices, styles: Mapping[str, StyleSource], *, preview: int = 0
) -> StylizeRequest:
    """The request for choices on a layer.

    Args:
        content: As read_content() gave it.
        choices: What the user chose.
        styles: For each style's source, what goes over the wire.
        preview: The result's longer side, in pixels; 0 for the layer's size.
    Raises:
        ChoiceError: A region has no style, or only such of weight 0.
    """
    regions = [_region(region, content, styles) for region in choices.regions]
    compose = "cutout"
    if preview or _writes_over(choices):
        compose = "blend"
    elif choices.in_place:
        compose = "plain"  # GIMP writes it through the selection
    reduced = content.full_size / max(content.pixels.height, content.pixels.width)
    strokes = choices.strokes_for(content.place.height, content.place.width) / reduced
    return StylizeRequest(
        content.pixels,
        regions,
        stroke_size=max(1.0, strokes),
        detail=choices.detail,
        preview=preview,
        compose=compose,
    )


def _both(mask: Pixels, selection: Pixels) -> Pixels:
    """What a selection leaves of a mask: the smaller of both, as where GIMP intersects them."""
    kind = "B" if mask.depth == "u8" else "f"
    smaller = map(min, array(kind, bytes(mask.data)), array(kind, bytes(selection.data)))
    return replace(mask, data=array(kind, smaller).tobytes())


def _writes_over(choices: Choices) -> bool:
    """In place, with regions of which GIMP knows nothing: their edges are blended by the server."""
    return choices.in_place and any(region.mask for region in choices.regions)


def _region(region: RegionChoice, content: Content, styles: Mapping[str, StyleSource]) -> Region:
    if not any(style.weight > 0 for style in region.styles):
        raise ChoiceError(_("Choose at least one style."))
    return Region(
        [(styles[style.source], style.weight) for style in region.styles],
        alpha=region.alpha,
        mask=content.masks[region.mask] if region.mask else content.selection,
        preserve_color=region.preserve_color,
    )


def load_style(source: str, known: Collection[str] | None = None) -> StyleSource:
    """What goes over the wire for a style's source.

    Args:
        source: A picture's file, PICTURE[LEFT,TOP,WIDTH,HEIGHT], a saved style's file, LAYER_STYLE and a layer's
            number, or a name: one that the server knows, or of a picture in the user's own styles folder.
        known: The server's names; None to leave it to the server what it knows.
    Raises:
        ChoiceError: There is no such file or layer, or it cannot be read.
    """
    if source.startswith(LAYER_STYLE):
        return _layer_style(source)
    path, crop = picture_and_crop(source)
    if crop is None and not path.exists() and protocol.STYLE_NAME.fullmatch(source):
        own = None if known is None or source in known else own_pictures().get(source)
        if own is None:
            return source
        path = own  # a server on another machine does not see this one's folder
    if not path.is_file():
        raise ChoiceError(_("There is no style or picture '{name}'.").format(name=source))
    if path.suffix == ".safetensors":
        return StyleFile(path.read_bytes())
    return read_picture(path, crop)


def own_pictures() -> dict[str, Path]:
    """The files of the user's own styles folder, by the names that a server gives them."""
    folder = user_styles_folder()
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return {name: path for path in files if not path.name.startswith(".") and (name := style_name(path.stem))}


def read_picture(path: Path, crop: tuple[int, int, int, int] | None = None) -> Pixels:
    """A picture in any format that GIMP opens, reduced to what a style needs.

    Args:
        path: Its file.
        crop: left, top, width, height of the part that is wanted, in pixels.
    Raises:
        ChoiceError: GIMP cannot open it, or the part lies outside.
    """
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(str(path)))
    if image is None:  # GIMP raises nothing
        reason = Gimp.get_pdb().get_last_error()
        raise ChoiceError(_("{path} cannot be opened: {reason}").format(path=path, reason=reason))
    try:
        if crop is not None:
            left, top, width, height = crop
            if left + width > image.get_width() or top + height > image.get_height() or not width or not height:
                raise ChoiceError(_("The part of {path} lies outside of the picture.").format(path=path))
            image.crop(width, height, left, top)
        layer = image.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
        if layer is None:
            raise ChoiceError(_("{path} has no visible layer.").format(path=path))
        return read_reduced(layer, MAX_STYLE_SIDE)
    finally:
        image.delete()


def _layer_style(source: str) -> Pixels:
    number = source.removeprefix(LAYER_STYLE)
    layer = Gimp.Layer.get_by_id(int(number)) if number.isdigit() else None
    if layer is None:
        raise ChoiceError(_("The layer that was chosen as a style is not open any more; choose another style."))
    return read_reduced(layer, MAX_STYLE_SIDE)


def save_style(layer: Gimp.Layer, title: str) -> Path:
    """Save what is selected of a layer, or all of it, as a picture in the user's own styles folder.

    Returns:
        The file; a server on this machine knows it by name at once.
    Raises:
        ChoiceError: The name is no file's name or is taken, or the file cannot be written.
    """
    touches, left, top, width, height = layer.mask_intersect()
    if not touches:
        raise ChoiceError(_("The selection does not touch the layer '{name}'.").format(name=layer.get_name()))
    if not style_name(title) or set(title) & set('/\\:*?"<>|') or title.startswith("."):
        raise ChoiceError(_("A style's name has letters or digits, and no signs such as / or :."))
    folder = user_styles_folder()
    if style_name(title) in own_pictures():
        raise ChoiceError(_("You have a style '{name}' already; choose another name.").format(name=title))
    pixels = read_reduced(layer, MAX_STYLE_SIDE, part=(left, top, width, height))
    image = Gimp.Image.new(pixels.width, pixels.height, Gimp.ImageBaseType.RGB)
    try:
        picture = Gimp.Layer.new(
            image, title, pixels.width, pixels.height, Gimp.ImageType.RGBA_IMAGE, 100.0, Gimp.LayerMode.NORMAL
        )
        write_pixels(picture.get_buffer(), pixels)
        image.insert_layer(picture, None, 0)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as hidden:
            written = Path(hidden) / "style.png"
            if not Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(written)), None):
                reason = Gimp.get_pdb().get_last_error()
                raise ChoiceError(_("The style cannot be saved: {reason}.").format(reason=reason))
            return written.replace(folder / f"{title}.png")
    except OSError as error:
        raise ChoiceError(_("The style cannot be saved: {reason}.").format(reason=error.strerror or error)) from None
    finally:
        image.delete()
