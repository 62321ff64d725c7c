"""Pulling with the real client from a Hub on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils.tqdm import are_progress_bars_disabled

from adain_weights import hub_client
from adain_weights.catalog import ABOUT, CARD, DECODER, known_models, read_about
from adain_weights.errors import WeightsError
from adain_weights.hub import obtain, parse_reference, pull
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model
from hub.mirror import HubMirror, Repository, sha256
from hub.models import (
    CARD_TEXT,
    MINE,
    NAME,
    decoder_bytes,
    decoder_tensors,
    is_sentence,
    leftovers,
    model_files,
)


@pytest.mark.parametrize(
    ("text", "repo_id", "name"),
    [
        ("hf://atelier/made-up", "atelier/made-up", "atelier--made-up"),
        ("hf://Atelier/Made.up_2@v1.0", "Atelier/Made.up_2", "Atelier--Made.up_2@v1.0"),
        ("hf://a/b@refs/pr/1", "a/b", "a--b@refs-pr-1"),
        (f"hf://a/b@{'0' * 40}", "a/b", f"a--b@{'0' * 40}"),
    ],
)
def test_references(text: str, repo_id: str, name: str) -> None:
    """What hf:// names, and what the model is called here."""
    reference = parse_reference(text)
    assert (reference.repo_id, reference.name) == (repo_id, name)


@pytest.mark.parametrize(
    "text",
    [
        *("atelier/made-up", "hf://made-up", "hf://a/b/c", "hf://../b", "hf://a/..", "hf://a/b@../c", "hf://a/b@x y"),
        *("hf://a/b@", "hf://a--b/c", "https://a/b", "hf://a/b\n", "", f"hf://{'a' * 70}/{'b' * 70}", "hf://a/b@-f"),
    ],
)
def test_what_is_not_a_reference_is_refused(text: str) -> None:
    """Paths, addresses, and names that would lead out of the models folder."""
    with pytest.raises(WeightsError, match="is not a model on the Hub"):
        parse_reference(text)


def test_pulled_model_is_here_with_its_card_and_origin(mirror: HubMirror, models: Path) -> None:
    """Only the known files are fetched; commit and digests are written down; load_model() takes the name."""
    repository = mirror.add(MINE.repo_id, {**model_files(), "train.py": b"print()", "old.bin": b"\x80\x04."})
    assert pull(MINE, models) == NAME
    about = read_about(models / NAME)
    assert about is not None and about.title == "Made up" and about.figures == {"style": 0.5}
    assert (about.repository, about.commit) == (MINE.repo_id, repository.branches["main"])
    assert about.files == {DECODER: sha256(decoder_bytes())}
    assert sorted(path.name for path in (models / NAME).iterdir()) == sorted([DECODER, CARD, ABOUT])
    assert (models / NAME / CARD).read_bytes() == CARD_TEXT
    assert torch.equal(load_model(NAME, models).decoder["conv3_2.weight"], decoder_tensors()["conv3_2.weight"])
    assert [model.name for model in known_models(models) if model.own] == [NAME]
    assert not any(mirror.fetched(name) for name in ("train.py", "old.bin"))


def test_repository_without_about_and_card_can_be_pulled(mirror: HubMirror, models: Path) -> None:
    """A decoder alone is a model, named after its repository."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes()})
    pull(MINE, models)
    about = read_about(models / NAME)
    assert about is not None and about.title == MINE.repo_id and about.files == {DECODER: sha256(decoder_bytes())}


def test_renamed_repository_is_found_under_its_old_name(mirror: HubMirror, models: Path) -> None:
    """The Hub redirects."""
    mirror.add("atelier/new-name", model_files())
    mirror.repositories[MINE.repo_id] = Repository(moved_to="atelier/new-name")
    assert pull(MINE, models) == NAME and load_model(NAME, models).name == NAME


@pytest.mark.parametrize("shown", [True, False])
def test_progress_is_shown_or_not(
    mirror: HubMirror, models: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], shown: bool
) -> None:
    """A bar for the decoder, or a quiet terminal."""
    monkeypatch.setenv("TQDM_POSITION", "-1")  # the client then takes anything for a terminal
    mirror.add(MINE.repo_id, model_files())
    pull(MINE, models, progress=shown)
    assert (DECODER in capfd.readouterr().err) == shown
    assert not are_progress_bars_disabled()


@pytest.mark.fault(89)
@pytest.mark.usefixtures("no_waiting")
def test_cut_download_goes_on_where_it_was_cut(mirror: HubMirror, models: Path, tmp_path: Path) -> None:
    """The connection ends in the middle: the rest is asked for, and nothing unfinished is left."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes()})
    mirror.cuts = [1_000_000, 2_000_000]
    pull(MINE, models)
    assert mirror.fetched(DECODER) == 3 and sha256((models / NAME / DECODER).read_bytes()) == sha256(decoder_bytes())
    assert not leftovers(models, tmp_path / "cache")


