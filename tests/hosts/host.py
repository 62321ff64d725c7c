"""What the real hosts of the tests have in common: a private home with a fresh copy of the plug-in, and a connection.

What runs in a host is inside_gimp.py or inside_krita.py; scripts are strings, because this Python has no host's
library.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, TypeVar

from support.helpers import REPOSITORY, RunningServer
from support.lying_server import LyingServer

HERE = Path(__file__).parent
PLUGIN = REPOSITORY / "plugin" / "adain_style"
DESCRIPTION = REPOSITORY / "plugin" / "adain_plugin" / "adain_style.desktop"
USERLAND = Path(os.environ.get("HOSTS", REPOSITORY / ".hosts")).absolute() / "trixie"
CLEAN_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""A foreign python3 in PATH would be the one that runs a host's plug-ins."""
UNWANTED = shutil.ignore_patterns("__pycache__", "vendor", "server.json")
"""What an installed plug-in may have and a fresh copy has not."""
START_TIMEOUT_S = 90.0
"""The first start looks at everything that a host has."""
SCRIPT_TIMEOUT_S = 60.0
WAIT_S = 30.0

Running = TypeVar("Running", bound="Host")


class ScriptError(AssertionError):
    """A script failed in a host; the message has its traceback, or what the host printed."""


@dataclass(frozen=True)
class Installation:
    """A host that was found.

    Attributes:
        userland: The folder that it lives in with its whole system; None for this machine's own.
    """

    userland: Path | None = None

    def inside(self, *words: str) -> list[str]:
        """The command that runs a program of the host's system."""
        return list(words) if self.userland is None else ["sh", str(HERE / "enter.sh"), str(self.userland), *words]

    def outside(self, *words: str) -> list[str]:
        """The command that runs a program of this machine, for somebody who is inside."""
        return list(words) if self.userland is None else ["chroot", f"/proc/{os.getpid()}/root", *words]


def as_function(script: str, values: Iterable[str]) -> str:
    """The lines of a script as those of a function, script(), which has values of these names as its arguments."""
    return f"def script({', '.join(values)}):\n" + textwrap.indent(textwrap.dedent(script), "    ")


