"""Headers with damaged bytes: each is refused with a typed error, or is one that the server may take.

In this process, because no wire carries a million in bearable time; what is taken goes on to admission, as in the
server.
"""

from __future__ import annotations

import random
from collections import Counter

import msgpack

from adain_server.errors import JobError
from adain_server.io_process.admission import check_name, check_request
from adain_style.client import protocol
from adain_style.client.errors import ProtocolError
from adain_style.client.jobs import StyleFile, StyleSource, StylizeJob
from adain_style.client.wire import RequestSpec
from attacks.outcome import Outcome
from support.helpers import random_pixels, request

COUNT = 1_000_000
TOKENS = [
    *map(bytes, zip(b"\x80\x8f\x90\x9f\xc0\xc1\xc2\xc7\xca\xcf\xd3\xd9\xff")),
    b"\xdd\xff\xff\xff\xff",  # an array of four billion
    b"\xdf\xff\xff\xff\xff",  # a map of as many
    b"\xc6\xff\xff\xff\xff",  # as many bytes
    b"\xcb\x7f\xf8" + bytes(6),  # NaN
    b"\xcb\x7f\xf0" + bytes(6),  # infinity
    b"\xcf" + b"\xff" * 8,  # 2^64 - 1
    b"\xd3\x80" + bytes(7),  # -2^63
    b"\x91" * 40,  # deeply nested
]


def attack(count: int) -> Outcome:
    """Damage that many headers."""
    outcome = Outcome()
    chance = random.Random(0)
    good = _good_headers()
    results: Counter[str] = Counter()
    for _ in range(count):
        header = _damaged(chance.choice(good), chance.choice(good), chance)
        frames = [header] if chance.random() < 0.8 else [header, b"payload"]
        try:
            results[_take(frames)] += 1
        except (ProtocolError, JobError) as error:
            results[error.code] += 1
            outcome.promise(error.code in protocol.ERRORS, f"{error.code} is no code of the protocol: {header!r}")
        except Exception as error:
            outcome.promise(False, f"{type(error).__name__} for {header!r}")
    outcome.measured.append(", ".join(f"{code} {number:,}" for code, number in results.most_common()))
    return outcome


def _take(frames: list[bytes]) -> str:
    """What the server does with a message before anything is allocated; and what a client does with an answer."""
    header, _payload = protocol.unpack(frames, protocol.FROM_CLIENT)
    if header["op"] == "open":
        check_request(RequestSpec.from_header(header), header.get("deadline_s"), max_pixels=64 * 10**6)
    elif header["op"] == "swatch":
        check_name(header["name"])
    return "taken"


def _good_headers() -> list[bytes]:
    """One of each kind, and an `open` with everything that it can have."""
    styles: list[tuple[StyleSource, float]] = [
        (random_pixels(3, 4), 1.0),
        (StyleFile(b"style"), 0.5),
        ("hokusai-great-wave", 2.0),
    ]
    layer = random_pixels(8, 9, "RGBA")
    job = StylizeJob(
        request(layer, styles, mask=random_pixels(8, 9, "Y"), sequence=b"s" * 16, smoothing=0.5, quality="best")
    )
    known = {"job": job.job_id, "digest": layer.digest, "offset": 0, "chunks": 4, "client": "x", "first": 0}
    known["name"] = "monet"
    others = [
        protocol.pack(op, **{name: known[name] for name in fields})
        for op, fields in protocol.FROM_CLIENT.items()
        if op != "open"
    ]
    return [bytes(job.open(deadline_s=9.0)[0][0])] * 4 + others


def _damaged(header: bytes, other: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(header)
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        at = chance.randrange(len(damaged) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(damaged):
            damaged[at] = chance.randrange(256)
        elif kind == 1:
            damaged[at:at] = chance.choice(TOKENS)
        elif kind == 2:
            damaged[at : at + 1] = chance.choice(TOKENS)
        elif kind == 3:
            del damaged[at : at + chance.randrange(1, 9)]
        elif kind == 4:
            start = chance.randrange(len(other))
            damaged[at:at] = other[start : start + chance.randrange(1, 40)]
        else:
            return _with_another_value(header, chance)
    return bytes(damaged)


def _with_another_value(header: bytes, chance: random.Random) -> bytes:
    """A header that is well formed, with something else in one place."""
    decoded = msgpack.unpackb(header)
    place = decoded
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], (dict, list)) or not place[key] or chance.random() < 0.2:
            break
        place = place[key]
    numbers = [-1, 0, 1, 2**53, 2**64 - 1, 0.5, -1.0, float("nan"), float("inf")]
    texts = ["", "x" * 300, b"", b"j" * 16, "../../etc/passwd", "match", "RGBA", "f32"]
    place[key] = chance.choice([*numbers, *texts, None, True, [], {}, [[]], {"size": 2**53}])
    return bytes(msgpack.packb(decoded))
