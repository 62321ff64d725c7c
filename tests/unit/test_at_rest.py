"""A worker that nobody asks for anything lets go of what is large."""

from __future__ import annotations

import copy
import multiprocessing

import pytest

from adain_net.network import AdainNetwork
from adain_server import pipe
from adain_server.cache import ByteCache
from adain_server.worker import ncnn_engine
from adain_server.worker.worker import KEPT_AT_REST, _hear_or_rest

JOB = pipe.Accept(b"j" * 16)


def test_largest_values_go_first() -> None:
    """As many as it takes, and no more; what is small stays, however old it is."""
    cache = ByteCache(100)
    for key, size in (("small", 1), ("large", 60), ("middle", 30)):
        cache.put(key, key, size)
    cache.shrink(91)
    assert cache.held == 91
    cache.shrink(40)
    assert (cache.get("small"), cache.get("large"), cache.get("middle"), cache.held) == ("small", None, "middle", 31)


def test_worker_that_hears_nothing_lets_large_values_go_once() -> None:
    """While messages come everything stays; what comes after the rest is heard."""
    ours, theirs = multiprocessing.Pipe()
    cache = ByteCache(4 * KEPT_AT_REST)
    cache.put("preview", "features", KEPT_AT_REST // 4)
    cache.put("picture", "features", 2 * KEPT_AT_REST)
    with ours, theirs:
        ours.send_bytes(pipe.pack(JOB))
        assert _hear_or_rest(theirs, cache, rest_s=60) == JOB
        assert cache.get("picture") is not None
        ours.close()
        with pytest.raises(EOFError):
            _hear_or_rest(theirs, cache, rest_s=60)  # a parent that has gone is noticed at once
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:

        class LateParent:
            """Speaks only once the worker rests."""

            def poll(self, _seconds: float) -> bool:
                ours.send_bytes(pipe.pack(JOB))
                return False

            def recv_bytes(self) -> bytes:
                return theirs.recv_bytes()

        assert _hear_or_rest(LateParent(), cache, rest_s=0) == JOB  # type: ignore[arg-type]
    assert cache.get("picture") is None and cache.get("preview") is not None


def test_engines_of_equal_encoders_share_a_net_and_of_other_ones_do_not(network: AdainNetwork) -> None:
    """By their weights, not by the object; the net goes with the last engine."""
    pytest.importorskip("ncnn")
    before = set(ncnn_engine._encoder_nets)
    same, other = copy.deepcopy(network), copy.deepcopy(network)
    other.encoder.conv4_1.bias.data[0] += 1  # type: ignore[union-attr]
    engines = [ncnn_engine.NcnnEngine(each, 3) for each in (network, same, other)]
    assert engines[0]._encoder is engines[1]._encoder is not engines[2]._encoder
    assert len(set(ncnn_engine._encoder_nets) - before) == 2
    engines.clear()
    assert set(ncnn_engine._encoder_nets) == before
