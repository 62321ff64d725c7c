"""Pictures from folders: every kind brought to RGB; what cannot be used is left out, counted, and said in one line."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from adain_trainer.errors import TrainerError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
STORED_SIDE = 768
"""Pictures are held in memory no larger than this; crops are taken at work_side and below."""
SMALLEST_SIDE = 8
"""Pixels of the shorter side below which a picture is left out: as much as one feature cell."""


@dataclass
class Pictures:
    """What folders hold.

    Attributes:
        pictures: RGB, no larger than STORED_SIDE.
        digests: SHA-256 of each one's size and pixels: what tells them apart, wherever they lie.
        left_out: Files that are not used, by reason.
    """

    pictures: list[Image.Image] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def leave_out(self, reason: str, path: Path) -> None:
        """Count a file that is not used."""
        self.left_out.setdefault(reason, []).append(path)

    def summary(self, what: str) -> str:
        """One line: how many pictures there are, and how many were left out, why, and the first of each kind."""
        parts = [f"{len(paths)} {reason} ({_and_more(paths)})" for reason, paths in self.left_out.items()]
        return f"{len(self.pictures)} {what} pictures{'; left out: ' if parts else ''}{', '.join(parts)}."


def _and_more(paths: Sequence[Path]) -> str:
    return f"{paths[0]}{' and others' if len(paths) > 1 else ''}"


def picture_paths(folders: Sequence[Path]) -> list[Path]:
    """Every picture file below the folders, in a fixed order; a folder that is given twice counts twice.

    Raises:
        TrainerError: A folder does not exist, or there is no picture in any of them.
    """
    paths = []
    for folder in folders:
        if not folder.is_dir():
            raise TrainerError(f"There is no folder {folder}.")
        paths += sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise TrainerError(f"There is no picture in {', '.join(map(str, folders))}.")
    return paths


def load_pictures(folders: Sequence[Path], *, smallest: int = SMALLEST_SIDE) -> Pictures:
    """Open every picture of the folders.

    A folder that is given twice counts twice; otherwise a picture counts once, whatever its files are called.

    Args:
        smallest: Pixels that the shorter side has at least.
    Raises:
        TrainerError: No folder, or nothing usable in it.
    """
    found = Pictures()
    known: dict[str, Path] = {}
    for path in picture_paths(folders):
        try:
            picture = open_rgb(path)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            found.leave_out("too large", path)
            continue
        except Exception:
            # Pillow's readers let almost any error out of a damaged file.
            found.leave_out("unreadable", path)
            continue
        if min(picture.size) < smallest:
            found.leave_out("too small", path)
            continue
        picture.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.LANCZOS)
        digest = picture_digest(picture)
        if known.setdefault(digest, path) != path:
            found.leave_out("found twice", path)
            continue
        found.pictures.append(picture)
        found.digests.append(digest)
    if not found.pictures:
        raise TrainerError(
            f"None of the pictures in {', '.join(map(str, folders))} can be used: {found.summary('usable')}"
        )
    return found


def open_rgb(path: Path) -> Image.Image:
    """A picture file as 8-bit RGB, turned upright; a large JPEG file is read at a part of its size.

    Raises:
        Image.DecompressionBombError, Image.DecompressionBombWarning: More pixels than Pillow thinks safe.
        Exception: Whatever Pillow makes of a damaged file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that nobody here reads
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as opened:
            opened.draft("RGB", (STORED_SIDE, STORED_SIDE))
            upright = ImageOps.exif_transpose(opened)
            return _to_8_bit(upright) if upright.mode.startswith(("I", "F")) else upright.convert("RGB")


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """A deep gray picture scaled, where Pillow would cut it off: 16 bit from 0..65535, floats from 0..1.

    Raises:
        ValueError: Numbers beyond that; nobody can say what is white.
    """
    values = np.asarray(picture).astype(np.float64)
    white = 1.0 if picture.mode.startswith("F") else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > white:
        raise ValueError("values beyond what is known to be white")
    return Image.fromarray((values * (255 / white)).round().astype(np.uint8)).convert("RGB")


def picture_digest(picture: Image.Image) -> str:
    """SHA-256 of an RGB picture's size and pixels, in hexadecimal."""
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
