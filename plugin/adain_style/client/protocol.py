"""The messages of PROTOCOL.md: limits, fields, packing, and checking what comes in.

It needs only the standard library and msgpack, because it runs in the hosts' own Python and in the server.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack

from adain_style.client.errors import ProtocolError
from adain_style.client.texts import _

VERSION = 1
MAX_HEADER_BYTES = 64 * 1024
MAX_DEPTH = 8
CHUNK_BYTES = 1024 * 1024
ENCRYPTION_BYTES = 64
"""Room for encryption: more than the 33 that CurveZMQ (RFC 26) adds to a frame before libzmq checks its size."""
MAX_TEXT = 256
MAX_STYLES = 16
"""The most styles that a region may have."""
MAX_REGIONS = 16
MAX_BLOBS = 1 + MAX_REGIONS * (1 + MAX_STYLES)
MAX_STROKE_SIZE = 32.0
MAX_STYLE_FILE_BYTES = 1024 * 1024
MAX_UINT = 2**53
LAYOUTS = {"Y": 1, "YA": 2, "RGB": 3, "BGR": 3, "RGBA": 4, "BGRA": 4}
"""A picture's channels in memory order, and how many they are; Y is gray or a mask, A unassociated alpha."""
DEPTHS = {"u8": 1, "u16": 2, "f16": 2, "f32": 4}
"""The samples' types, little-endian unsigned integers and IEEE floats, and their sizes in bytes."""
PRESERVE_COLOR = ("none", "match", "luminance")
COMPOSE = ("blend", "plain", "cutout")
TRANSFER = ("srgb", "linear")
QUALITY = ("fast", "fine", "best")
"""One pass; refined afterwards; refined, then finished by optimising the pixels. The first one is the default."""
MAX_DRAFT_SIDE = 512
"""The longest side of a draft, the picture as it forms, in pixels; chosen so that a draft fits a frame."""
STYLE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

Header = dict[str, Any]
Rule = Callable[[Any], bool]

ERRORS: dict[str, bool] = {
    "BAD_ENVELOPE": False,
    "BAD_HEADER": False,
    "BAD_FIELD": False,
    "UNSUPPORTED_VERSION": False,
    "UNKNOWN_OP": False,
    "BAD_SHAPE": False,
    "BAD_DEPTH": False,
    "MASK_SHAPE": False,
    "BAD_NAME": False,
    "UNKNOWN_STYLE": False,
    "BAD_STYLE": False,
    "UNKNOWN_MODEL": False,
    "BAD_MODEL": False,
    "BAD_PIXELS": False,
    "TOO_LARGE": False,
    "BAD_CHUNK": False,
    "LENGTH_MISMATCH": False,
    "BAD_DIGEST": True,
    "ID_CONFLICT": False,
    "UNKNOWN_JOB": False,
    "ALREADY_DONE": False,
    "BUSY": True,
    "EXPIRED": True,
    "WORKER_LOST": True,
    "OUT_OF_MEMORY": False,
    "INTERNAL": False,
    "FORBIDDEN": False,
    "SHUTTING_DOWN": True,
}
"""Every error code, and whether the same request may succeed later."""


