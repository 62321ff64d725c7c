"""The wire format: the specification, exact bytes, and everything that is not a message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgpack
import pytest

import adain_style.client
from adain_style.client import protocol
from adain_style.client.errors import ProtocolError
from adain_style.client.jobs import Pixels
from adain_style.client.progress import STAGES
from adain_style.client.protocol import FROM_CLIENT, FROM_SERVER, pack, unpack
from adain_weights.styles import is_style_name

SPECIFICATION = (Path(adain_style.client.__file__).parent / "PROTOCOL.md").read_text()
JOB = bytes(range(16))
BLOB = {"digest": b"d" * 32, "height": 2, "width": 3, "layout": "RGB", "depth": "u8"}
FILE = {"digest": b"f" * 32, "size": 7}
REGION = {
    "mask": None,
    "styles": [{"source": source, "weight": 1.0} for source in (BLOB, FILE, "ink")],
    "alpha": 0.5,
    "preserve_color": "none",
}

MESSAGES: dict[str, dict[str, Any]] = {
    "hello": {"client": "test"},
    "styles": {"first": 0},
    "swatch": {"name": "ink"},
    "models": {"first": 0},
    "open": {
        "job": JOB,
        "model": "mine",
        "content": BLOB,
        "regions": [REGION],
        "stroke_size": 1.0,
        "detail": 0.5,
        "preview": 0,
        "compose": "blend",
        "transfer": "srgb",
        "quality": "best",
        "sequence": {"id": JOB, "smoothing": 0.5},
    },
    "chunk": {"job": JOB, "digest": b"d" * 32, "offset": 0},
    "credit": {"job": JOB, "chunks": 3},
    "accept": {"job": JOB},
    "draft": {"job": JOB},
    "cancel": {"job": JOB},
    "done": {"job": JOB},
    "status": {},
    "stop": {},
}


def _documented(section: str) -> dict[str, dict[str, str]]:
    text = SPECIFICATION.split(f"### {section}")[1].split("###")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.+)`|none) \|$", text, re.MULTILINE)
    return {op: dict(re.findall(r"(\w+): ([\w?]+)", fields)) for op, fields in rows}


@pytest.mark.fault(43)
def test_specification_lists_the_messages() -> None:
    """PROTOCOL.md and protocol.py name the same operations, fields and types, both ways."""
    assert _documented("From the client") == FROM_CLIENT
    assert _documented("From the server") == FROM_SERVER


def test_specification_lists_the_errors() -> None:
    """PROTOCOL.md and protocol.py name the same error codes and say the same of retrying."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (yes|no) \|", SPECIFICATION, re.MULTILINE)
    assert {code: answer == "yes" for code, answer in rows} == protocol.ERRORS


def test_specification_states_version_and_limits() -> None:
    """The numbers in the text are the numbers in the code."""
    assert f"protocol, version {protocol.VERSION}" in SPECIFICATION
    assert f"at most {protocol.MAX_HEADER_BYTES:,} bytes" in SPECIFICATION
    assert f"chunks of {protocol.CHUNK_BYTES:,} bytes" in SPECIFICATION
    assert f"array of 1 to {protocol.MAX_STYLES} maps `{{source" in SPECIFICATION
    assert f"array of 1 to {protocol.MAX_REGIONS} maps `{{mask" in SPECIFICATION
    assert f"at most {protocol.MAX_BLOBS} bytes32" in SPECIFICATION
    assert f"1 to {protocol.MAX_DRAFT_SIDE} a side" in SPECIFICATION


@pytest.mark.parametrize(
    "word",
    [
        *protocol.LAYOUTS,
        *protocol.DEPTHS,
        *protocol.PRESERVE_COLOR,
        *protocol.COMPOSE,
        *protocol.TRANSFER,
        *protocol.QUALITY,
        *STAGES["best"],
    ],
)
def test_specification_explains_the_words(word: str) -> None:
    """Everything that a layout, a depth, a quality, a stage, a way to keep, to code or to compose colours may be."""
    assert f"`{word}`" in SPECIFICATION


