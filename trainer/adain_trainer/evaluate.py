"""Figures of a decoder on pairs of pictures, in the scale of the encoder's normalised features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

import torch
from PIL import Image
from torch import Tensor

from adain_net.encoder import Encoder
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_net.transform import adain_transform
from adain_trainer.data import to_tensor
from adain_trainer.losses import content_loss, style_loss
from adain_trainer.networks import PaintingNetwork
from adain_trainer.sheets import square


@dataclass(frozen=True)
class Figures:
    """Means over pairs.

    Attributes:
        pairs: Number of pairs.
        style: MSE of means plus MSE of deviations, summed over relu1_1 to relu4_1.
        content: MSE of relu4_1 of the result and of the content. target: Of the result and of the AdaIN target.
        identity: MSE of the content and its decoded features (alpha 0), RGB in 0..1.
    """

    pairs: int
    style: float
    content: float
    target: float
    identity: float

    @property
    def score(self) -> float:
        """One number to compare decoders by, the smaller the better: style plus content, which pull apart."""
        return self.style + self.content

    def texts(self) -> list[str]:
        """The values as text for people, in the fields' order."""
        values = (getattr(self, each.name) for each in fields(self))
        return [str(value) if isinstance(value, int) else f"{value:.3f}" for value in values]

    def joined(self, other: Figures) -> Figures:
        """The means over the pairs of both."""
        pairs = self.pairs + other.pairs

        def mean(name: str) -> float:
            return float(self.pairs * getattr(self, name) + other.pairs * getattr(other, name)) / pairs

        return Figures(pairs, mean("style"), mean("content"), mean("target"), mean("identity"))


@torch.no_grad()
def evaluate(
    network: PaintingNetwork,
    contents: Sequence[Image.Image],
    styles: Sequence[Image.Image],
    *,
    side: int,
    pairs: int,
    judge: Encoder | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Figures:
    """Measure a network on pairs, at most `pairs` of them: each content with styles in turn, spread evenly.

    Args:
        network: On any device; it computes there.
        side: Pixels of each picture, at least 16.
        judge: The encoder whose features are compared, so that networks with different encoders can be compared; None
            for the network's own.
        progress: Called with pairs done and pairs in all.
    """
    device = next(network.encoder.parameters()).device
    judge = judge or network.encoder
    chosen = sorted(pair_indices(len(contents), len(styles), pairs))
    statistics, wanted = {}, {}
    for index in sorted({style for _, style in chosen}):
        picture = to_tensor(square(styles[index], side))[None].to(device)
        statistics[index] = network.style_statistics(picture)
        wanted[index] = [channel_statistics(feat) for feat in judge.features(picture)]
    rows: list[list[float]] = []
    for content_index, group in groupby(chosen, key=lambda pair: pair[0]):
        content = to_tensor(square(contents[content_index], side))[None].to(device)
        known, judged_feat, size = network.encode(content), judge(content), {"height": side, "width": side}
        # With alpha 0 any style will do.
        identity = network.stylize_features(known, next(iter(statistics.values())), alpha=0.0, **size)
        error = (identity - content).square().mean().item()
        for _, index in group:
            result = network.stylize_features(known, statistics[index], alpha=1.0, **size)
            rows.append([*_distances(judge, result, judged_feat, wanted[index]), error])
            progress(len(rows), len(chosen))
    means = torch.tensor(rows, dtype=torch.float64).mean(dim=0).tolist()
    return Figures(len(chosen), *(value if math.isfinite(value) else math.inf for value in means))


def _distances(
    judge: Encoder, result: Tensor, content_feat: Tensor, style: Sequence[StyleStatistics]
) -> tuple[float, float, float]:
    """Style loss, content distance and target distance of a painted picture."""
    feats = judge.features(result)
    target_feat = adain_transform(channel_statistics(content_feat), style[-1]).apply(content_feat)
    return (
        style_loss([channel_statistics(feat) for feat in feats], style).item(),
        content_loss(feats.relu4_1, content_feat).item(),
        content_loss(feats.relu4_1, target_feat).item(),
    )


def pair_indices(contents: int, styles: int, pairs: int) -> list[tuple[int, int]]:
    """(content, style) index pairs: every content in turn, each time with another style, until there are enough."""
    # From round to round the styles shift by a step that leaves none out.
    step = contents + 1 if math.gcd(contents + 1, styles) == 1 else 1
    every = [(content, (content + step * turn) % styles) for turn in range(styles) for content in range(contents)]
    return every[:pairs]
