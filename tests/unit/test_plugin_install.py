"""adain-plugin finds GIMP, puts the plug-in in, takes it out, and leaves alone what is not its own.

GIMP is a small program here that runs what it is asked as GIMP does; tests/hosts asks the real one.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from adain_plugin import install
from adain_plugin.cli import main
from adain_plugin.errors import (
    FilesError,
    ForeignFolderError,
    HostNotFoundError,
    LibrariesError,
    NotListedError,
    ProgramError,
)
from adain_plugin.gimp import Gimp, find_gimps
from adain_plugin.hosts import Answer
from adain_plugin.machine import Machine
from adain_plugin.vendor import wheel_platforms

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the GIMP of these tests is a script")

GIMP = """#!{python}
import importlib.machinery, os, sys, types
from pathlib import Path

if "--version" in sys.argv:
    print("GNU Image Manipulation Program version {version}")
    sys.exit()
folder = Path(os.environ.get("GIMP3_DIRECTORY", {folder!r}))
plugins = folder / "plug-ins"
plugins.mkdir(parents=True, exist_ok=True)

class Pdb:
    def lookup_procedure(self, name):
        entry = plugins / "adain_style" / "adain_style.py"
        return name if {lists} and name == "plug-in-adain-style" and os.access(entry, os.X_OK) else None

class Lacking:
    def find_spec(name, path, target=None):
        if name in {lacking}:
            beside = importlib.machinery.PathFinder.find_spec(name, [str(plugins / "adain_style" / "vendor")])
            if beside is None:
                raise ModuleNotFoundError(name)
            return beside

sys.meta_path.insert(0, Lacking)
sys.modules.update({{name: types.ModuleType(name) for name in ("gi", "gi.repository")}})
gimp = types.SimpleNamespace(version=lambda: "{version}", directory=lambda: str(folder), get_pdb=Pdb)
sys.modules["gi.repository.Gimp"] = gimp
print("much else")
exec(sys.stdin.read(), globals())
"""


class Desk:
    """A made-up machine with an empty home folder."""

    def __init__(self, root: Path, platform: str = "linux") -> None:
        self.home = root / "home"
        self.bin = root / "bin"
        self.bin.mkdir()
        self.settings = self.home / ".config" / "GIMP"
        self.variables = {"PATH": str(self.bin), "HOME": str(self.home)}
        self.platform = platform

    @property
    def machine(self) -> Machine:
        """As the code sees it."""
        return Machine(self.platform, self.variables, self.home)

    def add_gimp(
        self,
        version: str = "3.0.4",
        *,
        path: Path | None = None,
        lacking: tuple[str, ...] = (),
        lists: bool = True,
    ) -> Path:
        """Write a GIMP, or another one in its place.

        Args:
            version: What it says.
            path: Its program.
            lacking: The libraries that its Python has not.
            lists: Whether it finds plug-ins.
        """
        path = path or self.bin / f"gimp-console-{version[:3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = str(self.settings / version[:3])
        text = GIMP.format(python=sys.executable, version=version, folder=folder, lacking=lacking, lists=lists)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def gimp(self, **options: Path) -> Gimp:
        """The only GIMP that is found."""
        (gimp,) = find_gimps(self.machine, **options)  # type: ignore[arg-type]
        return gimp

    def install(self) -> list[str]:
        """Put the plug-in in; returns what is said."""
        said: list[str] = []
        install.install(self.gimp(), said.append)
        return said

    def status(self) -> str:
        """What is said about it."""
        said: list[str] = []
        install.status(self.gimp(), said.append)
        return "\n".join(said)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty Linux machine."""
    return Desk(tmp_path)


def _plugin(folder: Path, text: str = "old") -> Path:
    (folder / "client").mkdir(parents=True)
    (folder / "adain_style.py").write_text(text, encoding="utf-8")
    return folder


