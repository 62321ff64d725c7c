"""A small server that goes on finishing a picture of the best quality until its client accepts it."""

from __future__ import annotations

from collections.abc import Iterator

from adain_style.client.jobs import Message
from adain_style.client.protocol import Header, pack
from support.lying_server import Answer, LyingServer, welcome

SECONDS_PER_MEGAPIXEL = 300.0
"""What it says of its finish."""
STEPS = 25


class FinishingServer(LyingServer):
    """What it paints is of one colour, and so is the draft that it sends.

    Attributes:
        asked: The preview's longer side, 0 for a picture, and the quality of each job that was opened.
    """

    def __init__(self) -> None:
        """Begin to answer."""
        self.asked: list[tuple[int, str]] = []
        self._forming: Answer | None = None
        super().__init__(self._begin_to_finish, hello=welcome(finish_s_per_megapixel=SECONDS_PER_MEGAPIXEL))

    def _on_open(self, header: Header, payload: bytes) -> Iterator[Message]:
        self.asked.append((header["preview"], header.get("quality", "fast")))
        yield from super()._on_open(header, payload)

    def _begin_to_finish(self, answer: Answer) -> Iterator[Message]:
        if self.asked[-1][1] != "best":
            yield from answer.truth()
            return
        self._forming = answer
        yield [pack("progress", job=answer.job, stage="finish", step=1, steps=STEPS)]
        yield answer.draft()

    def _on_accept(self, _header: Header, _payload: bytes) -> Iterator[Message]:
        assert self._forming is not None
        yield from self._forming.truth()
