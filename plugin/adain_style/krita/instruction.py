"""The menu entry that explains what to do when Krita's Python lacks a library."""

from __future__ import annotations

import sys
from typing import Any

import krita

from adain_style.client.texts import _
from adain_style.krita.qt import QtWidgets, mnemonic


class Instruction(krita.Extension):
    """A single menu entry that opens a message."""

    def __init__(self, parent: Any, missing: str) -> None:
        super().__init__(parent)
        self._missing = missing

    def setup(self) -> None:
        """Do nothing; Krita requires this method."""

    def createActions(self, window: Any) -> None:  # noqa: N802  # Krita's name
        """Create the menu entry for a new window."""
        action = window.createAction("adain_style_stylize", mnemonic(_("AdaIN Style")), "filter")
        shown = window.qwindow()  # Krita's own object for the window does not outlive this call
        action.triggered.connect(lambda _checked: self._say(shown))

    def _say(self, window: QtWidgets.QWidget) -> None:
        sentence = _(
            "AdaIN Style needs the Python libraries zmq and msgpack, and Krita's Python ({version}) has no {missing}. "
            "Run 'adain-plugin install krita' once more, or on Debian and Ubuntu 'sudo apt install python3-zmq "
            "python3-msgpack'; then start Krita again."
        ).format(version=sys.version.split()[0], missing=self._missing)
        QtWidgets.QMessageBox.information(window, _("AdaIN Style"), sentence)


def register_instruction(missing: str) -> None:
    """Register the entry with Krita. missing: The library's name."""
    application = krita.Krita.instance()
    application.addExtension(Instruction(application, missing))
