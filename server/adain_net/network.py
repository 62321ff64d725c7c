"""The AdaIN network: encoder, transform and decoder, combined in `stylize`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from adain_net.decoder import Decoder
from adain_net.encoder import RELU4_1, Encoder
from adain_net.statistics import StyleStatistics, channel_statistics, mix_statistics
from adain_net.transform import adain_transform

MIN_SIDE = 16
"""Smaller pictures are continued to this many pixels by repeating their edge: reflection needs two cells of relu4_1."""


class AdainNetwork(nn.Module):
    """Encoder and decoder that belong together.

    The steps are separate so that a caller can keep a content's features and a style's statistics between requests:
    encode() once per layer, style_statistics() once per style, stylize_features() after each change of the sliders.
    """

    layer = RELU4_1

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, picture: Tensor) -> Tensor:
        """relu4_1 of a picture of any size.

        Args:
            picture: (N, 3, h, w), float, RGB in 0..1, h and w at least 1.
        Returns:
            (N, 512, ceil(h/8), ceil(w/8)), at least 2 cells a side.
        """
        features: Tensor = self.encoder(continued_to_least(picture))
        return features

    def style_statistics(self, picture: Tensor) -> StyleStatistics:
        """Statistics of relu4_1 of a style picture, (N, 512) each. Arguments as for encode()."""
        return channel_statistics(self.encode(picture))

    def stylize_features(
        self,
        content_feat: Tensor,
        style: StyleStatistics,
        *,
        alpha: float,
        height: int,
        width: int,
    ) -> Tensor:
        """Transform and decode content features.

        Args:
            content_feat: encode() of the content.
            style: From style_statistics() or mix_statistics().
            alpha: 0 = content, 1 = full style.
            height, width: The content's size in pixels; the result has it exactly.
        Returns:
            (N, 3, height, width), float, RGB clamped to 0..1.
        """
        transform = adain_transform(channel_statistics(content_feat), style, alpha=alpha)
        stylized: Tensor = self.decoder(transform.apply(content_feat))
        return stylized[:, :, :height, :width].clamp(0.0, 1.0)

    @torch.inference_mode()
    def stylize(
        self,
        content: Tensor,
        styles: Sequence[Tensor],
        *,
        style_weights: Sequence[float] | None = None,
        alpha: float = 1.0,
    ) -> Tensor:
        """Paint a content picture in the mixture of styles.

        Args:
            content: (1, 3, h, w), float, RGB in 0..1.
            styles: Style pictures, (1, 3, any, any) each, as content.
            style_weights: One per style, only their proportions matter; equal when None.
            alpha: 0 = content through encoder and decoder, 1 = full style.
        Returns:
            (1, 3, h, w), float, RGB in 0..1.
        Raises:
            ValueError: alpha or weights out of range, or no style.
        """
        weights = [1.0] * len(styles) if style_weights is None else style_weights
        style = mix_statistics([self.style_statistics(picture) for picture in styles], weights)
        height, width = content.shape[2:]
        return self.stylize_features(self.encode(content), style, alpha=alpha, height=height, width=width)


def layer_statistics(encoder: Encoder, picture: Tensor) -> list[StyleStatistics]:
    """Statistics of all layers of a whole picture, (N, channels) each. The picture is as for AdainNetwork.encode()."""
    return [channel_statistics(feat) for feat in encoder.features(continued_to_least(picture))]


def continued_to_least(picture: Tensor) -> Tensor:
    """A picture with at least MIN_SIDE pixels a side, (N, 3, h, w); unchanged when it has them."""
    height, width = picture.shape[2:]
    return continued(picture, max(height, MIN_SIDE), max(width, MIN_SIDE))


def continued(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture made larger on the right and below by repeating its edge; unchanged when it has that size."""
    padding = (0, width - picture.shape[3], 0, height - picture.shape[2])
    return functional.pad(picture, padding, mode="replicate") if any(padding) else picture
