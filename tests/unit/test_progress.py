"""How far a job is, in numbers and words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from adain_style.client import protocol
from adain_style.client.client import ServerInfo
from adain_style.client.jobs import Progress
from adain_style.client.progress import STAGES, STEADY_AFTER_S, TimeLeft, finish_seconds, fraction, stage_text

each_quality = pytest.mark.parametrize("quality", protocol.QUALITY)


class _Clock:
    """Time that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@each_quality
def test_bar_never_goes_back(quality: str) -> None:
    """Over every step of every stage, in the order of a job, from 0 to 1."""
    steps = [fraction(Progress(stage, step, 7, quality)) for stage in STAGES[quality] for step in range(8)]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(steps))
    assert steps[0] == 0 and steps[-1] == pytest.approx(1)


@each_quality
def test_fraction_without_steps(quality: str) -> None:
    """A stage that does not know its steps is at its beginning; an unknown stage is the whole."""
    for stage, (begin, _end) in STAGES[quality].items():
        assert fraction(Progress(stage, 0, 0, quality)) == begin
    assert fraction(Progress("polish", 1, 4, quality)) == 0.25


def test_qualities_have_more_and_more_stages() -> None:
    """In the same order: what is refined is painted before, and what is finished is refined before."""
    fast, fine, best = (list(STAGES[quality]) for quality in protocol.QUALITY)
    assert [stage for stage in fine if stage in fast] == fast and [stage for stage in best if stage in fine] == fine
    assert set(fine) - set(fast) == {"refine-encode", "refine-decode"} and set(best) - set(fine) == {"finish"}


def test_every_stage_has_a_text_of_its_own() -> None:
    """And a stage of a newer server is called by its name."""
    stages = STAGES["best"].keys()
    texts = [stage_text(stage) for stage in stages]
    assert len(set(texts)) == len(stages) and not set(texts) & stages
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


def test_nobody_can_tell_before_the_finish_how_long_it_takes() -> None:
    """From its first step on it is in proportion to its steps, whatever was before."""
    clock = _Clock()
    left = TimeLeft(clock)
    for stage in ("style", "encode", "decode", "refine-encode", "refine-decode"):
        assert left.seconds(Progress(stage, 1, 2, "best")) is None
        clock.now += 100
    assert left.seconds(Progress("finish", 0, 25, "best")) is None
    clock.now += 10
    begin, now = (fraction(Progress("finish", step, 25, "best")) for step in (0, 5))
    assert left.seconds(Progress("finish", 5, 25, "best")) == pytest.approx(10 * (1 - now) / (now - begin))
    assert left.text(Progress("finish", 5, 25, "best")) == "Finishing the picture, 42 seconds left"


def _info(finish_s_per_megapixel: float) -> ServerInfo:
    return ServerInfo(b"b" * 16, "0", "cpu", "none", True, 10**8, 16, 16, 0.0, 0, finish_s_per_megapixel)


@pytest.mark.parametrize(
    ("height", "width", "stroke_size", "expected"),
    [(1000, 1000, 1.0, 100.0), (512, 512, 1.0, 26.2144), (1000, 2000, 2.0, 50.0), (1001, 999, 3.0, 11.1222)],
)
def test_finish_is_in_proportion_to_the_size_that_is_painted(
    height: int, width: int, stroke_size: float, expected: float
) -> None:
    """That is the layer's divided by the stroke size; 1001 x 999 by 3 is 334 x 333."""
    assert finish_seconds(_info(100.0), height, width, stroke_size) == pytest.approx(expected)


@pytest.mark.parametrize("unknown", [0.0, -1.0])
def test_server_that_does_not_know_how_long_a_finish_takes(unknown: float) -> None:
    """None, and no number that a user would believe."""
    assert finish_seconds(_info(unknown), 512, 512, 1.0) is None


def test_finish_of_a_pixel_takes_a_moment() -> None:
    """However broad strokes are, something is painted."""
    assert finish_seconds(_info(100.0), 1, 8, 32.0) == pytest.approx(1e-4)
