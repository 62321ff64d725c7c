"""A job as the I/O process sees it: what it is made of, what has arrived, what has been sent."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adain_client import protocol
from adain_client.protocol import CHUNK_BYTES, Header
from adain_server.errors import JobError
from adain_server.io_process.shared_buffer import SharedBuffer
from adain_server.io_process.store import PictureStore
from adain_server.model_key import ModelKey
from adain_weights.errors import WeightsError
from adain_weights.styles import parse_style

UPLOAD_WINDOW = 16
"""Chunks that a client may have on their way for a job."""


class JobState(enum.Enum):
    """Where a job is; each state follows the one before."""

    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"


def request_of(header: Header) -> dict[str, Any]:
    """What an `open` asks for: two with the same job id must agree in it."""
    asked = {name: value for name, value in header.items() if name not in {"v", "op", "job", "deadline_s"}}
    return {"quality": protocol.QUALITY[0], **asked}


def style_sources(header: Header) -> Iterator[Any]:
    """The source of every style of an `open`: a picture's map, a file's map, or a name."""
    return (style["source"] for region in header["regions"] for style in region["styles"])


def mask_blobs(header: Header) -> list[dict[str, Any]]:
    """The pictures of every mask of an `open`."""
    return [region["mask"] for region in header["regions"] if region["mask"] is not None]


def is_picture(source: Any) -> bool:
    """A style's source is a picture, and not a file or a name."""
    return isinstance(source, dict) and "layout" in source


