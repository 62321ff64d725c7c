"""What breaks the protocol, and processes that die: the server answers, and goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import msgpack
import pytest
import zmq

from adain_style.client import client as client_module
from adain_style.client import protocol
from adain_style.client.client import Client, ServerStatus
from adain_style.client.connection import read_connection_file
from adain_style.client.errors import RequestError, ServerUnavailableError
from adain_style.client.jobs import Progress, StylizeJob
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request, works
from support.processes import segments_of, shared_memory_names
from support.raw_peer import RawPeer

BAD_MESSAGES = {
    "not msgpack": ([b"\xc1garbage"], "BAD_HEADER"),
    "pickle": (
        [b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94."],
        "BAD_HEADER",
    ),
    "later version": ([msgpack.packb({"v": 2, "op": "hello"})], "UNSUPPORTED_VERSION"),
    "unknown op": ([msgpack.packb({"v": 1, "op": "shutdown"})], "UNKNOWN_OP"),
    "missing field": ([msgpack.packb({"v": 1, "op": "hello"})], "BAD_FIELD"),
    "two payloads": ([protocol.pack("hello", client="x"), b"1", b"2"], "BAD_ENVELOPE"),
}


@pytest.mark.fault(18, 19, 27, 28, 81)
@pytest.mark.parametrize(("frames", "code"), BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
def test_bad_message_gets_a_typed_error(server: RunningServer, frames: list[bytes], code: str) -> None:
    """A bad header gets its error and a sentence; the connection and the server live on."""
    with RawPeer(server) as peer:
        answer = peer.ask(frames)
        assert (answer["op"], answer["code"]) == ("error", code)
        if code == "UNSUPPORTED_VERSION":
            assert answer["versions"] == [protocol.VERSION, protocol.VERSION]
        assert peer.ask([protocol.pack("hello", client="x")])["op"] == "welcome"


@pytest.mark.fault(32)
def test_log_of_a_real_server_has_lines_of_json(own_server: RunningServer) -> None:
    """What a peer wrote is escaped; the file lies in the private folder."""
    with RawPeer(own_server) as peer:
        peer.ask([msgpack.packb({"v": 1, "op": "\n\x1b[31m forged"})])
    lines = [json.loads(line) for line in (own_server.folder / "server.log").read_text().splitlines()]
    assert any(line["level"] == "warning" and "forged" in line["message"] for line in lines)
    assert b"\x1b" not in (own_server.folder / "server.log").read_bytes()


@pytest.mark.fault(18)
def test_third_bad_envelope_silences_the_peer(server: RunningServer) -> None:
    """A peer that cannot count frames is ignored after the third time; others are served."""
    with RawPeer(server) as peer:
        for _ in range(3):
            assert peer.ask([b"1", b"2", b"3"])["code"] == "BAD_ENVELOPE"
        peer.send([protocol.pack("hello", client="x")])
        assert peer.silent(500)
    assert works(server)


@pytest.mark.fault(1)
def test_oversized_frame_is_never_taken(server: RunningServer) -> None:
    """A frame above 1 MiB ends the connection; the server goes on."""
    with RawPeer(server) as peer:
        peer.send([b"x" * (protocol.CHUNK_BYTES + 1)])
        assert peer.silent(500)
    assert works(server)


def _granted_job(peer: RawPeer, side: int = 24) -> tuple[StylizeJob, list[bytes]]:
    """An open job and the digests that the server needs."""
    content, style = (
        random_pixels(side, side, seed=3),
        random_pixels(side, side, seed=time.monotonic_ns() % 2**32),
    )
    job = StylizeJob(request(content, [(style, 1.0)]))
    grant = peer.ask(*job.open())
    assert grant["op"] == "grant"
    return job, grant["need"]


def _chunk(job: StylizeJob, digest: bytes, offset: int, payload: bytes) -> list[bytes]:
    return [protocol.pack("chunk", job=job.job_id, digest=digest, offset=offset), payload]


LYING_CHUNKS: dict[str, tuple[Callable[[StylizeJob, list[bytes]], list[bytes]], str]] = {
    "one byte more than the shape": (
        lambda job, need: _chunk(job, need[0], 0, b"x" * (24 * 24 * 3 + 1)),
        "LENGTH_MISMATCH",
    ),
    "one byte less": (lambda job, need: _chunk(job, need[0], 0, b"x" * (24 * 24 * 3 - 1)), "LENGTH_MISMATCH"),
    "offset beyond the end": (lambda job, need: _chunk(job, need[0], 2**40, b"x"), "BAD_CHUNK"),
    "second blob first": (lambda job, need: _chunk(job, need[1], 0, b"x" * (24 * 24 * 3)), "BAD_CHUNK"),
    "blob of nobody": (lambda job, _need: _chunk(job, b"?" * 32, 0, b"x"), "BAD_CHUNK"),
    "other pixels than announced": (lambda job, need: _chunk(job, need[0], 0, b"x" * (24 * 24 * 3)), "BAD_DIGEST"),
}


@pytest.mark.fault(33, 44, 45, 59)
@pytest.mark.parametrize(("lie", "code"), LYING_CHUNKS.values(), ids=LYING_CHUNKS.keys())
def test_chunk_that_lies_ends_the_job(
    server: RunningServer, lie: Callable[[StylizeJob, list[bytes]], list[bytes]], code: str
) -> None:
    """A length, an offset or a digest that does not fit: the job ends with its code, its memory is given back."""
    with RawPeer(server) as peer:
        before = segments_of(server.process.pid)
        job, need = _granted_job(peer)
        memory = segments_of(server.process.pid) - before
        assert len(memory) == 3  # content, style, result
        answer = peer.ask(lie(job, need))
        assert (answer["op"], answer["code"], answer["job"]) == ("error", code, job.job_id)
        assert answer["retryable"] is (code == "BAD_DIGEST")
        assert not memory & (segments_of(server.process.pid) | shared_memory_names())
    assert works(server)


@pytest.mark.fault(44)
def test_chunk_after_the_upload_is_refused(server: RunningServer) -> None:
    """A chunk that nobody asked for ends the job, also while the worker has it; the server goes on."""
    with RawPeer(server) as peer:
        job = StylizeJob(request(random_pixels(300, 300), SMALL_REQUEST.regions[0].styles))
        peer.upload(job)
        answer = peer.ask(_chunk(job, b"d" * 32, 0, b"x"))
        assert (answer["op"], answer["code"], answer["job"]) == ("error", "BAD_CHUNK", job.job_id)
    assert works(server)


@pytest.mark.fault(5)
def test_http_request_does_not_disturb(server: RunningServer) -> None:
    """Bytes of another protocol on the socket are dropped; good clients go on."""
    path = read_connection_file(server.connection_file).endpoint.removeprefix("ipc://")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5)
        stranger.connect(path)
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"x" * 64)
        with contextlib.suppress(ConnectionError):
            while stranger.recv(4096):
                pass  # closed within the handshake's time, or the timeout fails the test
    assert works(server)


@pytest.mark.fault(57)
def test_client_that_comes_back_gets_its_job(server: RunningServer) -> None:
    """A connection that breaks in mid-job: the same job id on a new connection attaches, and the result is right."""
    with server.client() as client:
        wanted = request(random_pixels(600, 600, seed=8), SMALL_REQUEST.regions[0].styles)
        expected = client.stylize(wanted)
    job = StylizeJob(wanted)
    with RawPeer(server) as first:
        first.upload(job)
        while job.progress.stage != "decode":
            first.serve([job])
    time.sleep(0.5)  # by now the server may have noticed, and told the worker to stop
    with RawPeer(server) as second:
        for message in job.open():
            second.send(message)
        deadline = time.monotonic() + 60
        while not job.finished and time.monotonic() < deadline:
            second.serve([job])
    assert job.error is None and job.result == expected


@pytest.mark.fault(62)
def test_killed_worker_costs_one_job(own_server: RunningServer) -> None:
    """The running job gets a retryable error, the worker is started again, the next job works."""
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if progress.stage == "encode" and not killed:
            killed.append(own_server.worker_pid())
            os.kill(killed[0], signal.SIGKILL)

    wanted = request(random_pixels(500, 500), SMALL_REQUEST.regions[0].styles)
    with own_server.client() as client:
        with pytest.raises(RequestError) as caught:
            client.stylize(wanted, on_progress=kill_once)
        assert caught.value.code == "WORKER_LOST" and caught.value.retryable
        assert client.hello().boot  # the I/O process answers while the worker starts
        assert len(client.stylize(SMALL_REQUEST).pixels.data) == 24 * 24 * 3
    assert own_server.worker_pid() != killed[0]


@pytest.mark.fault(62)
def test_idle_worker_killed_is_replaced(own_server: RunningServer) -> None:
    """A worker that dies between jobs is missed by nobody."""
    os.kill(own_server.worker_pid(), signal.SIGKILL)
    assert works(own_server)


@pytest.mark.fault(60)
def test_hung_worker_is_ended_and_replaced() -> None:
    """A worker that is stopped in mid-job: others are answered at once, the job fails, the next one is painted."""
    stopped: list[int] = []
    seen: list[ServerStatus] = []

    def stop_once(progress: Progress) -> None:
        if progress.stage == "encode" and not stopped:
            stopped.append(server.worker_pid())
            os.kill(stopped[0], signal.SIGSTOP)

    wanted = request(random_pixels(500, 500), SMALL_REQUEST.regions[0].styles)
    with RunningServer("--hang-timeout", "3") as server, server.client() as client, server.client() as other:
        thread = threading.Thread(target=_status_while, args=(other, seen))
        thread.start()
        with pytest.raises(RequestError) as caught:
            client.stylize(wanted, on_progress=stop_once, timeout_s=60)
        thread.join()
        assert caught.value.code == "WORKER_LOST" and caught.value.retryable
        assert any(status.running for status in seen)
        assert len(client.stylize(SMALL_REQUEST).pixels.data) == 24 * 24 * 3
        after = client.status()
        assert after.ready and after.worker_starts == 2 and "exit status -9" in after.last_error
        assert server.worker_pid() != stopped[0]


def _status_while(client: Client, seen: list[ServerStatus]) -> None:
    """Ask until a worker has been replaced; each answer comes within the client's own limit."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (seen and seen[-1].worker_starts > 1):
        seen.append(client.status())
        time.sleep(0.1)


