"""The trainer's blocks; tests/trainer has whole runs."""

from __future__ import annotations

import itertools
import math
import random
import struct
import time
import zlib
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image

from adain_net.network import AdainNetwork
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_trainer.checkpoint import LATEST, PREVIOUS, Checkpoint, load_checkpoint, save_checkpoint
from adain_trainer.cli import main
from adain_trainer.config import FitConfig
from adain_trainer.data import augment_colours, made_ahead, random_crop, to_tensor
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import Figures, evaluate, pair_indices
from adain_trainer.losses import (
    CONTENT_FLOOR,
    STYLE_FLOORS,
    content_loss,
    grid_loss,
    range_loss,
    style_loss,
    total_variation,
)
from adain_trainer.pictures import fetch_packages, read_rcc
from support.helpers import PICTURES


def test_content_loss_is_the_mean_square() -> None:
    """By hand: differences 1 and 3 give 5 for the first pair, 0 for the second."""
    feat = torch.tensor([[[[1.0, 3.0]]], [[[2.0, 2.0]]]])
    target = torch.tensor([[[[0.0, 0.0]]], [[[2.0, 2.0]]]])
    torch.testing.assert_close(content_loss(feat, target), torch.tensor([5.0, 0.0]))


def test_style_loss_sums_layers_and_vanishes_for_the_style() -> None:
    """Zero against itself; the sum of both layers' mean squares otherwise."""
    feats = [torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)]
    own = [channel_statistics(feat) for feat in feats]
    shifted = [channel_statistics(feat + 0.5) for feat in feats]
    torch.testing.assert_close(style_loss(own, own, layers=(1, 1)), torch.zeros(2))
    torch.testing.assert_close(style_loss(shifted, own, layers=(1, 1)), torch.full((2,), 0.5))
    torch.testing.assert_close(style_loss(shifted, own, layers=(1, 3)), torch.full((2,), 1.0))


def test_balanced_style_loss_does_not_favour_extreme_styles() -> None:
    """A style ten times as strong, missed by the same share, weighs about the same."""
    feats = [torch.rand(1, 8, 6, 6) + 1]
    weak, strong = ([channel_statistics(feat * scale) for feat in feats] for scale in (1.0, 10.0))
    missed_weak, missed_strong = ([channel_statistics(feat * scale * 0.5) for feat in feats] for scale in (1.0, 10.0))
    ratio = style_loss(missed_strong, strong, kind="balanced", layers=[1]) / style_loss(
        missed_weak, weak, kind="balanced", layers=[1]
    )
    assert 0.9 < float(ratio) < 1.2
    plain = style_loss(missed_strong, strong, kind="paper", layers=[1]) / style_loss(
        missed_weak, weak, kind="paper", layers=[1]
    )
    assert float(plain) > 50


def test_log_losses_pull_alike_in_each_pair_and_layer() -> None:
    """A tenth less distance changes them by the same amount, whether the distance is large or small."""
    own = [StyleStatistics(torch.zeros(2, 3), torch.ones(2, 3)) for _ in range(4)]
    distances = torch.tensor([[100.0], [10000.0]])

    def loss(factor: float) -> torch.Tensor:
        far = [StyleStatistics((distances * factor).sqrt().expand(2, 3), each.std) for each in own]
        return style_loss(far, own, kind="log", layers=(1, 1, 1, 1.5))

    torch.testing.assert_close(loss(1.0) - loss(0.9), torch.full((2,), 4.5 * -math.log(0.9)), rtol=1e-2, atol=0)
    torch.testing.assert_close(style_loss(own, own, kind="log"), torch.tensor(STYLE_FLOORS).log().sum().expand(2))
    feat, target = torch.full((1, 1, 2, 2), 3.0), torch.ones(1, 1, 2, 2)
    torch.testing.assert_close(content_loss(feat, target, kind="log"), torch.tensor([4 + CONTENT_FLOOR]).log())


def test_total_variation_by_hand() -> None:
    """A single bright pixel among four: two differences of 1 in two pairs each way; a flat picture has none."""
    picture = torch.zeros(2, 3, 2, 2)
    picture[0, :, 0, 0] = 1
    torch.testing.assert_close(total_variation(picture), torch.tensor([1.0, 0.0]))


