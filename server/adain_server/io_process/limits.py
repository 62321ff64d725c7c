"""What the I/O process may use of the machine: memory and descriptors, measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MEMORY_LIMIT = 512 * 1024**2
"""Bytes of the I/O process's own memory, pictures not counted, which are shared. Ordinary work needs a fifth of it."""
SPARE_DESCRIPTORS = 32
"""For the worker, files and what is being closed; a peer beyond that is refused."""
CROWD = 0.5
"""Of all descriptors; by ipc nobody is let in beyond that, because libzmq would end the process with the last."""
CROWD_GONE = 0.25


def own_memory() -> int:
    """Bytes in the machine's memory that only this process uses; 0 where the system does not say."""
    return memory_of("self")


def memory_of(pid: int | str) -> int:
    """The same of another process; 0 when it has ended."""
    try:
        _size, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_bytes().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def raise_descriptor_limit() -> None:
    """As many files and sockets as this user may have: libzmq ends the process when it can accept no peer by ipc."""
    if sys.platform == "win32":
        return
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS may say "unlimited" and mean less
        return


def most_buffers() -> int:
    """Shared buffers in use at a time, each with two descriptors: a quarter of them, the rest is for peers."""
    return descriptor_limit() // 8


def descriptor_limit() -> int:
    """Files and sockets that this process may have open."""
    if sys.platform == "win32":
        return 2**31
    import resource

    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit


def descriptors_left() -> int:
    """How many more it may open; at least so many, because a new one has the lowest number that is free."""
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(lowest)
    return descriptor_limit() - lowest
