"""What is not let in, and what a Hub refuses."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from adain_net.layout import load_network
from adain_weights import hub, hub_client
from adain_weights.catalog import ABOUT, CARD, DECODER, ENCODER, AboutModel, read_about
from adain_weights.errors import WeightsError
from adain_weights.hub import obtain, parse_reference, pull, pull_known
from adain_weights.manifest import DEFAULT_MODEL, read_downloads
from adain_weights.models import load_model, safetensors_bytes, write_model
from hub.mirror import HubMirror, Refusal, sha256
from hub.models import (
    MINE,
    NAME,
    decoder_bytes,
    decoder_tensors,
    is_sentence,
    leftovers,
    model_files,
    public_pair,
)


def _without(name: str) -> dict[str, torch.Tensor]:
    return {other: tensor for other, tensor in decoder_tensors().items() if other != name}


_WRONG: dict[str, Callable[[], bytes]] = {
    "garbage": lambda: b"\xff" * 100,
    "empty": lambda: b"",
    "cut": lambda: decoder_bytes()[:-10],
    "pickle": lambda: public_pair()["decoder.pth"],
    "missing": lambda: safetensors_bytes(_without("conv3_2.bias"), {}),
    "unknown": lambda: safetensors_bytes({**decoder_tensors(), "extra": torch.zeros(1)}, {}),
    "shape": lambda: safetensors_bytes({**decoder_tensors(), "conv1_1.bias": torch.zeros(4)}, {}),
    "infinite": lambda: safetensors_bytes({**decoder_tensors(), "conv1_1.bias": torch.full((3,), float("inf"))}, {}),
    "nan": lambda: safetensors_bytes({**decoder_tensors(), "conv1_1.bias": torch.full((3,), float("nan"))}, {}),
    "integers": lambda: safetensors_bytes({**decoder_tensors(), "conv1_1.bias": torch.zeros(3, dtype=torch.int32)}, {}),
    "an-encoder": lambda: safetensors_bytes(load_model(DEFAULT_MODEL).encoder, {}),
    "no-tensors": lambda: safetensors_bytes({}, {}),
}


@pytest.mark.fault(94)
@pytest.mark.parametrize("kind", _WRONG)
def test_wrong_safetensors_never_get_in(mirror: HubMirror, models: Path, kind: str) -> None:
    """Header, names, shapes and numbers are checked before anything is replaced; the model that was there stays."""
    repository = mirror.add(MINE.repo_id, {DECODER: decoder_bytes()})
    pull(MINE, models)
    repository.commit({DECODER: _WRONG[kind]()})
    with pytest.raises(WeightsError, match=MINE.repo_id) as failure:
        pull(MINE, models, update=True)
    assert is_sentence(str(failure.value))
    assert (models / NAME / DECODER).read_bytes() == decoder_bytes() and not leftovers(models)


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{", "is not JSON"), (b"{}", "does not say"), (b'{"format": "adain-style model 1"}', "other fields")],
)
def test_wrong_model_json_is_refused(mirror: HubMirror, models: Path, content: bytes, words: str) -> None:
    """A repository's model.json is not trusted either."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes(), ABOUT: content})
    with pytest.raises(WeightsError, match=words):
        pull(MINE, models)


@pytest.mark.fault(94)
def test_file_that_is_far_too_large_is_not_fetched(
    mirror: HubMirror, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub says its size beforehand."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes()})
    monkeypatch.setattr(hub_client, "LARGEST_FILE", 1_000_000)
    with pytest.raises(WeightsError, match="too large"):
        pull(MINE, models)
    assert not mirror.fetched(DECODER)


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (self._mark,))


