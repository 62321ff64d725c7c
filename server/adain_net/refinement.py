"""Refinement: another pass of AdaIN, at relu3_1, over a picture that has been painted.

The first pass decides what goes where; its decoder, which sees the picture through cells of 8 pixels, gives the shallow
layers' statistics only roughly. This pass corrects them, and it uses the content's own pixels to keep its lines.
Its decoder paints the difference to the painted picture, so that it needs to do nothing where that is right already.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from adain_net.decoder import upsample
from adain_net.encoder import RELU3_1, Encoder, reflect_conv

GUIDE_CHANNELS = 6
"""Channels of the painted picture and of the content."""


class RefinementDecoder(nn.Module):
    """Decodes relu3_1, with the painted picture and the content that it was painted from, into a better RGB picture.

    It mirrors the encoder as Decoder does. Both pictures join the features twice, at half and at full resolution, so
    that lines that the features have lost are restored; the output is added to the painted picture.

    Source:
        Li et al., NeurIPS 2017, for decoders of shallower layers; He et al., CVPR 2016, for learning a difference; the
        guide is this project's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv3_1 = reflect_conv(256, 128)
        self.conv2_2 = reflect_conv(128 + 4 * GUIDE_CHANNELS, 128)
        self.conv2_1 = reflect_conv(128, 64)
        self.conv1_2 = reflect_conv(64 + GUIDE_CHANNELS, 32)
        self.conv1_1 = reflect_conv(32, 3)

    def forward(self, feat: Tensor, guide: Tensor) -> Tensor:
        """Decode features into a picture.

        Args:
            feat: (N, 256, h, w), float, in relu3_1's scale; h and w at least 2.
            guide: The painted picture and the content, (N, 6, 4h, 4w), float, RGB in 0..1 each.
        Returns:
            (N, 3, 4h, 4w), float, RGB near 0..1, not clamped.
        """
        x = upsample(functional.relu(self.conv3_1(feat)))
        x = torch.cat([x, functional.pixel_unshuffle(guide, 2).to(x.dtype)], dim=1)
        x = functional.relu(self.conv2_2(x))
        x = upsample(functional.relu(self.conv2_1(x)))
        x = torch.cat([x, guide.to(x.dtype)], dim=1)
        x = functional.relu(self.conv1_2(x))
        picture: Tensor = guide[:, :3] + self.conv1_1(x)
        return picture


class RefinementNetwork(nn.Module):
    """The encoder up to relu3_1, and the decoder back from there. It refines any model's pictures."""

    layer = RELU3_1

    def __init__(self, encoder: Encoder, decoder: RefinementDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
