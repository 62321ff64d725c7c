"""A server in a thread of the test's own process, whose parts can be exchanged for faulty ones."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

from adain_server.config import LEAST_MEMORY_BUDGET, ServerConfig
from adain_server.errors import ServerError
from adain_server.io_process import server as server_module
from adain_server.io_process import worker_process
from adain_server.io_process.endpoint import Endpoint
from adain_server.io_process.server import Server
from adain_style.client.client import Client
from adain_style.client.connection import read_connection_file
from adain_weights.manifest import DEFAULT_MODEL
from support import fake_workers
from support.processes import wait_until

END_S = 15.0
READY_S = 60.0


class ServerInside:
    """Serves from the start, ready or not; close() ends it.

    Attributes:
        error: Why it ended by itself.
    """

    def __init__(self, **settings: Any) -> None:
        """settings: Of ServerConfig, where they differ from a plain server's."""
        self._folder = tempfile.TemporaryDirectory(prefix="adain-test-")
        folder = Path(self._folder.name)
        self.connection_file = folder / "connection.json"
        self.error: ServerError | None = None
        self._said: list[str] = []
        plain: dict[str, Any] = {
            "device": "cpu",
            "model": DEFAULT_MODEL,
            "models": folder / "models",
            "bind": "ipc",
            "connection_file": self.connection_file,
            "memory_budget": LEAST_MEMORY_BUDGET,
            "styles": folder / "styles",
        }
        self._config = ServerConfig(**{**plain, **settings})
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> ServerInside:
        self._thread.start()
        assert self._started.wait(END_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.request_stop()
        self.join()
        self._folder.cleanup()

    def join(self) -> bool:
        """Wait until it has ended."""
        self._thread.join(END_S)
        return not self._thread.is_alive()

    def wait_until_ready(self) -> ServerInside:
        """Return once its worker is."""
        assert wait_until(lambda: any("Ready on" in sentence for sentence in self._said), READY_S) < READY_S
        return self

    def client(self) -> Client:
        """A client of it; the caller closes it."""
        return Client(read_connection_file(self.connection_file), name="test")

    def _run(self) -> None:
        # libzmq's sockets belong to the thread that serves.
        with Endpoint(self.connection_file, self._config.bind) as endpoint:
            self.server = Server(self._config, endpoint, announce=self._said.append)
            self._started.set()
            try:
                # The tests' own process, torch in it, has more memory than a server may have.
                with mock.patch.object(server_module, "MEMORY_LIMIT", 2**63):
                    self.server.run()
            except ServerError as error:
                self.error = error


@contextmanager
def finishing_server_inside() -> Iterator[ServerInside]:
    """A ready one whose painter only finishes; see fake_workers.finishes()."""
    with mock.patch.object(worker_process, "_run", fake_workers.finishes), ServerInside() as running:
        yield running.wait_until_ready()
