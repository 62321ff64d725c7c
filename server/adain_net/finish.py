"""The finish: optimises the pixels of a painted picture against the style and content losses.

The painted picture is near the goal, so that tens of steps do what takes hundreds from a photograph or from noise. Each
step is exact for a picture of any size: a first pass takes every layer's statistics over the whole region, tile by
tile; the losses' gradients by these statistics are numbers per channel; a second pass propagates them to the pixels.
A picture of one tile needs one pass.

Source:
    Gatys, Ecker and Bethge, CVPR 2016, with the style loss of Huang and Belongie, ICCV 2017, eq. 13, instead of
    the one of Gram matrices.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adain_net.boxes import Box
from adain_net.encoder import LAYERS, RELU4_1, Encoder, EncoderFeatures
from adain_net.network import continued_to_least
from adain_net.statistics import StyleStatistics, mix_statistics
from adain_net.tiling import LayerStatistics, OnTile, ReadPart, TiledWork, WritePart, room
from adain_net.weighted_sums import WeightedSums, add_tile

STEPS = 21
LEARNING_RATE = 0.02
"""Adam's learning rate, in units of the pixels; it decays linearly to 0."""
BETAS = (0.9, 0.99)
EPS_SHARE = 0.1
"""Adam's epsilon, as a share of the gradient's root mean square: where there is hardly a gradient nothing has to move,
and rounding errors must not decide the direction."""
LAYER_WEIGHTS = (1.0, 1.0, 0.7, 1.0)
"""Weights of the style loss at each of LAYERS."""
STYLE_FLOOR = 0.02
"""Added to each layer's style loss before its logarithm, by which layers and styles pull alike; less is good enough."""
CONTENT_WEIGHT = 3.0
"""Weight of the content loss, the squared distance in units of the content's own feature variance."""

Allocate = Callable[[tuple[int, ...]], Tensor]
"""Allocates a float32 tensor of a shape on the CPU; its values are undefined."""


class GradientEngine:
    """The encoder, for gradients with respect to pictures.

    Attributes:
        device, dtype: Of the pictures that it takes.
        precision: The type that it computes in.
    """

    def __init__(self, encoder: Encoder, device: torch.device, precision: torch.dtype) -> None:
        """Copy the encoder's weights to a device, in a floating type."""
        self.device = device
        self.dtype = torch.float64 if precision == torch.float64 else torch.float32
        self.precision = precision
        own = copy.deepcopy(encoder).requires_grad_(False).to(device, precision)
        self._encoder = own.to(memory_format=torch.channels_last)

    def features(self, picture: Tensor) -> EncoderFeatures:
        """Features of all layers of a picture, (1, 3, h, w), in its own type; gradients reach the picture."""
        feats = self._encoder.features(picture.to(self.precision, memory_format=torch.channels_last))
        return EncoderFeatures(*(feat.to(self.dtype) for feat in feats))


@dataclass(frozen=True)
class FinishRegion:
    """A region and its goal.

    Attributes:
        mask: As in TiledContent.
        style: The style's statistics at all layers, (1, channels) each, on the CPU.
        alpha: 0 = the content's own statistics, 1 = the style's.
    """

    mask: Tensor | None
    style: LayerStatistics
    alpha: float


