"""Who may talk to the server: the answers to libzmq's authentication questions (ZAP, RFC 27)."""

from __future__ import annotations

import logging
import os

import zmq

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"adain"
REQUEST_FRAMES = 7


class Gatekeeper:
    """Admits ipc peers of this process's own uid, and tcp peers whose CURVE key is listed.

    It lives in the server's own loop; while it does not answer, libzmq admits nobody (ZAP_ENFORCE_DOMAIN).
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], client_keys: frozenset[bytes]) -> None:
        """client_keys: The admitted CURVE public keys, 32 bytes each; empty for ipc."""
        self._client_keys = client_keys
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP_ENDPOINT)

    def answer(self) -> None:
        """Answer every waiting question."""
        while self.socket.poll(0):
            frames = self.socket.recv_multipart()
            if b"" not in frames:
                continue
            split = frames.index(b"") + 1
            request = frames[split:]
            if len(request) < REQUEST_FRAMES - 1 or request[0] != b"1.0":
                continue
            admitted = self._admits(request)
            status = [b"200", b"OK", b"user", b""] if admitted else [b"400", b"refused", b"", b""]
            self.socket.send_multipart([*frames[:split], b"1.0", request[1], *status])

    def close(self) -> None:
        """Stop answering: from now on nobody is admitted."""
        self.socket.close(linger=0)

    def _admits(self, request: list[bytes]) -> bool:
        _version, _request_id, domain, address, _identity, mechanism, *credentials = request
        if domain != ZAP_DOMAIN:
            admitted = False
        elif self._client_keys:
            admitted = mechanism == b"CURVE" and len(credentials) == 1 and credentials[0] in self._client_keys
        else:
            admitted = mechanism == b"NULL" and _is_own_uid(address)
        if not admitted:
            log.warning("refused a peer at %r", address[:64])
        return admitted


def _is_own_uid(address: bytes) -> bool:
    # libzmq appends ":uid:gid:pid" to the address of a peer on a Unix domain socket.
    parts = address.split(b":")
    return len(parts) >= 4 and parts[-3] == str(os.getuid()).encode("ascii")
