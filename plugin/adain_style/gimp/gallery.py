"""The gallery: every style that can be chosen, with its thumbnail; one click chooses one, or adds it to the mix."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from adain_style.client.texts import _
from adain_style.gimp.ui import Gdk, Gtk, Pango, thumbnail
from adain_style.host.styles import GalleryEntry

THUMBNAIL_SIDE = 76
"""The side of a thumbnail, in pixels."""
HEIGHT, HEIGHT_ON_A_SMALL_SCREEN = 250, 180
SMALL_SCREEN = 850
"""Below this height of the screen, in pixels, the window would not fit with the usual gallery."""
_CSS = b"""
.adain-style { padding: 3px; border-radius: 5px; border: 2px solid transparent; }
.adain-style label { font-size: 85%; }
.adain-plain label { font-weight: normal; }
.adain-chosen { border-color: @theme_selected_bg_color; background-color: alpha(@theme_selected_bg_color, 0.35); }
"""


class Gallery:
    """A scrolled grid of thumbnails, with a field that filters them by their titles."""

    def __init__(self, chosen: Callable[[str, bool], None]) -> None:
        """chosen: Called with a source, and whether to add it to or take it from the mix or to choose it alone."""
        self._chosen = chosen
        self._entries: dict[str, GalleryEntry] = {}
        self._children: dict[str, Gtk.FlowBoxChild] = {}
        self._pictures: dict[str, Gtk.Image] = {}
        _install_css()
        self.search = Gtk.SearchEntry()
        self.search.set_placeholder_text(_("Search styles"))
        self.search.set_tooltip_text(
            _("Shows only the styles in whose title or description these letters occur; Enter chooses the first")
        )
        self._flow = Gtk.FlowBox()
        self.search.connect("search-changed", lambda _entry: self._flow.invalidate_filter())
        self.search.connect("activate", lambda _entry: self._choose_first())
        self.search.connect("stop-search", lambda entry: entry.set_text(""))
        self._flow.set_selection_mode(Gtk.SelectionMode.NONE)
        self._flow.set_activate_on_single_click(True)
        self._flow.set_homogeneous(True)
        self._flow.set_min_children_per_line(3)
        self._flow.set_max_children_per_line(12)
        self._flow.set_valign(Gtk.Align.START)
        self._flow.set_filter_func(self._is_shown)
        self._flow.connect("child-activated", self._activated)
        self._flow.get_accessible().set_name(_("Styles"))
        self.widget = Gtk.ScrolledWindow()
        self.widget.set_policy(Gtk.PolicyType.NEVER, Gtk.PolicyType.AUTOMATIC)
        self.widget.set_shadow_type(Gtk.ShadowType.IN)
        self.widget.set_min_content_height(HEIGHT_ON_A_SMALL_SCREEN if _is_a_screen_small() else HEIGHT)
        self.widget.set_min_content_width(4 * (THUMBNAIL_SIDE + 26))
        self.widget.add(self._flow)

    def entry(self, source: str) -> GalleryEntry | None:
        """The entry of a source; None when there is none."""
        return self._entries.get(source)

    def show_entries(self, entries: Iterable[GalleryEntry]) -> None:
        """Replace all entries by these; thumbnails that are there already are kept."""
        before = self._entries
        for child in self._flow.get_children():
            self._flow.remove(child)
        self._entries, self._children, self._pictures = {}, {}, {}
        for entry in entries:
            old = before.get(entry.source)
            self.add(entry if old is None or old.thumbnail is None else entry.with_thumbnail(old.thumbnail))

    def add(self, entry: GalleryEntry, *, first: bool = False) -> None:
        """Add an entry, or give one its thumbnail."""
        known = entry.source in self._entries
        self._entries[entry.source] = entry
        if known:
            self._set_picture(entry)
            return
        picture = Gtk.Image()
        picture.set_size_request(THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        label = Gtk.Label(label=entry.title)
        label.set_ellipsize(Pango.EllipsizeMode.END)
        label.set_max_width_chars(10)
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=2)
        box.pack_start(picture, False, False, 0)
        box.pack_start(label, False, False, 0)
        child = Gtk.FlowBoxChild()
        child.add(box)
        child.get_style_context().add_class("adain-style")
        child.set_tooltip_text("\n".join(filter(None, (entry.title, entry.about))))
        child.get_accessible().set_name(entry.title)
        child.source = entry.source
        child.connect("key-press-event", self._key_pressed)
        self._children[entry.source], self._pictures[entry.source] = child, picture
        self._set_picture(entry)
        self._flow.insert(child, 0 if first else -1)
        child.show_all()

    def mark(self, sources: Iterable[str]) -> None:
        """Mark the chosen styles."""
        wanted = set(sources)
        for source, child in self._children.items():
            context = child.get_style_context()
            if source in wanted:
                context.add_class("adain-chosen")
            else:
                context.remove_class("adain-chosen")

    def _set_picture(self, entry: GalleryEntry) -> None:
        picture = self._pictures[entry.source]
        if entry.thumbnail is None:
            picture.set_from_icon_name("image-loading", Gtk.IconSize.DIALOG)
        else:
            picture.set_from_pixbuf(thumbnail(entry.thumbnail, THUMBNAIL_SIDE))

    def _is_shown(self, child: Gtk.FlowBoxChild) -> bool:
        return self._entries[child.source].matches(self.search.get_text())

    def _choose_first(self) -> None:
        """Choose the first style that is shown, for Enter."""
        shown = (child for child in self._flow.get_children() if self._is_shown(child))
        if (first := next(shown, None)) is not None:
            self._chosen(first.source, False)

    def _activated(self, _flow: Gtk.FlowBox, child: Gtk.FlowBoxChild) -> None:
        state = Gtk.get_current_event_state()
        adds = bool(state[1] & (Gdk.ModifierType.CONTROL_MASK | Gdk.ModifierType.SHIFT_MASK)) if state[0] else False
        self._chosen(child.source, adds)

    def _key_pressed(self, child: Gtk.FlowBoxChild, event: Gdk.EventKey) -> bool:
        """Let Enter choose the focused style; GTK would activate the window's default button instead."""
        if event.keyval not in (Gdk.KEY_Return, Gdk.KEY_KP_Enter, Gdk.KEY_ISO_Enter):
            return False
        self._activated(self._flow, child)
        return True


def _is_a_screen_small() -> bool:
    display = Gdk.Display.get_default()
    monitors = (display.get_monitor(number) for number in range(display.get_n_monitors()))
    return any(monitor.get_workarea().height < SMALL_SCREEN for monitor in monitors)


def _install_css() -> None:
    provider = Gtk.CssProvider()
    provider.load_from_data(_CSS)
    screen = Gdk.Screen.get_default()
    Gtk.StyleContext.add_provider_for_screen(screen, provider, Gtk.STYLE_PROVIDER_PRIORITY_APPLICATION)
