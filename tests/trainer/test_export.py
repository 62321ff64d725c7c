"""From a run to a model: what is written, what is refused, and what one sees before."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from adain_net.layout import load_decoder
from adain_trainer import commands
from adain_trainer.cli import main
from adain_trainer.run_folder import BEST, Best, read_best
from adain_weights.catalog import AboutModel, known_models, read_about
from adain_weights.cli import main as weights_command
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model, write_model
from support.helpers import PICTURES
from trainer.tiny import FINE_TUNE, PICTURE_FOLDERS, fit


@pytest.fixture
def run(finetuned: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(finetuned, tmp_path / "my-run"))


def _best(run: Path) -> Best:
    best = read_best(run)
    assert best is not None
    return best


def test_exported_run_is_in_the_list_of_models(run: Path, models_folder: Path) -> None:
    """Under the run's name, with its title, figures and a card that tells how it was made; and it loads."""
    assert main(["export", "--run", str(run), "--title", "My paintings", "--licence", "CC0-1.0"]) == 0
    assert [(model.name, model.title) for model in known_models(models_folder) if model.own] == [
        ("my-run", "My paintings")
    ]
    folder = models_folder / "my-run"
    about = read_about(folder)
    assert about is not None and about.licence == "CC0-1.0" and DEFAULT_MODEL in about.description
    best = _best(run)
    assert about.figures["mine style"] == pytest.approx(best.mine.style)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: cc0-1.0\nlibrary_name: adain-style\n")
    for text in ("tags:", "- style-transfer", "| generic share | 0.5 |", f"{best.step} steps", "before", "## Limits"):
        assert text in card, text
    assert str(run.parent) not in card  # nobody else learns where the pictures lie
    assert not (folder / "encoder.safetensors").exists()
    decoder = load_decoder(load_model("my-run").decoder)
    torch.testing.assert_close(decoder.conv4_1.weight.detach(), best.decoder["conv4_1.weight"], atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "../outside"])
