"""Where a user's settings and styles are kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adain_client.folders import user_styles_folder


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="the folder of free desktops")
def test_users_folder_follows_the_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_DATA_HOME when it is a whole path, else the home folder's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_styles_folder() == tmp_path / "adain-style" / "styles"
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert user_styles_folder() == tmp_path / ".local" / "share" / "adain-style" / "styles"


def test_users_folder_on_the_other_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """%APPDATA%, and the Library folder of macOS."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path))
    assert user_styles_folder() == tmp_path / "adain-style" / "styles"
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_styles_folder() == tmp_path / "Library" / "Application Support" / "adain-style" / "styles"
