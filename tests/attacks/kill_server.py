"""kill -9 of a server in mid-job: the client goes on with the next server, and its result is the right one."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

from adain_style.client import client as client_module
from adain_style.client.errors import AdainError
from adain_style.client.jobs import Progress
from attacks.outcome import Outcome
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request

COUNT = 200
RECOVERY_S = 1.0
STAGES = ("upload", "style", "encode", "decode", "download")
NEVER = "after the job"
"""A stage that passed between two messages."""
WANTED = request(random_pixels(1100, 500), SMALL_REQUEST.regions[0].styles)
"""Several chunks, and several tiles."""


def attack(count: int) -> Outcome:
    """Kill that many servers at one place, each in a job, at another stage of it."""
    outcome = Outcome()
    chance = random.Random(0)
    recovered: list[float] = []
    stages: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="adain-kill-") as name:
        server = RunningServer(folder=Path(name)).wait_until_ready()
        try:
            with server.client() as client:
                started = time.monotonic()
                expected = client.stylize(WANTED)
                job_s = time.monotonic() - started
            for number in range(count):
                kill = _Kill(server, chance.choice(STAGES))
                try:
                    # A busy machine takes long to start the next server, and a client does not wait for that.
                    with patch.object(client_module, "GONE_S", 30.0), server.client() as client:
                        result = client.stylize(WANTED, on_progress=kill)
                        ended = time.monotonic()
                    outcome.promise(result == expected, f"kill {number} at {kill.stage}: a wrong result")
                except AdainError as error:
                    outcome.promise(False, f"kill {number} at {kill.stage}: {error}")
                server = kill.next_server()
                stages[kill.stage] += 1
                if kill.stage != NEVER:
                    recovered.append(max(0.0, ended - kill.ready - job_s))
        finally:
            server.close()
    outcome.measured.append(f"{count} servers were killed: {dict(stages)}; the job takes {job_s:.2f} s")
    outcome.promise(stages[NEVER] <= 0.1 * count, "too few servers died in a job")
    outcome.within("from the next server's being ready to the result, without the job's time", recovered, RECOVERY_S)
    return outcome


class _Kill:
    """Kills a server when its job is at a stage, and starts the next one in its place.

    Attributes:
        stage: At which. ready: When the next server was ready.
    """

    def __init__(self, server: RunningServer, stage: str) -> None:
        self.stage = stage
        self.ready = 0.0
        self._server = server
        self._next: RunningServer | None = None
        self._waiting = threading.Thread(target=self._wait)

    def __call__(self, progress: Progress) -> None:
        """The job's progress."""
        if progress.stage == self.stage and self._next is None:
            self._replace()

    def next_server(self) -> RunningServer:
        """The next server, ready; the first one is ended in any case."""
        if self._next is None:
            self.stage = NEVER
            self._replace()
        assert self._next is not None
        self._waiting.join()
        return self._next

    def _replace(self) -> None:
        self._server.process.kill()
        self._server.close()
        self._next = RunningServer(folder=self._server.folder)
        self._waiting.start()

    def _wait(self) -> None:
        assert self._next is not None
        self._next.wait_until_ready()
        self.ready = time.monotonic()
