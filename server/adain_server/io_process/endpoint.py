"""The endpoint at which a server serves: private folder, its lock, the socket, the keys, the connection file."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import stat
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import zmq
from filelock import FileLock, Timeout
from zmq.utils import z85

from adain_server.access.authenticator import ZAP_DOMAIN, ZapAuthenticator
from adain_server.access.keys import KeyRing
from adain_server.errors import ServerError
from adain_server.io_process.limits import CROWD, CROWD_GONE, descriptor_limit, descriptors_left
from adain_style.client import protocol
from adain_style.client.connection import ConnectionInfo, make_private_folder, write_connection_file

log = logging.getLogger(__name__)

LET_GO_S = 2.0
"""A closed address is free again within this time."""
NEXT_PORTS = 16
"""How many further ports are tried after one that is taken."""
LAST_PORT = 65535
LONGEST_SOCKET_PATH = 107
"""Longest path of a Unix domain socket on Linux, in bytes."""


class Endpoint:
    """A claimed endpoint: one server at a time, with a bound ROUTER and the connection file written.

    Attributes:
        address: The address that clients connect to: ipc://PATH or tcp://ADDRESS:PORT.
        context, router: The ZeroMQ context, and the socket that all clients talk to.
        authenticator: Tells libzmq which peers may connect.

    Use it as a context manager; leaving it removes the socket and the connection file.
    """

    def __init__(self, connection_file: Path, bind: str, *, keys: KeyRing | None = None) -> None:
        """Prepare; nothing is claimed yet.

        Args:
            connection_file: Written once the server listens.
            bind: ipc, or tcp://ADDRESS:PORT; port 0 takes a free one. Beyond loopback a client must be listed.
            keys: The keys of clients on other machines; None for the user's own list.
        """
        self._file = connection_file
        self._bind = bind
        self._keys = keys or KeyRing()
        self._socket_path: Path | None = None
        self._moves = 0  # how often the socket had to be recreated
        self._announced: tuple[int, int] | None = None  # the connection file as this server wrote it
        self._is_listening = True  # False while there are too many connections

    def __enter__(self) -> Endpoint:
        """Claim the endpoint. Raises ServerError when it is taken, not private or cannot be bound."""
        self._claim()
        self.context = zmq.Context[zmq.Socket[bytes]]()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def _claim(self) -> None:
        try:
            make_private_folder(self._file.parent)
        except OSError as error:
            raise ServerError(f"The server needs a private folder: {error}.") from None
        self._lock = FileLock(self._lock_path)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ServerError(f"An AdaIN server already runs at {self._file.parent}.") from None
        self._claimed = _identity(self._lock_path)

    @property
    def _lock_path(self) -> Path:
        return self._file.with_suffix(".lock")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _open(self) -> None:
        secret, owner_key, keys, guests = b"", b"", ("", "", ""), None
        tcp = self._bind != "ipc"
        if tcp:
            if _is_loopback(self._bind):
                pair = zmq.curve_keypair()
                server_public, secret = pair[0].decode(), pair[1]
            else:
                guests = self._keys
                server_public, secret = guests.server_pair()
            client_public, client_secret = zmq.curve_keypair()
            owner_key = z85.decode(client_public)
            keys = (server_public, client_public.decode(), client_secret.decode())
        self.authenticator = ZapAuthenticator(self.context, owner_key, guests)
        self._secret, self._client_keys = secret, keys
        self._listen(more_ports=NEXT_PORTS)
        try:
            self._announce()
        except OSError as error:
            raise ServerError(f"{self._file} cannot be written: {error.strerror}.") from None

    def _announce(self) -> None:
        # A server that listens on all addresses is reached on this machine by the loopback address.
        address = self.address.replace("tcp://0.0.0.0:", "tcp://127.0.0.1:")
        write_connection_file(self._file, ConnectionInfo(address, os.getpid(), *self._client_keys))
        self._announced = _identity(self._file)

    def stay_findable(self) -> None:
        """Recreate files that were removed, for example by a cleaner of temporary files or when a user's session ended.

        Connected clients notice nothing. What cannot be created is tried again the next time.

        Raises:
            ServerError: Another server has claimed the folder since; its files are not touched.
        """
        if self._has_socket() and self._is_claimed() and _identity(self._file) == self._announced:
            return
        log.warning("files of the server were removed or replaced; they are made again")
        if not self._is_claimed():
            self._lock.release()
            # The files there now may be another server's.
            self._announced, self._socket_path = None, None
            try:
                self._claim()
            except ServerError:
                raise ServerError(f"Another AdaIN server has taken {self._file.parent}; this one ends.") from None
        try:
            if not self._has_socket():
                # Under another name beside the old one: unbinding the old one would drop the connected clients.
                self._moves += 1
                self.address = self._bind_ipc()
            self._announce()
        except (OSError, ServerError, zmq.ZMQError) as error:
            log.warning("the server cannot be found until its files can be made: %s", error)

    def _has_socket(self) -> bool:
        if self._bind != "ipc" or not self._is_listening:
            return True
        return self._socket_path is not None and self._socket_path.exists()

    def _is_claimed(self) -> bool:
        return _identity(self._lock_path) == self._claimed

    def reset_connections(self) -> None:
        """Drop every peer and what it has sent; well-behaved clients reconnect. `router` is a new socket then.

        Raises:
            ServerError: The address is taken now.
        """
        if self._bind != "ipc":
            self._bind = self.address  # with the port that was taken
        if self._is_listening:
            self.router.unbind(self.address)
        self._is_listening = True
        self.router.close(linger=0)
        # libzmq closes in a thread of its own, which could remove a new socket's file or still hold the port.
        deadline = time.monotonic() + LET_GO_S
        while time.monotonic() < deadline:
            if self._socket_path is None or not self._socket_path.exists():
                try:
                    self._listen()
                    return
                except ServerError:
                    self.router.close(linger=0)
            time.sleep(0.01)
        self._listen()

    def limit_crowd(self) -> None:
        """Accept no new ipc connections while descriptors are short; open ones stay. With tcp libzmq survives that."""
        if self._bind != "ipc":
            return
        used = 1 - descriptors_left() / descriptor_limit()
        if self._is_listening and used > CROWD:
            log.error("too many connections: nobody else is let in until some have gone")
            self.router.unbind(self.address)
            self._is_listening = False
        elif not self._is_listening and used < CROWD_GONE:
            self._bind_ipc()
            self._is_listening = True

    def _listen(self, *, more_ports: int = 0) -> None:
        self.router = _router(self.context, self._secret)
        self.address = self._bind_ipc() if self._bind == "ipc" else self._bind_tcp(more_ports)

    def _bind_tcp(self, more_ports: int) -> str:
        """Bind the wanted port, or the first free one of `more_ports` after it; returns the address, with the port."""
        host, _colon, port = self._bind.rpartition(":")
        last = min(int(port) + more_ports, LAST_PORT)
        ports = [str(each) for each in range(int(port), last + 1)] if int(port) else ["*"]
        for each in ports:
            try:
                self.router.bind(f"{host}:{each}")
            except zmq.ZMQError as error:
                if error.errno != errno.EADDRINUSE:
                    raise ServerError(f"{self._bind} cannot be bound ({error}); choose another address.") from None
                continue
            if each not in (port, "*"):
                log.warning("port %s is taken; port %s is used, which other machines have to be told", port, each)
            return str(self.router.getsockopt_string(zmq.LAST_ENDPOINT))
        raise ServerError(f"{self._bind} and the ports after it are taken; choose another port, or 0 for a free one.")

    def _bind_ipc(self) -> str:
        path = self._file.with_suffix(f".{self._moves}.sock" if self._moves else ".sock")
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            raise ServerError(
                f"The path {path} is too long for a socket; choose a --connection-file with a shorter one."
            )
        # Nobody else holds the lock, so a socket here was left by a killed server. Anything else is not ours.
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
        if self._announced is not None and _identity(self._file) == self._announced:
            _remove(self._file)
        # A second's linger lets the last errors reach their clients.
        self.context.destroy(linger=1000)
        if self._socket_path is not None:
            _remove(self._socket_path)
        self._lock.release()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at a path; None when there is no file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove(path: Path) -> None:
    """Remove a file. If it cannot be removed, clients and the next server notice that no server is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be removed: %s", path, error.strerror)


