"""Paints a picture in memory in one call, as the server does: for scripts and for the trainer.

It uses the server's engines and tiles; the picture between two passes is kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from adain_net.boxes import Box
from adain_net.encoder import LAYERS, RELU3_1
from adain_net.engine import Engine, TorchEngine
from adain_net.finish import FinishRegion, GradientEngine, TiledFinish
from adain_net.measured_style import MeasuredStyle, mix_measured
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementNetwork
from adain_net.statistics import StyleStatistics
from adain_net.tiling import (
    TILE,
    LayerStatistics,
    OnTile,
    ReadPart,
    TiledContent,
    WritePart,
    tiled_style_statistics,
)
from adain_net.transform import adain_transform

QUALITIES = ("fast", "fine", "best")
"""One pass; refined by a second one; then also finished by optimising the pixels."""
FEATURE_BYTES = 2**30
"""Features are kept between two passes over a picture if they need no more than this."""


class Stylizer:
    """A model, with the networks that refine and finish its pictures."""

    def __init__(
        self,
        network: AdainNetwork,
        refinement: RefinementNetwork | None = None,
        *,
        device: torch.device | None = None,
        precision: torch.dtype | None = None,
        finish_precision: torch.dtype = torch.float32,
    ) -> None:
        """Take the networks, which are not changed.

        Args:
            network: Paints the first pass.
            refinement: The second pass, whose encoder finishes as well; None where only fast is needed.
            device: The compute device; None for the network's own.
            precision: Of the passes; None for half precision on CUDA and float32 elsewhere.
            finish_precision: Of the finish; bfloat16 is faster where the device has it.
        """
        self._device = device or next(network.parameters()).device
        self._first = TorchEngine(network, self._device, precision)
        self._second = None if refinement is None else TorchEngine(refinement, self._device, precision)
        self._refinement = refinement
        self._finish_precision = finish_precision
        self._has_one_encoder = refinement is not None and _are_equal(network.encoder, refinement.encoder)

    @torch.no_grad()
    def measure(self, picture: Tensor) -> MeasuredStyle:
        """The statistics of a style picture, (1, 3, h, w), float, RGB in 0..1, of any size."""
        first = _statistics(self._first, picture)
        if self._second is None:
            return MeasuredStyle(first[-1], ())
        return MeasuredStyle(first[-1], first if self._has_one_encoder else _statistics(self._second, picture))

    @torch.no_grad()
    def paint(
        self,
        content: Tensor,
        styles: Sequence[Tensor | MeasuredStyle],
        *,
        style_weights: Sequence[float] | None = None,
        alpha: float = 1.0,
        quality: str = "fast",
        on_step: OnTile = lambda _stage, _step, _steps: None,
        goes_on: Callable[[int], bool] = lambda _step: True,
    ) -> Tensor:
        """Paint a content picture in the mixture of styles.

        Args:
            content: (1, 3, h, w), float, RGB in 0..1, of any size.
            styles: Style pictures, as content; or the results of measure() for them.
            style_weights: One per style, only their proportions matter; equal when None.
            alpha: 0 = the content as it is, 1 = full style.
            quality: One of QUALITIES.
            on_step: Called with the stage (encode, decode, refine-encode, refine-decode, finish), the number of
                finished tiles or steps, and the number of all; may raise to stop.
            goes_on: Called after each step of the finish with the number of steps done; False ends it there.
        Returns:
            A picture like content, RGB in 0..1.
        Raises:
            ValueError: Unknown quality, no refinement for it, no style, or alpha or weights out of range.
            MemoryError: Not even the smallest tile fits the device.
        """
        if quality not in QUALITIES:
            raise ValueError(f"quality must be one of {', '.join(QUALITIES)}, not {quality}.")
        if quality != "fast" and self._second is None:
            raise ValueError(f"the quality {quality} needs a refinement.")
        style = self._mixed(styles, style_weights)
        if alpha == 0:
            return content.clone()
        painted = _pass(self._first, content, style.first, alpha, on_step)
        if quality == "fast" or self._second is None:
            return painted
        refined = _pass(
            self._second,
            painted,
            style.layers[LAYERS.index(RELU3_1)],
            alpha,
            lambda stage, step, steps: on_step(f"refine-{stage}", step, steps),
            guide=content,
        )
        return refined if quality == "fine" else self._finished(content, refined, style.layers, alpha, on_step, goes_on)

    def _mixed(self, styles: Sequence[Tensor | MeasuredStyle], style_weights: Sequence[float] | None) -> MeasuredStyle:
        weights = [1.0] * len(styles) if style_weights is None else style_weights
        known = [self.measure(each) if isinstance(each, Tensor) else each for each in styles]
        return mix_measured(known, weights)

    def _finished(
        self,
        content: Tensor,
        painted: Tensor,
        style: LayerStatistics,
        alpha: float,
        on_step: OnTile,
        goes_on: Callable[[int], bool],
    ) -> Tensor:
        height, width = content.shape[2:]
        work = TiledFinish(
            [self._gradient_engine],
            _reading(content),
            _reading(painted),
            [FinishRegion(None, style, alpha)],
            box=Box(0, height, 0, width),
            height=height,
            width=width,
            opacity=None,
            tile=TILE,
            feature_bytes=FEATURE_BYTES,
            allocate=torch.empty,
        )
        work.optimise(on_step, goes_on)
        result = torch.empty_like(content)
        work.write(_writing(result))
        return result

    @cached_property
    def _gradient_engine(self) -> GradientEngine:
        assert self._refinement is not None
        return GradientEngine(self._refinement.encoder, self._device, self._finish_precision)


def _pass(
    engine: Engine, picture: Tensor, style: StyleStatistics, alpha: float, on_tile: OnTile, guide: Tensor | None = None
) -> Tensor:
    height, width = picture.shape[2:]
    work = TiledContent(
        [engine],
        _reading(picture),
        [None],
        height=height,
        width=width,
        feature_bytes=FEATURE_BYTES,
        guide=None if guide is None else _reading(guide),
    )
    (own,) = work.encode(on_tile).statistics
    result = torch.empty_like(picture)
    work.decode([adain_transform(own, style, alpha=alpha)], _writing(result), on_tile, restored=[1.0 - alpha])
    return result


def _statistics(engine: Engine, picture: Tensor) -> LayerStatistics:
    height, width = picture.shape[2:]
    return tiled_style_statistics(
        [engine], _reading(picture), height=height, width=width, on_tile=lambda _stage, _step, _steps: None
    )


def _reading(picture: Tensor) -> ReadPart:
    return lambda part: part.of(picture)


def _writing(picture: Tensor) -> WritePart:
    def write(part: Box, painted: Tensor) -> None:
        part.of(picture).copy_(painted)

    return write


def _are_equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether both have the same weights, so that they measure the same."""
    return one is other or all(
        a.device == b.device and torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
