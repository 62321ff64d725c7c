"""Runs that are over in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from adain_trainer.cli import main
from adain_trainer.run_folder import LOSSES, read_table
from support.helpers import PICTURES

PICTURE_FOLDERS = ["--content", str(PICTURES), "--style", str(PICTURES)]
_SMALL = [
    *PICTURE_FOLDERS,
    *("--batch", "2", "--crop", "16", "--style-crop", "32", "--bank", "4", "--warmup-steps", "1"),
    *("--cooldown-steps", "1", "--checkpoint-every", "2"),
    *("--eval-side", "64", "--eval-pairs", "1", "--device", "cpu", "--precision", "fp32"),
]
TINY = [*_SMALL, "--identity-share", "0.5"]
FROM_NOTHING = [*TINY, "--reconstruction-steps", "2"]
FINE_TUNE = [*TINY, "--preset", "finetune", "--eval-every", "2", "--learning-rate", "1e-5"]
REFINE = [*_SMALL, "--preset", "refinement", "--eval-every", "2", "--learning-rate", "1e-5"]
COMMAND = [sys.executable, "-m", "adain_trainer.cli", "fit"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def fit(run: Path, steps: int, *options: str) -> None:
    """Train in this process; the run must succeed."""
    assert main(["fit", *options, "--run", str(run), "--steps", str(steps)]) == 0


def start_fit(run: Path, *options: str) -> subprocess.Popen[str]:
    """Train in a process of its own, for longer than any test lasts."""
    command = [*COMMAND, *options, "--run", str(run), "--steps", "100000"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)


def loss_rows(run: Path) -> list[list[float]]:
    """The losses of every step, in their columns' order, without step and rate."""
    return [[float(value) for value in list(row.values())[2:]] for row in read_table(run / LOSSES)]


def wait_for(path: Path) -> None:
    """Return once a file is there, or fail after a while."""
    deadline = time.monotonic() + 90
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} has not appeared"
        time.sleep(0.05)


def same_tensors(left: Any, right: Any) -> bool:
    """Bit for bit, through dictionaries and lists."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same_tensors(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same_tensors(a, b) for a, b in zip(left, right, strict=True))
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else bool(left == right)
