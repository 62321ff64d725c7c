"""Installing the plug-in's folder in a host, removing it, and reporting its state."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adain_plugin.errors import FilesError, ForeignFolderError, LibrariesError, NotListedError, ProgramError
from adain_plugin.hosts import Answer, Host
from adain_plugin.question import MODULES, PLUGIN, VENDOR
from adain_plugin.vendor import PLATFORMS, PYTHONS, download, download_all, tags

ENTRY = f"{PLUGIN}.py"
CLIENTS = ("client", "adain_client")
"""The name of the client's folder, now and up to version 0.1."""
SERVER_FILE = "server.json"
WHEEL = "wheel"
"""The folder with the project's own wheel in a release; the server can be installed from it."""
ADDED = {"__pycache__", VENDOR, SERVER_FILE, WHEEL}
"""Names that only an installed plug-in has, not its source."""

ORIGINS = {"own": "found", "vendor": "found beside the plug-in", "missing": "missing"}

Say = Callable[[str], None]


def plugin_source() -> Path:
    """Return the plug-in's folder in this installation: the package beside this one.

    Raises:
        FilesError: It is not there.
    """
    folder = Path(__file__).parent.with_name(PLUGIN)
    if not is_plugin(folder):
        raise FilesError("The plug-in's own files are missing; install adain-style again.")
    return folder


def source_beside(name: str) -> Path:
    """The source of a file that a host needs beside the plug-in's folder."""
    return Path(__file__).with_name(name)


def is_plugin(folder: Path) -> bool:
    """Whether a folder is this plug-in."""
    return (folder / ENTRY).is_file() and any((folder / name).is_dir() for name in CLIENTS)


def copy_plugin(new: Path) -> None:
    """Copy the plug-in's folder, without the files that installing adds. Raises OSError, FilesError."""
    # copyfile gives each file a new time: GIMP looks again only at plug-ins whose time has changed.
    shutil.copytree(plugin_source(), new, ignore=shutil.ignore_patterns(*ADDED), copy_function=shutil.copyfile)


def server_command(answer: Answer | None) -> list[str]:
    """Return the command with which the plug-in starts the server of this installation."""
    command = [sys.executable, "-m", "adain_server"]
    # Untested: whether GIMP's Flatpak is allowed to start programs outside.
    return ["flatpak-spawn", "--host", *command] if answer and answer.is_flatpak else command


def install(host: Host, say: Say) -> None:
    """Install the plug-in in a host, or replace the one that is there; after a failure everything is as before.

    Raises:
        PluginError: It failed. LibrariesError: It is installed but not usable yet; the message says what to do.
    """
    _refuse_foreign(host.target)
    answer = _ask(host, say, "to look at its Python")
    with _writing(host.target), _new(host.target) as new, ExitStack() as stack:
        _copy(new, answer)
        problem = _add_libraries(new, host, answer, say)
        for name in host.beside:
            file = stack.enter_context(_new(host.plugins / name))
            shutil.copyfile(source_beside(name), file)
            stack.enter_context(_in_place(file, host.plugins / name))
        with _in_place(new, host.target), host.enabled():
            checked = _ask(host, say, "to check the plug-in")
            _check_listed(host, checked)
    say(f"{host.title}: the plug-in is in {host.target}")
    say(f"  server program: {' '.join(server_command(answer))}")
    if checked is None:
        say(f"  not checked, because {host.name} itself was not found; name it with --program")
    elif not checked.python:
        say(f"  {_libraries(host, checked)}")
    if host.obstacle:
        say(f"  {host.obstacle}")
    if problem or (checked and checked.missing):
        raise LibrariesError(_instruction(host, checked, problem))
    say(f"  in {host.name}: {host.menu} (restart {host.name} if it is open)")


def uninstall(host: Host, say: Say) -> None:
    """Remove the plug-in from a host. Raises PluginError."""
    _refuse_foreign(host.target)
    present = [path for path in _places(host) if _exists(path)]
    with _writing(host.target):
        for path in present:
            _remove(path)
    host.disable()  # also when the user has removed the folder
    where = f"was removed from {host.plugins}" if present else f"is not in {host.plugins}"
    say(f"{host.title}: the plug-in {where}")
    if present and host.obstacle:
        say(f"  {host.obstacle}")


def status(host: Host, say: Say) -> None:
    """Report the state of the plug-in in a host. Raises FilesError."""
    say(host.title)
    say(f"  program: {host.program or 'not found'}")
    say(f"  plug-in: {_state(host)}")
    if is_plugin(host.target):
        say(f"  server program: {_server_state(host.target)}")
    if host.can_be_asked and host.plugins.is_dir():  # otherwise GIMP would create its folders on a first start
        try:
            answer = host.ask()
        except ProgramError as error:
            say(f"  {error}")
            return
        say(f"  {_libraries(host, answer)}")
        say(f"  menu entry: {host.menu if answer.is_listed else 'none'}")


def _ask(host: Host, say: Say, why: str) -> Answer | None:
    if not host.can_be_asked:
        return None
    if host.starts:
        say(f"Starting {host.starts} {why} ...")
    return host.ask()


def _check_listed(host: Host, answer: Answer | None) -> None:
    if answer and not answer.is_listed:
        raise NotListedError(
            f"{host.title} does not find the plug-in in {host.plugins}, so everything was put back as it was; "
            "if its own folder is another, name that with --folder."
        )


