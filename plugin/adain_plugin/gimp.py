"""GIMP 3: finding its user folders and programs, and asking it about the plug-in.

The user folders are those of gimp_directory() in GIMP's libgimpbase/gimpenv.c. Only Debian's GIMP 3.0.4 was tested;
the places for Flatpak, Windows and macOS come from public sources and are untested.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adain_plugin import question
from adain_plugin.errors import HostNotFoundError, ProgramError
from adain_plugin.hosts import Answer, Host, read_answer
from adain_plugin.machine import Machine, run

FOLDER_VARIABLE = "GIMP3_DIRECTORY"
CONSOLE_NAME = re.compile(r"gimp-console(-\d+(\.\d+)?)?(\.exe)?")
PROGRAM_NAME = re.compile(r"gimp(-\d+(\.\d+)?)?(\.exe)?")
FLATPAK = "org.gimp.GIMP"
BATCH = ("-i", "-d", "-f", "--quit", "--batch-interpreter=python-fu-eval", "-b", "-")
"""Options for no window, no brushes and no fonts, to run standard input as Python and then quit."""
VERSION_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 300.0
"""Long, because GIMP queries all its plug-ins on its first start."""


@dataclass(frozen=True)
class Gimp(Host):
    """A user folder of GIMP 3.

    Attributes:
        folder: The user folder, which holds plug-ins.
        version: The program's version, or the one in the folder's name.
        command: The command that starts the program; empty when none was found for this folder.
        is_named: Whether the user chose the folder, so that it has to be passed to the program.
    """

    machine: Machine
    folder: Path
    version: str
    command: tuple[str, ...] = ()
    is_named: bool = False

    name = "GIMP"
    menu = "Filters > AdaIN Style"

    @property
    def title(self) -> str:
        """Name and version."""
        return f"GIMP {self.version}"

    @property
    def plugins(self) -> Path:
        """The folder that holds plug-ins."""
        return self.folder / "plug-ins"

    @property
    def program(self) -> str:
        """The command that starts GIMP."""
        return " ".join(self.command)

    @property
    def starts(self) -> str:
        """GIMP itself, which takes seconds."""
        return f"{self.title} without a window"

    def ask(self) -> Answer:
        """Start GIMP and ask it. Raises ProgramError."""
        environment = self.machine.host_environment()
        if self.is_named:
            environment[FOLDER_VARIABLE] = str(self.folder)
        text = Path(question.__file__).read_text(encoding="utf-8")
        result = run((*self.command, *BATCH), environment=environment, timeout_s=ANSWER_TIMEOUT_S, text=text)
        answer = read_answer(result.stdout)
        if answer is None:
            raise ProgramError(
                f"{self.title} ({self.program}) runs no Python plug-ins; "
                "check that Filters > Development > Python-Fu is in its menus."
            )
        return answer


def find_gimps(machine: Machine, *, folder: Path | None = None, program: str | None = None) -> list[Gimp]:
    """Find every user folder of GIMP 3, with its program if there is one.

    Args:
        machine: The machine to search.
        folder: Use only this user folder; it may be one that GIMP has not created yet.
        program: Use only this program.
    Raises:
        HostNotFoundError: There is no GIMP 3. ProgramError: The program does not report a version.
    """
    programs = [_ask_version(machine, (program,))] if program else list(_programs(machine))
    threes = [found for found in programs if found.version.startswith("3.")]
    if program and not threes:
        raise HostNotFoundError(f"{program} is GIMP {programs[0].version}; the plug-in needs GIMP 3.")
    folder = folder or _folder_of_variable(machine)
    gimps = [_gimp_of_folder(machine, folder, threes)] if folder else _gimps_of_programs(machine, threes)
    if not folder and not program:
        known = {gimp.folder for gimp in gimps}
        gimps += [Gimp(machine, found, found.name) for found in _user_folders(machine) if found not in known]
    if not gimps:
        raise HostNotFoundError(_nothing_found(programs))
    return gimps


@dataclass(frozen=True)
class _Program:
    command: tuple[str, ...]
    version: str

    @property
    def series(self) -> str:
        """The name that GIMP gives its user folder, like "3.0"."""
        return ".".join(self.version.split(".")[:2])


def _gimp_of_folder(machine: Machine, folder: Path, programs: list[_Program]) -> Gimp:
    folder = folder.absolute()
    suited = [program for program in programs if program.series == folder.name] or programs
    if suited:
        return Gimp(machine, folder, suited[0].version, suited[0].command, is_named=True)
    if folder.is_dir():
        return Gimp(machine, folder, "3", is_named=True)
    raise HostNotFoundError(f"There is no folder {folder}; GIMP names it in Edit > Preferences > Folders.")


def _gimps_of_programs(machine: Machine, programs: list[_Program]) -> list[Gimp]:
    gimps: dict[Path, Gimp] = {}
    for program in programs:
        is_flatpak = program.command == _flatpak_command()
        # Flathub's GIMP may use the folder of a GIMP without Flatpak, unless the user revoked that permission.
        private = _flatpak_settings(machine) / program.series
        folder = private if is_flatpak and private.is_dir() else _settings(machine) / program.series
        # Two programs that share a folder get one installation; the first in PATH is used.
        gimps.setdefault(folder, Gimp(machine, folder, program.version, program.command))
    return list(gimps.values())


def _folder_of_variable(machine: Machine) -> Path | None:
    named = machine.environment.get(FOLDER_VARIABLE)
    return machine.home / named if named else None  # GIMP also resolves a relative path from the home folder


def _user_folders(machine: Machine) -> list[Path]:
    settings = (_settings(machine), _flatpak_settings(machine))
    return [folder for base in settings for folder in sorted(base.glob("3.*")) if folder.is_dir()]


def _settings(machine: Machine) -> Path:
    if machine.platform == "win32":
        return machine.folder("APPDATA", machine.home / "AppData" / "Roaming") / "GIMP"
    if machine.platform == "darwin":
        return machine.home / "Library" / "Application Support" / "GIMP"
    return machine.folder("XDG_CONFIG_HOME", machine.home / ".config") / "GIMP"


def _flatpak_settings(machine: Machine) -> Path:
    return machine.home / ".var" / "app" / FLATPAK / "config" / "GIMP"


def _programs(machine: Machine) -> Iterator[_Program]:
    commands: list[tuple[str, ...]] = [(str(path),) for path in _executables(machine)]
    if machine.has_flatpak(FLATPAK):
        commands.append(_flatpak_command())
    for command in commands:
        with suppress(ProgramError):  # a broken program is as good as none
            yield _ask_version(machine, command)


def _executables(machine: Machine) -> Iterator[Path]:
    seen = set()
    for folder in _program_folders(machine):
        found = [path for path in sorted(folder.glob("gimp*")) if path.is_file() and os.access(path, os.X_OK)]
        consoles = [path for path in found if CONSOLE_NAME.fullmatch(path.name)]
        for path in consoles or [path for path in found if PROGRAM_NAME.fullmatch(path.name)]:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _program_folders(machine: Machine) -> list[Path]:
    if machine.platform == "win32":
        bases = (
            machine.folder("PROGRAMFILES", Path("C:/Program Files")),
            machine.folder("LOCALAPPDATA", machine.home / "AppData" / "Local") / "Programs",
        )
        return [folder for base in bases for folder in sorted(base.glob("GIMP*/bin"), reverse=True)]
    if machine.platform == "darwin":
        bases = (machine.home / "Applications", Path("/Applications"))
        return [folder for base in bases for folder in sorted(base.glob("GIMP*.app/Contents/MacOS"))]
    return machine.path()


def _flatpak_command() -> tuple[str, ...]:
    return ("flatpak", "run", "--command=gimp-console", FLATPAK)


def _ask_version(machine: Machine, command: tuple[str, ...]) -> _Program:
    environment = machine.host_environment()
    output = run((*command, "--version"), environment=environment, timeout_s=VERSION_TIMEOUT_S).stdout
    version = re.search(r"\d+\.\d+\.\d+", output)  # the words around it are in the user's language
    if version is None:
        raise ProgramError(f"{' '.join(command)} does not say which version of GIMP it is.")
    return _Program(command, version[0])


def _nothing_found(programs: list[_Program]) -> str:
    how = "name its program with --program if it is installed in an unusual place"
    if programs:
        return f"Only GIMP {programs[0].version} was found; install GIMP 3, or {how}."
    return f"GIMP 3 was not found; install it from gimp.org or your system's software centre, or {how}."
