"""The socket that all clients talk to: filters what arrives, sends, and notices clients that have gone."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import zmq

from adain_server.cache import forget_oldest
from adain_server.errors import JobError
from adain_server.io_process.endpoint import Endpoint
from adain_style.client import protocol
from adain_style.client.errors import ProtocolError

log = logging.getLogger(__name__)

BAD_ENVELOPES = 3
"""A peer is ignored after this many messages that are not even of the protocol's shape."""
REMEMBERED_PEERS = 1024
LIST_BYTES = 48 * 1024
"""Most bytes of a list of styles or models in one header."""


@dataclass(frozen=True)
class ClientMessage:
    """A client's message. client: Its routing id. user: OWNER or GUEST, as the authenticator decided."""

    client: bytes
    user: str
    frames: Sequence[bytes]


class ClientLink:
    """Receives from and sends to clients.

    Attributes:
        boot: 16 random bytes that change when every connection is dropped, so that clients open their jobs again.
    """

    def __init__(self, endpoint: Endpoint, on_gone: Callable[[bytes], None]) -> None:
        """on_gone: Called with the routing id of a client that has gone or reads nothing."""
        self._endpoint = endpoint
        self._on_gone = on_gone
        self._bad_envelopes: OrderedDict[bytes, int] = OrderedDict()
        self.boot = os.urandom(16)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The ROUTER socket; a new one after reset()."""
        return self._endpoint.router

    def reset(self) -> None:
        """Drop every connection and all messages on their way. Raises ServerError when the address is taken now."""
        self._endpoint.reset_connections()
        self.boot = os.urandom(16)

    def receive(self) -> ClientMessage | None:
        """The next message; None when its sender is ignored."""
        frames = self.socket.recv_multipart(copy=False)
        client, *message = (frame.bytes for frame in frames)
        user = _property_of(frames[-1], "User-Id")
        if not user or _property_of(frames[-1], "Identity"):
            # Old versions of ZMTP connect unauthenticated; a peer that chose its routing id could replace another.
            log.warning("ignored a peer that nobody let in, or that names itself")
            return None
        return ClientMessage(client, user, message)

    def is_ignored(self, client: bytes) -> bool:
        """Whether the client has sent too many malformed messages to be answered."""
        return self._bad_envelopes.get(client, 0) >= BAD_ENVELOPES

    def send(self, client: bytes, op: str, payload: bytes | None = None, /, **fields: Any) -> None:
        """Send a message of PROTOCOL.md."""
        frames = [client, protocol.pack(op, **fields)]
        if payload is not None:
            frames.append(payload)
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.ZMQError as error:
            # EHOSTUNREACH: the peer has gone. EAGAIN: it reads nothing, although credit keeps its queue short.
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self._on_gone(client)

    def send_list(self, client: bytes, op: str, entries: Sequence[object], first: int) -> None:
        """Send as many entries as one header holds, starting with number `first`."""
        listed: list[dict[str, Any]] = []
        room = LIST_BYTES
        for entry in entries[first:]:
            fields = vars(entry)
            room -= len(msgpack.packb(fields))
            if room < 0:
                break
            listed.append(fields)
        self.send(client, op, first=first, total=len(entries), **{op: listed})

    def send_error(
        self, client: bytes, code: str, message: str, job: bytes | None = None, retry_after_s: float | None = None
    ) -> None:
        """Send an error. code: One of protocol.ERRORS. job: The job that it concerns or ends."""
        fields: dict[str, Any] = {"code": code, "message": message[: protocol.MAX_TEXT]}
        fields["retryable"] = protocol.ERRORS[code]
        if job is not None:
            fields["job"] = job
        if retry_after_s is not None:
            fields["retry_after_s"] = retry_after_s
        if code == "UNSUPPORTED_VERSION":
            fields["versions"] = [protocol.VERSION, protocol.VERSION]
        self.send(client, "error", **fields)

    def refuse(self, client: bytes, error: ProtocolError | JobError, job: bytes | None = None) -> None:
        """Answer a message that cannot be processed."""
        if isinstance(error, JobError):
            self.send_error(client, error.code, str(error), job, error.retry_after_s)
            return
        log.warning("refused a message: %s %s", error.code, error)
        if error.code == "BAD_ENVELOPE":
            self._bad_envelopes[client] = self._bad_envelopes.get(client, 0) + 1
            forget_oldest(self._bad_envelopes, REMEMBERED_PEERS)
        self.send_error(client, error.code, str(error))


def _property_of(frame: zmq.Frame, name: str) -> str:
    """A property of the sender's handshake, or, for User-Id, the authenticator's answer; "" for none."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""
