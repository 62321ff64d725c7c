"""What an attack found, and what a server has of the machine before it and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from support.processes import descriptors, resident_mib, wait_until


@dataclass
class Outcome:
    """What an attack found.

    Attributes:
        measured: Figures in words.
        broken: A sentence for each promise that did not hold.
        slow: A sentence for each time that was longer than promised. A busy machine is enough for that, so that tests
            do not look at it.
    """

    measured: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)

    def promise(self, holds: bool, sentence: str) -> None:
        """Note a promise that does not hold."""
        if not holds:
            self.broken.append(sentence)

    def within(self, what: str, seconds: Sequence[float], limit_s: float, *, share: float = 0.99) -> None:
        """Note times, and whether that share of them is within a limit."""
        if not seconds:
            self.broken.append(f"{what}: nothing was measured")
            return
        at = sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]
        longest = f"longest {1000 * max(seconds):.1f}"
        figure = f"{what}: {1000 * at:.1f} ms (p{100 * share:.0f} of {len(seconds):,}), {longest}"
        self.measured.append(figure)
        if at > limit_s:
            self.slow.append(f"{figure}; {1000 * limit_s:g} ms were promised")


class Watch:
    """What a server has of the machine, before an attack and after it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._memory, self._descriptors = resident_mib(pid), descriptors(pid)

    def is_as_before(self, *, memory_mib: float, more: int = 5) -> bool:
        """Memory and descriptors have not grown by more than that."""
        return self.memory_grown() <= memory_mib and self.descriptors_grown() <= more

    def memory_grown(self) -> float:
        """MiB since the beginning."""
        return resident_mib(self._pid) - self._memory

    def descriptors_grown(self) -> int:
        """Descriptors since the beginning."""
        return descriptors(self._pid) - self._descriptors

    def note(self, outcome: Outcome, *, memory_mib: float, timeout_s: float = 10.0) -> None:
        """Wait until all is as before, note what there is then, and the promise that it is so."""
        wait_until(lambda: self.is_as_before(memory_mib=memory_mib), timeout_s)
        outcome.measured.append(
            f"I/O process: {self.memory_grown():+.1f} MiB, descriptors {self.descriptors_grown():+d}"
        )
        outcome.promise(self.memory_grown() <= memory_mib, f"the I/O process grew by more than {memory_mib:g} MiB")
        # There may be fewer: pictures that nobody names for ten minutes are forgotten.
        outcome.promise(self.descriptors_grown() <= 5, "descriptors were left open")
