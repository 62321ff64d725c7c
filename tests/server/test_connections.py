"""Peers that break the rules of the connection itself: they are gone soon, and others notice nothing."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from pathlib import Path

import pytest

from adain_server.io_process.limits import MEMORY_LIMIT, SPARE_DESCRIPTORS
from adain_style.client import protocol
from adain_style.client.connection import read_connection_file
from support.helpers import SMALL_REQUEST, RunningServer, works
from support.processes import descriptors, resident_mib, wait_until
from support.raw_peer import RawPeer
from support.zmtp import COMMAND, MORE, SIGNATURE, ZmtpPeer, frame, greeting, ready

HELLO = protocol.pack("hello", client="x")
HANDSHAKE_S, SILENCE_S = 2.0, 3.5
"""How long an unfinished handshake, and silence in the middle of a frame, are suffered."""
SLACK_S = 3.0
"""Of a busy machine."""
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize("length", [10 * 1024**3, 2**63 - 1, 2**64 - 1, 2**63], ids=str)
def test_length_beyond_all_bounds_ends_the_connection(server: RunningServer, length: int) -> None:
    """At once, before anything is allocated for it."""
    before = resident_mib(server.process.pid)
    with ZmtpPeer(server).shake_hands() as peer:
        peer.send(frame(b"x" * 1000, announced=length))
        assert peer.closed_after(SLACK_S) < SLACK_S
    assert resident_mib(server.process.pid) - before < 8
    assert works(server)


@pytest.mark.fault(4)
def test_peers_that_promise_much_cost_nothing(server: RunningServer) -> None:
    """Twenty announce the largest frame there is, and send a kilobyte; twenty announce 256 MiB."""
    before = resident_mib(server.process.pid)
    peers = []
    for length in [protocol.CHUNK_BYTES] * 20 + [256 * 1024**2] * 20:
        peer = ZmtpPeer(server).shake_hands()
        peer.send(frame(b"x" * 1024, announced=length))
        peers.append(peer)
    assert works(server)
    assert resident_mib(server.process.pid) - before < 32
    for peer in peers:
        peer.socket.close()


@pytest.mark.fault(5)
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", TLS_HELLO], ids=["http", "tls"])
def test_other_protocols_are_shown_out(server: RunningServer, tcp_server: RunningServer, data: bytes) -> None:
    """By ipc and by tcp."""
    for each in (server, tcp_server):
        with ZmtpPeer(each) as peer:
            peer.send(data)
            assert peer.closed_after(HANDSHAKE_S + SLACK_S) < HANDSHAKE_S + SLACK_S
        assert works(each)


@pytest.mark.fault(6)
def test_unknown_mechanism_is_shown_out(server: RunningServer, tcp_server: RunningServer) -> None:
    """And PLAIN, which is known and not wanted."""
    for each in (server, tcp_server):
        for mechanism in (b"MAGIC", b"PLAIN"):
            with ZmtpPeer(each) as peer:
                peer.send(greeting(mechanism=mechanism))
                assert peer.closed_after(HANDSHAKE_S + SLACK_S) < HANDSHAKE_S + SLACK_S


@pytest.mark.fault(7)
@pytest.mark.parametrize("version", [0, 1], ids=["ZMTP 1", "ZMTP 2"])
def test_older_versions_get_round_nothing(server: RunningServer, tcp_server: RunningServer, version: int) -> None:
    """An old peer says no credentials: by CURVE it gets nothing, by ipc nothing unless its user was checked."""
    hello = b"\x01\x00" + frame(HELLO) if version else b"\x01\x00" + bytes([len(HELLO) + 1, 0]) + HELLO
    first = SIGNATURE + b"\x01\x05" if version else b""
    for each in (server, tcp_server):
        with ZmtpPeer(each, timeout_s=1.5) as peer:
            peer.send(first + hello)
            assert b"welcome" not in peer.receive(4096)
        assert works(each)


@pytest.mark.fault(8)
@pytest.mark.parametrize("kind", [b"PUB", b"SUB", b"REP", b"PUSH", b"NONSENSE"])
def test_socket_of_a_wrong_kind_is_shown_out(server: RunningServer, kind: bytes) -> None:
    """Its handshake does not end well."""
    with ZmtpPeer(server) as peer:
        peer.send(greeting())
        peer.receive(64)
        peer.send(ready(socket_type=kind))
        assert peer.closed_after(HANDSHAKE_S + SLACK_S) < HANDSHAKE_S + SLACK_S


@pytest.mark.fault(9)
@pytest.mark.parametrize("count", [0, 1, 11, 40])
def test_greeting_that_stops_is_closed(server: RunningServer, count: int) -> None:
    """After so many of its bytes."""
    with ZmtpPeer(server) as peer:
        peer.send(greeting()[:count])
        assert peer.closed_after(HANDSHAKE_S + SLACK_S) < HANDSHAKE_S + SLACK_S


@pytest.mark.fault(10)
def test_half_a_frame_is_closed(server: RunningServer) -> None:
    """A peer that stops in the middle does not answer the heartbeat either."""
    with ZmtpPeer(server).shake_hands() as peer:
        peer.send(frame(b"x" * 1000, announced=100_000))
        assert peer.closed_after(SILENCE_S + SLACK_S) < SILENCE_S + SLACK_S


@pytest.mark.fault(11)
def test_bytes_that_drip_are_closed(server: RunningServer) -> None:
    """A byte now and then is no sign of life; only a whole frame is."""
    with ZmtpPeer(server).shake_hands() as peer:
        peer.send(frame(b"", announced=100_000))
        started = time.monotonic()
        while time.monotonic() - started < SILENCE_S + SLACK_S and peer.send(b"x"):
            time.sleep(0.3)
        assert time.monotonic() - started < SILENCE_S + SLACK_S


NONSENSE = {
    "unknown command": frame(b"\x05MAGICdata", COMMAND),
    "command without a name": frame(b"", COMMAND),
    "command's name beyond its end": frame(b"\xffREADY", COMMAND),
    "command with more to come": frame(b"\x04PING\x00\x01", COMMAND | MORE),
    "second READY": ready(),
    "ERROR": frame(b"\x05ERROR\x03bad", COMMAND),
    "reserved flags": bytes([0xF8, 1]) + b"x",
    "subscription": frame(b"\x09SUBSCRIBE", COMMAND),
    "ping without a time": frame(b"\x04PING", COMMAND),
}


@pytest.mark.fault(12)
@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_once_connected_harms_nobody(server: RunningServer, data: bytes) -> None:
    """Whatever becomes of the peer, the server is the same process and works."""
    with ZmtpPeer(server).shake_hands() as peer:
        peer.send(data)
        peer.send(frame(HELLO))
        peer.closed_after(0.3)
    assert works(server) and server.process.poll() is None


@pytest.mark.fault(16)
def test_peer_that_dies_inside_a_message_delivers_nothing(own_server: RunningServer) -> None:
    """Of a message of two frames the first one came: no answer, no error in the log, and its memory comes back."""
    before = resident_mib(own_server.process.pid)
    for _ in range(60):
        with ZmtpPeer(own_server).shake_hands() as peer:
            peer.send(frame(HELLO, MORE) + frame(b"x" * protocol.CHUNK_BYTES, MORE))
    assert works(own_server)
    wait_until(lambda: resident_mib(own_server.process.pid) - before < 16, 10)
    assert resident_mib(own_server.process.pid) - before < 16
    assert "refused a message" not in own_server.text()


@pytest.mark.fault(17)
def test_nobody_takes_anothers_place(own_server: RunningServer) -> None:
    """A peer that names itself is not heard, whoever else has that name; the others' ids are the server's choice."""
    with RawPeer(own_server) as good:
        assert good.ask([HELLO])["op"] == "welcome"
        for identity in (b"mine", b"\x01abcd"):
            with ZmtpPeer(own_server, timeout_s=1).shake_hands(identity=identity) as first:
                first.send(frame(HELLO))
                assert b"welcome" not in first.receive(4096)
                with ZmtpPeer(own_server, timeout_s=1).shake_hands(identity=identity) as second:
                    second.send(frame(HELLO))
                    assert b"welcome" not in second.receive(4096)
        assert good.ask([HELLO])["op"] == "welcome"
    assert "names itself" in (own_server.folder / "server.log").read_text()


@pytest.mark.fault(17)
def test_name_that_looks_like_the_servers_choice_takes_no_place(own_server: RunningServer) -> None:
    """Its own ids begin with a zero byte, which hides such a name; the second peer that claims it is not heard."""
    with ZmtpPeer(own_server, timeout_s=0.4).shake_hands(identity=b"\x00abcd") as first:
        first.send(frame(HELLO))
        assert b"welcome" in first.receive(200)
        with ZmtpPeer(own_server, timeout_s=0.4).shake_hands(identity=b"\x00abcd") as second:
            second.send(frame(HELLO))
            assert b"welcome" not in second.receive(4096)
        first.send(frame(HELLO))
        assert b"welcome" in first.receive(4096)
    assert works(own_server)


@pytest.mark.fault(3)
def test_messages_that_never_end_cost_bounded_memory(own_server: RunningServer) -> None:
    """2,048 frames of 1 MiB that all announce another one: the flood ends, a job of another client is painted right."""
    pid = own_server.process.pid
    with own_server.client() as client:
        expected = client.stylize(SMALL_REQUEST)
        before, most, cut = resident_mib(pid), 0.0, False
        with ZmtpPeer(own_server).shake_hands() as peer:
            part = frame(b"x" * protocol.CHUNK_BYTES, MORE)
            for _ in range(2048):
                if not peer.send(part):
                    cut = True
                    break
                most = max(most, resident_mib(pid))
        assert cut and most < before + 2 * MEMORY_LIMIT / 1024**2
        assert client.stylize(SMALL_REQUEST) == expected
    assert wait_until(lambda: resident_mib(pid) < before + 32, 10) < 10
    assert "all connections were closed" in (own_server.folder / "server.log").read_text()


@pytest.mark.fault(14, 15)
@pytest.mark.parametrize("bind", ["ipc", "tcp://127.0.0.1:0"])
def test_more_peers_than_descriptors_are_served(bind: str) -> None:
    """The limit that a session starts with is raised; a crowd beyond it is let in, and good clients are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        started = RunningServer("--bind", bind)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    try:
        with started as running:
            peers = [ZmtpPeer(running) for _ in range(400)]
            for peer in peers:
                peer.send(greeting(mechanism=b"NULL" if bind == "ipc" else b"CURVE"))
            assert wait_until(lambda: descriptors(running.process.pid) > 400, 10) < 10
            assert works(running) and running.process.poll() is None
            for peer in peers:
                peer.socket.close()
            assert wait_until(lambda: descriptors(running.process.pid) < 100, 10) < 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault(15)
