"""Loading networks and placing them on a device, and the interface of those that paint."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder, FeatureLayer
from adain_net.layout import load_network, load_refinement
from adain_net.measured_style import MeasuredStyle
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementDecoder, RefinementNetwork
from adain_net.stylizer import Stylizer
from adain_weights.catalog import DECODER
from adain_weights.models import load_model, load_refinement_weights, read_safetensors

PUBLIC_ENCODER = "vgg_normalised.safetensors"
"""The encoder's file, beside DECODER, in a folder that holds the unchanged public pair."""

Module = TypeVar("Module", bound=nn.Module)
AnyDecoder = Decoder | RefinementDecoder
"""A decoder that can be trained: a model's or a refinement's."""


class PaintingNetwork(Protocol):
    """A network as figures and sheets need it; stylize_features() takes results of encode() and style_statistics()."""

    encoder: Encoder

    def encode(self, picture: Tensor, /) -> Any:
        """Encode a content, (1, 3, h, w), float, RGB in 0..1, for stylize_features()."""

    def style_statistics(self, picture: Tensor, /) -> Any:
        """Measure a style, a picture as for encode(), for stylize_features()."""

    def stylize_features(self, content: Any, style: Any, /, *, alpha: float, height: int, width: int) -> Tensor:
        """The painted picture; with alpha 0 the decoded content, without restoring what that loses."""


class RefinedNetwork(nn.Module):
    """A model with a refinement of its pictures: quality fine, one content at a time."""

    def __init__(self, network: AdainNetwork, refinement: RefinementNetwork) -> None:
        super().__init__()
        self.network = network
        self.refinement = refinement
        self.encoder = refinement.encoder

    def encode(self, picture: Tensor) -> Tensor:
        """The picture itself, because both passes use it."""
        return picture

    def style_statistics(self, picture: Tensor) -> MeasuredStyle:
        """The statistics of a style picture."""
        return self._stylizer.measure(picture)

    @torch.no_grad()
    def stylize_features(
        self, content: Tensor, style: MeasuredStyle, *, alpha: float, height: int, width: int
    ) -> Tensor:
        """See PaintingNetwork.stylize_features()."""
        if alpha:
            return self._stylizer.paint(content, [style], alpha=alpha, quality="fine")
        feat = self.encoder(content, self.refinement.layer)
        cell = self.refinement.layer.cell
        guide = nn.functional.pad(content, (0, -width % cell, 0, -height % cell), mode="replicate")
        picture: Tensor = self.refinement.decoder(feat, torch.cat([guide, guide], dim=1))
        return picture[:, :, :height, :width].clamp(0, 1)

    @cached_property
    def _stylizer(self) -> Stylizer:
        # Made when it is needed: until then the networks may move to another device.
        return Stylizer(self.network, self.refinement, precision=torch.float32)


def layer_of(decoder: AnyDecoder) -> FeatureLayer:
    """The layer that a decoder decodes."""
    return RefinementNetwork.layer if isinstance(decoder, RefinementDecoder) else AdainNetwork.layer


def whole_network(encoder: Encoder, decoder: AnyDecoder, painter: Decoder | None) -> AdainNetwork | RefinedNetwork:
    """A decoder with its encoder; a refinement's decoder also with the model's decoder, whose paint it refines.

    Args:
        painter: The decoder of the model whose pictures are refined; None for a model's decoder.
    """
    if not isinstance(decoder, RefinementDecoder):
        return AdainNetwork(encoder, decoder)
    assert painter is not None
    return RefinedNetwork(AdainNetwork(encoder, painter), RefinementNetwork(encoder, decoder))


def network_of_model(model: str) -> AdainNetwork:
    """A model's network for painting and measuring, without gradients.

    Args:
        model: As for load_model(); or a folder that holds the public pair, PUBLIC_ENCODER and DECODER.
    Raises:
        WeightsError: There is no such model, or a file is missing or damaged.
        LayoutError: The tensors are not an AdaIN network's.
    """
    folder = Path(model)
    if (folder / PUBLIC_ENCODER).is_file():
        network = load_network(read_safetensors(folder / PUBLIC_ENCODER), read_safetensors(folder / DECODER))
    else:
        weights = load_model(model)
        network = load_network(weights.encoder, weights.decoder)
    return network.requires_grad_(False)


def embedded_refinement() -> RefinementNetwork:
    """The refinement that comes with the project, without gradients. Raises WeightsError."""
    weights = load_refinement_weights()
    return load_refinement(weights.encoder, weights.decoder).requires_grad_(False)


def placed(module: Module, device: torch.device) -> Module:
    """The module on a device, with its convolutions' weights in the fastest memory layout there."""
    # Processors and CUDA cards convolve faster with the channels last, above all in half precision.
    order = torch.preserve_format if device.type == "mps" else torch.channels_last
    return module.to(device=device, memory_format=order)  # type: ignore[call-overload, no-any-return]
