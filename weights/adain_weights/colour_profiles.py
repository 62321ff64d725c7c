"""Colour profiles (ICC): a picture's own colours to sRGB, and back.

8-bit RGB and CMYK go through LittleCMS, relative colorimetric with black point compensation. Pillow's LittleCMS handles
8 bit only, so gray pictures and pictures of 16 bit are converted here, by the profile's curves and matrix, in doubles:
working spaces (Adobe RGB, Display P3, ProPhoto, Rec. 2020, linear ones) have nothing else. A profile with tables
converts 8 bit only.

Source: ICC.1:2022, 8.3 and 8.4 (which tags a profile has), 10.6 curveType, 10.18 parametricCurveType, F.2 and F.3
(gray, and matrix with curves).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from adain_weights.samples import Samples, colours_of, white_of, with_alpha_of

Doubles = NDArray[np.float64]
SRGB_TO_XYZ: Doubles = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
"""sRGB's primaries in XYZ, adapted to D50 by Bradford's method, as profiles have them."""
GRID: Doubles = np.linspace(0, 1, 65536)
SAME_PRIMARIES, SAME_CURVE = 0.002, 0.004
"""Largest differences, in XYZ of a primary and in linear light, at which a profile counts as sRGB."""
STRIP_PIXELS = 2**18
TABLES = (b"A2B0", b"A2B1", b"A2B2")


class ProfileError(Exception):
    """A profile is damaged or unsuitable."""


class Curve:
    """Converts samples to linear light and back, both in 0..1."""

    def __init__(self, light: Doubles) -> None:
        """light: Linear light at 65,536 samples from 0 to 1; made monotonic."""
        self.light: Doubles = np.maximum.accumulate(light.clip(0, 1))

    def decode(self, samples: Samples) -> Doubles:
        """Convert samples of any depth to light."""
        if samples.dtype == np.uint16:
            samples = samples.astype(np.int64)
        elif samples.dtype == np.uint8:
            samples = samples.astype(np.int64) * 257
        else:
            return np.asarray(np.interp(np.nan_to_num(samples), GRID, self.light), dtype=np.float64)
        light: Doubles = self.light[samples]
        return light

    def encode(self, light: Doubles, like: Samples) -> Samples:
        """Convert light to samples of the depth of `like`."""
        values = np.interp(light, self.light, GRID)
        return (values if like.dtype.kind == "f" else np.rint(values * white_of(like))).astype(like.dtype)


def _srgb_light(samples: Doubles) -> Doubles:
    """Linear light of sRGB samples (IEC 61966-2-1)."""
    light: Doubles = np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)
    return light


SRGB = Curve(_srgb_light(GRID))


@dataclass(frozen=True)
class Shaper:
    """A profile's curves, one per channel, and for RGB its matrix to XYZ at D50.

    Attributes:
        curves: 1 or 3.
        to_xyz: (3, 3); None for gray.
    """

    curves: Sequence[Curve]
    to_xyz: Doubles | None = None

    def converted(self, samples: Samples, other: Shaper) -> Samples:
        """Convert colours, without alpha, to those of another shaper, of the same depth."""
        matrix = None
        if self.to_xyz is not None and other.to_xyz is not None:
            matrix = _keeping_white(np.linalg.inv(other.to_xyz) @ self.to_xyz)
        out = np.empty_like(samples)
        for rows in _strips(samples):
            light = [curve.decode(samples[rows, :, index]) for index, curve in enumerate(self.curves)]
            if matrix is not None:
                light = list(np.tensordot(matrix, np.stack(light), 1))
            for index, curve in enumerate(other.curves):
                out[rows, :, index] = curve.encode(light[index], samples)
        return out

    @property
    def is_srgb(self) -> bool:
        """Whether its difference from sRGB is invisible."""
        if self.to_xyz is not None and np.abs(self.to_xyz - SRGB_TO_XYZ).max() > SAME_PRIMARIES:
            return False
        return all(np.abs(curve.light - SRGB.light).max() < SAME_CURVE for curve in self.curves)


SRGB_SHAPERS = {"GRAY": Shaper([SRGB]), "RGB": Shaper([SRGB] * 3, SRGB_TO_XYZ)}


def _keeping_white(matrix: Doubles) -> Doubles:
    """The matrix, scaled to map white exactly to white, which a profile's 16 fractional bits miss by a little."""
    sums = matrix.sum(axis=1, keepdims=True)
    return matrix / sums if np.abs(sums - 1).max() < 0.002 else matrix


