"""Find the running server, or start one."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adain_style.client.client import Client
from adain_style.client.connection import (
    ConnectionInfo,
    default_connection_file,
    make_private_folder,
    read_connection_file,
)
from adain_style.client.errors import CancelledError, ProtocolError, ServerUnavailableError
from adain_style.client.folders import plugin_folder
from adain_style.client.texts import _, ngettext

SERVER_COMMAND_VARIABLE = "ADAIN_SERVER_COMMAND"
SERVER_COMMAND_FILE = plugin_folder() / "server.json"
"""Written by adain-plugin into a host: {"command": [...]}, the server of the installation it belongs to."""
IDLE_TIMEOUT_S = 600.0
"""A server that a client started ends by itself after this long without work, unless the user chose another time."""
START_TIMEOUT_S = 90.0
OUTPUT_NAME = "server-output.txt"
"""The output of a server that was started here; its own log, server.log, is beside it."""
LARGEST_OUTPUT = 1024**2


def server_command() -> list[str]:
    """Return the command that starts a server: ADAIN_SERVER_COMMAND, adain-plugin's, or adain-server on PATH.

    Raises:
        ServerUnavailableError: There is none of them, or the variable cannot be split into words.
    """
    if named := os.environ.get(SERVER_COMMAND_VARIABLE, "").strip():
        try:
            return shlex.split(named)
        except ValueError as error:
            raise ServerUnavailableError(
                _("{variable} is no command: {reason}.").format(variable=SERVER_COMMAND_VARIABLE, reason=error)
            ) from None
    if installed := _installed_command():
        return installed
    if found := shutil.which("adain-server"):
        return [found]
    raise ServerUnavailableError(
        _(
            "No AdaIN server is running, and the program adain-server is not installed here; "
            "install adain-style, or start the server yourself."
        )
    )


def _installed_command() -> list[str] | None:
    try:
        command = json.loads(SERVER_COMMAND_FILE.read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_command = isinstance(command, list) and command and all(isinstance(word, str) for word in command)
    return command if is_command and shutil.which(command[0]) else None


def connect(
    *,
    name: str,
    connection_file: Path | None = None,
    command: Sequence[str] | None = None,
    start: bool = True,
    on_start: Callable[[str], None] = lambda _message: None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout_s: float = START_TIMEOUT_S,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
) -> Client:
    """Return a client of the running server; start one when there is none.

    Args:
        name: This client's name, for the server's log.
        connection_file: The connection file of the wanted server; None for the default one.
        command: The command that starts a server; None for server_command().
        start: False to use only a server that is already running.
        on_start: Called with a sentence when a server is being started.
        cancelled: Called while a server starts; True gives up waiting for it.
        timeout_s: How long a start may take.
        idle_timeout_s: How long a server that is started here runs without work before it ends by itself.
    Raises:
        ServerUnavailableError: None answers and none could be started; the message says why.
        CancelledError: `cancelled` returned True.
    """
    path = default_connection_file() if connection_file is None else connection_file
    silent_pid = 0
    try:
        connection = read_connection_file(path)
        silent_pid = connection.pid
        return connect_to(connection, name=name)
    except ServerUnavailableError:
        if not start:
            raise
    command = server_command() if command is None else list(command)
    minutes = max(1, round(idle_timeout_s / 60))
    on_start(
        ngettext(
            "Starting the AdaIN server; it ends by itself after {n} minute without work.",
            "Starting the AdaIN server; it ends by itself after {n} minutes without work.",
            minutes,
        ).format(n=minutes)
    )
    command += ["--connection-file", str(path), "--idle-timeout", f"{idle_timeout_s:g}"]
    try:
        return _start(path, command, name, timeout_s, cancelled)
    except ServerUnavailableError:
        if not _is_alive(silent_pid):
            raise
        raise ServerUnavailableError(
            _("The AdaIN server (process {pid}) runs but does not answer; end that process, then try again.").format(
                pid=silent_pid
            )
        ) from None


def _is_alive(pid: int) -> bool:
    """Whether this user has a process with that number. False on Windows, where os.kill() could end it."""
    if pid <= 0 or sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def connect_to(connection: ConnectionInfo, *, name: str, ready: bool = False) -> Client:
    """Return a client of the server at a known endpoint.

    Args:
        connection: The endpoint and its keys.
        name: This client's name, for the server's log.
        ready: Whether to refuse a server that is still loading its model.
    Raises:
        ServerUnavailableError: It does not answer. ProtocolError: It is another program, or another version.
    """
    client = Client(connection, name=name)
    try:
        if not client.hello().ready and ready:
            raise ServerUnavailableError(_("The AdaIN server is still loading."))
    except (ServerUnavailableError, ProtocolError):
        client.close()
        raise
    return client


def _start(path: Path, command: list[str], name: str, timeout_s: float, cancelled: Callable[[], bool]) -> Client:
    deadline = time.monotonic() + timeout_s
    try:
        make_private_folder(path.parent)
        output_path = path.parent / OUTPUT_NAME
        if output_path.exists() and output_path.stat().st_size > LARGEST_OUTPUT:
            output_path.unlink()
        with output_path.open("ab") as output:
            process = subprocess.Popen(  # the command is the user's own setting
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **_detached(),
            )
    except OSError as error:
        raise ServerUnavailableError(_("The AdaIN server cannot be started: {error}.").format(error=error)) from None
    threading.Thread(target=process.wait, daemon=True).start()  # otherwise a server that ends would stay a zombie
    while time.monotonic() < deadline:
        ended = process.poll()
        try:
            return connect_to(read_connection_file(path), name=name, ready=True)
        except ServerUnavailableError:
            # A server that ends at once may have found another one that started at the same moment: that one answers.
            if ended is not None:
                raise ServerUnavailableError(_last_words(output_path, ended)) from None
        if cancelled():
            raise CancelledError(_("The server was still starting; it goes on by itself."))
        time.sleep(0.1)
    process.terminate()
    raise ServerUnavailableError(
        _("The AdaIN server did not answer within {seconds:g} seconds; see {log}.").format(
            seconds=timeout_s, log=output_path
        )
    )


def _detached() -> dict[str, Any]:
    # The server outlives the client that started it, and Ctrl-C in the client's terminal is not meant for it.
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}


def _last_words(output_path: Path, status: int) -> str:
    lines = output_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1] if lines else _("it ended with status {status}").format(status=status)
    return _("The AdaIN server could not start: {reason}").format(reason=reason)
