"""One picture in shared memory: written by one process, read by the other."""

from __future__ import annotations

import os
import shutil
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from adain_server.errors import JobError

SHARED_MEMORY_MOUNT = Path("/dev/shm")  # noqa: S108  # where Linux has it; other systems have no such folder


class SharedBuffer:
    """Shared memory of a known size whose bytes are reserved, so that no writer is killed for lack of memory.

    Attributes:
        name: The name by which another process attaches to it. size: Bytes.
    """

    def __init__(self, size: int) -> None:
        """Allocate. Raises JobError BUSY when the machine has no memory left."""
        self.size = size
        try:
            self._memory: SharedMemory | None = SharedMemory(create=True, size=max(size, 1))
        except OSError:
            raise _no_room() from None
        self.name = self._memory.name
        try:
            _reserve(self.name, size)
        except OSError:
            self.close()
            raise _no_room() from None

    @property
    def view(self) -> memoryview:
        """All bytes, while it is attached. Slices of it have to be released before detach() and close()."""
        assert self._memory is not None and self._memory.buf is not None
        return self._memory.buf

    def detach(self) -> None:
        """Keep the bytes, but close this process's mapping and descriptors."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def attach(self) -> None:
        """Undo detach(). Raises OSError when the memory was removed since, or no descriptor is left."""
        if self._memory is None:
            self._memory = SharedMemory(name=self.name)

    def close(self) -> None:
        """Free the memory."""
        try:
            self.attach()
        except OSError:
            return  # it is gone already
        assert self._memory is not None
        self._memory.close()
        self._memory.unlink()
        self._memory = None


def check_shared_memory(size: int) -> None:
    """Refuse a size that this machine can never hold. Raises JobError TOO_LARGE."""
    if not SHARED_MEMORY_MOUNT.is_dir():
        return
    total = shutil.disk_usage(SHARED_MEMORY_MOUNT).total
    if size > total:
        raise JobError(
            "TOO_LARGE",
            f"The layer, its masks and the result need {size / 1024**2:.0f} MiB of shared memory, and "
            f"{SHARED_MEMORY_MOUNT} has {total / 1024**2:.0f} on the server's machine; make it larger (a container: "
            "--shm-size=2g), or scale the layer down.",
        )


def _reserve(name: str, size: int) -> None:
    """Make the system reserve the bytes: Linux hands out more shared memory than it has, and kills the writer.

    Raises:
        OSError: There is not enough memory.
    """
    if size and SHARED_MEMORY_MOUNT.is_dir():
        with (SHARED_MEMORY_MOUNT / name).open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _no_room() -> JobError:
    return JobError("BUSY", "The server's machine has no shared memory left; try again in a moment.", retry_after_s=5.0)