def test_name_that_no_model_may_have_is_refused(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An embedded model's, or one that leads elsewhere."""
    assert main(["export", "--run", str(run), "--name", name]) == 1
    assert "cannot be called" in capsys.readouterr().err


def test_better_model_is_not_replaced(run: Path, models_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that scores better on the run's held-out pairs stays, unless it is said twice; a worse one goes."""
    embedded = load_model(DEFAULT_MODEL)
    about = AboutModel("Good", "", "", "", {}, {})
    folder = models_folder / "my-run"
    write_model(folder, embedded.decoder, about=about, card="# Good\n")
    better = _best(run)
    spoiled = {name: tensor * 0.9 for name, tensor in better.decoder.items()}
    worse = replace(better, decoder=spoiled, mine=replace(better.mine, style=2 * better.mine.style))
    worse.write(run)
    assert main(["export", "--run", str(run)]) == 1
    assert "is better on this run's held-out pairs" in capsys.readouterr().err
    about_after = read_about(folder)
    assert about_after is not None and about_after.title == "Good"
    assert main(["export", "--run", str(run), "--anyway"]) == 0
    about_after = read_about(folder)
    assert about_after is not None and about_after.title == "my-run"
    # What is there now is the spoiled decoder; a better run replaces it without being told twice.
    better.write(run)
    assert main(["export", "--run", str(run)]) == 0


def test_collapsed_decoder_is_not_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that paints everything grey is measured and refused, even as the newest one that nobody measured before."""
    best = _best(run)
    replace(best, generic=replace(best.generic, style=best.generic.style * 3 + 10)).write(run)
    assert main(["export", "--run", str(run)]) == 1
    assert "has become worse" in capsys.readouterr().err
    (run / BEST).unlink()
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    checkpoint["ema"] = {name: torch.zeros_like(tensor) for name, tensor in checkpoint["ema"].items()}
    checkpoint["ema"]["conv1_1.bias"] += 0.5
    torch.save(checkpoint, run / "checkpoint.pt")
    assert main(["export", "--run", str(run), "--newest", "-o", str(tmp_path / "grey")]) == 1
    assert "has become worse" in capsys.readouterr().err and not (tmp_path / "grey").exists()
    assert main(["export", "--run", str(run), "--newest", "-o", str(tmp_path / "grey"), "--anyway"]) == 0


def test_encoder_of_its_own_goes_with_the_decoder(tmp_path: Path) -> None:
    """A run from a model with another encoder exports that encoder, also when the model is gone meanwhile."""
    embedded = load_model(DEFAULT_MODEL)
    encoder = {name: tensor.clone() for name, tensor in embedded.encoder.items()}
    encoder["conv1_1.bias"] += 0.25
    model = tmp_path / "other"
    write_model(model, embedded.decoder, about=AboutModel("", "", "", "", {}, {}), card="#\n", encoder=encoder)
    run = tmp_path / "run"
    fit(run, 1, *FINE_TUNE, "--from", str(model))
    shutil.rmtree(model)
    fit(run, 2, *FINE_TUNE)
    assert main(["export", "--run", str(run), "-o", str(tmp_path / "exported"), "--anyway"]) == 0
    exported = load_model(str(tmp_path / "exported")).encoder
    torch.testing.assert_close(exported["conv1_1.bias"], encoder["conv1_1.bias"])
    assert main(["export", "--run", str(run), "--public", "-o", str(tmp_path / "public")]) == 0
    public = torch.load(tmp_path / "public" / "vgg_normalised.pth", weights_only=True)
    torch.testing.assert_close(public["2.bias"], encoder["conv1_1.bias"].float())


def test_public_files_come_back_the_same(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the public PyTorch code reads, converted back, is the run's decoder."""
    assert main(["export", "--run", str(run), "-o", str(tmp_path / "public"), "--public"]) == 0
    pair = [str(tmp_path / "public" / name) for name in ("vgg_normalised.pth", "decoder.pth")]
    assert weights_command(["convert", *pair, "-o", str(tmp_path / "back")]) == 0
    back = load_decoder(load_model(str(tmp_path / "back")).decoder)
    assert torch.equal(back.conv3_2.weight.detach(), _best(run).decoder["conv3_2.weight"])
    assert main(["export", "--run", str(run), "--public"]) == 1
    assert "-o FOLDER" in capsys.readouterr().err


def test_not_finite_decoder_is_not_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even anyway."""
    best = _best(run)
    replace(best, decoder={**best.decoder, "conv1_1.bias": torch.full((3,), 1e6)}).write(run)
    assert main(["export", "--run", str(run), "-o", str(tmp_path / "out"), "--anyway"]) == 1
    assert "not finite" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_folder_without_a_run_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For everything that needs one."""
    picture = str(PICTURES / "chelsea.jpg")
    output = str(tmp_path / "out.png")
    for command in (
        ["export", "--run", str(tmp_path)],
        ["report", "--run", str(tmp_path)],
        ["preview", "--run", str(tmp_path), "--content", picture, "--style", picture, "-o", output],
    ):
        assert main(command) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_preview_shows_before_and_after(finetuned: Path, tmp_path: Path) -> None:
    """The styles above, the content beside a row of each; of a model there is one row."""
    picture, style = str(PICTURES / "chelsea.jpg"), str(PICTURES / "coffee.jpg")
    options = ["--content", picture, "--style", style, "--style", picture, "--side", "32", "-o"]
    assert main(["preview", "--run", str(finetuned), *options, str(tmp_path / "run.png")]) == 0
    assert main(["preview", "--model", DEFAULT_MODEL, *options, str(tmp_path / "model.png")]) == 0
    with Image.open(tmp_path / "run.png") as both, Image.open(tmp_path / "model.png") as one:
        assert both.size == (96, 96) and one.size == (96, 64)
        assert both.crop((32, 32, 96, 64)).tobytes() == one.crop((32, 32, 96, 64)).tobytes()  # before is the model
        assert both.crop((32, 64, 96, 96)).tobytes() != one.crop((32, 32, 96, 64)).tobytes()


def test_preview_of_what_is_no_picture_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is named."""
    (tmp_path / "text.jpg").write_text("no")
    path = str(tmp_path / "text.jpg")
    assert main(["preview", "--model", DEFAULT_MODEL, "--content", path, "--style", path, "-o", path]) == 1
    assert f"{path} is not a picture" in capsys.readouterr().err


def test_sheet_and_figures_of_a_run_and_a_model(finetuned: Path, tmp_path: Path) -> None:
    """Every content in every style; the figures also as JSON."""
    for source in (["--run", str(finetuned)], ["--model", DEFAULT_MODEL]):
        target, figures = tmp_path / "sheet.png", tmp_path / "figures.json"
        assert main(["sheet", *PICTURE_FOLDERS, *source, "--side", "16", "-o", str(target)]) == 0
        with Image.open(target) as sheet:
            pictures = len(list(PICTURES.glob("*.jpg")))
            assert sheet.size == ((pictures + 2) * 16, (pictures + 1) * 16)
        options = ["--side", "32", "--pairs", "3", "--json", str(figures)]
        assert main(["evaluate", *PICTURE_FOLDERS, *source, *options]) == 0
        measured = json.loads(figures.read_text())
        assert measured["pairs"] == 3 and measured["side"] == 32 and measured["style"] > 0


def test_push_exports_first_or_takes_a_model(
    run: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Hub gets a folder with weights, card and model.json, and what was asked for."""
    pushed = []

    def push(folder: Path, repository: str, *, private: bool, revision: str | None = None) -> str:
        pushed.append((sorted(path.name for path in folder.iterdir()), repository, private, revision))
        return f"hf://{repository}"

    monkeypatch.setattr(commands, "push", push)
    assert main(["push", "me/waves", "--run", str(run), "--private", "--revision", "draft"]) == 0
    assert main(["export", "--run", str(run), "--name", "waves"]) == 0
    assert main(["push", "me/waves", "--model", "waves"]) == 0
    files = ["README.md", "decoder.safetensors", "model.json"]
    assert pushed == [(files, "me/waves", True, "draft"), (files, "me/waves", False, None)]
    assert "hf://me/waves" in capsys.readouterr().out and (models_folder / "waves").is_dir()
