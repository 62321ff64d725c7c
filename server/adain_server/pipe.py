"""The messages between the two processes: records, packed by msgpack.

Nothing here is ever sent to or taken from a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from adain_server.model_key import ModelKey
from adain_style.client.wire import PictureSpec, StyleFileSpec


@dataclass(frozen=True)
class SharedPicture:
    """A picture whose samples lie in a SharedBuffer of that name."""

    spec: PictureSpec
    buffer: str


@dataclass(frozen=True)
class PictureStyle:
    """A style that is a picture.

    Attributes:
        digest: The picture's. picture: None when its statistics are enough.
        statistics: As pack_style() made them; None when they are not known yet.
    """

    digest: bytes
    picture: SharedPicture | None
    statistics: bytes | None
    weight: float


@dataclass(frozen=True)
class SavedStyleFile:
    """A saved style whose file lies in a SharedBuffer of that name."""

    spec: StyleFileSpec
    buffer: str
    weight: float


@dataclass(frozen=True)
class NamedStyle:
    """A style that has a name: a saved style or a picture in a file of this machine."""

    path: str
    weight: float


JobStyle = PictureStyle | SavedStyleFile | NamedStyle


@dataclass(frozen=True)
class JobRegion:
    """A region of a job; mask None for everywhere."""

    mask: SharedPicture | None
    styles: tuple[JobStyle, ...]
    alpha: float
    preserve_color: str


# To the worker


@dataclass(frozen=True)
class Run:
    """Paint this.

    Attributes:
        result: Where the result goes. quality: What is painted, not what was asked for.
        accepted: Its client wants the picture as it is, without a finish.
        previous: Content statistics of the frame before, as Finished had them.
        The rest is as in adain_style.client.wire.RequestSpec.
    """

    job: bytes
    model: ModelKey
    content: SharedPicture
    result: SharedPicture
    regions: tuple[JobRegion, ...]
    stroke_size: float
    detail: float
    compose: str
    transfer: str
    quality: str
    accepted: bool
    smoothing: float
    previous: tuple[bytes, ...]


@dataclass(frozen=True)
class Cancel:
    """The job is not wanted any more."""

    job: bytes


@dataclass(frozen=True)
class Accept:
    """The finish of the job ends with what there is."""

    job: bytes


@dataclass(frozen=True)
class Stop:
    """The worker ends."""


# From the worker


@dataclass(frozen=True)
class Ready:
    """The model is loaded.

    Attributes:
        device, model: What computes, and what paints. devices: Everything that could compute here.
        notices: Sentences for the terminal. finish_s_per_megapixel: How long a finish takes.
        encoder: The SHA-256 of the model's encoder, whose statistics may be kept.
    """

    device: str
    devices: tuple[str, ...]
    model: str
    notices: tuple[str, ...]
    finish_s_per_megapixel: float
    encoder: str


@dataclass(frozen=True)
class Unusable:
    """The worker can never work; a sentence says why."""

    message: str


@dataclass(frozen=True)
class Taken:
    """The worker has begun with the job."""

    job: bytes


@dataclass(frozen=True)
class StageProgress:
    """How far the job is, as in PROTOCOL.md."""

    job: bytes
    stage: str
    step: int
    steps: int


@dataclass(frozen=True)
class DraftPicture:
    """The picture as it forms, RGB of 8 bit, after so many steps of the finish."""

    job: bytes
    pixels: bytes
    height: int
    width: int
    step: int
    steps: int


@dataclass(frozen=True)
class StyleMeasured:
    """Statistics of a style picture that were not known before."""

    job: bytes
    digest: bytes
    statistics: bytes


@dataclass(frozen=True)
class Finished:
    """The result is there.

    Attributes:
        digest: The result's. notice: A sentence for the user, or "".
        statistics: The content's, for the sequence's next frame.
    """

    job: bytes
    digest: bytes
    notice: str
    statistics: tuple[bytes, ...]


@dataclass(frozen=True)
class Cancelled:
    """The worker has stopped the job."""

    job: bytes


@dataclass(frozen=True)
class Failed:
    """The job cannot be done; code as in protocol.ERRORS, and a sentence for the user."""

    job: bytes
    code: str
    message: str


ToWorker = Run | Cancel | Accept | Stop
FromWorker = Ready | Unusable | Taken | StageProgress | DraftPicture | StyleMeasured | Finished | Cancelled | Failed

_PARTS = (PictureSpec, StyleFileSpec, SharedPicture, PictureStyle, SavedStyleFile, NamedStyle, JobRegion)
_MESSAGES = (
    *(Run, Cancel, Accept, Stop),
    *(Ready, Unusable, Taken, StageProgress, DraftPicture, StyleMeasured, Finished, Cancelled, Failed),
)
_RECORDS: dict[str, type[Any]] = {each.__name__: each for each in (*_PARTS, *_MESSAGES)}


def pack(message: ToWorker | FromWorker) -> bytes:
    """A message as bytes."""
    packed: bytes = msgpack.packb(message, default=lambda record: {"record": type(record).__name__, **vars(record)})
    return packed


def unpack(data: bytes) -> Any:
    """The reverse of pack(): one of ToWorker in the worker, of FromWorker in its parent."""
    return msgpack.unpackb(data, object_hook=lambda fields: _RECORDS[fields.pop("record")](**fields), use_list=False)
