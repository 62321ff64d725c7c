"""The programs that README shows run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adain_style.client import launcher
from support.helpers import RunningServer, random_pixels

README = Path(__file__).parents[2] / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photograph and a painting."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("photo.jpg", 1), ("painting.jpg", 2)):
        pixels = random_pixels(64, 80, seed=seed)
        Image.frombytes("RGB", (80, 64), bytes(pixels.data)).save(name)
    return tmp_path


def test_program_with_the_server(folder: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its picture has the photograph's size, and is another one."""
    monkeypatch.setattr(launcher, "connect", lambda *, name: server.client())  # noqa: ARG005
    exec(PROGRAMS[0], {})  # noqa: S102  # our own text
    with Image.open(folder / "wave.png") as painted, Image.open(folder / "photo.jpg") as photo:
        assert painted.size == photo.size
        assert float(np.abs(np.asarray(painted, dtype=float) - np.asarray(photo, dtype=float)).mean()) > 5


@pytest.mark.usefixtures("folder")
def test_program_with_the_network_alone() -> None:
    """A picture of the photograph's shape, in range."""
    names: dict[str, Any] = {}
    exec(PROGRAMS[1], names)  # noqa: S102  # our own text
    painted = names["painted"]
    assert painted.shape == (1, 3, 64, 80) and 0 <= float(painted.min()) < float(painted.max()) <= 1
    assert float((painted - names["photo"]).abs().mean()) > 5 / 255
