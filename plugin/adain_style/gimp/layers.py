"""Reading and writing the pixels of GIMP's layers without losing bits; and which layers cannot be painted.

GEGL converts between the image's format and the wire's sRGB-coded values, both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adain_style.client import protocol
from adain_style.client.choices import ChoiceError
from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.gimp.typelibs import Gegl, Gimp

_TYPES = {"u8": "u8", "u16": "u16", "f16": "half", "f32": "float"}
_MODELS = {"Y": "Y'", "YA": "Y'A", "RGB": "R'G'B'", "RGBA": "R'G'B'A"}
_EXACT_DEPTHS = {
    Gimp.Precision.U8_NON_LINEAR: "u8",
    Gimp.Precision.U8_PERCEPTUAL: "u8",
    Gimp.Precision.U16_NON_LINEAR: "u16",
    Gimp.Precision.U16_PERCEPTUAL: "u16",
    Gimp.Precision.HALF_NON_LINEAR: "f16",
    Gimp.Precision.HALF_PERCEPTUAL: "f16",
}
"""Precisions whose samples go over the wire as they are; others, including linear ones, are sent as floats."""

_WITH_ALPHA = {
    Gimp.ImageBaseType.RGB: Gimp.ImageType.RGBA_IMAGE,
    Gimp.ImageBaseType.GRAY: Gimp.ImageType.GRAYA_IMAGE,
    Gimp.ImageBaseType.INDEXED: Gimp.ImageType.INDEXEDA_IMAGE,
}


class LayerError(ChoiceError):
    """This layer cannot be painted, or not now; the message is one sentence."""


@dataclass(frozen=True)
class LayerBounds:
    """A layer's offsets and size in the image's pixels. A layer that was moved or resized has other bounds."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, layer: Gimp.Layer) -> LayerBounds:
        """Return the bounds of a layer as it is now."""
        _found, left, top = layer.get_offsets()
        return cls(left, top, layer.get_width(), layer.get_height())


def one_layer(drawables: list[Gimp.Drawable]) -> Gimp.Layer:
    """Return the layer to paint.

    Raises:
        LayerError: None or several are chosen, or it is a mask, channel, group or floating selection, or locked.
    """
    if len(drawables) != 1:
        raise LayerError(_("Choose one layer; {n} are chosen.").format(n=len(drawables)))
    layer = drawables[0]
    if layer.is_layer_mask():
        raise LayerError(_("A layer mask is chosen; choose the layer itself."))
    if not layer.is_layer():
        raise LayerError(_("A channel is chosen; choose a layer."))
    if layer.is_group():
        raise LayerError(
            _("'{name}' is a layer group; choose a layer in it, or merge the group.").format(name=layer.get_name())
        )
    if layer.is_floating_sel():
        raise LayerError(_("There is a floating selection; anchor it, or make it a new layer."))
    for item in (layer, *_groups_of(layer)):
        if item.get_lock_content():
            raise LayerError(
                _("The pixels of '{name}' are locked; unlock them in the Layers dialog.").format(name=item.get_name())
            )
    return layer


def _groups_of(layer: Gimp.Layer) -> Iterator[Gimp.Layer]:
    group = layer.get_parent()
    while group is not None:
        yield group
        group = group.get_parent()


def all_layers(layers: list[Gimp.Layer]) -> Iterator[Gimp.Layer]:
    """Layers and groups, each group before its contents."""
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from all_layers(layer.get_children())


def layer_format(layer: Gimp.Layer, *, alpha: bool) -> tuple[str, str]:
    """The wire's layout and depth for a layer's pixels.

    Args:
        layer: A layer of any mode and precision.
        alpha: Whether an alpha channel is wanted even where the layer has none.
    """
    model = "Y" if layer.is_gray() else "RGB"
    image = layer.get_image()
    depth = _EXACT_DEPTHS.get(image.get_precision(), "f32")
    if depth != "f32" and not _is_srgb(image):
        depth = "f32"  # colours of other primaries may lie outside of sRGB, where only floats reach
    return model + ("A" if alpha or layer.has_alpha() else ""), depth


