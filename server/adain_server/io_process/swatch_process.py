"""Thumbnails of users' own pictures, made in a process of their own.

A large picture takes seconds to decode and hundreds of megabytes: too much for the loop that answers all clients.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from adain_server.errors import JobError, busy

MOST_WAITING = 256
LONGEST_S = 10.0
"""The process is ended when one picture takes longer: clients wait for its thumbnail."""
STOP_S = 1.0
MADE, FAILED = b"\x01", b"\x00"
"""The first byte of an answer: a thumbnail follows, or a sentence."""


@dataclass(frozen=True)
class Wish:
    """A client's request for the thumbnail of a style."""

    client: bytes
    name: str
    path: Path


class SwatchProcess:
    """Makes one thumbnail after the other; the process starts with the first one.

    The loop polls fileno and calls take() when it is readable, and check() now and then.
    """

    def __init__(self, give: Callable[[Wish, bytes | JobError], None]) -> None:
        """give: Called with each wish and its thumbnail, a JPEG file, or the reason why there is none."""
        self._give = give
        self._waiting: deque[Wish] = deque()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection
        self._began = 0.0

    @property
    def fileno(self) -> int | None:
        """The file descriptor to poll; None while there is no process."""
        return None if self._process is None else self._connection.fileno()

    def ask(self, wish: Wish) -> None:
        """Make a thumbnail soon. Raises JobError BUSY."""
        if len(self._waiting) >= MOST_WAITING:
            raise busy()
        if self._process is None:
            self._start()
        self._waiting.append(wish)
        if len(self._waiting) == 1:
            self._begin()

    def take(self) -> None:
        """Take what the process has made, or notice that it has died."""
        try:
            data = self._connection.recv_bytes()
        except (EOFError, OSError):
            self._end_process("The style's picture cannot be opened.")
            return
        self._answer(data[1:] if data[:1] == MADE else JobError("BAD_STYLE", data[1:].decode()))

    def check(self) -> None:
        """End a process that takes too long."""
        if self._waiting and time.monotonic() - self._began > LONGEST_S:
            self._end_process("The style's picture takes too long to open.")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._connection.close()
            self._process.kill()
            self._process.join(STOP_S)
            self._process = None

    def _answer(self, swatch: bytes | JobError) -> None:
        wish = self._waiting.popleft()
        if self._waiting and self._process is not None:
            self._begin()
        self._give(wish, swatch)

    def _end_process(self, sentence: str) -> None:
        """End the process: its current picture gets an error, the others a new process."""
        self.stop()
        if self._waiting:
            wish = self._waiting.popleft()
            if self._waiting:
                self._start()
                self._begin()
            self._give(wish, JobError("BAD_STYLE", sentence))

    def _begin(self) -> None:
        self._began = time.monotonic()
        try:
            self._connection.send_bytes(str(self._waiting[0].path).encode())
        except OSError:
            return  # the process has died, which take() notices

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_run, args=(theirs,), name="adain-swatches", daemon=True)
        self._process.start()
        theirs.close()


def _run(connection: Connection) -> None:
    """Make thumbnails until the server closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when to end
    # Imported here: the server itself opens no pictures.
    from adain_weights.picture_files import PictureError, open_picture
    from adain_weights.style_pictures import SWATCH_SIDE, swatch

    try:
        while True:
            path = Path(connection.recv_bytes().decode())
            try:
                answer = MADE + swatch(open_picture(path, least_side=2 * SWATCH_SIDE).convert("RGB"))
            except (PictureError, MemoryError) as error:
                answer = FAILED + (str(error) or "The style's picture needs too much memory.").encode()
            connection.send_bytes(answer)
    except (EOFError, OSError):
        return
