"""Which files of a user's folder are styles: one rule for the server and for every window."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adain_server.io_process.library import StyleLibrary
from adain_style.client.choices import PICTURE_SUFFIXES, style_files
from adain_style.host import styles as host_styles
from adain_weights.picture_formats import PLAIN_SUFFIXES
from support.helpers import random_pixels

FILES = [
    "Waves.PNG",
    "waves 2.jpg",
    "notes.txt",
    "Thumbs.db",
    ".hidden.png",
    "._Waves.PNG",
    "---.png",
    os.fsdecode(b"caf\xe9.png"),
    "saved.safetensors",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A styles folder as file managers leave it."""
    for name in FILES:
        (tmp_path / name).write_bytes(bytes(random_pixels(4, 4).data))
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_pictures_and_saved_styles_are_styles_and_nothing_else(folder: Path) -> None:
    """By their names' letters and digits; no hidden file, no other program's, no folder, no name of signs alone."""
    found = {name: path.name for name, path in style_files(folder, PICTURE_SUFFIXES).items()}
    assert found == {"saved": "saved.safetensors", "waves": "Waves.PNG", "waves-2": "waves 2.jpg"}
    assert style_files(folder / "missing", PICTURE_SUFFIXES) == {}


@pytest.mark.parametrize("refused", ["iterdir", "is_file"])
def test_folder_that_is_closed_to_its_user_has_no_styles(
    folder: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Neither to be listed nor to be entered: the other styles are there all the same."""

    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, refused, fail)
    assert style_files(folder, PICTURE_SUFFIXES) == {}


def test_windows_and_server_have_the_same_rule(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a window shows before the server has answered is what the server then lists, as far as it can be read."""
    monkeypatch.setattr(host_styles, "user_styles_folder", lambda: folder)
    listed = {entry.name for entry in StyleLibrary(folder).entries() if entry.own}
    assert set(host_styles.own_styles()) - {"saved"} == listed == {"waves", "waves-2"}
    assert PICTURE_SUFFIXES == PLAIN_SUFFIXES
