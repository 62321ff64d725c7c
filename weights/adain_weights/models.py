"""Find a model's weights: a name on the manifest, or a folder or a file of the user's own; check them; read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from adain_weights.digest import sha256_of_bytes
from adain_weights.errors import WeightsError
from adain_weights.files import write_whole
from adain_weights.manifest import DEFAULT_MODEL, EMBEDDED, ModelFile, read_manifest

LARGEST_FILE = 512 * 1024**2
"""No AdaIN encoder or decoder is nearly this large, in bytes."""


@dataclass(frozen=True)
class ModelWeights:
    """A model's tensors, as its files have them; adain_net says whether they fit the network."""

    name: str
    encoder: dict[str, Tensor]
    encoder_digest: str
    """SHA-256 of the encoder's file: what saved styles' statistics belong to."""
    decoder: dict[str, Tensor]


def load_model(model: str) -> ModelWeights:
    """Read a model's encoder and decoder.

    Args:
        model: A name on the manifest, whose files must have their digests; or a folder with encoder.safetensors and
            decoder.safetensors, or with the latter only; or a decoder's file. The embedded encoder fills a gap.
    Raises:
        WeightsError: There is no such model, or a file is missing, damaged or not what the manifest says.
    """
    manifest = read_manifest()
    if model in manifest:
        entry = manifest[model]
        encoder = load_manifest_file(entry.encoder)
        return ModelWeights(model, encoder, entry.encoder.sha256, load_manifest_file(entry.decoder))
    embedded = manifest[DEFAULT_MODEL].encoder
    path = Path(model)
    if path.is_dir():
        own_encoder = path / "encoder.safetensors"
        if own_encoder.exists():
            data = _read(own_encoder)
            encoder, digest = _parse(own_encoder, data), sha256_of_bytes(data)
        else:
            encoder, digest = load_manifest_file(embedded), embedded.sha256
        return ModelWeights(path.resolve().name, encoder, digest, read_safetensors(path / "decoder.safetensors"))
    if path.is_file():
        return ModelWeights(path.stem, load_manifest_file(embedded), embedded.sha256, read_safetensors(path))
    raise WeightsError(f"There is no model, folder or file '{model}'; known models: {', '.join(manifest)}.")


def load_embedded_encoder() -> dict[str, Tensor]:
    """The encoder that comes with the project, checked. Raises WeightsError."""
    return load_manifest_file(read_manifest()[DEFAULT_MODEL].encoder)


def load_manifest_file(file: ModelFile) -> dict[str, Tensor]:
    """Read an embedded weights file whose digest must match. Raises WeightsError."""
    path = EMBEDDED / file.path
    data = _read(path)
    if sha256_of_bytes(data) != file.sha256:
        raise WeightsError(f"{path} is not the file that the manifest names; install adain-style again.")
    return _parse(path, data)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file of the user's own.

    Raises:
        WeightsError: Missing, too large, damaged, or another format; pickled files are never opened here.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path} is not a .safetensors file; 'adain-weights convert' makes one from a .pth file.")
    return _parse(path, _read(path))


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]) -> str:
    """Write tensors beside the target and rename; returns the file's digest. Raises WeightsError."""
    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=dict(metadata))
    write_whole(path, data)
    return sha256_of_bytes(data)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise WeightsError(f"{path} is too large to be an AdaIN encoder or decoder.")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from None


def _parse(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(data)
    except SafetensorError:
        raise WeightsError(f"{path} is damaged or not a safetensors file.") from None
    return tensors
