"""A trainer that is killed at a chosen moment of a write."""

from __future__ import annotations

from pathlib import Path

import pytest

from attacks.kill_trainer import MOMENTS, checkpoint_step, differences, killed_trainer, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(run, 6) == 0
    return run


@pytest.mark.fault(83, 84, 87)
@pytest.mark.parametrize("moment", MOMENTS)
def test_trainer_killed_in_a_write_goes_on_as_if_it_had_not_been(whole: Path, tmp_path: Path, moment: str) -> None:
    """Twice, at different steps: a whole checkpoint is there each time, and in the end every bit is the same."""
    run = tmp_path / "run"
    for occurrence in (5, 3):
        assert killed_trainer(run, 6, moment, occurrence)
        assert checkpoint_step(run)
    assert train(run, 6) == 0
    assert not differences(run, whole) and not list(run.glob("*.tmp"))
