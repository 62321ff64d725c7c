"""Clients of other machines: let in by a key that is listed, and by nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from adain_server.access.keys import KEY_FILE, KeyRing
from adain_server.cli import main
from adain_server.errors import ServerError
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.connection import ConnectionInfo, read_connection_file, remote_connection
from adain_style.client.errors import RequestError, ServerUnavailableError
from support.helpers import SERVER_COMMAND, RunningServer, random_pixels, request
from support.raw_peer import RawPeer

SMALL = request(random_pixels(16, 16), [(random_pixels(16, 16, seed=1), 1.0)])
ADDRESS = "studio.example:5571"
SHORT_S = 1.0


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder for keys, that is not there yet."""
    return tmp_path / "keys"


def _new(keys: Path, name: str, output: Path) -> ConnectionInfo:
    assert main(["keys", "new", name, "--address", ADDRESS, "--keys", str(keys), "-o", str(output)]) == 0
    return read_connection_file(output)


def test_new_key_is_listed_and_its_secret_is_the_clients_alone(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that only their owner reads; the server's list has the public half, and the command prints no key."""
    info = _new(keys, "anna", tmp_path / "anna.json")
    assert info.endpoint == f"tcp://{ADDRESS}" and info.client_secret and info.server_key
    assert stat.S_IMODE((tmp_path / "anna.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((keys / KEY_FILE).stat().st_mode) == 0o600 and stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert info.client_secret not in (keys / KEY_FILE).read_text() and info.client_key in (keys / KEY_FILE).read_text()
    assert main(["keys", "list", "--keys", str(keys)]) == 0
    printed = capsys.readouterr().out
    assert "anna" in printed and info.client_secret not in printed
    again = _new(keys, "bert", tmp_path / "bert.json")
    assert again.server_key == info.server_key and again.client_key != info.client_key
    assert [client.name for client in KeyRing(keys).clients()] == ["anna", "bert"]


def test_wrong_use_of_the_command_is_a_sentence(keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is taken or none, a file in the way, an address that is none, a key that is not there."""
    _new(keys, "anna", tmp_path / "anna.json")
    common = ["--keys", str(keys)]
    new = ["keys", "new", "--address", ADDRESS, *common, "-o", str(tmp_path / "other.json")]
    wrong = [
        [*new, "anna"],
        [*new, "../anna"],
        ["keys", "new", "carl", "--address", ADDRESS, *common, "-o", str(tmp_path / "anna.json")],
        ["keys", "new", "carl", "--address", "studio", *common],
        ["keys", "revoke", "carl", *common],
    ]
    for arguments in wrong:
        capsys.readouterr()
        assert main(arguments) == 1, arguments
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.endswith(".\n"), error
    assert [client.name for client in KeyRing(keys).clients()] == ["anna"] and not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"clients": 3}', '{"server_key": 1, "server_secret": "", "clients": []}']
)
def test_damaged_keys_are_a_sentence_and_let_nobody_in(keys: Path, tmp_path: Path, text: str) -> None:
    """Whatever is in the file."""
    info = _new(keys, "anna", tmp_path / "anna.json")
    ring, public = KeyRing(keys), z85.decode(info.client_key)
    assert ring.is_listed(public)
    (keys / KEY_FILE).write_text(text)
    os.utime(keys / KEY_FILE, (1, 1))
    assert not ring.is_listed(public)
    with pytest.raises(ServerError, match="damaged"):
        ring.clients()


def test_keys_that_others_can_read_are_not_trusted(keys: Path, tmp_path: Path) -> None:
    """The server's secret is in the file."""
    _new(keys, "anna", tmp_path / "anna.json")
    (keys / KEY_FILE).chmod(0o644)
    with pytest.raises(ServerError, match="chmod 600"):
        KeyRing(keys).server_pair()


@pytest.mark.fault(80)
def test_listening_beyond_loopback_without_keys_is_refused(keys: Path, tmp_path: Path) -> None:
    """One line that says how keys are made; a list that is empty again counts as none."""
    tmp_path.chmod(0o700)
    command = [*SERVER_COMMAND, "--bind", "tcp://0.0.0.0:0", "--connection-file", str(tmp_path / "c.json")]
    for _ in range(2):
        run = subprocess.run([*command, "--keys", str(keys)], capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 1 and run.stderr.count("\n") == 1 and "adain-server keys new" in run.stderr
        _new(keys, "anna", tmp_path / "anna.json")
        KeyRing(keys).revoke("anna")
        (tmp_path / "anna.json").unlink()


@pytest.fixture
def studio(keys: Path, tmp_path: Path) -> Iterator[tuple[RunningServer, ConnectionInfo]]:
    """A server that listens everywhere, and the key file of anna, who reaches it by this machine's address."""
    _new(keys, "anna", tmp_path / "anna.json")
    with RunningServer("--bind", "tcp://0.0.0.0:0", "--keys", str(keys)) as server:
        port = read_connection_file(server.connection_file).endpoint.rpartition(":")[2]
        yield server, remote_connection(f"127.0.0.1:{port}", tmp_path / "anna.json")


def test_listed_client_paints_and_the_owner_does(studio: tuple[RunningServer, ConnectionInfo]) -> None:
    """Each with keys of its own."""
    server, anna = studio
    for connection in (anna, read_connection_file(server.connection_file)):
        with Client(connection) as client:
            assert len(client.stylize(SMALL).pixels.data) == 16 * 16 * 3


def test_only_the_owner_ends_the_server(studio: tuple[RunningServer, ConnectionInfo]) -> None:
    """A guest gets FORBIDDEN, and the server goes on."""
    server, anna = studio
    with Client(anna) as client:
        with pytest.raises(RequestError) as caught:
            client.stop()
        assert caught.value.code == "FORBIDDEN" and client.hello().ready
    with server.client() as owner:
        owner.stop()
    assert server.process.wait(timeout=30) == 0


@pytest.mark.fault(74, 75, 76)
def test_strangers_get_no_answer(studio: tuple[RunningServer, ConnectionInfo]) -> None:
    """No CURVE, an unlisted key, a wrong server key, a wrong secret; whoever is listed is served meanwhile."""
    server, anna = studio
    public, secret = (key.decode() for key in zmq.curve_keypair())
    strangers = {
        "no CURVE": ConnectionInfo(anna.endpoint, 0),
        "unlisted key": replace(anna, client_key=public, client_secret=secret),
        "wrong server key": replace(anna, server_key=public),
        "public key of somebody else": replace(anna, client_secret=secret),
    }
    for name, stranger in strangers.items():
        with Client(stranger) as client, pytest.raises(ServerUnavailableError):
            client.hello(timeout_s=SHORT_S)
            raise AssertionError(f"{name} was answered")
    with Client(anna) as client:
        assert client.hello().ready
    assert server.process.poll() is None


@pytest.mark.fault(75)
def test_revoked_and_new_keys_count_without_a_restart(
    studio: tuple[RunningServer, ConnectionInfo], keys: Path, tmp_path: Path
) -> None:
    """The next connection is refused; a key that was made meanwhile is admitted."""
    _server, anna = studio
    bert = replace(_new(keys, "bert", tmp_path / "bert.json"), endpoint=anna.endpoint)
    with Client(bert) as client:
        assert client.hello().ready
    assert main(["keys", "revoke", "anna", "--keys", str(keys)]) == 0
    with Client(anna) as client, pytest.raises(ServerUnavailableError):
        client.hello(timeout_s=SHORT_S)
    with Client(bert) as client:
        assert client.hello().ready


def test_server_keeps_its_key_over_a_restart(keys: Path, tmp_path: Path) -> None:
    """A key file is good for the server's next start as well."""
    info = _new(keys, "anna", tmp_path / "anna.json")
    for _ in range(2):
        with RunningServer("--bind", "tcp://0.0.0.0:0", "--keys", str(keys)) as server:
            port = read_connection_file(server.connection_file).endpoint.rpartition(":")[2]
            with Client(replace(info, endpoint=f"tcp://127.0.0.1:{port}")) as client:
                assert client.hello().ready


@pytest.mark.fault(75)
def test_loopback_lets_no_guest_in(keys: Path, tmp_path: Path) -> None:
    """Whoever listens to the own machine only wants nobody from elsewhere."""
    info = _new(keys, "anna", tmp_path / "anna.json")
    with RunningServer("--bind", "tcp://127.0.0.1:0", "--keys", str(keys)) as server:
        own = read_connection_file(server.connection_file)
        anna = replace(info, endpoint=own.endpoint, server_key=own.server_key)
        with Client(anna) as client, pytest.raises(ServerUnavailableError):
            client.hello(timeout_s=SHORT_S)


def test_owner_of_ipc_may_end_the_server(own_server: RunningServer) -> None:
    """By uid alone."""
    with RawPeer(own_server) as peer:
        assert peer.ask([protocol.pack("stop")])["op"] == "stopping"
    assert own_server.process.wait(timeout=30) == 0
