"""A stylization as a client sees it, without a socket: what to send, and what an answer means.

A blocking client, a Qt timer and a GLib timer drive the same StylizeJob: they send what it returns and hand it what
arrives.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from adain_style.client import protocol
from adain_style.client.errors import AdainError, CancelledError, ProtocolError, RequestError, ServerUnavailableError
from adain_style.client.protocol import CHUNK_BYTES, Header
from adain_style.client.texts import _
from adain_style.client.wire import PictureSpec, RegionSpec, RequestSpec, SequenceSpec, StyleFileSpec, StyleSpec

RESULT_WINDOW = 16
"""The most chunks of the result that may be on their way at a time."""
MAX_TRIES = 5
"""How often the upload or the download may begin; it begins again after the connection broke."""

Frame = bytes | memoryview
Message = list[Frame]


@dataclass(frozen=True)
class Pixels:
    """A picture in the wire's form: rows from the top, channels interleaved, in the layer's own type.

    Colours are sRGB-coded, except for a content whose request says otherwise.

    Attributes:
        data: The samples, little-endian: integers up to their maximum, floats with 1 for white.
        height, width: Pixels, at least 1.
        layout: The channels in memory order, one of protocol.LAYOUTS; alpha is unassociated. Y is gray, or a mask:
            0 = keep, maximum = stylize.
        depth: The samples' type, one of protocol.DEPTHS.
    Raises:
        ValueError: An unknown layout or depth, or a number of bytes that does not fit the shape.
    """

    data: bytes | bytearray | memoryview = field(repr=False)
    height: int
    width: int
    layout: str = "RGB"
    depth: str = "u8"
    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.layout not in protocol.LAYOUTS or self.depth not in protocol.DEPTHS:
            raise ValueError(f"There is no layout {self.layout} or no depth {self.depth}.")
        size = memoryview(self.data).nbytes
        shape = PictureSpec(b"", self.height, self.width, self.layout, self.depth)
        if min(self.height, self.width) < 1 or size != shape.size:
            raise ValueError(
                f"{size} bytes are not a picture of {self.height} x {self.width}, {self.layout} {self.depth}."
            )
        object.__setattr__(self, "digest", shape.digest_of(self.data))

    @property
    def spec(self) -> PictureSpec:
        """The wire's description of this picture."""
        return PictureSpec(self.digest, self.height, self.width, self.layout, self.depth)


@dataclass(frozen=True)
class StyleFile:
    """A saved style: the bytes of its file, for a server that cannot see the file."""

    data: bytes = field(repr=False)
    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", StyleFileSpec(b"", len(self.data)).digest_of(self.data))

    @property
    def spec(self) -> StyleFileSpec:
        """The wire's description of this file."""
        return StyleFileSpec(self.digest, len(self.data))


StyleSource = Pixels | StyleFile | str
"""A style: a picture, a saved style, or the name of one that the server knows."""


@dataclass(frozen=True)
class StyleInfo:
    """A style that a server has.

    Attributes:
        name: Its name in requests. title, artist, origin, licence: For people.
        own: Whether it is from the user's folder; False for those that come with the program.
    """

    name: str
    title: str
    artist: str
    origin: str
    licence: str
    own: bool


@dataclass(frozen=True)
class ModelInfo:
    """A model that a server has.

    Attributes:
        name: Its name in requests. title, description, origin, licence: For people.
        own: Whether it is from the user's folder; False for those that come with the program.
    """

    name: str
    title: str
    description: str
    origin: str
    licence: str
    own: bool


@dataclass(frozen=True)
class Region:
    """A part of the layer and what it gets.

    Attributes:
        styles: The styles and their relative weights, at least 0 and not all 0.
        alpha: 0 = content, 1 = full style.
        mask: The region's mask, in layout Y and of the content's size; None for everywhere.
        preserve_color: none; match = the styles are recoloured to the content before they are used; luminance = only
            the painted luminance is taken, the chroma stays the content's.
    """

    styles: Sequence[tuple[StyleSource, float]]
    alpha: float = 1.0
    mask: Pixels | None = None
    preserve_color: str = "none"

    @property
    def spec(self) -> RegionSpec:
        """The wire's description of this region."""
        styles = tuple(
            StyleSpec(source if isinstance(source, str) else source.spec, float(weight))
            for source, weight in self.styles
        )
        return RegionSpec(None if self.mask is None else self.mask.spec, styles, float(self.alpha), self.preserve_color)