class Host(ABC):
    """A running host in a private home; close() ends it.

    Attributes:
        folder: The home. styles: The user's own styles in it. settings: The plug-in's file in it.
        connection_file: Where the plug-in looks for a server; see use().
        server_command: The program that it starts a server with; there is none, unless a test writes one.
        log: What the plug-in's windows did, a line each.
        process: The host.
    """

    name: ClassVar[str]
    """What users call it."""

    def __init__(self, **environment: str) -> None:
        """Start it. environment: More variables."""
        # Not pytest's folder: a socket's path has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix=f"adain-{self.name.lower()}-"))
        self.styles = self.folder / "data" / "adain-style" / "styles"
        self.settings = self.folder / "config" / "adain-style" / "settings.json"
        self.connection_file = self.folder / "run" / "connection.json"
        self.server_command = self.folder / "start-server"
        self.log = self.folder / "window.log"
        self._environment = {
            "PATH": CLEAN_PATH,
            "LANG": "C.UTF-8",
            "TMPDIR": tempfile.gettempdir(),
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "ADAIN_CONNECTION_FILE": str(self.connection_file),
            "ADAIN_SERVER_COMMAND": str(self.server_command),
            "ADAIN_STYLE_LOG": str(self.log),
            "ADAIN_TEST_SOCKET": str(self.folder / "socket"),
            **environment,
        }
        self.connection_file.parent.mkdir(mode=0o700)
        self._install()
        self._log = (self.folder / "output.txt").open("w")
        with socket.socket(socket.AF_UNIX) as listener, self._input() as given:
            listener.bind(str(self.folder / "socket"))
            listener.listen()
            self.process = subprocess.Popen(
                self._command(),
                stdin=given,
                stdout=self._log,
                stderr=self._log,
                cwd=self.folder,
                env=self._environment,
            )
            self._connection = self._accept(listener)

    @abstractmethod
    def _install(self) -> None:
        """Put the plug-in and what else the host reads into the home."""

    @abstractmethod
    def _input(self) -> IO[str]:
        """What the host reads from its standard input."""

    @abstractmethod
    def _command(self) -> list[str]:
        """What starts the host."""

    def _accept(self, listener: socket.socket) -> Connection:
        listener.settimeout(0.1)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                accepted, _address = listener.accept()
            except TimeoutError:
                continue
            accepted.setblocking(True)
            return Connection(accepted.detach())
        self._end()
        raise ScriptError(f"{self.name} did not start: {self.text()}")

    def __enter__(self: Running) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, script: str, *, timeout_s: float = SCRIPT_TIMEOUT_S, **values: Any) -> Any:
        """Run a script in the host.

        Args:
            script: The lines of a Python function, which has the values as its arguments and everything of
                inside_gimp.py or inside_krita.py at hand. Images that it opens are closed when it ends.
            timeout_s: How long it may take.
            values: Of Python's own types, as is what the script returns.
        Returns:
            What the script returns.
        Raises:
            ScriptError: It raised something, or the host ended.
        """
        self.start(script, **values)
        return self.result(timeout_s=timeout_s)

    def start(self, script: str, **values: Any) -> None:
        """Begin to run a script; result() waits for it."""
        try:
            while self._connection.poll():  # of a script that took longer than its test waited
                self._connection.recv()
            self._connection.send((as_function(script, values), values))
        except (EOFError, OSError):
            raise self._ended() from None

    def result(self, *, timeout_s: float = SCRIPT_TIMEOUT_S) -> Any:
        """What the script returns that was started; as run()."""
        try:
            deadline = time.monotonic() + timeout_s
            trace = None
            while trace is None:
                if not self._connection.poll(max(0.0, deadline - time.monotonic())):
                    raise ScriptError(f"the script did not end within {timeout_s:g} seconds: {self.text()}")
                result, trace = self._connection.recv()
                if trace is None:
                    self._connection.send(self._do(result))
        except (EOFError, OSError):
            raise self._ended() from None
        if trace:
            raise ScriptError(trace)
        return result

    def _do(self, wish: Any) -> Any:
        """What a script asks the test for while it runs, such as a user's mouse."""
        raise AssertionError(f"nobody can do {wish}")

    def use(self, server: RunningServer | LyingServer | None) -> None:
        """Let the plug-in find this server; None for no server."""
        self.connection_file.unlink(missing_ok=True)
        if server is not None:
            shutil.copy(server.connection_file, self.connection_file)

    def forget(self) -> None:
        """Take away what the plug-in has kept, as if it had just been installed."""
        self.settings.unlink(missing_ok=True)
        self.server_command.unlink(missing_ok=True)
        shutil.rmtree(self.styles, ignore_errors=True)

    def logged(self, text: str, *, after: int = 0, timeout_s: float = WAIT_S) -> int:
        """Wait until a line of the log holds a text; the number of lines up to it.

        Args:
            text: Part of the line.
            after: Lines that are not looked at.
            timeout_s: How long to wait.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            for number, line in enumerate(lines):
                if number >= after and text in line:
                    return number + 1
            time.sleep(0.05)
        raise AssertionError(f"'{text}' was not logged: {lines}\n{self.text()}")

    def text(self) -> str:
        """Everything that the host and the plug-in have printed."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def close(self) -> None:
        """End the host and remove its home."""
        self._connection.close()  # what runs inside ends, and the host with it
        self._end()
        self._keep()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _keep(self) -> None:
        """Save what makes the next start a quick one."""

    def _ended(self) -> ScriptError:
        return ScriptError(f"{self.name} ended: {self.text()}")

    def _end(self) -> None:
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
