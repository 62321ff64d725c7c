"""The second pass's decoder: how it is trained on what a model paints, measured, exported and embedded."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from adain_net.layout import load_decoder, load_refinement
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementDecoder, RefinementNetwork
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_net.stylizer import Stylizer
from adain_trainer import export_refinement
from adain_trainer.checkpoint import load_checkpoint
from adain_trainer.cli import main
from adain_trainer.config import PRESETS, FitConfig
from adain_trainer.data import TrainingPictures, to_tensor
from adain_trainer.distributed import ProcessGroup
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import evaluate
from adain_trainer.export_refinement import FILE
from adain_trainer.feature_bank import Batch, FeatureBank
from adain_trainer.first_weights import refinement_from
from adain_trainer.heldout import read_held_out
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.losses import content_loss, range_loss, style_loss
from adain_trainer.networks import RefinedNetwork, embedded_refinement
from adain_trainer.objective import Objective
from adain_trainer.run_folder import FIGURES, LOSSES, read_best, read_figures, read_record
from adain_trainer.sheets import square
from adain_weights import manifest
from adain_weights.catalog import AboutModel
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import (
    load_model,
    load_refinement_weights,
    read_safetensors,
    write_model,
    write_safetensors,
)
from support.helpers import PICTURES
from trainer.tiny import FINE_TUNE, PICTURE_FOLDERS, REFINE, fit, same_tensors

CPU = torch.device("cpu")
ALONE = ProcessGroup(0, 1, CPU)
CONFIG = replace(PRESETS["refinement"], batch=2, crop=16, style_crop=32, bank=12, precision="fp32")


@pytest.fixture
def run(refined: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(refined, tmp_path / "my-refinement"))


@pytest.fixture(scope="module")
def refinement() -> RefinementNetwork:
    """The embedded one."""
    return embedded_refinement()


def _banks(network: AdainNetwork, group: ProcessGroup = ALONE) -> FeatureBank:
    pictures = []
    for path in sorted(PICTURES.glob("*.jpg")):
        with Image.open(path) as opened:
            pictures.append(opened.convert("RGB"))
    sources = TrainingPictures(pictures[:3], pictures[3:])
    return FeatureBank(network.encoder, sources, CONFIG, group, lambda _what, _done, _total: None, network.decoder)


def _rows(batch: Batch) -> set[bytes]:
    assert batch.painted is not None
    return {row.numpy().tobytes() for row in batch.painted.feat}


def test_a_bank_holds_what_the_model_paints(network: AdainNetwork) -> None:
    """Each content in the style of its own row, and the relu3_1 of that picture, as it is refined later."""
    batch = next(_banks(network).parts(0))
    assert batch.painted is not None and not batch.identity.any()
    for row in range(2):
        style = StyleStatistics(batch.styles[-1].mean[row : row + 1], batch.styles[-1].std[row : row + 1])
        feat = network.encode(batch.pictures[row : row + 1])
        with torch.no_grad():
            painted = network.stylize_features(feat, style, alpha=1.0, height=16, width=16)
            expected = network.encoder.features(painted).relu3_1
        torch.testing.assert_close(batch.painted.pictures[row : row + 1], painted, rtol=0, atol=0.005)
        # The bank has half precision, and a crop of four cells may have channels that are all but constant.
        error = (batch.painted.feat[row : row + 1] - expected).abs()
        assert float(error.mean()) < 0.05 * float(expected.mean())


def test_a_bank_is_refined_several_times_before_the_next(network: AdainNetwork) -> None:
    """The pairs of three passes are the same in another order; then there are new ones."""
    banks = _banks(network)
    passes = [set().union(*(_rows(next(banks.parts(first + step))) for step in range(6))) for first in (0, 6, 12, 18)]
    assert len(passes[0]) == 12 and passes[0] == passes[1] == passes[2] and not passes[0] & passes[3]


class _Part(ProcessGroup):
    """One of two processes, whose sums the test makes."""

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """Only this process's part."""
        return tensor


def test_processes_share_the_first_pass(network: AdainNetwork) -> None:
    """What two processes paint adds up to what one alone does."""
    whole, *halves = [_banks(network, group) for group in (ALONE, _Part(0, 2, CPU), _Part(1, 2, CPU))]
    for banks in (whole, *halves):
        next(banks.parts(0))
    summed = halves[0]._bank.painted_feats + halves[1]._bank.painted_feats
    torch.testing.assert_close(summed, whole._bank.painted_feats, rtol=0.01, atol=0.01)
    painted = halves[0]._bank.painted + halves[1]._bank.painted
    assert int((painted.int() - whole._bank.painted.int()).abs().max()) <= 1
    assert all(0 < int((each._bank.painted.flatten(1) != 0).any(dim=1).sum()) < 12 for each in halves)


