"""A picture of the best quality: when its client accepts it, what it sees of it meanwhile, how long it will take.

A painter that only finishes stands in for the real one, and says in the result how many steps it has made.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adain_server import pipe
from adain_server.io_process import worker_process
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.errors import CancelledError, RequestError
from adain_style.client.jobs import Draft, Message, Progress, StylizeJob, StylizeRequest
from adain_style.client.protocol import Header
from support import fake_workers
from support.fake_workers import FEW_STEPS, LARGEST_WITH_FEW_STEPS, LEAST_THAT_HANGS, READY
from support.helpers import pixels_array, random_pixels, request
from support.processes import wait_until
from support.raw_peer import RawPeer
from support.server_inside import ServerInside, finishing_server_inside

SOON_S = 30.0
SHORT, ENDLESS = LARGEST_WITH_FEW_STEPS, LARGEST_WITH_FEW_STEPS + 1
"""Sides of layers whose finish takes few steps, and whose finish goes on until it is accepted."""
STYLES = [("space-sun", 1.0)]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerInside]:
    """One whose painter only finishes."""
    with finishing_server_inside() as running:
        yield running


@pytest.fixture
def client(server: ServerInside) -> Iterator[Client]:
    """A client of it."""
    with server.client() as connected:
        yield connected


@pytest.fixture
def peer(server: ServerInside, client: Client) -> Iterator[RawPeer]:
    """One that speaks the wire itself, to a server that has no job."""
    assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
    with RawPeer(server) as connected:
        yield connected


def _wanted(side: int, quality: str = "best", **settings: Any) -> StylizeRequest:
    """Of a layer that no server has."""
    return request(random_pixels(side, side, seed=secrets.randbits(32)), STYLES, quality=quality, **settings)


def _made(job: StylizeJob) -> int:
    """How many steps of the finish a result had."""
    assert job.result is not None, job.error
    return int(pixels_array(job.result.pixels)[0, 0, 1])


def _serve(peer: RawPeer, *jobs: StylizeJob) -> None:
    """Until all are over."""

    def are_over() -> bool:
        peer.serve(jobs)
        return all(job.finished for job in jobs)

    assert wait_until(are_over, SOON_S, every_s=0.0) < SOON_S


def _say(peer: RawPeer, op: str, job: StylizeJob) -> None:
    peer.send([protocol.pack(op, job=job.job_id)])


def _next(peer: RawPeer, op: str) -> Header:
    """The next message of this kind; until then nothing comes but progress."""
    while (header := peer.receive())["op"] != op:
        assert header["op"] == "progress", header
    return header


def _hears_nothing(peer: RawPeer) -> None:
    """No answer has come to what was said before."""
    answers = [peer.ask([protocol.pack("hello", client="test")])]
    assert [answer["op"] for answer in answers] == ["welcome"]


def _ops(messages: list[Message]) -> list[str]:
    return [protocol.unpack_header(bytes(frames[0]))["op"] for frames in messages]


def _is_finishing(peer: RawPeer, job: StylizeJob) -> bool:
    peer.serve([job])
    return job.progress.stage == "finish"


def _finishing(peer: RawPeer) -> StylizeJob:
    """A job that goes on until it is accepted."""
    job = StylizeJob(_wanted(ENDLESS))
    peer.upload(job)
    assert wait_until(lambda: _is_finishing(peer, job), SOON_S, every_s=0.0) < SOON_S
    return job


# Qualities


@pytest.mark.parametrize("preview", [0, 8, 500])
@pytest.mark.parametrize("quality", protocol.QUALITY)
def test_picture_is_painted_in_the_quality_that_was_asked_for(client: Client, quality: str, preview: int) -> None:
    """A preview that is to be best is painted as fine, even when it is of the layer's own size."""
    result = pixels_array(client.stylize(_wanted(SHORT, quality, preview=preview)).pixels)
    painted = "fine" if preview and quality == "best" else quality
    expected = (protocol.QUALITY.index(painted), FEW_STEPS if painted == "best" else 0, 0)
    assert np.all(result == expected)


