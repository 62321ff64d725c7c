"""Broad strokes: painted at a smaller working size, brought back to full size with the content's fine detail.

Enlarging alone would lose the edges. The content's fine luminance, which the small picture could not hold, is added
again: as strongly as the paint follows the content's luminance nearby, strongly at the content's edges in any case, and
hardly in flat parts and faint texture, which stay paint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from adain_net.boxes import Box
from adain_server.worker.layers import LUMA, Layer

RADIUS = 2
"""Radius of the window in which the slope is taken, in pixels of the working picture."""
FAINT = 0.05**2
"""Luminance variance, of values in 0..1, below which content counts as texture and not as an edge."""
FLAT = 0.01**2
"""Variance below which the slope is damped towards 0."""
STEEPEST = 2.0
EDGE_SLOPE = 0.8
"""How much of an edge is restored where the paint did not follow it."""
TURNED = -0.3
"""Slope of luminance below which the paint has inverted light and dark: its edges are inverted, too."""
REACH = 2 * RADIUS + 3
"""Margin around a part, in pixels of the working picture, on which it depends: two windows and the bicubic kernel."""


@dataclass(frozen=True)
class Enlarged:
    """A picture that was painted at a working size.

    Attributes:
        painted: RGB, sRGB-coded.
        working: The picture that it was painted from, of the same size.
        content: The layer at full size.
        detail: 0 = enlarged smoothly, 1 = all of the content's edges.
    """

    painted: Layer
    working: Layer
    content: Layer
    detail: float

    def colours(self, box: Box) -> Tensor:
        """A part at full size, (1, 3, h, w) float32, RGB in 0..1."""
        height, width = self.working.height, self.working.width
        down, across = height / self.content.height, width / self.content.width
        window = (box.top * down, box.bottom * down, box.left * across, box.right * across)
        inner = Box(int(window[0]), -int(-window[1] // 1), int(window[2]), -int(-window[3] // 1))
        source = inner.grown(REACH, Box(0, height, 0, width))
        area = (window[2] - source.left, window[0] - source.top, window[3] - source.left, window[1] - source.top)
        painted = self.painted.colours(source)
        result = _enlarge(painted, box, area)
        if self.detail:
            luma = torch.tensor(LUMA)[:, None, None]
            coarse = (self.working.colours(source) * luma).sum(dim=1, keepdim=True)
            fine = (self.content.colours(box) * luma).sum(dim=1, keepdim=True)
            slope = _enlarge(_slope(coarse, painted), box, area)
            result += self.detail * slope * (fine - _enlarge(coarse, box, area))
        return result.clamp_(0.0, 1.0)


def _slope(luminance: Tensor, painted: Tensor) -> Tensor:
    """How strongly each painted colour follows the content's luminance, (1, 3, h, w).

    The least-squares slope of the colour over the luminance, in a window about each pixel; at least EDGE_SLOPE unless
    the paint is inverted; damped where the content is faint.

    Source:
        He et al., Guided Image Filtering, ECCV 2010: the linear coefficients of eq. 5, averaged as in eq. 8, with the
        damping taken out of the fraction, so that a floor can be put to the slope itself.
    """
    mean_y, mean_p = _window_mean(luminance), _window_mean(painted)
    covariance = _window_mean(luminance * painted) - mean_y * mean_p
    variance = (_window_mean(luminance.square()) - mean_y.square()).clamp_min(0)
    slope = covariance / (variance + FLAT)
    luma = torch.tensor(LUMA)[:, None, None]
    turned = (slope * luma).sum(dim=1, keepdim=True) < TURNED
    slope = torch.where(turned, slope, slope.clamp_min(EDGE_SLOPE))
    return _window_mean(variance / (variance + FAINT) * slope).clamp_(-STEEPEST, STEEPEST)


def _window_mean(picture: Tensor) -> Tensor:
    return functional.avg_pool2d(picture, 2 * RADIUS + 1, stride=1, padding=RADIUS, count_include_pad=False)


def _enlarge(picture: Tensor, box: Box, area: tuple[float, float, float, float]) -> Tensor:
    """A window (left, top, right, bottom, fractions of pixels) of (1, C, h, w) as (1, C, *box.size)."""
    height, width = box.size
    planes = [
        np.asarray(Image.fromarray(plane.numpy()).resize((width, height), Image.Resampling.BICUBIC, box=area))
        for plane in picture[0].contiguous()
    ]
    return torch.from_numpy(np.stack(planes))[None]
