"""The yardstick: compares two painters on the same pairs of pictures, in one encoder's scale."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from adain_net.encoder import Encoder
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementNetwork
from adain_net.statistics import channel_statistics
from adain_net.stylizer import Stylizer
from adain_net.transform import adain_transform
from adain_trainer.data import to_tensor
from adain_trainer.evaluate import pair_indices
from adain_trainer.losses import content_loss, layer_distances
from adain_trainer.networks import RefinedNetwork, embedded_refinement, placed
from adain_trainer.precision import DTYPES, TRIAL_SIDE, try_precisions
from adain_trainer.sheets import square, to_picture

SMALLEST_DISTANCE = 1e-9
"""Smaller distances count as this, so that two equal pictures have the ratio 1."""

Paint = Callable[[Tensor, Tensor], Tensor]
"""Paints a content in a style; (1, 3, h, w) each, float, RGB in 0..1, of any size."""


class Distances(NamedTuple):
    """Distances of a painted picture from its style and its content, in the scale of one encoder's features.

    Attributes:
        relu1_1, relu2_1, relu3_1, relu4_1: Style loss of each layer: MSE of the means plus MSE of the deviations.
        content: MSE of relu4_1 and the content's relu4_1.
        target: MSE of relu4_1 and the content's relu4_1 after AdaIN towards the style.
    """

    relu1_1: float
    relu2_1: float
    relu3_1: float
    relu4_1: float
    content: float
    target: float


@dataclass(frozen=True)
class Comparison:
    """Distances of the same pairs, painted by us and by them; at least one pair."""

    ours: Sequence[Distances]
    theirs: Sequence[Distances]

    @property
    def ratios(self) -> Distances:
        """Geometric means over the pairs of ours / theirs."""
        logarithms = [
            [math.log(max(a, SMALLEST_DISTANCE) / max(b, SMALLEST_DISTANCE)) for a, b in zip(ours, theirs, strict=True)]
            for ours, theirs in zip(self.ours, self.theirs, strict=True)
        ]
        return Distances(*(math.exp(fmean(column)) for column in zip(*logarithms, strict=True)))

    def table(self) -> str:
        """A line for each distance: both means over the pairs, and the ratio."""
        names = [f"style {name}" if name.startswith("relu") else name for name in Distances._fields]
        columns = zip(names, mean_distances(self.ours), mean_distances(self.theirs), self.ratios, strict=True)
        lines = [f"{name:<15}{ours:>10.3f}{theirs:>10.3f}{ratio:>10.2f}" for name, ours, theirs, ratio in columns]
        return "\n".join([f"{'':<15}{'ours':>10}{'theirs':>10}{'ratio':>10}", *lines])


def mean_distances(each: Sequence[Distances]) -> Distances:
    """Arithmetic means over pairs."""
    return Distances(*(fmean(column) for column in zip(*each, strict=True)))


class TimedPaint:
    """Paints pairs as the server does.

    Attributes:
        seconds: Time for each picture, without measuring its style.
    """

    def __init__(self, stylizer: Stylizer, quality: str) -> None:
        self.seconds: list[float] = []
        self._stylizer = stylizer
        self._quality = quality

    def __call__(self, content: Tensor, style: Tensor) -> Tensor:
        """See Paint."""
        known = self._stylizer.measure(style)
        _wait_for(content.device)
        start = time.perf_counter()
        picture = self._stylizer.paint(content, [known], quality=self._quality)
        _wait_for(content.device)
        self.seconds.append(time.perf_counter() - start)
        return picture


def painter(network: AdainNetwork | RefinedNetwork, quality: str) -> TimedPaint:
    """A painter for a network and one of QUALITIES, in float32, except the finish where bf16 is faster here.

    Args:
        network: On the device that paints; a model's pictures are refined by the embedded refinement.
    Raises:
        WeightsError: The embedded refinement is damaged.
    """
    first = network.network if isinstance(network, RefinedNetwork) else network
    if quality == "fast":
        return TimedPaint(Stylizer(first, precision=torch.float32), quality)
    if isinstance(network, RefinedNetwork):
        refinement = network.refinement
    else:
        refinement = placed(embedded_refinement(), next(first.parameters()).device)
    finish = _finish_precision(refinement) if quality == "best" else torch.float32
    return TimedPaint(Stylizer(first, refinement, precision=torch.float32, finish_precision=finish), quality)


def _finish_precision(refinement: RefinementNetwork) -> torch.dtype:
    """The faster precision on its device, by a trial of training steps, which are the finish's plus a decoder."""
    decoder = copy.deepcopy(refinement.decoder).requires_grad_()
    chosen, _ = try_precisions(refinement.encoder, decoder, side=TRIAL_SIDE, crops=1)
    return DTYPES[chosen]


def _wait_for(device: torch.device) -> None:
    """Wait until a graphics card has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def compare(
    ours: Paint,
    theirs: Paint,
    judge: Encoder,
    contents: Sequence[Image.Image],
    styles: Sequence[Image.Image],
    *,
    side: int,
    pairs: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Comparison, list[list[Image.Image]]]:
    """Paint pairs twice and measure both pictures; the pairs are those of pair_indices().

    Args:
        judge: The encoder in whose scale both are measured, and whose device is used.
        side: Pixels of each picture, at least 16.
        pairs: The number of pairs, at most.
        progress: Called with pairs done and pairs in all.
    Returns:
        The distances; and for each pair content, style, our picture and theirs, side x side pixels.
    """
    device = next(judge.parameters()).device
    chosen = pair_indices(len(contents), len(styles), pairs)
    measured, rows = [], []
    for done, (content_index, style_index) in enumerate(chosen, start=1):
        pair = square(contents[content_index], side), square(styles[style_index], side)
        content, style = (to_tensor(picture)[None].to(device) for picture in pair)
        painted = [ours(content, style), theirs(content, style)]
        measured.append(distances(judge, content, style, painted))
        rows.append([*pair, *(to_picture(picture[0]) for picture in painted)])
        progress(done, len(chosen))
    mine, other = zip(*measured, strict=True)
    return Comparison(mine, other), rows


def distances(judge: Encoder, content: Tensor, style: Tensor, painted: Sequence[Tensor]) -> list[Distances]:
    """Measure pictures that were painted from one pair; (1, 3, h, w) each, float, RGB in 0..1."""
    content_feat = judge(content)
    wanted = [channel_statistics(feat) for feat in judge.features(style)]
    target_feat = adain_transform(channel_statistics(content_feat), wanted[-1]).apply(content_feat)
    found = []
    for picture in painted:
        feats = judge.features(picture)
        layers = layer_distances([channel_statistics(feat) for feat in feats], wanted)[0].tolist()
        goals = [content_loss(feats.relu4_1, goal).item() for goal in (content_feat, target_feat)]
        found.append(Distances(*(value if math.isfinite(value) else math.inf for value in (*layers, *goals))))
    return found
