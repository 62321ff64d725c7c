"""Limits of the I/O process's memory and descriptors, and how much of them is in use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MEMORY_LIMIT = 512 * 1024**2
"""Most bytes of the I/O process's own memory, without pictures, which are shared. Ordinary work needs a fifth of it."""
SPARE_DESCRIPTORS = 32
"""Descriptors kept for the worker, files and sockets that are closing; peers that would need them are refused."""
CROWD = 0.5
"""Fraction of used descriptors above which ipc accepts no peers: libzmq would end the process at the last one."""
CROWD_GONE = 0.25


def own_memory() -> int:
    """Bytes in the machine's memory that only this process uses; 0 where the system does not report it."""
    return memory_of("self")


def memory_of(pid: int | str) -> int:
    """The same for any process; 0 when it has ended."""
    try:
        _size, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_bytes().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def raise_descriptor_limit() -> None:
    """Raise the limit to as many as this user may have: libzmq ends the process when it cannot accept an ipc peer."""
    if sys.platform == "win32":
        return
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS may say "unlimited" and mean less
        return


def most_buffers() -> int:
    """Most shared buffers in use at a time, of two descriptors each: a quarter of all; the rest is for peers."""
    return descriptor_limit() // 8


def descriptor_limit() -> int:
    """Files and sockets that this process may have open."""
    if sys.platform == "win32":
        return 2**31
    import resource

    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit


def descriptors_left() -> int:
    """A lower bound of how many more it may open, because a new one gets the lowest free number."""
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(lowest)
    return descriptor_limit() - lowest
