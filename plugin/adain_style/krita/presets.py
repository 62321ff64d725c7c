"""The row of presets: choose, save, delete."""

from __future__ import annotations

from collections.abc import Callable

from adain_style.client.choices import ChoiceError
from adain_style.client.errors import AdainError
from adain_style.client.texts import _
from adain_style.host.settings import SettingsStore, StylizeSettings
from adain_style.krita.qt import QtGui, QtWidgets, button, label, plain
from adain_style.krita.small_dialogs import ask_name


class Presets(QtWidgets.QWidget):
    """A list of presets' names; choosing one applies it."""

    def __init__(
        self,
        icons: tuple[QtGui.QIcon, QtGui.QIcon],
        store: SettingsStore,
        current: Callable[[], StylizeSettings],
        use: Callable[[StylizeSettings], None],
        fail: Callable[[AdainError], None],
    ) -> None:
        """Fill the list.

        Args:
            icons: The icons for saving and deleting.
            store: The presets' files.
            current: Returns the settings to save.
            use: Called with a preset that was chosen.
            fail: Called with an error.
        """
        super().__init__()
        self._store, self._current, self._use, self._fail = store, current, use, fail
        self._list = QtWidgets.QComboBox()
        self._list.setToolTip(_("Styles and settings that were saved under a name"))
        self._list.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._list.activated.connect(lambda _index: self._chosen())
        self._delete_button = button(icons[1], _("Delete the chosen preset"), self._delete)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label(plain(_("Pres_ets")), self._list))
        layout.addWidget(self._list, 1)
        layout.addWidget(button(icons[0], _("Save these styles and settings"), self._save))
        layout.addWidget(self._delete_button)
        self._fill("")

    def forget(self) -> None:
        """Choose no preset in the list."""
        self._list.setCurrentIndex(-1)
        self._delete_button.setEnabled(False)

    def _fill(self, chosen: str) -> None:
        self._list.clear()
        self._list.addItems(self._store.presets())
        self._list.setCurrentIndex(self._list.findText(chosen) if chosen else -1)
        self._delete_button.setEnabled(self._list.currentIndex() >= 0)

    def _chosen(self) -> None:
        self._delete_button.setEnabled(True)
        try:
            self._use(self._store.load_preset(self._list.currentText()))
        except ChoiceError as error:
            self._fail(error)

    def _save(self) -> None:
        name = ask_name(self, _("Save preset"), _("_Name"), self._list.currentText())
        if name is None:
            return
        try:
            self._store.save_preset(name, self._current())
        except ChoiceError as error:
            self._fail(error)
            return
        self._fill(name.strip())

    def _delete(self) -> None:
        try:
            self._store.delete_preset(self._list.currentText())
        except ChoiceError as error:
            self._fail(error)
        self._fill("")
