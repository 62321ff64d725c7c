"""The machine on which hosts are looked for, as a value, so that tests can construct any other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adain_plugin.errors import ProgramError

PYTHON_ROOTS = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT")
FOREIGN_VARIABLES = (*PYTHON_ROOTS, "PYTHONHOME", "PYTHONPATH")


@dataclass(frozen=True)
class Machine:
    """The properties of a machine that finding a host depends on.

    Attributes:
        platform: As in sys.platform: "linux", "win32", "darwin".
        environment: The environment variables.
        home: The user's home folder.
        processes: The folder in which Linux lists the running processes.
    """

    platform: str
    environment: Mapping[str, str]
    home: Path
    processes: Path = Path("/proc")

    @classmethod
    def here(cls) -> Machine:
        """The machine that this runs on. Raises ProgramError when this user's home folder is not known."""
        environment = dict(os.environ)
        if sys.prefix != sys.base_prefix:
            environment["VIRTUAL_ENV"] = sys.prefix  # even if it was not activated
        try:
            return cls(sys.platform, environment, Path.home())
        except RuntimeError:
            raise ProgramError("Your user has no home folder on this machine; set HOME to one.") from None

    def folder(self, variable: str, default: Path) -> Path:
        """The folder that a variable names, or the default; a relative path is ignored."""
        named = Path(self.environment.get(variable, ""))
        return named if named.is_absolute() else default

    def path(self) -> list[Path]:
        """The folders of PATH."""
        return [Path(folder) for folder in self.environment.get("PATH", "").split(self._separator) if folder]

    def has_flatpak(self, application: str) -> bool:
        """Whether a Flatpak is installed, for this user or for all users."""
        bases = (self.folder("XDG_DATA_HOME", self.home / ".local" / "share"), Path("/var/lib"))
        return self.platform == "linux" and any((base / "flatpak" / "app" / application).is_dir() for base in bases)

    def is_running(self, name: str) -> bool:
        """Whether a process of this user has that name. Always False on systems other than Linux."""
        if self.platform != "linux":
            return False
        for file in self.processes.glob("[0-9]*/comm"):
            with suppress(OSError):  # the process has just ended
                # A long name is cut after 15 bytes, maybe within a character.
                if file.stat().st_uid == os.getuid() and file.read_bytes().strip() == name.encode():
                    return True
        return False

    def host_environment(self) -> dict[str, str]:
        """The variables for a host, as if started from the desktop and not from a terminal with a Python of its own.

        The first python3 in PATH runs GIMP's Python plug-ins, and only the system's has GIMP's libraries.
        """
        roots = [Path(self.environment[name]) for name in PYTHON_ROOTS if name in self.environment]
        roots.append(self.home / ".pyenv")
        kept = [folder for folder in self.path() if not any(folder.is_relative_to(root) for root in roots)]
        rest = {name: value for name, value in self.environment.items() if name not in FOREIGN_VARIABLES}
        return {**rest, "PATH": self._separator.join(map(str, kept))}

    @property
    def _separator(self) -> str:
        return ";" if self.platform == "win32" else ":"


def run(
    command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Args:
        command: The program and its arguments.
        environment: All its variables.
        timeout_s: How long it may take.
        text: Its standard input.
    Raises:
        ProgramError: It cannot be started, or takes longer.
    """
    try:
        return subprocess.run(
            command,
            input=text,
            env=environment,
            timeout=timeout_s,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ProgramError(f"{command[0]} cannot be started: {error.strerror or error}.") from None
    except subprocess.TimeoutExpired:
        raise ProgramError(f"{command[0]} did not answer within {timeout_s:g} seconds; try again.") from None
