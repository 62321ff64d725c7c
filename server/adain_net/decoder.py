"""The decoder: the encoder mirrored, from relu4_1 features back to an RGB picture."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from adain_net.encoder import reflect_conv


class Decoder(nn.Module):
    """Mirror of the encoder: nearest-neighbour upsampling for pooling, reflection at the edges, no normalisation.

    Source:
        Huang and Belongie, ICCV 2017, section 6.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv4_1 = reflect_conv(512, 256)
        self.conv3_4 = reflect_conv(256, 256)
        self.conv3_3 = reflect_conv(256, 256)
        self.conv3_2 = reflect_conv(256, 256)
        self.conv3_1 = reflect_conv(256, 128)
        self.conv2_2 = reflect_conv(128, 128)
        self.conv2_1 = reflect_conv(128, 64)
        self.conv1_2 = reflect_conv(64, 64)
        self.conv1_1 = reflect_conv(64, 3)

    def forward(self, feat: Tensor) -> Tensor:
        """Decode features into a picture.

        Args:
            feat: (N, 512, h, w), float, in relu4_1's scale; h and w at least 2.
        Returns:
            (N, 3, 8h, 8w), float, RGB near 0..1, not clamped.
        """
        x = upsample(functional.relu(self.conv4_1(feat)))
        x = functional.relu(self.conv3_4(x))
        x = functional.relu(self.conv3_3(x))
        x = functional.relu(self.conv3_2(x))
        x = upsample(functional.relu(self.conv3_1(x)))
        x = functional.relu(self.conv2_2(x))
        x = upsample(functional.relu(self.conv2_1(x)))
        x = functional.relu(self.conv1_2(x))
        picture: Tensor = self.conv1_1(x)
        return picture


def upsample(feat: Tensor) -> Tensor:
    """Twice the height and the width, by repeating each value."""
    return functional.interpolate(feat, scale_factor=2, mode="nearest")
