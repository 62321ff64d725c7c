"""Krita 5: finding its folders, its settings and its Python.

Only Debian's Krita 5.1.5 was tested; the places for Flatpak, Windows and macOS come from public sources and are
untested. Krita cannot be asked without a window, so its Python is asked instead if that is the system's: the one beside
Krita that Krita was built with. A Krita that brings its own Python (AppImage, Flatpak, Windows, macOS) gets libraries
for several versions.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from adain_plugin import kritarc, question
from adain_plugin.errors import FilesError, HostNotFoundError, ProgramError
from adain_plugin.hosts import Answer, Host, read_answer
from adain_plugin.machine import Machine, run

FLATPAK = "org.kde.krita"
VERSION_PROGRAM = "krita_version"
"""A program that comes with Krita and prints its version; krita --version needs a display."""
INITIAL = "__init__.py"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Krita(Host):
    """A data folder of Krita.

    Attributes:
        folder: The data folder, which holds pykrita.
        settings: The file kritarc.
        version: The program's version; empty when it is not known.
        command: The command that starts the program; empty when none was found for this folder.
        python: The Python that the program embeds, as a program; None when it is not known.
        is_flatpak: Whether the program runs inside a Flatpak.
    """

    machine: Machine
    folder: Path
    settings: Path
    version: str = ""
    command: tuple[str, ...] = ()
    python: Path | None = None
    is_flatpak: bool = False

    name = "Krita"
    menu = "Filter > AdaIN Style"
    beside = (f"{question.PLUGIN}.desktop",)

    @property
    def title(self) -> str:
        """Name and version."""
        return f"Krita {self.version}".rstrip()

    @property
    def plugins(self) -> Path:
        """The folder that holds plug-ins."""
        return self.folder / "pykrita"

    @property
    def program(self) -> str:
        """The command that starts Krita."""
        return " ".join(self.command)

    @property
    def can_be_asked(self) -> bool:
        """Always: Krita's files can be examined without its program."""
        return True

    @property
    def starts(self) -> str:
        """Krita's Python, if that is known."""
        return f"{self.python}, which {self.title} embeds," if self.python else ""

    def ask(self) -> Answer:
        """Ask its Python, if known, and check whether Krita loads the plug-in. Raises ProgramError, FilesError."""
        answer = self._ask_python() if self.python else Answer("", False, "", "", "", self.is_flatpak, {})
        return replace(answer, version=self.version, is_listed=self._is_listed())

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Set the line in kritarc; the old file is restored when the body raises. Raises FilesError."""
        before = self._read_settings()
        after = kritarc.enable(before or b"")
        if after == before:
            yield
            return
        self._write_settings(after)
        try:
            yield
        except BaseException:
            self._write_settings(before)
            raise

    def disable(self) -> None:
        """Remove the line from kritarc. Raises FilesError."""
        before = self._read_settings()
        if before is not None and (after := kritarc.disable(before)) != before:
            self._write_settings(after)

    @property
    def obstacle(self) -> str:
        """A running Krita is one: when it ends, it writes its settings as they were when it started."""
        if not self.machine.is_running("krita"):
            return ""
        return "Krita is running and writes its settings when it ends; close it, then run this command again"

    def _ask_python(self) -> Answer:
        # -B: write nothing into the plug-in's folder, which may be another user's.
        command = (str(self.python), "-B", question.__file__, question.WITHOUT_HOST, str(self.target))
        result = run(command, environment=self.machine.host_environment(), timeout_s=TIMEOUT_S)
        answer = read_answer(result.stdout)
        if answer is None:
            reason = (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1]
            raise ProgramError(f"{self.python}, the Python of {self.title}, does not answer ({reason}); repair it.")
        return answer

    def _is_listed(self) -> bool:
        is_there = (self.target / INITIAL).is_file() and all((self.plugins / name).is_file() for name in self.beside)
        return is_there and kritarc.is_enabled(self._read_settings() or b"")

    def _read_settings(self) -> bytes | None:
        try:
            return self.settings.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FilesError(f"{self.settings} cannot be read: {error.strerror or error}.") from None

    def _write_settings(self, text: bytes | None) -> None:
        """Write the file atomically, or remove it for None. Krita makes it readable only for its user."""
        path = self.settings.resolve()  # a link stays a link
        try:
            if text is None:
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, new = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text)
                if path.exists():
                    shutil.copymode(path, new)
                Path(new).replace(path)
            finally:
                Path(new).unlink(missing_ok=True)
        except OSError as error:
            raise FilesError(f"{path} cannot be changed: {error.strerror or error}.") from None


def find_kritas(machine: Machine, *, folder: Path | None = None, program: str | None = None) -> list[Krita]:
    """Find every data folder of Krita, with its program if there is one.

    Args:
        machine: The machine to search.
        folder: Use only this data folder; it may be one that Krita has not created yet. kritarc is in its usual place.
        program: Use only this program, which may be an AppImage.
    Raises:
        HostNotFoundError: There is no Krita.
    """
    kritas: dict[Path, Krita] = {}
    for path in [_named(machine, program)] if program else _executables(machine):
        # Two programs that share a folder get one installation; the first in PATH is used.
        kritas.setdefault(_native(machine).folder, _with_program(machine, path))
    flatpak = _flatpak(machine)
    if not program and machine.has_flatpak(FLATPAK):
        kritas[flatpak.folder] = replace(flatpak, version=_ask_version(machine, _flatpak_command(VERSION_PROGRAM)))
    if not program and not folder:
        for krita in (_native(machine), replace(flatpak, command=())):
            if krita.folder.is_dir():
                kritas.setdefault(krita.folder, krita)
    if folder:
        folder = folder.absolute()
        if not kritas and not folder.is_dir():
            raise HostNotFoundError(f"There is no folder {folder}; Krita opens it in Settings > Manage Resources.")
        known = kritas.get(folder) or next(iter(kritas.values()), _native(machine))
        return [replace(known, folder=folder)]
    if not kritas:
        raise HostNotFoundError(
            "Krita was not found; install it from krita.org or your system's software centre, "
            "or name its program (it may be an AppImage) with --program."
        )
    return list(kritas.values())


def _native(machine: Machine) -> Krita:
    """A Krita without a Flatpak, and without a program yet."""
    if machine.platform == "win32":
        roaming = machine.folder("APPDATA", machine.home / "AppData" / "Roaming")
        local = machine.folder("LOCALAPPDATA", machine.home / "AppData" / "Local")
        return Krita(machine, roaming / "krita", local / "kritarc")
    if machine.platform == "darwin":
        library = machine.home / "Library"
        return Krita(machine, library / "Application Support" / "krita", library / "Preferences" / "kritarc")
    data = machine.folder("XDG_DATA_HOME", machine.home / ".local" / "share")
    return Krita(machine, data / "krita", machine.folder("XDG_CONFIG_HOME", machine.home / ".config") / "kritarc")


def _flatpak(machine: Machine) -> Krita:
    base = machine.home / ".var" / "app" / FLATPAK
    command = _flatpak_command("krita")
    return Krita(machine, base / "data" / "krita", base / "config" / "kritarc", command=command, is_flatpak=True)


def _flatpak_command(program: str) -> tuple[str, ...]:
    return ("flatpak", "run", f"--command={program}", FLATPAK)


def _with_program(machine: Machine, path: Path) -> Krita:
    beside = path.resolve().with_name(VERSION_PROGRAM + path.suffix * (path.suffix == ".exe"))
    # An AppImage is a single file, whose name has the version.
    named = re.search(r"\d+\.\d+(\.\d+)*", path.name)
    version = _ask_version(machine, (str(beside),)) if beside.is_file() else named[0] if named else ""
    python = _embedded_python(path.resolve()) if machine.platform == "linux" else None
    return replace(_native(machine), version=version, command=(str(path),), python=python)


def _ask_version(machine: Machine, command: tuple[str, ...]) -> str:
    version = None
    with suppress(ProgramError):
        output = run(command, environment=machine.host_environment(), timeout_s=TIMEOUT_S).stdout
        version = re.search(r"\d+\.\d+(\.\d+)*", output)
    return version[0] if version else ""


def _embedded_python(program: Path) -> Path | None:
    """The system's Python that a Krita embeds: the one beside it of the version that Krita's own plug-in is linked to.

    A Python elsewhere may be of the same version and yet lack libraries that Krita's has.
    """
    prefix = program.parent.parent
    for pattern in ("lib*/kritaplugins/kritapykrita.so", "lib/*/kritaplugins/kritapykrita.so"):
        for plugin in sorted(prefix.glob(pattern)):
            linked = re.search(rb"libpython(3\.\d+)", plugin.read_bytes())
            python = program.with_name(f"python{linked[1].decode()}") if linked else None
            if python and os.access(python, os.X_OK):
                return python
    return None


def _named(machine: Machine, program: str) -> Path:
    places = [folder / program for folder in machine.path()] if program == Path(program).name else []
    for path in (Path(program).absolute(), *places):
        if path.is_file():
            if "krita" not in path.name.lower():
                raise HostNotFoundError(f"{program} is not Krita; name Krita's program, which has krita in its name.")
            return path
    raise HostNotFoundError(f"There is no program {program}; name Krita's program.")


def _executables(machine: Machine) -> Iterator[Path]:
    for folder in _program_folders(machine):
        path = folder / ("krita.exe" if machine.platform == "win32" else "krita")
        # Snap's krita is a link to snap itself, and uses other folders.
        if os.access(path, os.X_OK) and path.is_file() and path.resolve().name.startswith("krita"):
            yield path


def _program_folders(machine: Machine) -> list[Path]:
    if machine.platform == "win32":
        programs = machine.folder("PROGRAMFILES", Path("C:/Program Files"))
        return sorted(programs.glob("Krita*/bin"), reverse=True)
    if machine.platform == "darwin":
        bases = (machine.home / "Applications", Path("/Applications"))
        return [folder for base in bases for folder in sorted(base.glob("[Kk]rita*.app/Contents/MacOS"))]
    return machine.path()
