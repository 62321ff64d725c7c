"""sRGB's curve: from linear light to the coding that the network knows, and back."""

from __future__ import annotations

import torch
from torch import Tensor

TOE = 0.0031308
"""Linear light up to which the curve is a straight line."""
SLOPE = 12.92
"""Slope of that line."""


def srgb_coded(linear: Tensor) -> Tensor:
    """Linear light coded with sRGB's curve; below 0 mirrored, above 1 continued, so that no value is lost.

    Args:
        linear: Float, any shape; 1 is white.
    Source:
        IEC 61966-2-1:1999, section 5.2: 12.92 v up to 0.0031308, above it 1.055 v^(1 / 2.4) - 0.055.
    """
    size = linear.abs()
    straight = size <= TOE
    power = size.pow(1 / 2.4)
    curved = power.add_(power - 1, alpha=0.055)  # the same sum, in a form that gives exactly 1 for 1 in float32
    return torch.where(straight, size.mul_(SLOPE), curved).copysign_(linear)


def linear_light(coded: Tensor) -> Tensor:
    """The reverse of srgb_coded().

    Source:
        IEC 61966-2-1:1999, section 5.2.
    """
    size = coded.abs()
    straight = size <= SLOPE * TOE
    curved = size.add(0.055).div_(1.055).pow_(2.4)
    return torch.where(straight, size.div_(SLOPE), curved).copysign_(coded)
