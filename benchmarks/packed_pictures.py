"""Pictures for training in one small archive, for a machine that has no others."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adain_trainer.errors import TrainerError
from adain_trainer.heldout import choose_held_out
from adain_trainer.load import Pictures, load_pictures

KINDS = ("content", "style")
SIDE, QUALITY = 384, 85
"""Pixels of a packed picture's shorter side at most, and how well JPEG keeps it."""
ENTRY = 1024
"""Bytes that a file in an archive needs besides its own, at most."""
SHARES = 500
"""In so many parts a share of the pictures is counted."""


def pack_pictures(folder: Path, output: Path, limit: int) -> dict[str, int]:
    """Write an archive of pictures, taken evenly from content/ and style/ of a folder.

    What a run on the whole folder holds out is left out, so that a decoder that was trained on the archive can be
    measured on it.

    Args:
        limit: Bytes of the archive at most.
    Returns:
        How many pictures of each of KINDS there are in it.
    Raises:
        TrainerError: There are no pictures, or next to none fits.
    """
    loaded = [load_pictures([folder / kind]) for kind in KINDS]
    held_out = choose_held_out(*loaded)
    chosen = _as_many_as_fit([_small_files(pictures, held_out) for pictures in loaded], limit)
    with tarfile.open(output, "w") as archive:
        for kind, files in zip(KINDS, chosen, strict=True):
            for index, file in enumerate(files):
                entry = tarfile.TarInfo(f"{kind}/{index:05}{file.suffix}")
                entry.size = len(file.data)
                archive.addfile(entry, io.BytesIO(file.data))
    return {kind: len(files) for kind, files in zip(KINDS, chosen, strict=True)}


def unpack_pictures(archive: Path, folder: Path) -> None:
    """Fill a folder with content/ and style/. Raises TrainerError for what is no archive."""
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    except tarfile.TarError:
        raise TrainerError(f"{archive} is not an archive of pictures; make one with 'gpu.py pack'.") from None


@dataclass(frozen=True)
class _File:
    """A picture's file: its ending, and what is in it."""

    suffix: str
    data: bytes


def _small_files(pictures: Pictures, held_out: set[str]) -> list[_File]:
    kept = [index for index, digest in enumerate(pictures.digests) if digest not in held_out]
    return [_small_file(pictures.pictures[index], pictures.paths[index]) for index in kept]


def _small_file(picture: Image.Image, path: Path) -> _File:
    """A picture's own file, or a small JPEG file of it where that needs less."""
    factor, file = min(1.0, SIDE / min(picture.size)), io.BytesIO()
    small = picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=QUALITY, optimize=True)
    return min(_File(path.suffix, path.read_bytes()), _File(".jpg", file.getvalue()), key=lambda each: len(each.data))


def _as_many_as_fit(kinds: Sequence[Sequence[_File]], limit: int) -> list[list[_File]]:
    """The same share of each kind, taken evenly, as large as the limit allows."""
    for share in range(SHARES, 0, -1):
        chosen = [_evenly(files, -(-len(files) * share // SHARES)) for files in kinds]
        if sum(len(file.data) + ENTRY for files in chosen for file in files) + tarfile.RECORDSIZE <= limit:
            return chosen
    raise TrainerError("Next to no picture fits; allow more by --megabytes.")


def _evenly(files: Sequence[_File], count: int) -> list[_File]:
    return [files[index * len(files) // count] for index in range(count)]
