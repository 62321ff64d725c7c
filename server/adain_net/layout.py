"""Weights in this project's layout and in the public PyTorch AdaIN layout, as dictionaries of tensors; no files.

Own layout: `conv1_1.weight`, `conv1_1.bias` and so on, as the modules name them. Public layout: the children's numbers
of two Sequential modules, the encoder with a 1x1 colour convolution in front (`vgg_normalised.pth`, `decoder.pth`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementDecoder, RefinementNetwork

PUBLIC_COLOUR_CONV = "0"
PUBLIC_ENCODER = {
    "conv1_1": 2, "conv1_2": 5, "conv2_1": 9, "conv2_2": 12, "conv3_1": 16,
    "conv3_2": 19, "conv3_3": 22, "conv3_4": 25, "conv4_1": 29,
}  # fmt: skip
PUBLIC_ENCODER_UNUSED = (32, 35, 38, 42, 45, 48, 51)
"""conv4_2 to conv5_4: in the public file, beyond relu4_1, not used by AdaIN."""
PUBLIC_DECODER = {
    "conv4_1": 1, "conv3_4": 5, "conv3_3": 8, "conv3_2": 11, "conv3_1": 14,
    "conv2_2": 18, "conv2_1": 21, "conv1_2": 25, "conv1_1": 28,
}  # fmt: skip


Module = TypeVar("Module", bound=nn.Module)


class LayoutError(ValueError):
    """Tensors that are not an AdaIN encoder or decoder; the message names the first difference."""


def load_encoder(state: Mapping[str, Tensor]) -> Encoder:
    """An encoder from weights in either layout, in float32.

    Raises:
        LayoutError: A tensor is missing, of another shape, not finite, or unknown.
    """
    own = encoder_from_public(state) if f"{PUBLIC_COLOUR_CONV}.weight" in state else state
    return _load(Encoder(), own, "encoder")


def load_decoder(state: Mapping[str, Tensor]) -> Decoder:
    """A decoder from weights in either layout, in float32. Raises LayoutError as load_encoder() does."""
    public = f"{PUBLIC_DECODER['conv4_1']}.weight" in state
    return _load(Decoder(), _renumbered(state, PUBLIC_DECODER) if public else state, "decoder")


def load_network(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> AdainNetwork:
    """A network from both files' weights, each in either layout, in float32. Raises LayoutError."""
    return AdainNetwork(load_encoder(encoder), load_decoder(decoder))


def load_refinement(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> RefinementNetwork:
    """A refinement from its encoder's weights, in either layout, and its decoder's, in float32. Raises LayoutError."""
    return RefinementNetwork(load_encoder(encoder), _load(RefinementDecoder(), decoder, "refinement decoder"))


def encoder_from_public(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold the public encoder's 1x1 colour convolution into conv1_1 and give the layers their names.

    The fold is exact: the edges are reflected, and reflection commutes with a map of the colours.
    """
    own = _renumbered(state, PUBLIC_ENCODER)
    try:
        colour = state[f"{PUBLIC_COLOUR_CONV}.weight"].double()[:, :, 0, 0]
        offset = state[f"{PUBLIC_COLOUR_CONV}.bias"].double()
        weight = own["conv1_1.weight"].double()
        own["conv1_1.weight"] = torch.einsum("ocij,cd->odij", weight, colour).float()
        own["conv1_1.bias"] = (own["conv1_1.bias"].double() + torch.einsum("ocij,c->o", weight, offset)).float()
    except (KeyError, IndexError, RuntimeError):
        raise LayoutError("The encoder's first two convolutions are not those of the public AdaIN weights.") from None
    return own


def encoder_to_public(encoder: Encoder) -> dict[str, Tensor]:
    """The public layout of an encoder: an identity colour convolution in front.

    The layers beyond relu4_1 are zeros: the public code loads them and cuts them off again.
    """
    state = {
        f"{PUBLIC_COLOUR_CONV}.weight": torch.eye(3)[:, :, None, None],
        f"{PUBLIC_COLOUR_CONV}.bias": torch.zeros(3),
    }
    state |= _numbered(encoder.state_dict(), PUBLIC_ENCODER)
    for number in PUBLIC_ENCODER_UNUSED:
        state |= {f"{number}.weight": torch.zeros(512, 512, 3, 3), f"{number}.bias": torch.zeros(512)}
    return state


def decoder_to_public(decoder: Decoder) -> dict[str, Tensor]:
    """The public layout of a decoder."""
    return _numbered(decoder.state_dict(), PUBLIC_DECODER)


def _renumbered(state: Mapping[str, Tensor], numbers: Mapping[str, int]) -> dict[str, Tensor]:
    kinds = ("weight", "bias")
    try:
        return {f"{layer}.{kind}": state[f"{number}.{kind}"] for layer, number in numbers.items() for kind in kinds}
    except KeyError as error:
        raise LayoutError(f"The public AdaIN weights have a tensor {error}, this file has none.") from None


def _numbered(state: Mapping[str, Tensor], numbers: Mapping[str, int]) -> dict[str, Tensor]:
    return {f"{n}.{kind}": state[f"{layer}.{kind}"] for layer, n in numbers.items() for kind in ("weight", "bias")}


def _load(module: Module, state: Mapping[str, Tensor], role: str) -> Module:
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise LayoutError(f"The {role}'s tensor {name} is missing.")
        if state[name].shape != tensor.shape:
            raise LayoutError(f"The {role}'s {name} has shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}.")
        if not bool(torch.isfinite(state[name]).all()):
            raise LayoutError(f"The {role}'s {name} holds numbers that are not finite.")
    if unknown := sorted(set(state) - set(expected)):
        raise LayoutError(f"The {role} holds a tensor {unknown[0]} that is not part of the network.")
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return module
