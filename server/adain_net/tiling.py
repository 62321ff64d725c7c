"""A picture of any size in tiles, exactly: the same result as the whole picture at once, in bounded memory.

The content's statistics are taken over the whole region first, tile by tile in float64; then each tile is transformed
and decoded with a margin that covers everything its pixels depend on. Only what the region needs is computed. Features
are kept between the two passes while they fit their budget; otherwise tiles are encoded again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from adain_net.network import MIN_SIDE, AdainNetwork, continued
from adain_net.statistics import EPS, StyleStatistics
from adain_net.transform import AffineTransform

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

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

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


def region_share(region: Tensor) -> Tensor:
    """How much of each feature cell lies in a region: the region's average over the cell's pixels.

    Args:
        region: (N, 1, h, w), float in 0..1.
    Returns:
        (N, 1, ceil(h/8), ceil(w/8)); a cell at a ragged edge counts the pixels that it has.
    """
    return functional.avg_pool2d(region, kernel_size=CELL, ceil_mode=True, count_include_pad=False)


class TiledContent:
    """A content picture that is worked on in tiles, with one or more regions."""

    def __init__(
        self,
        network: AdainNetwork,
        content: Callable[[Box], Tensor],
        regions: Sequence[Tensor | None],
        *,
        height: int,
        width: int,
        opacity: Tensor | None = None,
        tile: int = TILE,
        feature_bytes: int = 2**30,
    ) -> None:
        """Prepare; nothing is computed yet.

        Args:
            network: On the device and in the type that content() gives.
            content: Returns a part of the picture, (1, 3, h, w), float, RGB in 0..1.
            regions: Masks of the whole picture, (1, 1, height, width), 0..255 as uint8 or 0..1 as float, each not
                empty; None for everywhere.
            height, width: Of the picture, pixels, at least 1.
            opacity: How much each pixel counts in the statistics, as a mask, not 0 all over a region; None for 1.
            tile: Side of a tile, pixels, a multiple of 8.
            feature_bytes: Features are kept while they need no more than this.
        Raises:
            ValueError: No region, or an empty one.
        """
        self._network = network
        self._content = content
        self._regions = regions
        self._picture = Box(0, height, 0, width)
        # A picture that is too small for the network is continued on the right and below.
        self._bounds = Box(0, max(height, MIN_SIDE), 0, max(width, MIN_SIDE))
        self._box = self._wanted()
        self._work = self._box.grown(MARGIN, self._bounds)
        self._opacity = opacity
        self._tile = tile
        self._feature_bytes = feature_bytes
        self._feat: Tensor | None = None

    def statistics(self, on_tile: OnTile) -> list[StyleStatistics]:
        """First pass: encode, and take the content's statistics over each region, (1, C) each."""
        tiles = self._work.tiles(self._tile)
        sums = [_WeightedSums() for _ in self._regions]
        for index, tile in enumerate(tiles):
            on_tile("encode", index, len(tiles))
            feat = self._encode(tile)
            self._keep(tile, feat)
            for region, region_sums in zip(self._regions, sums, strict=True):
                share = self._share([region, self._opacity], tile, feat)
                region_sums.add(feat, torch.ones_like(feat[:, :1]) if share is None else share)
        return [region_sums.statistics(feat) for region_sums in sums]

    def decode(
        self, transforms: Sequence[AffineTransform], write: Callable[[Box, Tensor], None], on_tile: OnTile
    ) -> None:
        """Second pass: transform each region's features, blend, and decode.

        Args:
            transforms: One a region, in their order.
            write: Takes where a part of the result belongs and its pixels, (1, 3, h, w), float, RGB clamped to 0..1.
        """
        tiles = self._box.tiles(self._tile)
        for index, tile in enumerate(tiles):
            on_tile("decode", index, len(tiles))
            outer = tile.grown(MARGIN, self._bounds)
            target_feat = self._target(self._features(outer), transforms, outer)
            painted = tile.within(outer).of(self._network.decoder(target_feat))
            visible = tile.grown(0, self._picture)
            write(visible, visible.within(tile).of(painted).clamp(0.0, 1.0))
        on_tile("decode", len(tiles), len(tiles))

    def _wanted(self) -> Box:
        boxes = [self._bounds if region is None else region_box(region) for region in self._regions]
        found = [box for box in boxes if box is not None]
        if not found or len(found) < len(boxes):
            raise ValueError("There is no region, or one is empty.")
        wanted = Box(
            min(box.top for box in found),
            max(box.bottom for box in found),
            min(box.left for box in found),
            max(box.right for box in found),
        )
        # A box that reaches the edge of a picture that is continued reaches the edge of the continuation.
        return Box(
            wanted.top,
            self._bounds.bottom if wanted.bottom == self._picture.bottom else wanted.bottom,
            wanted.left,
            self._bounds.right if wanted.right == self._picture.right else wanted.right,
        )

    def _target(self, feat: Tensor, transforms: Sequence[AffineTransform], outer: Box) -> Tensor:
        """sum_r m_r (a_r f + b_r) + (1 - sum_r m_r) f; shares that sum above 1 are normalised."""
        shares = [self._share([region], outer, feat) for region in self._regions]
        if shares == [None]:
            return transforms[0].apply(feat)
        known = [feat.new_ones(1, 1, 1, 1) if share is None else share for share in shares]
        total = torch.stack([share.expand(1, 1, *feat.shape[2:]) for share in known]).sum(dim=0).clamp_min(1)
        target_feat = feat.clone()
        for share, transform in zip(known, transforms, strict=True):
            target_feat += share / total * (transform.apply(feat) - feat)
        return target_feat

    def _encode(self, tile: Box) -> Tensor:
        """relu4_1 of a tile's cells, exactly as in the whole picture."""
        outer = tile.grown(MARGIN, self._bounds)
        picture = continued(self._content(outer.grown(0, self._picture)), *outer.size)
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

    def _share(self, masks: Sequence[Tensor | None], tile: Box, feat: Tensor) -> Tensor | None:
        """The product of masks over a tile's cells; None when all of them are everything."""
        product = None
        for mask in masks:
            if mask is None:
                continue
            part = tile.grown(0, self._picture).of(mask)
            values = part.to(feat) if part.is_floating_point() else part.to(feat) / 255
            product = values if product is None else product * values
        return None if product is None else region_share(continued(product, *tile.size))


