"""The small windows: a name, a picture, a layer; a style from a layer; the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import krita

from adain_style.client.choices import ChoiceError
from adain_style.client.client import ServerInfo
from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.host.servers import ServerControl
from adain_style.host.settings import ServerSettings
from adain_style.host.styles import save_style
from adain_style.krita.layers import all_layers, number_of
from adain_style.krita.qt import Post, QtCore, QtGui, QtWidgets, fitted, image_of, label, mnemonic

CLIENT_NAME = "Krita"
LIST_LINES = 3
"""A layer's thumbnail in a list, in lines of text."""
STYLE_LINES = 10
LOOK_EVERY_MS = 2000
LONGEST_IDLE_MINUTES = 24 * 60


class SmallDialog(QtWidgets.QDialog):
    """A window with a form, Cancel and one action."""

    def __init__(self, parent: QtWidgets.QWidget | None, title: str, action: str) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.form = QtWidgets.QFormLayout()
        boxes = QtWidgets.QDialogButtonBox
        self._buttons = boxes(boxes.StandardButton.Ok | boxes.StandardButton.Cancel)
        self._buttons.button(boxes.StandardButton.Ok).setText(mnemonic(action))
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(self.form)

    def add(self, text: str, widget: QtWidgets.QWidget) -> None:
        """Add a row with a label. text: The label, with an underscore before its access key."""
        self.form.addRow(label(mnemonic(text), widget), widget)

    def is_accepted(self) -> bool:
        """Show the window until it is answered; return whether it was accepted."""
        if self._buttons.parent() is None:  # added after the form, so that the first focus and Tab go to the form first
            self.layout().addWidget(self._buttons)
        return bool(self.exec() == QtWidgets.QDialog.DialogCode.Accepted)


def ask_name(parent: QtWidgets.QWidget, title: str, text: str, name: str) -> str | None:
    """Ask for a name; None when the user cancels."""
    dialog = SmallDialog(parent, title, _("_Save"))
    entry = QtWidgets.QLineEdit(name)
    dialog.add(text, entry)
    return entry.text() if dialog.is_accepted() else None


def choose_picture(parent: QtWidgets.QWidget, folder: str) -> Path | None:
    """Ask for a picture's file; None when the user cancels. folder: Shown first, unless ""."""
    endings = sorted({bytes(kind).decode("ascii") for kind in QtGui.QImageReader.supportedImageFormats()} | {"kra"})
    pictures = _("Pictures") + f" ({' '.join(f'*.{ending}' for ending in endings)})"
    name, _filter = QtWidgets.QFileDialog.getOpenFileName(
        parent, _("Add picture"), folder, f"{pictures};;" + _("All files") + " (*)"
    )
    return Path(name) if name else None


def choose_layer(parent: QtWidgets.QWidget) -> str | None:
    """Ask for a layer of any open document; returns its unique name, or None when the user cancels."""
    dialog = SmallDialog(parent, _("Use a layer as a style"), _("_Use"))
    listed = QtWidgets.QListWidget()
    side = LIST_LINES * listed.fontMetrics().height()
    listed.setIconSize(QtCore.QSize(side, side))
    listed.setMinimumSize(10 * side, 8 * side)
    for document in krita.Krita.instance().documents():
        for node in reversed(list(all_layers(document))):
            picture = QtGui.QIcon(QtGui.QPixmap.fromImage(node.thumbnail(2 * side, 2 * side)))
            item = QtWidgets.QListWidgetItem(picture, f"{node.name()} ({document_title(document)})")
            item.setData(QtCore.Qt.ItemDataRole.UserRole, number_of(node))
            listed.addItem(item)
    listed.setCurrentRow(0)
    listed.itemActivated.connect(lambda _item: dialog.accept())
    dialog.form.addRow(listed)
    item = listed.currentItem() if dialog.is_accepted() else None
    return None if item is None else str(item.data(QtCore.Qt.ItemDataRole.UserRole))


def document_title(document: Any) -> str:
    """A document's title: its file's name, or the name that the user gave it."""
    name: str = document.fileName()
    return Path(name).name if name else str(document.name()) or _("Not saved yet")


def run_save_style_dialog(parent: QtWidgets.QWidget, title: str, pixels: Pixels) -> bool:
    """Ask for a style's name and save it; returns whether it was saved. title: The suggested name."""
    dialog = SmallDialog(parent, _("Style from this layer"), _("_Save"))
    image = image_of(pixels)
    picture = QtWidgets.QLabel()
    side = STYLE_LINES * picture.fontMetrics().height()
    picture.setPixmap(QtGui.QPixmap.fromImage(fitted(image, side)))
    picture.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
    entry = QtWidgets.QLineEdit(title)
    problem = QtWidgets.QLabel()
    problem.setWordWrap(True)
    dialog.form.addRow(picture)
    dialog.add(_("_Name"), entry)
    dialog.form.addRow(problem)
    entry.setFocus()
    while dialog.is_accepted():
        try:
            save_style(entry.text().strip(), lambda path: _write_png(image, path))
        except ChoiceError as error:
            problem.setText(str(error))
        else:
            return True
    return False


