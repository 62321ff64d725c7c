"""Which command starts a server, how it is started, and a server on another machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from adain_style.client import launcher, protocol
from adain_style.client.connection import ConnectionInfo, read_connection_file, remote_connection, write_connection_file
from adain_style.client.errors import CancelledError, ServerUnavailableError
from adain_style.client.launcher import server_command
from adain_style.host.servers import open_server
from adain_style.host.settings import ServerSettings
from support.helpers import RunningServer, random_pixels, request

KEYS = ConnectionInfo("tcp://127.0.0.1:5571", 1, "k" * 40, "c" * 40, "s" * 40)
SHIPPED_COMMAND_FILE = launcher.SERVER_COMMAND_FILE
SLEEPER = (
    "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(repr([os.getpid(), sys.argv])); time.sleep(99)"
)


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command anywhere, until a test puts it there."""
    monkeypatch.delenv(launcher.SERVER_COMMAND_VARIABLE, raising=False)
    monkeypatch.setattr(launcher, "SERVER_COMMAND_FILE", tmp_path / "server.json")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def place() -> Iterator[Path]:
    """A private folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="adain-test-") as folder:
        yield Path(folder)


def _put_on_path(tmp_path: Path) -> str:
    program = tmp_path / "bin" / "adain-server"
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def test_no_command_is_a_sentence() -> None:
    """It says what to install."""
    with pytest.raises(ServerUnavailableError, match=r"adain-server is not installed here; .+\.$"):
        server_command()


def test_command_of_the_environment_goes_before_the_installed_one_and_that_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is taken as soon as it is there."""
    program = _put_on_path(tmp_path)
    assert server_command() == [program]
    (tmp_path / "server.json").write_text(json.dumps({"command": [sys.executable, "-m", "my server"]}))
    assert server_command() == [sys.executable, "-m", "my server"]
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, "'/opt/my server' --device cpu")
    assert server_command() == ["/opt/my server", "--device", "cpu"]
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, "  ")
    assert server_command() == [sys.executable, "-m", "my server"]


def test_environments_command_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quotation mark is missing: the variable is named."""
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, "'/opt/my server")
    with pytest.raises(ServerUnavailableError, match=r"^ADAIN_SERVER_COMMAND is no command: .+\.$"):
        server_command()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"{}",
        b'{"command": "adain-server"}',
        b'{"command": []}',
        b'{"command": ["/bin/sh", 1]}',
        b'{"command": ["/no/such/program"]}',
        b'{"command": null}',
    ],
)
def test_damaged_command_file_is_ignored(tmp_path: Path, text: bytes) -> None:
    """As if it were not there; so is one whose program has gone."""
    program = _put_on_path(tmp_path)
    (tmp_path / "server.json").write_bytes(text)
    assert server_command() == [program]


def test_command_file_is_beside_the_package() -> None:
    """In the plug-in's folder, where adain-plugin writes it; the package itself is replaced by an update."""
    assert Path(protocol.__file__).parent.parent / "server.json" == SHIPPED_COMMAND_FILE


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text()


def test_start_can_be_given_up_and_says_what_it_starts(place: Path) -> None:
    """CancelledError soon, though the program never answers; the idle time reached its command line and the user."""
    said: list[str] = []
    noted = place / "noted"
    begun = time.monotonic()
    with pytest.raises(CancelledError, match="still starting"):
        launcher.connect(
            name="x",
            connection_file=place / "connection.json",
            command=[sys.executable, "-c", SLEEPER, str(noted)],
            on_start=said.append,
            cancelled=lambda: time.monotonic() - begun > 0.3,
            idle_timeout_s=150,
        )
    assert time.monotonic() - begun < 2
    pid, arguments = json.loads(_wait_for(noted).replace("'", '"'))
    try:
        assert arguments[2:] == ["--connection-file", str(place / "connection.json"), "--idle-timeout", "150"]
        assert said == ["Starting the AdaIN server; it ends by itself after 2 minutes without work."]
    finally:
        os.kill(pid, signal.SIGKILL)


