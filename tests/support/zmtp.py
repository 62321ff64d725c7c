"""A peer that writes ZMTP itself (RFC 23), byte by byte, for what libzmq never sends."""

from __future__ import annotations

import socket
import struct
import time
from types import TracebackType
from urllib.parse import urlsplit

from adain_style.client.connection import read_connection_file
from support.helpers import RunningServer
from support.server_inside import ServerInside

MORE, LONG, COMMAND = 1, 2, 4
"""Flags of a frame."""
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"


def greeting(*, mechanism: bytes = b"NULL") -> bytes:
    """The first 64 bytes of a peer."""
    return SIGNATURE + b"\x03\x00" + mechanism.ljust(20, b"\0") + b"\0" + bytes(31)


def frame(data: bytes, flags: int = 0, *, announced: int | None = None) -> bytes:
    """A frame; announced: another length than it has."""
    size = len(data) if announced is None else announced
    if size > 255:
        return bytes([flags | LONG]) + struct.pack(">Q", size) + data
    return bytes([flags, size]) + data


def ready(*, socket_type: bytes = b"DEALER", identity: bytes = b"") -> bytes:
    """The command that ends a handshake without security."""
    properties = {b"Socket-Type": socket_type, b"Identity": identity}
    body = b"".join(
        bytes([len(name)]) + name + struct.pack(">I", len(value)) + value for name, value in properties.items()
    )
    return frame(b"\x05READY" + body, COMMAND)


class ZmtpPeer:
    """A connection; nothing is sent by itself."""

    def __init__(self, server: RunningServer | ServerInside, *, timeout_s: float = 10.0) -> None:
        address = urlsplit(read_connection_file(server.connection_file).endpoint)
        family = socket.AF_INET if address.scheme == "tcp" else socket.AF_UNIX
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect((address.hostname, address.port) if family == socket.AF_INET else address.path)

    def __enter__(self) -> ZmtpPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send; False when the other side has closed."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def shake_hands(self, *, identity: bytes = b"") -> ZmtpPeer:
        """Become a DEALER that is let in."""
        self.send(greeting())
        self.receive(64)
        self.send(ready(identity=identity))
        self.receive_frame()
        return self

    def receive(self, count: int) -> bytes:
        """That many bytes, or fewer when the other side closes or says nothing for too long."""
        data = b""
        try:
            while len(data) < count and (part := self.socket.recv(count - len(data))):
                data += part
        except OSError:
            pass
        return data

    def receive_frame(self) -> bytes:
        """The next frame's content; empty when the other side closes."""
        flags = self.receive(1)
        if not flags:
            return b""
        size = struct.unpack(">Q", self.receive(8))[0] if flags[0] & LONG else self.receive(1)[0]
        return self.receive(size)

    def closed_after(self, timeout_s: float) -> float:
        """Seconds until the other side closes; infinite when it does not within that time. What it says is dropped."""
        started = time.monotonic()
        while (left := started + timeout_s - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.socket.recv(65536):
                    return time.monotonic() - started
            except TimeoutError:
                break
            except OSError:  # reset
                return time.monotonic() - started
        return float("inf")
