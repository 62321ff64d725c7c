"""A picture of any size in tiles, exactly: the same result as the whole picture at once, in bounded memory.

The content's statistics are taken over the whole region first, tile by tile in float64; then each tile is transformed
and decoded with a margin that covers everything its pixels depend on. Only what the region needs is computed. Features
are kept between the two passes if they fit their budget; otherwise tiles are encoded again. A device that runs out of
memory gets smaller tiles, then its work goes to the next engine; if a device fails, its work goes there at once.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from adain_net.boxes import CELL, Box
from adain_net.encoder import LAYERS, RELU4_1
from adain_net.engine import Engine
from adain_net.network import MIN_SIDE, continued
from adain_net.regions import continued_around, mask_values, region_box, region_share
from adain_net.statistics import StyleStatistics
from adain_net.transform import AffineTransform
from adain_net.weighted_sums import WeightedSums, add_tile

log = logging.getLogger(__name__)

TILE = 512
"""Side of a tile in pixels: the margins add half to a tile of 256, a quarter to one of 512."""
SMALLEST_TILE = 128
"""When a device cannot hold a tile of this side, the next engine takes over."""

NEARBY_CELLS = 8
"""How many cells of relu4_1 around a region take its settings: more than any later pass looks at."""

OnTile = Callable[[str, int, int], None]
"""Called with the stage ("encode", "decode") and the numbers of finished and of all tiles; may raise to stop."""
ReadPart = Callable[[Box], Tensor]
"""Returns a part of a picture, (1, 3, h, w), float, RGB in 0..1, on any device."""
WritePart = Callable[[Box, Tensor], None]
"""Receives a part of the result, its place and its pixels, (1, 3, h, w), float, RGB clamped to 0..1."""


@dataclass(frozen=True)
class Encoded:
    """The results of the first pass, valid for as long as content, regions and opacity are the same.

    Attributes:
        statistics: Of the content, one per region, (1, C) each.
        feat: Features of the parts that the regions need, (1, C, h, w); None when they did not fit.
        reconstruction: These features decoded without a transform, (1, 3, h, w) on the CPU, for the pixels that are
            painted; None when it did not fit or was not needed yet.
    """

    statistics: list[StyleStatistics]
    feat: Tensor | None
    reconstruction: Tensor | None = None

    @property
    def size(self) -> int:
        """Bytes of all the tensors, those of the statistics included."""
        known = [tensor for each in self.statistics for tensor in (each.mean, each.std)]
        return sum(each.nbytes for each in (*known, self.feat, self.reconstruction) if each is not None)


def room(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | None = None) -> Tensor | None:
    """A tensor whose values are undefined, on the CPU unless a device is given; None if there is no memory for it."""
    try:
        return torch.empty(shape, dtype=dtype, device=device or "cpu")
    except (RuntimeError, MemoryError):  # no memory; or the device fails, which the first tile will show
        return None


class OnDevice(Protocol):
    """Something that computes on a device; device and dtype are those of the tensors that it takes."""

    device: torch.device
    dtype: torch.dtype


AnyEngine = TypeVar("AnyEngine", bound=OnDevice)


class TiledWork(Generic[AnyEngine]):
    """Work on a picture tile by tile; when an engine cannot continue, the next one takes over.

    Attributes:
        tile: Side of a tile in pixels; smaller than asked for once a device's memory was too small.
        engine: The current engine; not the first one once a device's memory was too small or a device failed.
        has_failed: Whether an engine failed for another reason than memory.
    """

    def __init__(
        self,
        engines: Sequence[AnyEngine],
        content: ReadPart,
        *,
        height: int,
        width: int,
        opacity: Tensor | None,
        tile: int,
    ) -> None:
        self.tile = tile
        self.has_failed = False
        self._engines = deque(engines)
        self._engines_at_first = len(engines)
        self._content = content
        self._opacity = opacity
        self._picture = Box(0, height, 0, width)
        # A picture that is too small for the network is continued on the right and below.
        self._bounds = Box(0, max(height, MIN_SIDE), 0, max(width, MIN_SIDE))

    @property
    def engine(self) -> AnyEngine:
        """The engine that computes now."""
        return self._engines[0]

    @property
    def has_moved(self) -> bool:
        """Whether another engine than the first one computes now."""
        return len(self._engines) < self._engines_at_first

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
                while self.tile >= side:  # a picture smaller than a tile has to be cut, or it would fail again
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
        """Continue with the next engine, without anything that is in the failed engine's memory."""
        self.has_failed = True
        self._engines.popleft()

    def _part(self, content: ReadPart, box: Box) -> Tensor:
        """A part of a picture within the bounds, continued beyond the picture's edge, on the device."""
        return self._on_device(continued(content(box.grown(0, self._picture)), *box.size))

    def _on_device(self, tensor: Tensor) -> Tensor:
        device, dtype = self.engine.device, self.engine.dtype
        if device.type == "cuda" and tensor.device.type == "cpu":
            # The card copies from pinned memory by itself, while this process prepares the next step.
            return tensor.pin_memory().to(device, non_blocking=True).to(dtype)
        return tensor.to(device, dtype)

    def _share(self, masks: Sequence[Tensor | None], tile: Box, cell: int) -> Tensor | None:
        """The product of masks over a tile's cells, on the device; None when all masks are None."""
        product = None
        for mask in masks:
            if mask is None:
                continue
            values = mask_values(tile.grown(0, self._picture).of(mask), self.engine.dtype)
            product = values if product is None else product * values
        return None if product is None else self._on_device(region_share(continued(product, *tile.size), cell))

    def _by_region(self, masks: Sequence[Tensor | None], numbers: Sequence[float], tile: Box) -> Tensor | float:
        """A number for each pixel of a tile, (1, 1, h, w): that of the regions that it is in, or of those nearby."""
        if len(set(numbers)) == 1:
            return numbers[0]
        wide = tile.grown(NEARBY_CELLS * CELL, self._bounds)
        total, weighted = self._summed(masks, numbers, wide, CELL)
        around = continued_around(weighted / total.clamp_min(1), total.clamp(max=1), reach=NEARBY_CELLS)
        around = around.repeat_interleave(CELL, dim=2).repeat_interleave(CELL, dim=3)
        total, weighted = self._summed(masks, numbers, tile, 1)
        inside = weighted / total.clamp_min(torch.finfo(total.dtype).tiny)
        return torch.where(total > 0, inside, tile.within(wide).of(around))

    def _summed(
        self, masks: Sequence[Tensor | None], numbers: Sequence[float], tile: Box, cell: int
    ) -> tuple[Tensor, Tensor]:
        """The masks' sum over a tile's cells, and the sum with each mask times its number."""
        rows, columns = (-(-side // cell) for side in tile.size)
        ones = torch.ones(1, 1, rows, columns, dtype=self.engine.dtype, device=self.engine.device)
        shares = [self._share([mask], tile, cell) for mask in masks]
        known = torch.stack([ones if share is None else share for share in shares])
        return known.sum(dim=0), (known * known.new_tensor(numbers)[:, None, None, None, None]).sum(dim=0)

    @property
    def _sums_dtype(self) -> torch.dtype:
        return self.engine.dtype if self.engine.dtype is torch.float64 else torch.float32


class TiledContent(TiledWork[Engine]):
    """A content picture that is stylized in tiles, with one or more regions, at its engines' layer."""

    def __init__(
        self,
        engines: Sequence[Engine],
        content: ReadPart,
        regions: Sequence[Tensor | None],
        *,
        height: int,
        width: int,
        opacity: Tensor | None = None,
        tile: int = TILE,
        feature_bytes: int = 2**30,
        encoded: Encoded | None = None,
        surroundings: int = 0,
        guide: ReadPart | None = None,
    ) -> None:
        """Prepare; nothing is computed yet.

        Args:
            engines: The best first; the others take over where its memory is too small even for tiles of
                SMALLEST_TILE. All use the same layer.
            content: The picture.
            regions: Masks of the whole picture, (1, 1, height, width), on the CPU, 0..255 as uint8, 0..65535 as
                uint16 or 0..1 as float, each not empty; None for everywhere.
            height, width: Of the picture, pixels, at least 1.
            opacity: The weight of each pixel in the statistics, as a mask, not 0 all over a region; None for 1.
            tile: Side of a tile, pixels, a multiple of 8.
            feature_bytes: Features are kept if they need no more than this.
            encoded: The result of encode() for the same picture, regions, opacity and surroundings.
            surroundings: Pixels around the regions that are painted as well, for a next pass that looks there; a
                multiple of 8.
            guide: When a painted picture is refined: the picture that it was painted from, of the same size; the
                decoder sees both besides the features. None for a decoder that sees features only.
        Raises:
            ValueError: No region, or an empty one.
        """
        super().__init__(engines, content, height=height, width=width, opacity=opacity, tile=tile)
        self._layer = self.engine.layer
        self._regions = regions
        self._box = self._wanted().grown(surroundings, self._bounds)
        self._work = self._box.grown(self._layer.margin, self._bounds)
        self._reach = self._layer.margin + surroundings
        self._feature_bytes = feature_bytes
        self._encoded = encoded
        self._guide = guide
        self._kept: Tensor | None = None

    @property
    def box(self) -> Box:
        """The part that is painted: the regions and their surroundings; it may reach beyond a very small picture."""
        return self._box

    @property
    def feature_size(self) -> int:
        """Bytes of the features that encode() will keep; 0 when they are too large to be kept."""
        size = math.prod(self._feature_shape()) * self.engine.dtype.itemsize
        return size if size <= self._feature_bytes else 0

    def encode(self, on_tile: OnTile) -> Encoded:
        """First pass: encode, and take the content's statistics over each region."""
        if self._encoded is not None:
            return self._encoded
        cell = self._layer.cell
        self._kept = self._room_for_features()
        sums = [WeightedSums() for _ in self._regions]

        def work(tile: Box) -> None:
            feat = self._encode(tile)
            shares = [self._share([region, self._opacity], tile, cell) for region in self._regions]
            if self._kept is not None:
                tile.within(self._work, cell).of(self._kept).copy_(feat)
            add_tile((known, feat, share) for known, share in zip(sums, shares, strict=True))

        self._each_tile(self._work, "encode", work, on_tile)
        self._encoded = Encoded([known.statistics(self._sums_dtype) for known in sums], self._kept)
        self._kept = None
        return self._encoded

    def decode(
        self,
        transforms: Sequence[AffineTransform],
        write: WritePart,
        on_tile: OnTile,
        *,
        restored: Sequence[float] = (),
    ) -> Encoded:
        """Second pass: transform each region's features, blend, and decode.

        Args:
            transforms: One per region, in their order.
            write: Receives the parts of the result.
            restored: One per region: the share, 0..1, of the content lost by encoder and decoder that is restored. With
                1 and a transform that changes nothing the result is the content.
        Returns:
            The result of encode(), with the reconstruction if it was needed and is kept.
        """
        restores = any(restored)
        kept = self._room_for_reconstruction() if restores else None

        def work(tile: Box) -> None:
            outer = tile.grown(self._layer.margin, self._bounds)
            painted = tile.within(outer).of(self._decode(self._target(outer, transforms), outer))
            if restores:
                reconstruction = self._reconstruction(tile, outer)
                if kept is not None:
                    tile.within(self._box).of(kept).copy_(reconstruction)
                lost = self._part(self._content, tile) - reconstruction
                painted = painted + self._by_region(self._regions, restored, tile) * lost
            visible = tile.grown(0, self._picture)
            write(visible, visible.within(tile).of(painted).clamp(0.0, 1.0))

        self._each_tile(self._box, "decode", work, on_tile)
        assert self._encoded is not None, "encode() comes first"
        if kept is not None:
            self._encoded = replace(self._encoded, reconstruction=kept)
        return self._encoded

    def _leave_failed_engine(self) -> None:
        super()._leave_failed_engine()
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
        """sum_r m_r (a_r f + b_r), with shares that sum to more than 1 normalised; continued around the regions."""
        cell = self._layer.cell
        # As far around as the decoder looks, there may be cells of a region that have to be continued.
        wide = outer if self._regions == [None] else outer.grown(self._reach, self._work)
        feat = self._features(wide)
        transforms = [AffineTransform(each.scale.to(feat), each.shift.to(feat)) for each in transforms]
        shares = [self._share([region], wide, cell) for region in self._regions]
        if shares == [None]:
            return transforms[0].apply(feat)
        known = [feat.new_ones(1, 1, *feat.shape[2:]) if share is None else share for share in shares]
        total = torch.stack(known).sum(dim=0)
        painted = torch.zeros_like(feat)
        for share, transform in zip(known, transforms, strict=True):
            painted += share / total.clamp_min(1) * transform.apply(feat)
        filled = continued_around(painted, total.clamp(max=1), reach=self._reach // cell)
        return outer.within(wide, cell).of(filled)

    def _decode(self, feat: Tensor, outer: Box) -> Tensor:
        if self._guide is None:
            return self.engine.decode(feat)
        # At a ragged edge the features are a whole cell.
        height, width = (self._layer.cell * cells for cells in feat.shape[2:])
        guide = torch.cat([self._part(self._content, outer), self._part(self._guide, outer)], dim=1)
        return self.engine.decode(feat, continued(guide, height, width))

    def _reconstruction(self, tile: Box, outer: Box) -> Tensor:
        """The content's own features, decoded."""
        if self._encoded is not None and self._encoded.reconstruction is not None:
            return self._on_device(tile.within(self._box).of(self._encoded.reconstruction))
        return tile.within(outer).of(self._decode(self._features(outer), outer))

    def _encode(self, tile: Box) -> Tensor:
        """Features of a tile's cells, exactly as in the whole picture."""
        outer = tile.grown(self._layer.margin, self._bounds)
        feat = self.engine.encode(self._part(self._content, outer))
        return tile.within(outer, self._layer.cell).of(feat)

    def _feature_shape(self) -> tuple[int, int, int, int]:
        cells = self._work.within(self._work, self._layer.cell)
        return 1, self._layer.channels, cells.bottom, cells.right

    def _room_for_features(self) -> Tensor | None:
        if not self.feature_size:
            return None
        return room(self._feature_shape(), self.engine.dtype, self.engine.device)

    def _room_for_reconstruction(self) -> Tensor | None:
        """Memory for the reconstruction; it is kept only if the features are, which need several times as much."""
        encoded = self._encoded
        if encoded is None or encoded.feat is None or encoded.reconstruction is not None:
            return None
        return room((1, 3, *self._box.size), self._sums_dtype)

    def _features(self, outer: Box) -> Tensor:
        if self._encoded is not None and self._encoded.feat is not None:
            return self._on_device(outer.within(self._work, self._layer.cell).of(self._encoded.feat))
        return self._encode(outer)


class _TiledStyle(TiledWork[Engine]):
    """A style picture whose statistics are taken in tiles, at every layer."""

    def statistics(self, on_tile: OnTile) -> LayerStatistics:
        """The statistics of all pixels, each counted by its opacity."""
        sums = [WeightedSums() for _ in LAYERS]

        def work(tile: Box) -> None:
            shares = [self._share([self._opacity], tile, layer.cell) for layer in LAYERS]
            add_tile(zip(sums, self._encode(tile), shares, strict=True))

        self._each_tile(self._bounds, "encode", work, on_tile)
        return tuple(known.statistics(self._sums_dtype) for known in sums)

    def _encode(self, tile: Box) -> list[Tensor]:
        outer = tile.grown(RELU4_1.margin, self._bounds)
        feats = self.engine.features(self._part(self._content, outer))
        return [tile.within(outer, layer.cell).of(feat) for feat, layer in zip(feats, LAYERS, strict=True)]


LayerStatistics = tuple[StyleStatistics, ...]
"""Statistics at each of LAYERS, in their order, (1, channels)."""


def tiled_style_statistics(
    engines: Sequence[Engine],
    picture: ReadPart,
    *,
    height: int,
    width: int,
    opacity: Tensor | None = None,
    tile: int = TILE,
    on_tile: OnTile,
) -> LayerStatistics:
    """The statistics of a style picture of any size at all layers. Arguments as for TiledContent."""
    work = _TiledStyle(engines, picture, height=height, width=width, opacity=opacity, tile=tile)
    return work.statistics(on_tile)