def _is_uint(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_UINT


def _is_float(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def _is_bytes(length: int) -> Rule:
    return lambda value: type(value) is bytes and len(value) == length


def _is_list(item: Rule, least: int, most: int) -> Rule:
    return lambda value: type(value) is list and least <= len(value) <= most and all(map(item, value))


def _is_map(fields: Mapping[str, Rule]) -> Rule:
    return lambda value: (
        type(value) is dict
        and value.keys() == fields.keys()
        and all(rule(value[name]) for name, rule in fields.items())
    )


def _is_str(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_TEXT


_is_blob = _is_map(
    {"digest": _is_bytes(32), "height": _is_uint, "width": _is_uint, "layout": _is_str, "depth": _is_str}
)
_is_file = _is_map({"digest": _is_bytes(32), "size": _is_uint})


def _is_source(value: Any) -> bool:
    return _is_str(value) or _is_blob(value) or _is_file(value)


def _is_mask(value: Any) -> bool:
    return value is None or _is_blob(value)


_is_styles = _is_list(_is_map({"source": _is_source, "weight": _is_float}), 1, MAX_STYLES)
_is_region = _is_map({"mask": _is_mask, "styles": _is_styles, "alpha": _is_float, "preserve_color": _is_str})
_is_known_style = _is_map(
    {"name": _is_str, "title": _is_str, "artist": _is_str, "origin": _is_str, "licence": _is_str, "own": _is_bool}
)
_is_known_model = _is_map(
    {"name": _is_str, "title": _is_str, "description": _is_str, "origin": _is_str, "licence": _is_str, "own": _is_bool}
)

TYPES: dict[str, Rule] = {
    "str": _is_str,
    "bytes16": _is_bytes(16),
    "bytes32": _is_bytes(32),
    "uint": _is_uint,
    "float": _is_float,
    "bool": _is_bool,
    "blob": _is_blob,
    "regions": _is_list(_is_region, 1, MAX_REGIONS),
    "sequence": _is_map({"id": _is_bytes(16), "smoothing": _is_float}),
    "styles": _is_list(_is_known_style, 0, MAX_UINT),
    "models": _is_list(_is_known_model, 0, MAX_UINT),
    "digests": _is_list(_is_bytes(32), 0, MAX_BLOBS),
    "versions": _is_list(_is_uint, 2, 2),
    "texts": _is_list(_is_str, 0, MAX_UINT),
}
"""The types of PROTOCOL.md section 2."""

FROM_CLIENT: dict[str, dict[str, str]] = {
    "hello": {"client": "str"},
    "styles": {"first": "uint"},
    "swatch": {"name": "str"},
    "models": {"first": "uint"},
    "open": {
        "job": "bytes16",
        "model": "str",
        "content": "blob",
        "regions": "regions",
        "stroke_size": "float",
        "detail": "float",
        "preview": "uint",
        "compose": "str",
        "transfer": "str",
        "quality": "str?",
        "sequence": "sequence?",
        "deadline_s": "float?",
    },
    "chunk": {"job": "bytes16", "digest": "bytes32", "offset": "uint"},
    "credit": {"job": "bytes16", "chunks": "uint"},
    "accept": {"job": "bytes16"},
    "draft": {"job": "bytes16"},
    "cancel": {"job": "bytes16"},
    "done": {"job": "bytes16"},
    "status": {},
    "stop": {},
}
FROM_SERVER: dict[str, dict[str, str]] = {
    "welcome": {
        "boot": "bytes16",
        "server": "str",
        "device": "str",
        "model": "str",
        "ready": "bool",
        "max_pixels": "uint",
        "max_styles": "uint",
        "max_regions": "uint",
        "idle_timeout_s": "float",
        "jobs": "uint",
        "finish_s_per_megapixel": "float?",
    },
    "styles": {"first": "uint", "total": "uint", "styles": "styles"},
    "swatch": {"name": "str"},
    "models": {"first": "uint", "total": "uint", "models": "models"},
    "grant": {"job": "bytes16", "need": "digests", "chunks": "uint"},
    "credit": {"job": "bytes16", "chunks": "uint"},
    "progress": {"job": "bytes16", "stage": "str", "step": "uint", "steps": "uint"},
    "draft": {"job": "bytes16", "height": "uint", "width": "uint", "step": "uint", "steps": "uint"},
    "result": {"job": "bytes16", "height": "uint", "width": "uint", "digest": "bytes32", "notice": "str"},
    "chunk": {"job": "bytes16", "offset": "uint"},
    "cancelled": {"job": "bytes16"},
    "status": {
        "uptime_s": "float",
        "ready": "bool",
        "device": "str",
        "model": "str",
        "models": "uint",
        "uploading": "uint",
        "queued": "uint",
        "running": "uint",
        "finished": "uint",
        "held_bytes": "uint",
        "max_bytes": "uint",
        "memory": "uint",
        "worker_memory": "uint",
        "devices": "texts",
        "worker_starts": "uint",
        "last_error": "str",
    },
    "stopping": {},
    "error": {
        "code": "str",
        "message": "str",
        "retryable": "bool",
        "job": "bytes16?",
        "retry_after_s": "float?",
        "versions": "versions?",
    },
}


def pack(op: str, /, **fields: Any) -> bytes:
    """The header frame of a message of this version."""
    packed: bytes = msgpack.packb({"v": VERSION, "op": op, **fields}, use_bin_type=True)
    return packed


def _other_version(version: Any, *, by_server: bool) -> str:
    """The message about an unknown version; it names the side to update, if known. by_server: A server sent it."""
    if by_server and _is_uint(version) and version > VERSION:
        return _("The AdaIN server is newer than this program or plug-in; update the program or plug-in.")
    if by_server and _is_uint(version):
        return _("The AdaIN server is older than this program or plug-in; stop it, and update the server.")
    return f"Only protocol version {VERSION} is spoken here; update the older side."


def unpack(frames: Sequence[bytes], ops: Mapping[str, Mapping[str, str]]) -> tuple[Header, bytes]:
    """Check a message and take it apart.

    Args:
        frames: As received.
        ops: FROM_CLIENT in the server, FROM_SERVER in a client.
    Returns:
        The header, every field of the type that PROTOCOL.md gives, and the payload, empty without one.
    Raises:
        ProtocolError: BAD_ENVELOPE, BAD_HEADER, UNSUPPORTED_VERSION, UNKNOWN_OP or BAD_FIELD.
    """
    if not 1 <= len(frames) <= 2 or any(len(frame) > CHUNK_BYTES for frame in frames):
        raise ProtocolError("BAD_ENVELOPE", "A message has a header and at most one payload of at most 1 MiB.")
    header = unpack_header(frames[0])
    if header.get("v") != VERSION or type(header["v"]) is not int:
        raise ProtocolError("UNSUPPORTED_VERSION", _other_version(header.get("v"), by_server=ops is FROM_SERVER))
    op = header.get("op")
    if type(op) is not str or op not in ops:
        raise ProtocolError("UNKNOWN_OP", f"There is no operation {_shown(op)}.")
    _check_fields(header, ops[op])
    has_payload = len(frames) == 2
    wants_payload = op == "chunk" or (op in ("swatch", "draft") and ops is FROM_SERVER)
    if has_payload != wants_payload or (has_payload and not frames[1]):
        raise ProtocolError("BAD_ENVELOPE", "A chunk, a swatch or a draft has a payload, and nothing else has one.")
    return header, frames[1] if has_payload else b""


def unpack_header(frame: bytes) -> Header:
    """Decode a header frame without looking at its fields. Raises ProtocolError BAD_HEADER."""
    if len(frame) > MAX_HEADER_BYTES:
        raise ProtocolError("BAD_HEADER", "The header is larger than 64 KiB.")
    try:
        header = msgpack.unpackb(
            frame,
            raw=False,
            strict_map_key=True,
            max_ext_len=0,
            object_pairs_hook=_map_with_unique_keys,
        )
    except (ValueError, RecursionError, msgpack.UnpackException):
        # msgpack's FormatError, StackError, ExtraData and UnicodeDecodeError are ValueErrors.
        raise ProtocolError("BAD_HEADER", "The header is not a msgpack map.") from None
    if type(header) is not dict or _depth(header) > MAX_DEPTH:
        raise ProtocolError("BAD_HEADER", "The header is not a map, or is nested too deeply.")
    return header


def has_alpha(layout: str) -> bool:
    """Whether the last channel is alpha."""
    return layout.endswith("A")


def largest_frame(*, encrypted: bool) -> int:
    """The size in bytes, as libzmq counts it, of the longest frame that either side accepts."""
    return CHUNK_BYTES + (ENCRYPTION_BYTES if encrypted else 0)


def result_size(height: int, width: int, preview: int) -> tuple[int, int]:
    """Height and width of a result: the layer's, or with a preview its longer side reduced to that many pixels."""
    longest = max(height, width)
    if not preview or preview >= longest:
        return height, width
    return max(1, round(height * preview / longest)), max(1, round(width * preview / longest))


def working_size(height: int, width: int, stroke_size: float) -> tuple[int, int]:
    """Height and width at which a layer is painted, before it is brought to the result's."""
    return max(1, round(height / stroke_size)), max(1, round(width / stroke_size))


def painted_quality(quality: str, preview: int) -> str:
    """The quality that a picture is painted with: the one asked for, but a preview is never finished, to be quick."""
    return "fine" if preview and quality == "best" else quality


def _map_with_unique_keys(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs) or not all(type(key) is str for key in result):
        raise ValueError("keys must be strings and occur once")
    return result


def _depth(value: Any) -> int:
    # An explicit stack: a header nested thousands deep must not exhaust Python's own.
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        if depth <= MAX_DEPTH and isinstance(item, (dict, list)):
            children = item.values() if isinstance(item, dict) else item
            waiting += [(child, depth + 1) for child in children if isinstance(child, (dict, list))]
    return deepest


def _check_fields(header: Header, fields: Mapping[str, str]) -> None:
    for name, type_name in fields.items():
        optional = type_name.endswith("?")
        if name not in header:
            if optional:
                continue
            raise ProtocolError("BAD_FIELD", f"The field {name} is missing.")
        if not TYPES[type_name.rstrip("?")](header[name]):
            raise ProtocolError("BAD_FIELD", f"The field {name} is not of type {type_name.rstrip('?')}.")
    if unknown := header.keys() - fields.keys() - {"v", "op"}:
        raise ProtocolError("BAD_FIELD", f"There is no field {_shown(min(unknown))}.")


def _shown(value: Any) -> str:
    """Escape and shorten a value from outside for a message or a log."""
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."
