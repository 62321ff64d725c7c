"""A stylization as a client sees it, without a socket: what to send, and what an answer means.

A blocking client, a Qt timer and a GLib timer drive the same StylizeJob: they send what it returns and hand it what
arrives.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adain_client import protocol
from adain_client.errors import AdainError, CancelledError, ProtocolError, RequestError
from adain_client.protocol import CHUNK_BYTES, Header

RESULT_WINDOW = 16
"""Chunks of the result that may be on their way at a time."""

Frame = bytes | memoryview
Message = list[Frame]


@dataclass(frozen=True)
class Pixels:
    """A picture as the wire has it: 8-bit, sRGB, rows from the top, channels interleaved.

    Attributes:
        data: height * width * channels bytes.
        height, width: Pixels, at least 1.
        channels: 3 = R,G,B; 4 = R,G,B,A; 1 = mask, 0 = keep, 255 = stylize.
    Raises:
        ValueError: The number of bytes does not fit the shape.
    """

    data: bytes | bytearray | memoryview = field(repr=False)
    height: int
    width: int
    channels: int
    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = memoryview(self.data).nbytes
        if min(self.height, self.width, self.channels) < 1 or size != self.height * self.width * self.channels:
            raise ValueError(f"{size} bytes are not a picture of {self.height} x {self.width} x {self.channels}.")
        object.__setattr__(self, "digest", protocol.blob_digest(self.data, self.height, self.width, self.channels))

    def blob(self) -> dict[str, Any]:
        """The wire's description of this picture."""
        return {"digest": self.digest, "height": self.height, "width": self.width, "channels": self.channels}


@dataclass(frozen=True)
class Region:
    """A part of the layer and what it gets.

    Attributes:
        styles: Pictures of 3 channels with relative weights, at least 0 and not all 0.
        alpha: 0 = content, 1 = full style.
        mask: Where, 1 channel, the content's size; None for everywhere.
    """

    styles: Sequence[tuple[Pixels, float]]
    alpha: float = 1.0
    mask: Pixels | None = None