_JOB_FIELD = b"\xa3job\xc4\x10" + JOB
_BLOB_MAP = b"\x85\xa6digest\xc4\x20" + b"d" * 32 + b"\xa6height\x02\xa5width\x03\xa6layout\xa3RGB\xa5depth\xa2u8"
_FILE_MAP = b"\x82\xa6digest\xc4\x20" + b"f" * 32 + b"\xa4size\x07"
_ONE, _HALF = b"\xcb\x3f\xf0\0\0\0\0\0\0", b"\xcb\x3f\xe0\0\0\0\0\0\0"
# Written out by hand after the msgpack specification, so that packing and unpacking cannot drift together.
EXACT_BYTES = {
    "hello": b"\x83\xa1v\x01\xa2op\xa5hello\xa6client\xa4test",
    "styles": b"\x83\xa1v\x01\xa2op\xa6styles\xa5first\x00",
    "swatch": b"\x83\xa1v\x01\xa2op\xa6swatch\xa4name\xa3ink",
    "models": b"\x83\xa1v\x01\xa2op\xa6models\xa5first\x00",
    "open": b"\x8d\xa1v\x01\xa2op\xa4open" + _JOB_FIELD + b"\xa5model\xa4mine\xa7content" + _BLOB_MAP
    + b"\xa7regions\x91\x84\xa4mask\xc0\xa6styles\x93"
    + b"\x82\xa6source" + _BLOB_MAP + b"\xa6weight" + _ONE + b"\x82\xa6source" + _FILE_MAP + b"\xa6weight" + _ONE
    + b"\x82\xa6source\xa3ink\xa6weight" + _ONE
    + b"\xa5alpha" + _HALF + b"\xaepreserve_color\xa4none" + b"\xabstroke_size" + _ONE + b"\xa6detail" + _HALF
    + b"\xa7preview\x00" + b"\xa7compose\xa5blend" + b"\xa8transfer\xa4srgb" + b"\xa7quality\xa4best"
    + b"\xa8sequence\x82\xa2id\xc4\x10" + JOB + b"\xa9smoothing" + _HALF,
    "chunk": b"\x85\xa1v\x01\xa2op\xa5chunk" + _JOB_FIELD + b"\xa6digest\xc4\x20" + b"d" * 32 + b"\xa6offset\x00",
    "credit": b"\x84\xa1v\x01\xa2op\xa6credit" + _JOB_FIELD + b"\xa6chunks\x03",
    "accept": b"\x83\xa1v\x01\xa2op\xa6accept" + _JOB_FIELD,
    "draft": b"\x83\xa1v\x01\xa2op\xa5draft" + _JOB_FIELD,
    "cancel": b"\x83\xa1v\x01\xa2op\xa6cancel" + _JOB_FIELD,
    "done": b"\x83\xa1v\x01\xa2op\xa4done" + _JOB_FIELD,
    "status": b"\x82\xa1v\x01\xa2op\xa6status",
    "stop": b"\x82\xa1v\x01\xa2op\xa4stop",
}  # fmt: skip


@pytest.mark.parametrize("op", FROM_CLIENT)
def test_exact_bytes(op: str) -> None:
    """Every message of a client, byte for byte."""
    assert pack(op, **MESSAGES[op]) == EXACT_BYTES[op]


@pytest.mark.fault(29)
@pytest.mark.parametrize("op", FROM_CLIENT)
def test_messages_of_a_client_survive_a_round_trip(op: str) -> None:
    """Every message of a client comes out as it went in."""
    frames = [pack(op, **MESSAGES[op])] + ([b"pixels"] if op == "chunk" else [])
    header, payload = unpack(frames, FROM_CLIENT)
    assert header == {"v": 1, "op": op, **MESSAGES[op]}
    assert payload == (b"pixels" if op == "chunk" else b"")


def _header(**changes: Any) -> bytes:
    packed: bytes = msgpack.packb({"v": 1, "op": "cancel", "job": JOB, **changes})
    return packed


