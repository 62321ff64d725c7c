"""Where a user's settings and styles are kept."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from adain_style.client.connection import runtime_folder
from adain_style.client.folders import settings_folder, user_styles_folder, write_whole


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


def test_settings_are_kept_apart_from_styles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CONFIG_HOME when it is a whole path, else the home folder's; on Windows and macOS the platform's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert settings_folder() == tmp_path / "config" / "adain-style"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", ignored)
        assert settings_folder() == tmp_path / ".config" / "adain-style"
    monkeypatch.setattr(sys, "platform", "win32")
    assert settings_folder() == tmp_path / "Roaming" / "adain-style"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert settings_folder() == tmp_path / "Library" / "Application Support" / "adain-style"
    assert list(tmp_path.iterdir()) == []


def test_file_appears_whole_and_private(tmp_path: Path) -> None:
    """0600 even in place of a file that others could read; who holds the old one open keeps reading it."""
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with path.open("rb") as old:
        write_whole(path, b"new")
        assert old.read() == b"old"
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """What it points to stays as it is."""
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "kept").symlink_to("precious")
    write_whole(tmp_path / "kept", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "kept").is_symlink() and (tmp_path / "kept").read_bytes() == b"new"


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder in the way, or none to write into: OSError, and no temporary file."""
    (tmp_path / "kept").mkdir()
    for path in (tmp_path / "kept", tmp_path / "missing" / "kept"):
        with pytest.raises(OSError, match=r"kept|missing"):
            write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]


def test_session_folder_of_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As after sudo, which may keep the environment: what root writes there would lock the user out."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_folder() == tmp_path / "adain-style"
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert runtime_folder().name == f"adain-style-{tmp_path.stat().st_uid + 1}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    assert runtime_folder() == tmp_path / "none" / "adain-style"