@pytest.mark.fault(31)
def test_unknown_quality_is_refused(client: Client) -> None:
    """BAD_FIELD, with a sentence that names those that there are."""
    with pytest.raises(RequestError, match="fast, fine, best") as caught:
        client.stylize(_wanted(SHORT, "superb"))
    assert caught.value.code == "BAD_FIELD" and not caught.value.retryable


@pytest.mark.fault(57, 58)
def test_quality_is_a_part_of_what_a_job_is(peer: RawPeer) -> None:
    """Left out it is fast, so that both attach; the same id with another one is a conflict."""
    job = StylizeJob(_wanted(SHORT, "fast"))
    assert peer.ask(*job.open())["op"] == "grant"
    header = protocol.unpack([bytes(job.open()[0][0])], protocol.FROM_CLIENT)[0]
    fields = {name: value for name, value in header.items() if name not in ("v", "op")}
    assert "quality" not in fields
    assert peer.ask([protocol.pack("open", **fields, quality="fast")])["op"] == "grant"
    for other in ("fine", "best"):
        assert peer.ask([protocol.pack("open", **fields, quality=other)])["code"] == "ID_CONFLICT"
    assert peer.ask(*job.cancel())["op"] == "cancelled"


def test_progress_of_a_finish_tells_its_steps(client: Client) -> None:
    """In order, under the name that PROTOCOL.md gives the stage, and with the quality that it has a bar's place in."""
    seen: list[Progress] = []
    client.stylize(_wanted(SHORT), on_progress=seen.append)
    finish = [progress for progress in seen if progress.stage == "finish"]
    assert finish == [Progress("finish", step, FEW_STEPS, "best") for step in range(FEW_STEPS)]


# Accepting


def test_accepting_ends_the_finish_after_its_step(peer: RawPeer) -> None:
    """The result follows as usual; the message itself has no answer."""
    job = _finishing(peer)
    _say(peer, "accept", job)
    _serve(peer, job)
    assert _made(job) >= 1


def test_accepting_while_it_arrives_leaves_the_finish_out(peer: RawPeer) -> None:
    """It is remembered until the job runs."""
    job = StylizeJob(_wanted(ENDLESS))
    for message in [*job.open(), *job.accept()]:
        peer.send(message)
    _serve(peer, job)
    assert _made(job) == 0


def test_accepting_while_it_waits_leaves_the_finish_out(peer: RawPeer, client: Client) -> None:
    """Behind a job that is finished; that one goes on."""
    running, waiting = _finishing(peer), StylizeJob(_wanted(ENDLESS))
    peer.upload(waiting)
    assert wait_until(lambda: client.status().queued == 1, SOON_S) < SOON_S
    _say(peer, "accept", waiting)
    _hears_nothing(peer)
    assert client.status().running == 1 and not running.finished
    _say(peer, "accept", running)
    _serve(peer, running, waiting)
    assert _made(running) >= 1 and _made(waiting) == 0


@pytest.mark.parametrize("quality", ["fast", "fine"])
def test_accepting_what_has_no_finish_changes_nothing(peer: RawPeer, quality: str) -> None:
    """The server takes it; a client does not even say it."""
    job = StylizeJob(_wanted(ENDLESS, quality))
    assert job.accept() == []
    peer.send(*job.open())
    _say(peer, "accept", job)
    _serve(peer, job)
    assert _made(job) == 0


