"""A user's pictures, brought to what the wire takes and back, and written whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from PIL import Image

from adain_client.jobs import Pixels
from adain_weights.picture_files import PictureError, eight_bit

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp"})


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
    mask = eight_bit(picture).convert("L").resize(size, Image.Resampling.BILINEAR)
    return Pixels(mask.tobytes(), mask.height, mask.width, "Y")


def save_picture(picture: Image.Image, target: Path) -> None:
    """Write a picture beside its target and rename, so that a file is never half written. Raises PictureError."""
    if target.suffix.lower() in LOSSY_SUFFIXES | {".bmp", ".gif", ".ppm"} or (
        picture.mode == "F" and target.suffix.lower() not in {".tif", ".tiff"}
    ):
        picture = eight_bit(picture)
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
