"""Access control: answers libzmq's authentication requests (ZAP, RFC 27)."""

from __future__ import annotations

import logging
import os

import zmq

from adain_server.access.keys import KeyRing
from adain_server.io_process.limits import SPARE_DESCRIPTORS, descriptors_left

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"adain"
OWNER, GUEST = "owner", "guest"
"""The kinds of peers: a client with this user's rights on this machine, or one on another machine with a listed key."""
REQUEST_FRAMES = 7


class ZapAuthenticator:
    """Admits ipc peers of this process's own uid, and tcp peers with the key of the connection file or a listed one.

    It lives in the server's own loop; while it does not answer, libzmq admits nobody (ZAP_ENFORCE_DOMAIN).
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], owner_key: bytes, guests: KeyRing | None) -> None:
        """Start answering.

        Args:
            owner_key: CURVE public key of the connection file, 32 bytes; empty for ipc.
            guests: Keys of other clients that may connect, or None. Read each time, so that a revoked key is refused.
        """
        self._owner_key = owner_key
        self._guests = guests
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP_ENDPOINT)

    def answer(self) -> None:
        """Answer all pending requests."""
        while self.socket.poll(0):
            frames = self.socket.recv_multipart()
            if b"" not in frames:
                continue
            split = frames.index(b"") + 1
            request = frames[split:]
            if len(request) < REQUEST_FRAMES - 1 or request[0] != b"1.0":
                continue
            user = self._user(request)
            status = [b"200", b"OK", user.encode("ascii"), b""] if user else [b"400", b"refused", b"", b""]
            self.socket.send_multipart([*frames[:split], b"1.0", request[1], *status])

    def close(self) -> None:
        """Stop answering; no peer is admitted from now on."""
        self.socket.close(linger=0)

    def _user(self, request: list[bytes]) -> str:
        """OWNER or GUEST; "" for a peer that is not admitted."""
        _version, _request_id, domain, address, _identity, mechanism, *credentials = request
        user = ""
        if domain != ZAP_DOMAIN or descriptors_left() < SPARE_DESCRIPTORS:
            pass
        elif not self._owner_key:
            user = OWNER if mechanism == b"NULL" and _is_own_uid(address) else ""
        elif mechanism == b"CURVE" and len(credentials) == 1:
            if credentials[0] == self._owner_key:
                user = OWNER
            elif self._guests is not None and self._guests.is_listed(credentials[0]):
                user = GUEST
        if not user:
            log.warning("refused a peer at %r", address[:64])
        return user


def _is_own_uid(address: bytes) -> bool:
    # libzmq appends ":uid:gid:pid" to the address of a peer on a Unix domain socket.
    parts = address.split(b":")
    return len(parts) >= 4 and parts[-3] == str(os.getuid()).encode("ascii")
