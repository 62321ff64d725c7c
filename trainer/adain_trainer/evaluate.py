"""Figures of a decoder on pairs of pictures, in the scale of the encoder's normalised features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from tqdm import tqdm

from adain_net.network import AdainNetwork
from adain_net.statistics import channel_statistics
from adain_net.transform import adain_transform
from adain_trainer.data import to_tensor
from adain_trainer.losses import content_loss, style_loss
from adain_trainer.sheets import square


@dataclass(frozen=True)
class Figures:
    """Means over pairs.

    Attributes:
        pairs: How many.
        style: MSE of means plus MSE of deviations, summed over relu1_1 to relu4_1.
        content: MSE of relu4_1 of the result and of the content. target: of the result and of what was decoded.
        identity: MSE of the content and its decoded features (alpha 0), RGB in 0..1.
    """

    pairs: int
    style: float
    content: float
    target: float
    identity: float


@torch.inference_mode()
def evaluate(
    network: AdainNetwork, contents: Sequence[Image.Image], styles: Sequence[Image.Image], *, side: int, pairs: int
) -> Figures:
    """Measure a network on pairs, at most `pairs` of them: each content with styles in turn, spread evenly."""
    chosen = pair_indices(len(contents), len(styles), pairs)
    style_feats = {}
    sums = torch.zeros(4, dtype=torch.float64)
    for content_index, style_index in tqdm(chosen, unit="pair"):
        content = to_tensor(square(contents[content_index], side))[None]
        if style_index not in style_feats:
            style_picture = to_tensor(square(styles[style_index], side))[None]
            style_feats[style_index] = [channel_statistics(f) for f in network.encoder.features(style_picture)]
        style = style_feats[style_index]
        content_feat = network.encode(content)
        target_feat = adain_transform(channel_statistics(content_feat), style[-1]).apply(content_feat)
        result = network.decoder(target_feat)[:, :, :side, :side].clamp(0, 1)
        feats = network.encoder.features(result)
        identity = network.decoder(content_feat)[:, :, :side, :side].clamp(0, 1)
        sums += torch.tensor(
            [
                style_loss([channel_statistics(f) for f in feats], style, balanced=False).item(),
                content_loss(feats.relu4_1, content_feat).item(),
                content_loss(feats.relu4_1, target_feat).item(),
                (identity - content).square().mean().item(),
            ],
            dtype=torch.float64,
        )
    means = (sums / len(chosen)).tolist()
    return Figures(len(chosen), *means)


def pair_indices(contents: int, styles: int, pairs: int) -> list[tuple[int, int]]:
    """(content, style) index pairs: every content in turn, each time with another style, until there are enough."""
    every = [(index % contents, (index + index // contents) % styles) for index in range(contents * styles)]
    return list(dict.fromkeys(every))[:pairs]
