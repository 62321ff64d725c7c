"""What the project depends on: floors without known holes, and nothing that nobody needs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import zmq
from packaging.requirements import Requirement
from packaging.version import Version

from support.helpers import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML; a later one checks this")

FIRST_WITHOUT_HOLES = {"torch": "2.10", "msgpack": "1.2.3", "pillow": "12.3"}
"""Of what reads something that comes from outside."""
LIBZMQ = (4, 3, 4)
PACKAGES = ("plugin/adain_plugin", "plugin/adain_style", "server", "trainer", "weights")
OF_THE_HOSTS = {"gi", "krita", "PyQt5"}
"""Modules that only GIMP's or Krita's Python has."""

THROUGH_TORCH = {"tensorboard"}
"""Imported by torch for us."""


@pytest.fixture(scope="module")
def project() -> dict[str, Requirement]:
    """The dependencies, those of the trainer's extra included."""
    table = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*table["dependencies"], *table["optional-dependencies"]["trainer"]]
    return {(found := Requirement(line)).name.lower(): found for line in lines}


def test_floors_leave_out_releases_with_known_holes(project: dict[str, Requirement]) -> None:
    """The release before each first good one is not allowed, and what is installed here is."""
    for name, first in FIRST_WITHOUT_HOLES.items():
        floors = [Version(each.version) for each in project[name].specifier if each.operator == ">="]
        assert floors and min(floors) >= Version(first), name
    assert zmq.zmq_version_info() >= LIBZMQ
    for name, requirement in project.items():
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(Version(version(name)), prereleases=True), name


def test_every_dependency_is_used_and_every_import_is_declared(project: dict[str, Requirement]) -> None:
    """By the sources, not by the tests."""
    imported = {module.partition(".")[0] for folder in PACKAGES for module in _imports(REPOSITORY / folder)}
    ours = {"adain_net", "adain_plugin", "adain_server", "adain_style"}
    ours |= {"adain_trainer", "adain_weights"}
    foreign = imported - ours - OF_THE_HOSTS - sys.stdlib_module_names
    provided = packages_distributions()
    used = {name.lower().replace("-", "_") for module in foreign for name in provided.get(module, [module])}
    declared = {name.replace("-", "_") for name in project}
    assert declared <= used | THROUGH_TORCH, f"nothing imports {declared - used}"
    assert used <= declared, f"nothing declares {used - declared}"


def _imports(folder: Path) -> Iterator[str]:
    """Names of modules, relative ones left out."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (each.name for each in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module
