"""Fixtures of the trainer's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trainer.tiny import FINE_TUNE, REFINE, fit


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Sums are made in the same order, and two busy cores are not made busier."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's models folder of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "adain-style" / "models"


@pytest.fixture(scope="session")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps from the embedded decoder, with a report; to be looked at, not changed."""
    run = tmp_path_factory.mktemp("finetuned") / "my-run"
    fit(run, 4, *FINE_TUNE)
    return run


@pytest.fixture(scope="session")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps from the embedded refinement, with a report; to be looked at, not changed."""
    run = tmp_path_factory.mktemp("refined") / "my-refinement"
    fit(run, 4, *REFINE)
    return run
