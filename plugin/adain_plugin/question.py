"""What the host's own Python is asked. The whole file is given to the host, so it imports nothing of ours."""

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


if __name__ == "__main__":  # so GIMP runs it
    ask_gimp()
