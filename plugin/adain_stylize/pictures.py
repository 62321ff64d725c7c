"""Converting a user's pictures to the wire's pixels and back, and writing the results."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adain_style.client.jobs import Pixels
from adain_stylize.contents import Content
from adain_stylize.deep_pictures import save_deep_png, save_deep_tiff
from adain_stylize.kept import Kept, save_options, too_large_for
from adain_weights.limits import LARGEST_PICTURE
from adain_weights.picture_files import PictureError
from adain_weights.samples import (
    Samples,
    colours_of,
    has_alpha,
    in_8_bit,
    is_transparent,
    picture_of,
    samples_of,
    white_of,
)

LAYOUTS = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}
DEPTHS = {"uint8": "u8", "uint16": "u16", "float32": "f32"}
_log = logging.getLogger(__name__)


class NoRoomError(PictureError):
    """A result cannot be written because its disk is full, so the next one would fail as well."""


@dataclass(frozen=True)
class Format:
    """The capabilities of a format for results.

    Attributes:
        name: Pillow's name.
        gray, alpha, deep, floats: Whether it can hold gray, transparency, 16 bits, floats.
        profile, frames: Whether it can hold a colour profile, several frames.
        quality: The quality of a lossy format; None for others.
        largest_side: The most pixels a side that its encoder can write.
    """

    name: str
    gray: bool = True
    alpha: bool = False
    deep: bool = False
    floats: bool = False
    profile: bool = False
    frames: bool = False
    quality: int | None = None
    largest_side: int = LARGEST_PICTURE


_PNG = Format("PNG", alpha=True, deep=True, profile=True, frames=True)
_JPEG = Format("JPEG", profile=True, quality=95, largest_side=65_500)  # libjpeg's own limit
_TIFF = Format("TIFF", alpha=True, deep=True, floats=True, profile=True, frames=True)
FORMATS = {
    ".png": _PNG,
    ".apng": _PNG,
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), _JPEG),
    **dict.fromkeys((".tif", ".tiff"), _TIFF),
    ".webp": Format("WEBP", gray=False, alpha=True, profile=True, frames=True, quality=95, largest_side=16_383),
    ".gif": Format("GIF", alpha=True, frames=True, largest_side=65_535),
    ".bmp": Format("BMP", gray=False),
    ".ppm": Format("PPM", gray=False),
}
"""The formats by the suffix of a result's file."""


def pixels_of(samples: Samples) -> Pixels:
    """Convert samples for the wire."""
    height, width, channels = samples.shape
    little_endian = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    return Pixels(little_endian.tobytes(), height, width, LAYOUTS[channels], DEPTHS[samples.dtype.name])


def result_samples(pixels: Pixels) -> Samples:
    """The reverse of pixels_of()."""
    dtype = {"u8": "u1", "u16": "<u2", "f32": "<f4"}[pixels.depth]
    samples = np.frombuffer(pixels.data, dtype).reshape(pixels.height, pixels.width, -1)
    return samples.astype(samples.dtype.newbyteorder("="))


def content_pixels(picture: Image.Image) -> Pixels:
    """Convert a picture for the wire: gray, 16 bits and floats stay as they are, the rest becomes RGB or RGBA."""
    return pixels_of(samples_of(picture))


def result_picture(pixels: Pixels) -> Image.Image:
    """The reverse of content_pixels()."""
    return picture_of(result_samples(pixels))


def mask_pixels(mask: Samples, size: tuple[int, int]) -> Pixels:
    """Resize a mask to a content of this width and height."""
    resized = picture_of(mask).resize(size, Image.Resampling.BILINEAR)
    return Pixels(resized.tobytes(), resized.height, resized.width, "Y")


def check_target(content: Content, target: Path, *, all_frames: bool) -> list[str]:
    """Check whether a result can be written to a file, before it is painted.

    Returns:
        Sentences about what the result will lose.
    Raises:
        PictureError: The format cannot hold the content's size, its transparency or its frames.
    """
    kind, path = FORMATS[target.suffix.lower()], content.path
    height, width, _ = content.first.own.shape
    if max(height, width) > kind.largest_side:
        raise PictureError(
            f"{path} has {width} x {height} pixels, and a {kind.name} at most {kind.largest_side} a side; use .png or "
            ".tif."
        )
    if is_transparent(content.first.own) and not kind.alpha:
        raise PictureError(f"{path} has transparent parts, which {target} cannot hold; use .png, .tif or .webp.")
    if content.frames > 1 and all_frames and not kind.frames:
        raise PictureError(
            f"{path} has {content.frames} frames, and {target} holds one; use .gif, .png, .tif or .webp."
        )
    left_out = too_large_for(content.kept, target.suffix.lower())
    loses_depth = _loses_depth(content.first.own, kind, is_only=content.frames == 1 or not all_frames)
    said = {
        f"{path} has {content.frames} frames, of which the first is painted; --frames paints all.": content.frames > 1
        and not all_frames,
        f"{target} holds 8 bit, to which those of {path} are rounded.": loses_depth,
        f"{target} is transparent or opaque, with nothing between: half or more of opacity becomes opaque.": (
            kind.name == "GIF" and _is_translucent(content.first.own)
        ),
        f"{target} cannot hold the colour profile of {path}; the result is in sRGB.": (
            content.profile is not None and not holds_profile(content, target)
        ),
        f"{target} has no room for this of {path}: {', '.join(left_out)}.": bool(left_out),
    }
    return [sentence for sentence, holds in said.items() if holds]


