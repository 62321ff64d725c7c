"""adain-server with a model of the Hub: fetched once, there without a network afterwards, never a dead end."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adain_weights.catalog import DECODER
from adain_weights.manifest import DEFAULT_MODEL
from hub.mirror import HubMirror, Refusal, Repository
from hub.models import NAME, model_files
from support.helpers import SERVER_COMMAND, RunningServer

REFERENCE = "hf://atelier/made-up"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: HubMirror) -> Repository:
    """A repository with a model, where servers that are started from here find it."""
    monkeypatch.setenv("HF_ENDPOINT", mirror.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    repository = mirror.repositories["atelier/made-up"] = Repository()
    repository.commit(model_files())
    return repository


def _start(tmp_path: Path, *options: str) -> RunningServer:
    return RunningServer("--model", REFERENCE, *options, "--models", str(tmp_path / "models"))


def test_first_start_fetches_and_the_next_one_needs_no_network(
    hub: Repository, mirror: HubMirror, tmp_path: Path
) -> None:
    """The second time the Hub is not asked, so that a branch that has moved changes nothing."""
    with _start(tmp_path) as server, server.client() as client:
        assert client.hello().model == NAME and NAME in [model.name for model in client.models()]
    hub.commit(model_files(0.1))
    mirror.requests.clear()
    with _start(tmp_path) as server, server.client() as client:
        assert client.hello().model == NAME
    assert mirror.requests == []


def test_first_start_shows_a_bar_in_a_terminal(hub: Repository, tmp_path: Path) -> None:
    """Whoever waits for megabytes sees how many there are."""
    assert hub.commits
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 25, 100, 0, 0))  # a bar needs a width
    place = tempfile.mkdtemp(prefix="adain-test-")  # a socket's path has to be short
    options = ["--device", "cpu", "--models", str(tmp_path / "models"), "--connection-file", f"{place}/connection.json"]
    server = subprocess.Popen([*SERVER_COMMAND, "--model", REFERENCE, *options], stdout=theirs, stderr=theirs)
    try:
        text = ""
        deadline = time.monotonic() + 60
        while "Ready on" not in text and time.monotonic() < deadline:
            if select.select([ours], [], [], 1.0)[0]:
                text += os.read(ours, 65536).decode()
    finally:
        server.terminate()
        server.wait(timeout=30)
        os.close(theirs)
        os.close(ours)
        shutil.rmtree(place)
    assert "Ready on" in text and DECODER in text and "100%" in text


def _gone(hub: Repository) -> None:
    hub.branches.clear()
    hub.commits.clear()
    hub.refusal = Refusal(401, "RepoNotFound")


def _gated(hub: Repository) -> None:
    hub.refusal = Refusal(403, "GatedRepo")


def _wrong_bytes(hub: Repository) -> None:
    files = model_files()
    hub.commit({**files, DECODER: files[DECODER][:-4] + b"\0\0\0\1"})


def _another_network(hub: Repository) -> None:
    hub.branches.clear()
    hub.commit({DECODER: b"\x02\0\0\0\0\0\0\0{}"})


@pytest.mark.parametrize("fault", [_gone, _gated, _wrong_bytes, _another_network])
def test_server_starts_with_the_embedded_model_and_says_why(
    hub: Repository, tmp_path: Path, fault: Callable[[Repository], None]
) -> None:
    """One line names what failed and what is used; nothing half is left."""
    fault(hub)
    with _start(tmp_path) as server, server.client() as client:
        assert client.hello().model == DEFAULT_MODEL
        (line,) = [line for line in server.text().splitlines() if "Until then" in line]
        assert "made-up" in line and DEFAULT_MODEL in line
        assert NAME not in [model.name for model in client.models()]


@pytest.mark.fault(92)
def test_server_starts_without_a_network(hub: Repository, mirror: HubMirror, tmp_path: Path) -> None:
    """Offline at the first start: the embedded model, and a line that says so."""
    mirror.stop()
    with _start(tmp_path) as server, server.client() as client:
        assert client.hello().model == DEFAULT_MODEL and "check the network" in server.text()
    assert hub.commits


@pytest.mark.fault(92)
def test_server_starts_behind_a_socks_proxy_without_its_package(
    hub: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model, and a line that names the package."""
    (tmp_path / "socksio.py").write_text("raise ModuleNotFoundError(\"No module named 'socksio'\", name='socksio')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with _start(tmp_path) as server, server.client() as client:
        assert client.hello().model == DEFAULT_MODEL
        assert "needs the package socksio; install it, or unset ALL_PROXY" in server.text()
    assert hub.commits
