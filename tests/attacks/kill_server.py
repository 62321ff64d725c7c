"""kill -9 of a server in mid-job: the client goes on with the next server, and its result is the right one."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from adain_client.errors import AdainError
from adain_client.jobs import Progress
from attacks.outcome import Outcome
from helpers import SMALL_REQUEST, RunningServer, random_pixels, request

COUNT = 200
RECOVERY_S = 1.0
WANTED = request(random_pixels(1100, 500), SMALL_REQUEST.regions[0].styles)
"""Several chunks, and several tiles."""


def attack(count: int) -> Outcome:
    """Kill that many servers at one place, each in a job, after another of its steps."""
    outcome = Outcome()
    chance = random.Random(0)
    recovered: list[float] = []
    stages: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="adain-kill-") as name:
        server = RunningServer(folder=Path(name)).wait_until_ready()
        try:
            steps: list[Progress] = []
            with server.client() as client:
                started = time.monotonic()
                expected = client.stylize(WANTED, on_progress=steps.append)
                job_s = time.monotonic() - started
            for number in range(count):
                # Each server begins with nothing, so that each makes the steps of the first one.
                kill = _Kill(server, chance.randrange(1, len(steps) - 2))
                try:
                    with server.client() as client:
                        result = client.stylize(WANTED, on_progress=kill)
                        ended = time.monotonic()
                    outcome.promise(result == expected, f"kill {number} at {kill.stage}: a wrong result")
                except AdainError as error:
                    outcome.promise(False, f"kill {number} at {kill.stage}: {error}")
                server = kill.next_server()
                stages[kill.stage] += 1
                if kill.stage:
                    recovered.append(max(0.0, ended - kill.ready - job_s))
        finally:
            server.close()
    killed = count - stages[""]
    outcome.measured.append(f"{killed} of {count} servers died in the job: {dict(stages)}; the job takes {job_s:.2f} s")
    outcome.promise(killed >= 0.9 * count, "too few servers died in a job")
    outcome.within("from the next server's being ready to the result, without the job's time", recovered, RECOVERY_S)
    return outcome


class _Kill:
    """Kills a server when its job has made a number of steps, and starts the next one in its place.

    Attributes:
        stage: In which it was; "" before that. ready: When the next server was ready.
    """

    def __init__(self, server: RunningServer, steps: int) -> None:
        self.stage = ""
        self.ready = 0.0
        self._server, self._next, self._steps = server, server, steps
        self._waiting = threading.Thread(target=self._wait)

    def __call__(self, progress: Progress) -> None:
        """The job's progress."""
        self._steps -= 1
        if not self._steps:
            self.stage = progress.stage
            self._replace()

    def next_server(self) -> RunningServer:
        """The next server, ready; the first one is ended if the job had fewer steps."""
        if not self.stage:
            self._replace()
        self._waiting.join()
        return self._next

    def _replace(self) -> None:
        self._server.process.kill()
        self._server.close()
        self._next = RunningServer(folder=self._server.folder)
        self._waiting.start()

    def _wait(self) -> None:
        self._next.wait_until_ready()
        self.ready = time.monotonic()
