"""Minutes of mixed work with a fault in a hundred jobs: memory and descriptors stay where they are.

python tests/attack.py soak --count 120 is the long one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
import numpy as np

from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.errors import AdainError, RequestError
from adain_style.client.jobs import Pixels, StylizeJob
from attacks.outcome import Outcome
from support.helpers import RunningServer, random_pixels, request, works
from support.processes import descriptors, resident_mib
from support.raw_peer import RawPeer
from support.zmtp import ZmtpPeer, frame

COUNT = 30
"""Minutes."""
FAULTS = 0.01
MIB_A_THOUSAND_JOBS = 1.0
WARM_UP = 400
"""Jobs after which a process has what it needs."""
MEASURE_EVERY = 10
"""Jobs."""
ENOUGH = 200
"""Measurements for a line."""
SIDES = (24, 64, 96, 128)
LAYERS = 24
"""So many different ones come again and again: what a server keeps of them does not grow."""
LARGER, LARGER_SIDE, OFTEN = 4, 300, 0.05
"""Of a larger size are so few and so rare; jobs that are given up are of these, too."""


@dataclass
class Sample:
    """A measurement. worker: Which one it was, from 0."""

    jobs: int
    io_mib: float
    worker_mib: float
    worker: int
    descriptors: int


def attack(count: float) -> Outcome:
    """Work for that many minutes."""
    outcome = Outcome()
    chance = random.Random(0)
    layers = [random_pixels(SIDES[seed % len(SIDES)], SIDES[seed % 3], seed=seed) for seed in range(LAYERS)]
    larger = [_larger_layer(seed) for seed in range(LARGER)]
    jobs, injected, refused = 0, Counter[str](), Counter[str]()
    samples: list[Sample] = []
    with RunningServer() as server, server.client() as client:
        deadline = time.monotonic() + 60 * count
        while time.monotonic() < deadline:
            if chance.random() < FAULTS:
                fault = chance.choice(INJECTED)
                injected[fault.__name__] += 1
                fault(server, chance)
            try:
                _job(client, larger if chance.random() < OFTEN else layers, chance, outcome)
            except RequestError as error:
                refused[error.code] += 1
                outcome.promise(error.code == "WORKER_LOST", f"job {jobs}: {error.code} {error}")
            except AdainError as error:
                outcome.promise(False, f"job {jobs}: {error}")
            jobs += 1
            if jobs % MEASURE_EVERY == 0:
                samples.append(_sample(server, jobs, samples))
        outcome.measured.append(f"{jobs:,} jobs, faults {dict(injected)}, refused {dict(refused)}")
        outcome.promise(server.process.poll() is None and works(server), "the server does not paint any more")
    _judge(samples, outcome)
    return outcome


def _job(client: Client, layers: list[Pixels], chance: random.Random, outcome: Outcome) -> None:
    content = chance.choice(layers)
    result = client.stylize(
        request(content, [(chance.choice(layers), 1.0)], alpha=chance.random(), preview=chance.choice([0, 0, 40])),
        timeout_s=120,
    )
    if max(result.pixels.height, result.pixels.width) == max(content.height, content.width):
        outcome.promise(len(result.pixels.data) == len(content.data), "a result of another size")


def _sample(server: RunningServer, jobs: int, before: list[Sample]) -> Sample:
    with server.client() as client:
        starts = client.status().worker_starts - 1
    pid = server.process.pid
    with contextlib.suppress(AssertionError, FileNotFoundError):
        return Sample(jobs, resident_mib(pid), resident_mib(server.worker_pid()), starts, descriptors(pid))
    return before[-1]


def _judge(samples: list[Sample], outcome: Outcome) -> None:
    """Slopes of straight lines, of each process's samples after its warm-up."""
    first = {sample.worker: sample.jobs for sample in reversed(samples)}
    warm = [sample for sample in samples if sample.jobs > WARM_UP and sample.jobs - first[sample.worker] > WARM_UP]
    if len(warm) < ENOUGH:
        outcome.measured.append("too few jobs for a slope")
        return
    for name, by_worker, values in (
        ("I/O process", False, [sample.io_mib for sample in warm]),
        ("worker", True, [sample.worker_mib for sample in warm]),
    ):
        slope = 1000 * _slope(warm, values, by_worker=by_worker)
        outcome.measured.append(
            f"{name}: {values[0]:.0f} MiB, later {values[-1]:.0f}; slope {slope:+.2f} MiB in 1,000 jobs"
        )
        outcome.promise(slope <= MIB_A_THOUSAND_JOBS, f"the {name}'s memory grows")
    counts = [sample.descriptors for sample in warm]
    outcome.measured.append(f"descriptors {min(counts)} to {max(counts)}, last {counts[-1]}")
    outcome.promise(1000 * _slope(warm, counts, by_worker=False) < 5, "descriptors grow")