def _router(context: zmq.Context[zmq.Socket[bytes]], secret: bytes) -> zmq.Socket[bytes]:
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # without it a message to a vanished peer is lost in silence
    router.setsockopt(zmq.MAXMSGSIZE, protocol.largest_frame(encrypted=bool(secret)))
    router.setsockopt(zmq.HANDSHAKE_IVL, 2000)
    # A peer that is silent in the middle of a frame is dropped after the sum of both; a whole frame is a sign of life.
    router.setsockopt(zmq.HEARTBEAT_IVL, 1000)
    router.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2500)
    # No limit: libzmq 4.3.5 ends the whole process at the next heartbeat when a peer that it blocks has gone. A flood
    # is stopped by reset_connections() instead.
    router.setsockopt(zmq.RCVHWM, 0)
    router.setsockopt(zmq.SNDHWM, 64)
    router.setsockopt(zmq.LINGER, 1000)
    router.setsockopt(zmq.BACKLOG, 1024)
    router.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if secret:
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, secret)
    return router


def _is_loopback(bind: str) -> bool:
    """Whether only this machine can connect to a tcp address. Raises ServerError when it is not one."""
    try:
        parts = urlsplit(bind)
        if parts.scheme == "tcp" and parts.port is not None:
            return ipaddress.IPv4Address(parts.hostname or "").is_loopback
    except ValueError:
        pass
    raise ServerError(
        f"{bind} is no address to listen at; write ipc, tcp://127.0.0.1:PORT, or, for clients on other machines, "
        "tcp://0.0.0.0:PORT."
    )
