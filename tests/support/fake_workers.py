"""Workers with one fault each, in the place of worker_process._run: it is started by its name, in a process of its own.

Nothing heavy is imported here: a worker that only hangs starts in a moment.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from adain_server import pipe

if TYPE_CHECKING:
    from adain_server.worker.measured_styles import OnStep
    from adain_server.worker.rendering import OnDraft, RenderRequest

READY = pipe.Ready("cpu", ("cpu",), "none", (), finish_s_per_megapixel=250.0, encoder="none")
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
        connection.send_bytes(pipe.pack(READY))
    signal.pause()


def dies_before_its_first_word(connection: Connection, device: str, model: str, models: Path, budget: int) -> None:
    """The real one, that dies as soon as it looks at a job's pixels."""
    from adain_server.worker import worker

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
    from adain_server.worker import loaded_models, ncnn_engine, worker

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


def never_gets_ready(_connection: Connection, _device: str, _model: str, _models: Path, _budget: int) -> None:
    """It loads and loads."""
    signal.pause()


FEW_STEPS = 3
LARGEST_WITH_FEW_STEPS = 24
"""Pixels a side that finishes() needs few steps for; what is larger it finishes until somebody accepts."""
LEAST_THAT_HANGS = 200
"""Pixels a side from which on it hears nothing any more, in a step that does not end."""
STEP_S = 0.002


def finishes(connection: Connection, device: str, model: str, models: Path, budget: int) -> None:
    """The real one, whose painter does nothing but finish, and says in the result what it has done.

    Red is the place of the quality in protocol.QUALITY, green how many steps of the finish were made, at most 255. A
    draft is 4 x 6 pixels of the number of steps that are over, and one comes after every step.
    """
    from adain_server.worker import worker
    from adain_server.worker.rendering import Painted
    from adain_style.client import protocol

    class Models:
        finish_s_per_megapixel = READY.finish_s_per_megapixel

        def __init__(self, *_weights: object, **_settings: object) -> None:
            pass

        def renderer(self, *_key: object) -> Models:
            return self

        def render(
            self, request: RenderRequest, on_step: OnStep, *, on_draft: OnDraft, is_accepted: Callable[[], bool]
        ) -> Painted:
            steps = _finish(request, on_step, on_draft, is_accepted) if request.quality == "best" else 0
            request.out[:] = protocol.QUALITY.index(request.quality), min(steps, 255), 0
            return Painted()

    vars(worker).update(LoadedModels=Models, DRAFT_EVERY_S=0.0)
    worker.run_worker(connection, device=device, model=model, models=models, memory_budget=budget)


def _finish(request: RenderRequest, on_step: OnStep, on_draft: OnDraft, is_accepted: Callable[[], bool]) -> int:
    """How many steps were made."""
    import numpy as np

    side = max(request.out.shape[:2])
    steps = FEW_STEPS if side <= LARGEST_WITH_FEW_STEPS else 1_000_000
    for step in range(steps):
        if is_accepted():
            return step
        on_step("finish", step, steps)
        if side >= LEAST_THAT_HANGS:
            signal.pause()
        time.sleep(STEP_S)
        on_draft(np.full((4, 6, 3), (step + 1) % 256, dtype=np.uint8))
    return steps
