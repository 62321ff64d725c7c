"""A small server that takes a job as the protocol says, and then answers with a lie of the test's choice."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import zmq

from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.connection import ConnectionInfo, read_connection_file, write_connection_file
from adain_style.client.jobs import Frame, Message, StyleInfo
from adain_style.client.protocol import CHUNK_BYTES, Header, pack
from adain_style.client.wire import PictureSpec, RequestSpec

Running = TypeVar("Running", bound="LyingServer")
POLL_MS = 20
STYLE = StyleInfo("hokusai-great-wave", "The Great Wave off Kanagawa, about 1831", "", "", "", False)
"""The one that it has, under the name of the one that tests in hosts ask for."""


@dataclass
class Answer:
    """What a job gets when its pixels are there: a result of one colour.

    Attributes:
        job: Its id.
        blob: What the result is, with the digest of its true pixels.
        pixels: Those.
        number: Which job of this server it is, from 0; one that is opened again counts again.
        last: The job before; None for the first one.
    """

    job: bytes
    blob: Mapping[str, Any]
    pixels: bytes = field(repr=False)
    number: int
    last: Answer | None = field(repr=False)

    @property
    def before(self) -> Answer:
        """The job before, which there must have been."""
        assert self.last is not None
        return self.last

    @property
    def flipped(self) -> bytes:
        """The pixels with another first bit."""
        return bytes([self.pixels[0] ^ 1]) + self.pixels[1:]

    def result(self, **changes: Any) -> Message:
        """The announcement, true but for the changes."""
        said = {name: self.blob[name] for name in ("height", "width", "digest")}
        return [pack("result", **{"job": self.job, **said, "notice": "", **changes})]

    def chunk(self, offset: int, payload: Frame | None = None, /, **changes: Any) -> Message:
        """A part of the pixels, true but for what is given."""
        true = self.pixels[offset : offset + CHUNK_BYTES] if payload is None else payload
        return [pack("chunk", **{"job": self.job, "offset": offset, **changes}), true]

    def chunks(self) -> list[Message]:
        """All parts."""
        return [self.chunk(offset) for offset in range(0, len(self.pixels), CHUNK_BYTES)]

    def draft(self, height: int = 3, width: int = 4, payload: bytes | None = None, **changes: Any) -> Message:
        """The picture as it forms, of one colour, true but for what is given."""
        pixels = bytes([self.pixels[0]]) * (height * width * 3) if payload is None else payload
        fields = {"job": self.job, "height": height, "width": width, "step": 1, "steps": 25, **changes}
        return [pack("draft", **fields), pixels]

    def truth(self) -> list[Message]:
        """What an honest server sends."""
        return [self.result(), *self.chunks()]


Lie = Callable[[Answer], Iterable[Message]]
"""What is sent when a job's pixels are there."""


def truth(answer: Answer) -> list[Message]:
    """No lie."""
    return answer.truth()


@dataclass
class _Upload:
    header: Header
    missing: int
    """Bytes."""