@pytest.mark.fault(89)
@pytest.mark.usefixtures("no_waiting")
def test_download_that_stays_cut_is_a_sentence(mirror: HubMirror, models: Path, tmp_path: Path) -> None:
    """No byte comes through: said in a sentence, nothing left behind; it works when the network does."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes()})
    mirror.cuts = [0] * 100
    with pytest.raises(WeightsError, match="connection was cut") as failure:
        pull(MINE, models)
    assert is_sentence(str(failure.value)) and not leftovers(models, tmp_path / "cache")
    assert not (models / NAME).exists()
    mirror.cuts = []
    assert pull(MINE, models) == NAME


@pytest.mark.fault(84, 89)
def test_killed_download_leaves_nothing_in_the_models_folder(mirror: HubMirror, models: Path, tmp_path: Path) -> None:
    """SIGKILL halfway: no half model; the next pull has a whole one and takes the orphan out of the cache."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes()})
    mirror.stall = True
    with subprocess.Popen(
        [sys.executable, "-m", "adain_weights.cli", "pull", "hf://atelier/made-up", "--models", str(models)],
        env={
            **os.environ,
            "HF_ENDPOINT": mirror.url,
            "HF_HOME": str(tmp_path),
            "HF_HUB_CACHE": str(tmp_path / "cache"),
        },
        stderr=subprocess.DEVNULL,
    ) as process:
        assert mirror.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
    mirror.stall = False
    assert not models.exists() or not list(models.iterdir())
    orphans = list((tmp_path / "cache").rglob("*.incomplete"))
    assert orphans
    for orphan in orphans:
        old = time.time() - 2 * hub_client.ORPHAN_AGE
        os.utime(orphan, (old, old))
    assert pull(MINE, models) == NAME and not leftovers(models, tmp_path / "cache")


@pytest.mark.fault(90)
@pytest.mark.parametrize("lfs", [True, False], ids=["digest-of-the-hub", "digest-of-model.json"])
def test_wrong_bytes_of_the_right_size_are_refused(mirror: HubMirror, models: Path, lfs: bool) -> None:
    """Fetched twice, then given up; nothing is kept under the model's name."""
    files = model_files()
    mirror.add(MINE.repo_id, files).lfs = lfs
    wrong = bytearray(files[DECODER])
    wrong[-1] ^= 1
    mirror.altered = {DECODER: [bytes(wrong)] * 5}
    with pytest.raises(WeightsError, match="SHA-256"):
        pull(MINE, models)
    assert mirror.fetched(DECODER) == 2 and not (models / NAME).exists()


@pytest.mark.fault(90)
def test_wrong_bytes_once_are_fetched_again(mirror: HubMirror, models: Path) -> None:
    """A mishap on the way costs one more download."""
    files = model_files()
    mirror.add(MINE.repo_id, files)
    mirror.altered = {DECODER: [bytes(len(files[DECODER]))]}
    pull(MINE, models)
    assert mirror.fetched(DECODER) == 2 and (models / NAME / DECODER).read_bytes() == files[DECODER]


@pytest.mark.fault(90)
def test_repository_whose_digest_is_another_is_refused(mirror: HubMirror, models: Path) -> None:
    """The decoder was replaced there and model.json was not: what its owner measured is not what one would get."""
    mirror.add(MINE.repo_id, {**model_files(), DECODER: decoder_bytes(0.5)})
    with pytest.raises(WeightsError, match="SHA-256"):
        pull(MINE, models)


