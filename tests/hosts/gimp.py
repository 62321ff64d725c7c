"""A real GIMP 3 for the tests: found, given a private home with a fresh copy of the plug-in, and asked to run scripts.

What runs in GIMP is inside_gimp.py; scripts are strings, because this Python has no GIMP.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from hosts import host
from hosts.host import CLEAN_PATH as CLEAN_PATH
from hosts.host import HERE, PLUGIN, SCRIPT_TIMEOUT_S, UNWANTED, USERLAND, Host, ScriptError, as_function
from support.processes import children_of

KNOWN_PLUG_INS = USERLAND.with_name("known-plug-ins")
"""What a GIMP wrote of its own plug-ins: the next one asks only those that have changed, and ours, which takes 2 s."""
MEANWHILE = "adain_tests"
"""The tests' own plug-in."""
CONSOLES = ("gimp-console-3.0", "gimp-console-3", "gimp-console")
FLAGS = ("--no-interface", "--no-data", "--quit", "--batch-interpreter=python-fu-eval", "--batch=-")
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


@dataclass(frozen=True)
class Installation(host.Installation):
    """A GIMP 3.

    Attributes:
        console: Its program without a window.
    """

    console: str = CONSOLES[0]


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
            return Installation(console=console)
    if not (USERLAND / ".complete").is_file():
        raise GimpMissing(f"no GIMP 3 on PATH and none in {USERLAND}; 'make hosts' puts one there, on Debian, as root")
    if os.getuid() != 0:
        raise GimpMissing(f"only root can enter {USERLAND}, where GIMP 3 is")
    return Installation(USERLAND)


class Gimp(Host):
    """A running GIMP without a window, in a private home; close() ends it.

    Attributes:
        installation: Which GIMP.
    """

    name = "GIMP"

    def __init__(self, installation: Installation, **environment: str) -> None:
        """Start it. environment: More variables."""
        self.installation = installation
        self._meanwhile: Connection | None = None
        super().__init__(**environment)

    def _install(self) -> None:
        profile = self.folder / "gimp"
        self._environment["GIMP3_DIRECTORY"] = str(profile)
        # Copied with a new time, so that GIMP asks it anew.
        shutil.copytree(PLUGIN, profile / "plug-ins" / PLUGIN.name, ignore=UNWANTED, copy_function=shutil.copy)
        self._environment["ADAIN_TEST_MEANWHILE"] = str(self.folder / "meanwhile")
        self._listener = Listener(str(self.folder / "meanwhile"))
        (profile / "plug-ins" / MEANWHILE).mkdir()
        shutil.copy(HERE / "inside_gimp_meanwhile.py", profile / "plug-ins" / MEANWHILE / f"{MEANWHILE}.py")
        (profile / "plug-ins" / MEANWHILE / f"{MEANWHILE}.py").chmod(0o700)
        if KNOWN_PLUG_INS.is_dir():
            shutil.copytree(KNOWN_PLUG_INS, profile, dirs_exist_ok=True)

    def _input(self) -> IO[str]:
        return (HERE / "inside_gimp.py").open()

    def _command(self) -> list[str]:
        return self.installation.inside(self.installation.console, *FLAGS)

    def meanwhile(self, script: str, *, timeout_s: float = SCRIPT_TIMEOUT_S, **values: Any) -> Any:
        """As run(), in a plug-in of its own, while a script of start() or the plug-in is working: as a user does.

        Args:
            script: It has Gimp and Gegl at hand. timeout_s, values: As run() has them.
        """
        if self._meanwhile is None:
            self._meanwhile = self._listener.accept()  # it has come before the first script
        self._meanwhile.send((as_function(script, values), values))
        assert self._meanwhile.poll(timeout_s), f"the script did not end within {timeout_s:g} seconds: {self.text()}"
        result, trace = self._meanwhile.recv()
        if trace:
            raise ScriptError(trace)
        return result

    def close(self) -> None:
        """End GIMP and remove its home."""
        if self._meanwhile is not None:
            self._meanwhile.close()
        self._listener.close()
        super().close()

    def plugin_process(self) -> int:
        """The plug-in's process, which is there while a procedure of it runs."""
        deadline = time.monotonic() + SCRIPT_TIMEOUT_S
        while time.monotonic() < deadline:
            for child in children_of(self.process.pid):
                if b"adain_style.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return child
            time.sleep(0.02)
        raise AssertionError("the plug-in does not run")

    def _keep(self) -> None:
        if not KNOWN_PLUG_INS.is_dir():
            KNOWN_PLUG_INS.mkdir(parents=True)
            for name in ("gimprc", "pluginrc"):
                shutil.copy(self.folder / "gimp" / name, KNOWN_PLUG_INS)
