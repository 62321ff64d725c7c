"""The question to the host's own Python. The host gets this whole file, so it imports none of our packages.

GIMP runs it as a batch script; for Krita, its Python is started with it, without Krita.
"""

import importlib
import json
import platform
import sys
import sysconfig
from pathlib import Path

ANSWER = "ADAIN-STYLE-ANSWER "
"""The beginning of the answer's line; hosts print other lines as well."""
PLUGIN = "adain_style"
"""The plug-in's folder."""
VENDOR = "vendor"
"""The folder in it for libraries that the host's Python lacks; the plug-in searches it last."""
MODULES = ("zmq", "msgpack")
PROCEDURE = "plug-in-adain-style"
WITHOUT_HOST = "--without-host"
"""The argument that selects ask_python(), followed by the plug-in's folder; GIMP passes arguments of its own."""


def ask_gimp() -> None:
    """Print the answer, from inside GIMP."""
    # Not 'from gi.repository import Gimp': the module exists only in GIMP, not for the type checker.
    gimp = importlib.import_module("gi.repository.Gimp")
    answer = {
        "version": gimp.version(),
        "is_listed": gimp.get_pdb().lookup_procedure(PROCEDURE) is not None,
        **about_python(Path(gimp.directory(), "plug-ins", PLUGIN, VENDOR)),
    }
    print(ANSWER + json.dumps(answer), flush=True)


def ask_python(plugin: Path) -> None:
    """Print the answer from the host's Python, run without the host, whose version therefore stays empty."""
    # An installed plug-in knows where it looks for libraries; without a plug-in there are no libraries, either.
    if (plugin / "host" / "libraries.py").is_file():
        sys.path.insert(0, str(plugin.parent))
        importlib.import_module("adain_style.host.libraries").add_libraries(plugin)
    answer = {"version": "", "is_listed": False, **about_python(plugin / VENDOR)}
    print(ANSWER + json.dumps(answer), flush=True)


def about_python(vendor: Path) -> dict[str, object]:
    """Describe this Python, and where it finds the libraries."""
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


if __name__ == "__main__":  # GIMP runs this file like this, too
    if sys.argv[1:2] == [WITHOUT_HOST]:
        ask_python(Path(sys.argv[2]))
    else:
        ask_gimp()