@pytest.mark.fault(61)
def test_killed_server_is_taken_up_again_by_the_client(
    own_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 in mid-job and a restart at the same place: the client sends its job again and gets the right pixels."""
    monkeypatch.setattr(client_module, "GONE_S", 30.0)  # a busy machine takes long to start the next one
    wanted = request(random_pixels(300, 300), SMALL_REQUEST.regions[0].styles)
    with own_server.client() as client:
        expected = client.stylize(wanted)
    restarted: list[RunningServer] = []

    def restart() -> None:
        own_server.process.send_signal(signal.SIGKILL)
        own_server.process.wait()
        restarted.append(RunningServer(folder=own_server.folder))

    def kill_once(progress: Progress) -> None:
        if progress.stage == "decode" and not threads[0].ident:
            threads[0].start()

    threads = [threading.Thread(target=restart)]
    try:
        with own_server.client() as client:
            result = client.stylize(wanted, on_progress=kill_once, timeout_s=90)
        threads[0].join()
        assert restarted and result == expected
    finally:
        for running in restarted:
            running.close()


def test_killed_server_leaves_nothing_running(own_server: RunningServer) -> None:
    """Kill -9 of the server ends its worker, and no shared memory stays."""
    worker = own_server.worker_pid()
    with RawPeer(own_server) as peer:
        _granted_job(peer)
        memory = segments_of(own_server.process.pid)
        assert len(memory) == 3 and memory <= shared_memory_names()
        own_server.process.send_signal(signal.SIGKILL)
        own_server.process.wait()
    deadline = time.monotonic() + 10
    while (os.path.exists(f"/proc/{worker}") or shared_memory_names() & memory) and time.monotonic() < deadline:  # noqa: PTH110
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{worker}")  # noqa: PTH110
    assert not shared_memory_names() & memory


def test_dead_server_is_a_sentence_in_time(own_server: RunningServer) -> None:
    """A server that dies for good in mid-job: the client gives up by itself and says so."""
    wanted = request(random_pixels(700, 700), SMALL_REQUEST.regions[0].styles)

    def kill(progress: Progress) -> None:
        if progress.stage == "encode":
            own_server.process.send_signal(signal.SIGKILL)

    started = time.monotonic()
    with own_server.client() as client, pytest.raises(ServerUnavailableError, match="stopped answering"):
        client.stylize(wanted, on_progress=kill)
    assert time.monotonic() - started < 40


@pytest.mark.fault(8)
def test_null_router_peer_is_not_a_client(server: RunningServer) -> None:
    """A socket of a wrong kind gets nothing and disturbs nobody."""
    with RawPeer(server, kind=zmq.PUB) as peer:
        peer.send([protocol.pack("hello", client="x")])
    assert works(server)


@pytest.mark.fault(100)
def test_client_close_never_lingers(own_server: RunningServer) -> None:
    """Closing a client of a dead server takes no time."""
    client: Client = own_server.client()
    client.hello()
    own_server.process.send_signal(signal.SIGKILL)
    own_server.process.wait()
    client._send([protocol.pack("hello", client="x")])
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 0.5
