"""A job that is cancelled or opened once more, wherever it is."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.jobs import Pixels, StylizeJob
from adain_style.client.protocol import Header
from support.helpers import RunningServer, random_pixels, request
from support.processes import wait_until
from support.raw_peer import RawPeer

SOON_S = 30.0
STYLES = [("space-sun", 1.0)]


@pytest.fixture
def peer(server: RunningServer) -> Iterator[RawPeer]:
    """Of a server that has no job."""
    with server.client() as client:
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
    with RawPeer(server) as connected:
        yield connected


def _layer(side: int) -> Pixels:
    """One that no server has."""
    return random_pixels(side, side, seed=secrets.randbits(32))


def _job(side: int) -> StylizeJob:
    return StylizeJob(request(_layer(side), STYLES))


def _running(peer: RawPeer, client: Client) -> StylizeJob:
    """A job that the worker has for some seconds."""
    job = _job(1200)
    peer.upload(job)
    assert wait_until(lambda: client.status().running == 1, SOON_S) < SOON_S
    return job


def _finished(peer: RawPeer) -> tuple[StylizeJob, Header]:
    """A job whose result waits, and what announced it."""
    job = _job(64)
    peer.upload(job)
    announced = peer.receive_answer()
    assert announced["op"] == "result"
    return job, announced


def _fetch(peer: RawPeer, job: StylizeJob) -> None:
    """The rest of a result."""
    deadline = time.monotonic() + SOON_S
    while not job.finished and time.monotonic() < deadline:
        peer.serve([job])


def _says_nothing_of(peer: RawPeer, job: StylizeJob) -> None:
    """Not one message about a job comes before the answer to a question."""
    peer.send([protocol.pack("status")])
    while (header := peer.receive())["op"] != "status":
        assert header["job"] != job.job_id


@pytest.mark.fault(55)
def test_cancelling_while_the_job_arrives(peer: RawPeer, client: Client) -> None:
    """Half of it is there: confirmed; nothing is held any more; another time it has ended already."""
    layer, held = _layer(800), client.status().held_bytes
    job = StylizeJob(request(layer, STYLES))
    assert peer.ask(*job.open())["op"] == "grant"
    half = memoryview(layer.data)[: protocol.CHUNK_BYTES]
    peer.send([protocol.pack("chunk", job=job.job_id, digest=layer.digest, offset=0), half])
    assert peer.ask(*job.cancel())["op"] == "cancelled"
    assert client.status().uploading == 0 and client.status().held_bytes == held
    assert peer.ask(*job.cancel())["code"] == "ALREADY_DONE"
    _says_nothing_of(peer, job)


@pytest.mark.fault(55)
def test_cancelling_while_the_job_waits(peer: RawPeer, client: Client) -> None:
    """Behind a job that is painted: confirmed, never begun; the one before it is finished."""
    running = _running(peer, client)
    job = _job(64)
    peer.upload(job)
    assert wait_until(lambda: client.status().queued == 1, SOON_S) < SOON_S
    assert peer.ask(*job.cancel())["op"] == "cancelled"
    assert client.status().queued == 0
    assert peer.ask(*job.cancel())["code"] == "ALREADY_DONE"
    _says_nothing_of(peer, job)
    assert peer.ask(*running.cancel())["op"] == "cancelled"
    assert wait_until(lambda: client.status().running == 0, SOON_S) < SOON_S
    _says_nothing_of(peer, job)


@pytest.mark.fault(55)
def test_cancelling_while_the_job_is_painted(peer: RawPeer, client: Client) -> None:
    """Confirmed at once; the worker stops at the next tile, and its memory comes back; no result follows."""
    held = client.status().held_bytes
    job = _running(peer, client)
    assert peer.ask(*job.cancel())["op"] == "cancelled"
    assert peer.ask(*job.cancel())["code"] == "ALREADY_DONE"
    assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
    assert client.status().held_bytes == held + 1200 * 1200 * 3  # the layer is kept, its result is not
    _says_nothing_of(peer, job)


@pytest.mark.fault(55)
def test_cancelling_while_the_result_waits(peer: RawPeer, client: Client) -> None:
    """Too late: ALREADY_DONE, and the result can be fetched all the same."""
    job, announced = _finished(peer)
    assert peer.ask(*job.cancel())["code"] == "ALREADY_DONE"
    assert client.status().finished == 1
    for message in job.receive(announced, b""):
        peer.send(message)
    _fetch(peer, job)
    assert job.result is not None
    assert peer.ask(*job.cancel())["code"] == "ALREADY_DONE"


@pytest.mark.fault(55)
def test_cancelling_a_job_that_nobody_has_opened(peer: RawPeer) -> None:
    """UNKNOWN_JOB, with its id, and not worth another try."""
    answer = peer.ask([protocol.pack("cancel", job=b"?" * 16)])
    assert (answer["code"], answer["job"], answer["retryable"]) == ("UNKNOWN_JOB", b"?" * 16, False)


@pytest.mark.fault(57)
@pytest.mark.parametrize("comes_back", [False, True], ids=["same connection", "new connection"])
def test_result_that_waits_is_announced_again(
    server: RunningServer, peer: RawPeer, client: Client, comes_back: bool
) -> None:
    """Its job id comes again: the very same result at once, and the worker is not asked."""
    job, announced = _finished(peer)
    with RawPeer(server) as other:
        asking = other if comes_back else peer
        asking.send(*job.open())
        assert asking.receive() == announced
        assert (client.status().running, client.status().queued, client.status().finished) == (0, 0, 1)
        for message in job.receive(announced, b""):
            asking.send(message)
        _fetch(asking, job)
        assert job.result is not None and job.result.pixels.digest == announced["digest"]
        assert asking.ask(*job.open())["code"] == "ALREADY_DONE"


@pytest.mark.fault(57)
def test_result_that_was_fetched_by_half_starts_again(peer: RawPeer) -> None:
    """The connection broke in the middle of it: all of its chunks come again, from the first one."""
    job = _job(800)
    peer.upload(job)
    announced = peer.receive_answer()
    assert announced["op"] == "result"
    credit = protocol.pack("credit", job=job.job_id, chunks=1)
    assert peer.ask([credit])["offset"] == 0 and peer.ask([credit])["offset"] == protocol.CHUNK_BYTES
    assert peer.ask(*job.open()) == announced
    for message in job.receive(announced, b""):
        peer.send(message)
    _fetch(peer, job)
    assert job.error is None and job.result is not None and job.result.pixels.digest == announced["digest"]
