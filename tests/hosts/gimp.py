"""A real GIMP 3 for the tests: found, given a private home with a fresh copy of the plug-in, and asked to run scripts.

What runs in GIMP is inside_gimp.py; scripts are strings, because this Python has no GIMP.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from helpers import REPOSITORY, RunningServer, children_of

HERE = Path(__file__).parent
PLUGIN = REPOSITORY / "plugin" / "adain_style"
USERLAND = Path(os.environ.get("HOSTS", REPOSITORY / ".hosts")).absolute() / "trixie"
KNOWN_PLUG_INS = USERLAND.with_name("known-plug-ins")
"""What a GIMP wrote of its own plug-ins: the next one asks only those that have changed, and ours, which takes 2 s."""
CLEAN_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""A foreign python3 in PATH would be the one that runs GIMP's plug-ins."""
CONSOLES = ("gimp-console-3.0", "gimp-console-3", "gimp-console")
FLAGS = ("--no-interface", "--no-data", "--quit", "--batch-interpreter=python-fu-eval", "--batch=-")
START_TIMEOUT_S = 90.0
"""The first start looks at every plug-in that GIMP has."""
SCRIPT_TIMEOUT_S = 60.0


Running = TypeVar("Running", bound="Gimp")
Look = dict[str, Any]
"""What look() of inside_gimp.py says of a layer, channel or mask."""
_SAMPLES = {
    "u8": np.uint8,
    "u16": np.uint16,
    "u32": np.uint32,
    "half": np.float16,
    "float": np.float32,
    "double": float,
}


def samples(look: Look) -> npt.NDArray[Any]:
    """A drawable's pixels as GIMP stores them, (height, width, channels)."""
    return as_array(look["pixels"], look["size"], look["format"])


def as_array(pixels: bytes, size: tuple[int, int], babl_format: str) -> npt.NDArray[Any]:
    """Pixels of a width and height as (height, width, channels)."""
    # An indexed image's format has a name of its own, and one byte for the colour's number and for alpha.
    kind = babl_format.rpartition(" ")[2]
    return np.frombuffer(pixels, _SAMPLES.get(kind, np.uint8)).reshape(size[1], size[0], -1)


