"""The encoder: VGG-19 up to relu4_1, on RGB pictures in 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class FeatureLayer:
    """A layer of the encoder whose statistics are used.

    Attributes:
        name: As in EncoderFeatures.
        channels: Number of channels of its features.
        cell: Pixels of a feature cell, in each direction.
        margin: Pixels around a tile on which its cells depend, rounded up to whole cells. A decoder that mirrors the
            encoder looks as far.
    """

    name: str
    channels: int
    cell: int
    margin: int


RELU1_1 = FeatureLayer("relu1_1", channels=64, cell=1, margin=1)
RELU2_1 = FeatureLayer("relu2_1", channels=128, cell=2, margin=4)
RELU3_1 = FeatureLayer("relu3_1", channels=256, cell=4, margin=12)  # depends on 10 pixels
RELU4_1 = FeatureLayer("relu4_1", channels=512, cell=8, margin=32)  # depends on 30 pixels
LAYERS = (RELU1_1, RELU2_1, RELU3_1, RELU4_1)
"""The layers that style and content losses use, in the order of EncoderFeatures."""


class EncoderFeatures(NamedTuple):
    """The features of the four layers that the losses use; h and w are the picture's height and width in pixels.

    A pooling layer rounds up, so relu4_1 of a picture of 17 rows has 3.
    """

    relu1_1: Tensor
    """(N, 64, h, w), float, at least 0."""
    relu2_1: Tensor
    """(N, 128, h/2, w/2), float, at least 0."""
    relu3_1: Tensor
    """(N, 256, h/4, w/4), float, at least 0."""
    relu4_1: Tensor
    """(N, 512, h/8, w/8), float, at least 0."""


def reflect_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, its input reflected by one pixel at the edges."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, padding_mode="reflect")


class Encoder(nn.Module):
    """VGG-19 up to relu4_1, with reflection at the edges and the colour preparation folded into conv1_1.

    Source:
        Simonyan and Zisserman, ICLR 2015, configuration E; as an AdaIN encoder: Huang and Belongie, ICCV 2017.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1 = reflect_conv(3, 64)
        self.conv1_2 = reflect_conv(64, 64)
        self.conv2_1 = reflect_conv(64, 128)
        self.conv2_2 = reflect_conv(128, 128)
        self.conv3_1 = reflect_conv(128, 256)
        self.conv3_2 = reflect_conv(256, 256)
        self.conv3_3 = reflect_conv(256, 256)
        self.conv3_4 = reflect_conv(256, 256)
        self.conv4_1 = reflect_conv(256, 512)

    def features(self, picture: Tensor) -> EncoderFeatures:
        """Encode, keeping relu1_1, relu2_1, relu3_1 and relu4_1.

        Args:
            picture: (N, 3, h, w), float, RGB in 0..1; h and w at least 9.
        """
        relu1_1, relu2_1, relu3_1 = self._first_three(picture)
        relu3_2 = functional.relu(self.conv3_2(relu3_1))
        relu3_3 = functional.relu(self.conv3_3(relu3_2))
        relu3_4 = functional.relu(self.conv3_4(relu3_3))
        relu4_1 = functional.relu(self.conv4_1(_pool(relu3_4)))
        return EncoderFeatures(relu1_1, relu2_1, relu3_1, relu4_1)

    def _first_three(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        relu1_1 = functional.relu(self.conv1_1(picture))
        relu1_2 = functional.relu(self.conv1_2(relu1_1))
        relu2_1 = functional.relu(self.conv2_1(_pool(relu1_2)))
        relu2_2 = functional.relu(self.conv2_2(relu2_1))
        relu3_1 = functional.relu(self.conv3_1(_pool(relu2_2)))
        return relu1_1, relu2_1, relu3_1

    def forward(self, picture: Tensor, layer: FeatureLayer = RELU4_1) -> Tensor:
        """Features of one layer, (N, channels, ceil(h/cell), ceil(w/cell)); up to relu3_1 at half the cost.

        Args:
            picture: As for features().
            layer: One of LAYERS.
        """
        if layer == RELU4_1:
            return self.features(picture).relu4_1
        return self._first_three(picture)[LAYERS.index(layer)]


def _pool(feat: Tensor) -> Tensor:
    return functional.max_pool2d(feat, kernel_size=2, stride=2, ceil_mode=True)
