"""Pictures of several chunks that do not arrive as they were announced."""

from __future__ import annotations

import secrets

import pytest

from adain_style.client import protocol
from adain_style.client.jobs import Pixels, StylizeJob
from adain_style.client.protocol import CHUNK_BYTES
from support.helpers import RunningServer, random_pixels, request, works
from support.processes import wait_until
from support.raw_peer import RawPeer

HEIGHT, WIDTH = 800, 1000
SIZE = HEIGHT * WIDTH * 3
"""Bytes: two whole chunks and a part of one."""
LAST = SIZE - 2 * CHUNK_BYTES
HALF = CHUNK_BYTES // 2
WRONG_CHUNKS = {
    "the first one twice": ([(0, CHUNK_BYTES), (0, CHUNK_BYTES)], "BAD_CHUNK"),
    "the second one twice": ([(0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES)], "BAD_CHUNK"),
    "overlapping": ([(0, CHUNK_BYTES), (HALF, CHUNK_BYTES)], "BAD_CHUNK"),
    "one byte too early": ([(0, CHUNK_BYTES), (CHUNK_BYTES - 1, CHUNK_BYTES)], "BAD_CHUNK"),
    "one byte left out": ([(0, CHUNK_BYTES), (CHUNK_BYTES + 1, CHUNK_BYTES)], "BAD_CHUNK"),
    "the third one before the second": ([(0, CHUNK_BYTES), (2 * CHUNK_BYTES, LAST)], "BAD_CHUNK"),
    "the second one first": ([(CHUNK_BYTES, CHUNK_BYTES)], "BAD_CHUNK"),
    "one after the last": (
        [(0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES), (2 * CHUNK_BYTES, LAST), (SIZE, 1)],
        "BAD_CHUNK",
    ),
    "a short one in the middle": ([(0, HALF)], "LENGTH_MISMATCH"),
    "too short at the end": (
        [(0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES), (2 * CHUNK_BYTES, LAST - 1)],
        "LENGTH_MISMATCH",
    ),
    "too long at the end": (
        [(0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES), (2 * CHUNK_BYTES, LAST + 1)],
        "LENGTH_MISMATCH",
    ),
}


@pytest.fixture
def content() -> Pixels:
    """Three chunks, that no server has."""
    return random_pixels(HEIGHT, WIDTH, seed=secrets.randbits(32))


def _held_bytes(server: RunningServer) -> int:
    with server.client() as client:
        return client.status().held_bytes


@pytest.fixture
def before(server: RunningServer) -> int:
    """Bytes that the server holds without a job; one that was just ended may still be in the worker."""
    with server.client() as client:
        assert wait_until(lambda: client.hello().jobs == 0, 10) < 10
    return _held_bytes(server)


@pytest.mark.fault(33, 44)
@pytest.mark.parametrize(("chunks", "code"), WRONG_CHUNKS.values(), ids=WRONG_CHUNKS.keys())
def test_wrong_chunk_of_several_ends_the_job(
    server: RunningServer, content: Pixels, before: int, chunks: list[tuple[int, int]], code: str
) -> None:
    """Its code, once; nothing is kept, so that the server needs all of the pixels when they are to come again."""
    job = StylizeJob(request(content, [("space-sun", 1.0)]))
    with RawPeer(server) as peer:
        grant = peer.ask(*job.open())
        assert grant["op"] == "grant" and grant["need"] == [content.digest] and grant["chunks"] == 3
        assert _held_bytes(server) == before + 2 * SIZE  # the layer that is to come, and the result
        data = memoryview(bytes(content.data) + b"x" * CHUNK_BYTES)
        for offset, length in chunks:
            header = protocol.pack("chunk", job=job.job_id, digest=content.digest, offset=offset)
            peer.send([header, data[offset : offset + length]])
        answer = peer.receive_answer()
        assert (answer["op"], answer["code"], answer["job"]) == ("error", code, job.job_id)
        assert answer["retryable"] is False
        if offset < SIZE:
            assert _held_bytes(server) == before
            again = StylizeJob(request(content, [("space-sun", 1.0)]))
            assert peer.ask(*again.open())["need"] == [content.digest]
            assert peer.ask(*again.cancel())["op"] == "cancelled"
    assert works(server)


@pytest.mark.fault(45)
def test_damaged_pixels_are_worth_another_try(server: RunningServer, content: Pixels, before: int) -> None:
    """The last bit is another: BAD_DIGEST, which says so; nothing is kept, and the next upload is painted."""
    damaged = bytearray(content.data)
    damaged[-1] ^= 1
    wanted = request(content, [("space-sun", 1.0)], preview=16)
    job = StylizeJob(wanted)
    with RawPeer(server) as peer:
        assert peer.ask(*job.open())["op"] == "grant"
        for offset in range(0, SIZE, CHUNK_BYTES):
            header = protocol.pack("chunk", job=job.job_id, digest=content.digest, offset=offset)
            peer.send([header, memoryview(damaged)[offset : offset + CHUNK_BYTES]])
        answer = peer.receive_answer()
        assert (answer["code"], answer["job"], answer["retryable"]) == ("BAD_DIGEST", job.job_id, True)
        assert _held_bytes(server) == before
        again = StylizeJob(wanted)
        peer.upload(again)
        while not again.finished:
            peer.serve([again])
    assert again.result is not None and again.result.pixels.width == 16
