"""adain-plugin finds Krita, puts the plug-in in, lets Krita load it, takes all of that back; and writes Krita's zip.

Krita and its Python are small programs here, and so is pip where libraries are for several Pythons.
"""

from __future__ import annotations

import builtins
import importlib.util
import json
import platform
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest

from adain_plugin import archive, install, kritarc, vendor
from adain_plugin.cli import main
from adain_plugin.errors import FilesError, ForeignFolderError, HostNotFoundError, LibrariesError, ProgramError
from adain_plugin.krita import Krita, find_kritas
from adain_plugin.machine import Machine
from adain_style.client.version import VERSION
from adain_style.host import libraries

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the Krita of these tests is a script")

LINE = b"[python]\nenable_adain_style=true\n"
PYTHON = """#!{python}
import importlib.machinery, runpy, sys
from pathlib import Path

calls = Path(__file__).with_name("calls")
calls.write_text(calls.read_text() + "." if calls.exists() else ".")
if len(calls.read_text()) in {failing}:
    sys.exit("broken")

class Lacking:
    def find_spec(name, path, target=None):
        if name in {lacking}:
            beside = [folder for folder in sys.path if "vendor" in folder]
            found = importlib.machinery.PathFinder.find_spec(name, beside)
            if found is None:
                raise ModuleNotFoundError(name)
            return found

sys.meta_path.insert(0, Lacking)
sys.dont_write_bytecode = sys.argv[1] == "-B"
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
IMPORTER = Path("/usr/share/krita/pykrita/plugin_importer/plugin_importer.py")


class Desk:
    """A made-up machine with an empty home folder."""

    def __init__(self, root: Path, platform: str = "linux") -> None:
        self.home = root / "home"
        self.home.mkdir()
        self.prefix = root / "usr"
        self.variables = {"PATH": str(self.prefix / "bin"), "HOME": str(self.home)}
        self.platform = platform
        self.processes = root / "proc"
        self.data = self.home / ".local" / "share" / "krita"
        self.target = self.data / "pykrita" / "adain_style"
        self.desktop = self.data / "pykrita" / "adain_style.desktop"
        self.settings = self.home / ".config" / "kritarc"

    @property
    def machine(self) -> Machine:
        """As the code sees it."""
        return Machine(self.platform, self.variables, self.home, self.processes)

    def add_krita(self, *, lacking: tuple[str, ...] = (), failing: tuple[int, ...] = ()) -> Path:
        """Write a Krita of this system, or another one in its place.

        Args:
            lacking: The libraries that its Python has not.
            failing: Which calls of its Python fail, counted from 1.
        """
        krita = _program(self.prefix / "bin" / "krita", "#!/bin/sh\nexit 134\n")
        _program(krita.with_name("krita_version"), "#!/bin/sh\necho 5.1.5\n")
        _program(krita.with_name("python3.11"), PYTHON.format(python=sys.executable, lacking=lacking, failing=failing))
        krita.with_name("calls").unlink(missing_ok=True)
        plugin = self.prefix / "lib" / "x86_64-linux-gnu" / "kritaplugins" / "kritapykrita.so"
        plugin.parent.mkdir(parents=True, exist_ok=True)
        plugin.write_bytes(b"\x7fELF\0libc.so.6\0libpython3.11.so.1.0\0\xff")
        return krita

    def add_appimage(self) -> Path:
        """Write a Krita that brings its own Python."""
        return _program(self.home / "Downloads" / "krita-5.2.9-x86_64.appimage", "")

    def krita(self, **options: Path | str) -> Krita:
        """The only Krita that is found."""
        (krita,) = find_kritas(self.machine, **options)  # type: ignore[arg-type]
        return krita

    def install(self, **options: Path | str) -> str:
        """Put the plug-in in; returns what is said."""
        said: list[str] = []
        install.install(self.krita(**options), said.append)
        return "\n".join(said)

    def uninstall(self) -> str:
        """Take it out; returns what is said."""
        said: list[str] = []
        install.uninstall(self.krita(), said.append)
        return "\n".join(said)

    def status(self, **options: Path | str) -> str:
        """What is said about it."""
        said: list[str] = []
        install.status(self.krita(**options), said.append)
        return "\n".join(said)


class Pip:
    """Makes the files of a download, except for some Pythons."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.calls: list[list[str]] = []

    def run(self, command: Sequence[str], **_options: object) -> subprocess.CompletedProcess[str]:
        """As machine.run() does it."""
        self.calls.append(list(command))
        target = Path(command[command.index("--target") + 1])
        if target.name in self.refused or "all" in self.refused:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found for pyzmq\n")
        for name in (
            "zmq/__init__.py",
            "zmq/_zmq.pyd",
            "zmq/backend/cffi/context.py",
            "zmq/backend/cython/_zmq.pxd",
            "zmq/tests/__init__.py",
            "zmq/utils/pyversion_compat.h",
            "msgpack/__init__.py",
            "pyzmq-99.dist-info/RECORD",
            "pyzmq-99.dist-info/licenses/LICENSE.md",
        ):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).touch()
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty Linux machine."""
    return Desk(tmp_path)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Instead of a download."""
    pip = Pip()
    monkeypatch.setattr(vendor, "run", pip.run)
    return pip


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def _plugin(folder: Path) -> Path:
    (folder / "client").mkdir(parents=True)
    (folder / "adain_style.py").write_text("old", encoding="utf-8")
    return folder


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


