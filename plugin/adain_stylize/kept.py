"""The metadata of a picture that is kept in the result: resolution, EXIF, XMP, texts and comments.

Left out on purpose: the orientation, because the result is upright; the thumbnail and the sizes in EXIF, because they
are the old picture's; the camera maker's notes, because they break when they are moved.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from PIL import ExifTags, Image, ImageFile, PngImagePlugin

Kind = TypeVar("Kind")
LARGEST_IN_JPEG = 65000
"""The most bytes of EXIF or XMP that fit into a JPEG's segment."""
DESCRIPTION = 270
XMP_IN_TIFF = 700
RESOLUTION = {282, 283, 296}
KEPT_TAGS = RESOLUTION | {
    269,
    DESCRIPTION,
    271,
    272,
    285,
    305,
    306,
    315,
    316,
    18246,
    18249,
    33432,
    *range(40091, 40096),
}
"""Tags of EXIF's first directory that are kept; in a TIFF, the others describe its own pixels."""
OLD_SIZES = {0xA002, 0xA003}
XMP_KEYWORD = "XML:com.adobe.xmp"
_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:=["']|>\s*))[1-8]""")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A picture's kept metadata.

    Attributes:
        dpi: The horizontal and vertical resolution; None if it is not known.
        exif, xmp: Whole blocks; b"" for none.
        comment: The comment; "" for none.
        texts: A PNG's other texts, by keyword.
        loop: How often an animation is repeated, 0 = for ever; None if the file does not say.
        damaged: The names of parts that could not be read, for people.
    """

    dpi: tuple[float, float] | None = None
    exif: bytes = field(default=b"", repr=False)
    xmp: bytes = field(default=b"", repr=False)
    comment: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    loop: int | None = None
    damaged: tuple[str, ...] = ()


def read_kept(file: ImageFile.ImageFile) -> Kept:
    """Read a file's metadata. file: Already loaded, because a PNG may have metadata after the pixels."""
    damaged: list[str] = []

    def guarded(name: str, read: Callable[[ImageFile.ImageFile], Kind], otherwise: Kind) -> Kind:
        try:
            return read(file)
        except Exception:  # damaged blocks raise all kinds of errors
            _log.debug("%s is damaged", name, exc_info=True)
            damaged.append(name)
            return otherwise

    dpi = guarded("the resolution", _dpi, None)
    exif = guarded("EXIF", _exif, b"")
    xmp = guarded("XMP", _xmp, b"")
    no_texts: dict[str, str] = {}
    texts = guarded("the texts", _texts, no_texts)
    comment = guarded("the comment", _comment, "") or texts.pop("Comment", "")
    loop = file.info.get("loop")
    return Kept(dpi, exif, xmp, comment, texts, loop if isinstance(loop, int) else None, tuple(damaged))


def _dpi(file: ImageFile.ImageFile) -> tuple[float, float] | None:
    if "dpi" not in file.info:
        return None
    across, down = (float(value) for value in file.info["dpi"])
    return (across, down) if all(math.isfinite(value) and value > 0 for value in (across, down)) else None


def _exif(file: ImageFile.ImageFile) -> bytes:
    found, kept = file.getexif(), Image.Exif()
    for tag in KEPT_TAGS & set(found):
        if not (file.format == "TIFF" and tag in RESOLUTION):
            kept[tag] = found[tag]
    camera = {tag: value for tag, value in found.get_ifd(ExifTags.IFD.Exif).items() if tag not in OLD_SIZES}
    if interoperability := found.get_ifd(ExifTags.IFD.Interop) if camera else {}:
        camera[ExifTags.IFD.Interop] = interoperability
    for directory, values in ((ExifTags.IFD.Exif, camera), (ExifTags.IFD.GPSInfo, found.get_ifd(ExifTags.IFD.GPSInfo))):
        if values:
            kept[directory] = values
    return kept.tobytes() if len(kept) else b""


def _xmp(file: ImageFile.ImageFile) -> bytes:
    found = file.info.get("xmp") or file.info.get(XMP_KEYWORD) or getattr(file, "tag_v2", {}).get(XMP_IN_TIFF, b"")
    data = found.encode() if isinstance(found, str) else bytes(found)
    return _ORIENTATION.sub(rb"\g<1>1", data)


def _texts(file: ImageFile.ImageFile) -> dict[str, str]:
    if not isinstance(file, PngImagePlugin.PngImageFile):
        return {}
    return {key: str(value) for key, value in file.text.items() if key != XMP_KEYWORD and not key.startswith("Raw ")}


def _comment(file: ImageFile.ImageFile) -> str:
    comment = file.info.get("comment", b"") if file.format in {"JPEG", "MPO", "GIF"} else b""
    return comment if isinstance(comment, str) else bytes(comment).decode("utf-8", "replace").rstrip("\0")


def save_options(kept: Kept, suffix: str, icc: bytes) -> dict[str, Any]:
    """Return the metadata that a format can hold, as options of Pillow's save().

    Args:
        suffix: The format's suffix, in small letters.
        icc: The profile to embed; b"" for none.
    """
    options: dict[str, Any] = {"icc_profile": icc} if icc else {}
    if kept.dpi and suffix in {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp"}:
        options["dpi"] = kept.dpi
    add = _ADD.get(suffix)
    return {**options, **add(kept)} if add else options


def too_large_for(kept: Kept, suffix: str) -> list[str]:
    """The names of blocks that are too large for a format, for people."""
    blocks = {"EXIF": kept.exif, "XMP": kept.xmp} if _ADD.get(suffix) is _for_jpeg else {}
    return [name for name, block in blocks.items() if len(block) > LARGEST_IN_JPEG]


def _for_png(kept: Kept) -> dict[str, Any]:
    info = PngImagePlugin.PngInfo()
    if kept.xmp:
        info.add_itxt(XMP_KEYWORD, kept.xmp.decode("utf-8", "replace"))
    for key, text in (kept.texts | ({"Comment": kept.comment} if kept.comment else {})).items():
        info.add_text(key, text) if text.isascii() else info.add_itxt(key, text)
    return {"pnginfo": info, **({"exif": kept.exif} if kept.exif else {})}


def _for_jpeg(kept: Kept) -> dict[str, Any]:
    options = {"exif": kept.exif, "xmp": kept.xmp}
    options = {key: block for key, block in options.items() if 0 < len(block) <= LARGEST_IN_JPEG}
    return {**options, "comment": kept.comment.encode()[:LARGEST_IN_JPEG]} if kept.comment else options


def _for_webp(kept: Kept) -> dict[str, Any]:
    return {key: block for key, block in (("exif", kept.exif), ("xmp", kept.xmp)) if block}


def _for_tiff(kept: Kept) -> dict[str, Any]:
    tags = Image.Exif()
    if kept.exif:
        tags.load(kept.exif)
    for tag in RESOLUTION & set(tags):
        del tags[tag]
    if kept.comment and DESCRIPTION not in tags:
        tags[DESCRIPTION] = kept.comment
    if kept.xmp:
        tags[XMP_IN_TIFF] = kept.xmp
    return {"tiffinfo": tags}


def _for_gif(kept: Kept) -> dict[str, Any]:
    return {"comment": kept.comment.encode()} if kept.comment else {}


_ADD: dict[str, Callable[[Kept], dict[str, Any]]] = {
    **dict.fromkeys((".png", ".apng"), _for_png),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), _for_jpeg),
    ".webp": _for_webp,
    **dict.fromkeys((".tif", ".tiff"), _for_tiff),
    ".gif": _for_gif,
}
