"""Imports go one way; each package runs with what it is allowed to need."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

OURS = {
    "adain_style.client",
    "adain_style.gimp",
    "adain_style.host",
    "adain_style.krita",
    "adain_net",
    "adain_plugin",
    "adain_server",
    "adain_stylize",
    "adain_trainer",
    "adain_weights",
}


def modules_of(package: str) -> str:
    """All modules of a package's folder."""
    folder = importlib.import_module(package).__path__
    return ", ".join(f"{package}.{module.name}" for module in pkgutil.iter_modules(folder))


HEAVY = {"torch", "torchvision", "numpy", "PIL", "safetensors", "huggingface_hub"}
SERVES = {"adain_server", "adain_style.client", "adain_weights"}

CASES = [
    ("adain_style.client.launcher", {"adain_style.client"}, HEAVY | {"gi"}),
    (
        "adain_style.client.choices, adain_style.client.progress, adain_style.client.folders",
        {"adain_style.client"},
        HEAVY | {"gi"},
    ),
    # For every host: GIMP's and Krita's own libraries are not needed.
    (
        "adain_style.host.session, adain_style.host.settings, adain_style.host.servers",
        {"adain_style.host", "adain_style.client"},
        HEAVY | {"gi"},
    ),
    ("adain_plugin.cli", {"adain_plugin", "adain_style.client", "adain_weights"}, HEAVY | {"zmq", "msgpack", "gi"}),
    ("adain_net.network, adain_net.layout", {"adain_net"}, {"zmq", "msgpack", "PIL", "safetensors", "torchvision"}),
    # The I/O process lists models on request; models are looked up on the Hub only when somebody asks for one.
    ("adain_weights.catalog", {"adain_weights"}, HEAVY),
    ("adain_weights.hub", {"adain_weights"}, {"torch", "torchvision", "PIL", "huggingface_hub"}),
    # Of the client they take the version only.
    ("adain_weights.cli", {"adain_weights", "adain_style.client"}, {"zmq", "msgpack", "PIL", "torchvision"}),
    # The I/O process checks saved styles and makes swatches; it never computes. That holds for all its folder.
    ("adain_server.cli", SERVES, {"torch", "torchvision"}),
    (
        modules_of("adain_server.io_process"),
        {"adain_server", "adain_style.client", "adain_weights"},
        {"torch", "torchvision"},
    ),
    (
        modules_of("adain_server.access"),
        {"adain_server", "adain_style.client"},
        {"torch", "torchvision", "numpy", "PIL"},
    ),
    # A client of the server; saving a style loads the network only then.
    ("adain_stylize.cli", {"adain_stylize", "adain_style.client", "adain_weights"}, {"torch", "torchvision"}),
    (
        "adain_server.worker.worker",
        {"adain_server", "adain_style.client", "adain_weights", "adain_net"},
        {"torchvision"},
    ),
    ("adain_trainer.cli", {"adain_trainer", "adain_net", "adain_weights", "adain_style.client"}, {"zmq", "msgpack"}),
]


@pytest.mark.parametrize(("modules", "allowed", "forbidden"), CASES, ids=[case[0].split(",")[0] for case in CASES])
def test_package_imports_only_what_it_may(modules: str, allowed: set[str], forbidden: set[str]) -> None:
    """In a fresh interpreter, importing loads none of the forbidden modules and none of our other packages."""
    program = f"import {modules}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    packages = {".".join(name.split(".")[:length]) for name in loaded for length in (1, 2)}
    assert packages & OURS <= allowed
    assert not packages & forbidden
