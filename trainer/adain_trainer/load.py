"""Pictures from folders, all converted to RGB; unusable files are left out, counted, and reported in one line."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image, ImageOps

from adain_trainer.errors import TrainerError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
STORED_SIDE = 768
"""Most pixels of a picture's longer side, as it is used; crops are taken at reference_side and below."""
SMALLEST_SIDE = 8
"""Pixels of the shorter side below which a picture is left out: one feature cell."""
_WARNINGS = threading.Lock()
"""Held while a picture is read: the filter for warnings applies to all threads."""


class PictureCache:
    """Pictures in memory, as long as there is room: the first ones stay.

    Crops are taken from all pictures equally often, so evicting one for another gains nothing.
    """

    def __init__(self, budget: int) -> None:
        """budget: Most bytes of pixels to keep, three per pixel; 0 keeps nothing."""
        self._budget = budget
        self._kept: dict[str, tuple[tuple[int, int], bytes]] = {}
        self.used = 0

    def keep(self, digest: str, picture: Image.Image) -> None:
        """Keep an RGB picture if it fits and is not there yet."""
        size = 3 * picture.width * picture.height
        if digest not in self._kept and self.used + size <= self._budget:
            # Pillow's own memory for RGB has four bytes a pixel.
            self._kept[digest] = picture.size, picture.tobytes()
            self.used += size

    def get(self, digest: str) -> Image.Image | None:
        """A kept picture; None for others."""
        kept = self._kept.get(digest)
        return None if kept is None else Image.frombytes("RGB", *kept)


@dataclass(frozen=True)
class PictureFile:
    """A picture that is read when it is needed: the same pixels each time.

    Attributes:
        path: Its file.
        digest: picture_digest() of the picture when it was first read.
    """

    path: Path
    digest: str

    def read(self) -> Image.Image:
        """The picture. Raises TrainerError when the file has changed."""
        try:
            picture = read_picture(self.path)
        except Exception:
            # Pillow's readers let almost any error out of a damaged file.
            picture = None
        if picture is None or picture_digest(picture) != self.digest:
            raise TrainerError(f"The picture {self.path} was changed or removed; put it back, and start again.")
        return picture


class PictureFiles(Sequence[Image.Image]):
    """Pictures that are read from their files each time, except those that a cache keeps."""

    def __init__(self, files: Sequence[PictureFile], cache: PictureCache) -> None:
        self._files = files
        self._cache = cache

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> PictureFiles: ...
    def __getitem__(self, index: int | slice) -> Image.Image | PictureFiles:
        """A picture, RGB; or some of them, still in their files. Raises TrainerError as PictureFile.read()."""
        if isinstance(index, slice):
            return PictureFiles(self._files[index], self._cache)
        file = self._files[index]
        return self._cache.get(file.digest) or file.read()


class ChosenPictures(Sequence[Image.Image]):
    """Some pictures of a sequence, which are taken from it when they are needed."""

    def __init__(self, pictures: Sequence[Image.Image], indices: Sequence[int]) -> None:
        self._pictures = pictures
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> ChosenPictures: ...
    def __getitem__(self, index: int | slice) -> Image.Image | ChosenPictures:
        """A picture, or some of them."""
        if isinstance(index, slice):
            return ChosenPictures(self._pictures, self._indices[index])
        return self._pictures[self._indices[index]]


@dataclass
class Pictures:
    """The pictures in folders.

    Attributes:
        pictures: RGB, no larger than STORED_SIDE.
        digests: picture_digest() of each one, which identifies it wherever its file is.
        left_out: Files that are not used, by reason.
        paths: The file of each one, if they come from files.
    """

    pictures: Sequence[Image.Image]
    digests: Sequence[str]
    left_out: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    paths: Sequence[Path] = ()

    def summary(self, what: str) -> str:
        """One line: how many pictures there are, and how many were left out, why, and the first one for each reason."""
        return f"{len(self.pictures)} {what} pictures{_left_out(self.left_out)}."


def _left_out(left_out: Mapping[str, Sequence[Path]]) -> str:
    parts = [f"{len(paths)} {reason} ({_and_more(paths)})" for reason, paths in left_out.items()]
    return f"; left out: {', '.join(parts)}" if parts else ""


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


def load_pictures(
    folders: Sequence[Path], *, smallest: int = SMALLEST_SIDE, cache: PictureCache | None = None
) -> Pictures:
    """Read every picture of the folders; those that the cache does not keep are read again when they are needed.

    A folder that is given twice counts twice; otherwise a picture counts once, whatever its files are called.

    Args:
        smallest: Least pixels of the shorter side.
        cache: None keeps none.
    Raises:
        TrainerError: A folder does not exist, or no picture is usable.
    """
    cache = cache or PictureCache(0)
    files: list[PictureFile] = []
    left_out: dict[str, list[Path]] = {}
    known: dict[str, Path] = {}
    for path in picture_paths(folders):
        try:
            picture = _usable_picture(path, smallest)
            digest = picture_digest(picture)
            if known.setdefault(digest, path) != path:
                raise _LeftOutError("found twice")
        except _LeftOutError as reason:
            left_out.setdefault(str(reason), []).append(path)
            continue
        cache.keep(digest, picture)
        files.append(PictureFile(path, digest))
    if not files:
        raise TrainerError(f"None of the pictures in {', '.join(map(str, folders))} can be used{_left_out(left_out)}.")
    digests, paths = zip(*((file.digest, file.path) for file in files), strict=True)
    return Pictures(PictureFiles(files, cache), digests, left_out, paths)


class _LeftOutError(Exception):
    """A file is not used; the message is the reason in a word or two."""


def _usable_picture(path: Path, smallest: int) -> Image.Image:
    try:
        picture = read_picture(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _LeftOutError("too large") from None
    except Exception:
        # Pillow's readers let almost any error out of a damaged file.
        raise _LeftOutError("unreadable") from None
    if min(picture.size) < smallest:
        raise _LeftOutError("too small")
    return picture


def read_picture(path: Path) -> Image.Image:
    """A picture file by open_rgb(), no larger than STORED_SIDE. Raises as open_rgb()."""
    picture = open_rgb(path)
    picture.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.LANCZOS)
    return picture


def open_rgb(path: Path) -> Image.Image:
    """A picture file as 8-bit RGB, turned upright; a large JPEG file is read at a part of its size.

    Raises:
        Image.DecompressionBombError, Image.DecompressionBombWarning: More pixels than Pillow considers safe.
        Exception: Whatever Pillow raises for a damaged file.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that is not used
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as opened:
            opened.draft("RGB", (STORED_SIDE, STORED_SIDE))
            upright = ImageOps.exif_transpose(opened)
            return _to_8_bit(upright) if upright.mode.startswith(("I", "F")) else upright.convert("RGB")


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """Scale a deep gray picture, which Pillow would clip: 16 bit from 0..65535, floats from 0..1.

    Raises:
        ValueError: Values beyond that, for which white is unknown.
    """
    values = np.asarray(picture).astype(np.float64)
    white = 1.0 if picture.mode.startswith("F") else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > white:
        raise ValueError("values beyond what is known to be white")
    return Image.fromarray((values * (255 / white)).round().astype(np.uint8)).convert("RGB")


def picture_digest(picture: Image.Image) -> str:
    """SHA-256 of an RGB picture's size and pixels, in hexadecimal."""
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