def _write_png(image: QtGui.QImage, path: Path) -> str:
    return "" if image.save(str(path), "PNG") else _("it cannot be written")


def run_server_dialog(parent: QtWidgets.QWidget | None, server: ServerSettings) -> ServerSettings | None:
    """Show and change the server that paints; returns the new choice, or None when nothing was changed."""
    dialog = ServerDialog(parent, server)
    accepted = dialog.is_accepted()
    dialog.leave()
    chosen = dialog.choice()
    return chosen if accepted and chosen != server else None


class ServerDialog(SmallDialog):
    """State, start and stop of this machine's server; address and key file of a server on another machine."""

    def __init__(self, parent: QtWidgets.QWidget | None, server: ServerSettings) -> None:
        super().__init__(parent, _("AdaIN server"), _("_Use"))
        self._control = ServerControl(name=CLIENT_NAME, post=Post(), show=self._show_state)
        self._here = QtWidgets.QRadioButton(mnemonic(_("On _this machine")))
        self._there = QtWidgets.QRadioButton(mnemonic(_("On anot_her machine")))
        (self._there if server.remote else self._here).setChecked(True)
        self._here.toggled.connect(lambda _checked: self._show_kind())
        self._idle = QtWidgets.QSpinBox()
        self._idle.setRange(1, LONGEST_IDLE_MINUTES)
        self._idle.setValue(server.idle_minutes)
        self._idle.setToolTip(_("A server that was started from here ends by itself after so long without work"))
        self._address = QtWidgets.QLineEdit(server.address)
        self._address.setPlaceholderText("studio.example:5571")
        self._key_file = QtWidgets.QLineEdit(server.key_file)
        self._key_file.setToolTip(
            _("Made on that server's machine with 'adain-server keys new', and copied to this one")
        )
        self._browse = QtWidgets.QPushButton(mnemonic(_("_Browse…")))
        self._browse.clicked.connect(lambda _checked: self._choose_key_file())
        self._state = QtWidgets.QLabel()
        self._state.setWordWrap(True)
        self._state.setMinimumWidth(50 * self.fontMetrics().averageCharWidth())
        self._state.setMinimumHeight(4 * self.fontMetrics().height())
        self._state.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop)
        self._state.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        self._start = QtWidgets.QPushButton(mnemonic(_("_Start")))
        self._start.clicked.connect(lambda _checked: self._change(self._control.start, _("Starting…")))
        self._stop = QtWidgets.QPushButton(mnemonic(_("Sto_p")))
        self._stop.clicked.connect(lambda _checked: self._change(self._control.stop, _("Stopping…")))
        self._place()
        self._show_kind()
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(LOOK_EVERY_MS)
        self._look()

    def _place(self) -> None:
        key_file, buttons = QtWidgets.QHBoxLayout(), QtWidgets.QHBoxLayout()
        key_file.addWidget(self._key_file, 1)
        key_file.addWidget(self._browse)
        for made in (self._start, self._stop):
            made.setAutoDefault(False)
            buttons.addWidget(made)
        self._browse.setAutoDefault(False)
        buttons.addStretch(1)
        self.form.addRow(self._here)
        self.add(_("_Ends after, in minutes"), self._idle)
        self.form.addRow(self._there)
        self.add(_("_Address"), self._address)
        self.form.addRow(label(mnemonic(_("_Key file")), self._key_file), key_file)
        self.form.addRow(self._state)
        self.form.addRow(buttons)

    def choice(self) -> ServerSettings:
        """The current choice."""
        return ServerSettings(
            remote=self._there.isChecked(),
            address=self._address.text().strip(),
            key_file=self._key_file.text().strip(),
            idle_minutes=self._idle.value(),
        )

    def leave(self) -> None:
        """Stop asking for the server's state."""
        self._control.close()
        self._timer.stop()

    def _show_kind(self) -> None:
        remote = self._there.isChecked()
        self._idle.setEnabled(not remote)
        for widget in (self._address, self._key_file, self._browse):
            widget.setEnabled(remote)

    def _choose_key_file(self) -> None:
        name, _filter = QtWidgets.QFileDialog.getOpenFileName(
            self, _("The server's key file"), self._key_file.text(), _("Key files") + " (*.json)"
        )
        if name:
            self._key_file.setText(name)

    def _look(self) -> None:
        self._control.look(self.choice())

    def _change(self, work: Callable[[ServerSettings], None], state: str) -> None:
        """Start or stop the server and show that; both buttons are disabled until it is done."""
        self._state.setText(state)
        self._start.setEnabled(False)
        self._stop.setEnabled(False)
        work(self.choice())

    def _show_state(self, info: ServerInfo | None, state: str) -> None:
        self._state.setText(state)
        self._start.setEnabled(info is None and not self._there.isChecked())
        self._stop.setEnabled(info is not None)
