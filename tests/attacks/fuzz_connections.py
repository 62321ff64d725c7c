"""Raw connections that say nonsense, half of them after a good handshake.

By ipc, and the last tenth by tcp, where nobody gets past CURVE.
"""

from __future__ import annotations

import random
from collections import deque

import msgpack

from adain_style.client import protocol
from attacks.outcome import Outcome, Watch
from support.helpers import RunningServer, works
from support.processes import descriptors, wait_until
from support.zmtp import COMMAND, LONG, MORE, ZmtpPeer, frame, greeting, ready

COUNT = 100_000
LEFT_OPEN = 40
"""Connections that are not closed at once: a server meets many at a time, in every state."""
GONE_S = 10.0
HELLO = protocol.pack("hello", client="x")


def attack(count: int) -> Outcome:
    """Connect that often."""
    outcome = Outcome()
    for bind, part in (("ipc", count - count // 10), ("tcp://127.0.0.1:0", count // 10)):
        with RunningServer("--bind", bind) as server:
            outcome.measured.append(f"{bind.partition(':')[0]}, {part:,} connections")
            _attack_server(server, part, outcome)
    return outcome


def _attack_server(server: RunningServer, count: int, outcome: Outcome) -> None:
    chance = random.Random(0)
    works(server)
    idle = descriptors(server.process.pid)
    _connect(server, min(count // 10, 1000), chance)  # buffers and lists have the size that they need
    wait_until(lambda: descriptors(server.process.pid) <= idle, GONE_S)
    watch = Watch(server.process.pid)
    shaken = _connect(server, count, chance)
    outcome.measured.append(f"past the handshake: {shaken:,}")
    outcome.promise(server.process.poll() is None, f"the server ended: {server.text()[-500:]}")
    if server.process.poll() is None:
        watch.note(outcome, memory_mib=32)
        outcome.promise(works(server), "the server does not paint any more")
    outcome.promise("Traceback" not in server.text(), "the server made a mistake")


def _connect(server: RunningServer, count: int, chance: random.Random) -> int:
    """Connections, one after the other; how many got past the handshake."""
    left_open: deque[ZmtpPeer] = deque()
    shaken = 0
    for number in range(count):
        peer = ZmtpPeer(server, timeout_s=1.0)
        if number % 2 and _shake_hands(peer):
            shaken += 1
            peer.send(_after_the_handshake(chance))
        elif not number % 2:
            peer.send(_instead_of_a_handshake(chance))
        left_open.append(peer)
        if len(left_open) > LEFT_OPEN:
            left_open.popleft().socket.close()
    for peer in left_open:
        peer.socket.close()
    return shaken


def _shake_hands(peer: ZmtpPeer) -> bool:
    peer.send(greeting())
    theirs = peer.receive(64)
    if len(theirs) < 64 or not theirs[12:].startswith(b"NULL"):
        return False
    peer.send(ready())
    return peer.receive_frame().startswith(b"\x05READY")


def _instead_of_a_handshake(chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 200))
    if kind == 1:
        return greeting(mechanism=chance.choice([b"NULL", b"CURVE", b"PLAIN", chance.randbytes(20)]))
    if kind == 2:
        return _damaged(greeting() + ready(), chance)
    return greeting()[: chance.randrange(64)]


def _after_the_handshake(chance: random.Random) -> bytes:
    kind = chance.randrange(6)
    if kind == 0:
        return _damaged(frame(HELLO), chance)
    if kind == 1:
        return frame(chance.randbytes(chance.randrange(300)), COMMAND)
    if kind == 2:
        return b"".join(frame(chance.randbytes(chance.randrange(40)), MORE) for _ in range(chance.randrange(1, 9)))
    if kind == 3:
        return frame(b"x", announced=chance.choice([0, 255, 256, 2**20, 2**20 + 1, 2**32, 2**63, 2**64 - 1]))
    if kind == 4:
        return frame(msgpack.packb({"v": 1, "op": chance.choice(sorted(protocol.FROM_CLIENT)), "job": b"?" * 16}))
    return bytes([chance.randrange(256) | LONG]) + chance.randbytes(chance.randrange(60))


def _damaged(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged[: chance.randrange(1, len(damaged) + 1)])
