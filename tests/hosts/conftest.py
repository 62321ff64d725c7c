"""Fixtures for tests in real hosts."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator

import pytest

from hosts import gimp as gimp_host
from hosts.gimp import Gimp, GimpMissing, find_gimp
from hosts.host import Installation
from hosts.krita import Krita, KritaMissing, find_krita
from hosts.window import Screen, missing_programs
from support.helpers import RunningServer, write_other_model


@functools.cache
def _gimp() -> gimp_host.Installation | GimpMissing:
    try:
        return find_gimp()
    except GimpMissing as reason:
        return reason


@functools.cache
def _krita() -> Installation | KritaMissing:
    try:
        found = find_krita()
    except KritaMissing as reason:
        return reason
    lacking = missing_programs()
    return KritaMissing(f"no {', '.join(lacking)}, so Krita has no screen") if lacking else found


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a host that is not here; said here and not in a fixture, the reason is printed once."""
    for fixture, found in (("gimp_installation", _gimp), ("krita_installation", _krita)):
        if fixture in getattr(item, "fixturenames", ()) and isinstance(found(), Exception):
            pytest.skip(str(found()))


@pytest.fixture(scope="session")
def gimp_installation() -> gimp_host.Installation:
    """A GIMP 3."""
    found = _gimp()
    assert isinstance(found, gimp_host.Installation)
    return found


@pytest.fixture(scope="session")
def running_gimp(gimp_installation: gimp_host.Installation) -> Iterator[Gimp]:
    """The GIMP that all tests share: a start takes seconds."""
    with Gimp(gimp_installation) as running:
        yield running


@pytest.fixture
def gimp(running_gimp: Gimp, server: RunningServer) -> Gimp:
    """The shared GIMP, as if it had just been installed; its plug-in finds the shared server."""
    running_gimp.forget()
    running_gimp.use(server)
    return running_gimp


@pytest.fixture
def own_model(server: RunningServer) -> Iterator[str]:
    """The name of a model of the user's own, that the shared server has for this test."""
    folder = server.models / "mine"
    write_other_model(folder)
    yield folder.name
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def krita_installation() -> Installation:
    """A Krita 5."""
    found = _krita()
    assert isinstance(found, Installation)
    return found


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A screen that nobody sees."""
    with Screen(tmp_path_factory.mktemp("screen")) as opened:
        yield opened


@pytest.fixture(scope="session")
def running_krita(krita_installation: Installation, screen: Screen) -> Iterator[Krita]:
    """The Krita that all tests share: a start takes seconds."""
    with Krita(krita_installation, screen) as running:
        yield running


@pytest.fixture
def krita(running_krita: Krita, server: RunningServer) -> Krita:
    """The shared Krita, as if it had just been installed; its plug-in finds the shared server."""
    running_krita.forget()
    running_krita.use(server)
    return running_krita
