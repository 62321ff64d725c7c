"""A picture of any size in tiles, exactly: the same result as the whole picture at once, in bounded memory.

The content's statistics are taken over the whole region first, tile by tile in float64; then each tile is transformed
and decoded with a margin that covers everything its pixels depend on. Only what the region needs is computed. Features
are kept between the two passes while they fit their budget; otherwise tiles are encoded again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adain_net.network import MIN_SIDE, AdainNetwork, continued, region_share
from adain_net.statistics import EPS, StyleStatistics
from adain_net.transform import adain_transform

CELL = 8
"""Pixels of a relu4_1 cell, in each direction."""
MARGIN = 4 * CELL
"""Pixels beyond a tile on which its cells depend in the encoder (30, rounded up), and its pixels in the decoder."""
TILE = 512
"""Side of a tile in pixels: the margins add half to a tile of 256, a quarter to one of 512."""

OnTile = Callable[[str, int, int], None]
"""Told the stage ("encode" or "decode"), the tiles that are over and the tiles in all; may raise to stop."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top to bottom, columns left to right, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, pixels: int, bounds: Box) -> Box:
        """Larger by that much on every side, but within bounds."""
        return Box(
            max(self.top - pixels, bounds.top),
            min(self.bottom + pixels, bounds.bottom),
            max(self.left - pixels, bounds.left),
            min(self.right + pixels, bounds.right),
        )

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


def region_box(region: Tensor) -> Box | None:
    """The smallest box on the cells' grid that holds a region; None when it is empty.

    Args:
        region: (1, 1, h, w); what is above 0 belongs to it.
    """
    height, width = region.shape[2:]
    inside = region[0, 0] > 0
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


class TiledContent:
    """A content picture that is worked on in tiles."""

    def __init__(
        self,
        network: AdainNetwork,
        content: Callable[[Box], Tensor],
        *,
        height: int,
        width: int,
        box: Box | None = None,
        region: Callable[[Box], Tensor] | None = None,
        tile: int = TILE,
        feature_bytes: int = 2**30,
    ) -> None:
        """Prepare; nothing is computed yet.

        Args:
            network: On the device and in the type that content() gives.
            content: Returns a part of the picture, (1, 3, h, w), float, RGB in 0..1.
            height, width: Of the picture, pixels, at least 1.
            box: Where pixels are wanted, on the cells' grid: region_box(); None for everywhere.
            region: Returns a part of the region's mask, (1, 1, h, w), float in 0..1; None for everywhere.
            tile: Side of a tile, pixels, a multiple of 8.
            feature_bytes: Features are kept while they need no more than this.
        """
        self._network = network
        self._content = content
        self._region = region
        self._picture = Box(0, height, 0, width)
        # A picture that is too small for the network is continued on the right and below.
        self._bounds = Box(0, max(height, MIN_SIDE), 0, max(width, MIN_SIDE))
        self._box = self._bounds if box is None or box == self._picture else box
        self._work = self._box.grown(MARGIN, self._bounds)
        self._tile = tile
        self._feature_bytes = feature_bytes
        self._feat: Tensor | None = None

    def statistics(self, on_tile: OnTile) -> StyleStatistics:
        """First pass: encode, and take the content's statistics over the region, (1, C) each.

        Sums are made in float64 about a first guess of the mean, so that large pictures lose no digits.
        """
        tiles = self._work.tiles(self._tile)
        count, shift, first, second = 0.0, None, torch.zeros(0), torch.zeros(0)
        for index, tile in enumerate(tiles):
            on_tile("encode", index, len(tiles))
            feat = self._encode(tile)
            self._keep(tile, feat)
            share = self._share(tile)
            cells = feat[0].flatten(1).double()
            weights = torch.ones_like(cells[:1]) if share is None else share.to(feat)[0].flatten(1).double()
            weights = weights * self._inside_box(tile, feat).flatten()
            if shift is None:
                shift = cells.mean(dim=1, keepdim=True)
                first, second = torch.zeros_like(shift[:, 0]), torch.zeros_like(shift[:, 0])
            moved = cells - shift
            count += float(weights.sum())
            first += (moved * weights).sum(dim=1)
            second += (moved.square() * weights).sum(dim=1)
        assert shift is not None
        offset = first / count
        variance = (second - count * offset.square()).clamp_min(0) / max(count - 1, count / 2)
        mean, std = shift[:, 0] + offset, (variance + EPS).sqrt()
        return StyleStatistics(mean[None].to(feat), std[None].to(feat))

    def decode(
        self,
        own: StyleStatistics,
        style: StyleStatistics,
        *,
        alpha: float,
        write: Callable[[Box, Tensor], None],
        on_tile: OnTile,
    ) -> None:
        """Second pass: transform and decode.

        Args:
            own: What statistics() gave.
            style: What the region gets. alpha: 0 = content, 1 = full style.
            write: Takes a part of the result, (1, 3, h, w), float, RGB clamped to 0..1, and where it belongs.
        """
        transform = adain_transform(own, style, alpha=alpha)
        tiles = self._box.tiles(self._tile)
        for index, tile in enumerate(tiles):
            on_tile("decode", index, len(tiles))
            outer = tile.grown(MARGIN, self._bounds)
            feat = self._features(outer)
            target_feat = transform.apply(feat)
            if (share := self._share(outer)) is not None:
                target_feat = torch.lerp(feat, target_feat, share)
            painted = tile.within(outer).of(self._network.decoder(target_feat))
            visible = tile.grown(0, self._picture)
            write(visible, visible.within(tile).of(painted).clamp(0.0, 1.0))
        on_tile("decode", len(tiles), len(tiles))

    def _encode(self, tile: Box) -> Tensor:
        """relu4_1 of a tile's cells, exactly as in the whole picture."""
        outer = tile.grown(MARGIN, self._bounds)
        picture = continued(self._content(outer.grown(0, self._picture)))
        return tile.within(outer, CELL).of(self._network.encoder(picture))

    def _keep(self, tile: Box, feat: Tensor) -> None:
        cells = self._work.within(self._work, CELL)
        size = feat.shape[1] * cells.bottom * cells.right * feat.element_size()
        if size > self._feature_bytes:
            return
        if self._feat is None:
            self._feat = feat.new_empty(1, feat.shape[1], cells.bottom, cells.right)
        tile.within(self._work, CELL).of(self._feat).copy_(feat)

    def _features(self, outer: Box) -> Tensor:
        if self._feat is not None:
            return outer.within(self._work, CELL).of(self._feat)
        return self._encode(outer)

    def _share(self, tile: Box) -> Tensor | None:
        if self._region is None:
            return None
        return region_share(self._region(tile.grown(0, self._picture)))

    def _inside_box(self, tile: Box, feat: Tensor) -> Tensor:
        """1 for the cells of a tile that lie in the box, 0 for those that only serve as a margin."""
        inside = torch.zeros(1, 1, *feat.shape[2:], dtype=torch.float64, device=feat.device)
        overlap = self._box.grown(0, tile)
        if overlap.top < overlap.bottom and overlap.left < overlap.right:
            overlap.within(tile, CELL).of(inside).fill_(1)
        return inside


def _cuts(start: int, end: int, side: int) -> list[int]:
    cells = math.ceil((end - start) / CELL)
    count = math.ceil(cells * CELL / side)
    return [start + cells * index // count * CELL for index in range(count)] + [end]
