"""Checkpoints that survive a kill: written beside, synced, renamed; the one before is kept."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adain_trainer.errors import TrainerError

LATEST = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A run's state after `step` steps: the decoder's and the optimiser's state dictionaries and the configuration."""

    step: int
    decoder: dict[str, Any]
    optimizer: dict[str, Any]
    config: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a kill at any moment leaves a whole one behind.

    Raises:
        TrainerError: The disk is full or read-only; the checkpoint before is intact.
    """
    temporary = folder / f"{LATEST}.tmp"
    try:
        with temporary.open("wb") as file:
            torch.save(vars(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())
        if (folder / LATEST).exists():
            (folder / LATEST).replace(folder / PREVIOUS)
        temporary.replace(folder / LATEST)
        sync_folder(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TrainerError(f"The checkpoint could not be written ({error.strerror}); the one before is kept.") from None


def load_checkpoint(folder: Path) -> tuple[Checkpoint | None, str]:
    """The newest readable checkpoint of a run's folder.

    Returns:
        The checkpoint, or None when there is none; and a sentence when the newest one could not be read.
    Raises:
        TrainerError: There are checkpoints, and none of them can be read.
    """
    broken = []
    for name in (LATEST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError):
            broken.append(name)
            continue
        return checkpoint, f"{broken[0]} is damaged; going on from {name}." if broken else ""
    if broken:
        raise TrainerError(f"The checkpoints in {folder} are damaged; start again with an empty folder.")
    return None, ""


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder last through a power cut, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