def _is_translucent(samples: Samples) -> bool:
    alpha = samples[:, :, -1]
    return has_alpha(samples) and bool(((alpha > 0) & (alpha < white_of(samples))).any())


def holds_profile(content: Content, target: Path) -> bool:
    """Whether the result is written in the content's own colours, because its format can hold their profile."""
    kind = FORMATS[target.suffix.lower()]
    return content.profile is not None and kind.profile and (kind.gray or content.profile.space == "RGB")


def save_result(
    frames: Sequence[Samples], target: Path, *, kept: Kept, icc: bytes, durations_ms: Sequence[float] = ()
) -> None:
    """Write a result, completely or not at all.

    Args:
        frames: At least one; several only if the format can hold them.
        icc: The profile of their colours, to be embedded; b"" for none.
        durations_ms: How long an animation shows each frame; empty for a single picture.
    Raises:
        PictureError: The file cannot be written.
        NoRoomError: Its disk is full.
    """
    suffix = target.suffix.lower()
    kind = FORMATS[suffix]
    fitted = [_fitted(frame, kind, is_only=len(frames) == 1) for frame in frames]
    options = save_options(kept, suffix, icc)
    if kind.quality is not None:
        options["quality"] = kind.quality
    if len(frames) > 1:
        options |= _animation(fitted, kind, kept, durations_ms)
    with _whole(target) as temporary:
        if fitted[0].dtype == np.uint16 and fitted[0].shape[2] > 1:
            (save_deep_png if kind is _PNG else save_deep_tiff)(temporary, fitted[0], options)
        else:
            picture_of(fitted[0]).save(temporary, kind.name, **options)


def _fitted(samples: Samples, kind: Format, *, is_only: bool) -> Samples:
    """Reduce samples to those that the format can hold."""
    if _loses_depth(samples, kind, is_only=is_only):
        samples = in_8_bit(samples)
    if has_alpha(samples) and not kind.alpha:
        samples = colours_of(samples)  # they are opaque, or check_target() would have refused
    # Few programs can read a TIFF of 16-bit gray with alpha.
    if not kind.gray or (kind is _TIFF and samples.dtype == np.uint16 and samples.shape[2] == 2):
        samples = _in_rgb(samples)
    if kind.name == "GIF" and has_alpha(samples):
        alpha = np.where(samples[:, :, -1:] < 128, 0, 255).astype(np.uint8)
        samples = np.concatenate([colours_of(_in_rgb(samples)), alpha], axis=2)
    return samples


def _loses_depth(samples: Samples, kind: Format, *, is_only: bool) -> bool:
    if samples.dtype == np.uint16:
        return not (kind.deep and is_only)
    return samples.dtype.kind == "f" and not kind.floats


def _in_rgb(samples: Samples) -> Samples:
    if samples.shape[2] > 2:
        return samples
    return np.concatenate([samples[:, :, :1]] * 3 + [samples[:, :, 1:]], axis=2)


def _animation(frames: Sequence[Samples], kind: Format, kept: Kept, durations_ms: Sequence[float]) -> dict[str, Any]:
    """Return the options of Pillow's save() for all frames but the first."""
    options: dict[str, Any] = {"save_all": True, "append_images": [picture_of(frame) for frame in frames[1:]]}
    if kind.name == "TIFF":
        return options
    options["duration"] = [round(duration) for duration in durations_ms]
    if kept.loop is not None:
        options["loop"] = kept.loop
    if kind.name == "GIF":
        options["disposal"] = 2 if any(has_alpha(frame) for frame in frames) else 1
    return options


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give a file beside the target, which replaces it after success. Raises PictureError, NoRoomError."""
    # A short name, so that it is not too long where the target's is not.
    temporary = target.with_name(f".adain-{os.getpid()}.part{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    except Exception as error:  # encoders raise all kinds of errors
        _log.debug("%s cannot be written", target, exc_info=True)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoRoomError(f"{target} cannot be written: {error.strerror}; make room there.") from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise PictureError(f"{target} cannot be written: {reason}.") from None


def save_picture(picture: Image.Image, target: Path) -> None:
    """Write a picture in sRGB without metadata. Raises PictureError."""
    save_result([samples_of(picture)], target, kept=Kept(), icc=b"")
