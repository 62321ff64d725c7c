"""A server that has gone is noticed at once; one whose connection broke for a moment is not given up."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adain_style.client.client import GONE_S, Client
from adain_style.client.connection import is_deserted
from adain_style.client.errors import CancelledError, ServerUnavailableError
from adain_style.client.jobs import Progress
from support.helpers import RunningServer, random_pixels, request
from support.processes import descriptors
from support.relay import Relay

AT_ONCE_S = 3.0
"""It is less than a second on a machine that is not busy; without looking it would be ten."""
WANTED = request(random_pixels(500, 600), [("space-sun", 1.0)])
"""Painted for a second or more."""


class _At:
    """Does something once, when a job is at a stage.

    Attributes:
        done_at: When it was done.
    """

    def __init__(self, stage: str, do: Callable[[], object]) -> None:
        self._stage, self._do = stage, do
        self.done_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """The job's progress."""
        if progress.stage == self._stage and not self.done_at:
            self.done_at = time.monotonic()
            self._do()


@pytest.mark.fault(61, 96)
@pytest.mark.parametrize("bind", ["ipc", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize("stage", ["upload", "encode"])
def test_killed_server_is_a_sentence_at_once(bind: str, stage: str) -> None:
    """While the layer is sent, and while it is painted."""
    with RunningServer("--bind", bind) as server, server.client() as client:
        kill = _At(stage, server.process.kill)
        with pytest.raises(ServerUnavailableError, match=r"^The AdaIN server stopped answering; try again\.$"):
            client.stylize(WANTED, on_progress=kill)
        assert kill.done_at and time.monotonic() - kill.done_at < AT_ONCE_S


def test_job_that_is_cancelled_when_the_server_has_gone_is_cancelled(own_server: RunningServer) -> None:
    """At once, too, and not as a failure: the user did not want the picture any more."""
    with own_server.client() as client:
        kill = _At("encode", own_server.process.kill)
        with pytest.raises(CancelledError):
            client.stylize(WANTED, on_progress=kill, cancelled=lambda: bool(kill.done_at))
        assert time.monotonic() - kill.done_at < AT_ONCE_S


def test_question_to_a_server_that_is_killed_meanwhile_is_a_sentence_at_once(own_server: RunningServer) -> None:
    """Though a thumbnail may take it twelve seconds."""
    with own_server.client() as client:
        client.hello()
        own_server.process.send_signal(signal.SIGSTOP)
        killed = threading.Timer(0.5, own_server.process.kill)
        killed.start()
        began = time.monotonic()
        with pytest.raises(ServerUnavailableError, match="No AdaIN server is running"):
            client.swatch("space-sun")
        assert time.monotonic() - began < 0.5 + AT_ONCE_S
        killed.join()


@pytest.mark.parametrize("broken_s", [0.0, 3 * GONE_S], ids=["at once", "later"])
def test_connection_that_is_made_again_brings_the_result(own_server: RunningServer, broken_s: float) -> None:
    """The server goes on and holds its place, even if it lets nobody in for a while."""
    with Relay(own_server) as relay, relay.client() as client:
        again = threading.Timer(broken_s, relay.lay)

        def cut() -> None:
            relay.cut()
            again.start()

        broken = _At("encode", cut)
        result = client.stylize(WANTED, on_progress=broken)
        again.join()
    with own_server.client() as direct:
        assert broken.done_at and result == direct.stylize(WANTED)


def test_looking_costs_no_descriptors(own_server: RunningServer) -> None:
    """However often a client asks whether a server has gone that has gone."""
    with own_server.client() as client:
        client.hello()
        own_server.process.kill()
        own_server.process.wait()
        deadline = time.monotonic() + AT_ONCE_S
        while not client.is_gone():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = descriptors(os.getpid())
        assert all(client.is_gone() for _ in range(100))
        assert descriptors(os.getpid()) == before


def test_stopped_server_has_not_gone(own_server: RunningServer) -> None:
    """It holds its connections."""
    with own_server.client() as client:
        client.hello()
        own_server.process.send_signal(signal.SIGSTOP)
        try:
            assert not any(_looked(client, 2 * GONE_S))
        finally:
            own_server.process.send_signal(signal.SIGCONT)


def _looked(client: Client, seconds: float) -> Iterator[bool]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield client.is_gone()
        time.sleep(0.05)


def test_place_is_deserted_when_nobody_listens_and_nobody_holds_its_lock() -> None:
    """By ipc; a server whose socket had to be made again has another name for it."""
    with tempfile.TemporaryDirectory(prefix="adain-test-") as name:
        for socket_name in ("connection.sock", "connection.1.sock"):
            path = Path(name) / socket_name
            endpoint = f"ipc://{path}"
            assert is_deserted(endpoint)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen()
                assert not is_deserted(endpoint)
            assert path.exists() and is_deserted(endpoint)
            with (Path(name) / "connection.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                assert not is_deserted(endpoint)
            assert is_deserted(endpoint)


def test_port_is_deserted_when_it_refuses() -> None:
    """By tcp; an address that says nothing is not known to be deserted."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        assert not is_deserted(endpoint)
    assert is_deserted(endpoint)
    assert not is_deserted("tcp://no.such.host.invalid:1")
