"""Workers with one fault each, in the place of worker_process._run: it is started by its name, in a process of its own.

Nothing heavy is imported here: a worker that only hangs starts in a moment.
"""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import msgpack

READY = {
    "op": "ready",
    "device": "cpu",
    "devices": ["cpu"],
    "model": "none",
    "notices": [],
    "finish_s_per_megapixel": 250.0,
}
"""What a worker says first."""


def hangs_with_its_job_and_then_while_it_loads(
    connection: Connection, _device: str, _model: str, models: Path, _budget: int
) -> None:
    """The first one says that it is ready, takes a job and says no more; those after it never get ready.

    models: Beside it a file is left that tells the second from the first.
    """
    mark = models.with_name("started-before")
    if not mark.exists():
        mark.touch()
        connection.send_bytes(msgpack.packb(READY))
    signal.pause()


def dies_before_its_first_word(connection: Connection, device: str, model: str, models: Path, budget: int) -> None:
    """The real one, that dies as soon as it looks at a job's pixels."""
    from adain_server import worker

    def die(*_arguments: object) -> None:
        os._exit(7)

    worker.AttachedMemory.layer = die  # type: ignore[method-assign,assignment]
    worker.run_worker(connection, device=device, model=model, models=models, memory_budget=budget)


def has_no_memory(connection: Connection, device: str, model: str, models: Path, budget: int) -> None:
    """The real one, whose engine can hold nothing larger than a small style picture."""
    import torch
    from torch import Tensor

    from adain_net.engine import Engine
    from adain_net.network import AdainNetwork
    from adain_server import loaded_models, ncnn_engine, worker

    def engine_without_memory(network: AdainNetwork) -> Engine:
        engine = ncnn_engine.best_engine(network)
        encode = engine.encode

        def encode_what_is_small(picture: Tensor) -> Tensor:
            if max(picture.shape[2:]) > LARGEST:
                raise torch.OutOfMemoryError("injected")
            return encode(picture)

        engine.encode = encode_what_is_small  # type: ignore[method-assign]
        return engine

    vars(loaded_models)["best_engine"] = engine_without_memory
    worker.run_worker(connection, device=device, model=model, models=models, memory_budget=budget)


LARGEST = 64
"""Pixels a side that the engine of has_no_memory() holds."""
