"""What an attack found, and how it looks at a process from outside."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What an attack found.

    Attributes:
        measured: Figures in words.
        broken: A sentence for each promise that did not hold.
    """

    measured: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def promise(self, holds: bool, sentence: str) -> None:
        """Note a promise that does not hold."""
        if not holds:
            self.broken.append(sentence)


def resident_mib(pid: int) -> float:
    """Memory that a process has in the machine, MiB."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def wait_until(condition: Callable[[], bool], timeout_s: float, *, every_s: float = 0.02) -> float:
    """Seconds until a condition holds; infinite when it does not in time."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            return float("inf")
        time.sleep(every_s)
    return time.monotonic() - started
