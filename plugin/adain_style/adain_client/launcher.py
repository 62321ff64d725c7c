"""Find the running server, or start one."""

from __future__ import annotations

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

from adain_client.client import Client
from adain_client.connection import default_connection_file, make_private_folder, read_connection_file
from adain_client.errors import ProtocolError, ServerUnavailableError

SERVER_COMMAND_VARIABLE = "ADAIN_SERVER_COMMAND"
IDLE_TIMEOUT_S = 600
"""A server that a client started ends by itself after this long without work."""
START_TIMEOUT_S = 90.0
LOG_NAME = "server.log"


def server_command() -> list[str]:
    """How to start a server: ADAIN_SERVER_COMMAND, or adain-server on PATH.

    Raises:
        ServerUnavailableError: Neither is there.
    """
    if named := os.environ.get(SERVER_COMMAND_VARIABLE):
        return shlex.split(named)
    if found := shutil.which("adain-server"):
        return [found]
    raise ServerUnavailableError(
        "No AdaIN server is running, and the program adain-server is not installed here; "
        "install adain-style, or start the server yourself."
    )


def connect(
    *,
    name: str,
    connection_file: Path | None = None,
    command: Sequence[str] | None = None,
    start: bool = True,
    on_start: Callable[[str], None] = lambda _message: None,
    timeout_s: float = START_TIMEOUT_S,
) -> Client:
    """A client of the running server; starts one when there is none.

    Args:
        name: What this client calls itself, for the server's log.
        connection_file: Of the server that is wanted; None for the default one.
        command: Starts a server; None for server_command().
        start: False to take only a server that runs already.
        on_start: Called with a sentence when a server is being started.
        timeout_s: How long a start may take.
    Raises:
        ServerUnavailableError: None answers and none could be started; the message says why.
    """
    path = default_connection_file() if connection_file is None else connection_file
    try:
        return _connect(path, name)
    except ServerUnavailableError:
        if not start:
            raise
    command = server_command() if command is None else list(command)
    on_start(f"Starting the AdaIN server; it ends by itself after {IDLE_TIMEOUT_S // 60} minutes without work.")
    return _start(path, command, name, timeout_s)


def _connect(path: Path, name: str, *, ready: bool = False) -> Client:
    client = Client(read_connection_file(path), name=name)
    try:
        if not client.hello().ready and ready:
            raise ServerUnavailableError("The AdaIN server is still loading.")
    except (ServerUnavailableError, ProtocolError):
        client.close()
        raise
    return client


def _start(path: Path, command: list[str], name: str, timeout_s: float) -> Client:
    deadline = time.monotonic() + timeout_s
    try:
        make_private_folder(path.parent)
        log_path = path.parent / LOG_NAME
        with log_path.open("ab") as log:
            process = subprocess.Popen(  # the command is the user's own setting
                [*command, "--connection-file", str(path), "--idle-timeout", str(IDLE_TIMEOUT_S)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_detached(),
            )
    except OSError as error:
        raise ServerUnavailableError(f"The AdaIN server cannot be started: {error}.") from None
    threading.Thread(target=process.wait, daemon=True).start()  # or a server that ends would stay a zombie
    while time.monotonic() < deadline:
        ended = process.poll()
        try:
            return _connect(path, name, ready=True)
        except ServerUnavailableError:
            # A server that ends at once may have found another one that started at the same moment: that one answers.
            if ended is not None:
                raise ServerUnavailableError(_last_words(log_path, ended)) from None
        time.sleep(0.1)
    process.terminate()
    raise ServerUnavailableError(f"The AdaIN server did not answer within {timeout_s:g} seconds; see {log_path}.")


def _detached() -> dict[str, Any]:
    # The server outlives the client that started it, and Ctrl-C in the client's terminal is not meant for it.
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}


def _last_words(log_path: Path, status: int) -> str:
    lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1] if lines else f"it ended with status {status}"
    return f"The AdaIN server could not start: {reason}"