class _WeightedSums:
    """A region's statistics, summed tile by tile in float64 about a first guess of the mean.

    Without the guess a large picture would lose digits in the difference of two large sums.
    """

    def __init__(self) -> None:
        self._guess: Tensor | None = None

    def add(self, feat: Tensor, share: Tensor) -> None:
        """Add a tile's features, (1, C, h, w), each cell counted by its share, (1, 1, h, w)."""
        cells, weights = feat[0].flatten(1).double(), share[0].flatten(1).double()
        if self._guess is None:
            self._guess = cells.mean(dim=1, keepdim=True)
            self._count, self._first, self._second = weights.new_zeros(()), 0 * cells[:, 0], 0 * cells[:, 0]
        moved = cells - self._guess
        self._count += weights.sum()
        self._first += (moved * weights).sum(dim=1)
        self._second += (moved.square() * weights).sum(dim=1)

    def statistics(self, like: Tensor) -> StyleStatistics:
        """As channel_statistics() over all that was added, (1, C) in like's type and device."""
        assert self._guess is not None
        n = self._count
        offset = self._first / n
        variance = (self._second - n * offset.square()).clamp_min(0) / torch.maximum(n - 1, n / 2)
        return StyleStatistics((self._guess[:, 0] + offset)[None].to(like), (variance + EPS).sqrt()[None].to(like))


def _cuts(start: int, end: int, side: int) -> list[int]:
    cells = math.ceil((end - start) / CELL)
    count = math.ceil(cells * CELL / side)
    return [start + cells * index // count * CELL for index in range(count)] + [end]
