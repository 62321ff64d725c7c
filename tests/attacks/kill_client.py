"""kill -9 of clients while they send and while they fetch: nothing of their jobs is left soon."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

from adain_style.client.client import Client
from adain_style.client.connection import read_connection_file
from adain_style.client.jobs import Progress, StylizeRequest
from attacks.outcome import Outcome, Watch
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request, works
from support.processes import wait_until

COUNT = 200
BACK_S = 7.0
MOMENTS = ("upload", "decode", "download")
LAYER = random_pixels(1100, 1100)
"""Whose result has several chunks."""
UPLOADED_SIDE = 2600
"""More chunks than are granted at once."""
START_S = 60.0


def attack(count: int) -> Outcome:
    """Kill that many clients, one after the other, each at another moment."""
    outcome = Outcome()
    chance = random.Random(0)
    back: list[float] = []
    hits = dict.fromkeys(MOMENTS, 0)
    styles = SMALL_REQUEST.regions[0].styles
    with RunningServer() as server, server.client() as client:
        client.stylize(request(LAYER, styles))  # the layer is kept for the next request, as it should be
        client.stylize(SMALL_REQUEST)
        watch = Watch(server.process.pid)
        held = client.status().held_bytes
        for number in range(count):
            moment = chance.choice(MOMENTS)
            layer = random_pixels(UPLOADED_SIDE, UPLOADED_SIDE, seed=number) if moment == "upload" else LAYER
            wanted = request(layer, styles, preview=700 if moment == "download" else 0)
            hits[moment] += _killed(server.connection_file, wanted, moment, chance.randint(1, 2))
            back.append(wait_until(lambda: _is_clean(client, held), 3 * BACK_S))
            outcome.promise(back[-1] < 3 * BACK_S, f"killed in {moment}: {client.status()}")
        outcome.measured.append(f"{sum(hits.values())} of {count} clients died in their jobs: {hits}")
        outcome.promise(sum(hits.values()) >= 0.9 * count, "too few clients died in their jobs")
        outcome.within("memory of the job back", back, BACK_S, share=1.0)
        watch.note(outcome, memory_mib=32)
        outcome.promise(works(server), "the server does not paint any more")
    return outcome


def _is_clean(client: Client, held: int) -> bool:
    status = client.status()
    return not (status.uploading or status.queued or status.running or status.finished) and status.held_bytes <= held


def _killed(connection_file: Path, wanted: StylizeRequest, moment: str, occurrence: int) -> bool:
    """A client that ends itself at a moment of its job; whether it did."""
    process: BaseProcess = multiprocessing.get_context("fork").Process(
        target=_die, args=(connection_file, wanted, moment, occurrence)
    )
    process.start()
    process.join(START_S)
    if process.is_alive():
        process.kill()
        process.join()
        return False
    return process.exitcode == -signal.SIGKILL


def _die(connection_file: Path, wanted: StylizeRequest, moment: str, occurrence: int) -> None:
    left = occurrence

    def die(progress: Progress) -> None:
        nonlocal left
        left -= progress.stage == moment and progress.step > 0
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with Client(read_connection_file(connection_file)) as client:
        client.stylize(wanted, on_progress=die)
