"""Rectangles of pixels: parts of a picture, and tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from adain_net.encoder import RELU4_1

CELL = RELU4_1.cell
"""Tiles and boxes lie on this grid of pixels, which every layer's cells fit."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top to bottom, columns left to right, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, boxes: Sequence[Box]) -> Box:
        """The smallest box that holds all of them, at least one."""
        return cls(
            min(box.top for box in boxes),
            max(box.bottom for box in boxes),
            min(box.left for box in boxes),
            max(box.right for box in boxes),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def grown(self, pixels: int, bounds: Box) -> Box:
        """The box enlarged by that much on every side, cut to bounds."""
        return Box(
            max(self.top - pixels, bounds.top),
            min(self.bottom + pixels, bounds.bottom),
            max(self.left - pixels, bounds.left),
            min(self.right + pixels, bounds.right),
        )

    def meets(self, other: Box) -> bool:
        """Whether the two have a pixel in common."""
        rows = max(self.top, other.top) < min(self.bottom, other.bottom)
        return rows and max(self.left, other.left) < min(self.right, other.right)

    def of(self, picture: Tensor) -> Tensor:
        """This part of a (N, C, h, w) picture; no copy."""
        return picture[:, :, self.top : self.bottom, self.left : self.right]

    def within(self, outer: Box, scale: int = 1) -> Box:
        """The same rectangle counted from outer's corner, in units of `scale` pixels; a ragged end is rounded up."""
        return Box(
            (self.top - outer.top) // scale,
            -(-(self.bottom - outer.top) // scale),
            (self.left - outer.left) // scale,
            -(-(self.right - outer.left) // scale),
        )

    def tiles(self, side: int) -> list[Box]:
        """Cut into boxes of at most about `side` pixels, of even sizes, on the cells' grid counted from this box."""
        rows, columns = _cuts(self.top, self.bottom, side), _cuts(self.left, self.right, side)
        return [
            Box(top, bottom, left, right)
            for top, bottom in itertools.pairwise(rows)
            for left, right in itertools.pairwise(columns)
        ]


def _cuts(start: int, end: int, side: int) -> list[int]:
    cells = math.ceil((end - start) / CELL)
    count = math.ceil(cells * CELL / side)
    return [start + cells * index // count * CELL for index in range(count)] + [end]
