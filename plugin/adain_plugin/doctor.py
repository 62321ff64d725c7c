"""A report of everything about a machine that support needs to know, without its user's name and without keys.

It is meant for machines on which something is broken, so its parts are independent: one that fails reports that in a
line, and the others go on. For the same reason, packages are imported where they are used.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from adain_plugin import install
from adain_plugin.errors import PluginError
from adain_plugin.hosts import Host
from adain_plugin.machine import Machine
from adain_plugin.privacy import Privacy
from adain_style.client.version import VERSION

PACKAGES = ("adain-style", "torch", "ncnn", "pyzmq", "msgpack", "Pillow", "numpy", "safetensors", "huggingface_hub")
"""The packages to report, as installed beside this program; the server that the plug-in starts uses the same ones."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # only looked at
LOG_NAMES = ("server.log", "server-output.txt")
"""Files beside the connection file: the server's log, and the output of a server that a client started."""
LAST_LINES = 40

Say = Callable[[str], None]


def examine(finders: Iterable[Callable[..., Sequence[Host]]], say: Say) -> None:
    """Write the whole report.

    Args:
        finders: Each finds the folders of one host when called with a machine.
        say: Called with each line.
    """
    machine = _machine()
    privacy = Privacy(machine, _keys())

    def tell(line: str) -> None:
        say(privacy.hide(line))

    say(f"AdaIN Style {VERSION}. This is what a report of a fault needs; read it before you send it.")
    parts: dict[str, Callable[[Say], None]] = {
        "Versions": _versions,
        "Server": _server,
        "Folders": _folders,
        **{f"Last lines of {name}": partial(_last_lines, name) for name in LOG_NAMES},
        # This part is the last, because asking a host may take minutes.
        "Paint programs": partial(_hosts, machine, finders),
    }
    for title, part in parts.items():
        say(f"\n{title}")
        _try(part, lambda line: tell(f"  {line}"))


def _try(part: Callable[[Say], None], tell: Say, beginning: str = "") -> None:
    """Run a part, whatever is broken in it. beginning: The beginning of the line that reports a failure."""
    try:
        part(tell)
    except Exception as error:
        tell(f"{beginning}cannot be said ({type(error).__name__}: {error})")


def _machine() -> Machine:
    try:
        return Machine.here()
    except PluginError:  # the home folder is not known
        return Machine(sys.platform, dict(os.environ), Path("/nonexistent"))


def _keys() -> list[str]:
    """The keys in the connection file, which must not appear in any line of the report."""
    try:
        from adain_style.client.connection import default_connection_file

        fields = json.loads(default_connection_file().read_text(encoding="utf-8"))
        return [str(value) for name, value in fields.items() if "key" in name or "secret" in name]
    except Exception:  # there is none, or it is damaged
        return []


def _versions(tell: Say) -> None:
    tell(f"system: {platform.platform()}")
    tell(f"Python: {platform.python_version()}, {sys.executable}")
    for name in PACKAGES:
        try:
            tell(f"{name}: {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            tell(f"{name}: not installed")


def _server(tell: Say) -> None:
    from adain_style.client import launcher
    from adain_style.client.client import Client
    from adain_style.client.connection import default_connection_file, read_connection_file
    from adain_style.client.errors import AdainError

    try:
        tell(f"is started by: {' '.join(launcher.server_command())}")
    except AdainError as error:
        tell(f"is started by: {error}")
    path = default_connection_file()
    tell(f"connection file: {path}")
    try:
        with Client(read_connection_file(path), name="adain-plugin doctor") as client:
            about, status = client.hello(), client.status()
    except AdainError as error:
        tell(f"answer: {error}")
        return
    tell(f"answer: version {about.server}")
    for line in status.lines():
        tell(line)


def _hosts(machine: Machine, finders: Iterable[Callable[..., Sequence[Host]]], tell: Say) -> None:
    for find in finders:
        _try(partial(_hosts_of, machine, find), tell)


def _hosts_of(machine: Machine, find: Callable[..., Sequence[Host]], tell: Say) -> None:
    try:
        hosts = find(machine, folder=None, program=None)
    except PluginError as error:  # few users have all the hosts
        tell(str(error))
        return
    for host in hosts:
        _try(partial(install.status, host), tell)


def _folders(tell: Say) -> None:
    for name, place in _places().items():
        _try(partial(_folder, name, place), tell, f"{name}: ")
    if SHARED_MEMORY.is_dir():
        _folder("shared memory", lambda: SHARED_MEMORY, tell)


def _places() -> Mapping[str, Callable[[], Path]]:
    from adain_style.client import connection, folders

    return {
        "settings": folders.settings_folder,
        "styles": folders.user_styles_folder,
        "runtime": lambda: connection.default_connection_file().parent,
        "models": _models_folder,
        "the Hub's cache": _cache_folder,
        "temporary files": lambda: Path(tempfile.gettempdir()),
    }


def _models_folder() -> Path:
    from adain_weights.catalog import user_models_folder  # needs packages of the server

    return user_models_folder()


def _cache_folder() -> Path:
    from adain_weights.hub_client import cache_folder  # loads the Hub's client

    return cache_folder()


def _folder(name: str, place: Callable[[], Path], tell: Say) -> None:
    """Report whether a folder can be written or made, and how much space is free."""
    folder = place()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    verb = "written" if there == folder else "made"
    try:
        with tempfile.TemporaryFile(dir=there):
            state = f"can be {verb}"
    except OSError as error:
        state = f"cannot be {verb} ({error.strerror or error})"
    usage = shutil.disk_usage(there)
    tell(f"{name}: {folder}, {state}, {_size(usage.free)} free of {_size(usage.total)}")


def _last_lines(name: str, tell: Say) -> None:
    from adain_style.client.connection import default_connection_file

    try:
        text = (default_connection_file().parent / name).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        tell("there is no such file")
        return
    for line in text.splitlines()[-LAST_LINES:]:
        tell(line)


def _size(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{count / 1024**2:.0f} MiB"
