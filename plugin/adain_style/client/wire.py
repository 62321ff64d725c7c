"""The records that an `open` message is made of: one spelling of a request for client, server and worker.

It needs only the standard library, because it runs in the hosts' own Python and in the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from adain_style.client import protocol
from adain_style.client.protocol import Header

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class PictureSpec:
    """A picture on the wire: its shape, and the digest that names it.

    Attributes:
        digest: SHA-256 of the shape and the samples, see digest_of().
        height, width: Pixels.
        layout, depth: As in protocol.LAYOUTS and protocol.DEPTHS.
    """

    digest: bytes
    height: int
    width: int
    layout: str
    depth: str

    @property
    def size(self) -> int:
        """Bytes of the samples. The layout and the depth must be known ones."""
        return self.height * self.width * protocol.LAYOUTS[self.layout] * protocol.DEPTHS[self.depth]

    def hasher(self) -> hashlib._Hash:
        """A SHA-256 of the picture's shape, to be updated with its samples."""
        return hashlib.sha256(f"{self.height} {self.width} {self.layout} {self.depth}\n".encode("ascii"))

    def digest_of(self, data: Bytes) -> bytes:
        """The digest of samples of this shape."""
        return _finished(self.hasher(), data)

    def scaled(self, preview: int) -> PictureSpec:
        """The result of painting this picture, with an empty digest; preview as in StylizeRequest."""
        height, width = protocol.result_size(self.height, self.width, preview)
        return replace(self, digest=b"", height=height, width=width)


@dataclass(frozen=True)
class StyleFileSpec:
    """A saved style on the wire: the SHA-256 that names its file, and the file's size in bytes."""

    digest: bytes
    size: int

    def hasher(self) -> hashlib._Hash:
        """A SHA-256 to be updated with the file."""
        return hashlib.sha256()

    def digest_of(self, data: Bytes) -> bytes:
        """The digest of a file."""
        return _finished(self.hasher(), data)


BlobSpec = PictureSpec | StyleFileSpec
"""Anything that is uploaded in chunks."""


@dataclass(frozen=True)
class StyleSpec:
    """A style of a mix. source: A picture, a saved style's file, or the name of a style that the server has."""

    source: BlobSpec | str
    weight: float


@dataclass(frozen=True)
class RegionSpec:
    """A region: mask None for everywhere; the rest as in adain_style.client.jobs.Region."""

    mask: PictureSpec | None
    styles: tuple[StyleSpec, ...]
    alpha: float
    preserve_color: str


@dataclass(frozen=True)
class SequenceSpec:
    """The film that a picture is a frame of: 16 bytes that name it, and how much of the previous frame is kept."""

    id: bytes
    smoothing: float


@dataclass(frozen=True)
class RequestSpec:
    """The request in an `open`, as in jobs.StylizeRequest: two that are equal ask for the same picture."""

    model: str
    content: PictureSpec
    regions: tuple[RegionSpec, ...]
    stroke_size: float
    detail: float
    preview: int
    compose: str
    transfer: str
    quality: str = protocol.QUALITY[0]
    sequence: SequenceSpec | None = None

    @property
    def styles(self) -> Iterator[StyleSpec]:
        """Every style of every region."""
        return (style for region in self.regions for style in region.styles)

    @property
    def masks(self) -> list[PictureSpec]:
        """The masks of the regions that have one."""
        return [region.mask for region in self.regions if region.mask is not None]

    @property
    def painted_quality(self) -> str:
        """The quality that the picture is painted with."""
        return protocol.painted_quality(self.quality, self.preview)

    def header(self) -> dict[str, Any]:
        """The fields of an `open`, without the job's."""
        header = asdict(self)
        if self.quality == protocol.QUALITY[0]:
            del header["quality"]  # a server that does not know the field paints with this quality anyway
        if self.sequence is None:
            del header["sequence"]
        return header

    @classmethod
    def from_header(cls, header: Header) -> RequestSpec:
        """Read an `open` that protocol.unpack() has checked."""
        plain = {each.name: header[each.name] for each in fields(cls) if each.name in header}
        sequence = header.get("sequence")
        return cls(
            **{
                **plain,
                "content": PictureSpec(**header["content"]),
                "regions": tuple(map(_region, header["regions"])),
                "sequence": None if sequence is None else SequenceSpec(**sequence),
            }
        )


def _region(region: dict[str, Any]) -> RegionSpec:
    mask = region["mask"]
    styles = tuple(StyleSpec(_source(style["source"]), style["weight"]) for style in region["styles"])
    picture = None if mask is None else PictureSpec(**mask)
    return RegionSpec(picture, styles, region["alpha"], region["preserve_color"])


def _source(source: dict[str, Any] | str) -> BlobSpec | str:
    if isinstance(source, str):
        return source
    return StyleFileSpec(**source) if "size" in source else PictureSpec(**source)


def _finished(hasher: hashlib._Hash, data: Bytes) -> bytes:
    hasher.update(data)
    return hasher.digest()