@pytest.mark.fault(91)
def test_moved_branch_changes_nothing_until_update(mirror: HubMirror, models: Path) -> None:
    """The commit is pinned, also where a damaged copy is fetched again; --update takes the new one, once."""
    repository = mirror.add(MINE.repo_id, model_files())
    first = repository.branches["main"]
    pull(MINE, models)
    repository.commit(model_files(0.25))
    pull(MINE, models)
    (models / NAME / DECODER).write_bytes(b"damaged")
    pull(MINE, models)
    about = read_about(models / NAME)
    assert about is not None and about.commit == first and about.files[DECODER] == sha256(decoder_bytes())
    pull(MINE, models, update=True)
    about = read_about(models / NAME)
    assert about is not None and about.commit == repository.branches["main"] != first
    assert sha256((models / NAME / DECODER).read_bytes()) == sha256(decoder_bytes(0.25)) == about.files[DECODER]
    fetched = mirror.fetched(DECODER)
    pull(MINE, models, update=True)
    assert mirror.fetched(DECODER) == fetched
    old = pull(parse_reference(f"hf://{MINE.repo_id}@{first}"), models)
    assert sha256((models / old / DECODER).read_bytes()) == sha256(decoder_bytes())


@pytest.mark.fault(92)
def test_whole_copy_needs_no_network(mirror: HubMirror, models: Path) -> None:
    """Nothing is asked, and nothing is said."""
    mirror.add(MINE.repo_id, model_files())
    pull(MINE, models)
    asked = len(mirror.requests)
    assert obtain("hf://atelier/made-up", models) == (NAME, "") and len(mirror.requests) == asked
    mirror.stop()
    assert obtain("hf://atelier/made-up", models) == (NAME, "")
    with pytest.raises(WeightsError, match="could not be reached"):
        pull(MINE, models, update=True)
    assert load_model(NAME, models).name == NAME


@pytest.mark.fault(92)
@pytest.mark.parametrize("forbidden", [True, False], ids=["HF_HUB_OFFLINE", "no-server"])
def test_offline_the_embedded_model_is_used(
    mirror: HubMirror, models: Path, monkeypatch: pytest.MonkeyPatch, forbidden: bool
) -> None:
    """One line says what failed and what is used; it is one that load_model() takes."""
    if forbidden:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        mirror.stop()
    model, notice = obtain("hf://atelier/made-up", models)
    assert model == DEFAULT_MODEL and DEFAULT_MODEL in notice and MINE.repo_id in notice and is_sentence(notice)
    assert not models.exists()


@pytest.mark.fault(92)
def test_other_models_are_left_alone(models: Path) -> None:
    """Names and folders come back as they are."""
    assert obtain("mine", models) == ("mine", "") and obtain(DEFAULT_MODEL, models) == (DEFAULT_MODEL, "")
    model, notice = obtain("hf://nonsense", models)
    assert model == DEFAULT_MODEL and "hf://nonsense" in notice


def _cached(tmp_path: Path) -> Path:
    (snapshot,) = (tmp_path / "cache").glob(f"models--*/snapshots/*/{DECODER}")
    return snapshot


@pytest.mark.fault(93)
@pytest.mark.parametrize("damage", ["edited", "cut", "gone", "dangling", "model.json"])
def test_damaged_model_is_repaired_from_the_cache(mirror: HubMirror, models: Path, tmp_path: Path, damage: str) -> None:
    """load_model() refuses it where it can tell; pull() makes it whole again without another download."""
    mirror.add(MINE.repo_id, model_files())
    pull(MINE, models)
    path = models / NAME / (ABOUT if damage == "model.json" else DECODER)
    data = path.read_bytes()
    path.unlink()
    if damage == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif damage != "gone":
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    if damage != "model.json":
        with pytest.raises(
            WeightsError, match="changed or damaged" if damage in ("edited", "cut") else "cannot be read"
        ):
            load_model(NAME, models)
    assert pull(MINE, models) == NAME and (models / NAME / DECODER).read_bytes() == model_files()[DECODER]
    assert mirror.fetched(DECODER) == 1


@pytest.mark.fault(93)
@pytest.mark.parametrize("lfs", [True, False], ids=["large", "in-git"])
@pytest.mark.parametrize("dangling", [True, False], ids=["dangling", "edited"])
def test_damaged_cache_is_fetched_again_once(
    mirror: HubMirror, models: Path, tmp_path: Path, lfs: bool, dangling: bool
) -> None:
    """The cache's bytes were edited, or its link leads nowhere."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes()}).lfs = lfs
    pull(MINE, models)
    (models / NAME / DECODER).unlink()
    blob = _cached(tmp_path).resolve()
    blob.unlink()
    if not dangling:
        blob.write_bytes(decoder_bytes(0.25))
    pull(MINE, models)
    assert mirror.fetched(DECODER) == 2 and (models / NAME / DECODER).read_bytes() == decoder_bytes()
    assert _cached(tmp_path).read_bytes() == decoder_bytes()
