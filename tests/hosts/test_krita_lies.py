"""Servers that lie to a real Krita: not a pixel is changed and the user is told, or the right result comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgpack
import pytest

from adain_client.jobs import Message
from adain_client.protocol import pack
from helpers import RunningServer
from hosts.krita import Krita, samples
from lying_server import STYLE, Answer, Lie, LyingServer

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


def _other(answer: Answer) -> bytes:
    return bytes([answer.pixels[0] ^ 1]) + answer.pixels[1:]


LIES: dict[str, tuple[Lie, str]] = {
    "another size": (
        lambda answer: [answer.result(width=answer.blob["width"] - 1), *answer.chunks()],
        "another size than was asked for",
    ),
    "part twice": (
        lambda answer: [answer.result(), *[answer.chunk(0, answer.pixels[:99])] * 2],
        "missing or came twice",
    ),
    "too long": (lambda answer: [answer.result(), answer.chunk(0, answer.pixels + b"x")], "missing or came twice"),
    "other pixels": (lambda answer: [answer.result(), answer.chunk(0, _other(answer))], "damaged on its way"),
    "other digest": (lambda answer: [answer.result(digest=b"?" * 32), *answer.chunks()], "damaged on its way"),
    "garbage": (lambda _answer: [[b"\xc1garbage"]], "not a msgpack map"),
    "later version": (lambda _answer: [[msgpack.packb({"v": 2, "op": "result"})]], "Only protocol version 1"),
    "ended without being asked": (
        lambda answer: [[pack("cancelled", job=answer.job)]],
        "gave the job up without being asked",
    ),
}


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


@pytest.mark.parametrize(("lie", "sentence"), LIES.values(), ids=LIES.keys())
def test_96_97_lie_changes_nothing_and_is_said(krita: Krita, liar: LyingServer, lie: Lie, sentence: str) -> None:
    """In the row of the job; the same panel's next result is right."""
    liar.lie = lie
    assert sentence in _refused(_paint(krita))
    liar.lie = lambda answer: answer.truth()
    assert _colours(_paint(krita)) == {78}


def test_96_97_result_that_breaks_off_changes_nothing_and_is_said(krita: Krita, liar: LyingServer) -> None:
    """The first of two parts has come when the server falls silent."""

    def broken(answer: Answer) -> Iterator[Message]:
        yield from answer.truth()[:2]
        liar.fall_silent()

    liar.lie = broken
    assert _refused(_paint(krita, 600, 500)) == "The AdaIN server stopped answering; try again."


@pytest.mark.parametrize("steps", [0, 1])
def test_96_progress_beyond_its_end_harms_nothing(krita: Krita, liar: LyingServer, steps: int) -> None:
    """The bar of the row takes no more than its end."""

    def beyond(answer: Answer) -> Iterator[Message]:
        yield [pack("progress", job=answer.job, stage="decode", step=2**53, steps=steps)]
        yield from answer.truth()

    liar.lie = beyond
    assert _colours(_paint(krita)) == {77}


def _job_of(answer: Answer | None) -> Answer:
    assert answer is not None
    return answer


def _before_and_truth(answer: Answer) -> Iterable[Message]:
    return [*_job_of(answer.before).truth(), *answer.truth()]


def _others_and_truth(answer: Answer) -> Iterable[Message]:
    other = b"?" * 16
    return [answer.result(job=other), answer.chunk(0, _other(answer), job=other), *answer.truth()]


@pytest.mark.parametrize("stray", [_before_and_truth, _others_and_truth])
def test_102_result_of_another_job_is_ignored(krita: Krita, liar: LyingServer, stray: Lie) -> None:
    """The new layer is all of this job's colour."""
    assert _colours(_paint(krita)) == {77}
    liar.lie = stray
    assert _colours(_paint(krita)) == {78}


def test_102_result_of_a_server_before_is_ignored(krita: Krita, liar: LyingServer) -> None:
    """It breaks off in the middle of its result, and the one in its place paints the job that is tried again."""

    def broken(answer: Answer) -> Iterator[Message]:
        yield from answer.truth()[:2]
        liar.fall_silent()

    liar.lie = broken
    _refused(_paint(krita, 600, 500))
    liar.restart(_before_and_truth)
    assert _colours(_paint(krita, 600, 500)) == {78}
