"""Whole tiny runs: resume, and what the folder holds afterwards."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from adain_trainer import tensorboard_logger
from adain_trainer.checkpoint import LATEST, load_checkpoint, tensors_as_bytes
from adain_trainer.cli import main
from adain_trainer.report import HEIGHT, _curve, _loss_curves
from adain_trainer.run_folder import (
    BEST,
    FIGURES,
    LOSSES,
    CsvLog,
    joint_score,
    read_best,
    read_figures,
    read_record,
    read_table,
)
from adain_weights.manifest import DEFAULT_MODEL
from support.helpers import PICTURES
from trainer.tiny import FINE_TUNE, FROM_NOTHING, TINY, fit, loss_rows, same_tensors


@pytest.mark.fault(87)
@pytest.mark.parametrize("more", [[], ["--accumulate", "2", "--precision", "bf16", "--identity-loss", "sanet"]])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, more: list[str]) -> None:
    """Six steps at once, or three and then three more: weights, optimiser, running mean and tables are the same."""
    options = [*FROM_NOTHING, "--cooldown-steps", "0", "--eval-every", "3", "--bank-passes", "1", *more]
    for run, pieces in (("whole", [6]), ("pieces", [3, 6])):
        for steps in pieces:
            fit(tmp_path / run, steps, *options)
    whole, pieces_ = (load_checkpoint(tmp_path / run)[0] for run in ("whole", "pieces"))
    assert whole is not None and pieces_ is not None and whole.step == pieces_.step == 6
    for part in ("decoder", "optimizer", "ema", "scaler"):
        assert same_tensors(getattr(whole, part), getattr(pieces_, part)), part
    for table in (LOSSES, FIGURES):
        assert (tmp_path / "whole" / table).read_bytes() == (tmp_path / "pieces" / table).read_bytes()


def test_run_does_not_depend_on_the_memory(tmp_path: Path) -> None:
    """With room for no picture the crops are those of a run that has them all in memory."""
    for run, budget in (("roomy", "1"), ("narrow", "0.0001")):
        fit(tmp_path / run, 2, *FROM_NOTHING, "--memory-budget", budget)
    assert (tmp_path / "roomy" / LOSSES).read_bytes() == (tmp_path / "narrow" / LOSSES).read_bytes()


def test_precision_is_tried_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was faster when the run began stays, although another one would be today, also under auto and a preset."""
    run, options = tmp_path / "run", [*FROM_NOTHING, "--precision", "auto"]
    asked: list[dict[str, int]] = []

    def trial(*_: object, **sizes: int) -> dict[str, float]:
        asked.append(sizes)
        return {"fp32": 2.0, "bf16": 1.0} if len(asked) == 1 else {"fp32": 1.0, "bf16": 2.0}

    monkeypatch.setattr("adain_trainer.precision.trial_seconds", trial)
    fit(run, 1, *options)
    said = "The precision is bf16, by a trial of steps with a few crops: fp32 2.00 s, bf16 1.00 s."
    assert said in capsys.readouterr().out
    fit(run, 2, *options)
    fit(run, 3, *options, "--preset", "full")
    assert asked == [{"side": 16, "crops": 2}]
    record = read_record(run)
    assert record is not None and record.config.precision == "bf16"


