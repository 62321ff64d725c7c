"""What the host's own Python is asked. The whole file is given to the host, so it imports nothing of ours.

GIMP runs it inside; for Krita its Python is started with it, without Krita.
"""

import importlib
import json
import platform
import sys
import sysconfig
from pathlib import Path

ANSWER = "ADAIN-STYLE-ANSWER "
"""Begins the line of the answer; hosts print much else."""
PLUGIN = "adain_style"
"""The plug-in's folder."""
VENDOR = "vendor"
"""The folder in it with libraries that the host's Python lacks; the plug-in looks there last."""
MODULES = ("zmq", "msgpack")
PROCEDURE = "plug-in-adain-style"
WITHOUT_HOST = "--without-host"
"""The argument before the plug-in's folder that starts the second way in; GIMP has arguments of its own."""


def ask_gimp() -> None:
    """Print the answer, from inside GIMP."""
    # Not 'from gi.repository import Gimp': it exists in GIMP only, and not for the type checker.
    gimp = importlib.import_module("gi.repository.Gimp")
    answer = {
        "version": gimp.version(),
        "is_listed": gimp.get_pdb().lookup_procedure(PROCEDURE) is not None,
        **about_python(Path(gimp.directory(), "plug-ins", PLUGIN, VENDOR)),
    }
    print(ANSWER + json.dumps(answer), flush=True)


def ask_python(plugin: Path) -> None:
    """Print the answer, from a Python that is the host's without the host, which therefore has no version."""
    # The plug-in that is there knows where it looks for libraries; where there is none, there are none, either.
    if (plugin / "host" / "libraries.py").is_file():
        sys.path.insert(0, str(plugin.parent))
        importlib.import_module("adain_style.host.libraries").add_libraries(plugin)
    answer = {"version": "", "is_listed": False, **about_python(plugin / VENDOR)}
    print(ANSWER + json.dumps(answer), flush=True)


def about_python(vendor: Path) -> dict[str, object]:
    """Which Python this is, and where it finds the libraries."""
    sys.path.append(str(vendor))
    libc, libc_version = platform.libc_ver()
    return {
        "python": "{}.{}".format(*sys.version_info),
        "platform": sysconfig.get_platform(),
        "glibc": libc_version if libc == "glibc" else "",
        "is_flatpak": Path("/.flatpak-info").exists(),
        "modules": {name: _origin(name, vendor) for name in MODULES},
    }


def _origin(name: str, vendor: Path) -> str:
    try:
        module = importlib.import_module(name)
    except Exception:  # a library of another Python can fail in any way
        return "missing"
    if module.__file__ is None:  # an empty folder that an uninstalled library left behind
        return "missing"
    return "vendor" if vendor in Path(module.__file__).parents else "own"


if __name__ == "__main__":  # so GIMP runs it, too
    if sys.argv[1:2] == [WITHOUT_HOST]:
        ask_python(Path(sys.argv[2]))
    else:
        ask_gimp()
