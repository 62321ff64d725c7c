"""Imports go one way; each package runs with what it is allowed to need."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = {
    "adain_client",
    "adain_gimp",
    "adain_host",
    "adain_net",
    "adain_plugin",
    "adain_server",
    "adain_trainer",
    "adain_weights",
}
HEAVY = {"torch", "torchvision", "numpy", "PIL", "safetensors", "huggingface_hub"}

CASES = [
    ("adain_client.launcher", {"adain_client"}, HEAVY | {"gi"}),
    ("adain_client.choices, adain_client.progress, adain_client.folders", {"adain_client"}, HEAVY | {"gi"}),
    # For every host: GIMP's and Krita's own libraries are not needed.
    ("adain_host.session, adain_host.settings, adain_host.servers", {"adain_host", "adain_client"}, HEAVY | {"gi"}),
    ("adain_net.network, adain_net.layout", {"adain_net"}, {"zmq", "msgpack", "PIL", "safetensors", "torchvision"}),
    # The I/O process lists models on request; models are looked up on the Hub only when somebody asks for one.
    ("adain_weights.catalog", {"adain_weights"}, HEAVY),
    ("adain_weights.hub", {"adain_weights"}, {"torch", "torchvision", "PIL", "huggingface_hub"}),
    ("adain_weights.cli", {"adain_weights"}, {"zmq", "msgpack", "PIL", "torchvision"}),
    # The I/O process checks saved styles and makes swatches; it never computes.
    ("adain_server.cli", {"adain_server", "adain_client", "adain_weights"}, {"torch", "torchvision"}),
    ("adain_server.worker", {"adain_server", "adain_client", "adain_weights", "adain_net"}, {"torchvision"}),
    ("adain_trainer.cli", {"adain_trainer", "adain_net", "adain_weights"}, {"zmq", "msgpack"}),
]


@pytest.mark.parametrize(("modules", "allowed", "forbidden"), CASES, ids=[case[0].split(",")[0] for case in CASES])
def test_package_imports_only_what_it_may(modules: str, allowed: set[str], forbidden: set[str]) -> None:
    """In a fresh interpreter, importing loads none of the forbidden modules and none of our other packages."""
    program = f"import {modules}, sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )
    assert loaded & OURS <= allowed
    assert not loaded & forbidden
