"""The row of presets: choose, save, delete."""

from __future__ import annotations

from collections.abc import Callable

from adain_style.client.choices import ChoiceError
from adain_style.client.errors import AdainError
from adain_style.client.texts import _
from adain_style.gimp.small_dialogs import ask_name
from adain_style.gimp.ui import Gtk, button
from adain_style.host.settings import SettingsStore, StylizeSettings


class Presets:
    """A list of presets' names; choosing one applies it."""

    def __init__(
        self,
        store: SettingsStore,
        current: Callable[[], StylizeSettings],
        use: Callable[[StylizeSettings], None],
        fail: Callable[[AdainError], None],
    ) -> None:
        """Fill the list.

        Args:
            store: The presets' files.
            current: Returns the settings to save.
            use: Called with a preset that was chosen.
            fail: Called with an error.
        """
        self._store, self._current, self._use, self._fail = store, current, use, fail
        self._list = Gtk.ComboBoxText()
        self._list.set_hexpand(True)
        self._list.set_tooltip_text(_("Styles and settings that were saved under a name"))
        self._delete_button = button("edit-delete", _("Delete the chosen preset"), self._delete)
        self._fill(None)
        self._list.connect("changed", lambda _list: self._chosen())
        label = Gtk.Label.new_with_mnemonic(_("Pres_ets"))
        label.set_mnemonic_widget(self._list)
        self.widget = Gtk.Box(spacing=6)
        self.widget.pack_start(label, False, False, 0)
        self.widget.pack_start(self._list, True, True, 0)
        self.widget.pack_start(button("list-add", _("Save these styles and settings"), self._save), False, False, 0)
        self.widget.pack_start(self._delete_button, False, False, 0)

    def forget(self) -> None:
        """Choose no preset in the list, so that each one can be chosen again."""
        self._list.set_active(-1)

    def _fill(self, chosen: str | None) -> None:
        self._list.remove_all()
        for name in self._store.presets():
            self._list.append(name, name)
        if chosen is not None:
            self._list.set_active_id(chosen)
        self._delete_button.set_sensitive(chosen is not None)

    def _chosen(self) -> None:
        name = self._list.get_active_id()
        self._delete_button.set_sensitive(name is not None)
        if name is None:
            return
        try:
            self._use(self._store.load_preset(name))
        except ChoiceError as error:
            self._fail(error)

    def _save(self) -> None:
        name = ask_name(
            self.widget.get_toplevel(), _("Save preset"), _("_Name"), self._list.get_active_id() or "", _("_Save")
        )
        if name is None:
            return
        try:
            self._store.save_preset(name, self._current())
        except ChoiceError as error:
            self._fail(error)
            return
        self._fill(name.strip())

    def _delete(self) -> None:
        name = self._list.get_active_id()
        if name is None:
            return
        try:
            self._store.delete_preset(name)
        except ChoiceError as error:
            self._fail(error)
        self._fill(None)