def test_resume_keeps_the_recipe_and_the_start(
    finetuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without options an old run goes on as it was; from another model it refuses."""
    record = read_record(finetuned)
    assert record is not None and record.model == DEFAULT_MODEL
    assert record.config.generic_share == 0.5 and record.config.reconstruction_steps == 0
    folders = ["--content", str(PICTURES), "--style", str(PICTURES)]
    assert main(["fit", *folders, "--run", str(finetuned)]) == 0  # its four steps are done
    assert read_record(finetuned) == record
    other = tmp_path / "other"
    assert main(["export", "--run", str(finetuned), "-o", str(other), "--anyway"]) == 0
    assert main(["fit", *folders, "--run", str(finetuned), "--from", str(other)]) == 1
    assert f"was begun with the decoder of {DEFAULT_MODEL}" in capsys.readouterr().err


def test_interrupted_tables_have_each_step_once(tmp_path: Path) -> None:
    """Rows after the checkpoint, and a line that a kill has torn, are made again."""
    log = CsvLog(tmp_path / LOSSES, ["a", "b"])
    for step in range(5):
        log.append(step, step * 2, step * 3)
    with (tmp_path / LOSSES).open("a") as file:
        file.write("5,1")
    log.cut(2)
    log.append(3, 0, 0)
    assert [row["step"] for row in read_table(tmp_path / LOSSES)] == ["0", "1", "2", "3"]
    assert read_table(tmp_path / LOSSES)[2] == {"step": "2", "a": "4", "b": "6"}


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    """Forty reconstruction steps bring the pixel error well below a grey picture's."""
    options = [*TINY, "--reconstruction-steps", "40", "--bank-passes", "100", "--checkpoint-every", "1000"]
    fit(tmp_path / "run", 40, *options)
    errors = [row[2] for row in loss_rows(tmp_path / "run")]
    assert len(errors) == 40
    assert sum(errors[-4:]) < 0.6 * sum(errors[:4])


def test_run_stops_when_its_time_is_over(tmp_path: Path) -> None:
    """What there is is measured and saved, and the same command goes on; without time for a step there is nothing."""
    run, options = tmp_path / "run", [*FINE_TUNE, "--eval-every", "100000"]
    fit(run, 100000, *options, "--minutes", "0.00001")
    checkpoint, _ = load_checkpoint(run)
    assert checkpoint is not None and checkpoint.step == 0 and read_best(run) is None
    fit(run, 100000, *options, "--minutes", "0.1")
    checkpoint, best = load_checkpoint(run)[0], read_best(run)
    assert checkpoint is not None and best is not None and best.step == checkpoint.step > 0
    fit(run, best.step + 1, *options)
    assert len(loss_rows(run)) == best.step + 1


def test_log_losses_train_and_their_curves_go_below_zero(tmp_path: Path) -> None:
    """From the released decoder: the losses are logarithms, all weights stay finite, and the report shows its curve."""
    run = tmp_path / "run"
    options = [
        "--style-loss",
        "log",
        "--content-loss",
        "log",
        "--style-layers",
        "1,1,1,1.5",
        "--content-target",
        "content",
    ]
    fit(run, 3, *FINE_TUNE, *options)
    record, best = read_record(run), read_best(run)
    assert record is not None and record.config.style_layer_weights == (1, 1, 1, 1.5)
    assert best is not None and all(bool(torch.isfinite(tensor).all()) for tensor in best.decoder.values())
    assert main(["report", "--run", str(run)]) == 0
    assert "1,1,1,1.5" in (run / "report.html").read_text()


def test_curve_shows_values_below_zero() -> None:
    """The smallest at the bottom, the largest near the top, and both are said."""
    drawn = _curve("style loss", [0, 10], [[-2.0, 2.0]])
    assert f"points='0.0,{HEIGHT}.0 360.0,8.0'" in drawn and "top 2, bottom -2" in drawn
    assert "bottom" not in _curve("style loss", [0, 10], [[1.0, 2.0]])


def test_best_decoder_on_held_out_pairs_is_kept(finetuned: Path) -> None:
    """Figures at the start and every two steps; the best of the trained ones is in its file."""
    figures, best = read_figures(finetuned), read_best(finetuned)
    assert list(figures) == [0, 2, 4] and best is not None
    scores = {step: joint_score(*both) for step, both in figures.items() if step}
    assert best.step == min(scores, key=lambda step: scores[step])
    assert best.score == pytest.approx(scores[best.step], abs=1e-4)


def test_report_is_one_file_with_curves_and_pictures(finetuned: Path) -> None:
    """Nothing is fetched from elsewhere; sheets show two rows a content, curves are drawn, the recipe is told."""
    page = (finetuned / "report.html").read_text()
    assert not re.search(r"https?://|src='(?!data:)", page)
    sheets = [Image.open(BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([^']+)'", page)]
    assert len(sheets) == 2 and all(sheet.height >= 3 * 16 for sheet in sheets)
    assert page.count("<polyline") >= 4 and "learning rate" in page and DEFAULT_MODEL in page
    before = page
    assert main(["report", "--run", str(finetuned)]) == 0
    assert (finetuned / "report.html").read_text() == before


def test_tensorboard_has_the_losses_and_sheets(tmp_path: Path) -> None:
    """With it, scalars and sheets are written."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    fit(run, 2, *FINE_TUNE, "--tensorboard", "--sheet-every", "2")
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("loss/style")) == 2 and len(events.Scalars("mine/content")) == 2
    assert len(events.Images("sheet")) == 1 and (run / "sheet-000002.jpg").exists()


def test_without_tensorboard_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on, and its table is there."""

    def missing(*_: object) -> None:
        raise ImportError

    monkeypatch.setattr(tensorboard_logger.TensorBoardLogger, "open", missing)
    fit(tmp_path / "run", 1, *FROM_NOTHING, "--tensorboard")
    assert capsys.readouterr().out.count(tensorboard_logger.MISSING) == 1
    assert len(loss_rows(tmp_path / "run")) == 1


def test_checkpoint_of_before_the_running_mean_is_resumed(tmp_path: Path) -> None:
    """Old runs go on: the mean begins with the weights that they have."""
    run = tmp_path / "run"
    fit(run, 2, *FROM_NOTHING)
    checkpoint, _ = load_checkpoint(run)
    assert checkpoint is not None
    old = {name: getattr(checkpoint, name) for name in ("step", "decoder", "optimizer", "config")}
    (run / LATEST).write_bytes(tensors_as_bytes(old))
    (run / BEST).unlink()
    (run / "run.json").unlink()
    fit(run, 3, *FROM_NOTHING)
    after, _ = load_checkpoint(run)
    assert after is not None and after.step == 3 and after.ema


def test_report_of_a_run_that_an_older_trainer_began(tmp_path: Path) -> None:
    """Its table lacks the losses that it did not know; the curves of the others are drawn."""
    rows = ["step,style_loss,feature_loss", "0,2.0,", "1,1.0,0.5"]
    (tmp_path / LOSSES).write_text("\r\n".join(rows) + "\r\n")
    assert _loss_curves(tmp_path).count("<polyline") == 2
