"""A picture of any size in tiles, exactly: the same result as the whole picture at once, in bounded memory.

The content's statistics are taken over the whole region first, tile by tile in float64; then each tile is transformed
and decoded with a margin that covers everything its pixels depend on. Only what the region needs is computed. Features
are kept between the two passes while they fit their budget; otherwise tiles are encoded again. A device that runs out
of memory gets smaller tiles, then its work goes to the next engine; that of a device that fails goes there at once.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from adain_net.engine import Engine
from adain_net.network import MIN_SIDE, continued
from adain_net.statistics import EPS, StyleStatistics
from adain_net.transform import AffineTransform

log = logging.getLogger(__name__)

CELL = 8
"""Pixels of a relu4_1 cell, in each direction."""
RELU4_1_CHANNELS = 512
MARGIN = 4 * CELL
"""Pixels beyond a tile on which its cells depend in the encoder (30, rounded up), and its pixels in the decoder."""
TILE = 512
"""Side of a tile in pixels: the margins add half to a tile of 256, a quarter to one of 512."""
SMALLEST_TILE = 128
"""A device that cannot hold this gives its work to the next engine."""

OnTile = Callable[[str, int, int], None]
"""Told the stage ("encode" or "decode"), the tiles that are over and the tiles in all; may raise to stop."""


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
        region: (1, 1, h, w), on the CPU; what is above 0 belongs to it.
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


def region_share(region: Tensor) -> Tensor:
    """How much of each feature cell lies in a region: the region's average over the cell's pixels.

    Args:
        region: (N, 1, h, w), float in 0..1.
    Returns:
        (N, 1, ceil(h/8), ceil(w/8)); a cell at a ragged edge counts the pixels that it has.
    """
    return functional.avg_pool2d(region, kernel_size=CELL, ceil_mode=True, count_include_pad=False)


def continued_around(feat: Tensor, share: Tensor) -> Tensor:
    """Features that are known in a part of the cells, continued smoothly into the cells around them.

    At a selection's edge the decoder looks at cells outside it. What it paints there nobody sees; but next to content
    that is not painted it would see a step, and paint that as an edge inside the selection. Continuing the transform
    instead of the features would not do: a channel that is silent in the region may be anything outside of it.

    Args:
        feat: (1, C, h, w), each cell's features times its share.
        share: (1, 1, h, w), float in 0..1, how much of each cell is known.
    Returns:
        (1, C, h, w): where the share is 1 the features; elsewhere the missing part is the mean of the nearest known
        cells, at most as far as the decoder looks; beyond, 0.
    """
    missing = 1 - share
    if not bool(missing.any()):
        return feat
    mean, reached = torch.zeros_like(feat), torch.zeros_like(share, dtype=torch.bool)
    for distance in range(1, MARGIN // CELL + 1):
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


@dataclass(frozen=True)
class Encoded:
    """What the first pass found, to be used again for as long as content, regions and opacity are the same.

    Attributes:
        statistics: The content's, one a region, (1, C) each.
        feat: relu4_1 of what the regions need, (1, C, h, w); None when it did not fit.
    """

    statistics: list[StyleStatistics]
    feat: Tensor | None

    @property
    def size(self) -> int:
        """Bytes of the features."""
        return 0 if self.feat is None else self.feat.numel() * self.feat.element_size()


class TiledContent:
    """A content picture that is worked on in tiles, with one or more regions.

    Attributes:
        tile: Side of a tile in pixels; smaller than asked for once a device's memory was too small.
        engine: What computes; another one than the first once a device's memory was too small, or it failed.
        has_failed: An engine failed, and not for its memory.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        content: Callable[[Box], Tensor],
        regions: Sequence[Tensor | None],
        *,
        height: int,
        width: int,
        opacity: Tensor | None = None,
        tile: int = TILE,
        feature_bytes: int = 2**30,
        encoded: Encoded | None = None,
    ) -> None:
        """Prepare; nothing is computed yet.

        Args:
            engines: What computes, the best first; the others take over where its memory is too small even for tiles
                of SMALLEST_TILE.
            content: Returns a part of the picture, (1, 3, h, w), float, RGB in 0..1, on any device.
            regions: Masks of the whole picture, (1, 1, height, width), on the CPU, 0..255 as uint8, 0..65535 as
                uint16 or 0..1 as float, each not empty; None for everywhere.
            height, width: Of the picture, pixels, at least 1.
            opacity: How much each pixel counts in the statistics, as a mask, not 0 all over a region; None for 1.
            tile: Side of a tile, pixels, a multiple of 8.
            feature_bytes: Features are kept while they need no more than this.
            encoded: What encode() gave for the same picture, regions and opacity.
        Raises:
            ValueError: No region, or an empty one.
        """
        self.tile = tile
        self.has_failed = False
        self._engines = deque(engines)
        self._content = content
        self._regions = regions
        self._picture = Box(0, height, 0, width)
        # A picture that is too small for the network is continued on the right and below.
        self._bounds = Box(0, max(height, MIN_SIDE), 0, max(width, MIN_SIDE))
        self._box = self._wanted()
        self._work = self._box.grown(MARGIN, self._bounds)
        self._opacity = opacity
        self._feature_bytes = feature_bytes
        self._encoded = encoded
        self._kept: Tensor | None = None

    @property
    def engine(self) -> Engine:
        """What computes now."""
        return self._engines[0]

    @property
    def feature_size(self) -> int:
        """Bytes of the features that encode() will keep; 0 when they are too many to be kept."""
        size = math.prod(self._feature_shape()) * self.engine.dtype.itemsize
        return size if size <= self._feature_bytes else 0

    def encode(self, on_tile: OnTile) -> Encoded:
        """First pass: encode, and take the content's statistics over each region."""
        if self._encoded is not None:
            return self._encoded
        self._kept = self._room_for_features()
        sums = [_WeightedSums() for _ in self._regions]

        def work(tile: Box) -> None:
            feat = self._encode(tile)
            shares = [self._share([region, self._opacity], tile, feat) for region in self._regions]
            # Nothing is added before everything has been computed: a tile whose memory ran out is done again.
            parts = [known.of_tile(feat, share) for known, share in zip(sums, shares, strict=True)]
            if self._kept is not None:
                tile.within(self._work, CELL).of(self._kept).copy_(feat)
            for known, part in zip(sums, parts, strict=True):
                known.add(part)

        self._each_tile(self._work, "encode", work, on_tile)
        dtype = self.engine.dtype if self.engine.dtype is torch.float64 else torch.float32
        self._encoded = Encoded([known.statistics(dtype) for known in sums], self._kept)
        self._kept = None
        return self._encoded

    def decode(
        self, transforms: Sequence[AffineTransform], write: Callable[[Box, Tensor], None], on_tile: OnTile
    ) -> None:
        """Second pass: transform each region's features, blend, and decode.

        Args:
            transforms: One a region, in their order.
            write: Takes where a part of the result belongs and its pixels, (1, 3, h, w), float, RGB clamped to 0..1.
        """

        def work(tile: Box) -> None:
            outer = tile.grown(MARGIN, self._bounds)
            target_feat = self._target(outer, transforms)
            painted = tile.within(outer).of(self.engine.decode(target_feat))
            visible = tile.grown(0, self._picture)
            write(visible, visible.within(tile).of(painted).clamp(0.0, 1.0))

        self._each_tile(self._box, "decode", work, on_tile)

    def _each_tile(self, box: Box, stage: str, work: Callable[[Box], None], on_tile: OnTile) -> None:
        """Do a box tile by tile; a tile that the device cannot hold is cut smaller, or done by the next engine."""
        waiting = deque(box.tiles(self.tile))
        over = 0
        while waiting:
            on_tile(stage, over, over + len(waiting))
            tile = waiting.popleft()
            if self._fits(work, tile):
                over += 1
            elif (side := max(tile.size)) > SMALLEST_TILE:
                while self.tile >= side:  # a small picture is no whole tile: uncut it would only fail again
                    self.tile = max(self.tile // 2 // CELL * CELL, SMALLEST_TILE)
                waiting = deque(part for each in (tile, *waiting) for part in each.tiles(self.tile))
            elif len(self._engines) > 1:
                self._engines.popleft()
                waiting.appendleft(tile)
            else:
                raise MemoryError("not even the smallest tile fits the memory")
        on_tile(stage, over, over)

    def _fits(self, work: Callable[[Box], None], tile: Box) -> bool:
        failed = False
        try:
            work(tile)
        except (torch.OutOfMemoryError, MemoryError):
            pass
        except RuntimeError as error:
            if len(self._engines) == 1:
                raise
            log.warning("what computes on %s failed: %s", self.engine.device, error)
            failed = True
        else:
            return True
        # Outside the `except`, where the error would keep the tile's tensors alive.
        if failed:
            self._leave_failed_engine()
            return self._fits(work, tile)
        if self.engine.device.type == "cuda":
            torch.cuda.empty_cache()
        return False

    def _leave_failed_engine(self) -> None:
        """The next engine goes on, without anything that lies in the memory of the one that failed."""
        self.has_failed = True
        self._engines.popleft()
        self._kept = None
        if self._encoded is not None:
            self._encoded = replace(self._encoded, feat=None)

    def _wanted(self) -> Box:
        boxes = [self._bounds if region is None else region_box(region) for region in self._regions]
        found = [box for box in boxes if box is not None]
        if not found or len(found) < len(boxes):
            raise ValueError("There is no region, or one is empty.")
        wanted = Box.around(found)
        # A box that reaches the edge of a picture that is continued reaches the edge of the continuation.
        return Box(
            wanted.top,
            self._bounds.bottom if wanted.bottom == self._picture.bottom else wanted.bottom,
            wanted.left,
            self._bounds.right if wanted.right == self._picture.right else wanted.right,
        )

    def _target(self, outer: Box, transforms: Sequence[AffineTransform]) -> Tensor:
        """sum_r m_r (a_r f + b_r), shares that sum above 1 normalised, continued around the regions."""
        # As far around as the decoder looks, there may be cells of a region that have to be continued.
        wide = outer if self._regions == [None] else outer.grown(MARGIN, self._work)
        feat = self._features(wide)
        transforms = [AffineTransform(each.scale.to(feat), each.shift.to(feat)) for each in transforms]
        shares = [self._share([region], wide, feat) for region in self._regions]
        if shares == [None]:
            return transforms[0].apply(feat)
        known = [feat.new_ones(1, 1, *feat.shape[2:]) if share is None else share for share in shares]
        total = torch.stack(known).sum(dim=0)
        painted = torch.zeros_like(feat)
        for share, transform in zip(known, transforms, strict=True):
            painted += share / total.clamp_min(1) * transform.apply(feat)
        return outer.within(wide, CELL).of(continued_around(painted, total.clamp(max=1)))

    def _encode(self, tile: Box) -> Tensor:
        """relu4_1 of a tile's cells, exactly as in the whole picture."""
        outer = tile.grown(MARGIN, self._bounds)
        picture = continued(self._content(outer.grown(0, self._picture)), *outer.size)
        feat = self.engine.encode(self._on_device(picture))
        return tile.within(outer, CELL).of(feat)

    def _feature_shape(self) -> tuple[int, int, int, int]:
        cells = self._work.within(self._work, CELL)
        return 1, RELU4_1_CHANNELS, cells.bottom, cells.right

    def _room_for_features(self) -> Tensor | None:
        if not self.feature_size:
            return None
        try:
            return torch.empty(self._feature_shape(), dtype=self.engine.dtype, device=self.engine.device)
        except (RuntimeError, MemoryError):  # no memory; or the device fails, which the first tile will find
            return None

    def _features(self, outer: Box) -> Tensor:
        if self._encoded is not None and self._encoded.feat is not None:
            return self._on_device(outer.within(self._work, CELL).of(self._encoded.feat))
        return self._encode(outer)

    def _on_device(self, tensor: Tensor) -> Tensor:
        device, dtype = self.engine.device, self.engine.dtype
        if device.type == "cuda" and tensor.device.type == "cpu":
            # From pinned memory the card fetches by itself, while this process prepares the next step.
            return tensor.pin_memory().to(device, non_blocking=True).to(dtype)
        return tensor.to(device, dtype)

    def _share(self, masks: Sequence[Tensor | None], tile: Box, feat: Tensor) -> Tensor | None:
        """The product of masks over a tile's cells; None when all of them are everything."""
        product = None
        for mask in masks:
            if mask is None:
                continue
            values = mask_values(tile.grown(0, self._picture).of(mask), feat.dtype)
            product = values if product is None else product * values
        return None if product is None else region_share(continued(product, *tile.size)).to(feat)


def mask_values(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask's or an opacity's values in 0..1, in float32 at least: uint8 and uint16 are scaled, float is clamped."""
    wide = torch.promote_types(dtype, torch.float32)
    if mask.is_floating_point():
        return mask.to(wide).clamp(0.0, 1.0)
    return mask.to(wide) / torch.iinfo(mask.dtype).max


@dataclass(frozen=True)
class _TileSums:
    """A tile's part of the sums: float64, about the guess of the mean."""

    guess: Tensor
    count: Tensor
    first: Tensor
    second: Tensor


class _WeightedSums:
    """A region's statistics, summed tile by tile in float64 about a first guess of the mean.

    Without the guess a large picture would lose digits in the difference of two large sums.
    """

    def __init__(self) -> None:
        self._total: _TileSums | None = None

    def of_tile(self, feat: Tensor, share: Tensor | None) -> _TileSums:
        """A tile's sums: features, (1, C, h, w), each cell counted by its share, (1, 1, h, w); None for 1."""
        # In half precision squares would overflow. Otherwise numbers about the mean need no more than the features'
        # own precision, only their sums do.
        cells = feat[0].flatten(1).to(torch.promote_types(feat.dtype, torch.float32))
        total = self._total
        guess = cells.mean(dim=1, keepdim=True) if total is None else total.guess.to(cells)
        moved = cells - guess
        if share is None:
            count = torch.tensor(float(cells.shape[1]), dtype=torch.float64)
            weighted = moved
        else:
            weights = share[0].flatten(1).to(cells)
            count = weights.sum(dtype=torch.float64)
            weighted = moved * weights
        first = weighted.sum(dim=1, dtype=torch.float64)
        second = moved.mul_(weighted).sum(dim=1, dtype=torch.float64)
        return _TileSums(*(each.double().cpu() for each in (guess, count, first, second)))

    def add(self, part: _TileSums) -> None:
        """Add what of_tile() gave."""
        total = self._total
        if total is None:
            self._total = part
        else:
            self._total = _TileSums(
                total.guess, total.count + part.count, total.first + part.first, total.second + part.second
            )

    def statistics(self, dtype: torch.dtype) -> StyleStatistics:
        """As channel_statistics() over all that was added, (1, C), on the CPU."""
        total = self._total
        assert total is not None
        offset = total.first / total.count
        squares = (total.second - total.count * offset.square()).clamp_min(0)
        variance = squares / torch.maximum(total.count - 1, total.count / 2)
        mean = total.guess[:, 0] + offset
        return StyleStatistics(mean[None].to(dtype), (variance + EPS).sqrt()[None].to(dtype))


def _cuts(start: int, end: int, side: int) -> list[int]:
    cells = math.ceil((end - start) / CELL)
    count = math.ceil(cells * CELL / side)
    return [start + cells * index // count * CELL for index in range(count)] + [end]
