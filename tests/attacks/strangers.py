"""Peers with wrong or missing credentials, of six kinds: nothing that they send is delivered, nothing answers them."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import zmq

from adain_server.cli import main
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.connection import ConnectionInfo, read_connection_file, remote_connection
from adain_style.client.errors import ServerUnavailableError
from attacks.outcome import Outcome, Watch
from support.helpers import RunningServer, works
from support.zmtp import SIGNATURE, ZmtpPeer, frame, greeting

COUNT = 50
"""Of each kind."""
SILENCE_S = 0.3
"""A good client is answered within a hundredth of that."""
HELLO = protocol.pack("hello", client="stranger")


def attack(count: int) -> Outcome:
    """Come that often with each kind of credentials, to a server that listens to other machines."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name:
        folder, keys = Path(name), str(Path(name) / "keys")
        for guest in ("anna", "bert"):
            _keys("new", guest, "--address", "studio.example:5571", "--keys", keys, "-o", str(folder / guest))
        with RunningServer("--bind", "tcp://0.0.0.0:0", "--keys", keys) as server:
            port = read_connection_file(server.connection_file).endpoint.rpartition(":")[2]
            anna, bert = (remote_connection(f"127.0.0.1:{port}", folder / guest) for guest in ("anna", "bert"))
            _keys("revoke", "bert", "--keys", keys)
            with Client(anna, name="anna") as client:
                outcome.promise(client.hello().ready, "a listed client was not served")
            watch = Watch(server.process.pid)
            for kind in ("no credentials", "unlisted key", "revoked key", "server's key wrong", "secret wrong"):
                answered = sum(_is_answered(_credentials(kind, anna, bert)) for _ in range(count))
                outcome.measured.append(f"{kind}: {answered} of {count} answered")
                outcome.promise(not answered, f"{kind}: was answered")
            answered = sum(_nonsense_is_answered(server, number) for number in range(count))
            outcome.measured.append(f"invented handshake: {answered} of {count} answered")
            outcome.promise(not answered, "invented handshake: was answered")
            log = (server.folder / "server.log").read_text()
            greeted = set(re.findall(r"hello from '(\w*)'", log))
            outcome.promise(greeted == {"anna"}, f"the server heard {greeted}")
            outcome.promise("refused a peer" in log, "the server's log does not say that a peer was refused")
            watch.note(outcome, memory_mib=16)
            outcome.promise(works(server), "the owner is not served any more")
    return outcome


def _keys(*arguments: str) -> None:
    assert main(["keys", *arguments]) == 0


def _credentials(kind: str, anna: ConnectionInfo, revoked: ConnectionInfo) -> ConnectionInfo:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    return {
        "no credentials": ConnectionInfo(anna.endpoint, 0),
        "unlisted key": replace(anna, client_key=public, client_secret=secret),
        "revoked key": revoked,
        "server's key wrong": replace(anna, server_key=public),
        "secret wrong": replace(anna, client_secret=secret),
    }[kind]


def _is_answered(connection: ConnectionInfo) -> bool:
    with Client(connection, name="stranger") as client:
        try:
            client.hello(timeout_s=SILENCE_S)
        except ServerUnavailableError:
            return False
    return True


def _nonsense_is_answered(server: RunningServer, number: int) -> bool:
    """Handshakes made by hand: another mechanism, an older version, boxes that no key has closed."""
    with ZmtpPeer(server, timeout_s=SILENCE_S) as peer:
        if number % 3 == 0:
            peer.send(greeting() + frame(HELLO))
        elif number % 3 == 1:
            peer.send(SIGNATURE + b"\x01\x05\x01\x00" + frame(HELLO))
        else:
            peer.send(greeting(mechanism=b"CURVE"))
            peer.send(frame(b"\x05HELLO\x01\x00" + bytes(72) + os.urandom(120), 4))
            peer.send(frame(b"\x08INITIATE" + os.urandom(248), 4) + frame(HELLO))
        return b"welcome" in peer.receive(4096)
