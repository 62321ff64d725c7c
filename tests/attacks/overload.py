"""Ten times the requests that can be done, from clients of whom one is greedy: each gets an answer, and its share."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from adain_style.client.errors import RequestError
from adain_style.client.jobs import StylizeJob, StylizeRequest
from attacks.outcome import Outcome
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request
from support.raw_peer import RawPeer

COUNT = 60
"""Seconds."""
TIMES = 10
CLIENTS = 12
"""Without the greedy one, which asks as often as all of them together."""
BUSY_S = 0.1
FAIR = 2.0
DRAIN_S = 60.0


@dataclass
class Requests:
    """What one client asked for and got; times in seconds."""

    rate: float
    asked: int = 0
    refused: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)


def attack(count: int) -> Outcome:
    """Ask for that many seconds."""
    outcome = Outcome()
    wanted = request(random_pixels(64, 64), SMALL_REQUEST.regions[0].styles)
    with RunningServer() as server:
        rate = TIMES * _rate(server, wanted)
        clients = [Requests(rate / 2 / CLIENTS) for _ in range(CLIENTS)] + [Requests(rate / 2)]
        deadline = time.monotonic() + count
        threads = [
            threading.Thread(target=_ask, args=(server, wanted, each, deadline), daemon=True) for each in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(count + DRAIN_S)
        asked = sum(each.asked for each in clients)
        done = sum(len(each.waited) for each in clients)
        refused = [seconds for each in clients for seconds in each.refused]
        others = sum((each.other for each in clients), Counter[str]())
        outcome.measured.append(
            f"{asked / count:.0f} requests a second for {rate / TIMES:.0f} that can be done: {done:,} painted, "
            f"{len(refused):,} BUSY, {dict(others)} of {asked:,}"
        )
        outcome.promise(done + len(refused) == asked, "a request got no answer, or another one than these two")
        outcome.promise(bool(refused), "nobody was refused, so that it was no overload")
        outcome.within("BUSY after", refused, BUSY_S)
        waits = [sum(each.waited) / max(1, len(each.waited)) for each in clients]
        shares = [len(each.waited) / done * len(clients) for each in clients]
        outcome.measured.append(
            f"share of the work, 1 is fair: {min(shares):.2f} to {max(shares):.2f}, the greedy one {shares[-1]:.2f}; "
            f"mean wait {min(waits):.2f} to {max(waits):.2f} s"
        )
        polite, mean = waits[:-1], sum(waits) / len(waits)
        outcome.promise(max(polite) <= FAIR * mean, "a client waited more than twice as long as the others")
        outcome.promise(min(shares[:-1]) >= 1 / FAIR, "a client got less than half of its share")
        with server.client() as client:
            status = client.status()
            outcome.promise(status.queued + status.running + status.uploading == 0, "jobs were left behind")
    return outcome


def _rate(server: RunningServer, wanted: StylizeRequest, *, rounds: int = 8, at_once: int = 8) -> float:
    """Jobs a second, while the worker always has a next one."""
    with RawPeer(server) as peer:
        peer.upload(first := StylizeJob(wanted))
        _finish(peer, [first])
        started = time.monotonic()
        for _ in range(rounds):
            jobs = [StylizeJob(wanted) for _ in range(at_once)]
            for job in jobs:
                peer.send(*job.open())
            _finish(peer, jobs)
        return rounds * at_once / (time.monotonic() - started)


def _finish(peer: RawPeer, jobs: list[StylizeJob]) -> None:
    while not all(job.finished for job in jobs):
        peer.serve(jobs)


def _ask(server: RunningServer, wanted: StylizeRequest, requests: Requests, deadline: float) -> None:
    """Open jobs at the client's rate, whatever becomes of those before."""
    waiting: dict[bytes, tuple[StylizeJob, float]] = {}
    next_at = time.monotonic()
    with RawPeer(server) as peer:
        while time.monotonic() < deadline or waiting:
            now = time.monotonic()
            if next_at <= now < deadline:
                next_at += 1 / requests.rate
                job = StylizeJob(wanted)
                waiting[job.job_id] = job, time.monotonic()
                requests.asked += 1
                for message in job.open():
                    peer.send(message)
            peer.serve([job for job, _started in waiting.values()])
            if now > deadline + DRAIN_S:
                return
            for job, started in [entry for entry in waiting.values() if entry[0].finished]:
                del waiting[job.job_id]
                _note(requests, job, time.monotonic() - started)


def _note(requests: Requests, job: StylizeJob, seconds: float) -> None:
    if job.error is None:
        requests.waited.append(seconds)
    elif isinstance(job.error, RequestError) and job.error.code == "BUSY" and job.error.retry_after_s:
        requests.refused.append(seconds)
    else:
        requests.other[str(job.error)] += 1
