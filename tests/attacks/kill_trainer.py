"""Kills of a trainer while it writes: no checkpoint is damaged, and the resumed training is bit-equal.

Each trainer is a process of its own that ends itself with SIGKILL, or is ended by the system in the middle of a write,
at a chosen moment of its work on files. Then the next one goes on, until the run is over; a run that nobody disturbed
is made beside it, and both must end the same.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from adain_trainer.checkpoint import TEMPORARY, load_checkpoint
from adain_trainer.errors import TrainerError
from adain_trainer.run_folder import LOSSES
from attacks.outcome import Outcome
from trainer.tiny import FROM_NOTHING, same_tensors

COUNT = 200
MOMENTS = ("open", "half", "sync", "rename")
"""Before a file is opened, in the middle of its bytes, before they are synced, before it gets its name."""
OPTIONS = [*FROM_NOTHING, "--checkpoint-every", "1", "--cooldown-steps", "0", "--bank-passes", "1000"]
HALF_BYTES = 4 * 1024**2
"""Of a file of at least 14 MB."""
STEPS_EACH = 3
"""Each trainer is killed within about that many steps."""
START_S, STEP_S = 60, 1
"""That a trainer may take to start, and for each step with its checkpoint; far more than it needs."""


def attack(count: int) -> Outcome:
    """Kill that many trainers of one run, one after the other."""
    outcome = Outcome()
    chance = random.Random(0)
    steps = STEPS_EACH * count + 4
    hits = dict.fromkeys(MOMENTS, 0)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "killed"
        for _ in range(count):
            moment = chance.choice(MOMENTS)
            hits[moment] += killed_trainer(run, steps, moment, chance.randint(1, 3 * STEPS_EACH))
            step = checkpoint_step(run)
            outcome.promise(step is not None, f"a kill at {moment} left no checkpoint that can be read")
        outcome.promise(train(run, steps) == 0, "the run could not be finished after the kills")
        whole = Path(folder) / "whole"
        outcome.promise(train(whole, steps) == 0, "the undisturbed run failed")
        for part in differences(run, whole):
            outcome.promise(False, f"the killed run ended with another {part} than the undisturbed one")
    outcome.measured.append(f"{sum(hits.values())} of {count} kills in a write: {hits}")
    outcome.measured.append(f"{steps} steps, all of them bit-equal" if not outcome.broken else f"{steps} steps")
    outcome.promise(sum(hits.values()) >= 0.9 * count, f"only {sum(hits.values())} of {count} trainers died in a write")
    return outcome


def killed_trainer(run: Path, steps: int, moment: str, occurrence: int) -> bool:
    """Train until the moment has come that often; whether it came before the run was over."""
    status = _in_a_process(run, steps, moment, occurrence)
    assert status in (0, -signal.SIGKILL, -signal.SIGXFSZ), status
    return status != 0


def train(run: Path, steps: int) -> int:
    """Train undisturbed; the process's exit status."""
    return _in_a_process(run, steps, "", 0)


def checkpoint_step(run: Path) -> int | None:
    """The step of the checkpoint that is there; None when there is none, or none that can be read.

    A run that was killed before its first checkpoint was renamed has step 0.
    """
    try:
        checkpoint, _note = load_checkpoint(run)
    except TrainerError:
        return None
    return 0 if checkpoint is None else checkpoint.step


def differences(run: Path, other: Path) -> list[str]:
    """What two runs did not end with alike, bit for bit: weights, optimiser, running mean, losses."""
    (first, _), (second, _) = load_checkpoint(run), load_checkpoint(other)
    if first is None or second is None or first.step != second.step:
        return ["number of steps"]
    parts = ("decoder", "optimizer", "ema", "scaler")
    found = [part for part in parts if not same_tensors(getattr(first, part), getattr(second, part))]
    rows = [(folder / LOSSES).read_text().splitlines() for folder in (run, other)]
    at = next((number for number, pair in enumerate(itertools.zip_longest(*rows)) if len(set(pair)) > 1), None)
    return found if at is None else [*found, f"line {at} of the losses"]


def _in_a_process(run: Path, steps: int, moment: str, occurrence: int) -> int:
    # A server of forks loads torch once, so that a trainer starts in a moment.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["adain_trainer.cli", "adain_trainer.fit"])
    process = context.Process(target=_train, args=(run, steps, moment, occurrence))
    process.start()
    process.join(START_S + STEP_S * steps)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def _train(run: Path, steps: int, moment: str, occurrence: int) -> None:
    import torch

    from adain_trainer.cli import main

    torch.set_num_threads(1)
    log = run.with_name("trainer.txt").open("w")
    sys.stdout = sys.stderr = log
    if moment:
        _die_at(moment, occurrence)
    sys.exit(main(["fit", *OPTIONS, "--run", str(run), "--steps", str(steps)]))


def _die_at(moment: str, occurrence: int) -> None:
    """End this process when a moment of writing a file beside its target comes for that time."""
    left = occurrence
    fsync = os.fsync

    def come(now: str) -> None:
        nonlocal left
        left -= now == moment
        if left == 0 and moment == "half":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python's own handling is an error, not an end
            resource.setrlimit(resource.RLIMIT_FSIZE, (HALF_BYTES, HALF_BYTES))
        elif left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            come("rename")
        elif event == "open" and str(arguments[0]).endswith(TEMPORARY) and "w" in (arguments[1] or ""):
            come("open")
            come("half")

    def watched_fsync(fd: Any) -> None:
        come("sync")
        fsync(fd)

    sys.addaudithook(watch)
    os.fsync = watched_fsync