NOT_HEADERS = {
    "empty": b"",
    "never used byte": b"\xc1",
    "not a map": msgpack.packb([1, 2]),
    "cut off": _header()[:-1],
    "trailing byte": _header() + b"\x00",
    "array32 of 2^32-1": b"\xdd\xff\xff\xff\xff",
    "map32 of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "str32 of 2^32-1": b"\xdb\xff\xff\xff\xff",
    "nested 9 deep": msgpack.packb({"v": [[[[[[[[1]]]]]]]]}),
    "nested 2000 deep": b"\x81\xa1v" + b"\x91" * 2000 + b"\x01",
    "duplicate key": b"\x82\xa1v\x01\xa1v\x01",
    "bytes key": msgpack.packb({b"v": 1}),
    "int key": msgpack.packb({1: 1}),
    "extension type": msgpack.packb({"v": msgpack.ExtType(5, b"x")}),
    "timestamp": b"\x81\xa1v\xd6\xff\x00\x00\x00\x01",
    "not utf-8": b"\x81\xa1v\xa1\xff",
    "too large": msgpack.packb({"v": b"x" * protocol.MAX_HEADER_BYTES}),
}


@pytest.mark.fault(19, 20, 21, 22, 23, 24, 25)
@pytest.mark.parametrize("frame", NOT_HEADERS.values(), ids=NOT_HEADERS.keys())
def test_frame_that_is_no_header_is_refused(frame: bytes) -> None:
    """BAD_HEADER, whatever msgpack raises."""
    with pytest.raises(ProtocolError) as caught:
        unpack([frame], FROM_CLIENT)
    assert caught.value.code == "BAD_HEADER"


def _empty_maps(size: int) -> bytes:
    """A header of that many bytes, a list of empty maps: each byte of it would become 64 bytes of memory."""
    start = b"\x81\xa1v\xdd"
    count = size - len(start) - 4
    return start + count.to_bytes(4, "big") + b"\x80" * count