ENABLED = [
    (b"", LINE),
    (b"[python]\nenable_other=true\n", b"[python]\nenable_adain_style=true\nenable_other=true\n"),
    (b"[a]\nb=c\n", b"[a]\nb=c\n\n" + LINE),
    (b"[a]\r\nb=\xff\r\n", b"[a]\r\nb=\xff\r\n\r\n[python]\r\nenable_adain_style=true\r\n"),
    (b"[a]\nb=c", b"[a]\nb=c\n\n" + LINE),
    (b"[python]", LINE),
    (b"[python]\nenable_adain_style=false\n\n[z]\n", LINE + b"\n[z]\n"),
    (b"[python]\r\nenable_adain_style=false\r\nz=1", b"[python]\r\nenable_adain_style=true\r\nz=1\r\n"),
    (b"[other]\nenable_adain_style=true\n", b"[other]\nenable_adain_style=true\n\n" + LINE),
    (b"[python][sub]\nenable_adain_style=true\n", b"[python][sub]\nenable_adain_style=true\n\n" + LINE),
    (b"[python]\nenable_adain_style=1\nx", b"[python]\nenable_adain_style=1\nx"),
    (LINE + b"[b]\n[python]\nenable_adain_style=no\n", LINE + b"[b]\n" + LINE),
]


@pytest.mark.parametrize(("before", "after"), ENABLED)
def test_line_is_set_and_every_other_byte_stays(before: bytes, after: bytes) -> None:
    """No group, no file, another value, Windows' line ends, no last line end; what is right already stays as it is."""
    assert kritarc.enable(before) == after
    assert kritarc.is_enabled(after)
    assert kritarc.enable(after) == after
    assert not kritarc.is_enabled(kritarc.disable(after))


def test_line_is_taken_out_and_every_other_byte_stays() -> None:
    """Also when it is there twice; a line of that name in another group is not ours."""
    other = b"[a]\r\nb=\xff\n\n[x]\nenable_adain_style=true\n[python]\n"
    assert kritarc.disable(other) == other
    assert kritarc.disable(other + b"enable_adain_style=true\nenable_adain_style=false\nc=d") == other + b"c=d"


FOLDERS = [
    ("linux", {}, ".local/share/krita", ".config/kritarc"),
    ("linux", {"XDG_DATA_HOME": "HOME/data", "XDG_CONFIG_HOME": "HOME/settings"}, "data/krita", "settings/kritarc"),
    ("linux", {}, ".var/app/org.kde.krita/data/krita", ".var/app/org.kde.krita/config/kritarc"),
    ("win32", {}, "AppData/Roaming/krita", "AppData/Local/kritarc"),
    ("win32", {"APPDATA": "HOME/R", "LOCALAPPDATA": "HOME/L"}, "R/krita", "L/kritarc"),
    ("darwin", {}, "Library/Application Support/krita", "Library/Preferences/kritarc"),
]


