"""Where libraries are found that the host's Python lacks. Imports none of them, so that an entry can begin with it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

VENDOR = "vendor"
"""The folder in the plug-in with such libraries."""


def tag() -> str:
    """This Python and this machine, like "linux-x86_64-310": what compiled libraries have to fit."""
    return f"{sys.platform}-{platform.machine().lower()}-{sys.version_info[0]}{sys.version_info[1]}"


def add_libraries(folder: Path) -> None:
    """Let the libraries beside the plug-in be found, after everything that this Python has itself.

    Args:
        folder: The plug-in's. Libraries for this very Python are in vendor; where its version was not known when they
            were put there, there are some for several, each in a folder with a tag.
    """
    for vendor in (folder / VENDOR, folder / VENDOR / tag()):
        if str(vendor) not in sys.path:
            sys.path.append(str(vendor))
