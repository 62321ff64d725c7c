"""Two processes under torchrun, on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from adain_trainer.checkpoint import LATEST, load_checkpoint
from adain_trainer.run_folder import joint_score, read_figures
from trainer.tiny import FINE_TUNE, FROM_NOTHING, ONE_THREAD, REFINE, fit, loss_rows, wait_for

# The -- keeps torchrun from taking our options for its own.
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TORCHRUN += ["-m", "adain_trainer.cli", "--"]


@pytest.mark.parametrize(
    "recipe",
    [[*FINE_TUNE, "--identity-share", "0.34", "--identity-loss", "sanet"], REFINE],
    ids=["decoder", "refinement"],
)
def test_two_processes_have_the_curve_of_one(tmp_path: Path, recipe: list[str]) -> None:
    """The same global batch of three pairs, accumulated twice, in one process and in two under torchrun."""
    options = [*recipe, "--bank", "12", "--bank-passes", "1", "--learning-rate", "2e-4"]
    options += ["--batch", "3", "--accumulate", "2"]
    one, two = tmp_path / "one", tmp_path / "two"
    fit(one, 6, *options)
    command = [*TORCHRUN, "fit", *options, "--run", str(two), "--steps", "6"]
    done = subprocess.run(command, capture_output=True, text=True, env=ONE_THREAD, check=False)
    assert done.returncode == 0, done.stderr
    curves = [torch.tensor(loss_rows(run)) for run in (one, two)]
    assert curves[0].shape == curves[1].shape == (6, 7)
    differences = (curves[0] - curves[1]).abs() / (curves[0].abs() + 0.01)
    print(f"largest relative difference: {differences[0].max():.1e} at the first step, {differences.max():.1e} in all")
    assert float(differences[0].max()) < 1e-5 and float(differences.max()) < 2e-2
    assert "2 processes share the work" in done.stdout
    assert done.stdout.count("6 steps are done") == 1  # only one of them speaks
    figures = [read_figures(run) for run in (one, two)]
    assert figures[0].keys() == figures[1].keys()
    assert joint_score(*figures[0][6]) == pytest.approx(joint_score(*figures[1][6]), rel=1e-2)


@pytest.mark.fault(88)
def test_folder_in_use_is_a_sentence_in_every_process(tmp_path: Path) -> None:
    """The first process says why, the others that it has ended; none hangs, none shows its stack."""
    with FileLock(tmp_path / "run.lock"):
        command = [*TORCHRUN, "fit", *FROM_NOTHING, "--run", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=ONE_THREAD, check=False, timeout=90)
    said = [line for line in done.stderr.splitlines() if line.startswith("adain-trainer: ")]
    assert done.returncode == 1 and any("Another trainer is at work" in line for line in said)
    assert "adain_trainer/fit.py" not in done.stderr


def test_signal_stops_all_processes_at_the_same_step(tmp_path: Path) -> None:
    """Under torchrun, which hands SIGTERM on: the checkpoint has as many steps as the table."""
    run = tmp_path / "run"
    command = [*TORCHRUN, "fit", *FROM_NOTHING, "--run", str(run), "--steps", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    try:
        wait_for(run / LATEST)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert "adain_trainer" not in errors.partition("Traceback")[2].partition("SignalException")[0]
    checkpoint, note = load_checkpoint(run)
    assert checkpoint is not None and checkpoint.step == len(loss_rows(run)) and not note
