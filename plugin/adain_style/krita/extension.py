"""The registration with Krita at its start: the menu Filter → AdaIN Style, and the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import krita

from adain_style.client.texts import _
from adain_style.krita.panel import PANEL_ID, Panel
from adain_style.krita.qt import QtWidgets, mnemonic

MENU_ID = "adain_style"


class AdainExtension(krita.Extension):
    """The plug-in's menu in Krita."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        krita.Krita.instance().notifier().applicationClosing.connect(_close_panels)

    def setup(self) -> None:
        """Do nothing; Krita requires this method."""

    def createActions(self, window: Any) -> None:  # noqa: N802  # Krita's name
        """Create the menu entries for a new window."""
        shown = window.qwindow()  # Krita's own object for the window does not outlive this call
        menu = window.createAction(MENU_ID, _("AdaIN Style"), "filter")
        menu.setMenu(QtWidgets.QMenu(MENU_ID, shown))
        for name, text, run in (
            ("stylize", _("_Stylize…"), Panel.present),
            ("repeat", _("_Repeat Last"), Panel.repeat),
            ("save_style", _("Style from This _Layer…"), Panel.save_style),
            ("server", _("Ser_ver…"), Panel.choose_server),
        ):
            action = window.createAction(f"{MENU_ID}_{name}", mnemonic(text), f"filter/{MENU_ID}")
            action.triggered.connect(_on_panel(shown, run))


def _on_panel(window: Any, run: Callable[[Panel], None]) -> Callable[[bool], None]:
    def call(_checked: bool) -> None:
        for panel in _panels(window):
            run(panel)

    return call


def _panels(window: Any) -> list[Panel]:
    return [panel for panel in window.findChildren(QtWidgets.QDockWidget, PANEL_ID) if isinstance(panel, Panel)]


def _close_panels() -> None:
    for window in QtWidgets.QApplication.topLevelWidgets():
        for panel in _panels(window):
            panel.close_session()


def register() -> None:
    """Register the menu and the panel with Krita."""
    application = krita.Krita.instance()
    application.addExtension(AdainExtension(application))
    right = krita.DockWidgetFactoryBase.DockRight
    application.addDockWidgetFactory(krita.DockWidgetFactory(PANEL_ID, right, Panel))
