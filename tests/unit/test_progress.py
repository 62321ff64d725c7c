"""How far a job is, in numbers and words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from adain_client.jobs import Progress
from adain_client.progress import STAGES, STEADY_AFTER_S, TimeLeft, fraction, stage_text


class _Clock:
    """Time that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_bar_never_goes_back() -> None:
    """Over every step of every stage, in the order of a job, from 0 to 1."""
    steps = [fraction(Progress(stage, step, 7)) for stage in STAGES for step in range(8)]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(steps))
    assert steps[0] == 0 and steps[-1] == pytest.approx(1)


def test_fraction_without_steps() -> None:
    """A stage that does not know its steps is at its beginning; an unknown stage is the whole."""
    for stage, (begin, _end) in STAGES.items():
        assert fraction(Progress(stage, 0, 0)) == begin
    assert fraction(Progress("polish", 1, 4)) == 0.25


def test_every_stage_has_a_text_of_its_own() -> None:
    """And a stage of a newer server is called by its name."""
    texts = [stage_text(stage) for stage in STAGES]
    assert len(set(texts)) == len(STAGES) and not set(texts) & STAGES.keys()
    assert stage_text("polish") == "polish"


def test_time_left_is_in_proportion_to_what_is_over() -> None:
    """Counted from the first stage that computes, not from the upload."""
    clock = _Clock()
    left = TimeLeft(clock)
    assert left.seconds(Progress("upload", 1, 2)) is None
    clock.now += 1000
    assert left.seconds(Progress("style", 0, 1)) is None
    begun = fraction(Progress("style", 0, 1))
    clock.now += 10
    now = fraction(Progress("encode", 1, 2))
    assert left.seconds(Progress("encode", 1, 2)) == pytest.approx(10 * (1 - now) / (now - begun))
    assert left.seconds(Progress("download", 1, 1)) == 0


@pytest.mark.parametrize("stage", ["upload", "queued", "loading"])
def test_nobody_can_tell_before_something_is_computed(stage: str) -> None:
    """However long that takes."""
    clock = _Clock()
    left = TimeLeft(clock)
    for step in range(5):
        assert left.seconds(Progress(stage, step, 5)) is None
        clock.now += 100


def test_nobody_can_tell_at_once_or_without_a_step() -> None:
    """For the first seconds, and as long as nothing has been done since."""
    clock = _Clock()
    left = TimeLeft(clock)
    left.seconds(Progress("encode", 0, 10))
    clock.now += STEADY_AFTER_S - 0.1
    assert left.seconds(Progress("encode", 5, 10)) is None
    clock.now += 0.2
    assert left.seconds(Progress("encode", 5, 10)) is not None
    assert left.seconds(Progress("encode", 0, 10)) is None


def _text_after(seconds: float, progress: Progress) -> str:
    """What a bar says so long after a picture's computing began at one half (of encode: 0.45)."""
    clock = _Clock()
    left = TimeLeft(clock)
    left.seconds(Progress("encode", 1, 2))
    clock.now += seconds
    return left.text(progress)


def test_text_names_stage_and_time() -> None:
    """Seconds below a minute and a half, minutes above, never 0; one second is singular."""
    half = Progress("decode", 5, 12)  # 0.725, half of what was left at 0.45
    assert _text_after(1.0, half) == "Painting…"
    assert _text_after(10, half) == "Painting, 10 seconds left"
    assert _text_after(89, half) == "Painting, 89 seconds left"
    assert _text_after(91, half) == "Painting, 2 minutes left"
    assert _text_after(600, half) == "Painting, 10 minutes left"
    assert _text_after(10, Progress("download", 1, 1)) == "Fetching the result, 1 second left"
    assert _text_after(11, Progress("enlarge", 1, 1)) == "Bringing back detail, 1 second left"
    assert _text_after(500, Progress("queued", 0, 1)) == "Waiting for the server…"