FOLDERS = [
    ("linux", {}, ".config/GIMP/3.0"),
    ("linux", {"XDG_CONFIG_HOME": "HOME/settings"}, "settings/GIMP/3.2"),
    ("linux", {"XDG_CONFIG_HOME": "relative"}, ".config/GIMP/3.0"),
    ("linux", {}, ".var/app/org.gimp.GIMP/config/GIMP/3.0"),
    ("linux", {"GIMP3_DIRECTORY": "HOME/elsewhere"}, "elsewhere"),
    ("linux", {"GIMP3_DIRECTORY": "from-home"}, "from-home"),
    ("win32", {"APPDATA": "HOME/Roaming"}, "Roaming/GIMP/3.0"),
    ("win32", {}, "AppData/Roaming/GIMP/3.0"),
    ("darwin", {}, "Library/Application Support/GIMP/3.0"),
]


@pytest.mark.parametrize(("platform", "variables", "folder"), FOLDERS)
def test_user_folder_is_found(tmp_path: Path, platform: str, variables: dict[str, str], folder: str) -> None:
    """Each platform's folder is found, also when there is no program; a version that is not 3 is passed over."""
    desk = Desk(tmp_path, platform)
    desk.variables.update({name: value.replace("HOME", str(desk.home)) for name, value in variables.items()})
    (desk.home / folder).mkdir(parents=True)
    (desk.home / folder).with_name("2.10").mkdir()
    gimp = desk.gimp()
    assert gimp.plugins == desk.home / folder / "plug-ins"
    assert not gimp.program


PROGRAMS = [
    ("linux", "../bin/gimp-console-3.2", ".config/GIMP/3.2"),
    ("linux", "../bin/gimp-console", ".config/GIMP/3.2"),
    ("linux", "../bin/gimp", ".config/GIMP/3.2"),
    ("win32", "Program Files/GIMP 3/bin/gimp-console-3.2.exe", "AppData/Roaming/GIMP/3.2"),
    ("win32", "AppData/Local/Programs/GIMP 3/bin/gimp-console-3.2.exe", "AppData/Roaming/GIMP/3.2"),
    ("darwin", "Applications/GIMP.app/Contents/MacOS/gimp-console", "Library/Application Support/GIMP/3.2"),
]


@pytest.mark.parametrize(("platform", "program", "folder"), PROGRAMS)
def test_program_that_was_never_started_is_found(tmp_path: Path, platform: str, program: str, folder: str) -> None:
    """The program says its version, and that names the folder which it will make."""
    desk = Desk(tmp_path, platform)
    desk.home.mkdir()
    desk.variables["PROGRAMFILES"] = str(desk.home / "Program Files")
    path = desk.add_gimp("3.2.1", path=(desk.home / program))
    found = {Path(gimp.program): gimp for gimp in find_gimps(desk.machine)}
    gimp = {known.resolve(): gimp for known, gimp in found.items()}[path.resolve()]
    assert (gimp.title, gimp.folder) == ("GIMP 3.2.1", desk.home / folder)


def test_flatpak_uses_the_common_folder_unless_it_has_its_own(desk: Desk) -> None:
    """Flathub's GIMP is given ~/.config/GIMP; a folder in its own place says that the permission was taken away."""
    (desk.home / ".local/share/flatpak/app/org.gimp.GIMP").mkdir(parents=True)
    desk.add_gimp("3.0.6", path=desk.bin / "flatpak")
    assert desk.gimp().program == "flatpak run --command=gimp-console org.gimp.GIMP"
    assert desk.gimp().folder == desk.settings / "3.0"
    own = desk.home / ".var/app/org.gimp.GIMP/config/GIMP/3.0"
    own.mkdir(parents=True)
    assert desk.gimp().folder == own


def test_names_of_one_program_and_one_folder_are_one_gimp(desk: Desk) -> None:
    """Links and a second program of the same series share a folder; another series and a left folder are others."""
    program = desk.add_gimp("3.0.4")
    (desk.bin / "gimp-console").symlink_to(program)
    desk.add_gimp("3.0.6", path=desk.bin / "gimp-3.0")  # with a window, so it is not the one to ask
    desk.add_gimp("3.0.2", path=desk.home / "bin" / "gimp-console")
    desk.variables["PATH"] += os.pathsep + str(desk.home / "bin")
    desk.add_gimp("3.2.0")
    (desk.settings / "3.1").mkdir(parents=True)
    (desk.settings / "3.2").mkdir()
    assert [gimp.title for gimp in find_gimps(desk.machine)] == ["GIMP 3.0.4", "GIMP 3.2.0", "GIMP 3.1"]