@pytest.mark.parametrize(("platform", "variables", "folder", "settings"), FOLDERS)
def test_data_folder_and_settings_are_found(
    tmp_path: Path, platform: str, variables: dict[str, str], folder: str, settings: str
) -> None:
    """Each platform's places, also when there is no program."""
    desk = Desk(tmp_path, platform)
    desk.variables.update({name: value.replace("HOME", str(desk.home)) for name, value in variables.items()})
    (desk.home / folder).mkdir(parents=True)
    krita = desk.krita()
    assert (krita.plugins, krita.settings) == (desk.home / folder / "pykrita", desk.home / settings)
    assert not krita.program and krita.python is None


PROGRAMS = [
    ("win32", "Program Files/Krita (x64)/bin/krita.exe", "AppData/Roaming/krita"),
    ("darwin", "Applications/krita.app/Contents/MacOS/krita", "Library/Application Support/krita"),
]


@pytest.mark.parametrize(("platform", "program", "folder"), PROGRAMS)
def test_program_that_was_never_started_is_found(tmp_path: Path, platform: str, program: str, folder: str) -> None:
    """Its version comes from the program beside it; its Python is not known."""
    desk = Desk(tmp_path, platform)
    desk.variables["PROGRAMFILES"] = str(desk.home / "Program Files")
    path = _program(desk.home / program, "")
    _program(path.with_name("krita_version" + path.suffix), "#!/bin/sh\necho 5.2.9\n")
    krita = desk.krita()
    assert (krita.title, krita.program, krita.folder) == ("Krita 5.2.9", str(path), desk.home / folder)
    assert krita.python is None


def test_python_is_the_one_beside_krita_that_it_is_linked_to(desk: Desk, tmp_path: Path) -> None:
    """Without that, as where Krita brings its own, it is not known, whatever else is in PATH."""
    program = desk.add_krita()
    assert (desk.krita().title, desk.krita().python) == ("Krita 5.1.5", program.with_name("python3.11"))
    link = tmp_path / "bin" / "krita"
    link.parent.mkdir()
    link.symlink_to(program)
    desk.variables["PATH"] = f"{link.parent}:{program.parent}"
    assert (desk.krita().program, desk.krita().python) == (str(link), program.with_name("python3.11"))
    program.with_name("python3.11").unlink()
    assert desk.krita().python is None


def test_flatpak_has_its_own_folders(desk: Desk) -> None:
    """It is another Krita than the system's, its Python is unknown, and the server is started outside."""
    (desk.home / ".local/share/flatpak/app/org.kde.krita").mkdir(parents=True)
    _program(desk.prefix / "bin" / "flatpak", "#!/bin/sh\necho 5.2.9\n")
    krita = desk.krita()
    assert (krita.title, krita.program) == ("Krita 5.2.9", "flatpak run --command=krita org.kde.krita")
    assert krita.folder == desk.home / ".var/app/org.kde.krita/data/krita"
    assert install.server_command(krita.ask())[:2] == ["flatpak-spawn", "--host"]
    desk.add_krita()
    assert [found.title for found in find_kritas(desk.machine)] == ["Krita 5.1.5", "Krita 5.2.9"]


def test_named_folder_and_program_come_before_what_is_found(desk: Desk, tmp_path: Path) -> None:
    """An AppImage says its version in its name; --folder is taken as it is, also one that Krita would make."""
    desk.add_krita()
    krita = desk.krita(program=str(desk.add_appimage()))
    assert (krita.title, krita.folder, krita.python) == ("Krita 5.2.9", desk.data, None)
    assert desk.krita(program="krita").version == "5.1.5"
    krita = desk.krita(folder=tmp_path / "mine")
    assert (krita.plugins, krita.settings) == (tmp_path / "mine" / "pykrita", desk.settings)
    assert krita.version == "5.1.5"


def test_missing_krita_is_a_sentence(desk: Desk) -> None:
    """It says what to do: nothing there, only Snap's, a named program or folder that will not do."""
    snap = _program(desk.prefix / "bin" / "snap", "")
    snap.with_name("krita").symlink_to(snap)
    with pytest.raises(HostNotFoundError, match=r"Krita was not found; install it .* --program"):
        desk.krita()
    with pytest.raises(HostNotFoundError, match="There is no program"):
        desk.krita(program=str(desk.home / "krita"))
    with pytest.raises(HostNotFoundError, match="is not Krita"):
        desk.krita(program=str(snap))
    with pytest.raises(HostNotFoundError, match="There is no folder"):
        desk.krita(folder=desk.home / "nowhere")


