"""A graphics card that is not there, or that nobody can use: the processor paints, and it is said."""

from __future__ import annotations

from multiprocessing import Pipe
from typing import Any, cast

import pytest
import torch

from adain_server import pipe
from adain_server.worker.loaded_models import LoadedModels
from adain_server.worker.worker import Worker, choose_device
from support.helpers import RunningServer, run_of, works


@pytest.mark.fault(66)
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
def test_card_that_is_missing_is_said_and_the_processor_paints() -> None:
    """--device cuda on a machine without one: one sentence, and a server that works."""
    with RunningServer("--device", "cuda") as server:
        assert server.text().count("There is no cuda device on this machine; the CPU is used instead.") == 1
        with server.client() as client:
            assert client.hello().device.startswith("cpu")
        assert works(server)


@pytest.mark.fault(66)
@pytest.mark.parametrize("wanted", ["auto", "cuda"])
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDA error: all devices are busy or unavailable")],
    ids=["full", "busy"],
)
def test_card_that_is_taken_is_said_and_the_processor_is_chosen(
    monkeypatch: pytest.MonkeyPatch, wanted: str, error: Exception
) -> None:
    """It is there, and has no memory left or refuses: the worker starts all the same."""
    empty = torch.empty

    def fail_on_the_card(*size: Any, **options: Any) -> torch.Tensor:
        if options.get("device") == "cuda":
            raise error
        return empty(*size, **options)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "empty", fail_on_the_card)
    chosen = choose_device(wanted)
    assert chosen.torch_device.type == "cpu" and chosen.name.startswith("cpu")
    assert chosen.notice == "The cuda device is taken or fails; the CPU is used instead."


@pytest.mark.fault(66)
def test_processor_that_is_wanted_needs_no_notice() -> None:
    """Nor does a machine without a card when nobody asked for one."""
    assert choose_device("cpu").notice == ""


@pytest.mark.fault(66)
def test_card_that_is_lost_in_a_job_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process cannot use it again: the error is not swallowed, so that the next worker looks what can compute."""
    ours, theirs = Pipe()
    worker = Worker(theirs, cast(LoadedModels, None))

    def lose(*_arguments: object) -> None:
        raise torch.AcceleratorError("CUDA error: the launch failed")

    monkeypatch.setattr(worker, "_render", lose)
    with pytest.raises(torch.AcceleratorError):
        worker.do(run_of(b"j" * 16))
    assert pipe.unpack(ours.recv_bytes()) == pipe.Taken(b"j" * 16) and not ours.poll()
