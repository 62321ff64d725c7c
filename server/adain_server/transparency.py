"""Layers with transparent pixels: the network sees their surroundings' colour there, never what is hidden.

Programs leave anything under a transparent pixel: black, white, what was erased. So the colours that go into the
network are the visible ones, continued smoothly into the transparent parts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adain_net.tiling import CELL, Box
from adain_server.pixels import PixelArray, cut, to_picture

ORIGIN = Box(0, 0, 0, 0)


class VisibleColours:
    """A layer's colours with the transparent parts filled in, tile by tile."""

    def __init__(self, layer: PixelArray, device: torch.device) -> None:
        """Average the visible colours over cells of 8 x 8 pixels, and fill the empty cells from their neighbours.

        Args:
            layer: (h, w, 4), R,G,B,A with unassociated alpha, not transparent everywhere.
        """
        self._layer = layer
        self._device = device
        height, width = layer.shape[:2]
        rows, columns = np.arange(0, height, CELL), np.arange(0, width, CELL)
        sums = np.empty((4, len(rows), len(columns)), dtype=np.float32)
        # Row by row of cells: a float copy of a whole large layer would need sixteen times its memory.
        for index, top in enumerate(rows):
            strip = layer[top : top + CELL].astype(np.float32)
            strip[:, :, :3] *= strip[:, :, 3:] / 255
            sums[:, index] = np.add.reduceat(strip.sum(axis=0), columns, axis=0).T
        cells = torch.from_numpy(sums / 255)[None]
        self._cells = fill_empty(cells[:, :3], cells[:, 3:])

    def __call__(self, box: Box) -> Tensor:
        """(1, 3, h, w) float32, RGB in 0..1, of a part whose corner is on the cells' grid."""
        part = cut(self._layer, box)
        opacity = torch.tensor(part[:, :, 3:], device=self._device).permute(2, 0, 1)[None].float() / 255
        return torch.lerp(self._surroundings(box).to(self._device), to_picture(part, self._device), opacity)

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
