"""Whose job is next."""

from __future__ import annotations

from adain_server.turns import REMEMBERED_CLIENTS, Turns


def _client(job_id: bytes) -> bytes:
    return job_id[:1]


def _order(turns: Turns) -> list[bytes]:
    taken = []
    while turns:
        taken.append(turns.take(_client))
    return taken


def _turns(*jobs: str) -> Turns:
    turns = Turns()
    for job in jobs:
        turns.add(job.encode())
    return turns


def test_48_third_client_waits_for_one_job_of_each_other() -> None:
    """However many jobs the others have."""
    many = [f"{client}{number}" for client in "ab" for number in range(8)]
    order = _order(_turns(*many, "c0"))
    assert order.index(b"c0") == 2
    assert [job for job in order if job.startswith(b"a")] == [f"a{number}".encode() for number in range(8)]


def test_client_that_comes_back_takes_its_turn_behind_those_that_waited() -> None:
    """Who was served last is next once all others were."""
    turns = _turns("a0", "b0", "a1")
    assert [turns.take(_client), turns.take(_client)] == [b"a0", b"b0"]
    turns.add(b"b1")
    turns.add(b"c0")
    assert _order(turns) == [b"c0", b"a1", b"b1"]


def test_job_that_was_interrupted_comes_before_its_clients_others() -> None:
    """And one that is removed does not come at all."""
    turns = _turns("a0", "a1", "b0")
    turns.add(b"a2", first=True)
    turns.remove(b"b0")
    turns.remove(b"b0")
    assert _order(turns) == [b"a2", b"a0", b"a1"]


def test_clients_are_forgotten_some_time() -> None:
    """A million of them cost no memory."""
    turns = Turns()
    for number in range(3 * REMEMBERED_CLIENTS):
        turns.add(number.to_bytes(4, "big"))
        turns.take(lambda job_id: job_id)
    assert len(turns._served) == REMEMBERED_CLIENTS
