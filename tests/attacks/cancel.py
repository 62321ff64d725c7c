"""Jobs that are cancelled at any moment: confirmed at once, and the processor is free within a tile's time."""

from __future__ import annotations

import random
import time

from adain_style.client.errors import CancelledError
from adain_style.client.jobs import StylizeJob
from attacks.outcome import Outcome
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request
from support.raw_peer import RawPeer

COUNT = 100
ACKNOWLEDGED_S = 0.1
SIDE = 700
"""Several tiles."""


def attack(count: int) -> Outcome:
    """Cancel that many jobs, each after another of its steps."""
    outcome = Outcome()
    chance = random.Random(0)
    with RunningServer("--memory-budget", "300M") as server, RawPeer(server) as peer:
        steps, longest_s = _undisturbed(peer, _large_job(0))
        outcome.measured.append(f"undisturbed {steps} steps, longest time between two of them {longest_s:.2f} s")
        confirmed: list[float] = []
        free: list[float] = []
        for number in range(1, count + 1):
            job, other = _large_job(number), StylizeJob(SMALL_REQUEST)
            peer.upload(job)
            _serve_for_steps(
                peer, job, chance.randrange(3 * steps // 4)
            )  # later it may be over before the cancel comes
            started = time.monotonic()
            for message in [*job.cancel(), *other.open()]:
                peer.send(message)
            while not (job.finished and other.finished):
                peer.serve([job, other])
                if job.finished and len(confirmed) == len(free):
                    confirmed.append(time.monotonic() - started)
            free.append(time.monotonic() - started)
            outcome.promise(isinstance(job.error, CancelledError), f"a cancelled job ended with {job.error}")
            outcome.promise(other.error is None, f"the next job failed: {other.error}")
        outcome.within("confirmed", confirmed, ACKNOWLEDGED_S)
        outcome.within("next job painted", free, longest_s + SMALL_S)
    return outcome


def _large_job(number: int) -> StylizeJob:
    """Another layer each time, of which nothing is known."""
    return StylizeJob(request(random_pixels(SIDE, SIDE, seed=number), SMALL_REQUEST.regions[0].styles))


SMALL_S = 0.3
"""The next job's own time, on a machine where other work runs."""


def _undisturbed(peer: RawPeer, job: StylizeJob) -> tuple[int, float]:
    """Steps of a whole job, and the longest time between two of them."""
    peer.upload(job)
    stepped = time.monotonic()
    steps, longest, seen = 0, 0.0, job.progress
    while not job.finished:
        peer.serve([job])
        if job.progress != seen:
            now = time.monotonic()
            steps, longest, stepped, seen = steps + 1, max(longest, now - stepped), now, job.progress
    assert job.error is None, job.error
    return steps, longest


def _serve_for_steps(peer: RawPeer, job: StylizeJob, steps: int) -> None:
    seen = job.progress
    while steps and not job.finished:
        peer.serve([job])
        if job.progress != seen:
            steps, seen = steps - 1, job.progress