def _slope(samples: Sequence[Sample], values: Sequence[float], *, by_worker: bool) -> float:
    """Of a job, by least squares; with by_worker around each worker's own mean, because a new one begins anew."""
    workers = np.array([sample.worker if by_worker else 0 for sample in samples])
    x, y = np.array([sample.jobs for sample in samples], dtype=float), np.array(values, dtype=float)
    for worker in np.unique(workers):
        own = workers == worker
        x[own] -= x[own].mean()
        y[own] -= y[own].mean()
    return float((x * y).sum() / max(1e-9, (x * x).sum()))


def kill_worker(server: RunningServer, _chance: random.Random) -> None:
    """By the system, at any moment."""
    with contextlib.suppress(AssertionError, ProcessLookupError):
        os.kill(server.worker_pid(), signal.SIGKILL)


def vanish_in_upload(server: RunningServer, chance: random.Random) -> None:
    """A client that opens a job and is gone."""
    with RawPeer(server) as peer:
        peer.ask(_other_job(chance).open()[0])


def vanish_in_compute(server: RunningServer, chance: random.Random) -> None:
    """A client that is gone when its job begins."""
    with RawPeer(server) as peer:
        peer.upload(_other_job(chance))


def bad_messages(server: RunningServer, chance: random.Random) -> None:
    """A peer that says nonsense."""
    with RawPeer(server) as peer:
        for _ in range(20):
            peer.send([msgpack.packb({"v": 1, "op": "open", "job": chance.randbytes(16)})])
        peer.receive()


def half_frame(server: RunningServer, _chance: random.Random) -> None:
    """A peer that stops in the middle and goes away."""
    with ZmtpPeer(server).shake_hands() as peer:
        peer.send(frame(b"x" * 1000, announced=100_000))


def cancelled(server: RunningServer, chance: random.Random) -> None:
    """A job that is not wanted any more."""
    with RawPeer(server) as peer:
        job = _other_job(chance)
        peer.upload(job)
        peer.send(job.cancel()[0])
        while not job.finished:
            peer.serve([job])


def bad_chunk(server: RunningServer, chance: random.Random) -> None:
    """A chunk that nobody asked for."""
    with RawPeer(server) as peer:
        job = _other_job(chance)
        peer.send(job.open()[0])
        peer.ask([protocol.pack("chunk", job=job.job_id, digest=b"d" * 32, offset=0), b"x"])


def _other_job(chance: random.Random) -> StylizeJob:
    """Of one of a few larger layers."""
    layer = _larger_layer(chance.randrange(LARGER))
    return StylizeJob(request(layer, [(layer, 1.0)]))


def _larger_layer(seed: int) -> Pixels:
    return random_pixels(LARGER_SIDE, LARGER_SIDE, seed=seed)


HARMLESS = (vanish_in_upload, vanish_in_compute, bad_messages, half_frame, cancelled, bad_chunk)
INJECTED = (kill_worker, *HARMLESS, *HARMLESS)
"""Workers live long enough to be measured."""
