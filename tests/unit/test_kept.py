"""What is kept, and what makes room: the worker's cache and the I/O process's pictures."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest

from adain_server.cache import ByteCache
from adain_server.errors import JobError
from adain_server.io_process import store as store_module
from adain_server.io_process.shared_buffer import SHARED_MEMORY_MOUNT
from adain_server.io_process.store import PictureStore
from adain_style.client import protocol
from support.processes import descriptors, shared_memory_names


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


def test_pictures_make_room_by_number_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and those in use are not pushed out."""
    monkeypatch.setattr(store_module, "MOST_KEPT", 3)
    store = PictureStore(1000, 99)
    first, second = store.reserve([10, 10])
    store.add(b"a", first)
    store.add(b"b", second)
    store.release(b"a")
    third, fourth = store.reserve([10, 10])
    assert store.hold(b"a") is None and store.hold(b"b") is not None
    for buffer in (third, fourth):
        store.free(buffer)
    store.close()


def test_buffers_in_use_are_limited_and_kept_ones_stay() -> None:
    """BUSY, without forgetting a picture that could not help; a single request may have any number."""
    store = PictureStore(1000, 3)
    first, second = store.reserve([10, 10])
    store.add(b"a", first)
    store.release(b"a")
    with pytest.raises(JobError, match="busy"):
        store.reserve([10, 10, 10])
    assert store.hold(b"a") is first
    store.release(b"a")
    store.free(second)
    for buffer in store.reserve([10] * 5):
        store.free(buffer)
    store.close()


def test_picture_that_nobody_uses_has_no_descriptor_and_keeps_its_bytes() -> None:
    """A film leaves hundreds of them; the descriptors are needed for peers."""
    store = PictureStore(10**6, 99)
    before = descriptors(os.getpid())
    for number in range(50):
        (buffer,) = store.reserve([4])
        buffer.view[:4] = number.to_bytes(4, "little")
        store.add(bytes([number]), buffer)
        store.release(bytes([number]))
    assert descriptors(os.getpid()) == before
    held = store.hold(bytes([7]))
    assert held is not None and bytes(held.view[:4]) == (7).to_bytes(4, "little")
    store.release(bytes([7]))
    store.close()
    assert descriptors(os.getpid()) == before


def test_picture_that_was_removed_from_outside_is_uploaded_again() -> None:
    """It is not known any more, and takes no room."""
    store = PictureStore(1000, 99)
    (buffer,) = store.reserve([10])
    store.add(b"a", buffer)
    store.release(b"a")
    (SHARED_MEMORY_MOUNT / buffer.name).unlink()
    assert store.hold(b"a") is None and store.held == 0


def test_what_can_never_fit_is_refused_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """TOO_LARGE names the folder and what to do, and is not worth a retry; nothing is left behind."""
    before = shared_memory_names()
    usage = SimpleNamespace(total=64 * 1024**2, used=0, free=64 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(JobError, match=r"72 MiB of shared memory, and /dev/shm has 64 .* --shm-size") as caught:
        PictureStore(10**9, 99).reserve([36 * 1024**2, 36 * 1024**2])
    assert caught.value.code == "TOO_LARGE" and not protocol.ERRORS["TOO_LARGE"]
    assert shared_memory_names() == before


def test_bytes_are_reserved_and_not_only_promised() -> None:
    """What a file takes of the folder is there before anybody writes."""
    store = PictureStore(10**9, 99)
    (buffer,) = store.reserve([3 * 1024**2])
    assert 512 * (SHARED_MEMORY_MOUNT / buffer.name).stat().st_blocks >= 3 * 1024**2
    store.free(buffer)