def test_named_folder_and_program_come_before_what_is_found(desk: Desk, tmp_path: Path) -> None:
    """--folder takes the program of its series; --program is taken whatever it is called."""
    desk.add_gimp("3.0.4")
    newer = desk.add_gimp("3.2.0")
    other = desk.add_gimp("3.4.0", path=tmp_path / "GIMP.AppImage")
    assert desk.gimp(folder=tmp_path / "3.2").program == str(newer)
    (gimp,) = find_gimps(desk.machine, program=str(other))
    assert gimp.folder == desk.settings / "3.4"
    (gimp,) = find_gimps(desk.machine, folder=tmp_path / "mine", program=str(other))
    assert (gimp.folder, gimp.version) == (tmp_path / "mine", "3.4.0")


def test_missing_gimp_is_a_sentence(desk: Desk) -> None:
    """It says what to do: nothing there, only GIMP 2.10, a named program or folder that will not do."""
    with pytest.raises(HostNotFoundError, match=r"GIMP 3 was not found; install it"):
        desk.gimp()
    old = desk.add_gimp("2.10.36")
    with pytest.raises(HostNotFoundError, match=r"Only GIMP 2\.10\.36 was found; install GIMP 3"):
        desk.gimp()
    with pytest.raises(HostNotFoundError, match=r"needs GIMP 3"):
        find_gimps(desk.machine, program=str(old))
    with pytest.raises(HostNotFoundError, match="There is no folder"):
        desk.gimp(folder=desk.home / "nowhere")


def test_host_is_started_without_the_terminal_s_python(desk: Desk) -> None:
    """A virtual environment or pyenv that comes first in PATH would break every Python plug-in of GIMP."""
    venv, pyenv = desk.home / "venv", desk.home / ".pyenv"
    desk.variables.update(VIRTUAL_ENV=str(venv), PYTHONPATH="/somewhere", LANG="C.UTF-8")
    desk.variables["PATH"] = os.pathsep.join([str(venv / "bin"), str(pyenv / "shims"), "/usr/bin"])
    assert desk.machine.host_environment() == {"PATH": "/usr/bin", "LANG": "C.UTF-8", "HOME": str(desk.home)}


def test_install_puts_the_whole_plugin_in(desk: Desk) -> None:
    """All files, the run bit, the command of this installation's server; nothing else is left behind."""
    desk.add_gimp()
    said = desk.install()
    target = desk.settings / "3.0" / "plug-ins" / "adain_style"
    assert os.access(target / "adain_style.py", os.X_OK)
    assert (target / "client" / "protocol.py").is_file()
    server = json.loads((target / "server.json").read_text(encoding="utf-8"))
    assert server == {"command": [sys.executable, "-m", "adain_server"]}
    assert [path.name for path in target.parent.iterdir()] == ["adain_style"]
    assert not (target / "vendor").exists()
    assert not list(target.rglob("__pycache__"))
    assert said[-3] == f"GIMP 3.0.4: the plug-in is in {target}"
    assert "Filters > AdaIN Style" in said[-1]


def test_install_replaces_an_old_plugin_whole(desk: Desk) -> None:
    """No file of the old one stays; a link in its place goes, and what it names stays."""
    desk.add_gimp()
    target = desk.gimp().target
    _plugin(target)
    (target / "left.py").touch()
    desk.install()
    assert not (target / "left.py").exists()

    install.uninstall(desk.gimp(), print)
    checkout = _plugin(desk.home / "checkout")
    target.symlink_to(checkout)
    desk.install()
    assert not target.is_symlink()
    assert (checkout / "adain_style.py").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("was_there", [True, False])
