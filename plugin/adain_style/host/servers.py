"""Reaching the server that the user chose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from adain_style.client.client import Client, ServerInfo
from adain_style.client.connection import remote_connection
from adain_style.client.errors import AdainError
from adain_style.client.launcher import connect, connect_to
from adain_style.client.texts import _
from adain_style.host.labels import server_described
from adain_style.host.settings import ServerSettings


def open_server(
    server: ServerSettings,
    *,
    name: str,
    start: bool = True,
    on_start: Callable[[str], None] = lambda _sentence: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Client:
    """Return a client of the chosen server; this machine's is started when none runs.

    Args:
        server: Which one.
        name: This client's name, for the server's log.
        start: False to use only a server that is already running.
        on_start: Called with a sentence when a server is being started.
        cancelled: Called while a server starts; True gives up waiting.
    Raises:
        ServerUnavailableError, ProtocolError: There is none that this plug-in can talk to.
        CancelledError: `cancelled` returned True.
    """
    if server.remote:
        return connect_to(remote_connection(server.address, Path(server.key_file)), name=name)
    return connect(
        name=name, start=start, on_start=on_start, cancelled=cancelled, idle_timeout_s=server.idle_minutes * 60.0
    )


def look_at_server(server: ServerSettings, *, name: str) -> ServerInfo:
    """Return the server's description of itself without starting it. Raises as open_server()."""
    with open_server(server, name=name, start=False) as client:
        return client.hello()


def start_server(server: ServerSettings, *, name: str, cancelled: Callable[[], bool]) -> ServerInfo:
    """Start the server when it does not run. Raises as open_server()."""
    with open_server(server, name=name, cancelled=cancelled) as client:
        return client.hello()


def stop_server(server: ServerSettings, *, name: str) -> None:
    """End the server; a picture that needs more than a few seconds is lost. Raises as open_server()."""
    with open_server(server, name=name, start=False) as client:
        client.stop()


class ServerControl:
    """Looks at, starts and stops the chosen server for a window, each in a thread: a server may take long to answer."""

    def __init__(
        self,
        *,
        name: str,
        post: Callable[[Callable[[], None]], object],
        show: Callable[[ServerInfo | None, str], None],
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            name: This client's name, for the server's log.
            post: Schedules a function to be called in the window's thread, soon; safe in any thread.
            show: Called with the server's description of itself, None when there is no server, and with a text about
                it. Only the latest question's answer is shown: an older one may precede a start or a stop.
        """
        self._name, self._post, self._show = name, post, show
        self._asked = 0
        self._is_busy = self._is_closed = False

    def look(self, server: ServerSettings) -> None:
        """Ask the server for its state, unless another question is pending."""
        if not self._is_busy:
            self._do(lambda: look_at_server(server, name=self._name))

    def start(self, server: ServerSettings) -> None:
        """Start the server."""
        self._do(lambda: start_server(server, name=self._name, cancelled=lambda: self._is_closed))

    def stop(self, server: ServerSettings) -> None:
        """End the server."""
        self._do(lambda: stop_server(server, name=self._name))

    def close(self) -> None:
        """Show nothing more."""
        self._is_closed = True

    def _do(self, work: Callable[[], ServerInfo | None]) -> None:
        self._is_busy = True
        self._asked += 1
        number = self._asked

        def run() -> None:
            try:
                info = work()
                state = _("The server has been stopped.") if info is None else server_described(info)
            except AdainError as error:
                info, state = None, str(error)
            self._post(lambda: self._tell(number, info, state))

        threading.Thread(target=run, daemon=True).start()

    def _tell(self, number: int, info: ServerInfo | None, state: str) -> None:
        if self._is_closed or number != self._asked:
            return
        self._is_busy = False
        self._show(info, state)
