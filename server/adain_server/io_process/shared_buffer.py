"""One picture in shared memory: written by one process, read by the other."""

from __future__ import annotations

import shutil
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from adain_server.errors import JobError

SHARED_MEMORY_MOUNT = Path("/dev/shm")  # noqa: S108  # only asked how much room it has


class SharedBuffer:
    """Shared memory of a known size."""

    def __init__(self, size: int) -> None:
        """Allocate. Raises JobError BUSY when the machine has no room."""
        self.size = size
        # Linux hands out shared memory that it does not have and kills the writer later, so ask first.
        if SHARED_MEMORY_MOUNT.is_dir() and shutil.disk_usage(SHARED_MEMORY_MOUNT).free < size:
            raise _no_room()
        try:
            self._memory = SharedMemory(create=True, size=max(size, 1))
        except OSError:
            raise _no_room() from None
        self.name = self._memory.name

    @property
    def view(self) -> memoryview:
        """All bytes. Slices of it have to be released before close()."""
        assert self._memory.buf is not None
        return self._memory.buf

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        self._memory.unlink()


def _no_room() -> JobError:
    return JobError("BUSY", "The server has no shared memory left; try again in a moment.", retry_after_s=5.0)
