"""The statistics of a style that all passes need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adain_net.statistics import StyleStatistics, mix_statistics
from adain_net.tiling import LayerStatistics


@dataclass(frozen=True)
class MeasuredStyle:
    """The statistics of a style, or of a mixture.

    Attributes:
        first: relu4_1 of the model's encoder, for the first pass.
        layers: All layers of the encoder that refines and finishes; empty where there is no refinement.
    """

    first: StyleStatistics
    layers: LayerStatistics


def mix_measured(styles: Sequence[MeasuredStyle], style_weights: Sequence[float]) -> MeasuredStyle:
    """The mixture of several styles. Arguments and errors are those of mix_statistics()."""
    layers = zip(*(style.layers for style in styles), strict=True)
    return MeasuredStyle(
        mix_statistics([style.first for style in styles], style_weights),
        tuple(mix_statistics(layer, style_weights) for layer in layers),
    )
