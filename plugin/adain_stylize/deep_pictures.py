"""16-bit RGB in PNG and TIFF, for which Pillow has no mode.

Reading: Pillow's decoders can unpack either byte of each sample; two passes give the whole samples. Writing: the
samples are replaced in a PNG or TIFF that Pillow has written, so that metadata is written in one place.

Source: PNG (third edition), 9 (filters), 11.2.2 (IHDR); TIFF 6.0, section 2 (entries of a directory), section 18
(ExtraSamples).
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from adain_weights.picture_files import opened, orientation_of
from adain_weights.samples import Samples, upright, with_transparent_colour

RAW_MODES = {"RGB;16", "RGBA;16", "RGBX;16", "RGBa;16", "LA;16"}
"""Pillow's raw modes of 16-bit samples, without the letter for their byte order."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_TYPES = {2: 4, 3: 2, 4: 6}
"""PNG's colour type for each number of channels."""
UP = 2
"""PNG's filter: the difference to the row above."""
BITS_PER_SAMPLE, IMAGE_WIDTH, PHOTOMETRIC = 258, 256, 262
SAMPLES_PER_PIXEL, EXTRA_SAMPLES = 277, 338
UNASSOCIATED_ALPHA, RGB = 2, 2
SHORT = 3


def bits_are_lost(file: ImageFile.ImageFile) -> bool:
    """Whether Pillow reduces the 16-bit samples of this file's current frame to 8 bits."""
    bits = getattr(file, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    return any(";16" in _raw_mode(tile) for tile in file.tile) or (len(bits) > 1 and max(bits) > 8)


def deep_samples(path: Path, file: ImageFile.ImageFile) -> Samples | None:
    """Read the only frame's samples, uint16, (height, width, 2 to 4), turned upright; None if they have another form.

    Args:
        path: The file.
        file: The same file, opened but not loaded.
    Raises:
        PictureError: It is damaged.
    """
    raw_modes = {_raw_mode(tile) for tile in file.tile}
    raw_mode = raw_modes.pop() if len(raw_modes) == 1 else ""
    if raw_mode[:-1] not in RAW_MODES:
        return None
    if raw_mode.startswith("LA"):
        # Two 16-bit samples are as large as four 8-bit ones.
        first, second = np.split(_bytes(path, "RGBA").reshape(file.height, file.width, 2, 2), 2, axis=3)
        samples = _joined(first[..., 0], second[..., 0], raw_mode)
    else:
        kind = raw_mode[:-1].replace("a", "A")
        samples = _joined(_bytes(path, f"{kind}B"), _bytes(path, f"{kind}L"), raw_mode)
    if raw_mode.startswith("RGBa"):
        samples = _unassociated(samples)
    if "transparency" in file.info:
        samples = with_transparent_colour(samples, file.info["transparency"])
    return upright(samples, orientation_of(file))


def _raw_mode(tile: Any) -> str:
    """The layout of a tile's bytes, which is the first of its decoder's arguments."""
    return str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0])


def _arguments(arguments: Any, raw_mode: str) -> Any:
    return raw_mode if isinstance(arguments, str) else (raw_mode, *arguments[1:])


def _bytes(path: Path, raw_mode: str) -> Samples:
    """Load the file with Pillow, its bytes unpacked with this raw mode."""
    with opened(path) as file:
        file.tile = [tile._replace(args=_arguments(tile.args, raw_mode)) for tile in file.tile]
        file.load()
        return np.array(file)


def _joined(first: Samples, second: Samples, raw_mode: str) -> Samples:
    """Join samples from their first and second bytes in the file; N is the machine's own order, as from libtiff."""
    is_big = raw_mode.endswith("B") or (raw_mode.endswith("N") and sys.byteorder == "big")
    high, low = (first, second) if is_big else (second, first)
    return high.astype(np.uint16) << 8 | low


def _unassociated(samples: Samples) -> Samples:
    """Divide colours that were multiplied by alpha by it."""
    alpha = samples[:, :, 3:].astype(np.float64)
    colours = samples[:, :, :3] * (65535 / np.maximum(alpha, 1))
    return np.concatenate([np.rint(colours.clip(0, 65535)).astype(np.uint16), samples[:, :, 3:]], axis=2)


def save_deep_png(path: Path, samples: Samples, options: dict[str, Any]) -> None:
    """Write 2 to 4 channels of 16 bits; options as for Pillow's save(). Raises OSError."""
    model = BytesIO()
    Image.new("RGB", (1, 1)).save(model, "PNG", **options)
    height, width, channels = samples.shape
    with path.open("wb") as file:
        file.write(PNG_SIGNATURE)
        for kind, data in _png_chunks(model.getvalue()):
            if kind == b"IHDR":
                data = struct.pack(">IIBB", width, height, 16, PNG_COLOUR_TYPES[channels]) + bytes(3)
            elif kind == b"IDAT":
                data = _filtered(samples)
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _png_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = len(PNG_SIGNATURE)
    while start < len(png):
        (size,) = struct.unpack_from(">I", png, start)
        yield png[start + 4 : start + 8], png[start + 8 : start + 8 + size]
        start += size + 12


def _filtered(samples: Samples) -> bytes:
    rows = np.ascontiguousarray(samples.astype(">u2")).view(np.uint8).reshape(len(samples), -1)
    filtered = np.full((len(rows), rows.shape[1] + 1), UP, dtype=np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return zlib.compress(filtered.tobytes())


def save_deep_tiff(path: Path, samples: Samples, options: dict[str, Any]) -> None:
    """Write 16-bit RGB or RGBA, uncompressed; options as for Pillow's save(). Raises OSError."""
    height, width, channels = samples.shape
    # Written as a gray picture that is wider by the number of channels: its rows have the same samples.
    gray = Image.fromarray(np.ascontiguousarray(samples).reshape(height, width * channels))
    tags = options.setdefault("tiffinfo", Image.Exif())
    tags[SAMPLES_PER_PIXEL] = channels
    if channels == 4:
        tags[EXTRA_SAMPLES] = UNASSOCIATED_ALPHA
    gray.save(path, "TIFF", **options)
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.write(struct.pack(f"<{channels}H", *[16] * channels))
        file.seek(0)
        (directory,) = struct.unpack("<4xI", file.read(8))
        file.seek(directory)
        (count,) = struct.unpack("<H", file.read(2))
        entries = bytearray(file.read(12 * count))
        for start in range(0, len(entries), 12):
            tag = struct.unpack_from("<H", entries, start)[0]
            if tag == IMAGE_WIDTH:
                struct.pack_into("<I", entries, start + 8, width)
            elif tag == PHOTOMETRIC:
                struct.pack_into("<HH", entries, start + 8, RGB, 0)
            elif tag == BITS_PER_SAMPLE:
                struct.pack_into("<HII", entries, start + 2, SHORT, channels, end)
        file.seek(directory + 2)
        file.write(entries)
