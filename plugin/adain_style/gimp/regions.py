"""The row of regions, which chooses the part of the layer that the controls apply to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adain_style.client import protocol
from adain_style.client.texts import _
from adain_style.gimp.requests import MaskSource
from adain_style.gimp.ui import Gtk, button
from adain_style.host import labels


class Regions:
    """A list of regions with buttons to add and remove one, and the mask of the region that is shown.

    It hides its masks while there is only the selection.
    """

    def __init__(
        self,
        sources: Sequence[MaskSource],
        shown: Callable[[int], None],
        changed: Callable[[list[str], int], None],
    ) -> None:
        """Make the widget; show_regions() fills it.

        Args:
            sources: The image's masks to choose from.
            shown: Called with the index of the region to show.
            changed: Called with the regions' masks and the index to show, after regions were added or removed.
        """
        self._labels = {"": labels.WHOLE_REGION} | {s.name: s.label for s in sources}
        self._shown, self._changed = shown, changed
        self._masks: list[str] = [""]
        self._is_showing = False
        self._list = Gtk.ComboBoxText()
        self._list.set_tooltip_text(labels.REGION_TIP)
        self._list.connect("changed", lambda _list: self._choose())
        label = Gtk.Label.new_with_mnemonic(_("Re_gion"))
        label.set_mnemonic_widget(self._list)
        self._add = Gtk.MenuButton()
        self._add.add(Gtk.Image.new_from_icon_name("list-add", Gtk.IconSize.BUTTON))
        self._add.set_tooltip_text(_("Paint another part in styles of its own: a channel, a layer mask or a layer"))
        self._add.get_accessible().set_name(_("Add a region"))
        self._remove = button("list-remove", _("Remove this region"), self._remove_shown)
        self.widget = Gtk.Box(spacing=6)
        self.widget.pack_start(label, False, False, 0)
        self.widget.pack_start(self._list, True, True, 0)
        self.widget.pack_start(self._add, False, False, 0)
        self.widget.pack_start(self._remove, False, False, 0)

    def show_regions(self, masks: Sequence[str], index: int) -> None:
        """Show these regions, by their masks, without reporting a change."""
        self._is_showing = True
        self._masks = list(masks)
        self._list.remove_all()
        for mask in self._masks:
            self._list.append_text(self._labels.get(mask, mask))
        self._list.set_active(index)
        self._is_showing = False
        self._fill_menu()
        self._remove.set_sensitive(len(self._masks) > 1)

    def _fill_menu(self) -> None:
        menu = Gtk.Menu()
        left = [name for name in self._labels if name not in self._masks]
        for name in left:
            item = Gtk.MenuItem.new_with_label(self._labels[name])
            item.connect("activate", lambda _item, name: self._tell([*self._masks, name], len(self._masks)), name)
            menu.append(item)
        if not left:
            item = Gtk.MenuItem.new_with_label(
                _("Save a selection as a channel, or add a layer mask, to have more regions")
            )
            item.set_sensitive(False)
            menu.append(item)
        menu.show_all()
        self._add.set_popup(menu)
        self._add.set_sensitive(len(self._masks) < protocol.MAX_REGIONS)

    def _choose(self) -> None:
        if not self._is_showing and self._list.get_active() >= 0:
            self._shown(self._list.get_active())

    def _remove_shown(self) -> None:
        index = self._list.get_active()
        self._tell([mask for other, mask in enumerate(self._masks) if other != index], max(0, index - 1))

    def _tell(self, masks: list[str], index: int) -> None:
        self.show_regions(masks, index)
        self._changed(masks, index)
