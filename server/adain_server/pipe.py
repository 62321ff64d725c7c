"""The messages between the two processes: records, packed by msgpack.

Nothing here is ever sent to or received from a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from adain_server.model_key import ModelKey
from adain_style.client.wire import PictureSpec, StyleFileSpec


@dataclass(frozen=True)
class SharedPicture:
    """A picture whose samples are in the SharedBuffer of that name."""

    spec: PictureSpec
    buffer: str


@dataclass(frozen=True)
class PictureStyle:
    """A style that is a picture.

    Attributes:
        digest: Of the picture. picture: None when its statistics are enough.
        statistics: In the format of pack_style(); None when they are not known yet.
    """

    digest: bytes
    picture: SharedPicture | None
    statistics: bytes | None
    weight: float


@dataclass(frozen=True)
class SavedStyleFile:
    """A saved style whose file is in the SharedBuffer of that name."""

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
    """A region of a job; a mask of None selects everything."""

    mask: SharedPicture | None
    styles: tuple[JobStyle, ...]
    alpha: float
    preserve_color: str


# To the worker


@dataclass(frozen=True)
class Run:
    """A job to paint.

    Attributes:
        result: Where the result goes. quality: The one to paint, which may differ from the requested one.
        accepted: The client wants the picture as it is, without a finish.
        previous: Content statistics of the previous frame, from its Finished message.
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
    """The job's finish is to end with the picture as it is."""

    job: bytes


@dataclass(frozen=True)
class Stop:
    """The worker is to end."""


# From the worker


@dataclass(frozen=True)
class Ready:
    """The model is loaded.

    Attributes:
        device: The compute device. model: The model's name. devices: All devices that could compute here.
        notices: Sentences for the terminal. finish_s_per_megapixel: How long a finish takes.
        encoder: The SHA-256 of the model's encoder; statistics that were kept are valid for the same encoder only.
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
    """The progress of a job, as in PROTOCOL.md."""

    job: bytes
    stage: str
    step: int
    steps: int


@dataclass(frozen=True)
class DraftPicture:
    """The picture as it is after `step` of `steps` steps of the finish, 8-bit RGB."""

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
    """The result is ready.

    Attributes:
        digest: Of the result. notice: A sentence for the user, or "".
        statistics: Of the content, for the sequence's next frame.
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
