"""adain-plugin with a real GIMP: it is asked what it has, and whether the menu entry is there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.gimp import CLEAN_PATH, Gimp, Installation

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(240)]


@pytest.fixture
def home() -> Iterator[Path]:
    """A home without any settings, where a GIMP in a userland sees it."""
    with tempfile.TemporaryDirectory(prefix="adain-home-") as folder:
        yield Path(folder)


def _adain_plugin(home: Path, program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": CLEAN_PATH, "LANG": "C.UTF-8", "TMPDIR": tempfile.gettempdir()}
    place = ["--folder", str(home / "gimp"), "--program", str(program)]
    return subprocess.run(
        [sys.executable, "-m", "adain_plugin.cli", *words, *place],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_plugin_is_installed_checked_and_removed_with_a_real_gimp(gimp_installation: Installation, home: Path) -> None:
    """Installed with its run bit and the way to the server, found in GIMP's own list, and gone again."""
    program = home / "gimp-console-3.0"
    words = shlex.join(gimp_installation.inside(gimp_installation.console))
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    installed = _adain_plugin(home, program, "install", "gimp")
    assert installed.returncode == 0, installed.stderr
    entry = home / "gimp" / "plug-ins" / "adain_style" / "adain_style.py"
    assert os.access(entry, os.X_OK) and (entry.parent / "server.json").is_file()
    assert "Filters > AdaIN Style" in installed.stdout
    assert (entry.parent / "locale" / "de" / "LC_MESSAGES" / "adain-style.mo").is_file()
    status = _adain_plugin(home, program, "status")
    assert status.returncode == 0 and "up to date" in status.stdout
    removed = _adain_plugin(home, program, "uninstall", "gimp")
    assert removed.returncode == 0 and not entry.parent.exists()


def test_menu_entries_are_of_the_menu_filters(gimp: Gimp) -> None:
    """Filters → AdaIN Style has four entries."""
    entries = gimp.run(
        """
        names = Gimp.get_pdb().query_procedures("plug-in-adain-style.*", *[""] * 7)
        found = [Gimp.get_pdb().lookup_procedure(name) for name in names]
        return {procedure.get_menu_label(): procedure.get_menu_paths() for procedure in found}
        """
    )
    labels = ("_Stylize…", "_Repeat Last", "Style from This _Layer…", "Ser_ver…")
    assert entries == {label: ["<Image>/Filters/AdaIN Style/"] for label in labels}
