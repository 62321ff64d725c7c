"""Saved styles: one small file each, with the statistics of four layers, the style's picture, and its origin.

Neither torch nor Pillow is needed here: the server's I/O process reads these files, which are untrusted.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from adain_weights.errors import WeightsError
from adain_weights.files import write_whole

BUILT_IN = Path(__file__).parent / "styles"
SUFFIX = ".safetensors"
FORMAT = "adain-style 2"
FIRST_FORMAT = "adain-style 1"
"""The first format, which can still be read. Its files hold the statistics of relu4_1 only, as `mean` and `std`."""
LAYERS = {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512}
"""The layers of the encoder whose statistics a style has, and their channels."""

LARGEST_STYLE = 1024**2
"""Most bytes of a file; the files of make_style() are far smaller."""
LONGEST_TEXT = 256
PICTURES = ("picture", "swatch")
TENSORS = (*(f"{layer}.{kind}" for layer in LAYERS for kind in ("mean", "std")), *PICTURES)
FIRST_TENSORS = ("mean", "std", *PICTURES)
TEXTS = ("name", "title", "artist", "origin", "licence", "encoder")

_JPEG_START = b"\xff\xd8\xff"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Statistics of a style picture at a layer.

    Attributes:
        mean, std: (channels,) float32 each, finite, std above 0.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


class ShallowLayers(NamedTuple):
    """Statistics of a style picture at the layers before relu4_1."""

    relu1_1: LayerStatistics
    relu2_1: LayerStatistics
    relu3_1: LayerStatistics


SHALLOW = ShallowLayers._fields


@dataclass(frozen=True, eq=False)
class SavedStyle:
    """The content of a style's file. The constructor checks it.

    Attributes:
        name: See is_style_name().
        title, artist, origin, licence: Of the picture; printable, at most LONGEST_TEXT characters; empty when unknown.
        encoder: SHA-256 of the encoder's weights file that the statistics belong to.
        relu4_1: The statistics at that layer.
        shallow: The statistics at the layers before it. None for a file of the first format, which lacks them: they
            have to be measured from the picture.
        picture: JPEG file of the style picture that the statistics were taken from.
        swatch: JPEG file of a thumbnail.
    Raises:
        WeightsError: A value is invalid.
    """

    name: str
    title: str
    artist: str
    origin: str
    licence: str
    encoder: str
    relu4_1: LayerStatistics
    shallow: ShallowLayers | None
    picture: bytes
    swatch: bytes

    def __post_init__(self) -> None:
        if not is_style_name(self.name):
            raise _unusable("its name is not small letters, digits and hyphens")
        for text in TEXTS:
            value = getattr(self, text)
            if len(value) > LONGEST_TEXT or not value.isprintable():
                raise _unusable(f"its {text} is longer than {LONGEST_TEXT} characters or not printable")
        if not _DIGEST.fullmatch(self.encoder):
            raise _unusable("it does not say which encoder it belongs to")
        shallow = {} if self.shallow is None else self.shallow._asdict()
        for layer, statistics in {**shallow, "relu4_1": self.relu4_1}.items():
            _check_statistics(layer, statistics)
        for picture in PICTURES:
            if not getattr(self, picture).startswith(_JPEG_START):
                raise _unusable(f"its {picture} is not a JPEG file")

    @property
    def layers(self) -> tuple[LayerStatistics, ...] | None:
        """The statistics at all of LAYERS, in their order; None when some are unknown."""
        return None if self.shallow is None else (*self.shallow, self.relu4_1)


def _check_statistics(layer: str, statistics: LayerStatistics) -> None:
    for name, values in (("mean", statistics.mean), ("std", statistics.std)):
        if values.dtype != np.float32 or values.shape != (LAYERS[layer],):
            raise _unusable(f"its {name} of {layer} is not {LAYERS[layer]} numbers in single precision")
        if not np.isfinite(values).all():
            raise _unusable(f"its {name} of {layer} holds numbers that are not finite")
    if not (statistics.std > 0).all():
        raise _unusable(f"its std of {layer} is not above 0 everywhere")


def _unusable(reason: str) -> WeightsError:
    return WeightsError(f"The saved style cannot be used because {reason}; save it again from its picture.")


def is_style_name(text: str) -> bool:
    """Whether a style name is valid: small letters, digits and hyphens, at most 64, not a hyphen first."""
    return _NAME.fullmatch(text) is not None


def parse_style(data: bytes) -> SavedStyle:
    """Read a saved style, of this format or of the first, from untrusted bytes.

    Raises:
        WeightsError: Too large, damaged, not a saved style, or of a format that this version does not know.
    """
    texts, arrays = _texts_and_arrays(data)
    _check_parts(texts, arrays)
    is_first = texts["format"] == FIRST_FORMAT
    return SavedStyle(
        **{text: texts[text] for text in TEXTS},
        relu4_1=_statistics(arrays, "" if is_first else "relu4_1."),
        shallow=None if is_first else ShallowLayers(*(_statistics(arrays, f"{layer}.") for layer in SHALLOW)),
        picture=arrays["picture"].tobytes(),
        swatch=arrays["swatch"].tobytes(),
    )


def _texts_and_arrays(data: bytes) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    if len(data) > LARGEST_STYLE:
        raise _unusable("its file is larger than a saved style can be")
    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError, ImportError, AttributeError):
        # Besides its own error, the library lets through Python's errors about a tensor of an unknown type.
        raise _unusable("its file is damaged or is not a safetensors file") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # load() has checked its form
    return header.get("__metadata__") or {}, arrays


def _check_parts(texts: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> None:
    tensors = {FORMAT: TENSORS, FIRST_FORMAT: FIRST_TENSORS}.get(texts.get("format", ""))
    if tensors is None:
        raise _unusable(f"its file does not say that it is '{FORMAT}' or '{FIRST_FORMAT}'")
    if set(texts) != {"format", *TEXTS} or set(arrays) != set(tensors):
        raise _unusable("its file holds other parts than a saved style has")
    for picture in PICTURES:
        if arrays[picture].dtype != np.uint8 or arrays[picture].ndim != 1:
            raise _unusable(f"its {picture} is not a row of bytes")


def _statistics(arrays: Mapping[str, NDArray[Any]], prefix: str) -> LayerStatistics:
    return LayerStatistics(arrays[f"{prefix}mean"], arrays[f"{prefix}std"])


def read_style(path: Path) -> SavedStyle:
    """Read a saved style's file. Raises WeightsError, which names the file."""
    try:
        if path.stat().st_size > LARGEST_STYLE:
            raise _unusable("its file is larger than a saved style can be")
        return parse_style(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def style_bytes(style: SavedStyle) -> bytes:
    """A style's file; the same style always gives the same bytes.

    Raises:
        WeightsError: The file would be too large, or the statistics of some layers are unknown.
    """
    if style.layers is None:
        raise _unusable("its file is of an older format, without the statistics of all layers")
    arrays = [array.astype("<f4") for layer in style.layers for array in (layer.mean, layer.std)]
    arrays += [np.frombuffer(picture, np.uint8) for picture in (style.picture, style.swatch)]
    data = _header(style, dict(zip(TENSORS, arrays, strict=True))) + b"".join(array.tobytes() for array in arrays)
    if len(data) > LARGEST_STYLE:
        raise _unusable("its file would be larger than a saved style can be")
    return data


def _header(style: SavedStyle, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    # safetensors.numpy.save() writes the texts in a different order each time, so the header is written here.
    header: dict[str, object] = {"__metadata__": {"format": FORMAT, **{text: getattr(style, text) for text in TEXTS}}}
    end = 0
    for name, array in arrays.items():
        dtype = "U8" if array.dtype == np.uint8 else "F32"
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)  # the format requires the tensors to begin at a multiple of 8
    return struct.pack("<Q", len(written)) + written


def write_style(path: Path, style: SavedStyle) -> None:
    """Write a style's file atomically. Raises WeightsError."""
    write_whole(path, style_bytes(style))


def built_in_styles() -> dict[str, Path]:
    """The files of the styles that come with the project, by name, sorted."""
    return {path.stem: path for path in sorted(BUILT_IN.glob(f"*{SUFFIX}"))}
