"""Libraries for the host's own Python, put beside the plug-in."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from adain_plugin.errors import LibrariesError, ProgramError
from adain_plugin.hosts import Answer
from adain_plugin.machine import Machine, run
from adain_plugin.question import MODULES

REQUIREMENTS = {"zmq": "pyzmq>=25", "msgpack": "msgpack>=1.0.3"}
"""Each module's package on PyPI; the lowest version is Debian's."""
DOWNLOAD_TIMEOUT_S = 300.0

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""The Pythons to download libraries for when the host's is not known; the plug-in does not run in older ones."""
PLATFORMS = {
    "win32-amd64": ("win_amd64",),
    "linux-x86_64": (*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)), "manylinux2014_x86_64"),
    "darwin-x86_64": ("macosx_10_15_x86_64",),
    "darwin-arm64": ("macosx_11_0_arm64",),
}
"""Systems, named by sys.platform and platform.machine(), and their names in wheels."""

UNUSED_FOLDERS = {"tests", "include", "cffi"}
UNUSED_FILES = {".h", ".pxd", ".pxi", ".pyi", ".pyx", ".c"}
LIST_OF_FILES = "RECORD"
"""The wheel's list of its files; it is removed, because it would no longer be correct."""


def download(machine: Machine, answer: Answer, modules: Sequence[str], vendor: Path) -> None:
    """Put wheels for the host's Python into a folder.

    Raises:
        LibrariesError: pip failed; the message is only pip's reason.
    """
    _download(machine, answer.python, wheel_platforms(answer), modules, vendor)


def download_all(machine: Machine, systems: Sequence[str], vendor: Path) -> dict[str, str]:
    """Put wheels for several Pythons into folders named by tags; existing folders stay.

    Args:
        machine: The machine that pip runs on.
        systems: Names in PLATFORMS.
        vendor: The folder for these folders.
    Returns:
        The reason for each tag without libraries.
    Raises:
        LibrariesError: There are none at all; the message is only pip's reason.
    """
    failures: dict[str, str] = {}
    for system in systems:
        for python in PYTHONS:
            tag = f"{system}-{python.replace('.', '')}"
            if (vendor / tag).is_dir():
                continue
            try:
                _download(machine, python, PLATFORMS[system], MODULES, vendor / tag)
            except LibrariesError as error:
                shutil.rmtree(vendor / tag, ignore_errors=True)
                failures[tag] = str(error)
    if not tags(vendor):
        raise LibrariesError(next(iter(failures.values()), "there are none for this system"))
    return failures


def tags(vendor: Path) -> list[str]:
    """The tags of a vendor folder with libraries for several Pythons."""
    return sorted(path.name for path in vendor.glob("*-*-3*") if path.is_dir())


def wheel_platforms(answer: Answer) -> list[str]:
    """The platforms, as wheels name them, whose libraries the host's Python can load; the best first."""
    system, _dash, processor = answer.platform.partition("-")
    if system == "linux" and answer.glibc:
        newest = int(answer.glibc.split(".")[1])
        return [f"manylinux_2_{minor}_{processor}" for minor in range(newest, 16, -1)] + [f"manylinux2014_{processor}"]
    if system == "linux":
        return [f"musllinux_1_2_{processor}"]
    if system.startswith("mingw"):
        # GIMP for Windows has MSYS2's Python. Whether it loads these wheels is untested; it is asked afterwards.
        return ["win_arm64" if "aarch64" in answer.platform else "win_amd64"]
    return [answer.platform.replace("-", "_").replace(".", "_")]


def _download(machine: Machine, python: str, platforms: Sequence[str], modules: Sequence[str], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    command += [f"--platform={platform}" for platform in platforms]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1"]
    command += [REQUIREMENTS[name] for name in modules]
    try:
        result = run(command, environment=machine.environment, timeout_s=DOWNLOAD_TIMEOUT_S)
    except ProgramError as error:
        raise LibrariesError(str(error)) from None
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
        raise LibrariesError(lines[-1].removeprefix("ERROR: "))
    _trim(folder)


def _trim(folder: Path) -> None:
    """Remove files that are not needed at run time. Licences stay."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and path.name in UNUSED_FOLDERS:
            shutil.rmtree(path)
        elif path.is_file() and (path.suffix in UNUSED_FILES or path.name == LIST_OF_FILES):
            path.unlink()