def test_accepting_what_is_over_has_no_answer(peer: RawPeer) -> None:
    """Its result waits, is fetched, was cancelled, or nobody has opened it: a result is still fetched whole."""
    job = StylizeJob(_wanted(SHORT))
    peer.upload(job)
    announced = _next(peer, "result")
    _say(peer, "accept", job)
    _hears_nothing(peer)
    for message in job.receive(announced, b""):
        peer.send(message)
    _serve(peer, job)
    assert _made(job) == FEW_STEPS
    given_up = _finishing(peer)
    assert peer.ask(*given_up.cancel())["op"] == "cancelled"
    for over in (job, given_up, StylizeJob(_wanted(SHORT))):
        _say(peer, "accept", over)
        _hears_nothing(peer)


@pytest.mark.fault(79)
def test_stranger_accepts_nothing(server: ServerInside, peer: RawPeer) -> None:
    """Nor does it see anything: the job goes on, and no answer tells that there is one."""
    job = _finishing(peer)
    with RawPeer(server) as stranger:
        for op in ("accept", "draft"):
            _say(stranger, op, job)
            _hears_nothing(stranger)
        for _ in range(10):
            assert _next(peer, "progress")["stage"] == "finish"
        assert stranger.silent(0)
    _say(peer, "accept", job)
    _serve(peer, job)


def test_worker_is_told_once(monkeypatch: pytest.MonkeyPatch, peer: RawPeer) -> None:
    """However often a client says it: the pipe of a worker that does not read has an end."""
    told: list[type[object]] = []
    send = worker_process.WorkerProcess.send

    def noted(self: worker_process.WorkerProcess, message: pipe.ToWorker) -> None:
        told.append(type(message))
        send(self, message)

    monkeypatch.setattr(worker_process.WorkerProcess, "send", noted)
    job = _finishing(peer)
    for _ in range(20):
        _say(peer, "accept", job)
    _serve(peer, job)
    assert told == [pipe.Run, pipe.Accept]


@pytest.mark.fault(61)
def test_next_worker_hears_that_a_job_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies of another job; the one that takes its place makes no step of this one's finish."""
    monkeypatch.setattr(worker_process, "_run", fake_workers.finishes)
    with ServerInside() as own, own.client() as client, RawPeer(own) as peer:
        own.wait_until_ready()
        running, waiting = _finishing(peer), StylizeJob(_wanted(ENDLESS))
        peer.upload(waiting)
        assert wait_until(lambda: client.status().queued == 1, SOON_S) < SOON_S
        _say(peer, "accept", waiting)
        _hears_nothing(peer)
        os.kill(own.server._worker.process.pid, signal.SIGKILL)
        _serve(peer, running, waiting)
        assert isinstance(running.error, RequestError) and running.error.code == "WORKER_LOST"
        assert client.status().worker_starts == 2 and _made(waiting) == 0


@pytest.mark.fault(55)
def test_cancelling_ends_the_finish_without_a_result(peer: RawPeer, client: Client) -> None:
    """Also when it was accepted before: confirmed, and nothing of the job follows."""
    for first in ([], ["accept"], ["draft"]):
        job = _finishing(peer)
        for op in first:
            _say(peer, op, job)
        for message in job.cancel():
            peer.send(message)
        last = peer.receive_answer()
        while last["op"] in ("draft", "result"):  # what was on its way
            last = peer.receive_answer()
        assert last["op"] == "cancelled" or (first == ["accept"] and last["code"] == "ALREADY_DONE")
        if last["op"] == "error":
            _say(peer, "done", job)
        assert wait_until(lambda: client.hello().jobs == 0, SOON_S) < SOON_S
        _hears_nothing(peer)


