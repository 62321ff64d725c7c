"""Where a network comes from, and how it lies in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from adain_net.layout import load_network
from adain_net.network import AdainNetwork
from adain_weights.catalog import DECODER
from adain_weights.models import load_model, read_safetensors

PUBLIC_ENCODER = "vgg_normalised.safetensors"
"""Beside DECODER in a folder that holds the public pair as it is."""

Module = TypeVar("Module", bound=nn.Module)


def network_of_model(model: str) -> AdainNetwork:
    """A model's network, for looking and measuring: its weights want no gradient.

    Args:
        model: As load_model() takes it; or a folder that holds the public pair, PUBLIC_ENCODER and DECODER.
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


def placed(module: Module, device: torch.device) -> Module:
    """The module on a device, with its convolutions' weights in the order that is fastest there."""
    # Processors and CUDA cards convolve faster with the channels last, above all in half precision.
    order = torch.preserve_format if device.type == "mps" else torch.channels_last
    return module.to(device=device, memory_format=order)  # type: ignore[call-overload, no-any-return]
