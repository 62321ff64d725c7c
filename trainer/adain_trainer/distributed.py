"""The processes of one run: this one alone, or many under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from adain_trainer.errors import TrainerError


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together.

    Shared values are sums over all processes, so each one has the same numbers, bit for bit, and does the same step.

    Attributes:
        rank: This process's number, from 0; process 0 writes files and prints.
        size: Number of processes.
        device: The device that this process computes on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def add_up(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place; returns it. Raises TrainerError when another one has ended."""
        if self.size > 1:
            with _ended_is_a_sentence():
                shared = tensor.to(self.device)
                dist.all_reduce(shared)
                tensor.copy_(shared)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the same answer in all."""
        return bool(self.add_up(torch.tensor(int(flag), device=self.device))) if self.size > 1 else flag

    def from_first(self, value: Any) -> Any:
        """The first process's value, in all processes; any value that can be pickled."""
        if self.size == 1:
            return value
        values = [value]
        with _ended_is_a_sentence():
            dist.broadcast_object_list(values, src=0, device=self.device)
        return values[0]


@contextmanager
def joined_group(device: str) -> Iterator[ProcessGroup]:
    """The group of this process, from torchrun's environment; without torchrun the process is alone.

    Args:
        device: auto, cpu, cuda or mps; each process of a machine takes a graphics card of its own.
    Raises:
        TrainerError: The device is not available.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(0, 1, choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), size, chosen)
    finally:
        dist.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """A device by name; auto is the graphics card when there is one. Raises TrainerError when it is not available."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, usable in there.items() if usable))
    if not there[name]:
        raise TrainerError(f"This machine has no usable {name} device; choose --device cpu.")
    return torch.device(name)


@contextmanager
def _ended_is_a_sentence() -> Iterator[None]:
    try:
        yield
    except RuntimeError:
        raise TrainerError("Another process of this run has ended; its own message says why.") from None
