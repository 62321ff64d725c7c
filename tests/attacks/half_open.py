"""Connections that stop in the middle, in every state; a good client asks meanwhile."""

from __future__ import annotations

import itertools
import select
import time

from attacks.idle_peers import pings
from attacks.outcome import Outcome, Watch
from support.helpers import RunningServer, works
from support.zmtp import MORE, ZmtpPeer, frame, greeting

COUNT = 200
CLOSED_S = 4.0
PING_S = 0.010
PINGS_AT_A_TIME = 20
BEGINNINGS = {
    "nothing": b"",
    "a byte": greeting()[:1],
    "half a greeting": greeting()[:30],
    "a greeting": greeting(),
    "half a handshake": greeting() + b"\x04\x26\x05READY\x0bSocket",
}
STOPS = {
    "half a frame": frame(b"x" * 1000, announced=100_000),
    "half a message": frame(b"x" * 1000, MORE),
    "half a length": b"\x02\x00\x00",
    "nothing after the handshake": b"",  # nor an answer to the heartbeat
}


def attack(count: int) -> Outcome:
    """Open that many at once, and see when each is closed."""
    outcome = Outcome()
    with RunningServer() as server, server.client() as client:
        works(server)
        watch = Watch(server.process.pid)
        opened: dict[int, tuple[str, float, ZmtpPeer]] = {}
        kinds = itertools.cycle([*BEGINNINGS.items(), *STOPS.items()])
        for name, data in itertools.islice(kinds, count):
            peer = ZmtpPeer(server)
            if name in STOPS:
                peer.shake_hands()
            peer.send(data)
            opened[peer.socket.fileno()] = name, time.monotonic(), peer
        closed: list[float] = []
        asked: list[float] = []
        deadline = time.monotonic() + 4 * CLOSED_S
        while opened and time.monotonic() < deadline:
            asked += pings(client, PINGS_AT_A_TIME)
            for number in select.select(list(opened), [], [], 0.01)[0]:
                _name, since, peer = opened[number]
                if peer.closed_after(0.001) < float("inf"):  # what it says before is dropped
                    closed.append(time.monotonic() - since)
                    del opened[number]
                    peer.socket.close()
        for name, _since, peer in opened.values():
            outcome.promise(False, f"after {4 * CLOSED_S:g} s {name} was still open")
            peer.socket.close()
        outcome.within("closed", closed, CLOSED_S, share=1.0)
        outcome.within("ping of a good client meanwhile", asked, PING_S)
        watch.note(outcome, memory_mib=16)
        outcome.promise(works(server), "the server does not paint any more")
    return outcome