def test_install_puts_the_whole_plugin_in_and_enables_it(desk: Desk) -> None:
    """The folder, the desktop file and the line; the settings keep their other bytes, their mode and being a link."""
    desk.add_krita()
    real = desk.home / "dotfiles" / "kritarc"
    real.parent.mkdir()
    real.write_bytes(b"[a]\r\nb=\xff\r\n")
    real.chmod(0o640)
    desk.settings.parent.mkdir()
    desk.settings.symlink_to(real)
    said = desk.install()
    assert _names(desk.target.parent) == ["adain_style", "adain_style.desktop"]
    assert (desk.target / "client" / "protocol.py").is_file()
    assert json.loads((desk.target / "server.json").read_text())["command"] == [sys.executable, "-m", "adain_server"]
    assert not (desk.target / "vendor").exists()
    assert not list(desk.target.rglob("__pycache__"))
    assert desk.settings.is_symlink() and _names(real.parent) == ["kritarc"]
    assert real.read_bytes() == b"[a]\r\nb=\xff\r\n\r\n[python]\r\nenable_adain_style=true\r\n"
    assert real.stat().st_mode & 0o777 == 0o640
    assert "Filter > AdaIN Style (restart Krita" in said and "is running" not in said


def test_settings_that_krita_has_not_written_yet_are_made(desk: Desk) -> None:
    """For the user only, as Krita makes them."""
    desk.add_krita()
    desk.install()
    assert desk.settings.read_bytes() == LINE
    assert desk.settings.stat().st_mode & 0o777 == 0o600


def test_uninstall_removes_folder_file_and_line(desk: Desk) -> None:
    """Other plug-ins and settings stay; a line that the folder has left behind goes, too."""
    desk.add_krita()
    desk.settings.parent.mkdir()
    desk.settings.write_bytes(b"[python]\nenable_other=true\n")
    desk.install()
    (desk.target.parent / "other").mkdir()
    assert "was removed" in desk.uninstall()
    assert _names(desk.target.parent) == ["other"]
    assert desk.settings.read_bytes() == b"[python]\nenable_other=true\n"
    desk.settings.write_bytes(LINE)
    assert "is not in" in desk.uninstall()
    assert desk.settings.read_bytes() == b"[python]\n"


@pytest.mark.parametrize("settings", [None, b"[a]\nb=c\n"])
@pytest.mark.parametrize("was_there", [True, False])
def test_failed_install_puts_everything_back(desk: Desk, settings: bytes | None, was_there: bool) -> None:
    """When Krita's Python fails with the new plug-in, folder, desktop file and settings are as they were."""
    desk.add_krita(failing=(2,))
    if was_there:
        _plugin(desk.target)
        desk.desktop.write_text("old", encoding="utf-8")
    if settings is not None:
        desk.settings.parent.mkdir()
        desk.settings.write_bytes(settings)
    with pytest.raises(ProgramError, match="does not answer"):
        desk.install()
    assert _names(desk.target.parent) == ["adain_style", "adain_style.desktop"] * was_there
    if was_there:
        assert (desk.target / "adain_style.py").read_text(encoding="utf-8") == "old"
        assert desk.desktop.read_text(encoding="utf-8") == "old"
    assert (desk.settings.read_bytes() if desk.settings.exists() else None) == settings


def test_settings_that_cannot_be_changed_are_a_sentence(desk: Desk) -> None:
    """Then the plug-in is not put in, either."""
    desk.add_krita()
    desk.settings.mkdir(parents=True)
    with pytest.raises(FilesError, match="kritarc cannot be read: "):
        desk.install()
    assert not _names(desk.target.parent)


def test_foreign_folder_is_left_alone(desk: Desk) -> None:
    """Neither replaced nor removed, and the settings are not touched."""
    desk.add_krita()
    desk.target.mkdir(parents=True)
    (desk.target / "__init__.py").touch()
    with pytest.raises(ForeignFolderError, match="move it away"):
        desk.install()
    with pytest.raises(ForeignFolderError):
        desk.uninstall()
    assert _names(desk.target) == ["__init__.py"]
    assert not desk.settings.exists()
    assert "something else is in its place" in desk.status()


