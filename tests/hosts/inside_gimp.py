"""Runs in GIMP, as its batch script: does what tests send, one script after the other; see gimp.Gimp.run()."""

from __future__ import annotations

import os
import time  # noqa: F401  # scripts use it
import traceback
from array import array  # noqa: F401  # scripts use it
from collections.abc import Mapping
from multiprocessing.connection import Client
from typing import Any

from gi.repository import Babl, Gegl, Gimp, Gio  # noqa: F401  # of GIMP's Python

STYLIZE = "plug-in-adain-style"
STYLE = "hokusai-great-wave"

_LAYER_TYPES = {
    ("RGB", False): Gimp.ImageType.RGB_IMAGE,
    ("RGB", True): Gimp.ImageType.RGBA_IMAGE,
    ("GRAY", False): Gimp.ImageType.GRAY_IMAGE,
    ("GRAY", True): Gimp.ImageType.GRAYA_IMAGE,
}


def picture(
    width: int = 96,
    height: int = 72,
    *,
    base: str = "RGB",
    precision: str = "U8_NON_LINEAR",
    alpha: bool = False,
    at: tuple[int, int] = (0, 0),
    canvas: tuple[int, int] | None = None,
) -> tuple[Gimp.Image, Gimp.Layer]:
    """An image without undo steps, and its only layer, which is full of colours and, with alpha, of transparencies.

    Args:
        width, height: Of the layer.
        base: RGB, GRAY or INDEXED. precision: One of Gimp.Precision.
        alpha: The layer has an alpha channel.
        at: The layer's place in the image. canvas: The image's width and height; None for the layer's.
    """
    made_as = "RGB" if base == "INDEXED" else base
    image = Gimp.Image.new_with_precision(
        *(canvas or (width, height)), getattr(Gimp.ImageBaseType, made_as), getattr(Gimp.Precision, precision)
    )
    layer = add_layer(image, "Photograph", width, height, alpha=alpha, at=at)
    if base == "INDEXED":
        image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 64, False, False, "")
    image.clean_all()
    return image, layer


def add_layer(
    image: Gimp.Image,
    name: str,
    width: int = 96,
    height: int = 72,
    *,
    alpha: bool = False,
    at: tuple[int, int] = (0, 0),
    inside: Gimp.Layer | None = None,
) -> Gimp.Layer:
    """A layer as picture() has it, at the top of an image or of a group."""
    base = "GRAY" if image.get_base_type() == Gimp.ImageBaseType.GRAY else "RGB"
    kind = _LAYER_TYPES[base, alpha]
    layer = Gimp.Layer.new(image, name, width, height, kind, 100.0, Gimp.LayerMode.NORMAL)
    pixels = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (255 * x // width, 255 * y // height, 37 * x + 59 * y & 255, 0 if x < 8 else max(0, 255 - 3 * y))
    )
    write(layer, "R'G'B'A u8", pixels)
    layer.set_offsets(*at)
    image.insert_layer(layer, inside, 0)
    return layer


def add_channel(image: Gimp.Image, name: str, pixels: bytes) -> Gimp.Channel:
    """A saved channel of the image's size; 255 is wholly selected."""
    channel = Gimp.Channel.new(image, name, image.get_width(), image.get_height(), 50.0, Gegl.Color.new("black"))
    image.insert_channel(channel, None, 0)
    # GIMP counts what is stored, whatever the name of the format says; it is "Y' u8" in the commonest images.
    write(channel, "Y' u8" if Babl.get_name(channel.get_format()) == "Y' u8" else "Y u8", pixels)
    return channel


def _whole(drawable: Gimp.Drawable) -> Gegl.Rectangle:
    return Gegl.Rectangle.new(0, 0, drawable.get_width(), drawable.get_height())


def read(drawable: Gimp.Drawable, babl_format: str | None = None) -> bytes:
    """All pixels, in the drawable's own format or another one."""
    return bytes(drawable.get_buffer().get(_whole(drawable), 1.0, babl_format, Gegl.AbyssPolicy.NONE))


def write(drawable: Gimp.Drawable, babl_format: str, pixels: bytes) -> None:
    """Replace all pixels."""
    buffer = drawable.get_buffer()
    buffer.set(_whole(drawable), babl_format, pixels)
    buffer.flush()
    drawable.update(0, 0, drawable.get_width(), drawable.get_height())


def look(drawable: Gimp.Drawable) -> dict[str, Any]:
    """What a test can know of a layer, channel or mask."""
    mask = drawable.get_mask() if drawable.is_layer() else None
    return {
        "id": drawable.get_id(),
        "name": drawable.get_name(),
        "offsets": tuple(drawable.get_offsets()[1:]),
        "size": (drawable.get_width(), drawable.get_height()),
        "format": Babl.get_name(drawable.get_format()),
        "pixels": read(drawable),
        "mask": look(mask) if mask is not None else None,
        "children": [look(child) for child in drawable.get_children()] if drawable.is_group() else [],
    }


def state(image: Gimp.Image) -> dict[str, Any]:
    """What must not change when something is refused; it is clean as long as no undo step was added."""
    return {
        "layers": [look(layer) for layer in image.get_layers()],
        "channels": [look(channel) for channel in image.get_channels()],
        "selected": [layer.get_id() for layer in image.get_selected_layers()],
        "clean": not image.is_dirty(),
    }


def call(procedure: str, drawables: list[Gimp.Drawable], arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Run a procedure of the plug-in without a window; its status and its sentence."""
    found = Gimp.get_pdb().lookup_procedure(procedure)
    config = found.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", drawables[0].get_image())
    config.set_core_object_array("drawables", drawables)
    for name, value in arguments.items():
        config.set_property(name.replace("_", "-"), value)
    status = found.run(config).index(0)
    return status.value_nick, Gimp.get_pdb().get_last_error()


def paint(*drawables: Gimp.Drawable, **arguments: Any) -> tuple[str, str]:
    """Stylize in one pass, with one built-in style unless the arguments say something else; status and sentence."""
    return call(STYLIZE, list(drawables), {"styles": STYLE, "quality": "fast", **arguments})


def serve() -> None:
    """Run scripts until the test closes the connection."""
    with Client(os.environ["ADAIN_TEST_SOCKET"]) as connection:
        while True:
            try:
                source, values = connection.recv()
            except EOFError:
                return
            outcome: tuple[object, str]
            try:
                scope = dict(globals())
                exec(source, scope)  # noqa: S102  # that is what it is for
                outcome = scope["script"](**values), ""
            except Exception:
                outcome = None, traceback.format_exc()
            for image in Gimp.get_images():
                image.delete()
            connection.send(outcome)


Gegl.init(None)
serve()
