"""Engines, which compute the heavy stages, encode and decode: the interface, and torch as its reference."""

from __future__ import annotations

import copy
from typing import Protocol

import torch
from torch import Tensor

from adain_net.encoder import EncoderFeatures, FeatureLayer
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementNetwork


class Engine(Protocol):
    """Computes features of a picture at one layer, and a picture from these; may run out of memory.

    All stages raise MemoryError, or torch.OutOfMemoryError, when a tensor is too large for the device.

    Attributes:
        layer: The layer that is encoded to and decoded from.
        device, dtype: Of the tensors that the engine takes and gives.
    """

    layer: FeatureLayer
    device: torch.device
    dtype: torch.dtype

    def encode(self, picture: Tensor) -> Tensor:
        """The layer's features of a picture.

        Args:
            picture: (1, 3, h, w), float, RGB in 0..1, h and w at least 16.
        Returns:
            (1, channels, ceil(h/cell), ceil(w/cell)), at least 0.
        """

    def features(self, picture: Tensor) -> EncoderFeatures:
        """All layers' features of a picture, for statistics. Argument as for encode()."""

    def decode(self, feat: Tensor, guide: Tensor | None = None) -> Tensor:
        """A picture from features.

        Args:
            feat: (1, channels, h, w), float, in the layer's scale, h and w at least 2.
            guide: For a refinement's decoder the painted picture and the content, (1, 6, cell * h, cell * w).
        Returns:
            (1, 3, cell * h, cell * w), RGB near 0..1, not clamped.
        """


class TorchEngine:
    """Runs a network with torch: the reference for other engines, and the engine for graphics cards.

    On CUDA it works in half precision with the channels last, as the card's matrix units need them; the encoder's
    activations are scaled to leave room for that. Elsewhere it works in float32.
    """

    def __init__(
        self, network: AdainNetwork | RefinementNetwork, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        """Take a network's weights.

        Args:
            network: Not changed; where device, type or layout differ, the engine makes its own copy.
            device: Where to compute.
            dtype: Floating point; None for half precision on CUDA and float32 elsewhere.
        """
        on_cuda = device.type == "cuda"
        self.layer = network.layer
        self.device = device
        self.dtype = dtype or (torch.float16 if on_cuda else torch.float32)
        self._layout = torch.channels_last if on_cuda else torch.contiguous_format
        if on_cuda or not self._fits(network):
            # A copy: Module.to() changes a module in place, and another engine may use the network as well.
            network = copy.deepcopy(network).to(self.device, self.dtype).to(memory_format=self._layout)
        self._network = network

    @torch.no_grad()
    def encode(self, picture: Tensor) -> Tensor:
        """See Engine.encode()."""
        feat: Tensor = self._network.encoder(self._laid_out(picture), self.layer)
        return feat

    @torch.no_grad()
    def features(self, picture: Tensor) -> EncoderFeatures:
        """See Engine.features()."""
        return self._network.encoder.features(self._laid_out(picture))

    @torch.no_grad()
    def decode(self, feat: Tensor, guide: Tensor | None = None) -> Tensor:
        """See Engine.decode()."""
        inputs = (self._laid_out(each) for each in (feat, guide) if each is not None)
        picture: Tensor = self._network.decoder(*inputs)
        return picture

    def _laid_out(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=self._layout)

    def _fits(self, network: AdainNetwork | RefinementNetwork) -> bool:
        return all(tensor.device == self.device and tensor.dtype == self.dtype for tensor in network.parameters())
