"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

# The tests read English sentences, whatever their user speaks; this comes before anything of ours is imported.
os.environ["LANGUAGE"] = "C"

import pytest

from adain_net.network import AdainNetwork
from adain_style.client.client import Client
from support.helpers import RunningServer, embedded_network


@pytest.fixture(scope="session")
def network() -> AdainNetwork:
    """The network with the embedded weights."""
    return embedded_network()


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A ready server that all tests share; a test that ends or harms it starts its own."""
    with RunningServer() as running:
        yield running


@pytest.fixture(scope="module")
def tcp_server() -> Iterator[RunningServer]:
    """A server on tcp with CURVE."""
    with RunningServer("--bind", "tcp://127.0.0.1:0") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    """A client of the shared server."""
    with server.client() as connected:
        yield connected


@pytest.fixture
def own_server() -> Iterator[RunningServer]:
    """A ready server of this test's own, to be harmed."""
    with RunningServer() as running:
        yield running
