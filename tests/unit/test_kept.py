"""What is kept, and what makes room: the worker's cache and the I/O process's pictures."""

from __future__ import annotations

import pytest

from adain_server.cache import ByteCache
from adain_server.errors import JobError
from adain_server.io_process import store as store_module
from adain_server.io_process.store import PictureStore
from support.processes import shared_memory_names


def test_the_value_used_longest_ago_goes_first() -> None:
    """Reading counts as using; sizes add up; what is too large alone is not kept and pushes nobody out."""
    cache = ByteCache(100)
    for key, size in (("a", 40), ("b", 40)):
        cache.put(key, key.upper(), size)
    assert cache.get("a") == "A"
    cache.put("c", "C", 30)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.held) == ("A", None, "C", 70)
    cache.put("d", "D", 101)
    assert cache.get("d") is None and cache.held == 70
    cache.put("a", "AA", 10)
    assert cache.get("a") == "AA" and cache.held == 40
    cache.make_room(200)
    assert cache.held == 0 and cache.get("a") is None


@pytest.mark.fault(59)
def test_unused_pictures_make_room_and_used_ones_stay() -> None:
    """BUSY only when what others use leaves no room; a single request is let in however large."""
    before = shared_memory_names()
    store = PictureStore(100, 99)
    for digest in (b"a", b"b"):
        (segment,) = store.reserve([40])
        store.add(digest, segment)
    store.release(b"b")
    (segment,) = store.reserve([50])
    assert store.hold(b"b") is None and store.hold(b"a") is not None
    with pytest.raises(JobError) as caught:
        store.reserve([20])
    assert caught.value.code == "BUSY" and caught.value.retry_after_s
    store.free(segment)
    store.release(b"a")
    store.release(b"a")
    (large,) = store.reserve([500])
    store.free(large)
    assert shared_memory_names() == before


def test_the_same_picture_twice_is_kept_once() -> None:
    """Two jobs that upload it at the same time share the first one's memory."""
    before = shared_memory_names()
    store = PictureStore(1000, 99)
    first, second = store.reserve([10, 10])
    assert store.add(b"a", first) is first and store.add(b"a", second) is first
    assert len(shared_memory_names() - before) == 1
    store.release(b"a")
    store.close()
    assert shared_memory_names() == before


def test_pictures_are_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's layer stays in memory for ever; one that is in use does."""
    store = PictureStore(1000, 99)
    first, second = store.reserve([10, 10])
    store.add(b"a", first)
    store.add(b"b", second)
    store.release(b"a")
    store.sweep()
    assert store.hold(b"a") is not None
    store.release(b"a")
    monkeypatch.setattr(store_module, "FORGET_AFTER_S", -1.0)
    store.sweep()
    assert store.hold(b"a") is None and store.hold(b"b") is not None
    store.close()


def test_pictures_make_room_by_number_as_well() -> None:
    """Each has a descriptor open, of which there are few: the oldest goes, and those in use are not pushed out."""
    store = PictureStore(1000, 3)
    first, second = store.reserve([10, 10])
    store.add(b"a", first)
    store.add(b"b", second)
    store.release(b"a")
    third, fourth = store.reserve([10, 10])
    assert store.hold(b"a") is None and store.hold(b"b") is not None
    with pytest.raises(JobError, match="busy"):
        store.reserve([10])
    store.free(third)
    store.free(fourth)
    store.close()
