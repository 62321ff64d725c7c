"""Makes saved styles from pictures, and opens their pictures. Needs Pillow; the caller provides the statistics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from adain_weights.errors import WeightsError
from adain_weights.styles import LayerStatistics, SavedStyle, ShallowLayers

SHORTER_SIDE = 512
"""Most pixels of a style picture's shorter side; the size decides how broad the strokes are."""
LONGER_SIDE = 2048
"""Most pixels of its longer side: a long strip is reduced further, so that its file stays below LARGEST_STYLE."""
SWATCH_SIDE = 128
PICTURE_QUALITY = 70
SWATCH_QUALITY = 80


class Statistics(Protocol):
    """A picture's mean and deviation at a layer, float32, as numpy arrays or torch tensors on the CPU."""

    @property
    def mean(self) -> ArrayLike:
        """(1, channels)."""

    @property
    def std(self) -> ArrayLike:
        """(1, channels), above 0."""


MeasureStatistics = Callable[[NDArray[np.float32]], Iterable[Statistics]]
"""Measures a picture, (1, 3, height, width) float32, RGB in 0..1, at each of LAYERS, in their order."""


def make_style(
    picture: Image.Image,
    measure: MeasureStatistics,
    *,
    name: str,
    title: str,
    artist: str,
    origin: str,
    licence: str,
    encoder_digest: str,
) -> SavedStyle:
    """Save a picture as a style.

    The statistics are taken from the picture as stored in the file, so that they can be reproduced from it.

    Args:
        picture: Of any size; converted to RGB, which shows colours that transparency hid.
        measure: Measures a picture by the encoder of encoder_digest, in float32.
        name, title, artist, origin, licence, encoder_digest: As in SavedStyle.
    Raises:
        WeightsError: A text or the statistics are invalid in a saved style.
    """
    picture = picture.convert("RGB")
    kept = _jpeg(reduced(picture), PICTURE_QUALITY)
    values = picture_values(open_style_picture(kept))
    *shallow, relu4_1 = (
        LayerStatistics(np.asarray(layer.mean)[0], np.asarray(layer.std)[0])
        for layer in measure(values.transpose(2, 0, 1)[None])
    )
    return SavedStyle(
        name=name,
        title=title,
        artist=artist,
        origin=origin,
        licence=licence,
        encoder=encoder_digest,
        relu4_1=relu4_1,
        shallow=ShallowLayers(*shallow),
        picture=kept,
        swatch=swatch(picture),
    )


def swatch(picture: Image.Image) -> bytes:
    """A thumbnail of a picture in RGB, as a JPEG file."""
    return _jpeg(ImageOps.fit(picture, (SWATCH_SIDE, SWATCH_SIDE), Image.Resampling.LANCZOS), SWATCH_QUALITY)


def open_style_picture(data: bytes) -> Image.Image:
    """A saved style's picture or swatch, in RGB, from untrusted bytes.

    Raises:
        WeightsError: It cannot be opened, or is larger than a saved style's picture may be.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=("JPEG",)) as opened:
                if min(opened.size) <= SHORTER_SIDE and max(opened.size) <= LONGER_SIDE:
                    return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise WeightsError("The saved style's picture cannot be opened; save it again from its picture.") from None
    raise WeightsError("The saved style's picture is larger than they are; save it again from its picture.")


def picture_values(picture: Image.Image) -> NDArray[np.float32]:
    """An RGB picture as numbers, (height, width, 3) float32 in 0..1."""
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def reduced(picture: Image.Image) -> Image.Image:
    """A picture at a style's size: its shorter side at most SHORTER_SIDE, its longer one at most LONGER_SIDE."""
    scale = min(SHORTER_SIDE / min(picture.size), LONGER_SIDE / max(picture.size))
    if scale >= 1:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
