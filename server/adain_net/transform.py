"""Adaptive instance normalisation as a channel-wise affine map: mixing, alpha and style in one step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from adain_net.statistics import StyleStatistics


@dataclass(frozen=True)
class AffineTransform:
    """target_feat = scale * content_feat + shift, channel by channel.

    Attributes:
        scale: (N, C), float.
        shift: (N, C), float.
    """

    scale: Tensor
    shift: Tensor

    def apply(self, content_feat: Tensor) -> Tensor:
        """The target features of content features, (N, C, h, w)."""
        return content_feat * self.scale[:, :, None, None] + self.shift[:, :, None, None]


def adain_transform(content: StyleStatistics, style: StyleStatistics, *, alpha: float = 1.0) -> AffineTransform:
    """AdaIN towards a style, blended with the content by alpha, as one affine map.

    Args:
        content: Statistics of the content's features, (N, C).
        style: Statistics of the result for alpha = 1, (N, C) or (1, C); mix_statistics() mixes several.
        alpha: 0 keeps the content's features, 1 gives them the style's statistics.
    Raises:
        ValueError: alpha outside 0..1, or numbers of channels that differ.
    Source:
        Huang and Belongie, ICCV 2017, eq. 8 and 14: (1 - alpha) f + alpha (std_s (f - mean_f) / std_f + mean_s).
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be in 0..1, not {alpha}.")
    if content.mean.shape[1] != style.mean.shape[1]:
        raise ValueError(f"content has {content.mean.shape[1]} channels, style {style.mean.shape[1]}.")
    ratio = style.std / content.std
    return AffineTransform(
        scale=(1.0 - alpha) + alpha * ratio,
        shift=alpha * (style.mean - ratio * content.mean),
    )
