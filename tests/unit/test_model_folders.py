"""Models of the user's own: the catalogue, folders that are whole or not there, and the commands that make them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adain_net.layout import decoder_to_public, encoder_to_public, load_network
from adain_net.network import AdainNetwork
from adain_weights.architecture import check_weights
from adain_weights.catalog import (
    ABOUT,
    CARD,
    DECODER,
    ENCODER,
    AboutModel,
    about_bytes,
    is_model_name,
    known_models,
    parse_about,
    read_about,
    user_models_folder,
)
from adain_weights.cli import main
from adain_weights.digest import sha256_of_file
from adain_weights.errors import WeightsError
from adain_weights.manifest import DEFAULT_MODEL, EMBEDDED, read_manifest
from adain_weights.models import load_model, safetensors_bytes, write_model

MINE = AboutModel("Mine", "soft strokes", "MIT", "made here", {"style": 0.5, "content": 1}, {})


@pytest.fixture(scope="module")
def decoder() -> dict[str, torch.Tensor]:
    """The embedded decoder."""
    return load_model(DEFAULT_MODEL).decoder


def _names(folder: Path) -> list[str]:
    return [model.name for model in known_models(folder) if model.own]


@pytest.mark.parametrize("name", ["a", "Mine-2.1_b", "atelier--made-up@v1", "9", "a" * 128])
def test_names_of_models(name: str) -> None:
    """Letters, digits and a few signs."""
    assert is_model_name(name)


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "../a", "/a", "a\0", "a b", "a\n", "ä", "-a", "@a", "C:a", "a" * 129],
)
def test_paths_are_no_names(name: str) -> None:
    """Nothing that could lead out of the models folder, whatever the platform."""
    assert not is_model_name(name)


def test_models_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_DATA_HOME where there is one, and not a relative one."""
    if sys.platform in ("win32", "darwin"):
        pytest.skip("XDG_DATA_HOME is for Linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_models_folder() == tmp_path / "adain-style" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert user_models_folder() == Path.home() / ".local" / "share" / "adain-style" / "models"


def test_written_model_is_known_and_loaded(tmp_path: Path, decoder: dict[str, torch.Tensor]) -> None:
    """By its name, with what it says about itself, its card and its digest; the embedded models come first."""
    digest = write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n")
    embedded, own = known_models(tmp_path)
    assert (embedded.name, embedded.own) == (DEFAULT_MODEL, False) and embedded.licence and embedded.title
    assert (own.name, own.title, own.licence, own.origin, own.own) == ("mine", "Mine", "MIT", "made here", True)
    assert (tmp_path / "mine" / CARD).read_text() == "# Mine\n"
    assert digest == sha256_of_file(tmp_path / "mine" / DECODER)
    assert read_about(tmp_path / "mine") == replace(MINE, files={DECODER: digest})
    weights = load_model("mine", tmp_path)
    assert weights.name == "mine" and weights.encoder_digest == read_manifest()[DEFAULT_MODEL].encoder.sha256
    assert torch.equal(weights.decoder["conv3_2.weight"], decoder["conv3_2.weight"])


def test_model_is_written_again_as_a_whole(tmp_path: Path, decoder: dict[str, torch.Tensor]) -> None:
    """An encoder that the new one has not is gone; so is everything that writing needed."""
    encoder = load_model(DEFAULT_MODEL).encoder
    write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n", encoder=encoder)
    assert load_model("mine", tmp_path).encoder_digest == sha256_of_file(tmp_path / "mine" / ENCODER)
    write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted([DECODER, CARD, ABOUT])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".new", ".old"))]


def test_folders_that_are_models_and_folders_that_are_not(tmp_path: Path) -> None:
    """A decoder and a usable name make a model, model.json or not; a missing folder has none."""
    for name in ("plain", "damaged", ".new-x", "with space", DEFAULT_MODEL):
        (tmp_path / name).mkdir()
        (tmp_path / name / DECODER).touch()
    (tmp_path / "damaged" / ABOUT).write_bytes(b'{"format": "adain-style model 1", "title": 5')
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / DECODER).symlink_to(tmp_path / "nowhere")
    assert _names(tmp_path) == ["damaged", "plain"]
    assert {model.title for model in known_models(tmp_path) if model.own} == {"damaged", "plain"}
    assert [model.name for model in known_models(tmp_path / "none")] == list(read_manifest())
    assert [model.name for model in known_models(tmp_path / "file")] == list(read_manifest())


