"""Questions to the server while its worker computes, hangs, is dead, and is started again: each is answered at once."""

from __future__ import annotations

import os
import signal
import time

from adain_style.client.client import Client
from adain_style.client.jobs import StylizeJob
from attacks.outcome import Outcome
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request, works
from support.raw_peer import RawPeer

COUNT = 500
"""Questions in each state."""
ANSWER_S = 0.1
SIDE = 1500


def attack(count: int) -> Outcome:
    """Ask that often in each state."""
    outcome = Outcome()
    styles = SMALL_REQUEST.regions[0].styles
    with RunningServer() as server, server.client() as client, RawPeer(server) as peer:
        outcome.within("idle", _questions(client, count), ANSWER_S)
        peer.upload(StylizeJob(request(random_pixels(SIDE, SIDE), styles)))
        while not client.status().running:
            time.sleep(0.01)
        outcome.within("while it computes", _questions(client, count), ANSWER_S)
        peer.upload(StylizeJob(request(random_pixels(SIDE, SIDE, seed=1), styles)))
        os.kill(server.worker_pid(), signal.SIGSTOP)
        outcome.within("while it hangs", _questions(client, count), ANSWER_S)
        outcome.promise(client.status().running == 1, "the job of the worker that hangs is not counted as running")
        os.kill(server.worker_pid(), signal.SIGKILL)
        dead: list[float] = []
        while not (status := client.status()).ready or status.worker_starts == 1:
            dead += _questions(client, 1)
        outcome.within("while it is dead and started again", dead, ANSWER_S)
        outcome.promise(works(server), "the next worker does not paint")
    return outcome


def _questions(client: Client, count: int) -> list[float]:
    """Seconds to the answer of a hello and of a status, one after the other."""
    seconds = []
    for number in range(count):
        started = time.perf_counter()
        if number % 2:
            client.hello()
        else:
            client.status()
        seconds.append(time.perf_counter() - started)
    return seconds
