"""The mix: the chosen styles of a region, each with a slider for its share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adain_style.client.choices import StyleChoice
from adain_style.client.texts import _
from adain_style.gimp.ui import Gtk, Pango, button, thumbnail
from adain_style.host.styles import GalleryEntry

ICON_SIDE = 26
"""The side of a style's icon in the mix, in pixels."""
ROW_HEIGHT = 36
"""The least height in pixels, so that the window does not jump when the first style is chosen."""


class Mix:
    """One row for each chosen style; the sliders appear when there are several."""

    def __init__(
        self, weighed: Callable[[list[StyleChoice]], None], removed: Callable[[list[StyleChoice]], None]
    ) -> None:
        """Make the widget, without styles.

        Args:
            weighed: Called with the new mix when a slider was moved; the rows stay.
            removed: Called with the new mix when a style was taken out; it has to be shown again.
        """
        self._weighed, self._removed = weighed, removed
        self._styles: list[StyleChoice] = []
        self.widget = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=2)
        self.widget.set_size_request(-1, ROW_HEIGHT)

    def show_mix(self, styles: Sequence[StyleChoice], entries: Callable[[str], GalleryEntry | None]) -> None:
        """Show a mix. entries: Returns a style's entry, for its title and thumbnail."""
        self._styles = list(styles)
        for row in self.widget.get_children():
            self.widget.remove(row)
        for index, style in enumerate(self._styles):
            self.widget.pack_start(self._row(index, style, entries(style.source)), False, False, 0)
        if not self._styles:
            hint = Gtk.Label(label=_("Click a style above. Ctrl+click adds another one to the mix."))
            hint.set_line_wrap(True)
            hint.set_xalign(0.0)
            self.widget.pack_start(hint, False, False, 0)
        self.widget.show_all()

    def _row(self, index: int, style: StyleChoice, entry: GalleryEntry | None) -> Gtk.Widget:
        title = entry.title if entry is not None else style.source
        row = Gtk.Box(spacing=6)
        if entry is not None and entry.thumbnail is not None:
            row.pack_start(Gtk.Image.new_from_pixbuf(thumbnail(entry.thumbnail, ICON_SIDE)), False, False, 0)
        label = Gtk.Label(label=title)
        label.set_ellipsize(Pango.EllipsizeMode.END)
        label.set_width_chars(16)
        label.set_max_width_chars(16)
        label.set_xalign(0.0)
        several = len(self._styles) > 1
        row.pack_start(label, not several, True, 0)
        if several:
            slider = Gtk.Scale.new_with_range(Gtk.Orientation.HORIZONTAL, 0, 100, 1)
            slider.set_value(100 * style.weight / max(1.0, max(other.weight for other in self._styles)))
            slider.set_value_pos(Gtk.PositionType.RIGHT)
            slider.set_tooltip_text(_("How much of this style, beside the others"))
            slider.get_accessible().set_name(_("Share of {title}").format(title=title))
            slider.connect("value-changed", lambda scale: self._weigh(index, scale.get_value() / 100))
            row.pack_start(slider, True, True, 0)
        remove = button("list-remove", _("Take this style out of the mix"), lambda: self._remove(index))
        row.pack_end(remove, False, False, 0)
        return row

    def _weigh(self, index: int, weight: float) -> None:
        self._styles[index] = StyleChoice(self._styles[index].source, weight)
        self._weighed(list(self._styles))

    def _remove(self, index: int) -> None:
        self._removed([style for other, style in enumerate(self._styles) if other != index])
