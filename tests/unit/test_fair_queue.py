"""Whose job is next."""

from __future__ import annotations

import pytest

from adain_server.io_process.fair_queue import REMEMBERED_CLIENTS, FairQueue


def _client(job_id: bytes) -> bytes:
    return job_id[:1]


def _order(queue: FairQueue) -> list[bytes]:
    taken = []
    while queue:
        taken.append(queue.take(_client))
    return taken


def _queue(*jobs: str) -> FairQueue:
    queue = FairQueue()
    for job in jobs:
        queue.add(job.encode())
    return queue


@pytest.mark.fault(48)
def test_third_client_waits_for_one_job_of_each_other() -> None:
    """However many jobs the others have."""
    many = [f"{client}{number}" for client in "ab" for number in range(8)]
    order = _order(_queue(*many, "c0"))
    assert order.index(b"c0") == 2
    assert [job for job in order if job.startswith(b"a")] == [f"a{number}".encode() for number in range(8)]


def test_client_that_comes_back_takes_its_turn_behind_those_that_waited() -> None:
    """Who was served last is next once all others were."""
    queue = _queue("a0", "b0", "a1")
    assert [queue.take(_client), queue.take(_client)] == [b"a0", b"b0"]
    queue.add(b"b1")
    queue.add(b"c0")
    assert _order(queue) == [b"c0", b"a1", b"b1"]


def test_job_that_was_interrupted_comes_before_its_clients_others() -> None:
    """And one that is removed does not come at all."""
    queue = _queue("a0", "a1", "b0")
    queue.add(b"a2", first=True)
    queue.remove(b"b0")
    queue.remove(b"b0")
    assert _order(queue) == [b"a2", b"a0", b"a1"]


def test_clients_are_forgotten_some_time() -> None:
    """A million of them cost no memory."""
    queue = FairQueue()
    for number in range(3 * REMEMBERED_CLIENTS):
        queue.add(number.to_bytes(4, "big"))
        queue.take(lambda job_id: job_id)
    assert len(queue._served) == REMEMBERED_CLIENTS