def light(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels of an image of integers with sRGB's curve, or of a linear one of floats, as light, where white is 1.

    GIMP blends light. The curve is that of IEC 61966-2-1.
    """
    if stored.dtype == np.float32:
        return stored.astype(float)
    value = stored / np.iinfo(stored.dtype).max
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


class GimpMissing(Exception):  # noqa: N818  # a reason to skip, not an error
    """This machine has no GIMP 3 that the tests could use; the message says why."""


class ScriptError(AssertionError):
    """A script failed in GIMP; the message has its traceback, or what GIMP printed."""


@dataclass(frozen=True)
class Installation:
    """A GIMP 3.

    Attributes:
        console: Its program without a window.
        userland: The folder that it lives in with its whole system; None for this machine's own.
    """

    console: str
    userland: Path | None = None

    def inside(self, *words: str) -> list[str]:
        """The command that runs a program of GIMP's system."""
        return list(words) if self.userland is None else ["sh", str(HERE / "enter.sh"), str(self.userland), *words]

    def outside(self, *words: str) -> list[str]:
        """The command that runs a program of this machine, for somebody who is inside."""
        return list(words) if self.userland is None else ["chroot", f"/proc/{os.getpid()}/root", *words]


def find_gimp() -> Installation:
    """This machine's own GIMP 3, or the one that set_up.sh made. Raises GimpMissing."""
    environment = {"PATH": CLEAN_PATH}
    for console in CONSOLES:
        if shutil.which(console, path=CLEAN_PATH) is None:
            continue
        version = subprocess.run([console, "--version"], env=environment, capture_output=True, text=True, check=False)
        if " 3." in version.stdout:
            probe = ["python3", "-c", "import gi, zmq, msgpack"]
            if subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
                raise GimpMissing("GIMP's Python, /usr/bin/python3, has no zmq or no msgpack")
            return Installation(console)
    if not (USERLAND / ".complete").is_file():
        raise GimpMissing(f"no GIMP 3 on PATH and none in {USERLAND}; 'make hosts' puts one there, on Debian, as root")
    if os.getuid() != 0:
        raise GimpMissing(f"only root can enter {USERLAND}, where GIMP 3 is")
    return Installation(CONSOLES[0], USERLAND)


class Gimp:
    """A running GIMP without a window, in a private home; close() ends it.

    Attributes:
        installation: Which GIMP.
        folder: The home. styles: The user's own styles in it. settings: The plug-in's file in it.
        connection_file: Where the plug-in looks for a server; see use().
        server_command: The program that it starts a server with; there is none, unless a test writes one.
        log: What the plug-in's windows did, a line each.
    """

    def __init__(self, installation: Installation, **environment: str) -> None:
        """Start it. environment: More variables."""
        self.installation = installation
        self.folder = Path(tempfile.mkdtemp(prefix="adain-gimp-"))  # not pytest's: a socket's path has to be short
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
            "GIMP3_DIRECTORY": str(self.folder / "gimp"),
            "ADAIN_CONNECTION_FILE": str(self.connection_file),
            "ADAIN_SERVER_COMMAND": str(self.server_command),
            "ADAIN_STYLE_LOG": str(self.log),
            "ADAIN_TEST_SOCKET": str(self.folder / "socket"),
            **environment,
        }
        self.connection_file.parent.mkdir(mode=0o700)
        profile = self.folder / "gimp"
        unwanted = shutil.ignore_patterns("__pycache__", "vendor", "server.json")
        # Copied with a new time, so that GIMP asks it anew.
        shutil.copytree(PLUGIN, profile / "plug-ins" / PLUGIN.name, ignore=unwanted, copy_function=shutil.copy)
        if KNOWN_PLUG_INS.is_dir():
            shutil.copytree(KNOWN_PLUG_INS, profile, dirs_exist_ok=True)
        self._log = (self.folder / "output.txt").open("w")
        with socket.socket(socket.AF_UNIX) as listener, (HERE / "inside_gimp.py").open() as loop:
            listener.bind(str(self.folder / "socket"))
            listener.listen()
            self.process = subprocess.Popen(
                self._command(),
                stdin=loop,
                stdout=self._log,
                stderr=self._log,
                cwd=self.folder,
                env=self._environment,
            )
            self._connection = self._accept(listener)

    def _command(self) -> list[str]:
        return self.installation.inside(self.installation.console, *FLAGS)

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
        raise ScriptError(f"GIMP did not start: {self.text()}")

    def __enter__(self: Running) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, script: str, *, timeout_s: float = SCRIPT_TIMEOUT_S, **values: Any) -> Any:
        """Run a script in GIMP.

        Args:
            script: The lines of a Python function, which has the values as its arguments and everything of
                inside_gimp.py at hand. Images that it opens are closed when it ends.
            timeout_s: How long it may take.
            values: Of Python's own types, as is what the script returns.
        Returns:
            What the script returns.
        Raises:
            ScriptError: It raised something, or GIMP ended.
        """
        self.start(script, **values)
        return self.result(timeout_s=timeout_s)

    def start(self, script: str, **values: Any) -> None:
        """Begin to run a script; result() waits for it."""
        head = f"def script({', '.join(values)}):\n"
        self._connection.send((head + textwrap.indent(textwrap.dedent(script), "    "), values))

    def result(self, *, timeout_s: float = SCRIPT_TIMEOUT_S) -> Any:
        """What the script returns that was started; as run()."""
        try:
            if not self._connection.poll(timeout_s):
                raise ScriptError(f"the script did not end within {timeout_s:g} seconds: {self.text()}")
            result, trace = self._connection.recv()
        except (EOFError, OSError):
            raise ScriptError(f"GIMP ended: {self.text()}") from None
        if trace:
            raise ScriptError(trace)
        return result

    def use(self, server: RunningServer | None) -> None:
        """Let the plug-in find this server; None for no server."""
        self.connection_file.unlink(missing_ok=True)
        if server is not None:
            shutil.copy(server.connection_file, self.connection_file)

    def plugin_process(self) -> int:
        """The plug-in's process, which is there while a procedure of it runs."""
        deadline = time.monotonic() + SCRIPT_TIMEOUT_S
        while time.monotonic() < deadline:
            for child in children_of(self.process.pid):
                if b"adain_style.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return child
            time.sleep(0.02)
        raise AssertionError("the plug-in does not run")

    def text(self) -> str:
        """Everything that GIMP and the plug-in have printed."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def close(self) -> None:
        """End GIMP and remove its home."""
        self._connection.close()  # the loop inside ends, and GIMP with it
        self._end()
        if not KNOWN_PLUG_INS.is_dir():
            KNOWN_PLUG_INS.mkdir(parents=True)
            for name in ("gimprc", "pluginrc"):
                shutil.copy(self.folder / "gimp" / name, KNOWN_PLUG_INS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