def test_running_krita_has_to_be_closed(desk: Desk) -> None:
    """It would write its old settings over the new ones; other programs do not matter."""
    desk.add_krita()
    for number, name in (("7", "krita"), ("8", "kritarunner")):
        (desk.processes / number).mkdir(parents=True)
        (desk.processes / number / "comm").write_text(f"{name}\n", encoding="utf-8")
    assert "Krita is running" in desk.install()
    assert "Krita is running" in desk.uninstall()
    (desk.processes / "7" / "comm").unlink()
    assert "Krita is running" not in desk.install()


def test_libraries_that_a_known_python_lacks_are_put_beside_the_plugin(desk: Desk, pip: Pip) -> None:
    """Both are looked up and downloaded for that Python only, and found there."""
    desk.add_krita(lacking=("zmq", "msgpack"))
    assert "Downloading zmq and msgpack for Python 3." in desk.install()
    assert len(pip.calls) == 1
    assert (desk.target / "vendor" / "zmq" / "__init__.py").is_file()
    assert "zmq found beside the plug-in, msgpack found beside the plug-in" in desk.status()


def test_libraries_in_a_folder_with_a_tag_are_found(desk: Desk, pip: Pip) -> None:
    """Krita's Python is asked as the plug-in looks for them itself; so no download is needed after a zip's import."""
    desk.add_krita()
    desk.install()
    desk.add_krita(lacking=("zmq",))
    beside = desk.target / "vendor" / libraries.tag() / "zmq"
    beside.mkdir(parents=True)
    (beside / "__init__.py").touch()
    assert "zmq found beside the plug-in, msgpack found" in desk.status()
    desk.install()
    assert "zmq found beside the plug-in, msgpack found" in desk.status()
    assert not pip.calls


def test_unknown_python_gets_libraries_for_several(desk: Desk, pip: Pip) -> None:
    """For this system only; what cannot be had is said, and the next installation gets just that."""
    program = str(desk.add_appimage())
    pip.refused = {"linux-x86_64-313"}
    said = desk.install(program=program)
    there = ["linux-x86_64-310", "linux-x86_64-311", "linux-x86_64-312"]
    assert _names(desk.target / "vendor") == there
    assert "none for linux-x86_64-313: No matching distribution" in said
    assert f"its Python is not known; libraries beside the plug-in: {', '.join(there)}" in said
    assert "menu entry: Filter > AdaIN Style" in desk.status(program=program)
    pip.refused, pip.calls = set(), []
    desk.install(program=program)
    assert len(pip.calls) == 1 and "--python-version=3.13" in pip.calls[0]
    assert _names(desk.target / "vendor") == [*there, "linux-x86_64-313"]
    pip.refused = {"all"}
    desk.install(program=program)
    assert _names(desk.target / "vendor") == [*there, "linux-x86_64-313"]


def test_unknown_python_without_a_network_is_a_sentence(desk: Desk, pip: Pip) -> None:
    """The plug-in stays in its place, because in Krita it says the same."""
    program = str(desk.add_appimage())
    pip.refused = {"all"}
    with pytest.raises(LibrariesError, match=r"zmq and msgpack cannot be downloaded .* connect to the internet"):
        desk.install(program=program)
    assert install.is_plugin(desk.target) and desk.settings.read_bytes() == LINE
    assert "libraries beside the plug-in: none" in desk.status(program=program)


def test_status_says_what_is_there(desk: Desk) -> None:
    """Not installed, up to date, switched off in Krita, changed."""
    program = desk.add_krita()
    assert desk.status().splitlines() == [
        "Krita 5.1.5",
        f"  program: {program}",
        f"  plug-in: not in {desk.target.parent}",
    ]
    desk.install()
    assert f"plug-in: {desk.target}, up to date" in desk.status()
    assert "its Python 3." in desk.status() and "menu entry: Filter > AdaIN Style" in desk.status()
    desk.settings.write_bytes(b"[python]\nenable_adain_style=false\n")
    assert "menu entry: none" in desk.status()
    desk.desktop.write_text("changed", encoding="utf-8")
    assert "differs from this program's; 'adain-plugin install krita'" in desk.status()