def test_range_loss_sees_what_is_cut_off() -> None:
    """By hand: 0.5 above white in one of 12 values, 0.2 below black in all; inside there is nothing."""
    pictures = torch.rand(3, 3, 2, 2)
    pictures[0, 0, 0, 0] = 1.5
    pictures[1] = -0.2
    torch.testing.assert_close(range_loss(pictures), torch.tensor([0.25 / 12, 0.04, 0.0]))


def test_made_ahead_keeps_the_order() -> None:
    """Threads that take differently long give what the function makes, in the items' order; its errors come through."""

    def make(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        if item == 30:
            raise TrainerError("thirty")
        return item * item

    for threads in (0, 3):
        assert list(made_ahead(make, range(20), threads=threads)) == [item * item for item in range(20)]
        with pytest.raises(TrainerError, match="thirty"):
            list(made_ahead(make, range(40), threads=threads))


def test_grid_loss_sees_the_lattice_only() -> None:
    """Noise and a photograph have next to none, a dot in every cell much; brightness and contrast change nothing."""
    noise = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with Image.open(PICTURES / "chelsea.jpg") as opened:
        photo = to_tensor(opened)[None, :, :256, :256]
    dotted = photo.clone()
    dotted[:, :, 3::8, 5::8] += 0.3
    assert float(grid_loss(noise)) < 0.02 and float(grid_loss(photo)) < 0.02
    assert float(grid_loss(dotted)) > 10 * float(grid_loss(photo))
    torch.testing.assert_close(grid_loss(dotted * 0.5 + 0.1), grid_loss(dotted), rtol=1e-3, atol=1e-4)


NUMBERS = [each.name for each in fields(FitConfig) if isinstance(each.default, int | float) and each.name != "seed"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0], ids=str)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused(name: str, value: float) -> None:
    """Every number option's NaN, infinity and minus 1, by the option's name."""
    with pytest.raises(TrainerError) as caught:
        FitConfig(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"The {name.replace('_', ' ')} is a number, at least 0, not {value}."


@pytest.mark.parametrize("value", ["nan", "inf", "-1e-4", "1e999"])
def test_learning_rate_that_is_none_is_a_sentence(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a run's folder is made."""
    folders = ["--content", str(PICTURES), "--style", str(PICTURES), "--run", str(tmp_path / "run")]
    assert main(["fit", *folders, f"--learning-rate={value}"]) == 1
    said = f"adain-trainer: The learning rate is a number, at least 0, not {float(value)}.\n"
    assert capsys.readouterr().err == said and not (tmp_path / "run").exists()


def test_sides_of_sheets_are_at_least_16(capsys: pytest.CaptureFixture[str]) -> None:
    """As those of measured pictures."""
    for command in (["sheet", "--content", "c", "--style", "s"], ["preview", "--content", "c", "--style", "s"]):
        with pytest.raises(SystemExit):
            main([*command, "--model", "m", "-o", "o.png", "--side", "-3"])
        assert "--side: must be at least 16" in capsys.readouterr().err


def test_rate_rises_and_falls() -> None:
    """Linear warm-up, a plateau, linear cool-down to zero."""
    config = FitConfig(steps=100, warmup_steps=10, cooldown_steps=20, learning_rate=1.0)
    assert config.learning_rate_at(0) == pytest.approx(0.1)
    assert config.learning_rate_at(50) == 1.0
    assert config.learning_rate_at(90) == pytest.approx(0.5)
    assert config.learning_rate_at(100) == 0.0


def test_rate_falls_as_a_cosine() -> None:
    """Half of it in the middle, a seventh after three quarters; a fall is as long as the run at most."""
    config = FitConfig(steps=100, warmup_steps=0, cooldown_steps=1000, cooldown="cosine", learning_rate=1.0)
    rates = [config.learning_rate_at(step) for step in (0, 50, 75, 100)]
    assert rates == pytest.approx([1.0, 0.5, 0.1464, 0.0], abs=1e-4)


def test_crops_stay_inside_and_have_their_size() -> None:
    """Whatever the zoom and the picture's shape."""
    rng = random.Random(0)
    for size in ((40, 300), (300, 40), (33, 33), (1000, 700)):
        crop = random_crop(Image.new("RGB", size, "red"), 24, reference_side=512, zoom=(0.5, 40.0), rng=rng)
        assert crop.size == (24, 24)
        assert crop.getextrema() == ((255, 255), (0, 0), (0, 0))  # nothing from beyond the edge


def test_augmentation_stays_in_range_and_varies() -> None:
    """Colours remain in 0..1, ten draws are not all alike, and without a share nothing changes."""
    rng = random.Random(1)
    crop = torch.rand(3, 8, 8)
    results = [augment_colours(crop, rng, share=1.0) for _ in range(10)]
    assert all(float(result.min()) >= 0 and float(result.max()) <= 1 for result in results)
    assert len({round(float(result.sum()), 3) for result in results}) > 3
    assert all(torch.equal(augment_colours(crop, rng, share=0.0), crop) for _ in range(10))


@pytest.mark.fault(86)
def test_damaged_newest_checkpoint_falls_back(tmp_path: Path) -> None:
    """The one before is taken, and it is said; with both damaged the run refuses."""
    for step in (1, 2):
        save_checkpoint(tmp_path, Checkpoint(step, {"w": torch.zeros(1)}, {}, {}))
    newest = tmp_path / LATEST
    newest.write_bytes(newest.read_bytes()[:100])
    checkpoint, note = load_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 1 and "damaged" in note
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(TrainerError, match="damaged"):
        load_checkpoint(tmp_path)


def test_pairs_are_distinct_and_spread() -> None:
    """Every content gets different styles, and no pair comes twice."""
    pairs = pair_indices(13, 11, 40)
    assert len(pairs) == len(set(pairs)) == 40
    assert {content for content, _ in pairs} == set(range(13)) and {style for _, style in pairs} == set(range(11))
    for contents, styles in itertools.product(range(1, 6), repeat=2):
        every = itertools.product(range(contents), range(styles))
        assert sorted(pair_indices(contents, styles, 99)) == list(every), (contents, styles)


def test_rcc_files_are_read() -> None:
    """A hand-made Qt resource of one folder with one compressed file."""
    name, body = "a.txt", b"hello " * 20
    names = b"".join(len(n).to_bytes(2, "big") + b"\0\0\0\0" + n.encode("utf-16-be") for n in ("dir", name))
    second = 2 + 4 + 2 * len("dir")
    packed = len(body).to_bytes(4, "big") + zlib.compress(body)
    payload = len(packed).to_bytes(4, "big") + packed

    def node(offset: int, flags: int, first: int, second: int) -> bytes:
        return struct.pack(">IHII8x", offset, flags, first, second)

    tree = node(0, 2, 1, 1) + node(0, 2, 1, 2) + node(second, 1, 1, 0)
    start = 20
    header = struct.pack(">4s4I", b"qres", 2, start, start + len(tree), start + len(tree) + len(payload))
    assert dict(read_rcc(header + tree + payload + names)) == {"dir/a.txt": body}


def test_packages_are_unpacked_below_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run in the downloads folder, so they need its whole path."""
    calls = []

    def run(command: list[str], *, cwd: Path, check: bool) -> None:
        assert check
        calls.append((command, cwd))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("adain_trainer.pictures.subprocess.run", run)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "gcompris-qt-data_1_all.deb").write_bytes(b"")
    fetch_packages(Path("below"))
    unpacking = [command for command, _ in calls if command[0] == "dpkg-deb"]
    deb = tmp_path / "below" / "gcompris-qt-data_1_all.deb"
    assert unpacking == [["dpkg-deb", "-x", str(deb), str(tmp_path / "below" / "gcompris-qt-data")]]


def test_evaluation_is_the_same_in_any_order_and_by_its_own_judge(network: AdainNetwork) -> None:
    """Pairs are grouped by content for speed only; the network's own encoder judges by default."""
    noise = torch.rand(4, 24, 24, 3, generator=torch.Generator().manual_seed(0))
    pictures = [Image.fromarray((each * 255).byte().numpy()) for each in noise]
    figures = evaluate(network, pictures[:2], pictures[2:], side=24, pairs=4)
    turned = evaluate(network, pictures[1::-1], pictures[:1:-1], side=24, pairs=4, judge=network.encoder)
    for field in fields(Figures):
        assert getattr(turned, field.name) == pytest.approx(getattr(figures, field.name), rel=1e-4), field.name


def test_figures_of_two_groups_are_joined_by_their_pairs() -> None:
    """Means over all pairs."""
    joined = Figures(1, 1.0, 2.0, 3.0, 4.0).joined(Figures(3, 5.0, 6.0, 7.0, 8.0))
    assert joined == Figures(4, 4.0, 5.0, 6.0, 7.0) and joined.score == 9.0
