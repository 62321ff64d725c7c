"""Initial weights of a decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from adain_net.decoder import Decoder
from adain_net.refinement import RefinementDecoder

NEW_INPUTS = 0.3
"""Scale of a new refinement's weights for the pictures, relative to torch's default initial weights."""


def initialize_decoder(decoder: Decoder, *, seed: int) -> None:
    """Set random weights that keep the activations' scale from layer to layer and give a mid-grey picture.

    Source:
        He et al., ICCV 2015, eq. 10.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in decoder.children():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(_bias(layer))
    nn.init.normal_(decoder.conv1_1.weight, std=0.01, generator=generator)
    nn.init.constant_(_bias(decoder.conv1_1), 0.5)


def refinement_from(decoder: Decoder, *, seed: int) -> RefinementDecoder:
    """A refinement's first decoder: the end of a model's from relu3_1 on, the strongest channels where it is narrower.

    The weights for the two pictures are small and random; its last layer has zeros, so that it initially leaves the
    painted picture as it is.
    """
    refinement = RefinementDecoder()
    generator = torch.Generator().manual_seed(seed)
    last = refinement.conv1_2.out_channels
    with torch.no_grad():
        reach = decoder.conv1_1.weight.square().sum(dim=(0, 2, 3)) * decoder.conv1_2.weight.square().sum(dim=(1, 2, 3))
        strongest = reach.argsort(descending=True)[:last]
        for own, other in ((refinement.conv3_1, decoder.conv3_1), (refinement.conv2_1, decoder.conv2_1)):
            own.load_state_dict(other.state_dict())
        _widen(refinement.conv2_2, decoder.conv2_2.weight, _bias(decoder.conv2_2), generator)
        _widen(refinement.conv1_2, decoder.conv1_2.weight[strongest], _bias(decoder.conv1_2)[strongest], generator)
        nn.init.zeros_(refinement.conv1_1.weight)
        nn.init.zeros_(_bias(refinement.conv1_1))
    return refinement


def _widen(layer: nn.Conv2d, weight: Tensor, bias: Tensor, generator: torch.Generator) -> None:
    """Copy weights of fewer inputs; those of the additional inputs are random."""
    bound = NEW_INPUTS / math.sqrt(layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    layer.weight[:, : weight.shape[1]] = weight
    _bias(layer).copy_(bias)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
