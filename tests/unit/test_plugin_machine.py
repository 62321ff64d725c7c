"""What adain-plugin meets on people's machines: other programs' names, closed folders, answers that break off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adain_plugin.errors import HostNotFoundError
from adain_plugin.hosts import Answer, read_answer
from adain_plugin.krita import find_kritas
from adain_plugin.machine import Machine
from adain_plugin.question import ANSWER


def test_running_program_is_found_among_names_that_are_no_text(tmp_path: Path) -> None:
    """Linux cuts a name after 15 bytes, within a letter or not."""
    for number, name in (("1", "é".encode() * 7 + b"\xc3"), ("2", b"\xff\n"), ("3", b"krita\n")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "comm").write_bytes(name)
    machine = Machine("linux", {}, tmp_path, tmp_path)
    assert machine.is_running("krita") and not machine.is_running("gimp")


def test_closed_folder_in_path_does_not_cost_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /root/bin for somebody who is not root: there is no Krita in it."""

    def fail(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", fail)
    with pytest.raises(HostNotFoundError):
        find_kritas(Machine("linux", {"PATH": str(tmp_path / "closed")}, tmp_path), folder=None, program=None)


@pytest.mark.parametrize("said", ['{"version": "3', "{}", "[]", "** (gimp:1): WARNING **: x", ""])
def test_answer_that_breaks_off_is_none(said: str) -> None:
    """Whatever a host writes into its own line; the next whole one counts."""
    assert read_answer(f"noise\n{ANSWER}{said}\nmore") is None
    fields = {"version": "3.0.4", "is_listed": True, "python": "3.13", "platform": "linux-x86_64", "glibc": "2.41"}
    whole = ANSWER + json.dumps({**fields, "is_flatpak": False, "modules": {}})
    assert read_answer(f"{ANSWER}{said}\n{whole}") == Answer("3.0.4", True, "3.13", "linux-x86_64", "2.41", False, {})
