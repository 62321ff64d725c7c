"""Long work in Qt's thread, in steps: Krita stays responsive between them, so that the user can go on painting."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Generic, TypeVar

from adain_style.krita.qt import QtCore

log = logging.getLogger(__name__)

T = TypeVar("T")
TaskSteps = Generator[Any, None, T]
"""Does a little work at each step and returns its result; yields WAIT when Krita has to do something first."""
WAIT = True

TURN_S = 0.008
"""How long steps are done at a time. One step has to be far below 50 ms, the longest that Krita may wait."""
PAUSE_MS = 2
"""The time for Krita's own work between two turns."""


class CooperativeTask(QtCore.QObject, Generic[T]):
    """Runs the steps of some work, never those of two tasks at a time; stop() leaves the rest undone."""

    _is_turning: ClassVar[bool] = False

    def __init__(self, steps: TaskSteps[T], done: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        """Begin soon, when Qt's loop runs again.

        Args:
            steps: The steps to run.
            done: Called with their result.
            failed: Called with the exception that they raised.
        """
        super().__init__()
        self._steps, self._done, self._failed = steps, done, failed
        self._is_stopped = False
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._turn)
        self._timer.start()

    def stop(self) -> None:
        """Do nothing more, and call neither done nor failed."""
        self._is_stopped = True
        self._timer.stop()
        if not CooperativeTask._is_turning:
            self._steps.close()

    def _turn(self) -> None:
        # Some of Krita's functions process events, including timers, while a step waits for them.
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
        """Run some steps; when there are no more, return a function that reports the end."""
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
    """Run all steps at once, for short work."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
