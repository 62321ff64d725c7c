"""A job as the I/O process sees it: what it is made of, what has arrived, what has been sent."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adain_server import pipe
from adain_server.errors import JobError
from adain_server.io_process.shared_buffer import SharedBuffer
from adain_server.io_process.store import PictureStore
from adain_server.model_key import ModelKey
from adain_style.client.protocol import CHUNK_BYTES
from adain_style.client.wire import BlobSpec, PictureSpec, RegionSpec, RequestSpec, StyleFileSpec, StyleSpec
from adain_weights.errors import WeightsError
from adain_weights.styles import parse_style

UPLOAD_WINDOW = 16
"""Most chunks of a job that a client may have in flight."""


class JobState(enum.Enum):
    """The state of a job; each state follows the one before."""

    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"


class Job:
    """One stylization: its memory, its upload under credit, its result under credit.

    Attributes:
        is_accepted: The client takes the picture as it is now: the finish ends or is left out.
        wants_draft: The client has asked for a draft and has not received it yet.
    """

    def __init__(
        self,
        client: bytes,
        job_id: bytes,
        spec: RequestSpec,
        store: PictureStore,
        model: ModelKey,
        statistics: Mapping[bytes, bytes],
        named_styles: Mapping[str, Path],
        *,
        deadline_s: float | None = None,
    ) -> None:
        """Allocate the job's memory.

        Args:
            client: Routing id of the peer that opened it.
            job_id: The client's id for it. spec: The request, already checked.
            store: Holds the pictures that arrived before, and allocates memory for the others.
            model: The model that paints.
            statistics: Known statistics of style pictures for that model, by digest; their pixels are needed only to
                recolour them.
            named_styles: The file of each style that is asked for by name.
            deadline_s: The job expires unless it is started within this time; None for no limit.
        Raises:
            JobError: BUSY, no memory.
        """
        self.client = client
        self.job_id = job_id
        self.spec = spec
        self.state = JobState.UPLOADING
        self.model = model
        self.is_accepted = self.wants_draft = False
        self._statistics = statistics
        self._store = store
        self._named_styles = named_styles
        self._result_spec = spec.content.scaled(spec.preview)
        self._blobs = {blob.digest: blob for blob in self._wanted()}
        self._held: dict[bytes, SharedBuffer] = {}
        try:
            for digest in self._blobs:
                if (held := store.hold(digest)) is not None:
                    self._held[digest] = held
            self._arriving = self._reserve_missing()
        except JobError:
            self._release()
            raise
        self._sent = 0
        self.touched = time.monotonic()
        self._begin_before = math.inf if deadline_s is None else self.touched + deadline_s
        self.restart_upload()

    def _wanted(self) -> Iterator[BlobSpec]:
        yield self.spec.content
        yield from self.spec.masks
        for region in self.spec.regions:
            for style in region.styles:
                known = isinstance(style.source, PictureSpec) and style.source.digest in self._statistics
                if not isinstance(style.source, str) and not (known and region.preserve_color != "match"):
                    yield style.source

    def _reserve_missing(self) -> dict[bytes, SharedBuffer]:
        missing = [digest for digest in self._blobs if digest not in self._held]
        sizes = [self._blobs[digest].size for digest in missing]
        *arriving, self._result = self._store.reserve([*sizes, self._result_spec.size])
        return dict(zip(missing, arriving, strict=True))

    @property
    def is_too_late(self) -> bool:
        """Whether the time limit for starting it is over."""
        return time.monotonic() > self._begin_before

    @property
    def is_preview(self) -> bool:
        """Whether it is a preview, which is worthless once the client has asked for a newer one."""
        return self.spec.preview > 0

    @property
    def sequence(self) -> bytes:
        """Id of the film that it is a frame of; b"" for none."""
        return b"" if self.spec.sequence is None else self.spec.sequence.id

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
        """How many more chunks the client may send now, up to the window; they count as granted."""
        outstanding = sum(self._chunks_left(digest) for digest in self._missing)
        more = max(0, min(UPLOAD_WINDOW, outstanding) - self._allowed)
        self._allowed += more
        return more

    def upload_progress(self) -> tuple[int, int]:
        """Pictures that have arrived, and pictures in all."""
        return len(self._blobs) - len(self._missing), len(self._blobs)

    def download_progress(self) -> tuple[int, int]:
        """Chunks of the result that were sent, and chunks in all."""
        return -(-self._sent // CHUNK_BYTES), -(-self._result_spec.size // CHUNK_BYTES)

    def leave(self) -> None:
        """Note that the client has gone; it may attach again."""
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
        buffer, size = self._arriving[digest], self._blobs[digest].size
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
        """Check and keep a picture or a file that has arrived completely."""
        if self._hasher.digest() != digest:
            raise JobError("BAD_DIGEST", "The pixels were damaged on their way; try again.")
        if isinstance(self._blobs[digest], StyleFileSpec):
            try:
                parse_style(bytes(self._arriving[digest].view[: self._blobs[digest].size]))
            except WeightsError as error:
                raise JobError("BAD_STYLE", str(error)) from None
        self._held[digest] = self._store.add(digest, self._arriving.pop(digest))
        del self._missing[0]
        self._received = 0
        self._begin_blob()

    def work(self, previous: tuple[bytes, ...]) -> pipe.Run:
        """The message that tells the worker where everything is and what to do with it.

        Args:
            previous: Content statistics of the sequence's previous frame.
        """
        spec = self.spec
        return pipe.Run(
            job=self.job_id,
            model=self.model,
            content=self._shared(spec.content),
            result=pipe.SharedPicture(self._result_spec, self._result.name),
            regions=tuple(map(self._region, spec.regions)),
            stroke_size=spec.stroke_size,
            detail=spec.detail,
            compose=spec.compose,
            transfer=spec.transfer,
            quality=spec.painted_quality,
            accepted=self.is_accepted,
            smoothing=0.0 if spec.sequence is None else spec.sequence.smoothing,
            previous=previous,
        )

    def _shared(self, picture: PictureSpec) -> pipe.SharedPicture:
        return pipe.SharedPicture(picture, self._held[picture.digest].name)

    def _region(self, region: RegionSpec) -> pipe.JobRegion:
        mask = None if region.mask is None else self._shared(region.mask)
        return pipe.JobRegion(mask, tuple(map(self._style, region.styles)), region.alpha, region.preserve_color)

    def _style(self, style: StyleSpec) -> pipe.JobStyle:
        source, weight = style.source, style.weight
        if isinstance(source, str):
            return pipe.NamedStyle(str(self._named_styles[source]), weight)
        if isinstance(source, StyleFileSpec):
            return pipe.SavedStyleFile(source, self._held[source.digest].name, weight)
        picture = self._shared(source) if source.digest in self._held else None
        return pipe.PictureStyle(source.digest, picture, self._statistics.get(source.digest), weight)

    def announce(self) -> dict[str, Any]:
        """The fields of a `result` message; the download starts over."""
        self._sent = 0
        self.touched = time.monotonic()
        return {
            "job": self.job_id,
            "height": self._result_spec.height,
            "width": self._result_spec.width,
            "digest": self._result_spec.digest,
            "notice": self.notice,
        }

    def finish(self, digest: bytes, notice: str) -> None:
        """Note that the worker is done. digest: The result's. notice: A sentence for the user."""
        self.state = JobState.READY
        self._result_spec, self.notice = replace(self._result_spec, digest=digest), notice

    def result_chunks(self, credit: int) -> list[tuple[int, bytes]]:
        """The next chunks of the result, as (offset, bytes), as many as the client has room for."""
        self.touched = time.monotonic()
        size = self._result_spec.size
        chunks = []
        while credit > 0 and self._sent < size:
            end = min(self._sent + CHUNK_BYTES, size)
            chunks.append((self._sent, bytes(self._result.view[self._sent : end])))
            self._sent = end
            credit -= 1
        return chunks

    def close(self) -> None:
        """Free the memory; what has arrived completely stays in the store for a while."""
        for buffer in self._arriving.values():
            self._store.free(buffer)
        self._store.free(self._result)
        self._release()

    def _release(self) -> None:
        for digest in self._held:
            self._store.release(digest)

    def _begin_blob(self) -> None:
        if self._missing:
            self._hasher = self._blobs[self._missing[0]].hasher()

    def _chunks_left(self, digest: bytes) -> int:
        received = self._received if digest == self._missing[0] else 0
        return -(-(self._blobs[digest].size - received) // CHUNK_BYTES)