def test_losses_are_those_of_the_refined_picture(network: AdainNetwork, refinement: RefinementNetwork) -> None:
    """As they are written down: AdaIN at relu3_1, decoded beside both pictures, against style and content."""
    batch = next(_banks(network).parts(0))
    assert batch.painted is not None
    losses = Objective(refinement.encoder, refinement.decoder, CONFIG).part_losses(batch, 0)
    own, style = channel_statistics(batch.painted.feat), batch.styles[2]
    moved = (batch.painted.feat - own.mean[..., None, None]) / own.std[..., None, None]
    guide = torch.cat([batch.painted.pictures, batch.pictures], dim=1)
    picture = refinement.decoder(moved * style.std[..., None, None] + style.mean[..., None, None], guide)
    feats = refinement.encoder.features(picture)
    statistics = [channel_statistics(feat) for feat in feats]
    expected = style_loss(statistics, batch.styles, kind="log", layers=(1, 1, 1, 1.5)).mean()
    torch.testing.assert_close(losses.style, expected, rtol=1e-4, atol=1e-4)
    distance = content_loss(feats.relu4_1, batch.content_feat, kind="log").mean()
    torch.testing.assert_close(losses.content, distance, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses.range, range_loss(picture).mean(), rtol=1e-3, atol=1e-6)
    assert float(losses.pixel) == 0


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """Five steps at once, or two and then three more, through three banks: bit for bit."""
    options = [*REFINE, "--cooldown-steps", "0", "--bank-passes", "1"]
    for run, pieces in (("whole", [5]), ("pieces", [2, 5])):
        for steps in pieces:
            fit(tmp_path / run, steps, *options)
    whole, pieces_ = (load_checkpoint(tmp_path / run)[0] for run in ("whole", "pieces"))
    assert whole is not None and pieces_ is not None and whole.step == pieces_.step == 5
    for part in ("decoder", "optimizer", "ema"):
        assert same_tensors(getattr(whole, part), getattr(pieces_, part)), part
    for table in (LOSSES, FIGURES):
        assert (tmp_path / "whole" / table).read_bytes() == (tmp_path / "pieces" / table).read_bytes()


def test_figures_are_those_of_refined_pictures(
    refined: Path, network: AdainNetwork, refinement: RefinementNetwork
) -> None:
    """Before the first step those of the quality fine with the embedded refinement; later figures differ."""
    figures = read_figures(refined)
    assert list(figures) == [0, 2, 4] and figures[0] != figures[2]
    held_out = read_held_out(refined)
    content, style = (to_tensor(square(each[0], 64))[None] for each in (held_out.content, held_out.style))
    picture = Stylizer(network, refinement).paint(content, [style], quality="fine")
    with torch.no_grad():
        feats = network.encoder.features(picture)
        wanted = [channel_statistics(feat) for feat in network.encoder.features(style)]
        expected = style_loss([channel_statistics(feat) for feat in feats], wanted).item()
        assert figures[0][0].content == pytest.approx(
            content_loss(feats.relu4_1, network.encoder(content)).item(), rel=1e-3
        )
    assert figures[0][0].style == pytest.approx(expected, rel=1e-3)


def test_identity_is_what_the_second_pass_loses(network: AdainNetwork, refinement: RefinementNetwork) -> None:
    """The content, encoded to relu3_1 and decoded beside itself; also of a size that is not whole cells."""
    generator = torch.Generator().manual_seed(0)
    picture = Image.fromarray((torch.rand(30, 30, 3, generator=generator) * 255).byte().numpy())
    figures = evaluate(RefinedNetwork(network, refinement), [picture], [picture], side=30, pairs=1)
    content = to_tensor(picture)[None]
    with torch.no_grad():
        guide = torch.nn.functional.pad(content, (0, 2, 0, 2), mode="replicate")
        feat = refinement.encoder.features(content).relu3_1
        lost = refinement.decoder(feat, torch.cat([guide, guide], dim=1))[:, :, :30, :30].clamp(0, 1) - content
    assert figures.identity == pytest.approx(float(lost.square().mean()), rel=1e-4)


def test_report_and_sheets_show_refined_pictures(run: Path, tmp_path: Path) -> None:
    """The report says what it began with; preview and sheet paint with the run."""
    assert "Begun with the embedded refinement" in (run / "report.html").read_text()
    picture, target = str(PICTURES / "chelsea.jpg"), tmp_path / "look.png"
    options = ["--run", str(run), "--side", "32", "-o", str(target)]
    assert main(["preview", "--content", picture, "--style", picture, *options]) == 0
    with Image.open(target) as page:
        before, after = page.crop((32, 32, 64, 64)), page.crop((32, 64, 64, 96))
        assert page.size == (64, 96) and before.tobytes() != after.tobytes()
    assert main(["sheet", *PICTURE_FOLDERS, *options]) == 0