@dataclass(frozen=True)
class StylizeRequest:
    """A layer to stylize, with its styles and settings.

    Attributes:
        content: The layer.
        regions: At least one. Outside all masks the layer stays as it is; where masks overlap their effects are
            blended.
        stroke_size: 1 = the network's own; above, the layer is painted smaller by that factor, so that strokes are
            broader by it; at most protocol.MAX_STROKE_SIZE.
        detail: How much of the content's fine detail comes back when strokes are broad, 0..1.
        preview: The result's longer side in pixels, when that is less than the layer's; 0 for full size. A waiting
            preview of the same client is replaced by a newer one: it ends with CancelledError.
        compose: One of protocol.COMPOSE. blend = where masks are soft the paint is blended with the content; plain =
            where any mask is above 0 the paint is left whole, for a host that writes through its own selection;
            cutout = as plain, and alpha is multiplied by the masks' sum, so that the result can be laid above the
            content, which needs a layout with alpha.
        transfer: One of protocol.TRANSFER: how the content's colours are coded, and so the result's. srgb = with sRGB's
            curve; linear = linear light with sRGB's primaries. This does not apply to styles and masks.
        model: The name of a model that the server has; "" for the one that it was started with.
        quality: One of protocol.QUALITY. fast = one pass; fine = refined afterwards; best = refined, then finished by
            optimising its pixels, which takes as long as finish_seconds() says; a preview is fine at best.
        sequence: 16 bytes that name a film whose frames come one by one; b"" for a single picture.
        smoothing: How much of the previous frame's content statistics is kept, at least 0 and below 1.
    """

    content: Pixels
    regions: Sequence[Region]
    stroke_size: float = 1.0
    detail: float = 0.7
    preview: int = 0
    compose: str = "blend"
    transfer: str = "srgb"
    model: str = ""
    sequence: bytes = b""
    smoothing: float = 0.0
    quality: str = protocol.QUALITY[0]

    @property
    def spec(self) -> RequestSpec:
        """The wire's description of this request."""
        return RequestSpec(
            model=self.model,
            content=self.content.spec,
            regions=tuple(region.spec for region in self.regions),
            stroke_size=float(self.stroke_size),
            detail=float(self.detail),
            preview=self.preview,
            compose=self.compose,
            transfer=self.transfer,
            quality=self.quality,
            sequence=SequenceSpec(self.sequence, float(self.smoothing)) if self.sequence else None,
        )


@dataclass(frozen=True)
class StylizeResult:
    """The result of a job.

    Attributes:
        pixels: In the content's layout and depth, of the size that protocol.result_size() gives.
        notice: A sentence for the user, or "".
    """

    pixels: Pixels
    notice: str


@dataclass(frozen=True)
class Progress:
    """The progress of a job.

    Attributes:
        stage: One of progress.STAGES, in PROTOCOL.md's words.
        step, steps: Parts of the stage that are done, and in all.
        quality: The quality that the job is painted with, which decides on its stages and how long they take.
    """

    stage: str
    step: int
    steps: int
    quality: str = protocol.QUALITY[0]


@dataclass(frozen=True)
class Draft:
    """The picture as it forms.

    Attributes:
        pixels: 8-bit RGB, reduced to at most protocol.MAX_DRAFT_SIDE a side.
        step, steps: Steps of the finish that are done, and in all.
    """

    pixels: Pixels
    step: int
    steps: int