def test_failed_install_puts_everything_back(desk: Desk, was_there: bool) -> None:
    """When GIMP does not find the new plug-in, the old one is in its place again, or none."""
    desk.add_gimp(lists=False)
    target = desk.gimp().target
    if was_there:
        _plugin(target)
    with pytest.raises(NotListedError, match="put back"):
        desk.install()
    assert [path.name for path in target.parent.iterdir()] == ["adain_style"] * was_there
    assert not was_there or (target / "adain_style.py").read_text(encoding="utf-8") == "old"


def test_gimp_without_python_is_a_sentence(desk: Desk) -> None:
    """It answers nothing: installing changes nothing, and the status says so."""
    program = desk.add_gimp()
    program.write_text("#!/bin/sh\necho GIMP 3.0.4", encoding="utf-8")
    target = _plugin(desk.gimp().target)
    with pytest.raises(ProgramError, match="runs no Python plug-ins"):
        desk.install()
    assert (target / "adain_style.py").read_text(encoding="utf-8") == "old"
    assert "runs no Python plug-ins" in desk.status()


def test_install_without_a_program_says_that_nothing_was_checked(desk: Desk) -> None:
    """A folder alone is enough; libraries that are beside the plug-in stay there."""
    target = _plugin(desk.settings / "3.0" / "plug-ins" / "adain_style")
    (target / "vendor").mkdir()
    (target / "vendor" / "zmq.py").touch()
    assert any("not checked" in line for line in desk.install())
    assert (target / "vendor" / "zmq.py").is_file()


def test_foreign_folder_is_left_alone(desk: Desk) -> None:
    """Neither replaced nor removed: a folder of that name which is not the plug-in."""
    desk.add_gimp()
    mine = desk.gimp().target / "my.txt"
    mine.parent.mkdir(parents=True)
    mine.touch()
    with pytest.raises(ForeignFolderError, match="move it away"):
        desk.install()
    with pytest.raises(ForeignFolderError):
        install.uninstall(desk.gimp(), print)
    assert mine.is_file()
    assert "something else is in its place" in desk.status()


def test_uninstall_removes_that_folder_only(desk: Desk) -> None:
    """What is beside it stays, and so does what links in it or in its place name."""
    kept = desk.home / "kept"
    kept.mkdir(parents=True)
    target = _plugin(desk.settings / "3.0" / "plug-ins" / "adain_style")
    (target / "link").symlink_to(kept)
    (target.parent / "other").mkdir()
    said: list[str] = []
    install.uninstall(desk.gimp(), said.append)
    assert [path.name for path in target.parent.iterdir()] == ["other"]
    target.symlink_to(_plugin(kept / "checkout"))
    install.uninstall(desk.gimp(), said.append)
    install.uninstall(desk.gimp(), said.append)
    assert (kept / "checkout" / "adain_style.py").is_file()
    assert ["was removed" in line for line in said] == [True, True, False]


def test_folder_that_cannot_be_written_is_a_sentence(desk: Desk) -> None:
    """The operating system's reason, in one line."""
    (desk.settings / "3.0").mkdir(parents=True)
    (desk.settings / "3.0" / "plug-ins").touch()
    with pytest.raises(FilesError, match="cannot be changed: "):
        desk.install()


def _wheels(folder: Path) -> Path:
    """Wheels of pyzmq and msgpack with nothing in them but an importable module."""
    folder.mkdir()
    for project, module in (("pyzmq", "zmq"), ("msgpack", "msgpack")):
        with zipfile.ZipFile(folder / f"{project}-99-py3-none-any.whl", "w") as wheel:
            information = f"{project}-99.dist-info"
            wheel.writestr(f"{module}/__init__.py", "")
            wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 99\n")
            wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{information}/RECORD", "")
    return folder


def test_libraries_that_the_host_lacks_are_put_beside_the_plugin(desk: Desk, tmp_path: Path) -> None:
    """Only those; the next installation keeps them without a download, and drops them when the host has its own."""
    desk.add_gimp(lacking=("zmq",))
    desk.variables.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(_wheels(tmp_path / "wheels")))
    assert any(line.startswith("Downloading zmq for Python 3.") for line in desk.install())
    vendor = desk.gimp().target / "vendor"
    assert sorted(path.name for path in vendor.iterdir() if path.suffix != ".dist-info") == ["zmq"]
    assert "zmq found beside the plug-in, msgpack found" in desk.status()

    del desk.variables["PIP_FIND_LINKS"]
    desk.install()
    assert (vendor / "zmq").is_dir()

    desk.add_gimp()
    desk.install()
    assert not vendor.exists()


