"""Workers that hang, die or have no memory: told once, replaced, and never given the same thing again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adain_server import pipe
from adain_server.io_process import worker_process
from adain_server.io_process.library import StyleLibrary
from adain_style.client import protocol
from adain_style.client.errors import RequestError
from adain_style.client.jobs import StyleInfo, StylizeJob
from support import fake_workers
from support.helpers import SMALL_REQUEST, random_pixels, request
from support.processes import wait_until
from support.raw_peer import RawPeer
from support.server_inside import ServerInside

SOON_S = 30.0
"""Far more than the time-outs of these servers, and far less than those of a real one."""


def _use(monkeypatch: pytest.MonkeyPatch, worker: Callable[..., None]) -> None:
    monkeypatch.setattr(worker_process, "_run", worker)


@pytest.mark.fault(60)
def test_server_is_alive_and_not_ready_while_a_worker_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker hangs with a job, the next ones while they load: each is ended, and then the server says what it is."""
    _use(monkeypatch, fake_workers.hangs_with_its_job_and_then_while_it_loads)
    with ServerInside(hang_timeout_s=0.5, load_timeout_s=6.0) as server, server.client() as client:
        server.wait_until_ready()
        assert client.status().ready
        with pytest.raises(RequestError) as caught:
            client.stylize(SMALL_REQUEST, timeout_s=SOON_S)
        assert caught.value.code == "WORKER_LOST" and caught.value.retryable
        status = client.status()
        assert status.worker_starts >= 2 and not status.ready and not client.hello().ready
        assert wait_until(lambda: server.error is not None, SOON_S) < SOON_S
        assert "dies as soon as it starts" in str(server.error)


@pytest.mark.fault(62, 64)
def test_job_that_kills_its_worker_at_once_is_not_given_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies before it has said how far it is: WORKER_LOST all the same, after one attempt."""
    _use(monkeypatch, fake_workers.dies_before_its_first_word)
    with ServerInside() as server, server.client() as client:
        with pytest.raises(RequestError) as caught:
            client.stylize(SMALL_REQUEST, timeout_s=SOON_S * 2)
        assert caught.value.code == "WORKER_LOST" and caught.value.retryable
        assert client.status().worker_starts == 2


@pytest.mark.fault(63)
def test_no_memory_anywhere_is_an_answer_and_the_next_job_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """OUT_OF_MEMORY with a sentence, not worth another try; the worker is the same, and paints what is small."""
    _use(monkeypatch, fake_workers.has_no_memory)
    small = request(random_pixels(24, 24), [(random_pixels(24, 24, seed=1), 1.0)])
    with ServerInside() as server, server.client() as client:
        with pytest.raises(RequestError, match="scale it down") as caught:
            client.stylize(request(random_pixels(300, 200), small.regions[0].styles), timeout_s=SOON_S * 2)
        assert caught.value.code == "OUT_OF_MEMORY" and not caught.value.retryable
        assert client.stylize(small).pixels.height == 24
        assert client.status().worker_starts == 1 and client.status().held_bytes > 0


@pytest.mark.fault(60)
def test_client_that_gives_up_again_and_again_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends its running job and opens it again, faster than the worker reads: others are answered all the time."""
    _use(monkeypatch, fake_workers.finishes)
    side = fake_workers.LEAST_THAT_HANGS
    job = StylizeJob(request(random_pixels(side, side), [("space-sun", 1.0)], quality="best"))
    with ServerInside(hang_timeout_s=SOON_S) as server, server.client() as client, RawPeer(server) as peer:
        server.wait_until_ready()
        peer.upload(job)
        while job.progress.stage != "finish":
            peer.serve([job])
        for _ in range(2000):
            peer.send([protocol.pack("credit", job=job.job_id, chunks=1)])
            peer.send(*job.open())
        assert client.status().running == 1
        server.server._worker.process.kill()


def test_question_that_fails_in_the_server_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be read when its styles are asked for: INTERNAL, and the server goes on."""

    def fail(_library: StyleLibrary) -> list[StyleInfo]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(StyleLibrary, "entries", fail)
    with ServerInside() as server, server.client() as client:
        server.wait_until_ready()
        with pytest.raises(RequestError) as caught:
            client.styles()
        assert caught.value.code == "INTERNAL" and not caught.value.retryable
        assert client.stylize(SMALL_REQUEST).pixels.height == 24
        assert "could not be answered" in client.status().last_error


@pytest.mark.fault(56)
def test_job_that_is_too_late_never_reaches_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn comes at once, and is too late all the same: EXPIRED, and the worker never hears of it."""
    told: list[bytes] = []
    send = worker_process.WorkerProcess.send

    def noted(self: worker_process.WorkerProcess, message: pipe.ToWorker) -> None:
        told.append(b"" if isinstance(message, pipe.Stop) else message.job)
        send(self, message)

    monkeypatch.setattr(worker_process.WorkerProcess, "send", noted)
    with ServerInside() as server, server.client() as client, RawPeer(server) as peer:
        server.wait_until_ready()
        client.stylize(SMALL_REQUEST)  # now the server has the pictures
        late, good = StylizeJob(SMALL_REQUEST), StylizeJob(SMALL_REQUEST)
        peer.send(*late.open(deadline_s=1e-9))
        assert peer.receive_answer()["need"] == []
        answer = peer.receive_answer()
        assert (answer["code"], answer["job"], answer["retryable"]) == ("EXPIRED", late.job_id, True)
        peer.send(*good.open(deadline_s=SOON_S))
        while not good.finished:
            peer.serve([good])
        assert good.result is not None
    assert good.job_id in told and late.job_id not in told
