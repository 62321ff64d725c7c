"""Reaching the server that the user chose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adain_client.client import Client, ServerInfo
from adain_client.connection import remote_connection
from adain_client.launcher import connect, connect_to
from adain_host.settings import ServerSettings


def open_server(
    server: ServerSettings,
    *,
    name: str,
    start: bool = True,
    on_start: Callable[[str], None] = lambda _sentence: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Client:
    """A client of the chosen server; this machine's is started when none runs.

    Args:
        server: Which one.
        name: What this client calls itself, for the server's log.
        start: False to take only a server that runs already.
        on_start: Called with a sentence when a server is being started.
        cancelled: Asked while a server starts; True gives up waiting.
    Raises:
        ServerUnavailableError, ProtocolError: There is none that this plug-in can talk to.
        CancelledError: As asked.
    """
    if server.remote:
        return connect_to(remote_connection(server.address, Path(server.key_file)), name=name)
    return connect(
        name=name, start=start, on_start=on_start, cancelled=cancelled, idle_timeout_s=server.idle_minutes * 60.0
    )


def look_at_server(server: ServerSettings, *, name: str) -> ServerInfo:
    """What the server says of itself; it is not started. Raises as open_server()."""
    with open_server(server, name=name, start=False) as client:
        return client.hello()


def start_server(server: ServerSettings, *, name: str, cancelled: Callable[[], bool]) -> ServerInfo:
    """Start the server when it does not run. Raises as open_server()."""
    with open_server(server, name=name, cancelled=cancelled) as client:
        return client.hello()


def stop_server(server: ServerSettings, *, name: str) -> None:
    """End the server; whatever it paints is lost. Raises as open_server()."""
    with open_server(server, name=name, start=False) as client:
        client.stop()