@pytest.mark.fault(22)
def test_long_header_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mebibyte of empty maps is not looked into, as a byte above the limit is not; what fits the limit is decoded."""
    decoded: list[int] = []
    unpackb = msgpack.unpackb

    def counted(frame: bytes, **options: Any) -> Any:
        decoded.append(len(frame))
        return unpackb(frame, **options)

    monkeypatch.setattr(msgpack, "unpackb", counted)
    for size in (protocol.CHUNK_BYTES, protocol.MAX_HEADER_BYTES + 1):
        with pytest.raises(ProtocolError) as caught:
            unpack([_empty_maps(size)], FROM_CLIENT)
        assert caught.value.code == "BAD_HEADER" and not decoded
    with pytest.raises(ProtocolError) as caught:
        unpack([_empty_maps(protocol.MAX_HEADER_BYTES)], FROM_CLIENT)
    assert caught.value.code == "UNSUPPORTED_VERSION" and decoded == [protocol.MAX_HEADER_BYTES]


@pytest.mark.parametrize(("version", "said"), [(0, "older.*update the server"), (2, "newer.*update the program")])
def test_client_says_which_side_is_to_be_updated(version: int, said: str) -> None:
    """A server of another version says in its header which one that is."""
    with pytest.raises(ProtocolError, match=said) as caught:
        unpack([msgpack.packb({"v": version, "op": "error"})], FROM_SERVER)
    assert caught.value.code == "UNSUPPORTED_VERSION"


@pytest.mark.fault(26, 27, 28, 29)
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"v": 2}, "UNSUPPORTED_VERSION"),
        ({"v": True}, "UNSUPPORTED_VERSION"),
        ({"v": 1.0}, "UNSUPPORTED_VERSION"),
        ({"op": "no-such-op"}, "UNKNOWN_OP"),
        ({"op": 7}, "UNKNOWN_OP"),
        ({"op": "welcome"}, "UNKNOWN_OP"),
        ({"op": "__init__"}, "UNKNOWN_OP"),
        ({"job": JOB[:-1]}, "BAD_FIELD"),
        ({"job": "0123456789abcdef"}, "BAD_FIELD"),
        ({"job": None}, "BAD_FIELD"),
        ({"extra": 1}, "BAD_FIELD"),
    ],
)
def test_bad_fields_get_their_code(changes: dict[str, Any], code: str) -> None:
    """Each kind of wrong field has its code."""
    with pytest.raises(ProtocolError) as caught:
        unpack([_header(**changes)], FROM_CLIENT)
    assert caught.value.code == code


@pytest.mark.fault(26)
@pytest.mark.parametrize("offset", [-1, 1.0, True, "0", None, 2**53 + 1, float("nan")])
def test_unsigned_integers_are_strict(offset: object) -> None:
    """Negative, float, bool, text, nil, too large: none is an offset."""
    with pytest.raises(ProtocolError) as caught:
        unpack([pack("chunk", job=JOB, digest=b"d" * 32, offset=offset), b"x"], FROM_CLIENT)
    assert caught.value.code == "BAD_FIELD"


@pytest.mark.fault(26)
@pytest.mark.parametrize("alpha", [1, float("nan"), float("inf"), "1", True, None])
def test_floats_are_finite_floats(alpha: object) -> None:
    """An integer, NaN or infinity is not an alpha."""
    with pytest.raises(ProtocolError) as caught:
        unpack([pack("open", **{**MESSAGES["open"], "regions": [{**REGION, "alpha": alpha}]})], FROM_CLIENT)
    assert caught.value.code == "BAD_FIELD"


def _regions(count: int, styles: int) -> list[dict[str, Any]]:
    return [{**REGION, "styles": [{"source": BLOB, "weight": 1.0}] * styles}] * count


@pytest.mark.parametrize(("count", "styles"), [(0, 1), (17, 1), (1, 0), (1, 17)])
def test_numbers_of_regions_and_styles_are_limited(count: int, styles: int) -> None:
    """At least one region with one style, at most 16 with 16 each."""
    with pytest.raises(ProtocolError) as caught:
        unpack([pack("open", **{**MESSAGES["open"], "regions": _regions(count, styles)})], FROM_CLIENT)
    assert caught.value.code == "BAD_FIELD"


def test_largest_open_and_grant_fit_a_header() -> None:
    """16 regions of 16 styles with masks, and the grant that needs all of them, are valid messages."""
    regions = [{**region, "mask": BLOB} for region in _regions(protocol.MAX_REGIONS, protocol.MAX_STYLES)]
    unpack([pack("open", **{**MESSAGES["open"], "regions": regions})], FROM_CLIENT)
    unpack([pack("grant", job=JOB, need=[b"d" * 32] * protocol.MAX_BLOBS, chunks=16)], FROM_SERVER)


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "frames",
    [
        [],
        [_header(), b"payload that a cancel has not"],
        [_header(), b""],
        [_header(), b"x", b"y"],
        [pack("chunk", **MESSAGES["chunk"])],
        [pack("chunk", **MESSAGES["chunk"]), b""],
        [pack("chunk", **MESSAGES["chunk"]), b"x" * (protocol.CHUNK_BYTES + 1)],
    ],
    ids=["none", "payload too many", "empty payload", "three", "chunk without", "chunk empty", "chunk too long"],
)
def test_wrong_frames_are_a_bad_envelope(frames: list[bytes]) -> None:
    """One frame, or two for a chunk, of at most 1 MiB."""
    with pytest.raises(ProtocolError) as caught:
        unpack(frames, FROM_CLIENT)
    assert caught.value.code == "BAD_ENVELOPE"


@pytest.mark.fault(32)
def test_messages_from_outside_are_escaped_and_cut() -> None:
    """What a peer calls an operation does not reach the log as it is."""
    with pytest.raises(ProtocolError) as caught:
        unpack([_header(op="\n\x1b[31m" + "x" * 1000)], FROM_CLIENT)
    assert len(str(caught.value)) < 100
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    "source", [{**BLOB, "extra": 1}, {"digest": b"d" * 32}, {"size": 7}, "x" * 257, 7, None, b"ink", [BLOB]]
)
def test_a_source_is_a_picture_a_file_or_a_name(source: object) -> None:
    """Nothing else is a style."""
    region = {**REGION, "styles": [{"source": source, "weight": 1.0}]}
    with pytest.raises(ProtocolError) as caught:
        unpack([pack("open", **{**MESSAGES["open"], "regions": [region]})], FROM_CLIENT)
    assert caught.value.code == "BAD_FIELD"


_DRAFT = {"job": JOB, "height": 1, "width": 2, "step": 3, "steps": 25}


@pytest.mark.parametrize(
    ("question", "answer"),
    [(pack("swatch", name="ink"), pack("swatch", name="ink")), (pack("draft", job=JOB), pack("draft", **_DRAFT))],
    ids=["swatch", "draft"],
)
def test_picture_that_was_asked_for_has_a_payload_from_the_server_only(question: bytes, answer: bytes) -> None:
    """The question has none, the answer must have one."""
    assert unpack([question], FROM_CLIENT)[1] == b""
    assert unpack([answer, b"pixels"], FROM_SERVER)[1] == b"pixels"
    for frames, ops in (([answer], FROM_SERVER), ([answer, b""], FROM_SERVER), ([question, b"pixels"], FROM_CLIENT)):
        with pytest.raises(ProtocolError) as caught:
            unpack(frames, ops)
        assert caught.value.code == "BAD_ENVELOPE"


def test_exact_bytes_of_a_draft() -> None:
    """As msgpack's specification has them, and back."""
    packed = b"\x87\xa1v\x01\xa2op\xa5draft" + _JOB_FIELD + b"\xa6height\x01\xa5width\x02\xa4step\x03\xa5steps\x19"
    assert pack("draft", **_DRAFT) == packed
    assert unpack([packed, b"rgbrgb"], FROM_SERVER) == ({"v": 1, "op": "draft", **_DRAFT}, b"rgbrgb")