class TiledFinish(TiledWork[GradientEngine]):
    """A painted picture whose pixels are optimised, step by step."""

    def __init__(
        self,
        engines: Sequence[GradientEngine],
        content: ReadPart,
        painted: ReadPart,
        regions: Sequence[FinishRegion],
        *,
        box: Box,
        height: int,
        width: int,
        opacity: Tensor | None,
        tile: int,
        feature_bytes: int,
        allocate: Allocate,
    ) -> None:
        """Prepare; nothing is computed yet.

        Args:
            engines: The best first; the others take over where its memory is too small, or it fails.
            content: The content that the picture was painted from.
            painted: The picture at which the optimisation starts.
            regions: At least one.
            box: The pixels that are optimised: the regions, and what the encoder sees around them.
            height, width: Of the picture, pixels.
            opacity, tile: As in TiledContent.
            feature_bytes: The content's features are kept if they need no more than this.
            allocate: Allocates the pixels, their gradient and its two moments.
        """
        super().__init__(engines, content, height=height, width=width, opacity=opacity, tile=tile)
        self._regions = regions
        self._box = box.grown(0, self._picture)
        shape = (1, 3, *self._box.size)
        self._pixels, self._gradient, self._first, self._second = (allocate(shape) for _ in range(4))
        for part in self._box.tiles(tile):
            part.within(self._box).of(self._pixels).copy_(painted(part))
        self._first.zero_()
        self._second.zero_()
        self._feature_bytes = feature_bytes
        self._kept: Tensor | None = None
        self._goals: list[LayerStatistics] = []
        self._scales: list[float] = []
        self._pixel_count = 0.0

    def optimise(
        self,
        on_tile: OnTile,
        on_step: Callable[[int], bool],
        *,
        steps: int = STEPS,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        """Do all steps, or fewer.

        Args:
            steps: The number of steps, at most.
            learning_rate: Of the first step, where alpha is 1; proportionally less elsewhere, as the way is shorter.
            on_tile: Called before each tile with the stage "finish" and the numbers of finished steps and of all steps.
            on_step: Called after each step with the number of steps done; False ends the work.
        """

        def at(step: int) -> OnTile:
            return lambda _stage, _tile, _tiles: on_tile("finish", step, steps)

        self._measure_content(at(0))
        for step in range(steps):
            self._compute_gradient(at(step))
            self._adam(step, learning_rate * (1 - step / steps))
            if not on_step(step + 1):
                return

    def write(self, write: WritePart) -> None:
        """Write the picture as it is now, part by part, within the box only."""
        for part in self._box.tiles(self.tile):
            write(part, part.within(self._box).of(self._pixels).clone())

    def reduced(self, height: int, width: int) -> Tensor:
        """The picture as it is now, averaged down to (1, 3, height, width)."""
        return torch.nn.functional.adaptive_avg_pool2d(self._pixels, (height, width))

    @property
    def box(self) -> Box:
        """The pixels that are optimised."""
        return self._box

    def _measure_content(self, on_tile: OnTile) -> None:
        """Compute each region's goal, between the content's statistics and the style's, and its features' variance."""
        sums = self._new_sums()
        kept = self._room_for_content()

        def work(tile: Box) -> None:
            with torch.no_grad():
                feats = self._content_features(tile)
            self._add(sums, feats, tile)
            if kept is not None:
                tile.within(self._box, RELU4_1.cell).of(kept).copy_(feats[-1])

        self._each_tile(self._box, "finish", work, on_tile)
        self._kept = kept
        for region, known in zip(self._regions, sums, strict=True):
            own = [layer.statistics(self._sums_dtype) for layer in known]
            weights = [1 - region.alpha, region.alpha]
            goals = [mix_statistics(pair, weights) for pair in zip(own, region.style, strict=True)]
            self._goals.append(tuple(goals))
            self._pixel_count += known[0].count
            self._scales.append(float(own[-1].std.square().mean()))

    def _compute_gradient(self, on_tile: OnTile) -> None:
        self._gradient.zero_()
        if len(self._box.tiles(self.tile)) == 1:
            on_tile("finish", 0, 1)
            if self._fits(self._whole_gradient, self._box):
                return
        sums = self._new_sums()

        def look(tile: Box) -> None:
            with torch.no_grad():
                feats = self._features(self._read(tile), tile)
            self._add(sums, feats, tile)

        self._each_tile(self._box, "finish", look, on_tile)
        slopes = self._slopes(sums)

        def work(tile: Box) -> None:
            pixels = self._read(tile).requires_grad_()
            with torch.enable_grad():
                feats = self._features(pixels, tile)
                loss = self._surrogate(feats, slopes, tile)
            self._add_gradient(loss, pixels, tile)

        self._each_tile(self._box, "finish", work, on_tile)

    def _whole_gradient(self, tile: Box) -> None:
        """The same as for several tiles, in one pass."""
        pixels = self._read(tile).requires_grad_()
        with torch.enable_grad():
            feats = self._features(pixels, tile)
        sums = self._new_sums()
        self._add(sums, [feat.detach() for feat in feats], tile)
        with torch.enable_grad():
            loss = self._surrogate(feats, self._slopes(sums), tile)
        self._add_gradient(loss, pixels, tile)

    def _room_for_content(self) -> Tensor | None:
        cells = self._box.within(self._box, RELU4_1.cell)
        shape = (1, RELU4_1.channels, cells.bottom, cells.right)
        precision = self.engine.precision
        if math.prod(shape) * precision.itemsize > self._feature_bytes:
            return None
        return room(shape, precision)

    def _surrogate(self, feats: Sequence[Tensor], slopes: Sequence[_Slopes], tile: Box) -> Tensor:
        """A sum over the tile's cells whose gradient is its part of the losses' gradient."""
        total = feats[-1].new_zeros(())
        content_feat = self._content_feat(tile)
        for region, slope in zip(self._regions, slopes, strict=True):
            shares = self._shares(region, tile)
            for feat, share, layer in zip(feats, shares, slope.layers, strict=True):
                moved = feat - layer.mean.to(feat)
                by_cell = layer.by_mean.to(feat) * feat + layer.by_square.to(feat) * moved.square()
                total = total + (by_cell if share is None else by_cell * share).sum()
            distance = (feats[-1] - content_feat).square()
            distance = distance if shares[-1] is None else distance * shares[-1]
            total = total + slope.by_content * distance.sum()
        return total

    def _slopes(self, sums: Sequence[Sequence[WeightedSums]]) -> list[_Slopes]:
        """The losses' derivatives by the statistics, as factors of the terms of _surrogate().

        They are multiplied by the region's pixels, so that a pixel's gradient does not depend on how many there are.
        """
        found = []
        for known, goals, scale in zip(sums, self._goals, self._scales, strict=True):
            own = [layer.statistics(torch.float64) for layer in known]
            by_mean, by_std = _style_slopes(own, goals)
            pixels = known[0].count
            layers = []
            for layer, mine, mean, std in zip(known, own, by_mean, by_std, strict=True):
                # std is the root of sum((f - mean)^2) / variance_count: its derivative by f is (f - mean) / that / std.
                by_square = pixels * std / (2 * layer.variance_count * mine.std)
                layers.append(_LayerSlopes(*map(_by_channel, (mine.mean, pixels * mean / layer.count, by_square))))
            cells = known[-1].count * RELU4_1.channels
            found.append(_Slopes(layers, CONTENT_WEIGHT * pixels / (cells * scale)))
        return found

    def _adam(self, step: int, learning_rate: float) -> None:
        """A step of Adam, clamped to 0..1.

        Source:
            Kingma and Ba, ICLR 2015, algorithm 1.
        """
        first_decay, second_decay = BETAS
        numbers = 3 * self._pixel_count  # not the box's: around the regions there is hardly any gradient
        eps = EPS_SHARE * math.sqrt(float(self._gradient.square().sum(dtype=torch.float64)) / numbers)
        masks, alphas = [region.mask for region in self._regions], [region.alpha for region in self._regions]
        for rows in self._box.tiles(self.tile):
            part = rows.within(self._box)
            gradient, first, second = (part.of(each) for each in (self._gradient, self._first, self._second))
            first.lerp_(gradient, 1 - first_decay)
            second.lerp_(gradient.square(), 1 - second_decay)
            root = (second / (1 - second_decay ** (step + 1))).sqrt_().add_(eps)
            change = (first / root).mul_(learning_rate / (1 - first_decay ** (step + 1)))
            change *= self._by_region(masks, alphas, rows)
            part.of(self._pixels).sub_(change).clamp_(0.0, 1.0)

    def _read(self, tile: Box) -> Tensor:
        """The pixels on which a tile's cells depend, on the device."""
        pixels = self._outer(tile).within(self._box).of(self._pixels)
        return self._on_device(pixels.clone())

    def _outer(self, tile: Box) -> Box:
        # Nothing is known beyond the box; no region's cells depend on it.
        return tile.grown(RELU4_1.margin, self._box)

    def _core(self, feats: EncoderFeatures, tile: Box) -> list[Tensor]:
        outer = self._outer(tile)
        return [tile.within(outer, layer.cell).of(feat) for feat, layer in zip(feats, LAYERS, strict=True)]

    def _features(self, pixels: Tensor, tile: Box) -> list[Tensor]:
        """All layers of a tile's cells; a picture that is too small for the encoder is continued."""
        return self._core(self.engine.features(continued_to_least(pixels)), tile)

    def _content_feat(self, tile: Box) -> Tensor:
        """relu4_1 of the content, kept if it fits, otherwise computed again."""
        if self._kept is not None:
            return self._on_device(tile.within(self._box, RELU4_1.cell).of(self._kept))
        with torch.no_grad():
            return self._content_features(tile)[-1]

    def _content_features(self, tile: Box) -> list[Tensor]:
        return self._features(self._on_device(self._content(self._outer(tile))), tile)

    def _shares(self, region: FinishRegion, tile: Box) -> list[Tensor | None]:
        return [self._share([region.mask, self._opacity], tile, layer.cell) for layer in LAYERS]

    def _new_sums(self) -> list[list[WeightedSums]]:
        return [[WeightedSums() for _ in LAYERS] for _ in self._regions]

    def _add(self, sums: Sequence[Sequence[WeightedSums]], feats: Sequence[Tensor], tile: Box) -> None:
        """Add a tile's features to each region's sums."""
        add_tile(
            each
            for region, known in zip(self._regions, sums, strict=True)
            for each in zip(known, feats, self._shares(region, tile), strict=True)
        )

    def _add_gradient(self, loss: Tensor, pixels: Tensor, tile: Box) -> None:
        (gradient,) = torch.autograd.grad(loss, pixels)
        self._outer(tile).within(self._box).of(self._gradient).add_(gradient.cpu())


@dataclass(frozen=True)
class _LayerSlopes:
    """A region's mean at a layer and the factors of its features and squared deviations, (1, channels, 1, 1) each."""

    mean: Tensor
    by_mean: Tensor
    by_square: Tensor


@dataclass(frozen=True)
class _Slopes:
    """A region's factors at each layer, and the factor of its content distance."""

    layers: Sequence[_LayerSlopes]
    by_content: float


def _style_slopes(own: Sequence[StyleStatistics], goals: LayerStatistics) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The style loss's derivatives by the means and deviations of all layers."""
    means = [each.mean.clone().requires_grad_() for each in own]
    stds = [each.std.clone().requires_grad_() for each in own]
    with torch.enable_grad():
        loss = torch.zeros((), dtype=torch.float64)
        for mean, std, goal, weight in zip(means, stds, goals, LAYER_WEIGHTS, strict=True):
            distance = (mean - goal.mean.to(mean)).square().mean() + (std - goal.std.to(std)).square().mean()
            loss = loss + weight * torch.log(distance + STYLE_FLOOR)
    found = torch.autograd.grad(loss, [*means, *stds])
    return found[: len(own)], found[len(own) :]


def _by_channel(values: Tensor) -> Tensor:
    return values[:, :, None, None]
