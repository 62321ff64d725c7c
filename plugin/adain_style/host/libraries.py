"""Finding libraries that the host's Python lacks. Imports none of them, so that an entry point can use it first."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

VENDOR = "vendor"
"""The plug-in's folder of such libraries."""


def tag() -> str:
    """Name this Python and this machine, like "linux-x86_64-310", which compiled libraries have to fit."""
    return f"{sys.platform}-{platform.machine().lower()}-{sys.version_info[0]}{sys.version_info[1]}"


def add_libraries(folder: Path) -> None:
    """Make the libraries in the plug-in importable, after everything that this Python has itself.

    Args:
        folder: The plug-in's. Libraries for exactly this Python are in vendor; if its version was not known when they
            were installed, there are some for several versions, each in a folder named by its tag.
    """
    for vendor in (folder / VENDOR, folder / VENDOR / tag()):
        if str(vendor) not in sys.path:
            sys.path.append(str(vendor))