@pytest.mark.fault(60)
def test_finish_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps are what a worker has to report: without one for the time limit it is lost, accepted or not."""
    monkeypatch.setattr(worker_process, "_run", fake_workers.finishes)
    with ServerInside(hang_timeout_s=0.5) as own, own.client() as client:
        own.wait_until_ready()
        seen: list[str] = []
        with pytest.raises(RequestError) as caught:
            client.stylize(
                _wanted(LEAST_THAT_HANGS),
                on_progress=lambda progress: seen.append(progress.stage),
                accepted=lambda: "finish" in seen,
                timeout_s=SOON_S,
            )
        assert caught.value.code == "WORKER_LOST" and caught.value.retryable


# Drafts


def test_drafts_come_in_order_until_the_result(peer: RawPeer, client: Client) -> None:
    """Each is of a later step than the one before, and of its own step's pixels; after the result there is none."""
    drafts: list[Draft] = []
    client.stylize(_wanted(ENDLESS), on_draft=drafts.append, accepted=lambda: len(drafts) == 4)
    assert len(drafts) >= 4
    assert [draft.step for draft in drafts] == sorted({draft.step for draft in drafts})
    for draft in drafts:
        assert (draft.pixels.height, draft.pixels.width, draft.pixels.layout) == (4, 6, "RGB")
        assert np.all(pixels_array(draft.pixels) == draft.step % 256) and draft.steps == 1_000_000
    _hears_nothing(peer)


def test_nobody_who_has_not_asked_gets_a_draft(peer: RawPeer) -> None:
    """A client whose user does not look is sent none, and whoever asks is sent one, not more."""
    job = _finishing(peer)
    for _ in range(20):
        assert peer.receive()["op"] == "progress"
    _say(peer, "draft", job)
    assert _next(peer, "draft")["steps"] == 1_000_000
    for _ in range(20):
        assert peer.receive()["op"] == "progress"
    _say(peer, "accept", job)
    _serve(peer, job)


def test_draft_that_is_asked_for_before_the_finish_comes_with_it(peer: RawPeer) -> None:
    """Of its first step; one that is asked for when all steps are over never comes."""
    job = StylizeJob(_wanted(SHORT), wants_drafts=True)
    peer.upload(job)
    assert _next(peer, "draft")["step"] == 1
    announced = _next(peer, "result")
    _say(peer, "draft", job)
    _hears_nothing(peer)
    for message in job.receive(announced, b""):
        peer.send(message)
    _serve(peer, job)
    assert _made(job) == FEW_STEPS


def test_job_that_is_taken_up_again_is_asked_about_anew(server: ServerInside, peer: RawPeer) -> None:
    """A draft that the connection before has asked for is not sent to the new one, which may not want any."""
    job = StylizeJob(_wanted(ENDLESS))
    peer.upload(job)
    with RawPeer(server) as second:
        _say(peer, "draft", job)
        second.send(*job.open())
        for _ in range(20):
            assert second.receive()["op"] == "progress"
        _say(second, "draft", job)
        assert _next(second, "draft")["job"] == job.job_id
        _say(second, "accept", job)
        _serve(second, job)
    assert _made(job) >= 1


@pytest.mark.fault(61)
def test_client_says_again_what_it_wants_when_it_opens_its_job_again() -> None:
    """A server that was restarted knows neither that the job was accepted nor that somebody looks on."""
    job = StylizeJob(_wanted(SHORT), wants_drafts=True)
    assert _ops(job.open()) == ["open", "draft"]
    assert _ops(job.accept()) == ["accept"]
    assert _ops(job.open()) == ["open", "draft", "accept"]


# How long it takes


def test_welcome_says_how_long_a_finish_takes(client: Client) -> None:
    """As the worker has measured it when it started."""
    assert client.hello().finish_s_per_megapixel == READY.finish_s_per_megapixel == 250.0


def test_server_that_loads_does_not_know_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """0, as long as no worker was ready."""
    monkeypatch.setattr(worker_process, "_run", fake_workers.never_gets_ready)
    with ServerInside() as own, own.client() as client:
        info = client.hello()
    assert not info.ready and info.finish_s_per_megapixel == 0.0


def test_cancelling_goes_before_accepting(client: Client) -> None:
    """Whoever wants both wants no picture."""
    with pytest.raises(CancelledError):
        client.stylize(_wanted(ENDLESS), cancelled=lambda: True, accepted=lambda: True)