def _is_srgb(image: Gimp.Image) -> bool:
    profile = image.get_color_profile()
    if profile is None:
        return True
    srgb = Gimp.ColorProfile.new_d65_gray_srgb_trc() if profile.is_gray() else Gimp.ColorProfile.new_rgb_srgb()
    return bool(profile.is_equal(srgb))


def read_layer(layer: Gimp.Layer, *, alpha: bool) -> Pixels:
    """Read a layer's pixels at full size, for the wire."""
    layout, depth = layer_format(layer, alpha=alpha)
    whole = Gegl.Rectangle.new(0, 0, layer.get_width(), layer.get_height())
    if alpha and not layer.has_alpha() and depth == "u8":
        return _with_alpha(_read(layer, whole, layout.removesuffix("A"), depth, 1.0))
    return _read(layer, whole, layout, depth, 1.0)


def read_reduced(layer: Gimp.Layer, side: int, *, part: tuple[int, int, int, int] | None = None) -> Pixels:
    """Read a layer's pixels in 8 bits, with alpha, the longer side reduced to at most that many pixels.

    Args:
        layer: A layer of any mode and precision.
        side: The longest side, in pixels.
        part: left, top, width, height in the layer; None for all of it.
    """
    left, top, width, height = part or (0, 0, layer.get_width(), layer.get_height())
    scale = min(1.0, side / max(width, height))
    return _read(layer, _scaled(left, top, width, height, scale), "RGBA", "u8", scale)


def read_mask(drawable: Gimp.Drawable, bounds: LayerBounds, depth: str, *, side: int | None = None) -> Pixels:
    """Read a selection, channel, mask or layer within a layer's bounds, as a mask for the wire; it is 0 elsewhere.

    Args:
        drawable: The mask. A mask of the image lies at the image's origin, a layer's mask at the layer's.
        bounds: The layer's bounds, in the mask's own pixels.
        depth: u8, or f32 for deeper layers.
        side: Reduce the longer side to at most that many pixels, as read_reduced() does.
    """
    scale = 1.0 if side is None else min(1.0, side / max(bounds.width, bounds.height))
    rectangle = _scaled(bounds.left, bounds.top, bounds.width, bounds.height, scale)
    babl_format = f"{_mask_model(drawable)} {_TYPES[depth]}"
    data = drawable.get_buffer().get(rectangle, scale, babl_format, Gegl.AbyssPolicy.NONE)
    if drawable.is_layer():
        data = memoryview(data).cast("B" if depth == "u8" else "f")[::2].tobytes()  # without alpha
    return Pixels(data, rectangle.height, rectangle.width, "Y", depth)


def write_new_layer(layer: Gimp.Layer, result: Pixels, name: str) -> Gimp.Layer:
    """Insert a result as a new layer above its own, in one undo step.

    Args:
        layer: The layer that was painted; it is not changed.
        result: The pixels, of the layer's size, with alpha.
        name: The new layer's name.
    Returns:
        The new layer, in the image and selected.
    """
    image = layer.get_image()
    kind = _WITH_ALPHA[image.get_base_type()]
    new = Gimp.Layer.new(image, name, result.width, result.height, kind, 100.0, Gimp.LayerMode.NORMAL)
    bounds = LayerBounds.of(layer)
    # Filled before it is in the image, so that it is never seen half painted.
    write_pixels(new.get_buffer(), result)
    image.undo_group_start()
    try:
        new.set_offsets(bounds.left, bounds.top)
        image.insert_layer(new, layer.get_parent(), image.get_item_position(layer))
        if layer.get_mask() is not None and layer.get_apply_mask():
            new.add_mask(new.create_mask(Gimp.AddMaskType.WHITE))
            _copy_mask(layer.get_mask(), new.get_mask())
        new.update(0, 0, result.width, result.height)
        image.set_selected_layers([new])
    except BaseException:
        if new.get_image() is not None and image.get_item_position(new) >= 0:
            image.remove_layer(new)  # all or nothing
        raise
    finally:
        image.undo_group_end()
    return new


