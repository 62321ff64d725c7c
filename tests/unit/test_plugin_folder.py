"""The client finds the plug-in's own folder wherever it was installed, and reads no other program's files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import adain_client
from adain_client.launcher import SERVER_COMMAND_FILE
from adain_client.texts import LOCALE_FOLDER

SOURCE = Path(adain_client.__file__).parents[1]
FOREIGN = json.dumps({"command": [sys.executable, "-m", "foreign"]})
ENGLISH, GERMAN = "Choose at least one style.", "Wählen Sie mindestens einen Stil."
PROGRAM = f"""
from adain_client import launcher, texts
print(launcher.SERVER_COMMAND_FILE.parent, launcher._installed_command(), texts._({ENGLISH!r}), sep="\\n")
"""


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "vendor", "server.json"))


def _plugin_in_a_host(folder: Path) -> tuple[Path, Path]:
    """What adain-plugin installs; returns where the client is imported from, and the plug-in's folder."""
    _copy(SOURCE, folder / "adain_style")
    return folder / "adain_style", folder / "adain_style"


def _wheel(folder: Path) -> tuple[Path, Path]:
    """As pyproject.toml has a wheel unpacked: the client at the top, the plug-in's folder in adain_plugin."""
    _copy(SOURCE / "adain_client", folder / "adain_client")
    _copy(SOURCE, folder / "adain_plugin" / "adain_style")
    return folder, folder / "adain_plugin" / "adain_style"


def _ask(imported_from: Path) -> list[str]:
    """The plug-in's folder, the command that was installed, and a text, in a German user's Python."""
    environment = os.environ | {"LANGUAGE": "de", "PYTHONUTF8": "1", "PYTHONPATH": str(imported_from)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, encoding="utf-8", env=environment
    )
    return run.stdout.splitlines()


def test_in_a_wheel_site_packages_is_not_the_plugins_folder(tmp_path: Path) -> None:
    """A foreign server.json there is not run, and the texts are in the user's language."""
    imported_from, folder = _wheel(tmp_path)
    (imported_from / "server.json").write_text(FOREIGN)
    assert _ask(imported_from) == [str(folder), "None", GERMAN]


def test_in_a_host_the_folder_has_command_and_texts(tmp_path: Path) -> None:
    """Both are read from the folder that the client lies in."""
    imported_from, folder = _plugin_in_a_host(tmp_path)
    (folder / "server.json").write_text(json.dumps({"command": [sys.executable, "-m", "adain_server"]}))
    assert _ask(imported_from) == [str(folder), str([sys.executable, "-m", "adain_server"]), GERMAN]


def test_in_a_checkout_the_folder_is_the_sources() -> None:
    """The tests themselves import the client from there."""
    assert SERVER_COMMAND_FILE.parent == LOCALE_FOLDER.parent == SOURCE and LOCALE_FOLDER.is_dir()


def test_a_wheel_is_laid_out_as_the_tests_say() -> None:
    """The client at the top of site-packages, and the plug-in's folder in adain_plugin."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML; a later one checks this")
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "plugin/adain_style/adain_client" in wheel["packages"] and wheel["sources"]["plugin/adain_style"] == ""
    assert wheel["force-include"]["plugin/adain_style"] == "adain_plugin/adain_style"
