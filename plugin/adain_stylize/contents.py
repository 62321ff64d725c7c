"""The pictures to paint: their samples for the server, and the properties that their results get again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ImageFile

from adain_stylize.deep_pictures import bits_are_lost, deep_samples
from adain_stylize.kept import Kept, read_kept
from adain_weights.colour_profiles import ColourProfile
from adain_weights.picture_files import in_both_colours, open_picture, opened, own_profile, own_samples
from adain_weights.samples import Samples, samples_of

ANIMATED = {"GIF", "PNG", "WEBP", "TIFF"}
"""Formats whose other frames are pictures like the first; a JPEG's are previews, a PSD's are layers."""
INKS = {"CMYK": "CMYK", "LAB": "LAB"}


@dataclass(frozen=True)
class Frame:
    """One picture of a file.

    Attributes:
        own: Its samples in the file's own colours, turned upright.
        srgb: The same in sRGB, for the server.
        duration_ms: How long an animation shows it; 0 if the file does not say.
    """

    own: Samples
    srgb: Samples
    duration_ms: float

    def in_own_colours(self, painted: Samples, profile: ColourProfile | None) -> Samples:
        """Convert a result to the colours of this frame's file; unpainted pixels stay the same, bit for bit.

        Args:
            painted: The result, of the same form as srgb.
            profile: The file's profile; None to leave the result in sRGB.
        """
        if profile is None or profile.is_srgb:
            return painted
        result = profile.from_srgb(painted)
        is_unpainted = (painted == self.srgb).all(axis=2)
        result[is_unpainted] = self.own[is_unpainted]
        return result


@dataclass(frozen=True)
class Content:
    """A file to be painted.

    Attributes:
        path: The file's path.
        frames: The number of its frames.
        first: The first frame.
        profile: The colour profile, which the result gets, too; None for sRGB.
        kept: The metadata.
        notes: Sentences that its user has to know.
    """

    path: Path
    frames: int
    first: Frame
    profile: ColourProfile | None
    kept: Kept
    notes: tuple[str, ...]

    def each(self) -> Iterator[Frame]:
        """Every frame, in order, one at a time. Raises PictureError."""
        yield self.first
        if self.frames == 1:
            return
        with opened(self.path) as file:
            for index in range(1, self.frames):
                file.seek(index)
                yield _frame(self.path, file, self.profile, is_only=False)


def read_content(path: Path) -> Content:
    """Read a file's first frame and its metadata. Raises PictureError."""
    with opened(path) as file:
        frames = getattr(file, "n_frames", 1) if file.format in ANIMATED else 1
        profile, is_bad = own_profile(file)
        mode, loses_bits = file.mode, bits_are_lost(file)
        first = _frame(path, file, profile, is_only=frames == 1)
        file.load()
        kept = read_kept(file)
    own_space = None if profile is None or profile.space == "CMYK" else profile
    result_profile = own_space if own_space is None or own_space.has_way_back else None
    said = {
        f"The colour profile of {path} is damaged or made for other pictures; its colours are taken as sRGB.": is_bad,
        f"{path} is in {INKS.get(mode, '')}; the result is in RGB (sRGB).": mode in INKS,
        f"The colour profile of {path} only leads to sRGB, not back; the result is in sRGB.": result_profile
        is not own_space,
        f"{path} has more than 8 bit in a form of which only 8 are read.": loses_bits and first.own.dtype == np.uint8,
        f"Of what {path} says of itself, this is damaged and left out: {', '.join(kept.damaged)}.": bool(kept.damaged),
    }
    notes = tuple(sentence for sentence, holds in said.items() if holds)
    return Content(path, frames, first, result_profile, kept, notes)


def _frame(path: Path, file: ImageFile.ImageFile, profile: ColourProfile | None, *, is_only: bool) -> Frame:
    """Read the file's current frame; the first one is not loaded yet."""
    own = deep_samples(path, file) if is_only else None
    if own is None:
        own = own_samples(file, profile)
    own, srgb = in_both_colours(own, profile)
    duration = file.info.get("duration", 0)
    return Frame(own, srgb, float(duration) if isinstance(duration, (int, float)) else 0.0)


def mask_samples(path: Path) -> Samples:
    """Read a mask, (height, width, 1) uint8: its luminance in sRGB times its alpha.

    If that is 0 everywhere in a picture that is not opaque, as in one of a black shape, the mask is its alpha.

    Raises:
        PictureError: It cannot be read.
    """
    picture = open_picture(path)
    luminance = samples_of(picture.convert("L"))
    if picture.mode not in {"LA", "RGBA"}:
        return luminance
    alpha = samples_of(picture.getchannel("A"))
    mask = np.rint(luminance.astype(np.float32) * alpha / 255).astype(np.uint8)
    return mask if mask.any() or alpha.min() == 255 else alpha
