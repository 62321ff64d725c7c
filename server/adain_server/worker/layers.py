"""Layers as they arrive, in any depth and order of channels, and the colours that the network sees of them.

A layer is never converted as a whole: a part of it becomes float colours, and what was painted goes back in the layer's
own type. No step has fewer bits than the layer. Whatever a layer's own numbers are, colours are sRGB-coded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adain_net.boxes import Box
from adain_net.regions import mask_values
from adain_server.worker.transfer import linear_light, srgb_coded
from adain_style.client import protocol

Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[Any]]

DTYPES: dict[str, np.dtype[Any]] = {
    "u8": np.dtype(np.uint8),
    "u16": np.dtype(np.uint16),
    "f16": np.dtype(np.float16),
    "f32": np.dtype(np.float32),
}
"""The wire's depths; the wire is little-endian, as every machine that torch runs on."""
LUMA = (0.2126, 0.7152, 0.0722)
"""Luminance of sRGB-coded R, G, B (ITU-R BT.709)."""
STRIP = 256
"""Rows that are read at a time when a whole layer is processed."""


@dataclass(frozen=True)
class Layer:
    """A picture in memory.

    Attributes:
        array: (h, w, channels); integers from 0 to their type's maximum, floats with 1 for white.
        layout: The channels, one of protocol.LAYOUTS; alpha is unassociated.
        is_linear: The colours are linear light, not sRGB-coded; alpha never is either.
    """

    array: Array
    layout: str
    is_linear: bool = False

    @property
    def height(self) -> int:
        """Rows."""
        return self.array.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.array.shape[1]

    @property
    def white(self) -> float:
        """The number that stands for 1.0."""
        return 1.0 if self.array.dtype.kind == "f" else float(np.iinfo(self.array.dtype).max)

    def colours(self, box: Box) -> Tensor:
        """A part as (1, 3, h, w) float32, RGB, sRGB-coded, clamped to 0..1; gray is repeated."""
        values = self._floats(cut(self.array, box)[:, :, self._colour_channels()])
        picture = torch.from_numpy(values).permute(2, 0, 1)[None].clamp_(0.0, 1.0)
        if self.is_linear:
            picture = srgb_coded(picture)
        return picture.expand(1, 3, *picture.shape[2:])

    def opacity(self) -> Tensor | None:
        """The alpha channel as (1, 1, h, w) in its own type, for TiledContent; None where everything is opaque."""
        if not protocol.has_alpha(self.layout):
            return None
        alpha = self.array[:, :, -1:]
        opaque = all(bool((strip >= self.white).all()) for strip in strips(alpha))
        return None if opaque else as_mask(alpha)

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        return self.array.dtype.kind != "f" or all(bool(np.isfinite(strip).all()) for strip in strips(self.array))

    def write(self, box: Box, painted: Tensor, share: Array | None, out: Array) -> None:
        """Put painted colours over a part of this layer, into another picture's memory; alpha stays.

        Args:
            box: The part.
            painted: (1, 3, h, w), float, RGB, sRGB-coded, in 0..1, or brighter.
            share: (h, w, 1) float32, 0 = this layer, bit for bit, 1 = painted; None for 1.
            out: (h, w, channels) of the whole picture, like this layer's; only the part's colours are written.
        """
        channels = self._colour_channels()
        before = cut(self.array, box)[:, :, channels]
        colours = painted[0].permute(1, 2, 0).float().cpu().numpy()
        if before.shape[2] == 1:
            colours = (colours @ np.array(LUMA, dtype=np.float32))[:, :, None]
        if self.is_linear:
            colours = linear_light(torch.from_numpy(colours)).numpy()
        if share is not None:
            # Values outside 0..1 are blended as they are, not clamped as the network saw them.
            colours = colours * share + self._floats(before) * (1 - share)
        after = self._rounded(colours * self.white)
        cut(out, box)[:, :, channels] = after if share is None else np.where(share > 0, after, before)

    def brightened(self, box: Box, painted: Tensor) -> Tensor:
        """Brighten paint where this layer's floats are brighter than white, which the network saw as white.

        Args:
            box: The part.
            painted: (1, 3, h, w), float, RGB, sRGB-coded, in 0..1.
        Returns:
            The paint; where values are above white, its light is scaled by the ratio of real to clamped luminance.
        """
        before = cut(self.array, box)[:, :, self._colour_channels()]
        if self.array.dtype.kind != "f" or not (bright := (before > 1).any(axis=2)).any():
            return painted
        # Outside the masks there may be any value, NaN included.
        light = torch.from_numpy(np.nan_to_num(before[bright].astype(np.float32).clip(min=0), nan=0.0, posinf=0.0))
        if not self.is_linear:
            light = linear_light(light)
        ratio = _luminance(light) / _luminance(light.clamp(max=1)).clamp_min(torch.finfo(torch.float32).tiny)
        result, where = painted.float().cpu().clone(), torch.from_numpy(bright)
        result[0, :, where] = srgb_coded(linear_light(result[0, :, where]) * ratio)
        return result

    def cut_out(self, box: Box, share: Array | None, out: Array) -> None:
        """Multiply the alpha of a part of this layer, which must have it, into another picture's memory; colours stay.

        Args:
            box: The part.
            share: (h, w, 1), 0 = transparent, 1 = bit for bit; float64, so that 16 bit are rounded to nearest. None
                for 1.
            out: (h, w, channels) of the whole picture, like this layer's; only the part's alpha is written.
        """
        if share is not None:
            cut(out, box)[:, :, -1:] = self._rounded(cut(self.array, box)[:, :, -1:] * share)

    def shrunk(self, height: int, width: int) -> Layer:
        """Averaged down to another size; integers become 16 bit. Transparent pixels do not bleed into their neighbours.

        Linear light is averaged in sRGB coding as well, so that the network sees the same picture in either coding.

        Args:
            height, width: At most this layer's, at least 1.
        """
        if (height, width) == (self.height, self.width):
            return self
        channels = self.array.shape[2]
        sums = np.empty((height, width, channels), dtype=np.float32)
        for top in range(0, height, STRIP):
            bottom = min(top + STRIP, height)
            first, last = top * self.height / height, bottom * self.height / height
            # The filter reaches beyond the strip by its support, and PIL counts the box in the rows that it gets.
            reach = 2 * -(-self.height // height)
            rows = slice(max(0, int(first) - reach), int(last) + reach)
            values = self._floats(self.array[rows])
            if self.is_linear:
                self._recode(values, srgb_coded)
            area = (width, bottom - top), (0.0, first - rows.start, float(self.width), last - rows.start)
            if protocol.has_alpha(self.layout):
                # An alpha of floats may be anything; with weights beyond 0..1 an average could be anything, too.
                weights = values[:, :, -1].clip(0.0, 1.0)
                values[:, :, :-1] *= weights[:, :, None]
            for channel in range(channels):
                sums[top:bottom, :, channel] = _averaged(values[:, :, channel], *area)
            if protocol.has_alpha(self.layout):
                sums[top:bottom, :, :-1] /= np.maximum(_averaged(weights, *area), 1e-6)[:, :, None]
            if self.is_linear:
                self._recode(sums[top:bottom], linear_light)
        if self.array.dtype.kind != "f":
            sums = np.rint(sums.clip(0.0, 1.0) * 65535).astype(np.uint16)
        return replace(self, array=sums)

    def like(self, other: Layer) -> Array:
        """This layer's values in another layer's type."""
        if self.array.dtype == other.array.dtype:
            return self.array
        return other._rounded(self._floats(self.array) * other.white)

    def _floats(self, part: Array) -> Array:
        values = part.astype(np.float32, order="C")
        if self.white != 1.0:
            values /= np.float32(self.white)
        return values

    def _rounded(self, values: Array) -> Array:
        """Values up to white in this layer's own type."""
        return (values if self.array.dtype.kind == "f" else np.rint(values)).astype(self.array.dtype)

    def _recode(self, values: Array, curve: Callable[[Tensor], Tensor]) -> None:
        """Apply a curve to the colours of float32 values of this layout, in place; alpha stays."""
        for colours in strips(values[:, :, : protocol.LAYOUTS[self.layout.removesuffix("A")]]):
            colours[:] = curve(torch.from_numpy(colours)).numpy()

    def _colour_channels(self) -> slice:
        """The slice of the gray channel, or of R, G and B in this order."""
        return {"Y": slice(0, 1), "RGB": slice(0, 3), "BGR": slice(2, None, -1)}[self.layout.removesuffix("A")]


def _luminance(light: Tensor) -> Tensor:
    """The luminance, (n,), of (n, 1 or 3) linear light."""
    return light[:, 0] if light.shape[1] == 1 else light @ light.new_tensor(LUMA)


def _averaged(plane: Array, size: tuple[int, int], window: tuple[float, float, float, float]) -> Array:
    """A part of a (h, w) float32 picture at another size; size: width, height, window: left, top, right, bottom."""
    picture = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(picture.resize(size, Image.Resampling.HAMMING, box=window))


def cut(array: Array, box: Box) -> Array:
    """A part of a picture; no copy."""
    return array[box.top : box.bottom, box.left : box.right]


def strips(array: Array) -> Iterable[Array]:
    """A picture in strips of STRIP rows; no copies."""
    return (array[top : top + STRIP] for top in range(0, array.shape[0], STRIP))


def as_mask(array: Array) -> Tensor:
    """A (h, w, 1) picture as (1, 1, h, w) for TiledContent; no copy."""
    return torch.from_numpy(array).permute(2, 0, 1)[None]


def mask_sum(masks: Sequence[Tensor | None], box: Box, dtype: torch.dtype = torch.float32) -> Tensor:
    """The masks' sum over a part, (1, 1, h, w), float32 or float64; None counts 1 everywhere."""
    total = torch.zeros(1, 1, *box.size, dtype=dtype)
    for mask in masks:
        total += 1 if mask is None else mask_values(box.of(mask), dtype)
    return total


def union_share(masks: Sequence[Tensor | None], box: Box, dtype: torch.dtype = torch.float32) -> Array | None:
    """The share of paint in a part: the masks' sum, at most 1, (h, w, 1) of dtype; None when any mask is None."""
    if any(mask is None for mask in masks):
        return None
    share: Array = mask_sum(masks, box, dtype).clamp_(max=1.0)[0].permute(1, 2, 0).numpy()
    return share
