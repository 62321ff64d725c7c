"""The client finds the plug-in's own folder wherever it was installed, and reads no other program's files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import adain_style
from adain_plugin.install import plugin_source
from adain_style.client.launcher import SERVER_COMMAND_FILE
from adain_style.client.texts import LOCALE_FOLDER

SOURCE = Path(adain_style.__file__).parent
FOREIGN = json.dumps({"command": [sys.executable, "-m", "foreign"]})
ENGLISH, GERMAN = "Choose at least one style.", "Wählen Sie mindestens einen Stil."
PROGRAM = f"""
from adain_style.client import launcher, texts
print(launcher.SERVER_COMMAND_FILE.parent, launcher._installed_command(), texts._({ENGLISH!r}), sep="\\n")
"""


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "vendor", "server.json"))


def _installed(folder: Path) -> Path:
    """The plug-in as it lies in site-packages, in a host and in a checkout: one folder, in one that others share."""
    _copy(SOURCE, folder / "adain_style")
    return folder / "adain_style"


def _ask(imported_from: Path) -> list[str]:
    """The plug-in's folder, the command that was installed, and a text, in a German user's Python."""
    environment = os.environ | {"LANGUAGE": "de", "PYTHONUTF8": "1", "PYTHONPATH": str(imported_from)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, encoding="utf-8", env=environment
    )
    return run.stdout.splitlines()


def test_folder_around_it_is_not_the_plugins(tmp_path: Path) -> None:
    """A foreign server.json there is not run, and the texts are in the user's language."""
    folder = _installed(tmp_path)
    (tmp_path / "server.json").write_text(FOREIGN)
    assert _ask(tmp_path) == [str(folder), "None", GERMAN]


def test_folder_has_command_and_texts(tmp_path: Path) -> None:
    """Both are read from the folder that the client lies in."""
    folder = _installed(tmp_path)
    (folder / "server.json").write_text(json.dumps({"command": [sys.executable, "-m", "adain_server"]}))
    assert _ask(tmp_path) == [str(folder), str([sys.executable, "-m", "adain_server"]), GERMAN]


def test_in_a_checkout_the_folder_is_the_sources() -> None:
    """The tests themselves import the client from there."""
    assert SERVER_COMMAND_FILE.parent == LOCALE_FOLDER.parent == SOURCE and LOCALE_FOLDER.is_dir()


def test_wheel_has_the_plugin_once() -> None:
    """As a package at the top of site-packages, where adain-plugin takes it from."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML; a later one checks this")
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "plugin/adain_style" in wheel["packages"] and wheel["sources"]["plugin"] == ""
    assert "force-include" not in wheel and plugin_source() == SOURCE