class Job:
    """One stylization: its memory, its upload under credit, its result under credit.

    Attributes:
        is_accepted: Its client wants the picture as it is now: the finish ends, or is left out.
        wants_draft: Its client has asked for the picture as it forms, and has not got it yet.
    """

    def __init__(
        self,
        client: bytes,
        header: Header,
        store: PictureStore,
        model: ModelKey,
        statistics: Mapping[bytes, bytes],
        named_styles: Mapping[str, Path],
    ) -> None:
        """Allocate the job's memory.

        Args:
            client: Routing id of the peer that opened it.
            header: The checked `open`.
            store: What has arrived before, and room for what has not.
            model: What paints.
            statistics: By digest, what that model knows of style pictures; these styles' pixels are needed only to
                recolour them.
            named_styles: The file of each style that is asked for by name.
        Raises:
            JobError: BUSY, no memory.
        """
        self.client = client
        self.job_id: bytes = header["job"]
        self.spec = request_of(header)
        self.state = JobState.UPLOADING
        self.model = model
        self.is_accepted = self.wants_draft = False
        self._statistics = statistics
        self._store = store
        self._named_styles = named_styles
        content = header["content"]
        height, width = protocol.result_size(content["height"], content["width"], header["preview"])
        self.result_blob = {**content, "height": height, "width": width, "digest": b""}
        self._blobs = {blob["digest"]: blob for blob in self._wanted()}
        self._held = {digest: held for digest in self._blobs if (held := store.hold(digest)) is not None}
        try:
            self._arriving = self._reserve_missing()
        except JobError:
            self._release()
            raise
        self._sent = 0
        self.touched = time.monotonic()
        self._begin_before: float = self.touched + header.get("deadline_s", float("inf"))
        self.restart_upload()

    def _wanted(self) -> Iterator[dict[str, Any]]:
        yield self.spec["content"]
        yield from mask_blobs(self.spec)
        for region in self.spec["regions"]:
            for style in region["styles"]:
                source = style["source"]
                known = is_picture(source) and source["digest"] in self._statistics
                if isinstance(source, dict) and not (known and region["preserve_color"] != "match"):
                    yield source

    def _reserve_missing(self) -> dict[bytes, SharedBuffer]:
        missing = [digest for digest in self._blobs if digest not in self._held]
        sizes = [protocol.blob_bytes(self._blobs[digest]) for digest in missing]
        *arriving, self._result = self._store.reserve([*sizes, protocol.blob_bytes(self.result_blob)])
        return dict(zip(missing, arriving, strict=True))

    @property
    def is_too_late(self) -> bool:
        """The client does not want it any more unless it was begun."""
        return time.monotonic() > self._begin_before

    @property
    def is_preview(self) -> bool:
        """It is worth nothing once the client has asked for a newer one."""
        return bool(self.spec["preview"])

    @property
    def sequence(self) -> bytes:
        """The film that it is a frame of; b"" for none."""
        sequence: dict[str, Any] = self.spec.get("sequence", {"id": b""})
        return bytes(sequence["id"])

    def restart_upload(self) -> None:
        """Begin the upload again, for a client that has a new connection."""
        self._missing = list(self._arriving)
        self._received = 0
        self._allowed = 0
        self._begin_blob()

    def needs(self) -> list[bytes]:
        """Digests that have not arrived, in the order in which they are wanted."""
        return list(self._missing)

    def grant(self) -> int:
        """Chunks that the client may send more of now, up to the window; they are counted as granted."""
        outstanding = sum(self._chunks_left(digest) for digest in self._missing)
        more = max(0, min(UPLOAD_WINDOW, outstanding) - self._allowed)
        self._allowed += more
        return more

    def upload_progress(self) -> tuple[int, int]:
        """Pictures that have arrived, and pictures in all."""
        return len(self._blobs) - len(self._missing), len(self._blobs)

    def download_progress(self) -> tuple[int, int]:
        """Chunks of the result that were sent, and chunks in all."""
        return -(-self._sent // CHUNK_BYTES), -(-protocol.blob_bytes(self.result_blob) // CHUNK_BYTES)

    def leave(self) -> None:
        """The client has gone; it may attach again."""
        self.client = b""
        self.touched = time.monotonic()

    def accept_chunk(self, digest: bytes, offset: int, payload: bytes) -> None:
        """Take a chunk of the upload.

        Raises:
            JobError: BAD_CHUNK, LENGTH_MISMATCH, BAD_DIGEST or BAD_STYLE; the job cannot go on.
        """
        if self.state is not JobState.UPLOADING or not self._allowed:
            raise JobError("BAD_CHUNK", "A chunk came that the server had not asked for.")
        if digest != self._missing[0] or offset != self._received:
            raise JobError("BAD_CHUNK", "A chunk is missing, came twice or came out of order.")
        buffer, size = self._arriving[digest], protocol.blob_bytes(self._blobs[digest])
        end = offset + len(payload)
        if end > size:
            raise JobError("LENGTH_MISMATCH", "There are more bytes than the picture's shape says.")
        if len(payload) != CHUNK_BYTES and end != size:
            raise JobError("LENGTH_MISMATCH", "A chunk is short, and is not the last one of its picture.")
        buffer.view[offset:end] = payload
        self._hasher.update(payload)
        self._allowed -= 1
        self._received = end
        self.touched = time.monotonic()
        if end == size:
            self._take(digest)

    def _take(self, digest: bytes) -> None:
        """A picture or a file is whole."""
        if self._hasher.digest() != digest:
            raise JobError("BAD_DIGEST", "The pixels were damaged on their way; try again.")
        if not is_picture(self._blobs[digest]):
            try:
                parse_style(bytes(self._arriving[digest].view[: self._blobs[digest]["size"]]))
            except WeightsError as error:
                raise JobError("BAD_STYLE", str(error)) from None
        self._held[digest] = self._store.add(digest, self._arriving.pop(digest))
        del self._missing[0]
        self._received = 0
        self._begin_blob()

    def work(self, previous: list[bytes]) -> dict[str, Any]:
        """What the worker is told: where everything is, and what to do with it.

        Args:
            previous: Content statistics of the sequence's frame before.
        """
        spec = self.spec
        return {
            "job": self.job_id,
            "model": self.model,
            "content": self._place(spec["content"]),
            "result": {**self.result_blob, "segment": self._result.name},
            "regions": [
                {
                    **region,
                    "mask": self._place(region["mask"]) if region["mask"] is not None else None,
                    "styles": [self._style(style["source"], style["weight"]) for style in region["styles"]],
                }
                for region in spec["regions"]
            ],
            "stroke_size": spec["stroke_size"],
            "detail": spec["detail"],
            "compose": spec["compose"],
            "transfer": spec["transfer"],
            "quality": protocol.painted_quality(spec["quality"], spec["preview"]),
            "accepted": self.is_accepted,
            "smoothing": spec["sequence"]["smoothing"] if self.sequence else 0.0,
            "previous": previous,
        }

    def _place(self, blob: dict[str, Any]) -> dict[str, Any]:
        return {**blob, "segment": self._held[blob["digest"]].name}

    def _style(self, source: Any, weight: float) -> dict[str, Any]:
        if isinstance(source, str):
            return {"path": str(self._named_styles[source]), "weight": weight}
        held = self._held.get(source["digest"])
        location = {**source, "segment": held.name} if held is not None else None
        return {
            "digest": source["digest"],
            "picture" if is_picture(source) else "file": location,
            "statistics": self._statistics.get(source["digest"]),
            "weight": weight,
        }

    def announce(self) -> dict[str, Any]:
        """The fields of `result`; the download begins at its start."""
        self._sent = 0
        self.touched = time.monotonic()
        return {
            "job": self.job_id,
            **{name: self.result_blob[name] for name in ("height", "width", "digest")},
            "notice": self.notice,
        }

    def finish(self, digest: bytes, notice: str) -> None:
        """The worker is done: the result's digest, and a sentence for the user."""
        self.state = JobState.READY
        self.result_blob["digest"], self.notice = digest, notice

    def result_chunks(self, credit: int) -> list[tuple[int, bytes]]:
        """The next chunks of the result, as (offset, bytes), as many as the client has room for."""
        self.touched = time.monotonic()
        size = protocol.blob_bytes(self.result_blob)
        chunks = []
        while credit > 0 and self._sent < size:
            end = min(self._sent + CHUNK_BYTES, size)
            chunks.append((self._sent, bytes(self._result.view[self._sent : end])))
            self._sent = end
            credit -= 1
        return chunks

    def close(self) -> None:
        """Give the memory back; what has arrived whole stays in the store for a while."""
        for buffer in self._arriving.values():
            self._store.free(buffer)
        self._store.free(self._result)
        self._release()

    def _release(self) -> None:
        for digest in self._held:
            self._store.release(digest)

    def _begin_blob(self) -> None:
        if self._missing:
            self._hasher = protocol.blob_hasher(self._blobs[self._missing[0]])

    def _chunks_left(self, digest: bytes) -> int:
        received = self._received if digest == self._missing[0] else 0
        return -(-(protocol.blob_bytes(self._blobs[digest]) - received) // CHUNK_BYTES)
