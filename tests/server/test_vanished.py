"""Clients that vanish: what they sent and what they asked for is given back soon."""

from __future__ import annotations

import secrets

import pytest

from adain_server import pipe
from adain_server.io_process.server import Server
from adain_style.client import protocol
from adain_style.client.jobs import StylizeJob
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request, works
from support.processes import segments_of, wait_until
from support.raw_peer import RawPeer
from support.server_inside import ServerInside
from support.zmtp import ZmtpPeer, frame

SIDE = 1200
"""Of a layer that is painted for some seconds."""
TILES = 100
"""Of such a layer, with the least memory that a server can have."""
BACK_S = 5.0
"""Within this the memory of a client that has gone is free: far less than any time-out of the protocol."""
SOON_S = 30.0
STYLES = [("space-sun", 1.0)]


@pytest.mark.fault(51, 53)
def test_client_that_vanishes_while_it_sends_leaves_nothing(own_server: RunningServer) -> None:
    """A chunk of three has arrived: within five seconds the server holds what it held before.

    A server of its own: one with as many kept pictures as it may have would forget one of them for this layer.
    """
    layer = random_pixels(800, 1000, seed=secrets.randbits(32))
    with own_server.client() as client:
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
        before, held = segments_of(own_server.process.pid), client.status().held_bytes
        with RawPeer(own_server) as peer:
            job = StylizeJob(request(layer, STYLES))
            assert peer.ask(*job.open())["op"] == "grant"
            chunk = memoryview(layer.data)[: protocol.CHUNK_BYTES]
            peer.send([protocol.pack("chunk", job=job.job_id, digest=layer.digest, offset=0), chunk])
            peer.ask([protocol.pack("hello", client="x")])
            assert len(segments_of(own_server.process.pid) - before) == 2 and client.status().uploading == 1
        assert wait_until(lambda: client.status().uploading == 0, BACK_S) < BACK_S
        assert segments_of(own_server.process.pid) == before and client.status().held_bytes == held
    assert works(own_server)


@pytest.mark.fault(51, 54)
def test_client_that_vanishes_while_it_waits_leaves_only_its_layer(own_server: RunningServer) -> None:
    """Behind a job that is painted: its result's memory is free within five seconds, and its turn never comes."""
    first, second = (random_pixels(side, side, seed=secrets.randbits(32)) for side in (2000, 400))
    with own_server.client() as client, RawPeer(own_server) as other:
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
        before, held = segments_of(own_server.process.pid), client.status().held_bytes
        painted = StylizeJob(request(first, STYLES))
        other.upload(painted)
        with RawPeer(own_server) as peer:
            peer.upload(StylizeJob(request(second, STYLES)))
            assert wait_until(lambda: client.status().queued == 1, SOON_S) < SOON_S
            assert len(segments_of(own_server.process.pid) - before) == 4
        assert wait_until(lambda: client.status().queued == 0, BACK_S) < BACK_S
        # The second layer is kept, as the held bytes show below, but nobody uses it: it is mapped no more.
        assert client.status().running == 1 and len(segments_of(own_server.process.pid) - before) == 2
        assert other.ask(*painted.cancel())["op"] == "cancelled"
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
        assert client.status().held_bytes == held + len(first.data) + len(second.data)
        with RawPeer(own_server) as peer:
            again = StylizeJob(request(second, STYLES))
            assert peer.ask(*again.open())["need"] == []
            assert peer.ask(*again.cancel())["op"] == "cancelled"
    assert works(own_server)


@pytest.mark.fault(51)
def test_client_that_vanishes_as_soon_as_it_has_opened_harms_nobody(own_server: RunningServer) -> None:
    """Nothing of its jobs is missing, so that each would be painted at once: none is, and the next client is served."""
    assert works(own_server)  # from now on the server has the pictures
    opens = b"".join(frame(bytes(StylizeJob(SMALL_REQUEST).open()[0][0])) for _ in range(50))
    with own_server.client() as client:
        for _ in range(10):
            with ZmtpPeer(own_server).shake_hands() as peer:
                assert peer.send(opens)
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
    assert works(own_server) and own_server.process.poll() is None


@pytest.mark.fault(51, 54)
def test_job_of_a_vanished_client_is_stopped_at_the_next_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker says that it has stopped while it still encodes, and nothing is held for the result."""
    said: list[pipe.FromWorker] = []
    take = Server._take_worker_message

    def noted(self: Server, message: pipe.FromWorker | None) -> None:
        assert message is not None
        said.append(message)
        take(self, message)

    monkeypatch.setattr(Server, "_take_worker_message", noted)
    with ServerInside() as server, server.client() as client:
        server.wait_until_ready()
        job = StylizeJob(request(random_pixels(SIDE, SIDE), STYLES))
        with RawPeer(server) as peer:
            peer.upload(job)
            assert wait_until(lambda: _has_stage(said, "encode"), SOON_S) < SOON_S
            assert [each.steps for each in said[-1:] if isinstance(each, pipe.StageProgress)] == [TILES]
        told = len(said)
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
        assert said[-1] == pipe.Cancelled(job.job_id)
        # One tile until the server sees that nobody is there, one until the worker hears of it; the rest is slack.
        assert len(said) - told < TILES / 4 and not _has_stage(said, "decode")
        assert client.status().held_bytes == SIDE * SIDE * 3


def _has_stage(said: list[pipe.FromWorker], stage: str) -> bool:
    return any(isinstance(each, pipe.StageProgress) and each.stage == stage for each in said)
