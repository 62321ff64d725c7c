"""Pushing with the real client to a Hub on this machine, and pulling it back."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from adain_weights.catalog import ABOUT, CARD, DECODER, ENCODER, AboutModel, parse_about, read_about
from adain_weights.cli import main
from adain_weights.errors import WeightsError
from adain_weights.hub import parse_reference, pull, push
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model, write_model
from hub.mirror import HubMirror, Repository
from hub.models import decoder_tensors, model_files

TOKEN = "hf_made_up"  # noqa: S105


@pytest.fixture
def login(mirror: HubMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who may write; large files go the way that the mirror knows."""
    mirror.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def _model(folder: Path, *, card: str = "# Mine\n", encoder: bool = False) -> Path:
    about = AboutModel("Mine", "made here", "MIT", "a test", {"style": 0.5}, {})
    own_encoder = load_model(DEFAULT_MODEL).encoder if encoder else None
    write_model(folder, decoder_tensors(), about=about, card=card, encoder=own_encoder)
    return folder


@pytest.mark.usefixtures("login")
def test_pushed_model_can_be_pulled(mirror: HubMirror, models: Path, tmp_path: Path) -> None:
    """One commit with four files; what comes back is the same, byte for byte, and knows where it came from."""
    folder = _model(tmp_path / "mine", encoder=True)
    address = push(folder, "atelier/mine", private=True)
    repository = mirror.repositories["atelier/mine"]
    commit = repository.branches["main"]
    assert address.endswith(commit) and repository.private and len(repository.commits) == 2
    assert set(repository.commits[commit]) == {".gitattributes", DECODER, ENCODER, CARD, ABOUT}
    name = pull(parse_reference("hf://atelier/mine"), models)
    for file in (DECODER, ENCODER, CARD):
        assert (models / name / file).read_bytes() == (folder / file).read_bytes()
    about = read_about(models / name)
    assert about is not None and (about.title, about.commit) == ("Mine", commit)


@pytest.mark.usefixtures("login")
def test_pulled_model_is_pushed_without_its_old_origin(mirror: HubMirror, models: Path) -> None:
    """Repository and commit are those of the copy here, not of the model there; a branch is made when missing."""
    mirror.add("atelier/made-up", model_files())
    folder = models / pull(parse_reference("hf://atelier/made-up"), models)
    mirror.add("atelier/mine", {"notes.txt": b"kept"})
    push(folder, "atelier/mine", private=False, revision="softer")
    repository = mirror.repositories["atelier/mine"]
    files = repository.commits[repository.branches["softer"]]
    about = parse_about(files[ABOUT])
    assert (about.repository, about.commit, files["notes.txt"]) == ("", "", b"kept")
    assert DECODER not in repository.commits[repository.branches["main"]]


@pytest.mark.usefixtures("login")
def test_private_model_never_goes_into_a_public_repository(mirror: HubMirror, tmp_path: Path) -> None:
    """The repository was there, and public: nothing is sent."""
    repository = mirror.add("atelier/mine", {"README.md": b"# Public"})
    with pytest.raises(WeightsError, match="public, so nothing was sent"):
        push(_model(tmp_path / "mine"), "atelier/mine", private=True)
    assert len(repository.commits) == 1 and not mirror.uploads


@pytest.mark.usefixtures("login")
def test_wrong_folders_are_not_pushed(mirror: HubMirror, tmp_path: Path) -> None:
    """No card, no model.json, a changed decoder, tensors of something else: nothing is asked of the Hub."""
    no_card = _model(tmp_path / "no-card", card=" \n")
    no_about = _model(tmp_path / "no-about")
    (no_about / ABOUT).unlink()
    changed = _model(tmp_path / "changed")
    (changed / DECODER).write_bytes((changed / DECODER).read_bytes() + b" ")
    other = tmp_path / "other"
    write_model(other, load_model(DEFAULT_MODEL).encoder, about=AboutModel("", "", "", "", {}, {}), card="# Other")
    cases = {no_card: "no model card", no_about: ABOUT, changed: "changed or damaged", other: "not an AdaIN decoder"}
    for folder, words in cases.items():
        with pytest.raises(WeightsError, match=words):
            push(folder, "atelier/mine", private=False)
    with pytest.raises(WeightsError, match="is not a model on the Hub"):
        push(_model(tmp_path / "good"), "mine", private=False)
    assert not mirror.requests


def test_push_without_a_login_is_a_sentence(mirror: HubMirror, tmp_path: Path) -> None:
    """Nobody's token, and somebody's that may not write: 'hf auth login'."""
    mirror.repositories["atelier/mine"] = Repository(private=True)
    with pytest.raises(WeightsError, match="hf auth login"):
        push(_model(tmp_path / "mine"), "atelier/mine", private=False)


@pytest.mark.usefixtures("login")
def test_card_that_the_hub_refuses_is_a_sentence(mirror: HubMirror, tmp_path: Path) -> None:
    """Front matter that is no YAML."""
    folder = _model(tmp_path / "mine", card="---\nbroken: [\n---\n# Mine\n")
    with pytest.raises(WeightsError, match=r"mend README\.md"):
        push(folder, "atelier/mine", private=False)
    assert not mirror.uploads


@pytest.mark.usefixtures("login")
def test_push_to_a_hub_that_is_down_is_a_sentence(mirror: HubMirror, tmp_path: Path) -> None:
    """No server at all."""
    mirror.stop()
    with pytest.raises(WeightsError, match="could not be reached"):
        push(_model(tmp_path / "mine"), "atelier/mine", private=False)


@pytest.mark.usefixtures("login")
def test_commands_push_and_pull(
    mirror: HubMirror, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name out of the models folder; then pulled by what the command said, listed, verified and found."""
    _model(models / "mine")
    where = ["--models", str(models)]
    assert main(["push", "mine", "atelier/mine", *where]) == 0
    reference = capsys.readouterr().out.split("pull ")[-1].strip().strip("'")
    assert main(["pull", reference, *where]) == 0
    assert main(["list", *where]) == 0 and "atelier--mine: 7.0 MB, yours" in capsys.readouterr().out
    assert main(["verify", *where]) == 0 and capsys.readouterr().out.count("as they should be") == 3
    assert main(["where", "atelier--mine", *where]) == 0
    assert capsys.readouterr().out.strip() == str(models / "atelier--mine" / DECODER)
    assert main(["where", *where]) == 0 and str(tmp_path / "cache") in capsys.readouterr().out
    mirror.stop()
    assert main(["pull", "hf://atelier/other", *where]) == 1
    said = capsys.readouterr().err
    assert said.startswith("adain-weights: ") and said.count("\n") == 1
