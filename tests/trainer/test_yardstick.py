"""The yardstick: two models on the same pairs, in one scale."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from adain_net.encoder import Encoder
from adain_net.layout import decoder_to_public, encoder_to_public
from adain_net.network import AdainNetwork
from adain_net.stylizer import QUALITIES
from adain_trainer import sheets
from adain_trainer.cli import main
from adain_trainer.yardstick import Comparison, Distances, compare, distances
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import write_safetensors
from support.helpers import PICTURES
from trainer.tiny import PICTURE_FOLDERS

SMALL = ["--side", "32", "--pairs", "2"]


@pytest.fixture(scope="module")
def public_pair(tmp_path_factory: pytest.TempPathFactory, network: AdainNetwork) -> Path:
    """The embedded network as the public code has it, in a folder of two safetensors files."""
    folder = tmp_path_factory.mktemp("public") / "pair"
    folder.mkdir()
    write_safetensors(folder / "vgg_normalised.safetensors", encoder_to_public(network.encoder), metadata={})
    write_safetensors(folder / "decoder.safetensors", decoder_to_public(network.decoder), metadata={})
    return folder


def _noise(seed: int, side: int = 32) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def _evaluate(*options: str) -> int:
    return main(["evaluate", *options, "--device", "cpu"])


def test_distances_vanish_where_they_must(network: AdainNetwork) -> None:
    """The style itself has no style loss, the content no content distance, and both have what the other lacks."""
    content, style = _noise(0), _noise(1) * 0.5
    with torch.no_grad():
        of_style, of_content = distances(network.encoder, content, style, [style, content])
    assert max(of_style[:4]) < 1e-9 < min(of_content[:4])
    assert of_content.content < 1e-9 < of_style.content
    assert min(of_style.target, of_content.target) > 1e-3


def test_distances_that_are_not_finite_are_infinite(network: AdainNetwork) -> None:
    """A broken decoder is worst, not best."""
    broken = torch.full((1, 3, 32, 32), torch.nan)
    with torch.no_grad():
        (found,) = distances(network.encoder, _noise(0), _noise(1), [broken])
    assert set(found) == {math.inf}


def test_ratios_are_geometric_means_over_pairs() -> None:
    """Half and eight times are twice; two pictures without any distance are equally good."""
    ours = [Distances(1, 1, 1, 1, 1, 0), Distances(8, 1, 1, 1, 1, 0)]
    theirs = [Distances(2, 1, 1, 1, 4, 0), Distances(1, 1, 1, 1, 1, 0)]
    assert Comparison(ours, theirs).ratios == pytest.approx((2, 1, 1, 1, 0.5, 1))


def test_table_has_a_line_for_each_distance() -> None:
    """Means of both, and the ratio, which is not that of the means."""
    ours, theirs = [Distances(*[1.0] * 6), Distances(*[4.0] * 6)], [Distances(*[2.0] * 6)] * 2
    lines = [line.split() for line in Comparison(ours, theirs).table().splitlines()]
    assert lines[0] == ["ours", "theirs", "ratio"] and lines[1] == ["style", "relu1_1", "2.500", "2.000", "1.00"]
    assert [line[-4] for line in lines[1:]] == ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "content", "target"]


def test_pairs_are_painted_and_measured_in_turn(network: AdainNetwork) -> None:
    """The first content with the first style; ours keeps the content, theirs is the style."""
    red, green, blue, white = (Image.new("RGB", (40, 40), name) for name in ("red", "lime", "blue", "white"))
    judge: Encoder = network.encoder
    found, rows = compare(
        lambda content, _: content, lambda _, style: style, judge, [red, green], [blue, white], side=16, pairs=2
    )
    assert [[picture.getpixel((8, 8)) for picture in row] for row in rows] == [
        [(255, 0, 0), (0, 0, 255), (255, 0, 0), (0, 0, 255)],
        [(0, 255, 0), (255, 255, 255), (0, 255, 0), (255, 255, 255)],
    ]
    assert all(each.content == 0 for each in found.ours) and all(max(each[:4]) < 1e-9 for each in found.theirs)


def test_sheet_is_parted_into_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows of 16 pixels on pages of 32 at most: two, two and one."""
    monkeypatch.setattr(sheets, "LARGEST_PAGE", 32)
    pages = sheets.numbered_pages([[Image.new("RGB", (16, 16))] * 4] * 5)
    assert [page.size for page in pages] == [(64, 32), (64, 32), (64, 16)]


