"""What goes wrong in a run: a sentence each, and nothing is lost."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from adain_trainer.checkpoint import LATEST, load_checkpoint
from adain_trainer.cli import main
from adain_trainer.run_folder import BEST
from support.read_only import read_only
from trainer.tiny import FROM_NOTHING, ONE_THREAD, fit, loss_rows, start_fit, wait_for


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_folder_without_pictures_is_a_sentence(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, or nothing in it: exit 1 and a line that names it."""
    (tmp_path / "empty").mkdir()
    folder = str(tmp_path / name)
    assert main(["fit", "--content", folder, "--style", folder, "--run", str(tmp_path / "run"), "--steps", "1"]) == 1
    assert folder in capsys.readouterr().err


@pytest.mark.fault(88)
def test_second_trainer_in_a_folder_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder is locked while a run is at work."""
    with FileLock(tmp_path / "run.lock"):
        assert main(["fit", *FROM_NOTHING, "--run", str(tmp_path), "--steps", "1"]) == 1
    assert "Another trainer" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--crop=20", "--batch=5", "--steps=0", "--identity-share=0.6", "--learning-rate=0"])
def test_impossible_recipe_is_a_sentence(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that no run can have is refused before anything is loaded or written."""
    assert main(["fit", *FROM_NOTHING, "--steps", "1", "--run", str(tmp_path / "run"), option]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.fault(85)
def test_run_whose_folder_cannot_be_made_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run's folder that cannot be made: one line."""
    (tmp_path / "file").write_text("")
    assert main(["fit", *FROM_NOTHING, "--steps", "1", "--run", str(tmp_path / "file" / "run")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("adain-trainer: ")


def test_bank_beyond_the_budget_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how much a bank needs."""
    options = [*FROM_NOTHING, "--steps", "1", "--run", str(tmp_path / "run"), "--crop", "256", "--bank", "1024"]
    assert main(["fit", *options, "--memory-budget", "1"]) == 1
    said = capsys.readouterr().err
    assert "A bank of 1024 crops of 256 pixels needs 1.19 GiB" in said and not (tmp_path / "run").exists()


def test_missing_device_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A graphics card that is not there."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert main(["fit", *FROM_NOTHING, "--run", str(tmp_path), "--device", "cuda"]) == 1
    assert "--device cpu" in capsys.readouterr().err


@pytest.mark.fault(84)
def test_orphan_temporaries_are_removed_at_start(tmp_path: Path) -> None:
    """What a killed trainer left half-written."""
    run = tmp_path / "run"
    run.mkdir()
    for name in (LATEST, BEST):
        (run / f"{name}.tmp").write_bytes(b"half")
    fit(run, 1, *FROM_NOTHING)
    assert not list(run.glob("*.tmp"))


@pytest.mark.fault(85)
def test_full_disk_is_a_sentence_and_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    """No file may grow beyond 10 MB, as on a disk that is full: one sentence, and the run can go on later."""
    run = tmp_path / "run"
    fit(run, 2, *FROM_NOTHING)
    before = (run / LATEST).read_bytes()
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, {resource.RLIM_INFINITY}))"
    program = f"{limit}; from adain_trainer.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    arguments = ["fit", *FROM_NOTHING, "--run", str(run), "--steps", "4"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=ONE_THREAD, check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    # Whichever of both comes first: a measurement may have found a better decoder.
    assert re.match(
        r"adain-trainer: The (checkpoint|best decoder) could not be written .* kept\.$", done.stderr.splitlines()[-1]
    )
    assert (run / LATEST).read_bytes() == before and not list(run.glob("*.tmp"))
    fit(run, 4, *FROM_NOTHING)
    assert len(loss_rows(run)) == 4


@pytest.mark.fault(85)
def test_disk_that_turns_read_only_is_a_sentence_and_the_run_goes_on_later(tmp_path: Path) -> None:
    """In the middle of a run: one sentence, the checkpoint is the one before, and nothing half-written is left."""
    run = tmp_path / "run"
    process = start_fit(run, *FROM_NOTHING, "--checkpoint-every", "1")
    try:
        wait_for(run / LATEST)
        with read_only(run):
            _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    last = errors.splitlines()[-1]
    assert process.returncode == 1 and "Traceback" not in errors, errors
    assert last.startswith("adain-trainer: ") and "Read-only file system" in last
    checkpoint, _ = load_checkpoint(run)
    assert checkpoint is not None and checkpoint.step >= 1
    fit(run, checkpoint.step + 2, *FROM_NOTHING, "--checkpoint-every", "1")
    assert len(loss_rows(run)) == checkpoint.step + 2 and not list(run.glob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    """A run that is told to end, or gets Ctrl-C, finishes its step, saves, and can be resumed from there."""
    run = tmp_path / "run"
    process = start_fit(run, *FROM_NOTHING)
    try:
        wait_for(run / LATEST)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    finally:
        process.kill()
        process.wait()
    checkpoint, note = load_checkpoint(run)
    assert checkpoint is not None and checkpoint.step == len(loss_rows(run)) and not note


def test_damaged_record_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Edited by hand, or cut off."""
    (tmp_path / "run.json").write_text(json.dumps({"config": {}})[:-3])
    assert main(["fit", *FROM_NOTHING, "--run", str(tmp_path)]) == 1
    assert "run.json is damaged" in capsys.readouterr().err
