"""A way to a server that can be cut and laid again, while the server itself goes on."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from adain_style.client.client import Client
from adain_style.client.connection import read_connection_file
from support.helpers import RunningServer

BLOCK = 1 << 16


class Relay:
    """A socket whose connections lead to a server's; it has a lock beside it, which is held as a server's is."""

    def __init__(self, server: RunningServer) -> None:
        self._info = read_connection_file(server.connection_file)
        self._folder = tempfile.TemporaryDirectory(prefix="adain-relay-")
        self._path = Path(self._folder.name) / "connection.sock"
        self._lock = self._path.with_suffix(".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._ends: list[socket.socket] = []
        self.lay()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._lock.close()
        self._folder.cleanup()

    def client(self) -> Client:
        """A client whose connection goes this way; the caller closes it."""
        return Client(replace(self._info, endpoint=f"ipc://{self._path}"), name="relayed")

    def lay(self) -> None:
        """Let connections through."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen()
        self._ends.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was cut
            while True:
                near, _address = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._info.endpoint.removeprefix("ipc://"))
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(BLOCK):
            target.sendall(block)
        target.shutdown(socket.SHUT_RDWR)