def _strips(samples: Samples) -> Iterator[slice]:
    """Rows of a picture, a few at a time: doubles need eight times a byte's memory."""
    rows = max(1, STRIP_PIXELS // samples.shape[1])
    return (slice(top, top + rows) for top in range(0, len(samples), rows))


class ColourProfile:
    """A usable profile.

    Attributes:
        icc: The profile's bytes, to be embedded again.
        space: GRAY, RGB or CMYK, the kind of pictures that it is for.
        is_srgb: Whether it is sRGB itself, so that nothing is converted.
    """

    def __init__(self, icc: bytes) -> None:
        """Read a profile. Raises ProfileError when it is damaged or unsuitable."""
        self.icc = icc
        try:
            self.space = icc[16:20].decode("ascii").strip()
            tags = _tags(icc)
            self._shaper = _shaper(icc, tags, self.space)
            self.is_srgb = self._shaper is not None and self._shaper.is_srgb
            if self.space == "GRAY" and self._shaper is None:
                raise ProfileError("A gray profile without a curve.")
            if self.space != "GRAY":
                self._to_srgb = self._transform(back=False)
        except ProfileError:
            raise
        except Exception as error:  # LittleCMS and damaged bytes raise many kinds
            raise ProfileError(str(error)) from error

    def converts(self, samples: Samples) -> bool:
        """Whether it can convert samples of this depth; if not, it can convert them in 8 bit."""
        return self.is_srgb or self._shaper is not None or samples.dtype == np.uint8

    @cached_property
    def has_way_back(self) -> bool:
        """Whether sRGB can be converted back to it; a scanner's profile may lack that."""
        try:
            return self.space == "GRAY" or self._from_srgb is not None
        except Exception:  # whatever LittleCMS raises
            return False

    def to_srgb(self, samples: Samples) -> Samples:
        """Samples in this profile's colours as sRGB, or as gray with sRGB's curve; alpha stays."""
        if self.is_srgb:
            return samples
        colours = colours_of(samples)
        if self._shaper is not None and self._is_exact(colours):
            colours = self._shaper.converted(colours, SRGB_SHAPERS[self.space])
        else:
            colours = _applied(self._to_srgb, colours)
        return with_alpha_of(colours, samples)

    def from_srgb(self, samples: Samples) -> Samples:
        """The reverse of to_srgb(), only if has_way_back is true."""
        if self.is_srgb:
            return samples
        colours = colours_of(samples)
        if self._shaper is not None and self._is_exact(colours):
            colours = SRGB_SHAPERS[self.space].converted(colours, self._shaper)
        else:
            colours = _applied(self._from_srgb, colours)
        return with_alpha_of(colours, samples)

    def inks_to_srgb(self, picture: Image.Image) -> Image.Image:
        """A CMYK picture as sRGB; only for a CMYK profile."""
        applied: Image.Image = self._to_srgb.apply(picture)
        return applied

    def _is_exact(self, colours: Samples) -> bool:
        """Whether the conversion of this module is used instead of LittleCMS."""
        return self.space == "GRAY" or colours.dtype != np.uint8

    @cached_property
    def _from_srgb(self) -> ImageCms.ImageCmsTransform:
        return self._transform(back=True)

    def _transform(self, *, back: bool) -> ImageCms.ImageCmsTransform:
        own, srgb = (
            ImageCms.ImageCmsProfile(BytesIO(self.icc)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        )
        source, target = (srgb, own) if back else (own, srgb)
        return ImageCms.ImageCmsTransform(
            source,
            target,
            "RGB" if back else self.space,
            self.space if back else "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )


def _applied(transform: ImageCms.ImageCmsTransform, colours: Samples) -> Samples:
    return np.array(transform.apply(Image.fromarray(np.ascontiguousarray(colours))))


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 1000:
        raise ProfileError("Too many tags.")
    entries = (struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count))
    return {name: icc[offset : offset + size] for name, offset, size in entries}


def _shaper(icc: bytes, tags: dict[bytes, bytes], space: str) -> Shaper | None:
    """The curves and matrix; None where the profile has tables, which take precedence, or neither."""
    if space == "GRAY":
        return Shaper([Curve(_curve(tags[b"kTRC"]))]) if b"kTRC" in tags else None
    if space != "RGB" or icc[20:24] != b"XYZ " or any(name in tags for name in TABLES) or b"rTRC" not in tags:
        return None
    columns = [struct.unpack_from(">3i", tags[name + b"XYZ"], 8) for name in (b"r", b"g", b"b")]
    curves = [Curve(_curve(tags[name + b"TRC"])) for name in (b"r", b"g", b"b")]
    return Shaper(curves, np.array(columns, dtype=np.float64).T / 65536)


def _curve(tag: bytes) -> Doubles:
    """Linear light at each sample of GRID."""
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        count = (1, 3, 4, 5, 7)[kind]
        numbers = [value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12)]
        light: Doubles = _PARAMETRIC[kind](*numbers)
        return light
    if tag[:4] != b"curv":
        raise ProfileError("A curve of an unknown kind.")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return GRID
    if count == 1:
        gamma: int = struct.unpack_from(">H", tag, 12)[0]
        return _power(GRID, gamma / 256)
    table = np.frombuffer(tag, ">u2", count, 12) / 65535
    return np.asarray(np.interp(GRID, np.linspace(0, 1, count), table), dtype=np.float64)


def _power(base: Doubles, gamma: float) -> Doubles:
    power: Doubles = base.clip(0, None) ** gamma
    return power


_PARAMETRIC: tuple[Callable[..., Doubles], ...] = (
    lambda g: _power(GRID, g),
    lambda g, a, b: _power(a * GRID + b, g),
    lambda g, a, b, c: _power(a * GRID + b, g) + c,
    lambda g, a, b, c, d: np.where(d <= GRID, _power(a * GRID + b, g), c * GRID),
    lambda g, a, b, c, d, e, f: np.where(d <= GRID, _power(a * GRID + b, g) + e, c * GRID + f),
)


def make_profile(to_xyz: Doubles | None, gamma: float, *, name: str) -> bytes:
    """A profile of version 2, for a picture that describes its colours in another way.

    Args:
        to_xyz: (3, 3), a column for each primary, in XYZ adapted to D50; None for a gray picture.
        gamma: Linear light is the sample to this power.
        name: The name that programs show.
    """
    text = name.encode("ascii")
    parts = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + bytes(1 + 8 + 3 + 67),
        b"cprt": b"text\0\0\0\0No copyright\0",
        b"wtpt": _xyz_tag((0.9642, 1.0, 0.8249)),
    }
    if to_xyz is not None:
        parts |= {
            letter + b"XYZ": _xyz_tag(column) for letter, column in zip((b"r", b"g", b"b"), to_xyz.T, strict=True)
        }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    parts |= {letter + b"TRC": curve for letter in ((b"k",) if to_xyz is None else (b"r", b"g", b"b"))}
    table, data, start = b"", b"", 128 + 4 + 12 * len(parts)
    for tag, part in parts.items():
        table += struct.pack(">4sII", tag, start + len(data), len(part))
        data += part + bytes(-len(part) % 4)
    space = b"GRAY" if to_xyz is None else b"RGB "
    header = struct.pack(">I4xI4s4s4s12x4s", start + len(data), 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    header += bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return header + bytes(128 - len(header)) + struct.pack(">I", len(parts)) + table + data


def _xyz_tag(values: Sequence[float] | Doubles) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def primaries_to_xyz(chromaticities: Sequence[float]) -> Doubles:
    """The matrix to XYZ at D50, adapted by Bradford's method.

    Args:
        chromaticities: x and y of white, red, green and blue.
    """
    xy = np.array(chromaticities, dtype=np.float64).reshape(4, 2)
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in xy)
    columns = np.stack(primaries, axis=1)
    unadapted = columns * np.linalg.solve(columns, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gains = (bradford @ np.array([0.96422, 1, 0.82521])) / (bradford @ white)
    adapted: Doubles = np.linalg.inv(bradford) @ np.diag(gains) @ bradford @ unadapted
    return adapted
