"""Opens picture files safely, in sRGB; every failure of a decoder becomes one sentence."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from adain_weights.colour_profiles import ColourProfile, ProfileError, make_profile, primaries_to_xyz
from adain_weights.limits import LARGEST_PICTURE
from adain_weights.picture_formats import (
    HEAD_BYTES,
    WITH_PICTURE_INSIDE,
    format_name,
    is_readable,
    picture_inside,
    pillow_formats,
    remedy,
)
from adain_weights.samples import Samples, in_8_bit, on_white, picture_of, samples_of, upright
from adain_weights.style_pictures import reduced

Image.MAX_IMAGE_PIXELS = LARGEST_PICTURE
"""Pillow warns above this size, and reading() makes that an error: no file unpacks to more than a server takes."""
MIN_IS_WHITE = 0
"""Value of TIFF's PhotometricInterpretation."""
SEPARATE_PLANES = 2
"""Value of TIFF's PlanarConfiguration."""
SRGB_GAMMA = 0.45455
_SRGB_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE_RGB_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_RGB_GAMMA = 563 / 256
_log = logging.getLogger(__name__)


class PictureError(Exception):
    """A file cannot be read or written as a picture; the message is one sentence."""


@contextmanager
def opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """A picture's file, opened by the decoder for its first bytes; for KRA and ORA the merged picture inside.

    Whatever a decoder raises, now or while the picture is used, becomes a PictureError.

    Raises:
        PictureError: There is no such picture, or it is damaged, too large or of an unsupported format.
    """
    with reading(path):
        with path.open("rb") as file:
            name = format_name(file.read(HEAD_BYTES))
        if name and not is_readable(name):
            raise PictureError(f"{path} is a {name} {_kind(name)}, which cannot be read here; {remedy(name)}.")
        inside = picture_inside(path) if name in WITH_PICTURE_INSIDE else path
        with Image.open(inside, formats=pillow_formats(name)) as picture:
            if not isinstance(picture, ImageFile.ImageFile):
                raise ValueError("Pillow opened no file.")
            if _has_deep_planes(picture):
                raise PictureError(
                    f"{path} has 16 bit and a plane for each channel; save it with interleaved channels."
                )
            yield picture


def _has_deep_planes(picture: ImageFile.ImageFile) -> bool:
    """Whether it is a TIFF with separate planes of more than 8 bit, which Pillow reads wrongly."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(258, (8,))
    return tags.get(284) == SEPARATE_PLANES and len(bits) > 1 and max(bits) > 8


def _kind(name: str) -> str:
    return "file" if name.endswith(")") or name in {"zip", "PDF", "PostScript"} else "picture"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure of a decoder inside this context into a PictureError; the log has the details."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders' warnings do not help users
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"There is no file {path}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"{path} has more pixels than can be opened safely.") from None
    except MemoryError:
        raise PictureError(f"{path} needs more memory than there is.") from None
    except Exception as error:  # decoders raise anything about a damaged file
        _log.debug("%s cannot be read", path, exc_info=True)
        if isinstance(error, OSError) and error.strerror:
            raise PictureError(f"{path} cannot be read: {error.strerror}.") from None
        raise PictureError(f"{path} is not a picture that can be read.") from None


def open_picture(path: Path, *, least_side: int = 0) -> Image.Image:
    """A picture in sRGB and 8 bit, turned upright by its EXIF orientation, in mode L, LA, RGB or RGBA.

    Args:
        path: Its file.
        least_side: A JPEG may be reduced to sides of at least this many pixels, which takes a fraction of the time; 0
            for its own size.
    Raises:
        PictureError: There is no such picture, or it is damaged or too large.
    """
    return picture_of(_srgb_8_bit(path, least_side=least_side))


def _srgb_8_bit(path: Path, *, least_side: int = 0) -> Samples:
    with opened(path) as file:
        if least_side:
            file.draft(None, (least_side, least_side))
        profile, _ = own_profile(file)
        _, srgb = in_both_colours(own_samples(file, profile), profile)
        return in_8_bit(srgb)


def style_picture(path: Path, *, crop: tuple[int, int, int, int] | None = None) -> Image.Image:
    """A style picture in RGB, sRGB, of the size of a saved style's picture; transparent parts are on white.

    Args:
        path: Its file.
        crop: Left, top, width and height in pixels of the part that is the style; None for all of it.
    Raises:
        PictureError: It cannot be read, or the crop is not inside it.
    """
    picture = picture_of(on_white(_srgb_8_bit(path))).convert("RGB")
    if crop is not None:
        left, top, width, height = crop
        if min(width, height) < 1 or left + width > picture.width or top + height > picture.height:
            raise PictureError(f"The crop of {path} is not inside its {picture.width} x {picture.height} pixels.")
        picture = picture.crop((left, top, left + width, top + height))
    return reduced(picture)


def in_both_colours(own: Samples, profile: ColourProfile | None) -> tuple[Samples, Samples]:
    """A frame in its own colours, and in sRGB; both of 8 bit where its profile cannot convert more.

    Args:
        own: From own_samples(), with inks converted to sRGB already.
        profile: The file's own_profile().
    """
    if profile is None or profile.space == "CMYK":
        return own, own
    if not profile.converts(own):
        own = in_8_bit(own)
    return own, profile.to_srgb(own)


def own_samples(file: ImageFile.ImageFile, profile: ColourProfile | None) -> Samples:
    """The file's present frame in its own colours, turned upright; inks are converted to sRGB."""
    file.load()
    if file.mode == "CMYK" and profile is not None:
        samples = samples_of(profile.inks_to_srgb(file))
    else:
        samples = samples_of(file)
    if _is_inverted(file):
        samples[:, :, 0] = 65535 - samples[:, :, 0]
    return upright(samples, orientation_of(file))


