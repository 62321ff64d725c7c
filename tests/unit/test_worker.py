"""What the worker hears and says in the midst of a job, at the end of its pipe."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from adain_server import pipe as messages
from adain_server.worker import drafts
from adain_server.worker import worker as worker_module
from adain_server.worker.loaded_models import LoadedModels
from adain_server.worker.worker import DRAFT_EVERY_S, Cancelled, Worker
from adain_style.client import protocol
from support.helpers import run_of

JOB, OTHER = b"j" * 16, b"o" * 16
NO_MODELS = cast("LoadedModels", None)


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    """The parent's end, and the worker's."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def parent(pipe: tuple[Connection, Connection]) -> Connection:
    """The parent's end of the pipe."""
    return pipe[0]


@pytest.fixture
def worker(pipe: tuple[Connection, Connection]) -> Worker:
    """One that is in the midst of JOB."""
    made = Worker(pipe[1], NO_MODELS)
    made._begin(run_of(JOB))
    return made


def _tell(parent: Connection, message: messages.ToWorker) -> None:
    parent.send_bytes(messages.pack(message))


def _heard(parent: Connection) -> list[Any]:
    heard = []
    while parent.poll():
        heard.append(messages.unpack(parent.recv_bytes()))
    return heard


def test_drafts_fit_the_wire() -> None:
    """A painter's are not larger than the protocol's."""
    assert drafts.SIDE == protocol.MAX_DRAFT_SIDE
    assert 3 * drafts.SIDE**2 <= protocol.CHUNK_BYTES


def test_draft_says_what_it_shows(parent: Connection, worker: Worker) -> None:
    """Rows from the top, RGB, and that the step that was begun last is over."""
    worker._check("finish", 7, 25)
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    worker._show(picture)
    progress, draft = _heard(parent)
    assert progress == messages.StageProgress(JOB, "finish", step=7, steps=25)
    assert draft == messages.DraftPicture(JOB, bytes(range(18)), height=2, width=3, step=8, steps=25)


def test_drafts_are_a_second_apart(monkeypatch: pytest.MonkeyPatch, parent: Connection, worker: Worker) -> None:
    """What comes between is left out, and does not come later; another job begins anew."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    shown = []
    for passed in (0.0, 0.5, 0.999, 1.0, 1.5, 2.25, 3.0, 3.25):
        clock.now = 1000.0 + passed * DRAFT_EVERY_S
        worker._show(np.zeros((1, 1, 3), dtype=np.uint8))
        shown += [passed] * len(_heard(parent))
    assert shown == [0.0, 1.0, 2.25, 3.25]
    worker._begin(run_of(OTHER))
    worker._show(np.zeros((1, 1, 3), dtype=np.uint8))
    assert [message.job for message in _heard(parent)] == [OTHER]


def test_accept_is_heard_between_two_steps(parent: Connection, worker: Worker) -> None:
    """By whichever of the two the painter asks, and for the rest of the job."""
    assert not worker._is_accepted()
    _tell(parent, messages.Accept(JOB))
    worker._check("decode", 0, 1)
    assert worker._is_accepted() and worker._is_accepted()
    worker._begin(run_of(OTHER))
    assert not worker._is_accepted()
    _tell(parent, messages.Accept(OTHER))
    assert worker._is_accepted()


def test_job_may_be_accepted_before_it_begins(worker: Worker) -> None:
    """Its message says so."""
    worker._begin(run_of(OTHER, accepted=True))
    assert worker._is_accepted()


def test_what_concerns_a_job_that_is_over_is_not_heard(parent: Connection, worker: Worker) -> None:
    """It was on its way when that one ended."""
    _tell(parent, messages.Accept(OTHER))
    _tell(parent, messages.Cancel(OTHER))
    assert not worker._is_accepted()
    worker._check("finish", 1, 25)


@pytest.mark.parametrize("accepted", [False, True])
def test_cancel_ends_the_job_wherever_it_is_heard(parent: Connection, worker: Worker, accepted: bool) -> None:
    """Also after it was accepted."""
    for _ in range(2):
        if accepted:
            _tell(parent, messages.Accept(JOB))
        _tell(parent, messages.Cancel(JOB))
        with pytest.raises(Cancelled):
            worker._check("finish", 1, 25)
        _tell(parent, messages.Cancel(JOB))
        with pytest.raises(Cancelled):
            worker._is_accepted()
