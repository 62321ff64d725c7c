"""What is set on this machine and keeps the Hub's client from asking: said as what it is, and the server starts."""

from __future__ import annotations

import builtins
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from adain_weights import hub
from adain_weights.errors import WeightsError
from adain_weights.hub import obtain, pull
from adain_weights.manifest import DEFAULT_MODEL
from hub.mirror import HubMirror
from hub.models import MINE, is_sentence, model_files


def _pull_with(mirror: HubMirror, folder: Path, **environment: str) -> str:
    """What `adain-weights pull` says in an environment; it must fail."""
    mirror.add(MINE.repo_id, model_files())
    kept = {name: value for name, value in os.environ.items() if name.upper() not in {"NO_PROXY", "ALL_PROXY"}}
    done = subprocess.run(
        [sys.executable, "-m", "adain_weights.cli", "pull", "hf://atelier/made-up", "--models", str(folder / "models")],
        env={**kept, "HF_ENDPOINT": mirror.url, "HF_HOME": str(folder / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and is_sentence(done.stderr.rstrip("\n"))
    return done.stderr


@pytest.mark.fault(92)
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SSL_CERT_FILE": "/nowhere/certificates.pem"}, "(No such file or directory); check SSL_CERT_FILE"),
        ({"SSL_CERT_FILE": __file__}, "(they are damaged); check SSL_CERT_FILE"),
        ({"HF_TOKEN": "hf_é"}, "Your token for the Hub is damaged"),
        ({"ALL_PROXY": "gopher://127.0.0.1:1"}, "the proxy's settings"),
        ({"HF_ENDPOINT": "http://[::bad"}, "check HF_ENDPOINT"),
    ],
    ids=["certificates-missing", "certificates-damaged", "token", "proxy-of-no-kind", "endpoint"],
)
def test_wrong_setting_is_named(mirror: HubMirror, tmp_path: Path, environment: dict[str, str], words: str) -> None:
    """One line that neither blames the network nor a full disk."""
    said = _pull_with(mirror, tmp_path, **environment)
    assert words in said and "make room" not in said and "check the network" not in said


@pytest.mark.parametrize("content", [b"\xff\xfe\0", None], ids=["binary", "folder"])
def test_damaged_token_file_is_the_token(
    mirror: HubMirror, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    """A file of other bytes, or a folder in its place."""
    mirror.add(MINE.repo_id, model_files())
    path = tmp_path / "my-token"
    path.mkdir() if content is None else path.write_bytes(content)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    with pytest.raises(WeightsError, match=r"^Your token for the Hub is damaged, so atelier/made-up "):
        pull(MINE, models)


@pytest.mark.fault(92)
def test_socks_proxy_without_its_package_starts_with_the_embedded_model(
    mirror: HubMirror, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is named; obtain(), which the server asks, has the embedded model."""
    real_import = builtins.__import__

    def without_socksio(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "socksio":
            raise ModuleNotFoundError("No module named 'socksio'", name="socksio")
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_socksio)
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    model, notice = obtain("hf://atelier/made-up", models)
    assert model == DEFAULT_MODEL and is_sentence(notice)
    assert "needs the package socksio; install it, or unset ALL_PROXY" in notice and not mirror.requests


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AttributeError("of another version"), "bring the package huggingface_hub up to date"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "check SSL_CERT_FILE and the clock"),
        (ConnectionResetError(104, "Connection reset by peer"), "check the network"),
    ],
    ids=["mistake", "certificate", "cut"],
)
def test_whatever_the_client_raises_is_a_sentence(
    models: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """Its own mistakes, too."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(HfApi, "model_info", fail)
    with pytest.raises(WeightsError) as caught:
        pull(MINE, models)
    assert words in str(caught.value) and is_sentence(str(caught.value))


def test_obtain_has_a_model_whatever_happens(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what no boundary knows."""

    def fail(*_arguments: object, **_options: object) -> str:
        raise NotImplementedError("this file system has no locks")

    monkeypatch.setattr(hub, "pull", fail)
    model, notice = obtain("hf://atelier/made-up", models)
    assert model == DEFAULT_MODEL
    assert notice == f"The model hf://atelier/made-up cannot be had; the embedded model {DEFAULT_MODEL} is used."
