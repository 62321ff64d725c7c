"""Processes, looked at from outside: their memory, their descriptors, their children, and waiting for what they do."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(condition: Callable[[], bool], timeout_s: float, *, every_s: float = 0.02) -> float:
    """Seconds until a condition holds; infinite when it does not in time."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            return float("inf")
        time.sleep(every_s)
    return time.monotonic() - started


def resident_mib(pid: int) -> float:
    """Memory that a process has in the machine, MiB."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def children_of(pid: int) -> list[int]:
    """Process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def shared_memory_names() -> set[str]:
    """The POSIX shared memory segments that Python programs have made on this machine."""
    return {entry for entry in os.listdir("/dev/shm") if entry.startswith("psm_")}  # noqa: PTH208, S108


def segments_of(pid: int) -> set[str]:
    """The names of the shared memory that a process has, and no other program."""
    return set(re.findall(r"/(psm_\w+)$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE))


def server_pid(connection_file: Path) -> int:
    """The process that a connection file names."""
    pid: int = json.loads(connection_file.read_text())["pid"]
    return pid