@pytest.mark.fault(81, 95)
def test_unknown_pickle_is_not_opened(mirror: HubMirror, models: Path, tmp_path: Path) -> None:
    """Its name is that of the public pair and its bytes are not: the explicit command is named, and nothing runs."""
    bomb = pickle.dumps({"a": _Bomb(tmp_path / "mark")}, protocol=2)
    mirror.add(MINE.repo_id, {"vgg_normalised.pth": bomb, "decoder.pth": bomb}).lfs = False
    with pytest.raises(WeightsError, match="adain-weights convert"):
        pull(MINE, models)
    assert not (tmp_path / "mark").exists() and not models.exists()


def _know_public_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    known = read_downloads()["public-adain"]
    encoder, decoder = (sha256(public_pair()[name]) for name in (known.encoder, known.decoder))
    model = replace(known, encoder_sha256=encoder, decoder_sha256=decoder)
    monkeypatch.setattr(hub, "read_downloads", lambda: {"public-adain": model})


@pytest.mark.fault(95)
def test_known_pickles_are_converted_once(mirror: HubMirror, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a repository with the public pair, when the digests are on the manifest; the result loads as a network."""
    _know_public_pair(monkeypatch)
    mirror.add(MINE.repo_id, public_pair())
    pull(MINE, models)
    assert sorted(path.name for path in (models / NAME).iterdir()) == sorted([DECODER, ENCODER, CARD, ABOUT])
    weights = load_model(NAME, models)
    network = load_network(weights.encoder, weights.decoder)
    own = decoder_tensors()["conv3_2.weight"].float()
    assert torch.equal(network.decoder.conv3_2.weight, own) and weights.encoder_digest == sha256(
        (models / NAME / ENCODER).read_bytes()
    )
    assert pull(MINE, models) == NAME and mirror.fetched("decoder.pth") == 1


@pytest.mark.fault(95)
def test_any_mirror_with_the_right_bytes_will_do(
    mirror: HubMirror, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is gone, the second has other bytes, the third is taken; then no network is needed."""
    _know_public_pair(monkeypatch)
    _, second, third = read_downloads()["public-adain"].repositories
    mirror.add(second, {**public_pair(), "decoder.pth": public_pair()["decoder.pth"][:-1] + b"x"})
    mirror.add(third, public_pair())
    assert obtain("public-adain", models) == ("public-adain", "")
    about = read_about(models / "public-adain")
    assert about is not None and about.repository == third and about.licence == "MIT"
    mirror.stop()
    assert pull_known("public-adain", models) == "public-adain"
    assert load_model("public-adain", models).name == "public-adain"


@pytest.mark.fault(95)
def test_converted_by_hand_needs_no_mirror(mirror: HubMirror, models: Path) -> None:
    """Somebody had the pair already and converted it under that name: it is used as it is."""
    about = AboutModel("Public", "", "MIT", "converted here", {}, {})
    write_model(models / "public-adain", decoder_tensors(), about=about, card="# Public")
    mirror.stop()
    assert obtain("public-adain", models) == ("public-adain", "")


@pytest.mark.fault(95)
def test_no_mirror_has_the_right_bytes(mirror: HubMirror, models: Path) -> None:
    """With the real digests nothing here fits: a sentence, the embedded model, and nothing kept."""
    for repo_id in read_downloads()["public-adain"].repositories:
        mirror.add(repo_id, public_pair())
    model, notice = obtain("public-adain", models)
    assert model == DEFAULT_MODEL and "None of 3 repositories" in notice and not models.exists()
    with pytest.raises(WeightsError, match="adain-weights pull public-adain"):
        load_model("public-adain", models)


_REFUSED = {
    "missing": (Refusal(404, "RepoNotFound"), "check its name"),
    "missing-or-private": (Refusal(401, "RepoNotFound", "Invalid username or password."), "hf auth login"),
    "private": (Refusal(401, "", "Invalid username or password."), "hf auth login"),
    "forbidden": (Refusal(403, "", "Forbidden"), "hf auth login"),
    "disabled": (Refusal(403, "", "Access to this resource is disabled."), "disabled"),
    "revision": (Refusal(404, "RevisionNotFound"), "no such revision"),
    "busy": (Refusal(429), "too many requests"),
    "broken": (Refusal(500), "HTTP status 500"),
    "no-hub": (Refusal(200, body=b"<html>Log in to this hotel's network</html>"), "not a Hub"),
    "no-hub-either": (Refusal(200, body=b'{"id": "x/y", "siblings": []}'), "not a Hub"),
    "nothing-known": (Refusal(200, body=b"{}"), "not a Hub"),
}


@pytest.mark.parametrize("kind", _REFUSED)
def test_refused_repository_is_a_sentence(mirror: HubMirror, models: Path, kind: str) -> None:
    """Whatever the Hub answers: one sentence with what to do, and the embedded model."""
    refusal, words = _REFUSED[kind]
    mirror.add(MINE.repo_id, model_files()).refusal = refusal
    with pytest.raises(WeightsError, match=words) as failure:
        pull(MINE, models)
    assert is_sentence(str(failure.value)) and MINE.repo_id in str(failure.value)
    assert obtain("hf://atelier/made-up", models)[0] == DEFAULT_MODEL and not models.exists()


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refusal(401, "GatedRepo"), "accept its conditions"),
        (Refusal(403, "GatedRepo"), "accept its conditions"),
        (Refusal(404, "EntryNotFound"), "missing on the Hub"),
        (Refusal(403, "", "Forbidden"), "hf auth login"),
    ],
    ids=["gated-401", "gated-403", "file-missing", "forbidden"],
)
@pytest.mark.usefixtures("no_waiting")
def test_refused_file_is_a_sentence(mirror: HubMirror, models: Path, refusal: Refusal, words: str) -> None:
    """Gated repositories show their list of files to everybody, and the files to those who may have them."""
    mirror.add(MINE.repo_id, model_files()).file_refusal = refusal
    with pytest.raises(WeightsError, match=words) as failure:
        pull(MINE, models)
    assert is_sentence(str(failure.value)) and not models.exists()


