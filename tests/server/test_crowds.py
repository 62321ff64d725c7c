"""More than a server has room for: it says so at once, keeps its memory, and serves the others."""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import msgpack
import pytest

from adain_server.config import ServerConfig
from adain_style.client import protocol
from adain_style.client.errors import ServerUnavailableError
from adain_style.client.jobs import Message, Pixels, StylizeJob
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request, works
from support.processes import descriptors, resident_mib, wait_until
from support.raw_peer import RawPeer
from support.zmtp import MORE, ZmtpPeer, frame

SOON_S = 30.0
BUSY_S = 0.1
STYLES = [("space-sun", 1.0)]
HELLO = protocol.pack("hello", client="x")


def _timed(peer: RawPeer, frames: Message) -> tuple[float, protocol.Header]:
    started = time.monotonic()
    answer = peer.ask(frames)
    return time.monotonic() - started, answer


@pytest.mark.fault(47)
def test_full_queue_is_said_at_once(own_server: RunningServer) -> None:
    """Full of many clients' jobs: BUSY within 100 ms, and when to come back; then one is let in."""
    most, each = ServerConfig.max_jobs, ServerConfig.max_client_jobs
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(own_server)) for _ in range(most // each + 1)]
        jobs = [StylizeJob(SMALL_REQUEST) for _ in range(most)]
        for index, job in enumerate(jobs):
            assert peers[index // each].ask(*job.open())["op"] == "grant"
        late = peers[-1]
        late.ask([HELLO])
        took, answers = zip(*(_timed(late, *StylizeJob(SMALL_REQUEST).open()) for _ in range(9)), strict=True)
        assert all((answer["code"], answer["retryable"]) == ("BUSY", True) for answer in answers)
        assert all(0 < answer["retry_after_s"] <= 60 for answer in answers)
        assert statistics.median(took) < BUSY_S
        assert peers[0].ask(*jobs[0].cancel())["op"] == "cancelled"
        assert late.ask(*StylizeJob(SMALL_REQUEST).open())["op"] == "grant"
    with own_server.client() as client:
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
    assert works(own_server)


@pytest.mark.fault(49)
def test_thousand_jobs_of_one_client_are_capped_and_others_are_served(own_server: RunningServer) -> None:
    """It has its share and no more; meanwhile another one is answered quickly, and painted."""
    took: list[float] = []
    with own_server.client() as client, RawPeer(own_server) as greedy:
        for _ in range(1000):
            greedy.send(*StylizeJob(SMALL_REQUEST).open())
        while len(took) < 21:
            started = time.monotonic()
            status = client.status()
            took.append(time.monotonic() - started)
            assert status.uploading <= ServerConfig.max_client_jobs
        assert client.stylize(SMALL_REQUEST, timeout_s=SOON_S).pixels.height == 24
        greedy.send([HELLO])
        answers = []
        while (answer := greedy.receive_answer())["op"] != "welcome":
            answers.append(answer)
    assert statistics.median(took) < BUSY_S
    assert {answer.get("code", "") for answer in answers} == {"", "BUSY"}
    assert answers[ServerConfig.max_client_jobs]["code"] == "BUSY"


def _send(peer: ZmtpPeer, message: Message) -> None:
    assert peer.send(frame(bytes(message[0])))


@pytest.mark.fault(50)
def test_client_that_fetches_and_never_reads_loses_its_jobs(own_server: RunningServer) -> None:
    """It asks for a large result again and again: little is queued, its other job ends, and others are served."""
    zeros = Pixels(bytes(4000 * 4000), 4000, 4000, "Y")
    job = StylizeJob(request(zeros, STYLES, mask=zeros))
    waiting = StylizeJob(SMALL_REQUEST)
    pid = own_server.process.pid
    with own_server.client() as client, ZmtpPeer(own_server).shake_hands() as silent:
        with RawPeer(own_server) as peer:
            peer.upload(job)
            assert peer.receive_answer()["op"] == "result"
        _send(silent, *waiting.open())
        assert wait_until(lambda: client.status().uploading == 1, SOON_S) < SOON_S
        before = most = resident_mib(pid)
        for _ in range(40):
            _send(silent, *job.open())
            _send(silent, [protocol.pack("credit", job=job.job_id, chunks=64)])
            client.status()
            most = max(most, resident_mib(pid))
        assert most - before < QUEUE_MIB + 32
        assert client.status().uploading == 0
        assert client.stylize(SMALL_REQUEST, timeout_s=SOON_S).pixels.height == 24
    assert wait_until(lambda: resident_mib(pid) - before < 32, SOON_S) < SOON_S


QUEUE_MIB = 64
"""Chunks of 1 MiB that libzmq queues for a peer."""


@pytest.mark.fault(50)
def test_client_that_asks_and_never_reads_costs_little(own_server: RunningServer) -> None:
    """Of 3,000 lists few are queued, and others are served meanwhile; nothing of it stays when it goes."""
    pid, asked = own_server.process.pid, 3000
    with own_server.client() as client:
        client.stylize(SMALL_REQUEST)
        before = resident_mib(pid)
        with ZmtpPeer(own_server).shake_hands() as silent:
            assert silent.send(frame(protocol.pack("styles", first=0)) * asked)
            for _ in range(asked):  # peers take turns: after as many answers here the other one has had all of its
                client.hello()
            assert resident_mib(pid) - before < 8
            assert client.stylize(SMALL_REQUEST).pixels.height == 24
        assert wait_until(lambda: resident_mib(pid) - before < 4, SOON_S) < SOON_S


SLEEPY = """
import sys, time
from adain_server import cli
from adain_server.io_process.server import Server

take = Server._take_client_message

def sleep_once(self, message):
    if message is not None and len(message.frames) == 2 and not vars(self).setdefault("slept", False):
        self.slept = True
        time.sleep(4)
    take(self, message)

Server._take_client_message = sleep_once
sys.exit(cli.main())
"""
"""A server whose loop does not read for some seconds when the first chunk comes."""


def _answers(server: RunningServer) -> bool:
    """It reads again. A process that has ended never does."""
    assert server.process.poll() is None
    try:
        with server.client() as client:
            return client.hello().ready
    except ServerUnavailableError:
        return False


@pytest.mark.fault(52)
@pytest.mark.parametrize("chunks", [200, 800])
def test_flood_into_a_busy_server_harms_nobody(chunks: int) -> None:
    """The peer floods and goes while nothing is read: the server lives, its memory comes back, others are served."""
    flood = frame(protocol.pack("chunk", job=b"?" * 16, digest=b"d" * 32, offset=0), MORE)
    flood += frame(b"x" * protocol.CHUNK_BYTES)
    with RunningServer(command=[sys.executable, "-c", SLEEPY]) as server:
        pid = server.process.pid
        before = resident_mib(pid)
        with ZmtpPeer(server, timeout_s=2).shake_hands() as peer:
            for _ in range(chunks):
                if not peer.send(flood):
                    break
        assert wait_until(lambda: _answers(server), SOON_S) < SOON_S and works(server)
        assert wait_until(lambda: resident_mib(pid) - before < 32, SOON_S) < SOON_S
        assert server.process.poll() is None


HEADERS = (
    b"\xc1garbage",
    b"",
    msgpack.packb({"v": 2, "op": "hello"}),
    msgpack.packb({"v": 1, "op": "shutdown"}),
    msgpack.packb({"v": 1, "op": "hello"}),
    b"\x81\xa1v" * 1000,
    b"\xdd\xff\xff\xff\xff",
)
REFUSALS = 2000


@pytest.mark.fault(30)
def test_refused_headers_leave_nothing(own_server: RunningServer) -> None:
    """Two thousand, after as many as fill what is remembered: memory and descriptors are what they were."""
    pid = own_server.process.pid
    with RawPeer(own_server) as peer:
        for _ in range(2):
            before, opened = resident_mib(pid), descriptors(pid)
            for index in range(REFUSALS):
                answer = peer.ask([HEADERS[index % len(HEADERS)]])
                assert answer["op"] == "error" and answer["code"] != "BAD_ENVELOPE"
        assert peer.ask([HELLO])["op"] == "welcome"
    assert resident_mib(pid) - before < 2 and descriptors(pid) <= opened


@pytest.mark.fault(59)
def test_refused_jobs_leave_nothing(own_server: RunningServer) -> None:
    """Three hundred before their upload, for their shape, and in it, for their pixels: nothing is held or open."""
    pid = own_server.process.pid
    layer = random_pixels(200, 200)
    plain = request(layer, STYLES)
    wrong = bytes(len(layer.data))
    with own_server.client() as client, RawPeer(own_server) as peer:
        for _ in range(2):
            before, opened = resident_mib(pid), descriptors(pid)
            for index in range(300):
                if index % 3:
                    bad = replace(plain, stroke_size=0.5) if index % 3 == 1 else replace(plain, model="no-such-model")
                    assert peer.ask(*StylizeJob(bad).open())["op"] == "error"
                    continue
                job = StylizeJob(plain)
                assert peer.ask(*job.open())["op"] == "grant"
                header = protocol.pack("chunk", job=job.job_id, digest=layer.digest, offset=0)
                assert peer.ask([header, wrong])["code"] == "BAD_DIGEST"
        status = client.status()
        assert status.held_bytes == 0 and client.hello().jobs == 0
    assert wait_until(lambda: descriptors(pid) <= opened, SOON_S) < SOON_S
    assert resident_mib(pid) - before < 2
