"""SIGTERM and Ctrl-C as a request to stop after the step."""

from __future__ import annotations

import signal
from types import FrameType

from tqdm import tqdm


class StopOnSignal:
    """While entered, SIGTERM and Ctrl-C only set `requested`.

    A second Ctrl-C ends a process that is alone at once. Under torchrun it comes twice each time, from the terminal and
    from torchrun, which kills processes that have not ended after a while.
    """

    def __init__(self, *, alone: bool) -> None:
        """alone: Whether this is the run's only process."""
        self.requested = False
        self._alone = alone

    def __enter__(self) -> StopOnSignal:
        self._before = {number: signal.signal(number, self._request) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and self._alone and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested and self._alone:
            tqdm.write("Stopping after this step.")
        self.requested = True
