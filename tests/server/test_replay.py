"""Messages of another time: recorded ones, and ones for a server that was not there."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.connection import ConnectionInfo, read_connection_file
from adain_style.client.errors import ServerUnavailableError
from adain_style.client.jobs import StylizeJob
from support.helpers import SMALL_REQUEST, RunningServer, works
from support.processes import wait_until
from support.raw_peer import RawPeer

SOON_S = 30.0
AT_ONCE_S = 5.0


def _hellos(server: RunningServer, name: str) -> int:
    """How often a client of that name was heard."""
    return (server.folder / "server.log").read_text().count(f"hello from '{name}'")


class Recorder:
    """Somebody between a client and a server, who notes what the client sends.

    Attributes:
        recorded: Its bytes.
    """

    def __init__(self, server: RunningServer) -> None:
        self._to = urlsplit(read_connection_file(server.connection_file).endpoint)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.recorded = b""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = self.connect()
        back = threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True)
        back.start()
        self._pass_on(client, server, True)
        back.join()
        server.close()
        client.close()

    def connect(self) -> socket.socket:
        """A connection of its own to the server."""
        return socket.create_connection((self._to.hostname or "", self._to.port or 0), timeout=SOON_S)

    def _pass_on(self, source: socket.socket, target: socket.socket, notes: bool) -> None:
        try:
            while data := source.recv(65536):
                self.recorded += data if notes else b""
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """After the client has gone."""
        self._threads[0].join(SOON_S)
        self._listener.close()


@pytest.fixture
def tcp() -> Iterator[tuple[RunningServer, ConnectionInfo]]:
    """A server on tcp of this test's own, and where it is."""
    with RunningServer("--bind", "tcp://127.0.0.1:0", "--verbose") as server:
        yield server, read_connection_file(server.connection_file)


@pytest.mark.fault(79)
def test_recorded_connection_is_refused(tcp: tuple[RunningServer, ConnectionInfo]) -> None:
    """Every byte that the owner's client sent comes again: CURVE's keys were that one connection's."""
    server, info = tcp
    recorder = Recorder(server)
    with Client(replace(info, endpoint=recorder.endpoint), name="recorded") as client:
        assert client.hello().ready
        before = client.status().uploading
    recorder.close()
    heard = _hellos(server, "recorded")
    assert heard >= 1 and before == 0
    with recorder.connect() as again:
        again.sendall(recorder.recorded)
        with contextlib.suppress(ConnectionError):
            while again.recv(65536):
                pass  # until it is shown out, or the time-out fails the test
    with Client(info, name="owner") as client:
        assert client.hello().ready
    assert _hellos(server, "owner") >= 1 and _hellos(server, "recorded") == heard


@pytest.mark.fault(79)
def test_open_that_comes_again_after_a_restart_does_no_harm(own_server: RunningServer) -> None:
    """A new server has neither its pixels nor its result: it asks for them, gives nothing out, and forgets it."""
    job = StylizeJob(SMALL_REQUEST)
    opened = job.open()
    with RawPeer(own_server) as peer:
        peer.upload(job)
        while not job.finished:
            peer.serve([job])
    own_server.process.kill()
    own_server.process.wait()
    with RunningServer(folder=own_server.folder) as again:
        with RawPeer(again) as stranger:
            answer = stranger.ask(*opened)
            assert answer["op"] == "grant" and len(answer["need"]) == 2
            credit = protocol.pack("credit", job=job.job_id, chunks=1)
            assert stranger.ask([credit])["code"] == "BAD_CHUNK"
        with again.client() as client:
            assert wait_until(lambda: client.status().held_bytes == 0, SOON_S) < SOON_S
        assert works(again)


@pytest.mark.fault(73)
def test_nothing_is_queued_for_a_server_that_is_not_there(own_server: RunningServer) -> None:
    """Questions and jobs are refused at once; a server that starts later hears nothing of them from the same client."""
    with Client(read_connection_file(own_server.connection_file), name="early") as client:
        client.hello()
        own_server.process.kill()
        own_server.process.wait()
        for ask in (client.hello, client.status, lambda: client.stylize(SMALL_REQUEST)):
            started = time.monotonic()
            with pytest.raises(ServerUnavailableError):
                ask()
            assert time.monotonic() - started < AT_ONCE_S
        before = _hellos(own_server, "early")
        with RunningServer("--verbose", folder=own_server.folder) as later, later.client() as other:
            assert client.hello().ready
            assert _hellos(later, "early") == before + 1
            status = other.status()
            assert (status.uploading, status.queued, status.running, status.finished) == (0, 0, 0, 0)
