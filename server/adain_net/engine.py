"""What computes the two heavy stages, encode and decode: the interface, and torch as its reference."""

from __future__ import annotations

import copy
from typing import Protocol

import torch
from torch import Tensor

from adain_net.network import AdainNetwork


class Engine(Protocol):
    """Computes relu4_1 of a picture, and a picture from relu4_1; may run out of memory.

    Both stages raise MemoryError, or torch.OutOfMemoryError, when a tensor is too large for the device.

    Attributes:
        device, dtype: Of the tensors that the engine takes and gives.
    """

    device: torch.device
    dtype: torch.dtype

    def encode(self, picture: Tensor) -> Tensor:
        """relu4_1 of a picture.

        Args:
            picture: (1, 3, h, w), float, RGB in 0..1, h and w at least 16.
        Returns:
            (1, 512, ceil(h/8), ceil(w/8)), at least 0.
        """

    def decode(self, feat: Tensor) -> Tensor:
        """A picture from features.

        Args:
            feat: (1, 512, h, w), float, in relu4_1's scale, h and w at least 2.
        Returns:
            (1, 3, 8h, 8w), RGB near 0..1, not clamped.
        """


class TorchEngine:
    """The network as torch runs it: the reference for other engines, and what computes on a graphics card.

    On CUDA it works in half precision with the channels last, which is what the card's matrix units want; the encoder's
    activations are scaled to leave room for that. Elsewhere it works in float32.
    """

    def __init__(self, network: AdainNetwork, device: torch.device, dtype: torch.dtype | None = None) -> None:
        """Take a network's weights.

        Args:
            network: Is left as it is; where device, type or layout differ, the engine has its own copy.
            device: Where to compute.
            dtype: Floating point; None for half precision on CUDA and float32 elsewhere.
        """
        on_cuda = device.type == "cuda"
        self.device = device
        self.dtype = dtype or (torch.float16 if on_cuda else torch.float32)
        self._layout = torch.channels_last if on_cuda else torch.contiguous_format
        if on_cuda or not self._fits(network):
            # A copy: Module.to() changes a module in place, and the network may be another engine's as well.
            network = copy.deepcopy(network).to(self.device, self.dtype).to(memory_format=self._layout)
        self._network = network

    @torch.no_grad()
    def encode(self, picture: Tensor) -> Tensor:
        """As Engine.encode()."""
        feat: Tensor = self._network.encoder(picture.contiguous(memory_format=self._layout))
        return feat

    @torch.no_grad()
    def decode(self, feat: Tensor) -> Tensor:
        """As Engine.decode()."""
        picture: Tensor = self._network.decoder(feat.contiguous(memory_format=self._layout))
        return picture

    def _fits(self, network: AdainNetwork) -> bool:
        return all(tensor.device == self.device and tensor.dtype == self.dtype for tensor in network.parameters())
