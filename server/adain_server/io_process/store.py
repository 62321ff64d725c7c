"""Pictures that have arrived, by digest, in shared memory: a layer is uploaded once, whatever is asked of it."""

from __future__ import annotations

import time
from collections import OrderedDict

from adain_server.errors import JobError, busy
from adain_server.io_process.shared_buffer import SharedBuffer, check_shared_memory

FORGET_AFTER_S = 600.0
"""A picture that no request has named for this long is dropped: keeping it harms privacy and saves no work."""

MOST_KEPT = 4096
"""Most pictures at a time, in use or not."""


class _Entry:
    def __init__(self, buffer: SharedBuffer) -> None:
        self.buffer = buffer
        self.users = 0
        self.touched = time.monotonic()


class PictureStore:
    """Pictures by digest: those that jobs use stay; the others are evicted when room is needed, the oldest first.

    An unused picture has no open descriptors, because there may be many of them.

    Attributes:
        held: Bytes of the pictures that are here and of those that memory is reserved for.
    """

    def __init__(self, limit: int, most: int) -> None:
        """limit: Most bytes, those of reserve() included. most: Most buffers in use at a time."""
        self._limit = limit
        self._most = most
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._in_use = 0  # buffers, of pictures and of what is reserved
        self.held = 0

    def hold(self, digest: bytes) -> SharedBuffer | None:
        """Use a picture until release(); None when it is not here. Raises JobError BUSY when no descriptor is left."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        try:
            entry.buffer.attach()
        except FileNotFoundError:  # the folder of shared memory was emptied
            self._forget(digest)
            return None
        except OSError:
            raise busy() from None
        self._in_use += not entry.users
        entry.users += 1
        self._touch(digest)
        return entry.buffer

    def add(self, digest: bytes, buffer: SharedBuffer) -> SharedBuffer:
        """Take over a picture that has arrived, and hold it; if the same one is here already, that one stays."""
        known = self.hold(digest)
        if known is not None:
            self.free(buffer)
            return known
        self._entries[digest] = _Entry(buffer)
        self._entries[digest].users = 1
        return buffer

    def release(self, digest: bytes) -> None:
        """Undo one hold() or add()."""
        entry = self._entries[digest]
        entry.users -= 1
        if not entry.users:
            entry.buffer.detach()
            self._in_use -= 1
        self._touch(digest)

    def reserve(self, sizes: list[int]) -> list[SharedBuffer]:
        """Allocate memory for pictures that will arrive or be made; unused pictures make room for it.

        A request of any size is accepted when nothing else is in use.

        Raises:
            JobError: BUSY when others use too much or no shared memory is left, TOO_LARGE when there is never enough.
        """
        wanted = sum(sizes)
        check_shared_memory(wanted)
        if self._in_use and self._in_use + len(sizes) > self._most:
            raise busy()
        while not self._has_room(wanted, len(sizes)) and self._forget_oldest():
            pass
        if self._in_use and not self._has_room(wanted, len(sizes)):
            raise busy()
        buffers: list[SharedBuffer] = []
        try:
            for size in sizes:
                buffers.append(self._allocated(size))
        except JobError:
            for buffer in buffers:
                buffer.close()
            raise
        self.held += wanted
        self._in_use += len(buffers)
        return buffers

    def free(self, buffer: SharedBuffer) -> None:
        """Free memory that reserve() returned and add() did not take over."""
        self._in_use -= 1
        self._close(buffer)

    def sweep(self) -> None:
        """Forget pictures that nobody has used for FORGET_AFTER_S."""
        now = time.monotonic()
        for digest, entry in list(self._entries.items()):
            if not entry.users and now - entry.touched > FORGET_AFTER_S:
                self._forget(digest)

    def close(self) -> None:
        """Forget everything."""
        for digest in list(self._entries):
            self._forget(digest)

    def _allocated(self, size: int) -> SharedBuffer:
        while True:
            try:
                return SharedBuffer(size)
            except JobError:
                if not self._forget_oldest():
                    raise

    def _has_room(self, size: int, buffers: int) -> bool:
        return self.held + size <= self._limit and len(self._entries) + buffers <= MOST_KEPT

    def _close(self, buffer: SharedBuffer) -> None:
        self.held -= buffer.size
        buffer.close()

    def _touch(self, digest: bytes) -> None:
        self._entries[digest].touched = time.monotonic()
        self._entries.move_to_end(digest)

    def _forget_oldest(self) -> bool:
        for digest, entry in self._entries.items():
            if not entry.users:
                self._forget(digest)
                return True
        return False

    def _forget(self, digest: bytes) -> None:
        self._close(self._entries.pop(digest).buffer)