def write_in_place(layer: Gimp.Layer, result: Pixels) -> None:
    """Put a result into its layer, through the selection and the alpha lock, in one undo step."""
    image = layer.get_image()
    image.undo_group_start()
    try:
        write_pixels(layer.get_shadow_buffer(), result)
        layer.merge_shadow(True)
        layer.update(0, 0, result.width, result.height)
    finally:
        image.undo_group_end()


def check_open(layer: Gimp.Layer) -> None:
    """Raise LayerError when a layer is gone."""
    if not layer.is_valid() or layer.get_image() is None:
        raise LayerError(_("The layer was closed or deleted meanwhile; nothing was painted."))


def check_unchanged(layer: Gimp.Layer, bounds: LayerBounds) -> None:
    """Raise LayerError when a layer is gone, moved or resized."""
    check_open(layer)
    if LayerBounds.of(layer) != bounds:
        raise LayerError(_("The layer was moved or resized meanwhile, so the result was dropped; try again."))


def _copy_mask(source: Gimp.LayerMask, target: Gimp.LayerMask) -> None:
    whole = Gegl.Rectangle.new(0, 0, source.get_width(), source.get_height())
    buffer = target.get_buffer()
    buffer.set(whole, "Y float", source.get_buffer().get(whole, 1.0, "Y float", Gegl.AbyssPolicy.NONE))
    buffer.flush()


def _mask_model(drawable: Gimp.Drawable) -> str:
    """The colour model to read a mask in: masks are no colours, so as stored; a layer as it looks over black."""
    if drawable.is_layer():
        return "Y'aA"
    # GIMP stores saved channels with sRGB's curve in such images, though it never applies it to them.
    has_curve = drawable.get_image().get_precision() == Gimp.Precision.U8_NON_LINEAR
    return "Y'" if has_curve and not (drawable.is_layer_mask() or drawable.is_selection()) else "Y"


def _scaled(left: int, top: int, width: int, height: int, scale: float) -> Gegl.Rectangle:
    return Gegl.Rectangle.new(
        round(left * scale), round(top * scale), max(1, round(width * scale)), max(1, round(height * scale))
    )


def _read(drawable: Gimp.Drawable, rectangle: Gegl.Rectangle, layout: str, depth: str, scale: float) -> Pixels:
    babl_format = f"{_MODELS[layout]} {_TYPES[depth]}"
    data = drawable.get_buffer().get(rectangle, scale, babl_format, Gegl.AbyssPolicy.NONE)
    return Pixels(data, rectangle.height, rectangle.width, layout, depth)


def _with_alpha(pixels: Pixels) -> Pixels:
    """The same 8-bit pixels with opaque alpha; GEGL would search 0.4 s for a conversion, in each new process."""
    channels = protocol.LAYOUTS[pixels.layout]
    data = bytearray(b"\xff") * (pixels.height * pixels.width * (channels + 1))
    for channel in range(channels):
        data[channel :: channels + 1] = bytes(pixels.data)[channel::channels]
    return Pixels(data, pixels.height, pixels.width, f"{pixels.layout}A", "u8")


def write_pixels(buffer: Gegl.Buffer, pixels: Pixels) -> None:
    """Fill a buffer of the pixels' size."""
    # GEGL does not report a wrong number of bytes; Pixels has checked it.
    assert pixels.layout in _MODELS and len(pixels.data) == pixels.spec.size
    whole = Gegl.Rectangle.new(0, 0, pixels.width, pixels.height)
    buffer.set(whole, f"{_MODELS[pixels.layout]} {_TYPES[pixels.depth]}", bytes(pixels.data))
    buffer.flush()
