"""adain-stylize with many pictures: what one of them does to the server costs the others nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from PIL import Image

import adain_stylize.cli
from adain_style.client.errors import RequestError
from adain_style.client.jobs import StylizeRequest, StylizeResult
from adain_stylize.cli import main
from adain_weights.styles import read_style


class _Server:
    """Gives every content back, but refuses those that are wider than 20 pixels."""

    def __init__(self, code: str) -> None:
        self._code = code
        self.painted = 0

    def __enter__(self) -> _Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def stylize(self, request: StylizeRequest, **_listeners: Any) -> StylizeResult:
        self.painted += 1
        if request.content.width > 20:
            raise RequestError(self._code, "It is refused.")
        return StylizeResult(request.content, "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, of which the middle one is refused, and a style."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name, width in (("in/1.png", 20), ("in/2.png", 21), ("in/3.png", 19), ("style.png", 9)):
        Image.new("RGB", (width, 10)).save(name)
    return tmp_path


@pytest.mark.parametrize("code", ["TOO_LARGE", "OUT_OF_MEMORY"])
def test_picture_that_a_server_refuses_does_not_cost_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    """It is named, the others are painted, and the exit status says that one failed."""
    monkeypatch.setattr(adain_stylize.cli, "connect", lambda **_options: _Server(code))
    assert main(["in", "--style", "style.png", "--quiet", "-o", "out"]) == 1
    assert capsys.readouterr().err == "adain-stylize: in/2.png: It is refused.\n"
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["1.png", "3.png"]


def test_refusal_of_every_picture_ends_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A style that cannot be used is said once."""
    monkeypatch.setattr(adain_stylize.cli, "connect", lambda **_options: _Server("BAD_STYLE"))
    assert main(["in", "--style", "style.png", "--quiet", "-o", "out"]) == 1
    assert capsys.readouterr().err == "adain-stylize: It is refused.\n"
    assert [path.name for path in (folder / "out").iterdir()] == ["1.png"]


def test_full_disk_ends_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next picture is not painted for nothing; nothing half is left."""

    def fail(_picture: Image.Image, path: Path, *_arguments: object, **_options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    server = _Server("BUSY")
    monkeypatch.setattr(adain_stylize.cli, "connect", lambda **_options: server)
    monkeypatch.setattr(Image.Image, "save", fail)
    assert main(["in", "--style", "style.png", "--quiet", "-o", "out"]) == 1
    sentence = "out/1.png cannot be written: No space left on device; make room there."
    assert capsys.readouterr().err == f"adain-stylize: {sentence}\n"
    assert server.painted == 1 and not list((folder / "out").iterdir())


def test_style_of_a_file_whose_name_is_no_text_can_be_saved(folder: Path) -> None:
    """An old disk's name in Latin-1: what is no letter is replaced in the title."""
    name = os.fsdecode(b"K\xe4the.png")
    (folder / "style.png").rename(folder / name)
    assert main(["--style", name, "--save-style", "kaethe.safetensors"]) == 0
    style = read_style(folder / "kaethe.safetensors")
    assert (style.title, style.origin) == ("K?the", "saved from K?the.png")