class StylizeJob:
    """One job: feed it the server's messages, send what it returns.

    Attributes:
        job_id: 16 random bytes; the same after a reconnection.
        progress: The latest progress.
        draft: The latest draft; None before the first.
        is_accepted: Whether the finish is to end with the picture as it is; set by accept().
        result: The stylized pixels, once finished and verified.
        error: Why there will be no result.
    """

    def __init__(self, request: StylizeRequest, *, wants_drafts: bool = False) -> None:
        """wants_drafts: Ask for the picture as it forms, if its quality has a finish."""
        self.job_id = os.urandom(16)
        self._quality = protocol.painted_quality(request.quality, request.preview)
        self.progress = self._progress("upload", 0, 1)
        self.draft: Draft | None = None
        self.is_accepted = False
        self.result: StylizeResult | None = None
        self.error: AdainError | None = None
        self._request = request
        sources: list[Pixels | StyleFile] = [request.content]
        for region in request.regions:
            sources += [source for source, _ in region.styles if not isinstance(source, str)]
            sources += [region.mask] if region.mask is not None else []
        self._blobs = {source.digest: source for source in sources}
        self._to_send: list[tuple[bytes, int]] = []
        self._sent = 0
        self._incoming = bytearray()
        self._received = 0
        self._result_spec: PictureSpec
        self._notice = ""
        self._uploads = self._downloads = 0
        self._is_cancelled = False
        self._is_finishable = self._quality == "best"  # otherwise there are no drafts, and no finish to end
        self._wants_drafts = wants_drafts and self._is_finishable

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error."""
        return self.result is not None or self.error is not None

    def open(self, *, deadline_s: float | None = None) -> list[Message]:
        """The messages that start the job, or take it up again on a new connection.

        Args:
            deadline_s: How long the server may let it wait before it begins; None for no limit.
        """
        fields = self._request.spec.header()
        if deadline_s is not None:
            fields["deadline_s"] = float(deadline_s)
        header = protocol.pack("open", job=self.job_id, **fields)
        self._to_send, self._sent, self._received = [], 0, 0
        return [[header], *self._ask_for_draft(), *self._say_accepted()]

    def accept(self) -> list[Message]:
        """The messages that end the finish with the picture as it is by then; the result follows as usual."""
        self.is_accepted = True
        return self._say_accepted()

    def cancel(self) -> list[Message]:
        """The messages that end the job; the server confirms."""
        self._is_cancelled = True
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
        self._uploads += 1
        self._check_tries()
        self._to_send = [
            (digest, offset)
            for digest in header["need"]
            for offset in range(0, memoryview(self._blob(digest).data).nbytes, CHUNK_BYTES)
        ]
        self._sent = 0
        self.progress = self._progress("upload", 0, len(self._to_send))
        return self._chunks(header["chunks"])

    def _on_credit(self, header: Header, _payload: bytes) -> list[Message]:
        return self._chunks(header["chunks"])

    def _on_progress(self, header: Header, _payload: bytes) -> list[Message]:
        if header["stage"] not in ("upload", "download"):  # this side knows more about these
            self.progress = self._progress(header["stage"], header["step"], header["steps"])
        return []

    def _on_draft(self, header: Header, payload: bytes) -> list[Message]:
        height, width = header["height"], header["width"]
        if not self._wants_drafts:
            raise ProtocolError("BAD_CHUNK", _("The server sent a draft of the picture that nobody had asked for."))
        if max(height, width) > protocol.MAX_DRAFT_SIDE or len(payload) != height * width * protocol.LAYOUTS["RGB"]:
            raise ProtocolError("LENGTH_MISMATCH", _("The server's draft of the picture is damaged."))
        self.draft = Draft(Pixels(payload, height, width), header["step"], header["steps"])
        return self._ask_for_draft()

    def _on_result(self, header: Header, _payload: bytes) -> list[Message]:
        result = self._request.content.spec.scaled(self._request.preview)
        if (header["height"], header["width"]) != (result.height, result.width):
            raise ProtocolError("LENGTH_MISMATCH", _("The server's result has another size than was asked for."))
        self._downloads += 1
        self._check_tries()
        self._result_spec = replace(result, digest=header["digest"])
        self._incoming, self._received = bytearray(result.size), 0
        self._notice = header["notice"]
        return [[protocol.pack("credit", job=self.job_id, chunks=RESULT_WINDOW)]]

    def _on_chunk(self, header: Header, payload: bytes) -> list[Message]:
        start, end = header["offset"], header["offset"] + len(payload)
        if start != self._received or end > len(self._incoming):
            raise ProtocolError("BAD_CHUNK", _("A part of the result is missing or came twice."))
        self._incoming[start:end] = payload
        self._received = end
        total = -(-len(self._incoming) // CHUNK_BYTES)
        self.progress = self._progress("download", -(-end // CHUNK_BYTES), total)
        if end < len(self._incoming):
            return [[protocol.pack("credit", job=self.job_id, chunks=1)]]
        spec = self._result_spec
        result = Pixels(self._incoming, spec.height, spec.width, spec.layout, spec.depth)
        if result.digest != spec.digest:
            raise ProtocolError("BAD_DIGEST", _("The result was damaged on its way; try again."), retryable=True)
        self.result = StylizeResult(result, self._notice)
        return [[protocol.pack("done", job=self.job_id)]]

    def _on_cancelled(self, _header: Header, _payload: bytes) -> list[Message]:
        if self._is_cancelled or self._request.preview:  # a newer preview takes the place of an older one
            raise CancelledError(_("The job was cancelled."))
        raise RequestError("INTERNAL", _("The server gave the job up without being asked; try again."), retryable=True)

    def _on_error(self, header: Header, _payload: bytes) -> list[Message]:
        if header["code"] == "ALREADY_DONE" and self._is_cancelled:
            return []  # the cancel came too late; the result is on its way
        raise RequestError(
            header["code"],
            header["message"] or _("The server refuses the job and does not say why ({code}).").format(**header),
            retryable=header["retryable"],
            retry_after_s=header.get("retry_after_s"),
        )

    def _progress(self, stage: str, step: int, steps: int) -> Progress:
        return Progress(stage, step, steps, self._quality)

    def _ask_for_draft(self) -> list[Message]:
        return [[protocol.pack("draft", job=self.job_id)]] if self._wants_drafts else []

    def _say_accepted(self) -> list[Message]:
        return [[protocol.pack("accept", job=self.job_id)]] if self.is_accepted and self._is_finishable else []

    def _check_tries(self) -> None:
        if max(self._uploads, self._downloads) > MAX_TRIES:
            raise ServerUnavailableError(_("The connection to the AdaIN server breaks again and again; try again."))

    def _blob(self, digest: bytes) -> Pixels | StyleFile:
        try:
            return self._blobs[digest]
        except KeyError:
            raise ProtocolError("BAD_FIELD", "The server asks for pixels that are not part of the job.") from None

    def _chunks(self, credit: int) -> list[Message]:
        batch = self._to_send[self._sent : self._sent + credit]
        self._sent += len(batch)
        if self._to_send:
            self.progress = self._progress("upload", self._sent, len(self._to_send))
        messages: list[Message] = []
        for digest, offset in batch:
            data = memoryview(self._blob(digest).data).cast("B")[offset : offset + CHUNK_BYTES]
            header = protocol.pack("chunk", job=self.job_id, digest=digest, offset=offset)
            messages.append([header, data])
        return messages
