"""Pictures in files that Pillow cannot write: 16 bit in RGB, and what else people have."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from adain_weights.colour_profiles import make_profile, primaries_to_xyz

ADOBE_RGB = make_profile(
    primaries_to_xyz([0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06]), 563 / 256, name="Adobe RGB"
)
LINEAR_GRAY = make_profile(None, 1.0, name="Linear gray")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def through_profiles(picture: Image.Image, source: bytes, target: bytes) -> Image.Image:
    """As LittleCMS converts 8 bit, relative colorimetric with black point compensation."""
    own, other = (ImageCms.ImageCmsProfile(BytesIO(icc)) for icc in (source, target))
    flags, intent = ImageCms.Flags.BLACKPOINTCOMPENSATION, ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(picture, own, other, intent, flags=flags)
    assert converted is not None
    return converted


def noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    """Samples that fill their type."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def png_of_16_bit(path: Path, samples: NDArray[np.uint16], **chunks: bytes) -> Path:
    """Written by the specification alone: no filter, one IDAT."""
    height, width, channels = samples.shape
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    data = zlib.compress(np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes())
    header = struct.pack(">IIBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels]) + bytes(3)
    parts = {"IHDR": header, **chunks, "IDAT": data, "IEND": b""}
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, part) for name, part in parts.items()))
    return path


def png_chunk(name: str, data: bytes) -> bytes:
    """Length, name, data and checksum."""
    named = name.encode() + data
    return struct.pack(">I", len(data)) + named + struct.pack(">I", zlib.crc32(named))


def png_with(png: bytes, **chunks: bytes) -> bytes:
    """A PNG with these chunks after its header."""
    return png[:33] + b"".join(png_chunk(name, data) for name, data in chunks.items()) + png[33:]


def tiff_of_16_bit(
    path: Path, samples: NDArray[np.uint16], *, order: str = "<", extra: int | None = None, compression: str = "none"
) -> Path:
    """Written by the specification alone: one strip.

    Args:
        order: < or >.
        extra: ExtraSamples: 0 = unspecified, 1 = associated alpha, 2 = unassociated.
        compression: none, deflate or packbits.
    """
    height, width, channels = samples.shape
    data = samples.astype(f"{order}u2").tobytes()
    if compression == "deflate":
        data = zlib.compress(data)
    elif compression == "packbits":
        pieces = [data[start : start + width * 2] for start in range(0, len(data), width * 2)]
        data = b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
    bits = 8 + len(data)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits),
        (259, 4, 1, {"none": 1, "deflate": 8, "packbits": 32773}[compression]),
        (262, 4, 1, 2),
        (273, 4, 1, 8),
        (277, 4, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        *([] if extra is None else [(338, 3, 1, extra if order == "<" else extra << 16)]),
    ]
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(
        struct.pack(f"{order}HHII", *entry) for entry in entries
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, bits + 2 * channels)
    path.write_bytes(head + data + struct.pack(f"{order}{channels}H", *[16] * channels) + directory + bytes(4))
    return path


def read_png_of_16_bit(path: Path) -> NDArray[np.uint16]:
    """A PNG's samples, by the specification alone; filters 0 and 2."""
    png, data, start = path.read_bytes(), b"", 8
    width, height, depth, colour = struct.unpack_from(">IIBB", png, 16)
    assert depth == 16
    while start < len(png):
        (size,) = struct.unpack_from(">I", png, start)
        data += png[start + 8 : start + 8 + size] if png[start + 4 : start + 8] == b"IDAT" else b""
        start += size + 12
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, -1)
    assert set(rows[:, 0]) <= {2}
    raw = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    return raw.view(">u2").reshape(height, width, {0: 1, 4: 2, 2: 3, 6: 4}[colour]).astype(np.uint16)


def png_bytes(samples: NDArray[Any], **options: Any) -> bytes:
    """A PNG as Pillow writes it."""
    file = BytesIO()
    Image.fromarray(samples).save(file, "PNG", **options)
    return file.getvalue()


def cmyk_profile() -> bytes:
    """A profile for inks: 2 grid points an ink, where every ink takes the same light; made by hand, as mft1."""
    lab = bytearray()
    for index in range(16):
        cyan, magenta, yellow, black = (index >> shift & 1 for shift in (3, 2, 1, 0))
        light = 0 if black else (3 - cyan - magenta - yellow) / 3
        lab += bytes([round(255 * light), 128, 128])
    identity = bytes(range(256))
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + identity * 4 + bytes(lab) + identity * 3
    start = 128 + 4 + 12
    header = struct.pack(">I4xI4s4s4s12x4s", start + len(table), 0x02100000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + struct.pack(">I4sII", 1, b"A2B0", start, len(table)) + table