def _copy(new: Path, answer: Answer | None) -> None:
    copy_plugin(new)
    entry = new / ENTRY
    entry.chmod(entry.stat().st_mode | 0o111)  # without the executable bit GIMP silently ignores it
    (new / SERVER_FILE).write_text(json.dumps({"command": server_command(answer)}), encoding="utf-8")


def _add_libraries(new: Path, host: Host, answer: Answer | None, say: Say) -> str:
    """Fill the vendor folder if the host's Python needs it; returns why that failed, or ""."""
    if answer and not answer.python:
        return _add_all_libraries(new, host, say)
    lacking = [name for name, origin in answer.modules.items() if origin != "own"] if answer else []
    if answer and answer.missing:
        say(f"Downloading {' and '.join(lacking)} for Python {answer.python} ...")
        try:
            download(host.machine, answer, lacking, new / VENDOR)
        except LibrariesError as error:
            return str(error)  # the plug-in is still useful: in the host it explains what to do
    elif (lacking or answer is None) and (host.target / VENDOR).is_dir():
        shutil.copytree(host.target / VENDOR, new / VENDOR)  # libraries that work are kept, so no network is needed
    return ""


def _add_all_libraries(new: Path, host: Host, say: Say) -> str:
    """Fill the vendor folder for every Python that the host may have; returns why that failed, or ""."""
    if (host.target / VENDOR).is_dir():
        shutil.copytree(host.target / VENDOR, new / VENDOR)
    systems = [system for system in PLATFORMS if system.startswith(host.machine.platform)]
    modules = " and ".join(MODULES)
    say(f"Downloading {modules} for Python {', '.join(PYTHONS)}, because that of {host.title} is not known ...")
    try:
        failures = download_all(host.machine, systems, new / VENDOR)
    except LibrariesError as error:
        return str(error)
    for tag, reason in failures.items():
        say(f"  none for {tag}: {reason}")
    return ""


def _libraries(host: Host, answer: Answer) -> str:
    if answer.python:
        found = ", ".join(f"{name} {ORIGINS[origin]}" for name, origin in answer.modules.items())
        return f"its Python {answer.python}: {found}"
    return f"its Python is not known; libraries beside the plug-in: {', '.join(tags(host.target / VENDOR)) or 'none'}"


def _instruction(host: Host, answer: Answer | None, problem: str) -> str:
    remedy = "connect to the internet and run this again"
    if answer is None or not answer.python:
        modules = " and ".join(MODULES)
        return f"The plug-in is in {host.title}, but {modules} cannot be downloaded ({problem.rstrip('.')}); {remedy}."
    modules = " and ".join(answer.missing)
    reason = f"cannot be downloaded ({problem})" if problem else "of PyPI do not work in it"
    if host.machine.platform == "linux" and not answer.is_flatpak:
        remedy += ", or install them with your system's packages, on Debian and Ubuntu with "
        remedy += f"'sudo apt install {' '.join(f'python3-{name}' for name in answer.missing)}'"
    return f"The plug-in is in {host.title}, but its Python {answer.python} lacks {modules}, which {reason}; {remedy}."


@contextmanager
def _new(target: Path) -> Iterator[Path]:
    """Give a path beside the target for something new; what is still there at the end is removed."""
    new = target.with_name(f".{target.name}.new")  # while it has this name, no host finds a plug-in in it
    new.parent.mkdir(parents=True, exist_ok=True)
    _remove(new)
    try:
        yield new
    finally:
        _remove(new)


@contextmanager
def _in_place(new: Path, target: Path) -> Iterator[None]:
    """Move something new into its place; the old one is restored when the body raises."""
    old = target.with_name(f".{target.name}.old")
    _remove(old)
    was_there = _exists(target)
    if was_there:
        target.rename(old)
    try:
        new.rename(target)
        yield
    except BaseException:
        _remove(target)
        if was_there:
            old.rename(target)
        raise
    _remove(old)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FilesError(f"{target} cannot be changed: {error.strerror or error}.") from None


def _refuse_foreign(target: Path) -> None:
    if _exists(target) and not is_plugin(target):
        raise ForeignFolderError(f"{target} is not this plug-in, so it is left alone; move it away first.")


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()  # removes only a link itself, never its target
    elif path.exists():
        shutil.rmtree(path)


def _state(host: Host) -> str:
    if not _exists(host.target):
        return f"not in {host.plugins}"
    if not is_plugin(host.target):
        return f"something else is in its place, {host.target}"
    if _files(host.target) == _files(plugin_source()) and all(_is_same(host, name) for name in host.beside):
        return f"{host.target}, up to date"
    return f"{host.target}, differs from this program's; 'adain-plugin install {host.name.lower()}' replaces it"


def _is_same(host: Host, name: str) -> bool:
    file = host.plugins / name
    return file.is_file() and file.read_bytes() == source_beside(name).read_bytes()


def _places(host: Host) -> list[Path]:
    return [host.target, *(host.plugins / name for name in host.beside)]


def _files(folder: Path) -> dict[Path, bytes]:
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if not ADDED & set(name.parts)}


def _server_state(target: Path) -> str:
    try:
        command: list[str] = json.loads((target / SERVER_FILE).read_text(encoding="utf-8"))["command"]
        words, is_there = " ".join(command), shutil.which(command[0]) is not None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return "none is named"
    return words if is_there else f"{words} (missing)"