def test_missing_libraries_without_a_network_are_a_sentence(desk: Desk) -> None:
    """The plug-in stays in its place, because in GIMP it says the same; the message says how to get them."""
    desk.add_gimp(lacking=("zmq", "msgpack"))
    desk.variables["PIP_NO_INDEX"] = "1"
    with pytest.raises(LibrariesError, match=r"lacks zmq and msgpack.*sudo apt install python3-zmq python3-msgpack"):
        desk.install()
    assert install.is_plugin(desk.gimp().target)
    assert "zmq missing, msgpack missing" in desk.status()


def test_wheels_are_asked_for_that_very_python() -> None:
    """The platforms that it can load: down from its glibc, its macOS, or Windows also where MSYS2 made it."""

    def platforms(platform: str, glibc: str = "") -> list[str]:
        return wheel_platforms(Answer("3.0.4", True, "3.13", platform, glibc, False, {}))

    assert platforms("linux-x86_64", "2.18") == [
        "manylinux_2_18_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    ]
    assert platforms("linux-aarch64") == ["musllinux_1_2_aarch64"]
    assert platforms("macosx-11.0-arm64") == ["macosx_11_0_arm64"]
    assert platforms("win-amd64") == ["win_amd64"]
    assert platforms("mingw_x86_64_ucrt_gnu") == ["win_amd64"]


def test_flatpak_starts_the_server_outside() -> None:
    """Inside a Flatpak the plug-in cannot start a program of this system by itself."""
    inside = Answer("3.0.6", True, "3.12", "linux-x86_64", "2.40", True, {})
    assert install.server_command(inside) == ["flatpak-spawn", "--host", *install.server_command(None)]


def test_status_says_what_is_there(desk: Desk) -> None:
    """Not installed, up to date, changed, a server that has gone; asking does not make GIMP's folder."""
    program = desk.add_gimp()
    assert desk.status().splitlines() == [
        "GIMP 3.0.4",
        f"  program: {program}",
        f"  plug-in: not in {desk.settings / '3.0' / 'plug-ins'}",
    ]
    assert not desk.settings.exists()
    desk.install()
    target = desk.gimp().target
    assert f"plug-in: {target}, up to date" in desk.status()
    assert f"server program: {sys.executable} -m adain_server\n" in desk.status()
    assert "menu entry: Filters > AdaIN Style" in desk.status()
    (target / "client" / "protocol.py").write_text("changed", encoding="utf-8")
    (target / "server.json").write_text('{"command": ["/gone/python"]}', encoding="utf-8")
    (target / "adain_style.py").chmod(0o644)
    assert "differs from this program's; 'adain-plugin install gimp'" in desk.status()
    assert "server program: /gone/python (missing)" in desk.status()
    assert "menu entry: none" in desk.status()
    (target / "server.json").unlink()
    assert "server program: none is named" in desk.status()


def test_command_says_errors_in_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An expected error is one line on stderr and status 1; the way in and out is status 0."""
    for name in ("GIMP3_DIRECTORY", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in desk.variables.items():
        monkeypatch.setenv(name, value)
    assert main(["install", "gimp", "--program", str(desk.bin / "none")]) == 1
    printed = capsys.readouterr()
    assert printed.err == f"adain-plugin: {desk.bin / 'none'} cannot be started: No such file or directory.\n"
    assert main(["status", "--folder", str(desk.home / "none")]) == 0
    assert "There is no folder" in capsys.readouterr().out

    program = str(desk.add_gimp())
    (desk.settings / "3.4").mkdir(parents=True)
    assert main(["install", "gimp", "--program", program]) == 0
    assert main(["install", "gimp"]) == 0
    assert main(["status"]) == 0
    assert main(["uninstall", "gimp"]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    assert printed.out.count("the plug-in was removed") == 1
