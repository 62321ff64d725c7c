"""Regions: masks over a picture's pixels, and their form on a grid of feature cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from adain_net.boxes import CELL, Box
from adain_net.encoder import RELU4_1


def region_box(region: Tensor) -> Box | None:
    """The smallest box on the cells' grid that holds a region; None when it is empty.

    Args:
        region: (1, 1, h, w), on the CPU; values above 0 belong to it.
    """
    height, width = region.shape[2:]
    inside = torch.from_numpy(region[0, 0].numpy() > 0)  # torch cannot compare 16-bit integers
    rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
    if not len(rows):
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return Box(
        top // CELL * CELL,
        min(math.ceil(bottom / CELL) * CELL, height),
        left // CELL * CELL,
        min(math.ceil(right / CELL) * CELL, width),
    )


def region_share(region: Tensor, cell: int = CELL) -> Tensor:
    """The share of each feature cell that lies in a region: the region's average over the cell's pixels.

    Args:
        region: (N, 1, h, w), float in 0..1.
        cell: Pixels of a cell, in each direction.
    Returns:
        (N, 1, ceil(h/cell), ceil(w/cell)); a cell at a ragged edge counts the pixels that it has.
    """
    return functional.avg_pool2d(region, kernel_size=cell, ceil_mode=True, count_include_pad=False)


def continued_around(feat: Tensor, share: Tensor, *, reach: int = RELU4_1.margin // RELU4_1.cell) -> Tensor:
    """Features that are known in a part of the cells, continued smoothly into the cells around them.

    At a selection's edge the decoder looks at cells outside it. What it paints there is discarded; but next to content
    that is not painted it would see a step, and paint that as an edge inside the selection. Continuing the transform
    instead of the features would not work: a channel that is silent in the region may have any value outside of it.

    Args:
        feat: (1, C, h, w), each cell's features times its share.
        share: (1, 1, h, w), float in 0..1, how much of each cell is known.
        reach: How many cells the decoder looks at around a pixel's own.
    Returns:
        (1, C, h, w): where the share is 1 the features; elsewhere the missing part is the mean of the nearest known
        cells within `reach`; beyond it, 0.
    """
    missing = 1 - share
    if not bool(missing.any()):
        return feat
    mean, reached = torch.zeros_like(feat), torch.zeros_like(share, dtype=torch.bool)
    for distance in range(1, reach + 1):
        known = _around(share, distance)
        near = (known > 0) & ~reached
        if bool(near.any()):
            mean = torch.where(near, _around(feat, distance) / known.clamp_min(torch.finfo(known.dtype).tiny), mean)
            reached |= near
    return feat + missing * mean


def _around(picture: Tensor, distance: int) -> Tensor:
    """The mean of the square of cells up to a distance; what lies outside counts as 0."""
    size = 2 * distance + 1
    rows = functional.avg_pool2d(picture, (size, 1), stride=1, padding=(distance, 0))
    return functional.avg_pool2d(rows, (1, size), stride=1, padding=(0, distance))


def mask_values(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask's or an opacity's values in 0..1, in float32 at least: uint8 and uint16 are scaled, float is clamped."""
    wide = torch.promote_types(dtype, torch.float32)
    if mask.is_floating_point():
        return mask.to(wide).clamp(0.0, 1.0)
    return mask.to(wide) / torch.iinfo(mask.dtype).max
