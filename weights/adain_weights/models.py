"""Finds a model's weights by name, or in a folder or a file of the user's own; checks, reads and writes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from adain_weights.catalog import DECODER, ENCODER, AboutModel, is_model_name, known_models, user_models_folder
from adain_weights.digest import sha256_of_bytes
from adain_weights.errors import WeightsError
from adain_weights.files import folder_or_put_aside, write_whole
from adain_weights.manifest import DEFAULT_MODEL, EMBEDDED, ModelFile, read_downloads, read_manifest, read_refinement
from adain_weights.model_files import manifest_bytes, read_bytes, read_model_files, write_model_files

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelWeights:
    """A model's tensors, as they are in its files; adain_net checks whether they fit the network."""

    name: str
    encoder: dict[str, Tensor]
    encoder_digest: str
    """SHA-256 of the encoder's file, to which saved styles' statistics belong."""
    decoder: dict[str, Tensor]


def load_model(model: str, models_folder: Path | None = None) -> ModelWeights:
    """Read a model's encoder and decoder.

    Args:
        model: A name on the manifest, whose files must have their digests; or the name of a folder in models_folder;
            or the path of a folder with encoder.safetensors and decoder.safetensors, or with the latter only; or a
            decoder's file. The embedded encoder fills a gap. Where model.json has digests, the files must have them.
        models_folder: The user's; default user_models_folder().
    Raises:
        WeightsError: There is no such model, or a file is missing, damaged or not what its digest says.
    """
    manifest = read_manifest()
    if model in manifest:
        entry = manifest[model]
        encoder = load_manifest_file(entry.encoder)
        return ModelWeights(model, encoder, entry.encoder.sha256, load_manifest_file(entry.decoder))
    models_folder = models_folder or user_models_folder()
    if is_model_name(model):
        place = folder_or_put_aside(models_folder / model)
        if place.is_dir():
            return _load_folder(model, place)
    path = Path(model)
    if path.is_dir():
        return _load_folder(path.resolve().name, path)
    if path.is_file():
        embedded = manifest[DEFAULT_MODEL].encoder
        return ModelWeights(path.stem, load_manifest_file(embedded), embedded.sha256, read_safetensors(path))
    if model in read_downloads():
        raise WeightsError(f"The model '{model}' is not on this machine; fetch it with 'adain-weights pull {model}'.")
    names = ", ".join(known.name for known in known_models(models_folder))
    raise WeightsError(f"There is no model, folder or file '{model}'; known models: {names}.")


@dataclass(frozen=True)
class RefinementWeights:
    """The refinement's tensors: the embedded encoder, and a decoder of its own."""

    encoder: dict[str, Tensor]
    encoder_digest: str
    decoder: dict[str, Tensor]


def load_refinement_weights() -> RefinementWeights:
    """The refinement that comes with the project, checked. Raises WeightsError."""
    encoder = read_manifest()[DEFAULT_MODEL].encoder
    return RefinementWeights(load_manifest_file(encoder), encoder.sha256, load_manifest_file(read_refinement()))


def load_embedded_encoder() -> dict[str, Tensor]:
    """The encoder that comes with the project, checked. Raises WeightsError."""
    return load_manifest_file(read_manifest()[DEFAULT_MODEL].encoder)


def load_manifest_file(file: ModelFile) -> dict[str, Tensor]:
    """Read an embedded weights file whose digest must match. Raises WeightsError."""
    return parse_safetensors(EMBEDDED / file.path, manifest_bytes(file))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file of the user's own.

    Raises:
        WeightsError: Missing, too large, damaged, or another format; pickled files are never opened here.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path} is not a .safetensors file; 'adain-weights convert' makes one from a .pth file.")
    return parse_safetensors(path, read_bytes(path))


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]) -> str:
    """Write tensors beside the target and rename; returns the file's digest. Raises WeightsError."""
    data = safetensors_bytes(tensors, metadata)
    write_whole(path, data)
    return sha256_of_bytes(data)


def write_model(
    folder: Path,
    decoder: Mapping[str, Tensor],
    *,
    about: AboutModel,
    card: str,
    encoder: Mapping[str, Tensor] | None = None,
) -> str:
    """Write a model's folder so that it appears whole; one that was there is replaced as a whole.

    Args:
        decoder, encoder: In a layout that adain_net knows; without an encoder the embedded one is used.
        about: What model.json says; its files' digests are filled in here.
        card: The model card in Markdown, which may begin with YAML front matter.
    Returns:
        The decoder file's digest.
    Raises:
        WeightsError: The folder cannot be written, or holds other files, which would be lost.
    """
    weights = {DECODER: decoder} | ({ENCODER: encoder} if encoder is not None else {})
    files = {name: safetensors_bytes(tensors, {"licence": about.licence}) for name, tensors in weights.items()}
    return write_model_files(folder, files, about=about, card=card.encode())


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file. Raises WeightsError: it holds no such tensors (sparse, quantised, shared)."""
    try:
        return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=dict(metadata))
    except Exception:  # torch and the library raise anything about tensors of another kind
        _log.debug("tensors cannot be stored", exc_info=True)
        raise WeightsError(
            "The tensors cannot be stored; a model has dense ones of half to double precision."
        ) from None


def parse_safetensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """The tensors of a file that has been read. Raises WeightsError, which names it."""
    try:
        tensors: dict[str, Tensor] = load(data)
    except Exception:  # beside its own error, the library lets through what Python says to unknown kinds of numbers
        _log.debug("%s is damaged", path, exc_info=True)
        raise WeightsError(f"{path} is damaged or not a safetensors file.") from None
    return tensors


def _load_folder(name: str, folder: Path) -> ModelWeights:
    files = read_model_files(folder)
    decoder = parse_safetensors(folder / DECODER, files[DECODER])
    if data := files.get(ENCODER):
        return ModelWeights(name, parse_safetensors(folder / ENCODER, data), sha256_of_bytes(data), decoder)
    embedded = read_manifest()[DEFAULT_MODEL].encoder
    return ModelWeights(name, load_manifest_file(embedded), embedded.sha256, decoder)
