"""A job as the I/O process sees it: what it is made of, what has arrived, what has been sent."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from typing import Any

from adain_client import protocol
from adain_client.protocol import CHUNK_BYTES, Header
from adain_server.errors import JobError
from adain_server.segment import Segment

UPLOAD_WINDOW = 16
"""Chunks that a client may have on their way for a job."""


class JobState(enum.Enum):
    """Where a job is; each state follows the one before."""

    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"


def style_blobs(header: Header) -> list[dict[str, Any]]:
    """The blobs of every style of an `open`."""
    return [style["blob"] for region in header["regions"] for style in region["styles"]]


def mask_blobs(header: Header) -> list[dict[str, Any]]:
    """The blobs of every mask of an `open`."""
    return [region["mask"] for region in header["regions"] if region["mask"] is not None]


@dataclass(frozen=True)
class Part:
    """A blob's place in the job's memory."""

    blob: dict[str, Any]
    offset: int

    @property
    def size(self) -> int:
        """Bytes."""
        return protocol.blob_bytes(self.blob)

    def place(self) -> dict[str, int]:
        """Offset, height, width and channels, for the worker."""
        return {"offset": self.offset, **{name: self.blob[name] for name in ("height", "width", "channels")}}


class Job:
    """One stylization: its memory, its upload under credit, its result under credit."""

    def __init__(self, client: bytes, header: Header, known_styles: dict[bytes, bytes]) -> None:
        """Allocate the job's memory.

        Args:
            client: Routing id of the peer that opened it.
            header: The checked `open`.
            known_styles: Statistics by digest; these styles' pixels are not asked for.
        Raises:
            JobError: BUSY, no memory.
        """
        self.client = client
        self.job_id: bytes = header["job"]
        self.spec = {name: header[name] for name in ("content", "regions")}
        self.state = JobState.UPLOADING
        styles = style_blobs(header)
        self.statistics = {b["digest"]: known_styles[b["digest"]] for b in styles if b["digest"] in known_styles}
        wanted = [header["content"], *mask_blobs(header)]
        wanted += [blob for blob in styles if blob["digest"] not in self.statistics]
        blobs = list({blob["digest"]: blob for blob in wanted}.values())
        self.result_size = protocol.blob_bytes(self.spec["content"])
        self.segment = Segment([*map(protocol.blob_bytes, blobs), self.result_size])
        self.parts = {b["digest"]: Part(b, at) for b, at in zip(blobs, self.segment.offsets, strict=False)}
        self.result_offset = self.segment.offsets[-1]
        self.result_digest = b""
        self._sent = 0
        self.touched = time.monotonic()
        self.restart_upload()

    def restart_upload(self) -> None:
        """Begin the upload again, for a client that has a new connection."""
        self._missing = list(self.parts)
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
        return len(self.parts) - len(self._missing), len(self.parts)

    def accept_chunk(self, digest: bytes, offset: int, payload: bytes) -> None:
        """Take a chunk of the upload.

        Raises:
            JobError: BAD_CHUNK, LENGTH_MISMATCH or BAD_DIGEST; the job cannot go on.
        """
        if self.state is not JobState.UPLOADING or not self._allowed:
            raise JobError("BAD_CHUNK", "A chunk came that the server had not asked for.")
        if digest != self._missing[0] or offset != self._received:
            raise JobError("BAD_CHUNK", "A chunk is missing, came twice or came out of order.")
        part = self.parts[digest]
        end = offset + len(payload)
        if end > part.size:
            raise JobError("LENGTH_MISMATCH", "There are more bytes than height, width and channels say.")
        if len(payload) != CHUNK_BYTES and end != part.size:
            raise JobError("BAD_CHUNK", "Only the last chunk of a picture may be short.")
        self.segment.view[part.offset + offset : part.offset + end] = payload
        self._hasher.update(payload)
        self._allowed -= 1
        self._received = end
        self.touched = time.monotonic()
        if end == part.size:
            if self._hasher.digest() != digest:
                raise JobError("BAD_DIGEST", "The pixels were damaged on their way; try again.")
            del self._missing[0]
            self._received = 0
            self._begin_blob()

    def work(self) -> dict[str, Any]:
        """What the worker is told: where in the memory everything is, and what to do with it."""
        places = {digest: part.place() for digest, part in self.parts.items()}
        content = places[self.spec["content"]["digest"]]
        return {
            "job": self.job_id,
            "segment": self.segment.name,
            "content": content,
            "result": {**content, "offset": self.result_offset},
            "regions": [
                {
                    "mask": places[region["mask"]["digest"]] if region["mask"] is not None else None,
                    "styles": [style["blob"]["digest"] for style in region["styles"]],
                    "weights": [style["weight"] for style in region["styles"]],
                    "alpha": region["alpha"],
                }
                for region in self.spec["regions"]
            ],
            "styles": {
                blob["digest"]: {
                    "part": places.get(blob["digest"]),
                    "statistics": self.statistics.get(blob["digest"]),
                }
                for blob in style_blobs(self.spec)
            },
        }

    def announce(self) -> dict[str, Any]:
        """The fields of `result`; the download begins at its start."""
        self._sent = 0
        self.touched = time.monotonic()
        return {"job": self.job_id, "size": self.result_size, "digest": self.result_digest}

    def result_chunks(self, credit: int) -> list[tuple[int, bytes]]:
        """The next chunks of the result, as (offset, bytes), as many as the client has room for."""
        self.touched = time.monotonic()
        chunks = []
        while credit > 0 and self._sent < self.result_size:
            start = self.result_offset + self._sent
            end = min(start + CHUNK_BYTES, self.result_offset + self.result_size)
            chunks.append((self._sent, bytes(self.segment.view[start:end])))
            self._sent += end - start
            credit -= 1
        return chunks

    def close(self) -> None:
        """Give the memory back."""
        self.segment.close()

    def _begin_blob(self) -> None:
        if self._missing:
            blob = self.parts[self._missing[0]].blob
            self._hasher = protocol.blob_hasher(blob["height"], blob["width"], blob["channels"])

    def _chunks_left(self, digest: bytes) -> int:
        received = self._received if digest == self._missing[0] else 0
        return -(-(self.parts[digest].size - received) // CHUNK_BYTES)
