"""Windows on a screen that nobody sees, a real GIMP's among them: keys, clicks, screenshots."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

from PIL import Image, ImageGrab

from hosts.gimp import Gimp, Installation
from hosts.host import WAIT_S as WAIT_S

SCREEN = (1400, 1000)
PROGRAMS = ("Xvfb", "openbox", "xdotool", "xwininfo")
BATCH = ("--no-data", "--no-splash", "--batch-interpreter=python-fu-eval", "--batch=-")
PLACE = ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height")
"""As xwininfo says it; xdotool counts a window's frame twice."""
SETTLE_S = 0.4
"""What a window needs to draw what has changed."""


class Screen:
    """An X server of the tests' own with a window manager; close() ends both."""

    def __init__(self, folder: Path) -> None:
        """folder: For what the two print."""
        reading, writing = os.pipe()
        with (folder / "screen.txt").open("w") as log:
            size = f"{SCREEN[0]}x{SCREEN[1]}x24"
            # The server takes a free number and writes it when it is ready.
            self._server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp"],
                pass_fds=[writing],
                stdout=log,
                stderr=log,
            )
            os.close(writing)
            with os.fdopen(reading) as number:
                self.display = f":{number.readline().strip()}"
            self._environment = {**os.environ, "DISPLAY": self.display}
            self._manager = subprocess.Popen(["openbox"], env=self._environment, stdout=log, stderr=log)

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._manager, self._server):
            process.terminate()
            process.wait(timeout=15)

    def do(self, *words: str) -> str:
        """Have xdotool do something; what it prints."""
        ran = subprocess.run(
            ["xdotool", *words], env=self._environment, capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        return ran.stdout

    def window(self, title: str, *, timeout_s: float = WAIT_S) -> str:
        """The number of the window whose title matches an expression, in front; waits for it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := self.do("search", "--onlyvisible", "--name", title).split():
                self.do("windowactivate", "--sync", found[-1])
                time.sleep(SETTLE_S)
                return found[-1]
            time.sleep(0.1)
        raise AssertionError(f"there is no window {title}")

    def has_window(self, title: str) -> bool:
        """Whether such a window is open."""
        return bool(self.do("search", "--onlyvisible", "--name", title).split())

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, as xdotool names them."""
        for key in keys:
            self.do("key", "--clearmodifiers", key)
            time.sleep(0.05)
        time.sleep(SETTLE_S)

    def click(self, window: str, x: int, y: int) -> None:
        """Click at a place of a window."""
        self.do("mousemove", "--window", window, str(x), str(y), "click", "1")
        time.sleep(SETTLE_S)

    def picture(self, window: str | None = None) -> Image.Image:
        """A screenshot, of the whole screen or of one window."""
        whole = ImageGrab.grab(xdisplay=self.display)
        if window is None:
            return whole
        ran = subprocess.run(
            ["xwininfo", "-id", window], env=self._environment, capture_output=True, text=True, check=True
        )
        left, top, width, height = (_number(f"{name}: +(-?[0-9]+)", ran.stdout) for name in PLACE)
        return whole.crop((left, top, left + width, top + height))


class WindowedGimp(Gimp):
    """A GIMP with windows."""

    def __init__(self, installation: Installation, screen: Screen, **environment: str) -> None:
        """Start it on a screen. environment: More variables."""
        self.screen = screen
        super().__init__(installation, DISPLAY=screen.display, **environment)

    def _command(self) -> list[str]:
        return self.installation.inside(self.installation.console.replace("-console", ""), *BATCH)


def missing_programs() -> list[str]:
    """What this machine lacks of what windows need."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found is not None, text
    return int(found[1])
