"""The only place that reads pickled weights: an explicit conversion, with torch's restricted unpickler."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from adain_weights.errors import WeightsError
from adain_weights.model_files import read_bytes

_log = logging.getLogger(__name__)
CHILDREN_USED = 31
"""The public encoder's children up to relu4_1; AdaIN does not use the rest. The decoder has fewer."""


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Read a .pth file of tensors by name.

    Raises:
        WeightsError: It cannot be read, holds anything but tensors, or would run code.
    """
    return parse_pickled(read_bytes(path), str(path))


def parse_pickled(data: bytes, whose: str) -> dict[str, Tensor]:
    """Like read_pickled(), for a file that has been read; `whose` is the error's name for it."""
    try:
        state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # the unpickler may raise anything about a damaged file
        _log.debug("%s cannot be unpickled", whose, exc_info=True)
        raise WeightsError(f"{whose} is damaged, or holds more than tensors; it was not opened.") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise WeightsError(f"{whose} is not a dictionary of tensors.")
    return state


def used_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A public file's tensors without those of the encoder beyond relu4_1, which are four fifths of it."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not (number := name.partition(".")[0]).isdecimal() or int(number) < CHILDREN_USED
    }