def test_model_beside_itself_has_ratio_one(public_pair: Path, tmp_path: Path) -> None:
    """Whether it is named, or a folder in the public layout; the sheet has content, style, ours and theirs."""
    sheet, figures = tmp_path / "sheet.png", tmp_path / "figures.json"
    output = ["--sheet", str(sheet), "--json", str(figures)]
    for model in (DEFAULT_MODEL, str(public_pair)):
        assert _evaluate(*PICTURE_FOLDERS, *SMALL, *output, "--model", model, "--beside", str(public_pair)) == 0
        measured = json.loads(figures.read_text())
        assert measured["ratios"] == pytest.approx(dict.fromkeys(Distances._fields, 1.0), abs=0.01)
        assert measured["pairs"] == len(measured["each"]) == 2 and measured["theirs"]["relu4_1"] > 0
        with Image.open(sheet) as page:
            assert page.size == (4 * 32, 2 * 32)
            ours, theirs = page.crop((64, 0, 96, 64)), page.crop((96, 0, 128, 64))
            assert max(abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes(), strict=True)) <= 1


def test_worse_model_has_a_larger_ratio(public_pair: Path, tmp_path: Path, network: AdainNetwork) -> None:
    """A decoder that was spoiled, beside the one that it was."""
    spoiled = {name: tensor * 0.9 for name, tensor in network.decoder.state_dict().items()}
    write_safetensors(tmp_path / "spoiled.safetensors", spoiled, metadata={})
    figures = tmp_path / "figures.json"
    options = ["--beside", str(public_pair), "--sheet", str(tmp_path / "s.jpg"), "--json", str(figures)]
    assert _evaluate(*PICTURE_FOLDERS, *SMALL, *options, "--model", str(tmp_path / "spoiled.safetensors")) == 0
    ratios = json.loads(figures.read_text())["ratios"]
    assert min(ratios["relu1_1"], ratios["relu4_1"], ratios["target"]) > 1.05


def test_qualities_are_measured(public_pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them is another picture of ours, and a finished one is nearest to the style; theirs are the same."""
    figures, found = tmp_path / "figures.json", {}
    options = ["--beside", str(public_pair), "--sheet", str(tmp_path / "s.jpg"), "--json", str(figures)]
    for quality in QUALITIES:
        assert _evaluate(*PICTURE_FOLDERS, *SMALL, *options, "--quality", quality) == 0
        assert f"ours: {quality};" in capsys.readouterr().out
        found[quality] = json.loads(figures.read_text())
    assert found["fast"]["theirs"] == found["best"]["theirs"] and found["fast"]["ours"] != found["fine"]["ours"]
    assert all(found["best"]["ours"][layer] < 0.7 * found["fine"]["ours"][layer] for layer in ("relu1_1", "relu3_1"))
    assert found["best"]["seconds"][0] > found["fast"]["seconds"][0] > 0


def test_run_is_measured_on_its_held_out_pairs(
    finetuned: Path, public_pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without folders; so is a model with another run's pairs. The sheet lies in the run, or in the current folder."""
    monkeypatch.chdir(tmp_path)
    figures = []
    for source in (["--run", str(finetuned)], ["--held-out", str(finetuned)]):
        assert _evaluate(*source, *SMALL, "--beside", str(public_pair), "--json", "figures.json") == 0
        figures.append(json.loads(Path("figures.json").read_text()))
    assert figures[0]["theirs"] == figures[1]["theirs"] and figures[0]["ours"] != figures[1]["ours"]
    for sheet in (finetuned / "beside-pair.jpg", tmp_path / "beside-pair.jpg"):
        with Image.open(sheet) as page:
            assert page.size == (4 * 32, 32)
        sheet.unlink()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--beside", DEFAULT_MODEL], "no pictures to measure with"),
        (["--beside", DEFAULT_MODEL, "--content", str(PICTURES)], "both contents and styles"),
        (["--sheet", "sheet.jpg"], "add --beside"),
        (["--quality", "best"], "add --beside"),
        (["--beside", "no-such-model"], "no model, folder or file"),
        ([*PICTURE_FOLDERS, *SMALL, "--beside", DEFAULT_MODEL, "--sheet", "sheet"], "no ending"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what to do."""
    assert _evaluate(*options) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("adain-trainer: ")]
    assert len(errors) == 1 and said in errors[0]


def test_sizes_below_the_smallest_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """As options."""
    for option in ("--side=8", "--pairs=0"):
        with pytest.raises(SystemExit):
            _evaluate(*PICTURE_FOLDERS, option)
        assert "must be at least" in capsys.readouterr().err