def test_command_knows_krita(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In, looked at with and without its name, and out."""
    for name in ("GIMP3_DIRECTORY", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in desk.variables.items():
        monkeypatch.setenv(name, value)
    assert main(["install", "krita"]) == 1
    assert "adain-plugin: Krita was not found" in capsys.readouterr().err
    desk.add_krita()
    assert main(["install", "krita"]) == main(["status"]) == main(["status", "krita"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("up to date") == 2 and printed.count("GIMP 3 was not found") == 1
    assert main(["uninstall", "krita"]) == 0 and not desk.target.exists()


def test_libraries_are_looked_for_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After everything else; the tags are those that there are downloads for."""
    monkeypatch.setattr(sys, "path", ["first"])
    libraries.add_libraries(tmp_path)
    libraries.add_libraries(tmp_path)
    assert sys.path == ["first", str(tmp_path / "vendor"), str(tmp_path / "vendor" / libraries.tag())]
    for system, machine in (("win32", "AMD64"), ("linux", "x86_64"), ("darwin", "x86_64"), ("darwin", "arm64")):
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert libraries.tag().rpartition("-")[0] in vendor.PLATFORMS
    assert libraries.tag().endswith("-{}{}".format(*sys.version_info))


def _archive(path: Path, host: str = "krita", wheel: Path | None = None) -> str:
    said: list[str] = []
    archive.write_archives(Machine("linux", {}, path.parent), {host: path}, said.append, wheel=wheel)
    return "\n".join(said)


@pytest.mark.usefixtures("pip")
def test_zip_holds_plugin_and_libraries(tmp_path: Path) -> None:
    """Both at its root, the folder with an entry of its own; no server's command, nothing that is not needed to run."""
    said = _archive(tmp_path / "krita.zip")
    with zipfile.ZipFile(tmp_path / "krita.zip") as file:
        names = file.namelist()
        assert file.testzip() is None
    assert {name.partition("/")[0] for name in names} == {"adain_style", "adain_style.desktop"}
    source = install.plugin_source()
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    expected = {f"adain_style/{path.as_posix()}" for path in files if not install.ADDED & set(path.parts)}
    assert expected == {name for name in names if name.startswith("adain_style/") and "/vendor/" not in name} - {
        "adain_style/"
    }
    assert "adain_style/" in names and "adain_style/server.json" not in names
    tags = {name.split("/")[2] for name in names if name.startswith("adain_style/vendor/")}
    assert len(tags) == len(vendor.PLATFORMS) * len(vendor.PYTHONS)
    first = "adain_style/vendor/darwin-arm64-310/"
    assert [name.removeprefix(first) for name in names if name.startswith(first)] == [
        "msgpack/__init__.py",
        "pyzmq-99.dist-info/licenses/LICENSE.md",
        "zmq/__init__.py",
        "zmq/_zmq.pyd",
    ]
    assert _names(tmp_path) == ["krita.zip"]
    assert "MB" in said and "Import Python Plugin from File" in said


@pytest.mark.usefixtures("pip")
def test_same_files_make_the_same_zip(tmp_path: Path) -> None:
    """Byte for byte, whatever the clock says; an old one is replaced whole."""
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(b"old")
        _archive(tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.usefixtures("pip")
def test_entry_of_another_version_has_another_time(tmp_path: Path) -> None:
    """GIMP looks again only at a plug-in whose entry's time has changed; all other files have the first time."""
    wheel = tmp_path / f"adain_style-{VERSION}-py3-none-any.whl"
    wheel.touch()
    times = []
    for name, added in (("a.zip", None), ("b.zip", wheel)):
        _archive(tmp_path / name, "gimp", added)
        with zipfile.ZipFile(tmp_path / name) as file:
            times.append(file.getinfo("adain_style/adain_style.py").date_time)
            others = {entry.date_time for entry in file.infolist()} - {times[-1]}
        assert others == {(1980, 1, 1, 0, 0, 0)}
    assert times[0] != times[1]


def test_zip_says_what_it_lacks(tmp_path: Path, pip: Pip) -> None:
    """Some libraries missing is a line; all of them, or a place that cannot be written, is an error and no file."""
    pip.refused = {"win32-amd64-313", "darwin-arm64-313"}
    said = _archive(tmp_path / "krita.zip")
    assert said.count("none for ") == 2 and "none for win32-amd64-313: No matching distribution" in said
    downloads = len(pip.calls)
    with pytest.raises(FilesError, match="cannot be written: No such file"):
        _archive(tmp_path / "none" / "krita.zip")
    assert len(pip.calls) == downloads  # it was known before
    pip.refused = {"all"}
    with pytest.raises(LibrariesError, match="connect to the internet"):
        _archive(tmp_path / "other.zip")
    assert _names(tmp_path) == ["krita.zip"]


@pytest.mark.usefixtures("pip")
def test_zip_of_gimp_can_be_unpacked_into_its_folder(tmp_path: Path) -> None:
    """It has the one folder, whose entry can be run; nothing else can, in either zip."""
    hosts = {"krita": ("Import Python Plugin", {"adain_style.desktop"}), "gimp": ("that GIMP names", set())}
    for host, (remedy, beside) in hosts.items():
        assert remedy in _archive(tmp_path / f"{host}.zip", host)
        with zipfile.ZipFile(tmp_path / f"{host}.zip") as file:
            modes = {entry.filename: entry.external_attr >> 16 for entry in file.infolist()}
        assert {name.partition("/")[0] for name in modes} == {"adain_style"} | beside
        runs = {name for name, mode in modes.items() if mode & 0o111 and not name.endswith("/")}
        assert runs == {"adain_style/adain_style.py"} and modes["adain_style/adain_style.py"] == 0o100755
        assert {"adain_style/Manual.html", "adain_style/locale/de/LC_MESSAGES/adain-style.mo"} <= set(modes)
        assert {name for name in modes if name.endswith(".desktop")} == beside  # Krita takes one only


def test_release_has_the_wheel_and_every_library(
    tmp_path: Path, pip: Pip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both zips from one download; a wheel of another version and a library that is missing are errors."""
    wheel = tmp_path / f"adain_style-{VERSION}-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    assert main(["zip", "krita", "gimp", "--output", str(tmp_path), "--release", str(wheel)]) == 0
    assert len(pip.calls) == len(vendor.PLATFORMS) * len(vendor.PYTHONS)
    for name in ("adain-style-gimp.zip", "adain-style-krita.zip"):
        with zipfile.ZipFile(tmp_path / name) as file:
            assert file.read(f"adain_style/wheel/{wheel.name}") == b"wheel"
            file.extractall(tmp_path / name.removesuffix(".zip"))
        assert install._files(tmp_path / name.removesuffix(".zip") / "adain_style") == install._files(
            install.plugin_source()
        )
    monkeypatch.chdir(tmp_path)
    pip.refused = {"darwin-arm64-313"}
    assert main(["zip", "gimp", "--release", str(wheel)]) == 1
    assert "for every system; they are missing for darwin-arm64-313" in capsys.readouterr().err
    assert main(["zip", "gimp"]) == 0
    downloads = len(pip.calls)
    with pytest.raises(FilesError, match="is not a wheel of this version"):
        _archive(tmp_path / "gimp.zip", "gimp", wheel.with_name("adain_style-0.1.0-py3-none-any.whl"))
    assert len(pip.calls) == downloads


def test_desktop_file_names_what_there_is() -> None:
    """Krita's keys, the folder and the manual."""
    parser = ConfigParser()
    parser.read(install.source_beside("adain_style.desktop"), encoding="utf-8")
    entry = parser["Desktop Entry"]
    assert (entry["Type"], entry["ServiceTypes"]) == ("Service", "Krita/PythonPlugin")
    assert entry["X-KDE-Library"] == install.plugin_source().name
    assert (install.plugin_source() / entry["X-Krita-Manual"]).is_file()


def _importer() -> ModuleType:
    specification = importlib.util.spec_from_file_location("plugin_importer", IMPORTER)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.skipif(not IMPORTER.is_file(), reason="Krita is not installed, whose importer reads the zip")
@pytest.mark.usefixtures("pip")
def test_krita_s_own_importer_takes_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds one plug-in and unpacks it to where Krita loads it from."""
    monkeypatch.setattr(builtins, "i18n", str, raising=False)  # Krita's translation
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    _archive(tmp_path / "krita.zip")
    (tmp_path / "krita").mkdir()
    importer = _importer().PluginImporter(str(tmp_path / "krita.zip"), str(tmp_path / "krita"), bool)
    (imported,) = importer.import_all()
    importer.archive.close()
    assert (imported["name"], imported["ui_name"]) == ("adain_style", "AdaIN Style")
    plugins = tmp_path / "krita" / "pykrita"
    assert _names(plugins) == ["adain_style", "adain_style.desktop"]
    assert install.is_plugin(plugins / "adain_style")
    assert (plugins / "adain_style" / "vendor" / "linux-x86_64-311" / "zmq" / "__init__.py").is_file()
