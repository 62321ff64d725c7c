"""Long work in Qt's thread, in steps: between them Krita answers, so that the user goes on painting."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Generic, TypeVar

from adain_style.krita.qt import QtCore

log = logging.getLogger(__name__)

T = TypeVar("T")
TaskSteps = Generator[Any, None, T]
"""Does a little at each step, and returns what was to be made; yields WAIT when Krita has to do something first."""
WAIT = True

TURN_S = 0.008
"""Steps are done for so long at a time. One step has to be far below 50 ms, the longest that Krita may wait."""
PAUSE_MS = 2
"""For Krita's own work, between two turns."""


class CooperativeTask(QtCore.QObject, Generic[T]):
    """Steps that are being done, never two works' at a time; stop() leaves the rest undone."""

    _is_turning: ClassVar[bool] = False

    def __init__(self, steps: TaskSteps[T], done: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        """Begin, not before Krita is idle.

        Args:
            steps: What to do.
            done: Told what the steps returned.
            failed: Told what they raised.
        """
        super().__init__()
        self._steps, self._done, self._failed = steps, done, failed
        self._is_stopped = False
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._turn)
        self._timer.start()

    def stop(self) -> None:
        """Do nothing more; nothing is told."""
        self._is_stopped = True
        self._timer.stop()
        if not CooperativeTask._is_turning:
            self._steps.close()

    def _turn(self) -> None:
        # Some of Krita's functions let its events through, timers as well, while a step waits for them.
        if CooperativeTask._is_turning:
            return
        CooperativeTask._is_turning = True
        end: Callable[[], None] | None = None
        try:
            end = self._do_steps()
        finally:
            CooperativeTask._is_turning = False
        if self._is_stopped:
            self._steps.close()
        elif end is not None:
            self._timer.stop()
            end()

    def _do_steps(self) -> Callable[[], None] | None:
        """Some steps; what is to be done in the end, when there are no more."""
        until = time.monotonic() + TURN_S
        try:
            while time.monotonic() < until and not self._is_stopped:
                begun = time.monotonic()
                waits = next(self._steps)
                if (took := time.monotonic() - begun) > 2 * TURN_S:
                    log.debug("a step of %.0f ms", 1000 * took)
                if waits:
                    break
        except StopIteration as end:
            result: T = end.value
            return lambda: self._done(result)
        except Exception as error:
            problem = error
            return lambda: self._failed(problem)
        return None


def run_now(steps: TaskSteps[T]) -> T:
    """Do all the steps at once, for what is short."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