def test_run_begins_with_what_it_is_told(tmp_path: Path, network: AdainNetwork, refinement: RefinementNetwork) -> None:
    """The embedded refinement, a file, or the end of the model's decoder; with another of these it does not go on."""
    file = tmp_path / "other.safetensors"
    write_safetensors(file, {name: 0.5 * each for name, each in refinement.decoder.state_dict().items()}, metadata={})
    begins = {
        "the embedded refinement": InitialWeights.of_refinement(DEFAULT_MODEL, None, from_scratch=False, seed=0),
        "the refinement other.safetensors": InitialWeights.of_refinement(
            DEFAULT_MODEL, str(file), from_scratch=False, seed=0
        ),
        f"the end of the decoder of {DEFAULT_MODEL}": InitialWeights.of_refinement(
            DEFAULT_MODEL, None, from_scratch=True, seed=0
        ),
    }
    decoders = [start.decoder for start in begins.values() if start.decoder is not None]
    assert [start.begun for start in begins.values()] == list(begins)
    embedded = load_refinement_weights().decoder
    assert same_tensors(dict(decoders[0]), embedded) and not same_tensors(dict(decoders[1]), embedded)
    assert torch.equal(decoders[2]["conv3_1.weight"], network.decoder.conv3_1.weight)
    run = tmp_path / "run"
    fit(run, 1, *REFINE, "--from-scratch")
    record = read_record(run)
    assert record is not None and record.begun == f"the end of the decoder of {DEFAULT_MODEL}"
    fit(run, 2, *REFINE)
    fit(run, 3, *REFINE, "--from-scratch")
    assert main(["fit", *REFINE, "--run", str(run), "--steps", "4", "--from", str(file)]) == 1


def test_new_refinement_leaves_the_painted_picture(network: AdainNetwork) -> None:
    """Its last layer has zeros; the others are the end of a model's decoder, which has the features that it needs."""
    refinement = refinement_from(network.decoder, seed=3)
    assert same_tensors(dict(refinement.state_dict()), dict(refinement_from(network.decoder, seed=3).state_dict()))
    feat, guide = torch.rand(1, 256, 4, 5), torch.rand(1, 6, 16, 20)
    with torch.no_grad():
        assert torch.equal(refinement(feat, guide), guide[:, :3])
        ends = refinement.conv3_1(feat), network.decoder.conv3_1(feat)
    assert torch.equal(*ends)


def _fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that fails says, in one line."""
    assert main(list(arguments)) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("adain-trainer: ")]
    return said


def test_kinds_of_runs_are_not_mixed_up(
    refined: Path, finetuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run trains one thing; whose pictures are refined is a refinement's matter, and such a model has our encoder."""
    assert "trains the refinement of a model" in _fails(capsys, "fit", *FINE_TUNE, "--run", str(refined))
    assert "trains the decoder of a model" in _fails(capsys, "fit", *REFINE, "--run", str(finetuned))
    new = str(tmp_path / "run")
    assert "a decoder begins with --from" in _fails(capsys, "fit", *FINE_TUNE, "--run", new, "--model", DEFAULT_MODEL)
    model = load_model(DEFAULT_MODEL)
    encoder = {**model.encoder, "conv1_1.bias": model.encoder["conv1_1.bias"] + 1}
    about = AboutModel("", "", "", "", {}, {})
    write_model(tmp_path / "other", model.decoder, about=about, card="#\n", encoder=encoder)
    said = _fails(capsys, "fit", *REFINE, "--run", new, "--model", str(tmp_path / "other"))
    assert "has an encoder of its own" in said and not Path(new).exists()


def test_run_keeps_the_model_whose_pictures_it_refines(tmp_path: Path) -> None:
    """When the model is gone meanwhile, the run goes on and is exported."""
    decoder = load_model(DEFAULT_MODEL).decoder
    darker = {**decoder, "conv1_1.bias": decoder["conv1_1.bias"] - 0.2}
    write_model(tmp_path / "dark", darker, about=AboutModel("", "", "", "", {}, {}), card="#\n")
    run = tmp_path / "run"
    fit(run, 1, *REFINE, "--model", str(tmp_path / "dark"))
    shutil.rmtree(tmp_path / "dark")
    fit(run, 2, *REFINE)
    network = InitialWeights.of_run(run).network()
    assert isinstance(network, RefinedNetwork)
    assert same_tensors(dict(network.network.decoder.state_dict()), dict(load_decoder(darker).state_dict()))
    assert main(["export", "--run", str(run), "-o", str(tmp_path), "--anyway"]) == 0


