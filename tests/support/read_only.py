"""A disk that turns read-only while programs use it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder is read-only, for root as well: what is opened in it from now on. Skips where nobody may mount."""
    if os.name == "nt" or os.getuid() != 0:
        pytest.skip("only root can make a folder read-only for itself")
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted in this container")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], capture_output=True, check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], capture_output=True, check=True)