def test_minutes_of_the_choice_reach_the_command_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As seconds; one minute is singular."""
    said: list[str] = []
    noted = place / "noted"
    (place / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(place / "connection.json"))
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, f"{sys.executable} {place / 'sleeper.py'} {noted}")
    with pytest.raises(CancelledError):
        open_server(ServerSettings(idle_minutes=1), name="x", on_start=said.append, cancelled=lambda: noted.exists())
    pid, arguments = json.loads(_wait_for(noted).replace("'", '"'))
    try:
        assert arguments[-2:] == ["--idle-timeout", "60"]
        assert said == ["Starting the AdaIN server; it ends by itself after 1 minute without work."]
    finally:
        os.kill(pid, signal.SIGKILL)


def test_program_that_never_answers_is_ended(place: Path) -> None:
    """After the time-out; the sentence names the log."""
    with pytest.raises(ServerUnavailableError, match=r"did not answer within 1 seconds; see .*server-output\.txt\.$"):
        launcher.connect(
            name="x",
            connection_file=place / "connection.json",
            command=[sys.executable, "-c", SLEEPER, str(place / "noted")],
            timeout_s=1,
        )
    pid, _ = json.loads(_wait_for(place / "noted").replace("'", '"'))
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_program_that_ends_without_a_word(place: Path) -> None:
    """Its status is all there is to say."""
    with pytest.raises(ServerUnavailableError, match="could not start: it ended with status 3"):
        launcher.connect(
            name="x",
            connection_file=place / "connection.json",
            command=[sys.executable, "-c", "raise SystemExit(3)"],
        )


@pytest.mark.parametrize(
    "address", ["", "studio", "studio:", ":5571", "studio:0", "studio:65536", "studio:-1", "studio:x", "studio:5571/"]
)
def test_what_is_no_address_is_a_sentence(tmp_path: Path, address: str) -> None:
    """It shows one, and what was typed."""
    write_connection_file(tmp_path / "keys.json", KEYS)
    with pytest.raises(ServerUnavailableError) as caught:
        remote_connection(address, tmp_path / "keys.json")
    assert "HOST:PORT" in str(caught.value) and str(caught.value).endswith(f", not '{address}'.")


@pytest.mark.parametrize("address", ["studio.example:5571", " studio.example:5571 ", "tcp://studio.example:5571"])
def test_address_replaces_the_endpoint_of_the_key_file(tmp_path: Path, address: str) -> None:
    """The keys stay."""
    write_connection_file(tmp_path / "keys.json", KEYS)
    assert remote_connection(address, tmp_path / "keys.json") == ConnectionInfo(
        "tcp://studio.example:5571", 1, KEYS.server_key, KEYS.client_key, KEYS.client_secret
    )


def test_missing_key_file_is_a_sentence(tmp_path: Path) -> None:
    """So is a folder in its place."""
    for path in (tmp_path / "keys.json", tmp_path):
        with pytest.raises(ServerUnavailableError, match=r"There is no key file .*; make one .+\.$"):
            remote_connection("studio:5571", path)


def test_key_file_without_keys_is_a_sentence(tmp_path: Path) -> None:
    """It was copied from a server that listens to its own machine only."""
    write_connection_file(tmp_path / "keys.json", ConnectionInfo("ipc:///tmp/x", 1))
    with pytest.raises(
        ServerUnavailableError, match=r"has no keys; make one on the server's machine with 'adain-server keys new'"
    ):
        remote_connection("studio:5571", tmp_path / "keys.json")


@pytest.mark.fault(82)
def test_key_file_open_to_others_is_not_trusted(tmp_path: Path) -> None:
    """As copying leaves it: the sentence says what to do."""
    write_connection_file(tmp_path / "keys.json", KEYS)
    (tmp_path / "keys.json").chmod(0o644)
    with pytest.raises(ServerUnavailableError, match=r"let only yourself read it\.$"):
        remote_connection("studio:5571", tmp_path / "keys.json")


def test_damaged_key_file_is_a_sentence(tmp_path: Path) -> None:
    """Whatever stands in it."""
    write_connection_file(tmp_path / "keys.json", KEYS)
    for text in ("", "{", "[]", "{}", '{"endpoint": 7, "pid": 1}'):
        (tmp_path / "keys.json").write_text(text)
        with pytest.raises(ServerUnavailableError, match=r"; remove it .+\.$"):
            remote_connection("studio:5571", tmp_path / "keys.json")


def test_remote_server_paints_for_who_has_its_keys(tmp_path: Path) -> None:
    """By address and a copy of its connection file; without the right keys it stays silent."""
    with RunningServer("--bind", "tcp://127.0.0.1:0") as running:
        here = read_connection_file(running.connection_file)
        address = here.endpoint.removeprefix("tcp://")
        keys = tmp_path / "keys.json"
        shutil.copy(running.connection_file, keys)
        keys.chmod(0o600)
        write_connection_file(
            keys, ConnectionInfo("tcp://192.0.2.1:1", 1, here.server_key, here.client_key, here.client_secret)
        )
        choice = ServerSettings(remote=True, address=address, key_file=str(keys))
        with open_server(choice, name="far") as client:
            small = random_pixels(16, 16)
            assert len(client.stylize(request(small, [(small, 1.0)])).pixels.data) == 16 * 16 * 3
        write_connection_file(
            keys, ConnectionInfo("tcp://192.0.2.1:1", 1, here.client_key, here.client_key, here.client_secret)
        )
        with pytest.raises(ServerUnavailableError):
            open_server(choice, name="far")


def test_remote_server_is_never_started_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there: a sentence, and no command is run."""
    public, secret = (key.decode() for key in zmq.curve_keypair())
    write_connection_file(tmp_path / "keys.json", ConnectionInfo("tcp://192.0.2.1:1", 1, public, public, secret))
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, f"/usr/bin/touch {tmp_path / 'started'}")
    said: list[str] = []
    choice = ServerSettings(remote=True, address="127.0.0.1:1", key_file=str(tmp_path / "keys.json"))
    with pytest.raises(ServerUnavailableError):
        open_server(choice, name="x", on_start=said.append)
    assert said == [] and not (tmp_path / "started").exists()