@dataclass(frozen=True)
class StylizeRequest:
    """What a user asks for.

    Attributes:
        content: The layer, 3 or 4 channels.
        regions: At least one. What no mask reaches stays as it is; where masks overlap their effects are blended.
    """

    content: Pixels
    regions: Sequence[Region]


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: upload, queued, loading, style, encode, decode or download.
        step, steps: Parts of the stage that are over, and in all.
    """

    stage: str
    step: int
    steps: int


class StylizeJob:
    """One job: feed it the server's messages, send what it returns.

    Attributes:
        job_id: 16 random bytes; the same after a reconnection.
        progress: The newest.
        result: The stylized pixels, of the content's size and channels, once finished and verified.
        error: Why there will be no result.
    """

    def __init__(self, request: StylizeRequest) -> None:
        self.job_id = os.urandom(16)
        self.progress = Progress("upload", 0, 1)
        self.result: bytearray | None = None
        self.error: AdainError | None = None
        self._request = request
        pictures = [request.content]
        for region in request.regions:
            pictures += [picture for picture, _ in region.styles]
            pictures += [region.mask] if region.mask is not None else []
        self._blobs = {picture.digest: picture for picture in pictures}
        self._to_send: list[tuple[bytes, int]] = []
        self._sent = 0
        self._incoming = bytearray()
        self._received = 0
        self._result_digest = b""

    @property
    def finished(self) -> bool:
        """There is a result or an error."""
        return self.result is not None or self.error is not None

    def open(self) -> list[Message]:
        """The messages that start the job, or take it up again on a new connection."""
        regions = [
            {
                "mask": region.mask.blob() if region.mask is not None else None,
                "styles": [{"blob": picture.blob(), "weight": float(weight)} for picture, weight in region.styles],
                "alpha": float(region.alpha),
            }
            for region in self._request.regions
        ]
        header = protocol.pack("open", job=self.job_id, content=self._request.content.blob(), regions=regions)
        self._to_send, self._sent, self._received = [], 0, 0
        return [[header]]

    def cancel(self) -> list[Message]:
        """The messages that end the job; the server confirms."""
        return [[protocol.pack("cancel", job=self.job_id)]]

    def receive(self, header: Header, payload: bytes) -> list[Message]:
        """Take one message of the server, as protocol.unpack() gave it.

        Returns:
            The messages to send now.
        """
        if self.finished or header.get("job", self.job_id) != self.job_id:
            return []
        handler = getattr(self, f"_on_{header['op']}", None)
        if handler is None:
            return []
        try:
            replies: list[Message] = handler(header, payload)
        except AdainError as error:
            self.error = error
            return []
        return replies

    def _on_grant(self, header: Header, _payload: bytes) -> list[Message]:
        self._to_send = [
            (digest, offset)
            for digest in header["need"]
            for offset in range(0, memoryview(self._blob(digest).data).nbytes, CHUNK_BYTES)
        ]
        self._sent = 0
        self.progress = Progress("upload", 0, len(self._to_send))
        return self._chunks(header["chunks"])

    def _on_credit(self, header: Header, _payload: bytes) -> list[Message]:
        return self._chunks(header["chunks"])

    def _on_progress(self, header: Header, _payload: bytes) -> list[Message]:
        if header["stage"] != "upload":  # of the upload this side knows more
            self.progress = Progress(header["stage"], header["step"], header["steps"])
        return []

    def _on_result(self, header: Header, _payload: bytes) -> list[Message]:
        content = self._request.content
        if header["size"] != content.height * content.width * content.channels:
            raise ProtocolError("LENGTH_MISMATCH", "The server's result has another size than the layer.")
        self._incoming, self._received = bytearray(header["size"]), 0
        self._result_digest = header["digest"]
        return [[protocol.pack("credit", job=self.job_id, chunks=RESULT_WINDOW)]]

    def _on_chunk(self, header: Header, payload: bytes) -> list[Message]:
        start, end = header["offset"], header["offset"] + len(payload)
        if start != self._received or end > len(self._incoming):
            raise ProtocolError("BAD_CHUNK", "A part of the result is missing or came twice.")
        self._incoming[start:end] = payload
        self._received = end
        total = -(-len(self._incoming) // CHUNK_BYTES)
        self.progress = Progress("download", -(-end // CHUNK_BYTES), total)
        if end < len(self._incoming):
            return [[protocol.pack("credit", job=self.job_id, chunks=1)]]
        content = self._request.content
        digest = protocol.blob_digest(self._incoming, content.height, content.width, content.channels)
        if digest != self._result_digest:
            raise ProtocolError("BAD_DIGEST", "The result was damaged on its way; try again.")
        self.result = self._incoming
        return [[protocol.pack("done", job=self.job_id)]]

    def _on_cancelled(self, _header: Header, _payload: bytes) -> list[Message]:
        raise CancelledError("The job was cancelled.")

    def _on_error(self, header: Header, _payload: bytes) -> list[Message]:
        if header["code"] == "ALREADY_DONE":
            return []  # the cancel came too late; the result is on its way
        raise RequestError(
            header["code"],
            header["message"],
            retryable=header["retryable"],
            retry_after_s=header.get("retry_after_s"),
        )

    def _blob(self, digest: bytes) -> Pixels:
        try:
            return self._blobs[digest]
        except KeyError:
            raise ProtocolError("BAD_FIELD", "The server asks for pixels that are not part of the job.") from None

    def _chunks(self, credit: int) -> list[Message]:
        batch = self._to_send[self._sent : self._sent + credit]
        self._sent += len(batch)
        if self._to_send:
            self.progress = Progress("upload", self._sent, len(self._to_send))
        messages: list[Message] = []
        for digest, offset in batch:
            data = memoryview(self._blob(digest).data).cast("B")[offset : offset + CHUNK_BYTES]
            header = protocol.pack("chunk", job=self.job_id, digest=digest, offset=offset)
            messages.append([header, data])
        return messages
