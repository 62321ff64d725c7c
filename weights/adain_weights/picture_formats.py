"""Picture formats, recognised by a file's first bytes whatever its suffix."""

from __future__ import annotations

import importlib
import zipfile
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import features

HEAD_BYTES = 1024
LARGEST_INSIDE = 2**29
"""Most bytes of the merged picture inside a KRA or ORA file."""
READ_BY_PILLOW = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "PSD")
PLUGINS = {"HEIC": ("HEIF", "pillow_heif", "HeifImagePlugin")}
"""Formats of the extra `formats`: Pillow's name of the format, and the package and module that reads it. There is a
plug-in for JPEG XL, too, but it unpacks a whole file before its size can be checked."""
WITH_PICTURE_INSIDE = {"KRA": b"application/x-krita", "ORA": b"image/openraster"}
"""Zip files, recognised by their first entry's content."""
SUFFIXES_OF = {
    "AVIF": (".avif",),
    "HEIC": (".heic", ".heif", ".hif"),
    "KRA": (".kra",),
    "ORA": (".ora",),
    "PSD": (".psd",),
}
PLAIN_SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)

_SIGNS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"8BPS", "PSD"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"gimp xcf", "XCF (GIMP)"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"\0\0\x01\0", "icon (ICO)"),
    (0, b"icns", "icon (ICNS)"),
    (0, b"FUJIFILMCCD-RAW", "camera raw (RAF)"),
    (8, b"CR\x02\0", "camera raw (CR2)"),
    (4, b"ftypcrx ", "camera raw (CR3)"),
    (4, b"ftypavi", "AVIF"),
    *(
        (4, b"ftyp" + brand, "HEIC")
        for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    ),
    (4, b"ftyp", "film (MP4)"),
    (0, b"\x1aE\xdf\xa3", "film (Matroska or WebM)"),
)


def format_name(head: bytes) -> str:
    """The name of a format that Pillow alone does not open, by a file's first bytes; "" for any other file."""
    for start, sign, name in _SIGNS:
        if head.startswith(sign, start):
            # A HEIF container names its coding among the compatible brands; the first one may be generic.
            return "AVIF" if name == "HEIC" and b"avif" in head[:64] and b"heic" not in head[:64] else name
    if head.startswith(b"PK\x03\x04"):
        named = (name for name, kind in WITH_PICTURE_INSIDE.items() if kind in head[:128])
        return next(named, "zip")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<svg" in text:
        return "SVG"
    return "web page (HTML)" if text.startswith((b"<!doctype html", b"<html")) else ""


def is_readable(name: str) -> bool:
    """Whether a format with this name can be read here."""
    if name in PLUGINS:
        return find_spec(PLUGINS[name][1]) is not None
    return name in {*READ_BY_PILLOW, *WITH_PICTURE_INSIDE} or (name == "AVIF" and bool(features.check("avif")))


def pillow_formats(name: str) -> tuple[str, ...]:
    """The formats as which Pillow may open a file of this format; loads the plug-in that reads it.

    Raises:
        ImportError: The plug-in does not work here.
    """
    if name in PLUGINS:
        pillows, package, module = PLUGINS[name]
        importlib.import_module(f"{package}.{module}")
        return (pillows,)
    return ("AVIF",) if name == "AVIF" else READ_BY_PILLOW


def remedy(name: str) -> str:
    """The remedy for a format that cannot be read here, as the end of a sentence for the user."""
    if name in PLUGINS:
        return "pip install 'adain-style[formats]' makes that possible, or save it as PNG"
    return "save it as PNG"


def picture_inside(path: Path) -> IO[bytes]:
    """The merged picture of a KRA or ORA file.

    Raises:
        KeyError: There is none.
        ValueError: It is larger than LARGEST_INSIDE.
        OSError, zipfile.BadZipFile: The file cannot be read, or is damaged.
    """
    with zipfile.ZipFile(path) as parts:
        entry = parts.getinfo("mergedimage.png")
        if entry.file_size > LARGEST_INSIDE:
            raise ValueError(f"mergedimage.png unpacks to {entry.file_size} bytes.")
        # No more is read than the size in the entry.
        return BytesIO(parts.read(entry))


NAMED_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes) | {
    ".jxl",
    ".svg",
    ".xcf",
}
"""Suffixes of formats that cannot be read, or not everywhere; such pictures are reported if they are to be painted."""
SUFFIXES = PLAIN_SUFFIXES | {
    suffix for name, suffixes in SUFFIXES_OF.items() if is_readable(name) for suffix in suffixes
}
"""Suffixes of pictures that can be read here."""
