"""Servers that lie to a real Krita: not a pixel is changed and the user is told, or the right result comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adain_style.client.jobs import Message
from adain_style.client.protocol import pack
from hosts.krita import Krita, samples
from hosts.lies import LIES, before_and_truth, break_off, others_and_truth
from support.helpers import RunningServer
from support.lying_server import STYLE, Answer, Lie, LyingServer

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(180)]

CONNECT = """
    shown = panel()
    shown.start_server()
    yield from until(lambda: shown._wants_server is False)
"""
PAINT = """
    document, layer = picture(width, height)
    yield from settle(document)
    before = state(document)
    sentence = yield from paint(document)
    yield from settle(document)
    return sentence, before, state(document)
"""
Painted = tuple[str, dict[str, Any], dict[str, Any]]
"""The sentence, and the document before and after."""


UNASKED: tuple[Lie, str] = (
    lambda answer: [[pack("cancelled", job=answer.job)]],
    "gave the job up without being asked",
)


@pytest.fixture
def liar(krita: Krita, server: RunningServer) -> Iterator[LyingServer]:
    """Honest, until a test says something else; Krita's panel is connected with it."""
    with LyingServer() as lying:
        krita.use(lying)
        krita.run(CONNECT)
        yield lying
    krita.use(server)
    krita.run(CONNECT)


def _paint(krita: Krita, width: int = 96, height: int = 72) -> Painted:
    sentence, before, after = krita.run(PAINT, width=width, height=height)
    return sentence, before, after


def _refused(painted: Painted) -> str:
    """The sentence of a job that has changed nothing: no pixel, no layer, no undo step."""
    sentence, before, after = painted
    assert before == after and not after["modified"]
    return sentence


def _colours(painted: Painted) -> set[int]:
    """The colours of the new layer."""
    sentence, before, after = painted
    below, new = after["layers"]
    assert not sentence and [below] == before["layers"] and new["name"] == STYLE.title
    return set(samples(new).flat)


@pytest.mark.fault(96, 97)
@pytest.mark.parametrize(("lie", "sentence"), [*LIES.values(), UNASKED], ids=[*LIES, "ended without being asked"])
def test_lie_changes_nothing_and_is_said(krita: Krita, liar: LyingServer, lie: Lie, sentence: str) -> None:
    """In the row of the job; the same panel's next result is right."""
    liar.lie = lie
    assert sentence in _refused(_paint(krita))
    liar.lie = lambda answer: answer.truth()
    assert _colours(_paint(krita)) == {78}


@pytest.mark.fault(96, 97)
def test_result_that_breaks_off_changes_nothing_and_is_said(krita: Krita, liar: LyingServer) -> None:
    """The first of two parts has come when the server falls silent."""
    break_off(liar)
    assert _refused(_paint(krita, 600, 500)) == "The AdaIN server stopped answering; try again."


@pytest.mark.fault(96)
@pytest.mark.parametrize("steps", [0, 1])
def test_progress_beyond_its_end_harms_nothing(krita: Krita, liar: LyingServer, steps: int) -> None:
    """The bar of the row takes no more than its end."""

    def beyond(answer: Answer) -> Iterator[Message]:
        yield [pack("progress", job=answer.job, stage="decode", step=2**53, steps=steps)]
        yield from answer.truth()

    liar.lie = beyond
    assert _colours(_paint(krita)) == {77}


@pytest.mark.fault(102)
@pytest.mark.parametrize("stray", [before_and_truth, others_and_truth])
def test_result_of_another_job_is_ignored(krita: Krita, liar: LyingServer, stray: Lie) -> None:
    """The new layer is all of this job's colour."""
    assert _colours(_paint(krita)) == {77}
    liar.lie = stray
    assert _colours(_paint(krita)) == {78}


@pytest.mark.fault(102)
def test_result_of_a_server_before_is_ignored(krita: Krita, liar: LyingServer) -> None:
    """It breaks off in the middle of its result, and the one in its place paints the job that is tried again."""
    break_off(liar)
    _refused(_paint(krita, 600, 500))
    liar.restart(before_and_truth)
    assert _colours(_paint(krita, 600, 500)) == {78}
