"""Libraries for the host's own Python, put beside the plug-in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from adain_plugin.errors import LibrariesError, ProgramError
from adain_plugin.hosts import Answer
from adain_plugin.machine import Machine, run

PROJECTS = {"zmq": "pyzmq"}
"""A module's name on PyPI, where that is another."""
DOWNLOAD_TIMEOUT_S = 300.0


def download(machine: Machine, answer: Answer, modules: Sequence[str], vendor: Path) -> None:
    """Put wheels for the host's Python into a folder.

    Raises:
        LibrariesError: pip cannot; the message is pip's reason only.
    """
    command = [sys.executable, "-m", "pip", "install", "--target", str(vendor), "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={answer.python}"]
    command += [f"--platform={platform}" for platform in wheel_platforms(answer)]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1"]
    command += [PROJECTS.get(name, name) for name in modules]
    try:
        result = run(command, environment=machine.environment, timeout_s=DOWNLOAD_TIMEOUT_S)
    except ProgramError as error:
        raise LibrariesError(str(error)) from None
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
        raise LibrariesError(lines[-1].removeprefix("ERROR: "))


def wheel_platforms(answer: Answer) -> list[str]:
    """The platforms, as wheels name them, whose libraries the host's Python can load; the best first."""
    system, _dash, processor = answer.platform.partition("-")
    if system == "linux" and answer.glibc:
        newest = int(answer.glibc.split(".")[1])
        return [f"manylinux_2_{minor}_{processor}" for minor in range(newest, 16, -1)] + [f"manylinux2014_{processor}"]
    if system == "linux":
        return [f"musllinux_1_2_{processor}"]
    if system.startswith("mingw"):
        # GIMP for Windows has MSYS2's Python. Whether it loads these wheels is unchecked; it is asked afterwards.
        return ["win_arm64" if "aarch64" in answer.platform else "win_amd64"]
    return [answer.platform.replace("-", "_").replace(".", "_")]
