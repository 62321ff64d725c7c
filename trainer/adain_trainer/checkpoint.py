"""Checkpoints that survive a kill: written to a temporary file, synced, renamed; the previous one is kept."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from adain_trainer.errors import TrainerError
from adain_weights.files import sync_folder, write_synced

LATEST = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
TEMPORARY = ".tmp"


@dataclass(frozen=True)
class Checkpoint:
    """A run's state after `step` steps; its data and learning rate follow from the configuration and the step.

    Attributes:
        decoder, optimizer, scaler: State dictionaries; the scaler's is empty unless the precision is fp16.
        ema: The running mean of the decoder's weights; empty in old checkpoints, from before it was kept.
        config: FitConfig.as_dict().
    """

    step: int
    decoder: dict[str, Any]
    optimizer: dict[str, Any]
    config: dict[str, Any]
    ema: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Any]:
        """The decoder to paint with: the running mean if there is one."""
        return self.ema or self.decoder


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a kill at any moment leaves a complete one.

    Raises:
        TrainerError: The disk is full or read-only; the previous checkpoint is intact.
    """
    try:
        temporary = write_temporary(folder / LATEST, tensors_as_bytes(vars(checkpoint)))
        if (folder / LATEST).exists():
            (folder / LATEST).replace(folder / PREVIOUS)
        temporary.replace(folder / LATEST)
        sync_folder(folder)
    except OSError as error:
        raise TrainerError(f"The checkpoint could not be written ({error.strerror}); the one before is kept.") from None


def load_checkpoint(folder: Path) -> tuple[Checkpoint | None, str]:
    """The newest readable checkpoint of a run's folder.

    Returns:
        The checkpoint, or None when there is none; and a sentence if the newest one could not be read.
    Raises:
        TrainerError: There are checkpoints, and none of them can be read.
    """
    broken = []
    for name in (LATEST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            checkpoint = Checkpoint(**read_tensors(path))
        except (OSError, ValueError, TypeError):
            broken.append(name)
            continue
        return checkpoint, f"{broken[0]} is damaged; going on from {name}." if broken else ""
    if broken:
        raise TrainerError(f"The checkpoints in {folder} are damaged; start again with an empty folder.")
    return None, ""


def tensors_as_bytes(values: dict[str, Any]) -> bytes:
    """A torch file, made in memory: the error of torch's own writer does not tell that the disk is full."""
    file = BytesIO()
    torch.save(values, file)
    return file.getvalue()


def read_tensors(path: Path) -> dict[str, Any]:
    """The reverse of tensors_as_bytes(), from a file. Raises OSError, or ValueError when it is damaged."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        raise ValueError(f"{path} is damaged") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds something else")
    return values


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file atomically. Raises OSError, leaving nothing half-written."""
    write_temporary(path, data).replace(path)
    sync_folder(path.parent)


def write_temporary(path: Path, data: bytes) -> Path:
    """Write and sync a file's new content beside it; returns its path. Raises OSError, leaving nothing behind."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        write_synced(temporary, data)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