@pytest.mark.fault(93)
@pytest.mark.parametrize("kind", ["flipped", "cut", "replaced"])
def test_changed_weights_are_refused(tmp_path: Path, decoder: dict[str, torch.Tensor], kind: str) -> None:
    """The sentence names the file and says what to do."""
    write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n")
    path = tmp_path / "mine" / DECODER
    data = path.read_bytes()
    other = safetensors_bytes({**decoder, "conv1_1.bias": torch.zeros(3)}, {})
    path.write_bytes({"flipped": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-1], "replaced": other}[kind])
    for model in ("mine", str(tmp_path / "mine")):
        with pytest.raises(WeightsError, match=r"decoder\.safetensors was changed or damaged; pull or export it again"):
            load_model(model, tmp_path)


@pytest.mark.fault(93)
def test_encoder_that_model_json_does_not_know_is_refused(tmp_path: Path, decoder: dict[str, torch.Tensor]) -> None:
    """Somebody put one beside the decoder, or took one away: the paint would be another."""
    write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n")
    (tmp_path / "mine" / ENCODER).write_bytes((EMBEDDED / "vgg19_relu4_1.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"encoder\.safetensors was changed"):
        load_model("mine", tmp_path)
    write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n", encoder=load_model(DEFAULT_MODEL).encoder)
    (tmp_path / "mine" / ENCODER).unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_model("mine", tmp_path)


@pytest.mark.fault(83)
def test_writer_that_died_between_two_renames_loses_nothing(tmp_path: Path, decoder: dict[str, torch.Tensor]) -> None:
    """The old model was put aside, the new one is not there yet: the old one is found; the next write tidies up."""
    write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n")
    (tmp_path / "mine").rename(tmp_path / ".old-mine")
    (tmp_path / ".new-mine").mkdir()
    (tmp_path / ".new-mine" / DECODER).write_bytes(b"half")
    assert _names(tmp_path) == ["mine"] and load_model("mine", tmp_path).name == "mine"
    write_model(tmp_path / "mine", decoder, about=replace(MINE, title="New"), card="# Mine\n")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock-mine"] == ["mine"]
    assert known_models(tmp_path)[-1].title == "New"


@pytest.mark.parametrize("name", ["picture.jpg", ".git"])
def test_folder_with_other_files_is_not_replaced(tmp_path: Path, decoder: dict[str, torch.Tensor], name: str) -> None:
    """Somebody names the wrong folder: it stays as it is. An empty one is taken."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_model(folder, decoder, about=MINE, card="# Mine\n")
    (folder / name).write_bytes(b"precious")
    (folder / ".DS_Store").touch()
    with pytest.raises(WeightsError, match="choose another"):
        write_model(folder, decoder, about=replace(MINE, title="New"), card="# New\n")
    assert (folder / name).read_bytes() == b"precious" and known_models(tmp_path)[-1].title == "Mine"
    (folder / name).unlink()
    write_model(folder, decoder, about=replace(MINE, title="New"), card="# New\n")
    assert known_models(tmp_path)[-1].title == "New"


_GOOD = json.loads(about_bytes(MINE))


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"title": 5},
            {"title": "two\nlines"},
            {"title": "a" * 257},
            {"commit": "main"},
            {"figures": {"style": "low"}},
        ),
        *({"figures": {"style": float("nan")}}, {"figures": {"style": 10**400}}, {"figures": {"style": True}}),
        *({"figures": [1]}, {"files": {DECODER: "0"}}, {"files": {"../x": "0" * 64}}, {"files": {DECODER: 5}}),
        *({"extra": 1}, {"format": "adain-style model 2"}, {"repository": None}, {"licence": "\ud800"}),
    ],
    ids=str,
)
def test_wrong_model_json_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    """Each field's type, length and range; read_about() says None, and parse_about() says why."""
    data = json.dumps({**_GOOD, **change}).encode()
    with pytest.raises(WeightsError, match=r"model\.json cannot be used because"):
        parse_about(data)
    (tmp_path / ABOUT).write_bytes(data)
    assert read_about(tmp_path) is None


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"\xff", b"[" * 60_000, b" " * 70_000, b"{}"], ids=lambda data: str(data[:4])
)
def test_damaged_model_json_is_none(data: bytes) -> None:
    """Whatever the bytes are."""
    with pytest.raises(WeightsError, match=r"model\.json cannot be used because"):
        parse_about(data)


