"""Fixtures for tests in real hosts."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator

import pytest

from helpers import RunningServer
from hosts.gimp import Gimp, GimpMissing, Installation, find_gimp


@functools.cache
def _gimp() -> Installation | GimpMissing:
    try:
        return find_gimp()
    except GimpMissing as reason:
        return reason


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a host that is not here; said here and not in a fixture, the reason is printed once."""
    if "gimp_installation" in getattr(item, "fixturenames", ()) and isinstance(_gimp(), GimpMissing):
        pytest.skip(str(_gimp()))


@pytest.fixture(scope="session")
def gimp_installation() -> Installation:
    """A GIMP 3."""
    found = _gimp()
    assert isinstance(found, Installation)
    return found


@pytest.fixture(scope="session")
def running_gimp(gimp_installation: Installation) -> Iterator[Gimp]:
    """The GIMP that all tests share: a start takes seconds."""
    with Gimp(gimp_installation) as running:
        yield running


@pytest.fixture
def gimp(running_gimp: Gimp, server: RunningServer) -> Gimp:
    """The shared GIMP, as if it had just been installed; its plug-in finds the shared server."""
    running_gimp.settings.unlink(missing_ok=True)
    running_gimp.server_command.unlink(missing_ok=True)
    shutil.rmtree(running_gimp.styles, ignore_errors=True)
    running_gimp.use(server)
    return running_gimp
