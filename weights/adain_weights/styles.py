"""Saved styles: one small file each, with the statistics, the picture they were taken from, and its origin.

Neither torch nor Pillow is needed here: the server's I/O process reads these files, and they may come from anybody.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from adain_weights.errors import WeightsError
from adain_weights.files import write_whole

BUILT_IN = Path(__file__).parent / "styles"
SUFFIX = ".safetensors"
FORMAT = "adain-style 1"
CHANNELS = 512
"""relu4_1 has as many; mean and std have one number for each."""

LARGEST_STYLE = 1024**2
"""Bytes of a whole file; what make_style() makes is far smaller."""
LONGEST_TEXT = 256
TENSORS = ("mean", "std", "picture", "swatch")
TEXTS = ("name", "title", "artist", "origin", "licence", "encoder")

_JPEG_START = b"\xff\xd8\xff"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class SavedStyle:
    """A style as its file has it. Making one checks it.

    Attributes:
        name: What it is called by; see is_style_name().
        title, artist, origin, licence: Of the picture; printable, at most LONGEST_TEXT characters; empty when unknown.
        encoder: SHA-256 of the encoder's weights file that the statistics belong to.
        mean, std: Statistics of relu4_1, (CHANNELS,) float32 each, finite, std above 0.
        picture: JPEG file of the style picture that the statistics were taken from.
        swatch: JPEG file of a thumbnail.
    Raises:
        WeightsError: One of these is not so.
    """

    name: str
    title: str
    artist: str
    origin: str
    licence: str
    encoder: str
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
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
        _check_statistics(self.mean, self.std)
        for picture in ("picture", "swatch"):
            if not getattr(self, picture).startswith(_JPEG_START):
                raise _unusable(f"its {picture} is not a JPEG file")


def _check_statistics(mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
    for name, values in (("mean", mean), ("std", std)):
        if values.dtype != np.float32 or values.shape != (CHANNELS,):
            raise _unusable(f"its {name} is not {CHANNELS} numbers in single precision")
        if not np.isfinite(values).all():
            raise _unusable(f"its {name} holds numbers that are not finite")
    if not (std > 0).all():
        raise _unusable("its std is not above 0 everywhere")


def _unusable(reason: str) -> WeightsError:
    return WeightsError(f"The saved style cannot be used because {reason}; save it again from its picture.")


def is_style_name(text: str) -> bool:
    """Whether a style may be called so: small letters, digits and hyphens, at most 64, not a hyphen first."""
    return _NAME.fullmatch(text) is not None


def parse_style(data: bytes) -> SavedStyle:
    """Read a saved style from bytes that may come from anybody.

    Raises:
        WeightsError: Too large, damaged, not a saved style, or of a format that this version does not know.
    """
    if len(data) > LARGEST_STYLE:
        raise _unusable("its file is larger than a saved style can be")
    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError, ImportError, AttributeError):
        # Beside its own error, the library lets through what Python says to a tensor of an unknown kind of number.
        raise _unusable("its file is damaged or is not a safetensors file") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # load() has found it well formed
    texts = header.get("__metadata__") or {}
    if texts.get("format") != FORMAT:
        raise _unusable(f"its file does not say that it is '{FORMAT}'")
    if set(texts) != {"format", *TEXTS} or set(arrays) != set(TENSORS):
        raise _unusable("its file holds other parts than a saved style has")
    for picture in ("picture", "swatch"):
        if arrays[picture].dtype != np.uint8 or arrays[picture].ndim != 1:
            raise _unusable(f"its {picture} is not a row of bytes")
    return SavedStyle(
        **{text: texts[text] for text in TEXTS},
        mean=arrays["mean"],
        std=arrays["std"],
        picture=arrays["picture"].tobytes(),
        swatch=arrays["swatch"].tobytes(),
    )


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
    """A style's file; the same style always gives the same bytes. Raises WeightsError when it would be too large."""
    # safetensors.numpy.save() puts the texts into another order each time, so the header is written here.
    parts = {
        "mean": ("F32", [CHANNELS], style.mean.astype("<f4").tobytes()),
        "std": ("F32", [CHANNELS], style.std.astype("<f4").tobytes()),
        "picture": ("U8", [len(style.picture)], style.picture),
        "swatch": ("U8", [len(style.swatch)], style.swatch),
    }
    header: dict[str, object] = {"__metadata__": {"format": FORMAT, **{text: getattr(style, text) for text in TEXTS}}}
    end = 0
    for name, (dtype, shape, content) in parts.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(content)]}
        end += len(content)
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)  # the format wants the tensors to begin at a multiple of 8
    data = struct.pack("<Q", len(written)) + written + b"".join(content for _, _, content in parts.values())
    if len(data) > LARGEST_STYLE:
        raise _unusable("its file would be larger than a saved style can be")
    return data


def write_style(path: Path, style: SavedStyle) -> None:
    """Write a style beside its target and rename. Raises WeightsError."""
    write_whole(path, style_bytes(style))


def built_in_styles() -> dict[str, Path]:
    """The files of the styles that come with the project, by name, in the names' order."""
    return {path.stem: path for path in sorted(BUILT_IN.glob(f"*{SUFFIX}"))}