def test_model_json_comes_back_as_it_was() -> None:
    """And the same model always gives the same bytes."""
    about = replace(MINE, files={DECODER: "0" * 64}, repository="atelier/mine", commit="1" * 40)
    assert parse_about(about_bytes(about)) == about


def test_catalogue_needs_no_torch() -> None:
    """The server's I/O process reads it on requests."""
    program = (
        "import adain_weights.catalog, sys; sys.exit(bool({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("public", [True, False], ids=["public", "own"])
def test_both_layouts_pass_the_check(network: AdainNetwork, role: str, public: bool) -> None:
    """As adain_net writes them; a public encoder may go on beyond relu4_1. One more or one less does not pass."""
    module = network.encoder if role == "encoder" else network.decoder
    state = dict(module.state_dict())
    if public:
        state = encoder_to_public(network.encoder) if role == "encoder" else decoder_to_public(network.decoder)
    assert check_weights(role, safetensors_bytes(state, {}), "it") == sum(t.numel() for t in state.values())
    used = next(name for name in state if not public or int(name.split(".")[0]) > 0)
    for wrong in ({**state, "99.weight": torch.zeros(1)}, {n: t for n, t in state.items() if n != used}):
        with pytest.raises(WeightsError, match=f"it is not an AdaIN {role}"):
            check_weights(role, safetensors_bytes(wrong, {}), "it")
    other = "decoder" if role == "encoder" else "encoder"
    with pytest.raises(WeightsError, match=f"not an AdaIN {other}"):
        check_weights(other, safetensors_bytes(state, {}), "it")


@pytest.mark.fault(95)
def test_public_pair_is_converted_into_the_models_folder(
    network: AdainNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under a name; it is listed, verified, found and loaded; names that are taken or no names are refused."""
    torch.save(encoder_to_public(network.encoder), tmp_path / "vgg_normalised.pth")
    torch.save(decoder_to_public(network.decoder), tmp_path / "decoder.pth")
    pair = [str(tmp_path / name) for name in ("vgg_normalised.pth", "decoder.pth")]
    where = ["--models", str(tmp_path / "models")]
    assert main(["convert", *pair, "--name", "converted", *where]) == 0
    weights = load_model("converted", tmp_path / "models")
    assert (tmp_path / "models" / "converted" / ENCODER).stat().st_size < 15_000_000  # without what is never used
    load_network(weights.encoder, weights.decoder)
    assert main(["list", *where]) == 0
    assert "converted: 28.0 MB, yours; converted from vgg_normalised.pth" in capsys.readouterr().out
    assert main(["verify", "converted", *where]) == 0 and "7,010,959 numbers" in capsys.readouterr().out
    assert main(["where", "converted", *where]) == 0 and DECODER in capsys.readouterr().out
    for name in (DEFAULT_MODEL, "../x", ".x"):
        assert main(["convert", *pair, "--name", name, *where]) == 1
        assert "A model cannot be called" in capsys.readouterr().err


def _with(state: dict[str, torch.Tensor], name: str, tensor: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """A pair's file with another tensor of this name, or without it."""
    kept = {other: old for other, old in state.items() if other != name}
    return kept if tensor is None else {**kept, name: tensor}


_NOT_A_PAIR: dict[str, tuple[str, str, torch.Tensor | None, str]] = {
    "missing": ("decoder.pth", "28.bias", None, "decoder.pth is not an AdaIN decoder"),
    "other-name": ("decoder.pth", "extra", torch.zeros(3), "decoder.pth is not an AdaIN decoder"),
    "other-shape": ("decoder.pth", "28.bias", torch.zeros(4), "decoder.pth is not an AdaIN decoder"),
    "encoder-of-another-shape": ("vgg_normalised.pth", "2.bias", torch.zeros(4), "pth is not an AdaIN encoder"),
    "not-finite": ("decoder.pth", "28.bias", torch.full((3,), torch.nan), "decoder.pth: 28.bias holds numbers that"),
    "whole-numbers": ("decoder.pth", "28.bias", torch.zeros(3, dtype=torch.int64), "28.bias holds int64 instead"),
    "sparse": ("decoder.pth", "28.bias", torch.zeros(3).to_sparse(), "decoder.pth is damaged, or holds more than"),
}


@pytest.mark.fault(94)
@pytest.mark.parametrize("kind", _NOT_A_PAIR)
def test_what_is_no_pair_is_not_converted(
    network: AdainNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Names, shapes and numbers of both are checked before either is written, under a name or in a folder."""
    states = {
        "vgg_normalised.pth": encoder_to_public(network.encoder),
        "decoder.pth": decoder_to_public(network.decoder),
    }
    file, name, tensor, words = _NOT_A_PAIR[kind]
    states[file] = _with(states[file], name, tensor)
    for name, state in states.items():
        torch.save(state, tmp_path / name)
    pair = [str(tmp_path / name) for name in states]
    for target in (["-o", str(tmp_path / "out")], ["--name", "mine", "--models", str(tmp_path / "out")]):
        assert main(["convert", *pair, *target]) == 1
        said = capsys.readouterr()
        assert words in said.err and said.err.count("\n") == 1 and not said.out
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "../x", DEFAULT_MODEL])
def test_name_that_cannot_be_is_refused_before_files_are_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """There are none here."""
    assert main(["convert", "no.pth", "none.pth", "--name", name]) == 1
    assert capsys.readouterr().err.startswith(f"adain-weights: A model cannot be called '{name}'; ")


def test_tensors_that_cannot_be_stored_are_a_sentence() -> None:
    """Two names for one tensor's memory, and a sparse one."""
    tensor = torch.zeros(3)
    for tensors in ({"a": tensor, "b": tensor}, {"a": tensor.to_sparse()}):
        with pytest.raises(WeightsError, match=r"^The tensors cannot be stored; "):
            safetensors_bytes(tensors, {})


def test_swapped_pair_is_named(network: AdainNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which file is which."""
    torch.save(encoder_to_public(network.encoder), tmp_path / "vgg.pth")
    torch.save(decoder_to_public(network.decoder), tmp_path / "dec.pth")
    pair = [str(tmp_path / name) for name in ("dec.pth", "vgg.pth")]
    assert main(["convert", *pair, "-o", str(tmp_path / "out")]) == 1 and not (tmp_path / "out").exists()
    sentence = f"{pair[0]} is the decoder and {pair[1]} the encoder; name them the other way round."
    assert capsys.readouterr().err == f"adain-weights: {sentence}\n"


def test_verify_finds_what_loading_would_not(
    tmp_path: Path, decoder: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers that are not finite, in a model that has its digests; a folder and a file are verified, too."""
    write_model(tmp_path / "mine", decoder, about=MINE, card="# Mine\n")
    assert main(["verify", str(tmp_path / "mine"), str(tmp_path / "mine" / DECODER)]) == 0
    bad = {**decoder, "conv1_1.bias": torch.full((3,), float("nan"))}
    write_model(tmp_path / "mine", bad, about=MINE, card="# Mine\n")
    assert main(["verify", "--models", str(tmp_path)]) == 1
    assert "conv1_1.bias holds numbers that are not finite" in capsys.readouterr().err
    assert main(["verify", "no-such", "--models", str(tmp_path)]) == 1
    assert "adain-weights list" in capsys.readouterr().err