class LyingServer:
    """A ROUTER in a thread, in a private folder of its own; close() ends it.

    Attributes:
        connection_file: Says where it is, as a real server's does.
        lie: What jobs get; may be changed between two jobs. previews: What previews get, which do not count as jobs.
        heard: The op of every message that has come.
        also: Sent before the answer to every question about styles. swatches: By name.
        total: How many styles it says it has.
    """

    def __init__(self, lie: Lie = truth, *, colour: int = 77, hello: Message | None = None) -> None:
        """Begin to answer.

        Args:
            lie: What a job gets.
            colour: Every byte of the results; the next job's are one more.
            hello: Answers a hello, instead of a welcome.
        """
        # Not pytest's folder: a socket's path has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="adain-liar-"))
        self.connection_file = self.folder / "connection.json"
        self.lie, self.previews = lie, truth
        self.heard: list[str] = []
        self.also: list[Message] = []
        self.swatches: dict[str, bytes] = {}
        self.total = 1
        self._colour, self._hello = colour, hello
        self._endpoint = f"ipc://{self.folder}/socket"
        self._uploads: dict[bytes, _Upload] = {}
        self._last: Answer | None = None
        self._is_silent = False
        self._context = zmq.Context()
        self._begin()
        write_connection_file(self.connection_file, ConnectionInfo(self._endpoint, os.getpid()))

    def _begin(self) -> None:
        self._closed = threading.Event()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.bind(self._endpoint)
        self._thread = threading.Thread(target=self._serve, daemon=True, name="lying-server")
        self._thread.start()

    def __enter__(self: Running) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def client(self) -> Client:
        """A client of it; the caller closes it."""
        return Client(read_connection_file(self.connection_file), name="test")

    def fall_silent(self) -> None:
        """Read on, and answer nothing any more, not even a hello."""
        self._is_silent = True

    def restart(self, lie: Lie) -> None:
        """End it, and begin at the same place as a server that knows nothing of what was before."""
        self._end()
        self.lie, self._is_silent = lie, False
        self._uploads = {}
        self._begin()

    def _end(self) -> None:
        self._closed.set()
        self._thread.join(timeout=10)

    def close(self) -> None:
        """End it and remove its folder."""
        self._end()
        self._context.term()
        shutil.rmtree(self.folder, ignore_errors=True)

    # The thread

    def _serve(self) -> None:
        with self._router:
            while not self._closed.is_set():
                if self._router.poll(POLL_MS):
                    peer, *frames = self._router.recv_multipart()
                    for message in self._answers(*protocol.unpack(frames, protocol.FROM_CLIENT)):
                        self._router.send_multipart([peer, *message])

    def _answers(self, header: Header, payload: bytes) -> Iterator[Message]:
        self.heard.append(header["op"])
        # A lie may come in the middle of its own answers.
        for message in getattr(self, f"_on_{header['op']}", self._on_other)(header, payload):
            if self._is_silent:
                return
            yield message

    def _on_other(self, _header: Header, _payload: bytes) -> Iterator[Message]:
        """A credit needs no answer: whoever lies sends without."""
        yield from ()

    def _on_hello(self, _header: Header, _payload: bytes) -> Iterator[Message]:
        yield self._hello or welcome()

    def _on_styles(self, header: Header, _payload: bytes) -> Iterator[Message]:
        yield from self.also
        yield [pack("styles", first=header["first"], total=self.total, styles=[vars(STYLE)])]

    def _on_models(self, _header: Header, _payload: bytes) -> Iterator[Message]:
        yield [pack("models", first=0, total=0, models=[])]

    def _on_swatch(self, header: Header, _payload: bytes) -> Iterator[Message]:
        yield from self.also
        if header["name"] in self.swatches:
            yield [pack("swatch", name=header["name"]), self.swatches[header["name"]]]
            return
        message = f"There is no picture of '{header['name']}'."
        yield [pack("error", code="UNKNOWN_STYLE", message=message, retryable=False)]

    def _on_open(self, header: Header, _payload: bytes) -> Iterator[Message]:
        spec = RequestSpec.from_header(header)
        sources = [style.source for style in spec.styles if not isinstance(style.source, str)]
        sizes = {blob.digest: blob.size for blob in (spec.content, *sources, *spec.masks)}
        self._uploads[header["job"]] = _Upload(header, sum(sizes.values()))
        yield [pack("grant", job=header["job"], need=list(sizes), chunks=sum(sizes.values()))]

    def _on_chunk(self, header: Header, payload: bytes) -> Iterator[Message]:
        upload = self._uploads[header["job"]]
        upload.missing -= len(payload)
        if not upload.missing:
            answer = self._answer(upload.header)
            if upload.header["preview"]:
                yield from self.previews(answer)
            else:
                self._last = answer
                yield from self.lie(answer)

    def _on_cancel(self, header: Header, _payload: bytes) -> Iterator[Message]:
        yield [pack("cancelled", job=header["job"])]

    def _answer(self, opened: Header) -> Answer:
        result = PictureSpec(**opened["content"]).scaled(opened["preview"])
        number = self._last.number + 1 if self._last is not None else 0
        pixels = bytes([self._colour + number]) * result.size
        shape = asdict(replace(result, digest=result.digest_of(pixels)))
        return Answer(opened["job"], shape, pixels, number, self._last)


def welcome(**changes: Any) -> Message:
    """The answer to a hello, true but for the changes."""
    fields = {
        "boot": b"L" * 16,
        "server": "0",
        "device": "none",
        "model": "none",
        "ready": True,
        "max_pixels": 10**9,
        "max_styles": protocol.MAX_STYLES,
        "max_regions": protocol.MAX_REGIONS,
        "idle_timeout_s": 0.0,
        "jobs": 0,
    }
    return [pack("welcome", **{**fields, **changes})]