def _is_inverted(file: ImageFile.ImageFile) -> bool:
    """Whether 0 is white: Pillow does not invert such 16-bit gray TIFFs."""
    return file.mode.startswith("I;16") and getattr(file, "tag_v2", {}).get(262) == MIN_IS_WHITE


def orientation_of(file: ImageFile.ImageFile) -> int:
    """EXIF's orientation, 1 where there is none or where EXIF is damaged. A TIFF turns itself when it is loaded."""
    try:
        orientation = file.getexif().get(274, 1)
    except Exception:  # damaged EXIF raises anything
        _log.debug("EXIF is damaged", exc_info=True)
        return 1
    return orientation if isinstance(orientation, int) else 1


def own_profile(file: ImageFile.ImageFile) -> tuple[ColourProfile | None, bool]:
    """The colour profile of a file's pictures; None where they are sRGB.

    A PNG that gives its primaries or its curve instead, and a photograph whose EXIF names Adobe RGB, get an equivalent
    profile.

    Returns:
        The profile, and whether one was ignored because it is damaged or for other pictures.
    """
    icc = file.info.get("icc_profile") or _named_profile(file)
    if not icc:
        return None, False
    try:
        profile = ColourProfile(bytes(icc))
    except ProfileError:
        return None, True
    if profile.space == ("CMYK" if file.mode == "CMYK" else "GRAY" if _is_gray(file) else "RGB"):
        return profile, False
    # Gray pictures often carry sRGB's own profile, which changes nothing.
    return None, not profile.is_srgb


def _named_profile(file: ImageFile.ImageFile) -> bytes:
    """A profile equivalent to a PNG's gAMA and cHRM, or to EXIF's interoperability index; b"" for sRGB."""
    if file.format == "PNG" and "srgb" not in file.info:
        gamma = file.info.get("gamma") or SRGB_GAMMA
        return _png_profile(gamma, None if _is_gray(file) else file.info.get("chromaticity") or _SRGB_CHROMATICITIES)
    if file.format in {"JPEG", "MPO"} and file.mode == "RGB" and _says_adobe_rgb(file):
        return make_profile(primaries_to_xyz(_ADOBE_RGB_CHROMATICITIES), ADOBE_RGB_GAMMA, name="Adobe RGB (1998)")
    return b""


def _is_gray(file: ImageFile.ImageFile) -> bool:
    return file.mode in {"1", "L", "LA", "La", "F"} or file.mode.startswith("I")


def _png_profile(gamma: float, chromaticities: tuple[float, ...] | None) -> bytes:
    """A profile for a PNG's gAMA and cHRM. chromaticities: None for gray."""
    has_primaries = chromaticities is None or np.allclose(chromaticities, _SRGB_CHROMATICITIES, atol=0.003)
    if (has_primaries and abs(gamma - SRGB_GAMMA) < 0.01) or not 0.05 < gamma < 5:
        return b""
    try:
        to_xyz = None if chromaticities is None else primaries_to_xyz(chromaticities)
        return make_profile(to_xyz, 1 / gamma, name="as the PNG's gAMA and cHRM said")
    except (ArithmeticError, ValueError, np.linalg.LinAlgError, struct.error):
        return b""  # the numbers are not colours


def _says_adobe_rgb(file: ImageFile.ImageFile) -> bool:
    """Whether EXIF's interoperability index is the one by which cameras mark Adobe RGB (DCF 2.0)."""
    try:
        return str(file.getexif().get_ifd(ExifTags.IFD.Interop).get(1, "")).startswith("R03")
    except Exception:  # damaged EXIF raises anything
        return False
