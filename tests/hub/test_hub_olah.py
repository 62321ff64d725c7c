"""The command, in a process of its own, against the Hub mirror program olah over a plain git repository."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adain_weights.catalog import DECODER, read_about
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model
from hub.mirror import sha256
from hub.models import NAME, decoder_bytes, model_files

pytest.importorskip("olah", reason="the mirror program is not installed")

START_S = 60.0


class Olah:
    """A running mirror of one git repository, atelier/made-up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "mirrors" / "models" / "atelier" / "made-up"
        self.repository.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch", "main")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        configuration = (
            f'[basic]\nhost = "127.0.0.1"\nport = {self.port}\nrepos-path = "{folder / "repos"}"\n'
            f'mirrors-path = ["{folder / "mirrors"}"]\n[accessibility]\noffline = true\n'
        )
        (folder / "olah.toml").write_text(configuration)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "olah.server", "-c", "olah.toml"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < end, "olah does not start"
            time.sleep(0.1)

    def commit(self, files: dict[str, bytes]) -> str:
        """Put files on the main branch; returns the commit."""
        for name, data in files.items():
            (self.repository / name).write_bytes(data)
        self._git("add", ".")
        self._git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "model")
        return self._git("rev-parse", "HEAD")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """adain-weights, asking this mirror, with its data and cache below the folder."""
        names = {"HF_ENDPOINT": f"http://127.0.0.1:{self.port}", "HF_HOME": "home", "XDG_DATA_HOME": "data"}
        paths = {name: path if "://" in path else str(self.folder / path) for name, path in names.items()}
        return subprocess.run(
            [sys.executable, "-m", "adain_weights.cli", *arguments],
            env={**os.environ, **paths, "NO_PROXY": "127.0.0.1", "HF_TOKEN": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    def stop(self) -> None:
        """From now on nothing answers."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def olah(tmp_path: Path) -> Iterator[Olah]:
    """A mirror that runs while the test does."""
    running = Olah(tmp_path)
    yield running
    running.stop()


def test_command_pulls_pins_updates_and_repairs(olah: Olah) -> None:
    """Fresh; again without a server; the branch moved; a damaged copy; and what is not there."""
    models = olah.folder / "data" / "adain-style" / "models"
    first = olah.commit(model_files())
    done = olah.run("pull", "hf://atelier/made-up")
    assert done.returncode == 0, done.stderr
    about = read_about(models / NAME)
    assert about is not None and about.commit == first
    assert load_model(NAME, models).encoder_digest == load_model(DEFAULT_MODEL).encoder_digest
    second = olah.commit(model_files(0.25))
    (models / NAME / DECODER).write_bytes(b"damaged")
    assert olah.run("pull", "hf://atelier/made-up").returncode == 0
    assert (models / NAME / DECODER).read_bytes() == decoder_bytes()
    assert olah.run("pull", "--update", "hf://atelier/made-up").returncode == 0
    about = read_about(models / NAME)
    assert about is not None and about.commit == second and about.files[DECODER] == sha256(decoder_bytes(0.25))
    refused = olah.run("pull", "hf://atelier/nothing")
    assert refused.returncode == 1 and "atelier/nothing" in refused.stderr and "Traceback" not in refused.stderr
    olah.stop()
    assert olah.run("pull", "hf://atelier/made-up").returncode == 0
    offline = olah.run("pull", "hf://atelier/other")
    assert offline.returncode == 1 and "could not be reached" in offline.stderr and offline.stderr.count("\n") == 1
    assert olah.run("verify").returncode == 0