@pytest.mark.fault(26)
@pytest.mark.parametrize("quality", [None, 1, b"best", ["best"], "x" * 257])
def test_quality_is_a_word_or_left_out(quality: object) -> None:
    """Anything else is no field of an `open`."""
    with pytest.raises(ProtocolError) as caught:
        unpack([pack("open", **{**MESSAGES["open"], "quality": quality})], FROM_CLIENT)
    assert caught.value.code == "BAD_FIELD"
    without = {name: value for name, value in MESSAGES["open"].items() if name != "quality"}
    assert "quality" not in unpack([pack("open", **without)], FROM_CLIENT)[0]


@pytest.mark.parametrize(
    ("quality", "preview", "expected"),
    [
        ("fast", 0, "fast"),
        ("fast", 256, "fast"),
        ("fine", 0, "fine"),
        ("fine", 256, "fine"),
        ("best", 0, "best"),
        ("best", 1, "fine"),
    ],
)
def test_preview_is_never_finished(quality: str, preview: int, expected: str) -> None:
    """Everything else is painted as it was asked for."""
    assert protocol.painted_quality(quality, preview) == expected


def test_digest_covers_shape_and_pixels() -> None:
    """The same bytes in another shape, layout or depth are another picture."""
    shapes = [(2, 2, "RGB", "u8"), (4, 1, "RGB", "u8"), (2, 2, "BGR", "u8"), (2, 3, "Y", "u16")]
    assert len({Pixels(b"x" * 12, *shape).digest for shape in shapes}) == len(shapes)


@pytest.mark.parametrize(
    ("shape", "preview", "expected"),
    [
        ((100, 200), 0, (100, 200)),
        ((100, 200), 200, (100, 200)),
        ((100, 200), 500, (100, 200)),
        ((100, 200), 50, (25, 50)),
        ((3000, 2), 256, (256, 1)),
        ((1, 1), 1, (1, 1)),
    ],
)
def test_size_of_a_preview(shape: tuple[int, int], preview: int, expected: tuple[int, int]) -> None:
    """The longer side as asked, never more than the layer's, never 0."""
    assert protocol.result_size(*shape, preview) == expected


@pytest.mark.fault(31)
@pytest.mark.parametrize("name", ["a", "a-1", "0" * 64, "0" * 65, "", "-a", "A", "a b", "../a", "a\n", "é", "a_b"])
def test_a_name_on_the_wire_is_a_name_of_a_saved_style(name: str) -> None:
    """Client and weights may not import each other, so each has its rule: it is the same one."""
    assert (protocol.STYLE_NAME.fullmatch(name) is not None) == is_style_name(name)
