"""Memory that a process of the server does not need any more."""

from __future__ import annotations

import ctypes
import sys


def give_memory_back() -> None:
    """Return to the system what was freed; glibc keeps it otherwise."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
