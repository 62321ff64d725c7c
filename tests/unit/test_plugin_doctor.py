"""adain-plugin doctor says what a report needs, on machines where anything is broken, and nothing of the user's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

from adain_plugin import doctor
from adain_plugin.cli import main
from adain_plugin.errors import HostNotFoundError
from adain_plugin.hosts import Host
from adain_plugin.machine import Machine
from adain_plugin.privacy import Privacy
from adain_style.client.connection import ConnectionInfo, write_connection_file
from adain_style.client.version import VERSION
from support.helpers import RunningServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the home folder of these tests is HOME")

KEYS = ("a" * 39 + "1", "b" * 39 + "2", "c" * 39 + "3")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder of a user called anna, without paint programs, servers and files."""
    home = tmp_path / "anna"
    home.mkdir()
    for name in ("GIMP3_DIRECTORY", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ADAIN_SERVER_COMMAND", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(runtime / "connection.json"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "anna")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return home


def _examine(*finders: object) -> str:
    said: list[str] = []
    doctor.examine(finders, said.append)  # type: ignore[arg-type]
    return "\n".join(said)


def test_everything_is_in_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Versions, the server that does not run, folders, logs that are not there, hosts that are not there."""
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for line in (
        f"AdaIN Style {VERSION}.",
        f"  Pillow: {metadata.version('Pillow')}",
        "  answer: No AdaIN server is running.",
        "  settings: ~/",
        "  styles: ~/",
        "  models: ~/",
        "Last lines of server.log\n  there is no such file",
        "  GIMP 3 was not found",
        "  Krita was not found",
    ):
        assert line in said
    assert str(home) not in said and "anna" not in said
    assert not list(home.rglob("*"))  # it only looks


def test_running_server_says_how_it_is(home: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the last lines of its log."""
    assert home.is_dir()
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(server.connection_file))
    said = _examine()
    assert "ready on cpu" in said and "last error: " in said and "pictures in memory: " in said
    assert "hello from 'adain-plugin doctor'" in said


def test_only_the_last_lines_of_a_log(home: Path) -> None:
    """As many as are said to be."""
    log = home.parent / "run" / "server.log"
    log.write_text("".join(f"line {number}.\n" for number in range(100)), encoding="utf-8")
    said = _examine()
    assert "line 60.\n" in said and "line 59.\n" not in said


def test_nothing_of_the_users_own(home: Path) -> None:
    """Home folder, name, keys, passwords and tokens, in a log that anybody may have written into."""
    runtime = home.parent / "run"
    endpoint = "tcp://127.0.0.1:9"
    write_connection_file(runtime / "connection.json", ConnectionInfo(endpoint, 1, *KEYS))
    entries = [f"{home}/picture.png", "/media/anna/disk", "http://anna:word@proxy:3128", "hf_abcdefghijklmnop", *KEYS]
    lines = [json.dumps({"message": f"cannot read {entry}\nanna's"}) for entry in entries]
    (runtime / "server.log").write_text("\n".join(lines), encoding="utf-8")
    said = _examine()
    for hidden in (str(home), "anna", "word@", "hf_abc", *KEYS):
        assert hidden not in said
    assert "~/picture.png" in said and "/media/USER/disk" in said and "http://SECRET@proxy:3128" in said


NAMES = [
    ("/home/anna", "/home/anna/x /home/annabel/x", "~/x /home/annabel/x"),
    ("/home/anna", "ANNA joanna anna_1 adain-anna", "USER joanna USER_1 adain-USER"),
    ("/home/anna", "/mnt/home/anna/x", "/mnt/home/USER/x"),
    ("/home/andré", json.dumps("/home/andré/x andré"), '"~/x USER"'),
    ("/", "/usr/bin anna", "/usr/bin USER"),
]


@pytest.mark.parametrize(("home", "text", "shown"), NAMES)
def test_names_are_hidden_and_words_stay(home: str, text: str, shown: str) -> None:
    """Longer words that begin like them, letters that JSON escapes, a home that is the root."""
    assert Privacy(Machine("linux", {"USER": "anna"}, Path(home))).hide(text) == shown


def test_home_of_windows_is_hidden_in_a_log() -> None:
    """Backslashes are doubled there."""
    home = "C:\\Users\\Anna"
    privacy = Privacy(Machine("win32", {"USERNAME": "Anna"}, Path(home)))
    assert privacy.hide(f"{home}\\x") == "~\\x"
    assert privacy.hide(json.dumps("c:\\users\\anna\\x")) == '"~\\\\x"'


def test_what_is_broken_says_so_in_its_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged connection file, a log that is a folder, settings in a file's place, finders that fail, no home."""
    runtime = home.parent / "run"
    (runtime / "connection.json").write_text("{", encoding="utf-8")
    (runtime / "connection.json").chmod(0o600)
    (runtime / "server.log").mkdir()
    (home / ".config").write_text("", encoding="utf-8")

    def fails(_machine: Machine, **_options: object) -> Sequence[Host]:
        raise RuntimeError(f"{home} is broken")

    def finds_none(_machine: Machine, **_options: object) -> Sequence[Host]:
        raise HostNotFoundError("There is none.")

    said = _examine(fails, finds_none)
    assert "connection.json cannot be read" in said
    assert "Last lines of server.log\n  cannot be said (IsADirectoryError: " in said
    assert "settings: ~/.config/adain-style, cannot be made (Not a directory)" in said
    assert "  cannot be said (RuntimeError: ~ is broken)\n  There is none." in said

    def lack_a_home() -> Machine:
        raise HostNotFoundError("no home")

    monkeypatch.setattr(Machine, "here", lack_a_home)
    assert "There is none." in _examine(finds_none)


def test_broken_packages_cost_their_part_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without zmq, numpy and the Hub's client: the wheel without what it needs."""
    assert home.is_dir()
    for name in ("adain_style.client.client", "adain_weights.catalog", "adain_weights.hub_client"):
        monkeypatch.setitem(sys.modules, name, None)
    said = _examine()
    assert "Server\n  cannot be said (ModuleNotFoundError: " in said.replace("ImportError", "ModuleNotFoundError")
    assert said.count("cannot be said") == 3 and "  models: cannot be said (" in said and "temporary files: " in said
