"""The one door for pickled weights: an explicit conversion, with torch's restricted unpickler."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from adain_weights.errors import WeightsError


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Read a .pth file of tensors by name.

    Raises:
        WeightsError: It cannot be read, holds anything but tensors, or would run code.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        raise WeightsError(f"{path} is damaged, or holds more than tensors; it was not opened.") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise WeightsError(f"{path} is not a dictionary of tensors.")
    return state
