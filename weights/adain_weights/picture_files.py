"""Pictures in files: which formats are opened, and opening them carefully."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from adain_weights.limits import LARGEST_PICTURE
from adain_weights.style_pictures import reduced

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is opened; a format outside this list is refused before its decoder runs."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm"})
Image.MAX_IMAGE_PIXELS = LARGEST_PICTURE
"""Pillow warns above this, and the warning is an error below: no file unpacks to more than a server takes."""


class PictureError(Exception):
    """A file cannot be read or written as a picture; the message is one sentence."""


def open_picture(path: Path, *, least_side: int = 0) -> Image.Image:
    """A picture, turned as its camera says.

    Args:
        path: Its file.
        least_side: A JPEG may come smaller, with sides of at least so many pixels, which takes a fraction of the time;
            0 for its own size.
    Raises:
        PictureError: There is no such picture, or it is damaged or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                if least_side:
                    opened.draft(None, (least_side, least_side))
                picture = ImageOps.exif_transpose(opened)
                picture.load()
                return picture
    except FileNotFoundError:
        raise PictureError(f"There is no file {path}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"{path} has more pixels than can be opened safely.") from None
    except (OSError, ValueError, SyntaxError):
        raise PictureError(f"{path} is not a picture that can be read.") from None


def style_picture(path: Path, *, crop: tuple[int, int, int, int] | None = None) -> Image.Image:
    """A style picture in RGB, of the size of a saved style's picture.

    Args:
        path: Its file.
        crop: Left, top, width and height in pixels of the part that is the style; None for all of it.
    Raises:
        PictureError: It cannot be read, or the crop is not inside it.
    """
    picture = eight_bit(open_picture(path)).convert("RGB")
    if crop is not None:
        left, top, width, height = crop
        if min(width, height) < 1 or left + width > picture.width or top + height > picture.height:
            raise PictureError(f"The crop of {path} is not inside its {picture.width} x {picture.height} pixels.")
        picture = picture.crop((left, top, left + width, top + height))
    return reduced(picture)


def eight_bit(picture: Image.Image) -> Image.Image:
    """A 16-bit or float gray picture scaled to 8 bit, which Pillow itself would cut off; others as they are."""
    if picture.mode == "F":
        return Image.fromarray(np.rint(np.nan_to_num(np.asarray(picture)).clip(0, 1) * 255).astype(np.uint8))
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture, dtype=np.int64).clip(0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
