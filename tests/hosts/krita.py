"""A real Krita 5 for the tests: found, given a private home with a fresh copy of the plug-in, and asked to run scripts.

What runs in Krita is inside_krita.py; scripts are strings, because this Python has no Krita.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from hosts.host import CLEAN_PATH, DESCRIPTION, HERE, PLUGIN, UNWANTED, USERLAND, WAIT_S, Host, Installation
from hosts.window import Screen

PROGRAM = "krita"
LIBRARIES = "import PyQt5.QtWidgets, zmq, msgpack"
DESKTOP = """[Desktop Entry]
Type=Service
ServiceTypes=Krita/PythonPlugin
X-KDE-Library={name}
X-Python-2-Compatible=false
Name={name}
Comment={name}
"""
SETTINGS = """AutoSaveInterval=0
BackupFile=false
FetchNews=false
HideSplashScreen=true
SaveSessionOnQuit=false
SessionOnStartup=0

[python]
enable_adain_style=true
enable_adain_tests=true
"""
DRIVER = "adain_tests"
RESOURCES = ("data", "krita")
"""In the home."""

Look = dict[str, Any]
"""What look() of inside_krita.py says of a layer or mask."""
_SAMPLES: dict[str, Any] = {"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}


def samples(look: Look) -> npt.NDArray[Any]:
    """A node's pixels as Krita stores them, (height, width, channels)."""
    return as_array(look["pixels"], look["bounds"], look["depth"])


def as_array(pixels: bytes, bounds: tuple[int, int, int, int], depth: str) -> npt.NDArray[Any]:
    """Pixels of a rectangle, which is left, top, width and height, as (height, width, channels)."""
    return np.frombuffer(pixels, _SAMPLES[depth]).reshape(bounds[3], bounds[2], -1)


class KritaMissing(Exception):  # noqa: N818  # a reason to skip, not an error
    """This machine has no Krita 5 that the tests could use; the message says why."""


def find_krita() -> Installation:
    """The Krita in set_up.sh's userland, where somebody wanted one, or this machine's own. Raises KritaMissing."""
    if (USERLAND / ".complete").is_file() and (USERLAND / "usr" / "bin" / PROGRAM).is_file() and os.getuid() == 0:
        return Installation(USERLAND)
    if shutil.which(PROGRAM, path=CLEAN_PATH) is None:
        raise KritaMissing("no Krita on PATH; 'make hosts' puts one there, on Debian, as root")
    probe = ["python3", "-c", LIBRARIES]
    if subprocess.run(probe, env={"PATH": CLEAN_PATH}, capture_output=True, check=False).returncode:
        raise KritaMissing("Krita's Python, /usr/bin/python3, has no PyQt5, zmq or msgpack")
    return Installation()


class Krita(Host):
    """A running Krita with its window on a screen, in a private home; close() ends it.

    Attributes:
        installation: Which Krita.
        screen: Where its window is.
    """

    name = "Krita"
    kritarc: ClassVar[str] = SETTINGS
    """Krita's settings at its start."""

    def __init__(self, installation: Installation, screen: Screen, **environment: str) -> None:
        """Start it. environment: More variables."""
        self.installation = installation
        self.screen = screen
        super().__init__(DISPLAY=screen.display, **environment)

    def _install(self) -> None:
        runtime = self.folder / "runtime"
        runtime.mkdir(mode=0o700)
        self._environment |= {"XDG_RUNTIME_DIR": str(runtime), "QT_QPA_PLATFORM": "xcb"}
        if self._known_resources().is_dir():
            shutil.copytree(self._known_resources(), self.folder.joinpath(*RESOURCES))
        plugins = self.folder.joinpath(*RESOURCES, "pykrita")
        shutil.copytree(PLUGIN, plugins / PLUGIN.name, ignore=UNWANTED)
        shutil.copy(DESCRIPTION, plugins)
        (plugins / DRIVER).mkdir()
        shutil.copy(HERE / "inside_krita.py", plugins / DRIVER / "__init__.py")
        (plugins / f"{DRIVER}.desktop").write_text(DESKTOP.format(name=DRIVER))
        (self.folder / "config").mkdir()
        (self.folder / "config" / "kritarc").write_text(self.kritarc)

    def _input(self) -> IO[str]:
        return Path(os.devnull).open()

    def _command(self) -> list[str]:
        return self.installation.inside(PROGRAM, "--nosplash")

    def _do(self, wish: list[Any]) -> None:
        """Have xdotool do words, or draw with the mouse's first button, through places of the screen."""
        if isinstance(wish[0], str):
            self.screen.do(*wish)
            return
        words = [word for x, y in wish for word in ("mousemove", str(x), str(y), "sleep", "0.02")]
        # The first place twice: Krita's brush wants to have seen the mouse before it is pressed.
        self.screen.do(
            *words[:5], "sleep", "0.1", *words[:5], "mousedown", "1", *words, "sleep", "0.05", "mouseup", "1"
        )

    def quit(self, timeout_s: float = WAIT_S) -> float:
        """Quit as a user does, with nothing to save; the seconds until the process has ended.

        Raises:
            AssertionError: It has not ended within the time.
        """
        self.run("quit_as_a_user()")
        begun = time.monotonic()
        try:
            self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"Krita did not quit within {timeout_s:g} seconds: {self.text()}") from None
        return time.monotonic() - begun

    def _keep(self) -> None:
        known = self._known_resources()
        if not known.is_dir():
            shutil.rmtree(known.with_suffix(".new"), ignore_errors=True)
            kept = shutil.ignore_patterns("pykrita")
            shutil.copytree(self.folder.joinpath(*RESOURCES), known.with_suffix(".new"), ignore=kept)
            known.with_suffix(".new").rename(known)

    def _known_resources(self) -> Path:
        """What a Krita of this kind wrote of its own brushes: the next one starts in a third of the time."""
        program = (self.installation.userland or Path("/")) / "usr" / "bin" / PROGRAM
        return USERLAND.with_name(f"known-krita-{program.stat().st_mtime_ns if program.is_file() else 0:x}")


class KritaWithout(Krita):
    """A Krita whose plug-in is switched off."""

    kritarc = SETTINGS.replace("enable_adain_style=true", "enable_adain_style=false")
