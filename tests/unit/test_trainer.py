"""The trainer's blocks, and a whole tiny run with resume and export."""

from __future__ import annotations

import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from adain_net.layout import load_decoder
from adain_net.statistics import channel_statistics
from adain_trainer.checkpoint import LATEST, PREVIOUS, Checkpoint, load_checkpoint, save_checkpoint
from adain_trainer.cli import main
from adain_trainer.config import FitConfig
from adain_trainer.data import augment_style, load_pictures, random_crop, to_tensor
from adain_trainer.errors import TrainerError
from adain_trainer.evaluate import pair_indices
from adain_trainer.losses import content_loss, grid_loss, style_loss, total_variation
from adain_trainer.pictures import read_rcc
from adain_weights.cli import main as weights_command
from adain_weights.models import load_model
from helpers import PICTURES

TINY = [
    *("--content", str(PICTURES), "--style", str(PICTURES)),
    *("--batch", "2", "--crop", "16", "--style-crop", "32", "--bank", "4", "--warmup-steps", "1"),
    *("--cooldown-steps", "1", "--reconstruction-steps", "2", "--checkpoint-every", "2", "--identity-share", "0.5"),
]


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
    torch.testing.assert_close(style_loss(own, own, balanced=False), torch.zeros(2))
    torch.testing.assert_close(style_loss(shifted, own, balanced=False), torch.full((2,), 0.5))


def test_balanced_style_loss_does_not_favour_extreme_styles() -> None:
    """A style ten times as strong, missed by the same share, weighs about the same."""
    feats = [torch.rand(1, 8, 6, 6) + 1]
    weak, strong = ([channel_statistics(feat * scale) for feat in feats] for scale in (1.0, 10.0))
    missed_weak, missed_strong = ([channel_statistics(feat * scale * 0.5) for feat in feats] for scale in (1.0, 10.0))
    ratio = style_loss(missed_strong, strong, balanced=True) / style_loss(missed_weak, weak, balanced=True)
    assert 0.9 < float(ratio) < 1.2
    plain = style_loss(missed_strong, strong, balanced=False) / style_loss(missed_weak, weak, balanced=False)
    assert float(plain) > 50


def test_total_variation_by_hand() -> None:
    """A single bright pixel among four: two differences of 1 in two pairs each way; a flat picture has none."""
    picture = torch.zeros(2, 3, 2, 2)
    picture[0, :, 0, 0] = 1
    torch.testing.assert_close(total_variation(picture), torch.tensor([1.0, 0.0]))


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


def test_rate_rises_and_falls() -> None:
    """Linear warm-up, a plateau, linear cool-down to zero."""
    config = FitConfig(steps=100, warmup_steps=10, cooldown_steps=20, learning_rate=1.0)
    assert config.learning_rate_at(0) == pytest.approx(0.1)
    assert config.learning_rate_at(50) == 1.0
    assert config.learning_rate_at(90) == pytest.approx(0.5)
    assert config.learning_rate_at(100) == 0.0


def test_crops_stay_inside_and_have_their_size() -> None:
    """Whatever the zoom and the picture's shape."""
    rng = random.Random(0)
    for size in ((40, 300), (300, 40), (33, 33), (1000, 700)):
        crop = random_crop(Image.new("RGB", size, "red"), 24, work_side=512, zoom=(0.5, 40.0), rng=rng)
        assert crop.size == (24, 24)
        assert crop.getextrema() == ((255, 255), (0, 0), (0, 0))  # nothing from beyond the edge


def test_augmentation_stays_in_range_and_varies() -> None:
    """Colours remain in 0..1, and ten draws are not all alike."""
    rng = random.Random(1)
    crop = torch.rand(3, 8, 8)
    results = [augment_style(crop, rng) for _ in range(10)]
    assert all(float(result.min()) >= 0 and float(result.max()) <= 1 for result in results)
    assert len({round(float(result.sum()), 3) for result in results}) > 3


