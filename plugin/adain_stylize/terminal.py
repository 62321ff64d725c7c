"""The finish at a terminal: a forecast of how long it takes, and Ctrl-C to keep the picture as it is."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from adain_style.client.client import Client, ServerInfo
from adain_style.client.jobs import Progress
from adain_style.client.progress import finish_seconds

LOADING_POLL_S = 0.3
"""How often a server that is loading its model, and cannot give a forecast yet, is asked again, in seconds."""


class Forecast:
    """Announces how long a picture's finish will take, before it is painted."""

    def __init__(self, client: Client, stroke_size: float, say: Callable[[str], None]) -> None:
        """say: Called with a sentence."""
        self._client = client
        self._stroke_size = stroke_size
        self._say = say
        self._info: ServerInfo | None = None
        self._said = ""

    def announce(self, height: int, width: int) -> None:
        """Announce it for a picture of this size, unless that was the last announcement, as for a film's frames.

        Raises:
            AdainError: The server does not answer.
        """
        self._info = self._info or self._ready_server()
        seconds = finish_seconds(self._info, height, width, self._stroke_size)
        takes = (
            "How long the finish takes is not known" if seconds is None else f"About {_rounded(seconds)} for the finish"
        )
        sentence = f"{takes}; Ctrl-C once keeps the picture as it is then."
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)

    def _ready_server(self) -> ServerInfo:
        while not (info := self._client.hello()).ready:
            time.sleep(LOADING_POLL_S)
        return info


class KeepOnInterrupt:
    """A context in which the first Ctrl-C during a finish is only noted; any other raises KeyboardInterrupt.

    Attributes:
        has_come: Whether that first one has come.
        progress: The latest progress; set by the caller.
    """

    def __init__(self) -> None:
        self.has_come = False
        self.progress = Progress("upload", 0, 1)

    def __enter__(self) -> KeepOnInterrupt:
        self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self.has_come or self.progress.stage != "finish":
            raise KeyboardInterrupt
        self.has_come = True


def _rounded(seconds: float) -> str:
    """A length of time, rounded for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
