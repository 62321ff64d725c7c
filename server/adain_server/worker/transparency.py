"""Layers with transparent pixels: the network sees their surroundings' colour there, never what is hidden.

Programs leave anything under a transparent pixel: black, white, erased paint. The colours that go into the
network are the visible ones, continued smoothly into the transparent parts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adain_net.boxes import CELL, Box
from adain_server.worker.layers import STRIP, Layer, cut

ORIGIN = Box(0, 0, 0, 0)


class VisibleColours:
    """A layer's colours with the transparent parts filled in, tile by tile."""

    def __init__(self, layer: Layer) -> None:
        """Average the visible colours over cells of 8 x 8 pixels, and fill the empty cells from their neighbours.

        Args:
            layer: With an alpha channel that is not 0 everywhere.
        """
        self._layer = layer
        height, width = layer.height, layer.width
        rows, columns = -(-height // CELL), -(-width // CELL)
        sums, weights = torch.empty(1, 3, rows, columns), torch.empty(1, 1, rows, columns)
        for top in range(0, height, STRIP):
            strip = Box(top, min(top + STRIP, height), 0, width)
            opacity = self._opacity(strip)
            part = strip.within(ORIGIN, CELL)
            part.of(sums).copy_(_cell_sums(layer.colours(strip) * opacity))
            part.of(weights).copy_(_cell_sums(opacity))
        self._cells = fill_empty(sums, weights)

    def __call__(self, box: Box) -> Tensor:
        """(1, 3, h, w) float32, RGB in 0..1, of a part whose corner is on the cells' grid."""
        return torch.lerp(self._surroundings(box), self._layer.colours(box), self._opacity(box))

    def _opacity(self, box: Box) -> Tensor:
        alpha = cut(self._layer.array, box)[:, :, -1].astype(np.float32) / np.float32(self._layer.white)
        return torch.from_numpy(alpha)[None, None].clamp_(0.0, 1.0)

    def _surroundings(self, box: Box) -> Tensor:
        # A cell more on every side, so that the interpolation is the same in every tile.
        rows, columns = self._cells.shape[2:]
        cells = box.within(ORIGIN, CELL)
        wider = cells.grown(1, Box(0, rows, 0, columns))
        smooth = functional.interpolate(wider.of(self._cells), scale_factor=CELL, mode="bilinear")
        inside = cells.within(wider)
        top, left = inside.top * CELL, inside.left * CELL
        height, width = box.size
        return smooth[:, :, top : top + height, left : left + width]


def _cell_sums(picture: Tensor) -> Tensor:
    return functional.avg_pool2d(picture, CELL, ceil_mode=True, divisor_override=1)


def fill_empty(colour_sums: Tensor, weights: Tensor) -> Tensor:
    """Mean colours of a grid, the cells without weight filled from ever coarser averages of their surroundings.

    Args:
        colour_sums: (1, C, h, w), float, each cell's colours summed with their weights.
        weights: (1, 1, h, w), float, at least 0, not all 0.
    Returns:
        (1, C, h, w).
    """
    known = weights > 0
    means = colour_sums / weights.clamp_min(torch.finfo(weights.dtype).tiny)
    if bool(known.all()):
        return means
    coarse = [functional.avg_pool2d(grid, 2, ceil_mode=True, divisor_override=1) for grid in (colour_sums, weights)]
    filled = fill_empty(coarse[0], coarse[1])
    height, width = weights.shape[2:]
    smooth = functional.interpolate(filled, scale_factor=2, mode="bilinear")[:, :, :height, :width]
    return torch.where(known, means, smooth)