def test_unreadable_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    """A cut-off file and a 16 bit one are reported; CMYK, palette and transparent ones are converted."""
    for mode in ("CMYK", "P", "RGBA"):
        Image.new("RGB", (20, 20), "blue").convert(mode).save(tmp_path / f"{mode}.tif")
    Image.fromarray(np.full((20, 20), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    pictures, unreadable = load_pictures([tmp_path])
    assert len(pictures) == 3 and {picture.mode for picture in pictures} == {"RGB"}
    assert unreadable == [tmp_path / "cut.png", tmp_path / "deep.png"]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_folder_without_pictures_is_a_sentence(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, or nothing in it: exit 1 and a line that names it."""
    (tmp_path / "empty").mkdir()
    folder = str(tmp_path / name)
    assert main(["fit", "--content", folder, "--style", folder, "--run", str(tmp_path / "run"), "--steps", "1"]) == 1
    assert folder in capsys.readouterr().err


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """Six steps at once, or four and then two more from the checkpoint: the same weights, bit for bit."""
    torch.set_num_threads(1)  # so that sums are made in the same order
    options = [*TINY, "--cooldown-steps", "0"]
    for run, pieces in (("whole", ["6"]), ("pieces", ["4", "6"])):
        for steps in pieces:
            assert main(["fit", *options, "--run", str(tmp_path / run), "--steps", steps]) == 0
    whole, pieces_ = (load_checkpoint(tmp_path / run)[0] for run in ("whole", "pieces"))
    assert whole is not None and pieces_ is not None and whole.step == pieces_.step == 6
    for name, tensor in whole.decoder.items():
        assert torch.equal(tensor, pieces_.decoder[name]), name
    torch.set_num_threads(2)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    """Forty reconstruction steps bring the pixel error well below a grey picture's."""
    options = [*TINY, "--reconstruction-steps", "40", "--bank-passes", "100", "--checkpoint-every", "1000"]
    assert main(["fit", *options, "--run", str(tmp_path / "run"), "--steps", "40"]) == 0
    rows = [line.split(",") for line in (tmp_path / "run" / "losses.csv").read_text().splitlines()[1:]]
    errors = [float(row[4]) for row in rows]
    assert len(errors) == 40
    assert sum(errors[-4:]) < 0.6 * sum(errors[:4])


def test_exported_run_is_a_model(tmp_path: Path) -> None:
    """Export writes a folder that load_model reads and the network accepts; sheet and evaluate run on it."""
    run, model = tmp_path / "run", tmp_path / "model"
    samples = ["--sheet-content", str(PICTURES), "--sheet-style", str(PICTURES), "--sheet-every", "3"]
    assert main(["fit", *TINY, *samples, "--run", str(run), "--steps", "3"]) == 0
    assert (run / "sheet-000003.jpg").exists() and (run / "config.json").exists()
    assert main(["export", "--run", str(run), "-o", str(model)]) == 0
    decoder = load_decoder(load_model(str(model)).decoder)
    checkpoint, _ = load_checkpoint(run)
    assert checkpoint is not None
    torch.testing.assert_close(
        decoder.conv4_1.weight.detach(), checkpoint.decoder["conv4_1.weight"], atol=1e-3, rtol=1e-2
    )
    assert main(["export", "--run", str(run), "-o", str(tmp_path / "public"), "--public"]) == 0
    pair = [str(tmp_path / "public" / name) for name in ("vgg_normalised.pth", "decoder.pth")]
    assert weights_command(["convert", *pair, "-o", str(tmp_path / "back")]) == 0
    back = load_decoder(load_model(str(tmp_path / "back")).decoder)
    assert torch.equal(back.conv3_2.weight, checkpoint.decoder["conv3_2.weight"])
    folders = ["--content", str(PICTURES), "--style", str(PICTURES)]
    assert main(["sheet", *folders, "--model", str(model), "--side", "32", "-o", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        pictures = len(list(PICTURES.glob("*.jpg")))
        assert sheet.size == ((pictures + 2) * 32, (pictures + 1) * 32)
    assert main(["evaluate", *folders, "--model", str(model), "--side", "32", "--pairs", "3"]) == 0


def test_second_trainer_in_a_folder_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder is locked while a run is at work."""
    with FileLock(tmp_path / "run.lock"):
        assert main(["fit", *TINY, "--run", str(tmp_path), "--steps", "1"]) == 1
    assert "Another trainer" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--crop=20", "--batch=5", "--steps=0", "--identity-share=0.6", "--learning-rate=0"])
def test_impossible_recipe_is_a_sentence(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that no run can have is refused before anything is loaded or written."""
    assert main(["fit", *TINY, "--steps", "1", "--run", str(tmp_path / "run"), option]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "run").exists()


def test_run_in_place_of_a_file_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run's folder that cannot be made: one line."""
    (tmp_path / "file").write_text("")
    assert main(["fit", *TINY, "--steps", "1", "--run", str(tmp_path / "file" / "run")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_sigterm_saves_and_ends(tmp_path: Path) -> None:
    """A run that is told to end finishes its step, saves, and can be resumed from there."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "adain_trainer.cli", "fit", *TINY, "--run", str(run), "--steps", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (run / LATEST).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
    steps = len((run / "losses.csv").read_text().splitlines()) - 1
    checkpoint, note = load_checkpoint(run)
    assert checkpoint is not None and checkpoint.step == steps and not note


def test_killed_trainer_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Kill -9 while it saves at every second step: whatever is there loads."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "adain_trainer.cli", "fit", *TINY, "--run", str(run), "--steps", "100000"]
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (run / PREVIOUS).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(random.Random(zlib.crc32(run.name.encode())).random())
        process.kill()
        process.wait()
        checkpoint, _ = load_checkpoint(run)
        assert checkpoint is not None and checkpoint.step >= 2


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
    square = pair_indices(3, 3, 9)
    assert sorted(square) == [(a, b) for a in range(3) for b in range(3)]


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
