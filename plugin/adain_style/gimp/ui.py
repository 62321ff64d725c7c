"""GIMP's window libraries; only for procedures that open a window, since scripts may have no display."""

from __future__ import annotations

from collections.abc import Callable

import gi

from adain_style.client.jobs import Pixels
from adain_style.client.protocol import LAYOUTS
from adain_style.gimp import typelibs  # noqa: F401  # chooses the versions of what the window libraries build on

gi.require_version("Gtk", "3.0")
gi.require_version("Gdk", "3.0")
gi.require_version("GdkPixbuf", "2.0")
gi.require_version("GimpUi", "3.0")
gi.require_version("Pango", "1.0")

from gi.repository import Gdk, GdkPixbuf, GimpUi, GLib, Gtk, Pango  # noqa: E402  # only after the versions

__all__ = ["Gdk", "GdkPixbuf", "GimpUi", "Gtk", "Pango", "button", "pixbuf_of", "pixbuf_of_file", "thumbnail"]


def button(icon: str, tooltip: str, clicked: Callable[[], None]) -> Gtk.Button:
    """A small button with an icon; screen readers read its tooltip, too."""
    made = Gtk.Button.new_from_icon_name(icon, Gtk.IconSize.BUTTON)
    made.set_tooltip_text(tooltip)
    made.get_accessible().set_name(tooltip)
    made.connect("clicked", lambda _button: clicked())
    return made


def pixbuf_of(pixels: Pixels) -> GdkPixbuf.Pixbuf:
    """Convert a picture of layout RGBA or RGB and depth u8 for the screen."""
    assert pixels.layout in ("RGBA", "RGB") and pixels.depth == "u8"
    data = GLib.Bytes.new(bytes(pixels.data))
    width, height = pixels.width, pixels.height
    channels = LAYOUTS[pixels.layout]
    return GdkPixbuf.Pixbuf.new_from_bytes(
        data, GdkPixbuf.Colorspace.RGB, channels == 4, 8, width, height, channels * width
    )


def pixbuf_of_file(data: bytes) -> GdkPixbuf.Pixbuf | None:
    """Convert a picture's file for the screen; None when it is damaged."""
    loader = GdkPixbuf.PixbufLoader.new()
    try:
        loader.write(data)
        loader.close()
    except GLib.Error:
        return None
    return loader.get_pixbuf()


def thumbnail(pixbuf: GdkPixbuf.Pixbuf, side: int) -> GdkPixbuf.Pixbuf:
    """The middle of a picture as a square of that many pixels a side."""
    shorter = min(pixbuf.get_width(), pixbuf.get_height())
    left, top = (pixbuf.get_width() - shorter) // 2, (pixbuf.get_height() - shorter) // 2
    middle = pixbuf.new_subpixbuf(left, top, shorter, shorter)
    return middle.scale_simple(side, side, GdkPixbuf.InterpType.BILINEAR)
