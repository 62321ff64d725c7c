"""adain-plugin with a real Krita: what it has installed is loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile

import pytest

from hosts.host import CLEAN_PATH, Installation
from hosts.krita import SETTINGS, Krita
from hosts.window import Screen

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(240)]

ENTRIES = """
    (menu,) = [
        entry.menu()
        for bar in Krita.instance().activeWindow().qwindow().menuBar().actions()
        for entry in (bar.menu().actions() if bar.menu() else [])
        if entry.text().replace("&", "") == "AdaIN Style"
    ]
    return [entry.text().replace("&", "") for entry in menu.actions()]
"""


class InstalledKrita(Krita):
    """A Krita whose plug-in adain-plugin has put in."""

    kritarc = SETTINGS.replace("enable_adain_style=true\n", "")

    def _install(self) -> None:
        super()._install()
        (self.folder / "data" / "krita" / "pykrita" / "adain_style.desktop").unlink()
        shutil.rmtree(self.folder / "data" / "krita" / "pykrita" / "adain_style")
        self.said = self.plugin("install", "krita")

    def plugin(self, *words: str) -> str:
        """Run adain-plugin for this home; what it says."""
        ran = subprocess.run(
            [sys.executable, "-m", "adain_plugin.cli", *words],
            env={**self._environment, "PATH": CLEAN_PATH, "TMPDIR": tempfile.gettempdir()},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


def test_plugin_is_installed_loaded_and_removed_with_a_real_krita(
    krita_installation: Installation, screen: Screen
) -> None:
    """Folder, desktop file and the line in kritarc are there, Krita has the four entries, and all goes again."""
    if krita_installation.userland is not None:
        pytest.skip("adain-plugin looks for Krita on PATH, and this one is in a userland")
    with InstalledKrita(krita_installation, screen) as krita:
        assert "Filter > AdaIN Style" in krita.said
        plugins = krita.folder / "data" / "krita" / "pykrita"
        settings = krita.folder / "config" / "kritarc"
        assert (plugins / "adain_style" / "server.json").is_file() and "enable_adain_style=true" in settings.read_text()
        assert krita.run(ENTRIES) == ["Stylize…", "Repeat Last", "Style from This Layer…", "Server…"]
        assert "up to date" in krita.plugin("status", "krita")
        krita.plugin("uninstall", "krita")
        assert not list(plugins.glob("adain_style*")) and "adain_style" not in settings.read_text()