def test_refused_names_are_sentences(mirror: HubMirror, models: Path) -> None:
    """A repository or a revision that is not there, and one without a model."""
    mirror.add(MINE.repo_id, {"README.md": b"# Nothing"})
    for text, words in {
        "hf://atelier/nothing": "check its name",
        "hf://atelier/made-up@no-such": "no such revision",
        "hf://atelier/made-up": "holds neither",
    }.items():
        with pytest.raises(WeightsError, match=words):
            pull(parse_reference(text), models)


def test_file_that_model_json_names_must_be_there(mirror: HubMirror, models: Path) -> None:
    """Half a model is none."""
    files = model_files()
    del files[DECODER]
    files[ENCODER] = safetensors_bytes(load_model(DEFAULT_MODEL).encoder, {})
    mirror.add(MINE.repo_id, files)
    with pytest.raises(WeightsError, match="holds neither"):
        pull(MINE, models)


@pytest.mark.fault(85)
def test_cache_that_cannot_be_written_is_a_sentence(
    mirror: HubMirror, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is where the cache's folder should be."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    mirror.add(MINE.repo_id, model_files())
    with pytest.raises(WeightsError, match="HF_HOME") as failure:
        pull(MINE, models)
    assert is_sentence(str(failure.value)) and str(tmp_path / "file" / "cache") in str(failure.value)


@pytest.mark.fault(85)
def test_full_disk_is_a_sentence(mirror: HubMirror, models: Path, tmp_path: Path) -> None:
    """No file may grow beyond a megabyte: exit 1, one line at the end, nothing left behind."""
    mirror.add(MINE.repo_id, {DECODER: decoder_bytes()})
    done = subprocess.run(
        [sys.executable, "-m", "adain_weights.cli", "pull", "hf://atelier/made-up", "--models", str(models)],
        env={**os.environ, "HF_ENDPOINT": mirror.url, "HF_HOME": str(tmp_path / "home")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "make room" in done.stderr.splitlines()[-1] and not leftovers(tmp_path)
