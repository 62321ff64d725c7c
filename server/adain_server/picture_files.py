"""Pictures in files, for adain-stylize: opened carefully, brought to what the wire takes, written whole."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from adain_client.jobs import Pixels
from adain_server.config import DEFAULT_MAX_PIXELS
from adain_weights.style_pictures import reduced

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is opened; a format outside this list is refused before its decoder runs."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm"})
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp"})
Image.MAX_IMAGE_PIXELS = DEFAULT_MAX_PIXELS
"""Pillow warns above this, and the warning is an error below: no file unpacks to more than a server takes."""


class PictureError(Exception):
    """A file cannot be read or written as a picture; the message is one sentence."""


def open_picture(path: Path) -> Image.Image:
    """A picture, turned as its camera says. Raises PictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                picture = ImageOps.exif_transpose(opened)
                picture.load()
                return picture
    except FileNotFoundError:
        raise PictureError(f"There is no file {path}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"{path} has more pixels than can be opened safely.") from None
    except (OSError, ValueError, SyntaxError):
        raise PictureError(f"{path} is not a picture that can be read.") from None


def content_pixels(picture: Image.Image) -> Pixels:
    """A picture for the wire: gray stays gray, 16 bit and float stay as they are, the rest is RGB or RGBA."""
    if picture.mode in {"I", "I;16B", "I;16L", "I;16"}:
        values = np.asarray(picture, dtype=np.int64).clip(0, 65535).astype("<u2")
        return Pixels(values.tobytes(), picture.height, picture.width, "Y", "u16")
    if picture.mode == "F":
        return Pixels(np.asarray(picture, dtype="<f4").tobytes(), picture.height, picture.width, "Y", "f32")
    if picture.has_transparency_data:
        picture = picture.convert("LA" if picture.mode in {"L", "LA"} else "RGBA")
    else:
        picture = picture.convert("L" if picture.mode in {"1", "L"} else "RGB")
    layout = picture.mode.replace("L", "Y")
    return Pixels(picture.tobytes(), picture.height, picture.width, layout)


def result_picture(pixels: Pixels) -> Image.Image:
    """The reverse of content_pixels()."""
    size = (pixels.width, pixels.height)
    if pixels.depth == "u16":
        return Image.frombytes("I;16", size, bytes(pixels.data))
    if pixels.depth == "f32":
        return Image.frombytes("F", size, bytes(pixels.data))
    return Image.frombytes(pixels.layout.replace("Y", "L"), size, bytes(pixels.data))


def mask_pixels(picture: Image.Image, size: tuple[int, int]) -> Pixels:
    """A mask for a content of this width and height."""
    mask = _eight_bit(picture).convert("L").resize(size, Image.Resampling.BILINEAR)
    return Pixels(mask.tobytes(), mask.height, mask.width, "Y")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """A 16-bit or float gray picture scaled to 8 bit, which Pillow itself would cut off; others as they are."""
    if picture.mode == "F":
        return Image.fromarray(np.rint(np.nan_to_num(np.asarray(picture)).clip(0, 1) * 255).astype(np.uint8))
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture, dtype=np.int64).clip(0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def style_picture(path: Path, *, crop: tuple[int, int, int, int] | None = None) -> Image.Image:
    """A style picture in RGB, of the size of a saved style's picture.

    Args:
        path: Its file.
        crop: Left, top, width and height in pixels of the part that is the style; None for all of it.
    Raises:
        PictureError: It cannot be read, or the crop is not inside it.
    """
    picture = _eight_bit(open_picture(path)).convert("RGB")
    if crop is not None:
        left, top, width, height = crop
        if min(width, height) < 1 or left + width > picture.width or top + height > picture.height:
            raise PictureError(f"The crop of {path} is not inside its {picture.width} x {picture.height} pixels.")
        picture = picture.crop((left, top, left + width, top + height))
    return reduced(picture)


def save_picture(picture: Image.Image, target: Path) -> None:
    """Write a picture beside its target and rename, so that a file is never half written. Raises PictureError."""
    if target.suffix.lower() in LOSSY_SUFFIXES | {".bmp", ".gif", ".ppm"} or (
        picture.mode == "F" and target.suffix.lower() not in {".tif", ".tiff"}
    ):
        picture = _eight_bit(picture)
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
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise PictureError(f"{target} cannot be written: {error.strerror or error}.") from None
