"""The losses of AdaIN training, one value per pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adain_net.statistics import StyleStatistics

STYLE_LOSSES = ("paper", "balanced", "log")
CONTENT_LOSSES = ("paper", "log")
BALANCE_FLOOR = 0.1
"""Bounds the weight of a nearly black style; activations are near 1."""
STYLE_FLOORS = (0.03, 0.03, 0.05, 0.04)
"""Floors of relu1_1 to relu4_1 in log losses: about the distance of a well trained decoder at 384 pixels in an easy
style, so that such pairs do not take all the effort."""
CONTENT_FLOOR = 0.3


def content_loss(feat: Tensor, target_feat: Tensor, *, kind: str = "paper") -> Tensor:
    """Mean squared distance of features.

    Args:
        feat: relu4_1 of the result, (N, C, h, w).
        target_feat: The decoder's input, or the content's features; same shape.
        kind: One of CONTENT_LOSSES. log is the logarithm of the distance plus CONTENT_FLOOR; see style_loss().
    Returns:
        (N,).
    Source:
        Huang and Belongie, ICCV 2017, eq. 12 (squared, as in the authors' code), whose target is the AdaIN output. With
        the content's own features as the target, as in Gatys, Ecker and Bethge, CVPR 2016, eq. 1, more of the content
        is kept.
    """
    distance = (feat - target_feat).square().flatten(1).mean(dim=1)
    return (distance + CONTENT_FLOOR).log() if kind == "log" else distance


def layer_distances(result: Sequence[StyleStatistics], style: Sequence[StyleStatistics]) -> Tensor:
    """Mean squared distance of means plus that of deviations, layer by layer.

    Args:
        result, style: Statistics of the same layers, (N, channels) each.
    Returns:
        (N, layers).
    Source:
        Huang and Belongie, ICCV 2017, eq. 13, before it is summed over the layers.
    """
    pairs = zip(result, style, strict=True)
    return torch.stack([_square(got.mean - wanted.mean) + _square(got.std - wanted.std) for got, wanted in pairs], 1)


def style_loss(
    result: Sequence[StyleStatistics],
    style: Sequence[StyleStatistics],
    *,
    kind: str = "paper",
    layers: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> Tensor:
    """The sum of the layers' distances, or of functions of them.

    Args:
        result, style: Statistics of relu1_1 to relu4_1, (N, channels) each.
        kind: One of STYLE_LOSSES. balanced divides each layer's distance by its target's mean square, so that a few
            extreme styles do not outweigh all others. log is the logarithm of the distance plus the layer's one of
            STYLE_FLOORS: reducing a distance by a tenth counts the same in each pair and layer, as it does when
            decoders are compared by geometric means of ratios. Logarithms may be below 0.
        layers: Factor of each layer.
    Returns:
        (N,).
    Source:
        Huang and Belongie, ICCV 2017, eq. 13; the balance after Cheng et al., CVPR 2021 (style-aware normalized loss),
        who divide by the magnitudes of target and result together; here it is the target's alone, a constant. The
        logarithm is this project's.
    """
    distances = layer_distances(result, style)
    if kind == "balanced":
        magnitudes = torch.stack([_square(wanted.mean) + _square(wanted.std) for wanted in style], 1)
        distances = distances / (magnitudes + BALANCE_FLOOR)
    elif kind == "log":
        distances = (distances + distances.new_tensor(STYLE_FLOORS)).log()
    return (distances * distances.new_tensor(layers)).sum(dim=1)


def _square(values: Tensor) -> Tensor:
    """Mean square over the channels: (N, channels) to (N,)."""
    return values.square().mean(dim=1)


def identity_feature_loss(feats: Sequence[Tensor], picture_feats: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of a picture's features before and after encoder and decoder, summed over the layers.

    Args:
        feats: relu1_1 to relu4_1 of the decoded picture, (N, C, h, w) each.
        picture_feats: Of the picture itself, same shapes.
    Returns:
        (N,).
    Source:
        Park and Lee, CVPR 2019 (SANet), eq. 9, second part; the first part is the squared distance of the pixels.
    """
    return torch.stack([content_loss(a, b) for a, b in zip(feats, picture_feats, strict=True)]).sum(dim=0)


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


def range_loss(picture: Tensor) -> Tensor:
    """Mean squared excess beyond 0..1, where a picture is clamped.

    Args:
        picture: (N, 3, h, w), float.
    Returns:
        (N,).
    Source:
        This project.
    """
    return (picture - picture.clamp(0, 1)).square().flatten(1).mean(dim=1)


def grid_loss(picture: Tensor, *, cell: int = 8) -> Tensor:
    """How much the differences of neighbouring pixels depend on the pixels' position in a feature cell.

    A young decoder puts texture on the upsampling lattice: dots and a grid of 2, 4 or 8 pixels. In a photograph neither
    the mean difference nor the mean absolute difference depends on the lattice (0.007 to 0.017 at 256 x 256), however
    much texture there is; in a gridded picture they do (0.13 to 0.43).

    Args:
        picture: (N, 3, h, w), float, decoded from whole cells; h and w at least two cells.
        cell: Pixels of a cell, in each direction.
    Returns:
        (N,), 0 or more: variance over the cell's positions, relative to the mean absolute difference's square, of both
        measures, across and down.
    Source:
        This project.
    """
    total = picture.new_zeros(picture.shape[0])
    for axis in (2, 3):
        steps = picture.diff(dim=axis)
        height, width = (size // cell * cell for size in steps.shape[2:])
        steps = steps[:, :, :height, :width]
        scale = steps.abs().mean(dim=(1, 2, 3)).clamp_min(1e-3)
        for measure in (steps, steps.abs()):
            positions = measure.reshape(-1, 3, height // cell, cell, width // cell, cell).mean(dim=(1, 2, 4))
            total = total + positions.flatten(1).var(dim=1, unbiased=False) / scale.square()
    return total
