"""Channel statistics, by which AdaIN describes a style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

EPS = 1e-5
"""Added to every variance, so that a flat channel does not divide by zero (the public PyTorch weights' convention)."""


@dataclass(frozen=True)
class StyleStatistics:
    """Mean and deviation of features, channel by channel.

    Attributes:
        mean: (N, C), float.
        std: (N, C), float, above 0; same dtype and device as mean.
    """

    mean: Tensor
    std: Tensor


def channel_statistics(feat: Tensor, *, region: Tensor | None = None, eps: float = EPS) -> StyleStatistics:
    """Mean and deviation of each channel over the picture, or over a region of it.

    Args:
        feat: (N, C, h, w), float.
        region: (N or 1, 1, h, w), float in 0..1: the weight of each position; None for equal weights. Not all 0.
        eps: Added to the variance before the root.
    Returns:
        Mean and deviation, (N, C) each. With n positions (in a region, the sum of its values) the variance divides by
        n-1, or by n/2 for n below 2, which extends it to a region smaller than a position.
    Source:
        Huang and Belongie, ICCV 2017, eq. 5 and 6, with n-1 as in the PyTorch code that most weights come from.
    """
    positions = feat.flatten(2)
    counts = feat.new_ones(1, 1, positions.shape[2]) if region is None else region.flatten(2)
    n = counts.sum(dim=2)
    mean = (positions * counts).sum(dim=2) / n
    squares = ((positions - mean.unsqueeze(2)).square() * counts).sum(dim=2)
    variance = squares / torch.maximum(n - 1, n / 2)
    return StyleStatistics(mean, (variance + eps).sqrt())


def mix_statistics(styles: Sequence[StyleStatistics], style_weights: Sequence[float]) -> StyleStatistics:
    """Average several styles' statistics by weight.

    AdaIN is affine in the style's mean and deviation, so AdaIN with the average equals the average of the AdaINs, and
    the cost of a picture does not depend on the number of styles.

    Args:
        styles: At least one; equal shapes.
        style_weights: One per style, at least 0, not all 0; only their proportions matter.
    Raises:
        ValueError: No style, another number of weights than styles, a negative or non-finite weight, or all weights 0.
    """
    if not styles or len(styles) != len(style_weights):
        raise ValueError(f"{len(styles)} styles need as many weights, not {len(style_weights)}.")
    weights = torch.tensor(style_weights, dtype=torch.float64)
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()) or float(weights.sum()) <= 0:
        raise ValueError(f"style weights must be finite, at least 0 and not all 0, not {list(style_weights)}.")
    shares = (weights / weights.sum()).tolist()
    mean = torch.stack([share * style.mean for share, style in zip(shares, styles, strict=True)]).sum(dim=0)
    std = torch.stack([share * style.std for share, style in zip(shares, styles, strict=True)]).sum(dim=0)
    return StyleStatistics(mean, std)
