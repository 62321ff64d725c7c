"""Connected peers that say nothing, while a good client asks; they answer heartbeats as any libzmq does."""

from __future__ import annotations

import time

import zmq

from adain_server.io_process.limits import raise_descriptor_limit
from adain_style.client.client import Client
from adain_style.client.connection import read_connection_file
from attacks.outcome import Outcome
from support.helpers import RunningServer
from support.processes import descriptors, wait_until

COUNT = 1_000
PINGS = 2_000
PING_S = 0.005
CONNECT_S = 60.0


def attack(count: int) -> Outcome:
    """Connect that many, ask, and let them go."""
    outcome = Outcome()
    raise_descriptor_limit()
    with RunningServer() as server, server.client() as client:
        outcome.within("ping without them", pings(client, PINGS), PING_S)
        before = descriptors(server.process.pid)
        context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, count + 10)
        peers = [context.socket(zmq.DEALER) for _ in range(count)]
        for peer in peers:
            peer.setsockopt(zmq.LINGER, 0)
            peer.connect(read_connection_file(server.connection_file).endpoint)
        took_s = wait_until(lambda: descriptors(server.process.pid) - before >= count, CONNECT_S)
        outcome.promise(took_s < CONNECT_S, f"only {descriptors(server.process.pid) - before} of {count} came in")
        outcome.measured.append(f"{count:,} peers came in within {took_s:.1f} s")
        outcome.within(f"ping beside {count:,} idle peers", pings(client, PINGS), PING_S)
        outcome.promise(descriptors(server.process.pid) - before >= count, "idle peers were thrown out")
        context.destroy(linger=0)
        gone_s = wait_until(lambda: descriptors(server.process.pid) - before <= 5, CONNECT_S)
        outcome.promise(gone_s < CONNECT_S, "descriptors of peers that have gone were left open")
    return outcome


def pings(client: Client, count: int) -> list[float]:
    """Seconds from a hello to its answer, one after the other."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        client.hello()
        seconds.append(time.perf_counter() - started)
    return seconds
