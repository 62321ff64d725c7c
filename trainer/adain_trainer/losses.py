"""The losses of AdaIN training, one value a pair."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from adain_net.statistics import StyleStatistics


def content_loss(feat: Tensor, target_feat: Tensor) -> Tensor:
    """Mean squared distance of features.

    Args:
        feat: relu4_1 of the result, (N, C, h, w).
        target_feat: What the decoder was given, same shape.
    Returns:
        (N,).
    Source:
        Huang and Belongie, ICCV 2017, eq. 12 (squared, as in the authors' code).
    """
    return (feat - target_feat).square().flatten(1).mean(dim=1)


def style_loss(result: Sequence[StyleStatistics], style: Sequence[StyleStatistics], *, balanced: bool) -> Tensor:
    """Mean squared distance of means plus that of deviations, summed over the layers.

    Args:
        result, style: Statistics of relu1_1 to relu4_1, (N, channels) each.
        balanced: Divide each layer's distance by its target's mean square, so that a few extreme styles do not
            outweigh all others.
    Returns:
        (N,).
    Source:
        Huang and Belongie, ICCV 2017, eq. 13; the balance after Cheng et al., CVPR 2021, with a simpler denominator.
    """
    total = result[0].mean.new_zeros(result[0].mean.shape[0])
    for got, wanted in zip(result, style, strict=True):
        distance = (got.mean - wanted.mean).square().mean(dim=1) + (got.std - wanted.std).square().mean(dim=1)
        if balanced:
            magnitude = wanted.mean.square().mean(dim=1) + wanted.std.square().mean(dim=1)
            distance = distance / (magnitude + BALANCE_FLOOR)
        total = total + distance
    return total


def total_variation(picture: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, across and down.

    Args:
        picture: (N, 3, h, w), float.
    Returns:
        (N,).
    Source:
        Mahendran and Vedaldi, CVPR 2015, with exponent 1; against dots and grids in Johnson et al., ECCV 2016.
    """
    down = (picture[:, :, 1:] - picture[:, :, :-1]).abs().flatten(1).mean(dim=1)
    across = (picture[:, :, :, 1:] - picture[:, :, :, :-1]).abs().flatten(1).mean(dim=1)
    return down + across


BALANCE_FLOOR = 0.1
"""Keeps a nearly black style from being weighed without bound; activations are near 1."""
