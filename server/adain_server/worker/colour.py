"""Keeping the content's colours: the style is recoloured before it is encoded, or paint gets the content's chroma."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adain_net.boxes import Box
from adain_net.regions import mask_values
from adain_server.worker.layers import LUMA, Layer, as_mask

SAMPLE_SIDE = 512
"""Colours are averaged over a picture of at most this side, in pixels: more would not change them."""
LEAST_VARIANCE = 1e-4
"""Added to each colour's variance (a deviation of 0.01), so that a flat style is not spread into noise."""


@dataclass(frozen=True)
class ColourStatistics:
    """A picture's colours.

    Attributes:
        mean: (3,), float64, RGB.
        covariance: (3, 3), float64.
    """

    mean: Tensor
    covariance: Tensor

    @property
    def key(self) -> bytes:
        """Identifies these numbers in a cache."""
        return bytes(torch.cat([self.mean[None], self.covariance]).numpy().tobytes())


@dataclass(frozen=True)
class Recolouring:
    """An affine map of colours: (3, 3) and (3,), float32."""

    matrix: Tensor
    offset: Tensor

    def __call__(self, picture: Tensor) -> Tensor:
        """Apply it to (1, 3, h, w); the result is clamped to 0..1."""
        moved = torch.einsum("cd,ndhw->nchw", self.matrix, picture) + self.offset[:, None, None]
        return moved.clamp_(0.0, 1.0)


def colour_statistics(layer: Layer, mask: Layer | None = None) -> ColourStatistics:
    """Mean and covariance of the visible colours, within a mask if there is one, which must not be 0 everywhere."""
    scale = min(1.0, SAMPLE_SIDE / max(layer.height, layer.width))
    height, width = max(1, round(layer.height * scale)), max(1, round(layer.width * scale))
    small = layer.shrunk(height, width)
    colours = small.colours(Box(0, height, 0, width))[0].flatten(1).double()
    weights = colours.new_ones(colours.shape[1])
    opacity = small.opacity()
    chosen = None if mask is None else as_mask(mask.shrunk(height, width).array)
    for values in (opacity, chosen):
        if values is not None:
            weights = weights * mask_values(values, torch.float64).flatten()
    total = weights.sum().clamp_min(torch.finfo(torch.float64).tiny)
    mean = (colours * weights).sum(dim=1) / total
    centred = colours - mean[:, None]
    return ColourStatistics(mean, (centred * weights) @ centred.T / total)


def recolouring(style: ColourStatistics, content: ColourStatistics) -> Recolouring:
    """The map that gives a style the content's mean and covariance.

    Source:
        Gatys et al., Preserving Color in Neural Artistic Style Transfer, 2016, section 3: the square roots are the
        symmetric ones, so that a colour moves as little as it can.
    """
    floor = LEAST_VARIANCE * torch.eye(3, dtype=torch.float64)
    matrix = _power(content.covariance + floor, 0.5) @ _power(style.covariance + floor, -0.5)
    return Recolouring(matrix.float(), (content.mean - matrix @ style.mean).float())


def under_own_chroma(painted: Tensor, content: Tensor) -> Tensor:
    """Painted luminance with the content's chroma, (1, 3, h, w) in 0..1.

    A chroma that would leave 0..1 at the new luminance is reduced as far as needed; its hue stays.
    """
    luma = painted.new_tensor(LUMA)[:, None, None]
    luminance = (painted * luma).sum(dim=1, keepdim=True)
    chroma = content - (content * luma).sum(dim=1, keepdim=True)
    tiny = torch.finfo(chroma.dtype).tiny
    room = torch.where(chroma > 0, (1 - luminance) / chroma.clamp_min(tiny), luminance / (-chroma).clamp_min(tiny))
    return luminance + room.amin(dim=1, keepdim=True).clamp(0.0, 1.0) * chroma


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric positive definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    powers = torch.pow(values.clamp_min(LEAST_VARIANCE / 2), exponent)
    result: Tensor = vectors @ torch.diag(powers) @ vectors.T
    return result
