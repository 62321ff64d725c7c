"""The preview: the newest painted picture, or the unchanged layer while the user compares."""

from __future__ import annotations

import logging
from typing import Any

from adain_style.client.texts import _
from adain_style.gimp.typelibs import GLib
from adain_style.gimp.ui import GdkPixbuf, Gtk, Pango

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 460, 400
"""The least size of the preview, in pixels."""
EDGE = 4
"""The width of the frame's two sides together, in pixels."""
CHECK_SIDE, LIGHT_CHECK, DARK_CHECK = 8, 0xFF9A9A9A, 0xFF666666
"""The checks that show through where the picture is transparent: their side in pixels, and their colours."""


class Preview:
    """A picture that fits its space; pressing it, or its button, shows the layer before."""

    def __init__(self) -> None:
        self._before: GdkPixbuf.Pixbuf | None = None
        self._after: GdkPixbuf.Pixbuf | None = None
        self._forming: GdkPixbuf.Pixbuf | None = None
        self._pressed = False
        # An image instead of a drawing area, because GIMP's Python may lack cairo's bindings.
        self._image = Gtk.Image()
        pressable = Gtk.EventBox()
        pressable.add(self._image)
        pressable.set_tooltip_text(_("Press to see the layer as it is"))
        pressable.connect("button-press-event", self._press, True)
        pressable.connect("button-release-event", self._press, False)
        self._room = Gtk.ScrolledWindow()
        # The picture takes the available room and never asks for more.
        self._room.set_policy(Gtk.PolicyType.EXTERNAL, Gtk.PolicyType.EXTERNAL)
        self._room.set_shadow_type(Gtk.ShadowType.IN)
        self._room.set_size_request(WIDTH, HEIGHT)
        self._room.add(pressable)
        self._room.connect("size-allocate", lambda *_: self._draw_soon())
        self._room.get_accessible().set_name(_("Preview"))
        self._drawn: tuple[object, int, int] | None = None
        self._compare = Gtk.CheckButton.new_with_mnemonic(_("Show the layer _before"))
        self._compare.connect("toggled", lambda _button: self._draw())
        self._note = Gtk.Label()
        self._note.set_ellipsize(Pango.EllipsizeMode.END)
        self._note.set_xalign(1.0)
        row = Gtk.Box(spacing=12)
        row.pack_start(self._compare, False, False, 0)
        row.pack_start(self._note, True, True, 0)
        self.widget = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        self.widget.pack_start(self._room, True, True, 0)
        self.widget.pack_start(row, False, False, 0)

    def show_before(self, pixbuf: GdkPixbuf.Pixbuf) -> None:
        """Show the unpainted layer, and drop the painted picture of an earlier one."""
        self._before, self._after = pixbuf, None
        self._draw()

    def show_after(self, pixbuf: GdkPixbuf.Pixbuf | None, note: str = "") -> None:
        """Show the painted picture, None for none, with a note under it."""
        self._after = pixbuf
        self._draw()
        self.show_note(note)

    def show_note(self, note: str) -> None:
        """Show a note under the picture; "" for none."""
        if note != self._note.get_text():
            log.debug("note: %s", note)
            self._note.set_text(note)
            self._note.set_tooltip_text(note)

    def show_forming(self, pixbuf: GdkPixbuf.Pixbuf | None) -> None:
        """Show the picture as it forms; None to show what was painted before again."""
        self._forming = pixbuf
        self._draw()

    def _press(self, _box: Gtk.EventBox, _event: Any, pressed: bool) -> bool:
        self._pressed = pressed
        self._draw()
        return True

    def _draw_soon(self) -> None:
        # Not at once: changing the picture during its allocation would cause another allocation.
        GLib.idle_add(self._draw)

    def _draw(self) -> None:
        compares = self._pressed or self._compare.get_active()
        shown = self._before if compares else self._forming or self._after or self._before
        if shown is None or self._before is None:
            return
        # Both pictures fill the layer's rectangle, although drafts are smaller.
        width, height = self._room.get_allocated_width() - EDGE, self._room.get_allocated_height() - EDGE
        scale = min(width / self._before.get_width(), height / self._before.get_height())
        width, height = (max(1, round(n * scale)) for n in (self._before.get_width(), self._before.get_height()))
        if self._drawn == (shown, width, height):
            return
        self._drawn = shown, width, height
        fitted = shown.composite_color_simple(
            width, height, GdkPixbuf.InterpType.BILINEAR, 255, CHECK_SIDE, LIGHT_CHECK, DARK_CHECK
        )
        self._image.set_from_pixbuf(fitted)
