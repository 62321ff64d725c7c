"""One version: every command says it, and the wheel gets it from where the plug-in has it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from adain_style.client import version
from support.helpers import REPOSITORY

COMMANDS = ["adain_plugin", "adain_server", "adain_stylize", "adain_trainer", "adain_weights"]


@pytest.mark.parametrize("package", COMMANDS)
def test_every_command_says_the_version(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    """NAME VERSION, and nothing else."""
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"{package}.cli").main(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"{package.replace('_', '-')} {version.VERSION}\n"


def test_version_is_written_once() -> None:
    """The build reads it from the module, and the changelog's first heading has it, with a date."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML; a later one checks this")
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in settings["project"]["dynamic"] and "version" not in settings["project"]
    assert REPOSITORY / settings["tool"]["hatch"]["version"]["path"] == Path(version.__file__)
    headings = re.findall(r"^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert re.fullmatch(re.escape(version.VERSION) + r" \(\d{4}-\d\d-\d\d\)", released[0])