def test_crowd_beyond_every_limit_does_not_end_the_server() -> None:
    """By ipc libzmq would end with the last descriptor: before, nobody else is let in; who is in is served."""
    limit, crowd = 4096, 8000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * crowd), hard))
    try:
        with RunningServer() as running, running.client() as good, contextlib.ExitStack() as peers:
            good.hello()
            resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
            path = read_connection_file(running.connection_file).endpoint.removeprefix("ipc://")
            with contextlib.suppress(OSError):  # nobody listens any more
                for _ in range(crowd):
                    peers.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
            assert good.stylize(SMALL_REQUEST).pixels.height == 24 and descriptors(running.process.pid) < limit
            assert "too many connections" in (running.folder / "server.log").read_text()
            peers.close()
            assert wait_until(Path(path).exists, 20) < 20
            assert works(running)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault(14)
def test_last_descriptors_are_kept() -> None:
    """Where the limit is reached all the same: who is in stays, others are refused, and later served again."""
    with RunningServer("--bind", "tcp://127.0.0.1:0") as running, running.client() as good:
        good.hello()
        limit = descriptors(running.process.pid) + SPARE_DESCRIPTORS + 10
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        strangers = []
        for _ in range(300):
            stranger = ZmtpPeer(running, timeout_s=0.001)
            stranger.shake_hands()
            strangers.append(stranger)
        assert running.process.poll() is None and good.stylize(SMALL_REQUEST).pixels.height == 24
        assert descriptors(running.process.pid) <= limit
        for stranger in strangers:
            stranger.socket.close()
        assert wait_until(lambda: descriptors(running.process.pid) < limit - SPARE_DESCRIPTORS, 10) < 10
        assert works(running)