def test_export_writes_one_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In half precision, in the run's folder; its digest is printed, and it is the best decoder's."""
    assert main(["export", "--run", str(run)]) == 0
    said = capsys.readouterr().out
    assert hashlib.sha256((run / FILE).read_bytes()).hexdigest() in said and f"{run / FILE}  " in said
    state, best = read_safetensors(run / FILE), read_best(run)
    assert best is not None and all(tensor.dtype == torch.float16 for tensor in state.values())
    assert torch.equal(state["conv2_2.weight"], best.decoder["conv2_2.weight"].half())
    assert isinstance(load_refinement(load_refinement_weights().encoder, state).decoder, RefinementDecoder)


def test_collapsed_refinement_is_not_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that got much worse, unless it is said twice; also as the newest one that nobody measured."""
    best = read_best(run)
    assert best is not None
    replace(best, generic=replace(best.generic, style=3 * best.generic.style + 10)).write(run)
    export = ["export", "--run", str(run), "-o", str(tmp_path / "out")]
    assert "has become worse" in _fails(capsys, *export)
    assert not (tmp_path / "out").exists()
    assert main([*export, "--newest"]) == 0 and main([*export, "--anyway"]) == 0


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the embedded files, which a test may change."""
    folder = Path(shutil.copytree(manifest.EMBEDDED, tmp_path / "embedded"))
    monkeypatch.setattr(export_refinement, "EMBEDDED", folder)
    monkeypatch.setattr(export_refinement, "MANIFEST", folder / "manifest.json")
    return folder


def test_better_refinement_is_embedded(run: Path, embedded: Path) -> None:
    """The file and its digest change, nothing else."""
    before = json.loads(manifest.MANIFEST.read_text(encoding="utf-8"))
    assert (embedded / "manifest.json").read_text() == json.dumps(before, indent=2, ensure_ascii=False) + "\n"
    best = read_best(run)
    assert best is not None
    replace(best, mine=replace(best.mine, style=0.0)).write(run)
    assert main(["export", "--run", str(run), "--embed"]) == 0
    digest = hashlib.sha256((embedded / before["refinement"]["path"]).read_bytes()).hexdigest()
    assert digest != before["refinement"]["sha256"]
    before["refinement"]["sha256"] = digest
    assert json.loads((embedded / "manifest.json").read_text()) == before


def test_worse_refinement_is_not_embedded(run: Path, embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Than the embedded one on the run's held-out pairs; unless it is said twice."""
    best, before = read_best(run), (embedded / "manifest.json").read_bytes()
    assert best is not None
    replace(best, mine=replace(best.mine, style=best.mine.style + 1)).write(run)
    assert "The embedded refinement is better" in _fails(capsys, "export", "--run", str(run), "--embed")
    assert (embedded / "manifest.json").read_bytes() == before
    assert main(["export", "--run", str(run), "--embed", "--anyway"]) == 0


@pytest.mark.parametrize("option", [["--public", "-o", "out"], ["--name", "mine"], ["--title", "Mine"]])
def test_a_refinement_is_no_model(refined: Path, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It has no public form, no name among the models, and no place on the Hub; a model is not embedded so."""
    assert "A refinement is no model" in _fails(capsys, "export", "--run", str(refined), *option)
    assert "A refinement is no model" in _fails(capsys, "push", "me/waves", "--run", str(refined))


def test_a_model_is_not_embedded(finetuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is for refinements."""
    assert "Only a refinement" in _fails(capsys, "export", "--run", str(finetuned), "--embed")


def test_run_is_measured_beside_a_model(refined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its refinement when nothing is said; the first pass alone is the model itself."""
    options = ["--side", "32", "--pairs", "2", "--sheet", str(tmp_path / "s.png"), "--json", str(tmp_path / "f.json")]
    ratios = []
    for more in ([], ["--quality", "fast"]):
        assert main(["evaluate", "--run", str(refined), "--beside", DEFAULT_MODEL, *options, *more]) == 0
        said, measured = capsys.readouterr().out, json.loads((tmp_path / "f.json").read_text())
        assert f"ours: {measured['quality']}" in said and "Seconds a picture: ours " in said
        assert all(each > 0 for each in measured["seconds"])
        ratios.append(list(measured["ratios"].values()))
    assert max(abs(ratio - 1) for ratio in ratios[0]) > 0.05 and ratios[1] == pytest.approx([1.0] * 6, abs=1e-3)


@pytest.mark.parametrize(
    "values", [{"identity_share": 0.1}, {"mixture_share": 0.5}, {"reconstruction_steps": 1}, {"trains": "encoder"}]
)
def test_impossible_refinements_are_refused(values: dict[str, object]) -> None:
    """What belongs to a model's decoder only."""
    with pytest.raises(TrainerError):
        FitConfig.from_dict({**PRESETS["refinement"].as_dict(), **values})
