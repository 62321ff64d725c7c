"""What a lying server tells a host, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgpack

from adain_style.client.jobs import Message
from support.lying_server import Answer, Lie, LyingServer

LIES: dict[str, tuple[Lie, str]] = {
    "a row more": (
        lambda answer: [answer.result(height=answer.blob["height"] + 1), *answer.chunks()],
        "another size than was asked for",
    ),
    "a column less": (
        lambda answer: [answer.result(width=answer.blob["width"] - 1), *answer.chunks()],
        "another size than was asked for",
    ),
    "part twice": (
        lambda answer: [answer.result(), *[answer.chunk(0, answer.pixels[:99])] * 2],
        "missing or came twice",
    ),
    "too long": (lambda answer: [answer.result(), answer.chunk(0, answer.pixels + b"x")], "missing or came twice"),
    "other pixels": (lambda answer: [answer.result(), answer.chunk(0, answer.flipped)], "damaged on its way"),
    "other digest": (lambda answer: [answer.result(digest=b"?" * 32), *answer.chunks()], "damaged on its way"),
    "garbage": (lambda _answer: [[b"\xc1garbage"]], "not a msgpack map"),
    "later version": (
        lambda _answer: [[msgpack.packb({"v": 2, "op": "result"})]],
        "The AdaIN server is newer than this",
    ),
}
"""Each with a part of the sentence that the user gets."""


def before_and_truth(answer: Answer) -> Iterable[Message]:
    """The result of the job before, and then the right one."""
    return [*answer.before.truth(), *answer.truth()]


def others_and_truth(answer: Answer) -> Iterable[Message]:
    """The result of nobody's job, and then the right one."""
    other = b"?" * 16
    return [answer.result(job=other), answer.chunk(0, answer.flipped, job=other), *answer.truth()]


def break_off(liar: LyingServer) -> None:
    """From now on it falls silent when the first part of a result has come."""

    def broken(answer: Answer) -> Iterator[Message]:
        yield from answer.truth()[:2]
        liar.fall_silent()

    liar.lie = broken
