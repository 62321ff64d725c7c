"""The gatekeeper that says who may connect: while nobody answers, nobody is let in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from adain_server.access.authenticator import ZapAuthenticator
from adain_server.io_process.endpoint import Endpoint
from adain_style.client import protocol
from adain_style.client.connection import read_connection_file
from support.processes import wait_until

PATIENCE_MS = 3000
"""Longer than a handshake may take, so that a peer has tried at least twice."""
BAD_ANSWER_S = 1.0
BINDS = ("ipc", "tcp://127.0.0.1:0")


@pytest.fixture(params=BINDS)
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """A server's place without a server; on tcp with CURVE."""
    with (
        tempfile.TemporaryDirectory(prefix="adain-test-") as folder,
        Endpoint(Path(folder) / "connection.json", request.param) as claimed,
    ):
        yield claimed


def _knock(endpoint: Endpoint) -> zmq.Socket[bytes]:
    """The owner's peer, with the right keys, and a message that goes out as soon as it is let in."""
    info = read_connection_file(endpoint._file)
    peer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    peer.setsockopt(zmq.LINGER, 0)
    if info.server_key:
        peer.setsockopt(zmq.CURVE_SERVERKEY, info.server_key.encode())
        peer.setsockopt(zmq.CURVE_PUBLICKEY, info.client_key.encode())
        peer.setsockopt(zmq.CURVE_SECRETKEY, info.client_secret.encode())
    peer.connect(info.endpoint)
    peer.send(protocol.pack("hello", client="owner"))
    return peer


def _never_answer(_place: Endpoint) -> None:
    """The questions stay where they are."""


def _close(endpoint: Endpoint) -> None:
    endpoint.authenticator.close()


def _answer_again(endpoint: Endpoint) -> None:
    info = read_connection_file(endpoint._file)
    if endpoint.authenticator.socket.closed:
        endpoint.authenticator = ZapAuthenticator(
            endpoint.context, z85.decode(info.client_key) if info.client_key else b"", None
        )


@pytest.mark.fault(77)
@pytest.mark.parametrize("go_silent", [_never_answer, _close], ids=["silent", "closed"])
def test_nobody_is_let_in_while_the_authenticator_is_silent(
    endpoint: Endpoint, go_silent: Callable[[Endpoint], None]
) -> None:
    """Not even the owner with the right keys, on ipc and on tcp; once it answers the same peer is heard."""
    go_silent(endpoint)
    with _knock(endpoint) as peer:
        assert not endpoint.router.poll(PATIENCE_MS)
        assert not peer.poll(0)
        _answer_again(endpoint)

        def is_let_in() -> bool:
            endpoint.authenticator.answer()
            return bool(endpoint.router.poll(0))

        assert wait_until(is_let_in, 10) < 10
        assert endpoint.router.recv_multipart()[1] == protocol.pack("hello", client="owner")


@pytest.mark.fault(77)
@pytest.mark.parametrize("reply", ["nonsense", "another question's", "cut"])
def test_malformed_answer_lets_nobody_in(endpoint: Endpoint, reply: str) -> None:
    """A gatekeeper that is out of its mind admits nobody either."""
    version = b"0.9" if reply == "nonsense" else b"1.0"

    def is_let_in() -> bool:
        while endpoint.authenticator.socket.poll(0):
            frames = endpoint.authenticator.socket.recv_multipart()
            split = frames.index(b"") + 1
            number = os.urandom(8) if reply == "another question's" else frames[split + 1]
            answer = [version, number, b"200", b"OK", b"owner", b""]
            endpoint.authenticator.socket.send_multipart([*frames[:split], *answer[: 4 if reply == "cut" else 6]])
        return bool(endpoint.router.poll(0))

    with _knock(endpoint):
        assert wait_until(is_let_in, BAD_ANSWER_S) == float("inf")
