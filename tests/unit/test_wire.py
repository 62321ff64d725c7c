"""The records of a request: from a client's request over the wire to the server's, the same."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest

from adain_style.client import protocol
from adain_style.client.jobs import Region, StyleFile, StyleSource, StylizeJob, StylizeRequest
from adain_style.client.wire import PictureSpec, RequestSpec, SequenceSpec, StyleFileSpec
from support.helpers import random_pixels

LAYER, MASK, PICTURE, FILE = random_pixels(6, 9, "RGBA"), random_pixels(6, 9, "Y"), random_pixels(3, 4), StyleFile(b"s")
STYLES: list[tuple[StyleSource, float]] = [(PICTURE, 1), (FILE, 0.5), ("hokusai-great-wave", 2)]
PLAIN = StylizeRequest(LAYER, [Region(STYLES)])
REQUESTS = {
    "plain": PLAIN,
    "everything": replace(
        PLAIN,
        regions=[Region(STYLES, 0.25, MASK, "match"), Region(STYLES[:1])],
        preview=4,
        quality="best",
        sequence=b"f" * 16,
        smoothing=0.5,
        compose="cutout",
        transfer="linear",
        model="mine",
    ),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_server_reads_what_the_client_asked_for(request_: StylizeRequest) -> None:
    """Packed, checked and read again: the same record, with tuples and floats where the client had others."""
    [[frame], *_] = StylizeJob(request_).open(deadline_s=3)
    header, _payload = protocol.unpack([bytes(frame)], protocol.FROM_CLIENT)
    assert RequestSpec.from_header(header) == request_.spec
    assert header["deadline_s"] == 3.0


def test_what_is_not_asked_for_is_not_sent() -> None:
    """An older server need not know of the quality and the sequence."""
    assert {"quality", "sequence"}.isdisjoint(PLAIN.spec.header())
    everything = REQUESTS["everything"].spec
    assert everything.header()["quality"] == "best" and everything.sequence == SequenceSpec(b"f" * 16, 0.5)


def test_request_of_other_pixels_is_another_one() -> None:
    """The digests are part of it; the quality that is the default is the same said or not."""
    assert replace(PLAIN, content=random_pixels(6, 9, "RGBA", seed=5)).spec != PLAIN.spec
    header = {**PLAIN.spec.header(), "quality": protocol.QUALITY[0]}
    assert RequestSpec.from_header(msgpack.unpackb(msgpack.packb(header))) == PLAIN.spec


def test_size_and_digest_of_a_picture_depend_on_its_shape() -> None:
    """The same samples in another shape are another picture; the digest names both."""
    flat, tall = (PictureSpec(b"", *shape, "RGB", "u16") for shape in ((2, 6), (6, 2)))
    assert flat.size == tall.size == 72
    assert flat.digest_of(bytes(72)) != tall.digest_of(bytes(72))
    assert StyleFileSpec(b"", 1).digest_of(b"s") == FILE.digest


@pytest.mark.parametrize(("preview", "size"), [(0, (600, 900)), (90, (60, 90)), (900, (600, 900)), (2000, (600, 900))])
def test_result_has_the_contents_kind_and_the_previews_size(preview: int, size: tuple[int, int]) -> None:
    """Its digest is not known before it was painted."""
    result = PictureSpec(b"d" * 32, 600, 900, "RGBA", "f32").scaled(preview)
    assert result == PictureSpec(b"", *size, "RGBA", "f32")
