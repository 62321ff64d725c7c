"""Checks whether a file's tensors can be an AdaIN encoder or decoder, by comparison with the embedded model. No torch.

For files from elsewhere, before they replace anything; adain_net.layout checks them again when a model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load

from adain_weights.errors import WeightsError
from adain_weights.manifest import DEFAULT_MODEL, EMBEDDED, read_manifest

COLOUR_SHAPES = ((3, 3, 1, 1), (3,))
"""Shapes of the public encoder's first convolution, which prepares the colours; this project's layout has none."""
UNUSED_SHAPES = ((512, 512, 3, 3), (512,))
"""Shapes of the public encoder's convolutions beyond relu4_1, which may be present."""

Shape = tuple[int, ...]

_NUMBERED = re.compile(r"[0-9]{1,3}\.(weight|bias)")


def check_weights(role: str, data: bytes, whose: str) -> int:
    """Check a safetensors file's header, names and shapes, in either layout, and that all numbers are finite.

    Args:
        role: "encoder" or "decoder".
        data: The file's content.
        whose: What the error calls the file.
    Returns:
        The number of weights.
    Raises:
        WeightsError: One of the checks failed.
    """
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, ImportError, AttributeError, TypeError):
        # Besides its own error, the library lets through Python's errors about a tensor of an unknown type.
        raise WeightsError(
            f"{whose} is damaged or not a safetensors file of half, single or double precision; get it again."
        ) from None
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if all(_NUMBERED.fullmatch(name) for name in shapes):
        _check_public(role, shapes, whose)
    else:
        _check_own(role, shapes, whose)
    for name, tensor in tensors.items():
        _check_numbers(tensor, f"{whose}: {name}")
    return sum(tensor.size for tensor in tensors.values())


def _check_own(role: str, shapes: Mapping[str, Shape], whose: str) -> None:
    expected = _embedded_shapes(role)
    if different := sorted(set(expected) ^ set(shapes)):
        kind = "lacks the tensor" if different[0] in expected else "has an unknown tensor"
        raise WeightsError(f"{whose} is not an AdaIN {role}: it {kind} {different[0][:64]!r}.")
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise WeightsError(f"{whose} is not an AdaIN {role}: {name} has shape {shape}, not {expected[name]}.")


def _check_public(role: str, shapes: Mapping[str, Shape], whose: str) -> None:
    """Check the public layout, which numbers the convolutions in the order in which they are computed."""
    numbers = sorted({int(name.partition(".")[0]) for name in shapes})
    found = [shapes.get(f"{number}.{kind}", ()) for number in numbers for kind in ("weight", "bias")]
    layers = sorted({name.partition(".")[0] for name in _embedded_shapes(role)}, reverse=role == "decoder")
    expected = [_embedded_shapes(role)[f"{layer}.{kind}"] for layer in layers for kind in ("weight", "bias")]
    if role == "encoder":
        expected = [*COLOUR_SHAPES, *expected]
        expected += UNUSED_SHAPES * ((len(found) - len(expected)) // 2)
    if len(shapes) != len(found) or found != expected:
        raise WeightsError(f"{whose} is not an AdaIN {role}: its convolutions are others than in the public weights.")


def _check_numbers(tensor: NDArray[np.generic], whose: str) -> None:
    if not np.issubdtype(tensor.dtype, np.floating):
        raise WeightsError(f"{whose} holds {tensor.dtype} instead of floating numbers.")
    if not np.isfinite(tensor).all():
        raise WeightsError(f"{whose} holds numbers that are not finite.")


@cache
def _embedded_shapes(role: str) -> dict[str, Shape]:
    file = getattr(read_manifest()[DEFAULT_MODEL], role)
    with safe_open(EMBEDDED / file.path, framework="numpy") as tensors:
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
