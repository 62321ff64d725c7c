"""Where a server lives: its private folder, the lock on it, the socket, the keys and the connection file."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import zmq
from filelock import FileLock, Timeout
from zmq.utils import z85

from adain_client import protocol
from adain_client.connection import ConnectionInfo, make_private_folder, write_connection_file
from adain_server.access import ZAP_DOMAIN, Gatekeeper
from adain_server.errors import ServerError

LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix domain socket's path, on Linux."""


class Place:
    """A claimed place: one server at a time, with a bound ROUTER and the connection file written.

    Use it as a context manager; leaving it removes the socket and the connection file.
    """

    def __init__(self, connection_file: Path, bind: str) -> None:
        self._file = connection_file
        self._bind = bind
        self._socket_path: Path | None = None
        self._announced = False

    def __enter__(self) -> Place:
        """Claim the place. Raises ServerError: taken, not private, or an address that cannot be bound."""
        try:
            make_private_folder(self._file.parent)
        except OSError as error:
            raise ServerError(f"The server needs a private folder: {error}.") from None
        self._lock = FileLock(self._file.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ServerError(f"An AdaIN server already runs at {self._file.parent}.") from None
        self.context = zmq.Context[zmq.Socket[bytes]]()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _open(self) -> None:
        secret, client_keys, keys = b"", frozenset[bytes](), ("", "", "")
        tcp = self._bind != "ipc"
        if tcp:
            _check_loopback(self._bind)
            server_public, secret = zmq.curve_keypair()
            client_public, client_secret = zmq.curve_keypair()
            client_keys = frozenset({z85.decode(client_public)})
            keys = (server_public.decode(), client_public.decode(), client_secret.decode())
        self.gatekeeper = Gatekeeper(self.context, client_keys)
        self.router = _router(self.context, secret)
        self.endpoint = self._bind_tcp() if tcp else self._bind_ipc()
        try:
            write_connection_file(self._file, ConnectionInfo(self.endpoint, os.getpid(), *keys))
        except OSError as error:
            raise ServerError(f"{self._file} cannot be written: {error.strerror}.") from None
        self._announced = True

    def _bind_tcp(self) -> str:
        try:
            self.router.bind(self._bind.replace(":0", ":*") if self._bind.endswith(":0") else self._bind)
        except zmq.ZMQError as error:
            raise ServerError(
                f"{self._bind} cannot be bound ({error}); choose another port, or 0 for a free one."
            ) from None
        return str(self.router.getsockopt_string(zmq.LAST_ENDPOINT))

    def _bind_ipc(self) -> str:
        path = self._file.with_suffix(".sock")
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            raise ServerError(
                f"The path {path} is too long for a socket; choose a --connection-file with a shorter one."
            )
        # Nobody else holds the lock, so a socket here is what a killed server left. Anything else is not ours.
        if path.is_symlink() or path.exists():
            status = path.lstat()
            if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.getuid():
                raise ServerError(f"{path} is in the way and is not a socket of yours; remove it.")
            path.unlink()
        before = os.umask(0o077)
        try:
            self.router.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            raise ServerError(f"The socket {path} cannot be made ({error}).") from None
        finally:
            os.umask(before)
        self._socket_path = path
        return f"ipc://{path}"

    def _close(self) -> None:
        if self._announced:
            self._file.unlink(missing_ok=True)
        # A second's linger lets the last errors reach their clients.
        self.context.destroy(linger=1000)
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
        self._lock.release()


def _router(context: zmq.Context[zmq.Socket[bytes]], secret: bytes) -> zmq.Socket[bytes]:
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # without it a message to a vanished peer is lost in silence
    router.setsockopt(zmq.MAXMSGSIZE, protocol.CHUNK_BYTES)
    router.setsockopt(zmq.HANDSHAKE_IVL, 2000)
    router.setsockopt(zmq.HEARTBEAT_IVL, 2000)
    router.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
    router.setsockopt(zmq.RCVHWM, 64)
    router.setsockopt(zmq.SNDHWM, 256)
    router.setsockopt(zmq.LINGER, 1000)
    router.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if secret:
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, secret)
    return router


def _check_loopback(bind: str) -> None:
    try:
        parts = urlsplit(bind)
        is_address = parts.scheme == "tcp" and parts.port is not None
        loopback = is_address and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ServerError(
            f"{bind} is neither ipc nor tcp://127.0.0.1:PORT: this version listens to its own machine only, because it "
            "has no list of clients yet."
        )
