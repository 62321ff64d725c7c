"""Pictures in files, for adain-stylize: opened carefully, brought to what the wire takes, written whole."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from adain_client.jobs import Pixels
from adain_server.config import DEFAULT_MAX_PIXELS

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is opened; a format outside this list is refused before its decoder runs."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm"})
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp"})
Image.MAX_IMAGE_PIXELS = DEFAULT_MAX_PIXELS
"""Pillow warns above this, and the warning is an error below: no file unpacks to more than a server takes."""
STYLE_SIDE = 512
"""Pixels of a style's shorter side; the size decides how broad the strokes are."""


class PictureError(Exception):
    """A file cannot be read or written as a picture; the message is one sentence."""


def open_picture(path: Path) -> Image.Image:
    """A picture of at most 8 bit, turned as its camera says. Raises PictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                return ImageOps.exif_transpose(_eight_bit(opened))
    except FileNotFoundError:
        raise PictureError(f"There is no file {path}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"{path} has more pixels than can be opened safely.") from None
    except (OSError, ValueError, SyntaxError):
        raise PictureError(f"{path} is not a picture that can be read.") from None


def _eight_bit(picture: Image.Image) -> Image.Image:
    """A 16-bit gray picture scaled to 8 bit, which Pillow's own conversion would cut off; any other as it is."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture, dtype=np.int64).clip(0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def style_pixels(path: Path) -> Pixels:
    """A style picture for the wire, its shorter side at most STYLE_SIDE. Raises PictureError."""
    picture = open_picture(path).convert("RGB")
    scale = STYLE_SIDE / min(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return to_pixels(picture)


def to_pixels(picture: Image.Image) -> Pixels:
    """A picture of mode RGB, RGBA or L for the wire."""
    return Pixels(picture.tobytes(), picture.height, picture.width, len(picture.getbands()))


def save_picture(picture: Image.Image, target: Path) -> None:
    """Write a picture beside its target and rename, so that a file is never half written. Raises PictureError."""
    if target.suffix.lower() in {".jpg", ".jpeg", ".bmp", ".ppm"}:
        picture = picture.convert("RGB")
    temporary = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        if target.suffix.lower() in LOSSY_SUFFIXES:
            picture.save(temporary, quality=95)
        else:
            picture.save(temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PictureError(f"{target} cannot be written: {error.strerror or error}.") from None
