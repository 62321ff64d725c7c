"""The script for the day a graphics card is at hand, with tiny settings on the processor."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from adain_net.layout import load_decoder
from adain_net.stylizer import QUALITIES
from adain_weights.catalog import read_about
from adain_weights.models import load_model
from support.helpers import PICTURES, REPOSITORY
from trainer.tiny import ONE_THREAD

COUNTS = {"content": 12, "style": 20}


def _script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "gpu.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ONE_THREAD, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of a photograph, as many of each kind as COUNTS says, larger than what is packed."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(PICTURES / "coffee.jpg") as opened:
        photo = opened.convert("RGB").resize((1200, 900))
    for kind, count in COUNTS.items():
        (folder / kind).mkdir()
        for index in range(count):
            photo.crop((20 * index, 10 * index, 20 * index + 500, 10 * index + 420)).save(
                folder / kind / f"{index:02}.png"
            )
    return folder


def _packed(folder: Path, output: Path, megabytes: float) -> dict[str, int]:
    done = _script("pack", str(folder), "-o", str(output), "--megabytes", str(megabytes))
    assert done.returncode == 0, done.stderr
    with tarfile.open(output) as archive:
        names = archive.getnames()
    return {kind: sum(name.startswith(f"{kind}/") for name in names) for kind in COUNTS}


def test_pictures_are_packed_evenly_within_the_limit(folder: Path, tmp_path: Path) -> None:
    """All but those that are held out; where there is less room, the same share of both kinds; never more bytes."""
    output = tmp_path / "pictures.tar"
    assert _packed(folder, output, 30) == {"content": 10, "style": 16}  # a fifth is held out
    whole = output.stat().st_size
    half = _packed(folder, output, whole / 2e6)
    assert output.stat().st_size <= whole / 2
    assert half["content"] in (4, 5) and half["style"] in (7, 8)
    with tarfile.open(output) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    for path in (tmp_path / "out").rglob("*.jpg"):
        with Image.open(path) as opened:
            assert min(opened.size) == 384


def test_what_does_not_fit_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    """Too little room, or no archive."""
    done = _script("pack", str(folder), "-o", str(tmp_path / "p.tar"), "--megabytes", "0.01")
    assert done.returncode == 1 and done.stderr.startswith("gpu.py: Next to no picture fits")
    (tmp_path / "p.tar").write_text("no archive")
    done = _script("run", "--pictures", str(tmp_path / "p.tar"), "--out", str(tmp_path / "out"), "--device", "cpu")
    assert done.returncode == 1 and "is not an archive of pictures" in done.stderr.splitlines()[-1]


def test_run_checks_times_trains_and_reports(folder: Path, tmp_path: Path) -> None:
    """Within its time: a report with all tables, a model that loads, and no more files than a device hands back."""
    output, out = tmp_path / "pictures.tar", tmp_path / "out"
    _packed(folder, output, 30)
    tiny = ["--crop", "16", "--bank", "8", "--batches", "1", "2", "--sides", "32", "48", "--finish-steps", "1"]
    done = _script(*("run", "--pictures", str(output), "--out", str(out), "--device", "cpu", "--minutes", "0.3"), *tiny)
    assert done.returncode == 0, done.stderr
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    model = {f"model/{name}" for name in ("decoder.safetensors", "model.json", "README.md")}
    assert files == {"report.md", "report.json", "sheet.jpg", "figures.csv", "losses.csv"} | model
    report = json.loads((out / "report.json").read_text())
    checks, times = report["bfloat16 beside float32, at 32"], report["Times, the style known"]
    assert [row["quality"] for row in checks] == list(QUALITIES)
    assert all(0 < row["mean, levels of 255"] <= row["largest"] < 255 for row in checks)
    assert checks[0]["mean, levels of 255"] < 3
    assert [(row["side"], row["quality"]) for row in times] == [(s, q) for s in (32, 48) for q in QUALITIES]
    (training,), figures = report["Training"], report["Figures on held-out pairs"]
    assert training["steps"] >= 1 and training["batch"] in (1, 2)
    assert figures[0]["steps"] == 0 and figures[-1]["steps"] == training["steps"]
    about = read_about(out / "model")
    assert about is not None and "12 style and 8 content pictures" in about.description
    load_decoder(load_model(str(out / "model")).decoder)
    assert (out / "report.md").read_text().count("## ") == len(report)
