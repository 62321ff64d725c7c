"""A model's files as bytes: read with their digests checked, and written as a whole folder. No torch needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from adain_weights.catalog import ABOUT, CARD, DECODER, ENCODER, AboutModel, about_bytes, read_about
from adain_weights.digest import sha256_of_bytes
from adain_weights.errors import WeightsError
from adain_weights.files import write_folder
from adain_weights.manifest import EMBEDDED, ModelFile

LARGEST_FILE = 512 * 1024**2
"""No AdaIN encoder or decoder is nearly this large, in bytes."""


def read_bytes(path: Path) -> bytes:
    """Read a weights file. Raises WeightsError when it cannot be read or is larger than LARGEST_FILE."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise WeightsError(f"{path} is too large to be an AdaIN encoder or decoder.")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from None


def manifest_bytes(file: ModelFile) -> bytes:
    """The content of an embedded weights file, whose digest must match. Raises WeightsError."""
    path = EMBEDDED / file.path
    data = read_bytes(path)
    if sha256_of_bytes(data) != file.sha256:
        raise WeightsError(f"{path} is not the file that the manifest names; install adain-style again.")
    return data


def read_model_files(folder: Path) -> dict[str, bytes]:
    """A model folder's weights files by name: DECODER, and ENCODER if there is one.

    Raises:
        WeightsError: A file cannot be read, or its digest differs from that in model.json.
    """
    about = read_about(folder)
    digests = about.files if about else {}
    names = [DECODER, *([ENCODER] if ENCODER in digests or (folder / ENCODER).exists() else [])]
    files = {name: read_bytes(folder / name) for name in names}
    for name, data in files.items():
        if digests and sha256_of_bytes(data) != digests.get(name):
            raise WeightsError(f"{folder / name} was changed or damaged; pull or export it again.")
    return files


def write_model_files(folder: Path, weights: Mapping[str, bytes], *, about: AboutModel, card: bytes) -> str:
    """Write a model's folder atomically; an existing one is replaced as a whole.

    Args:
        weights: The weights files' contents by name: DECODER, and ENCODER when the model has its own.
        about: The content of model.json; the files' digests are filled in here.
        card: The model card.
    Returns:
        The decoder file's digest.
    Raises:
        WeightsError: The folder cannot be written, or holds other files, which would be lost.
    """
    digests = {name: sha256_of_bytes(data) for name, data in weights.items()}
    files = {**weights, CARD: card, ABOUT: about_bytes(replace(about, files=digests))}
    write_folder(folder, files, replaceable={DECODER, ENCODER, CARD, ABOUT})
    return digests[DECODER]
