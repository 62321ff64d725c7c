"""A picture's samples as numbers, whatever mode Pillow opened it in, without losing transparency.

An array of samples is (height, width, channels): 1 = gray, 2 = gray and alpha, 3 = RGB, 4 = RGBA, alpha unassociated;
uint8 and uint16 up to their maximum, or float32 with 1 for white.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[Any]


def samples_of(picture: Image.Image) -> Samples:
    """A loaded picture's samples: gray, 16 bit and float are kept, everything else becomes 8-bit RGB.

    A transparent palette entry or colour becomes an alpha channel.

    Args:
        picture: In any mode; CMYK, LAB, HSV and YCbCr are converted to RGB without a profile.
    """
    if picture.mode == "F":
        return np.array(picture, dtype=np.float32)[:, :, None]
    if picture.mode.startswith("I"):
        return _gray_of_16_bit(picture)
    has_alpha = picture.has_transparency_data or picture.mode in {"La", "RGBa"}
    is_gray = picture.mode in {"1", "L", "LA", "La"}
    mode = ("L" if is_gray else "RGB") + ("A" if has_alpha else "")
    values = np.array(picture.convert(mode))
    return values.reshape(picture.height, picture.width, -1)


def _gray_of_16_bit(picture: Image.Image) -> Samples:
    values = np.asarray(picture, dtype=np.int64).clip(0, 65535).astype(np.uint16)[:, :, None]
    transparent = picture.info.get("transparency")
    return values if transparent is None else with_transparent_colour(values, (int(transparent),))


def with_transparent_colour(samples: Samples, colour: tuple[int, ...]) -> Samples:
    """Add alpha to samples without it: 0 where a pixel has exactly this colour, else opaque."""
    is_it = (samples == np.array(colour, dtype=np.int64)).all(axis=2, keepdims=True)
    alpha = np.where(is_it, 0, white_of(samples)).astype(samples.dtype)
    return np.concatenate([samples, alpha], axis=2)


def picture_of(samples: Samples) -> Image.Image:
    """8-bit samples as a picture in mode L, LA, RGB or RGBA; 16-bit gray in I;16 and float gray in F."""
    gray = samples[:, :, 0] if samples.shape[2] == 1 else samples
    return Image.fromarray(np.ascontiguousarray(gray))


def white_of(samples: Samples) -> int:
    """The value of white, and of opaque."""
    return 1 if samples.dtype.kind == "f" else int(np.iinfo(samples.dtype).max)


def has_alpha(samples: Samples) -> bool:
    """Whether the last channel is alpha."""
    return samples.shape[2] in {2, 4}


def is_transparent(samples: Samples) -> bool:
    """Whether any pixel is not opaque."""
    return has_alpha(samples) and bool((samples[:, :, -1] < white_of(samples)).any())


def colours_of(samples: Samples) -> Samples:
    """The channels except alpha."""
    return samples[:, :, :-1] if has_alpha(samples) else samples


def with_alpha_of(colours: Samples, samples: Samples) -> Samples:
    """Combine colours with the alpha of `samples`, if they have it."""
    return np.concatenate([colours, samples[:, :, -1:]], axis=2) if has_alpha(samples) else colours


def in_8_bit(samples: Samples) -> Samples:
    """Samples scaled to 8 bit, rounded to nearest."""
    if samples.dtype == np.uint16:
        samples = (samples.astype(np.uint32) + 128) // 257
    elif samples.dtype.kind == "f":
        samples = np.rint(np.nan_to_num(samples).clip(0, 1) * 255)
    return samples.astype(np.uint8, copy=False)


def on_white(samples: Samples) -> Samples:
    """8-bit samples as they look on white paper, without alpha."""
    if not has_alpha(samples):
        return samples
    alpha = samples[:, :, -1:].astype(np.float32) / 255
    return np.rint(255 + (samples[:, :, :-1].astype(np.float32) - 255) * alpha).astype(np.uint8)


def upright(samples: Samples, orientation: int) -> Samples:
    """Samples turned by EXIF's orientation, 1 to 8; any other number turns nothing."""
    if orientation in {5, 6, 7, 8}:
        samples = samples.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        samples = samples[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        samples = samples[::-1]
    return np.ascontiguousarray(samples)
