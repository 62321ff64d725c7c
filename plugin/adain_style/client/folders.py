"""The platform's folders for a user's settings and styles, and writing into them so that nothing is lost."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

NO_HOME = Path("/nonexistent")
"""The home that systems give to users without one: nothing is found in it, and nothing can be written."""


def plugin_folder() -> Path:
    """The plug-in's folder, which holds its catalogues of texts: in a host, in a checkout and in site-packages."""
    return Path(__file__).parent.parent


def settings_folder() -> Path:
    """The folder for settings and presets. Not created here."""
    return _platform_folder("XDG_CONFIG_HOME", ".config") / "adain-style"


def user_styles_folder() -> Path:
    """The folder for the user's own styles, which are saved styles and pictures. Not created here."""
    return _platform_folder("XDG_DATA_HOME", ".local/share") / "adain-style" / "styles"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole, and lasts; only its owner may read it. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut. Windows cannot open a folder, and does without."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def home_folder() -> Path:
    """The user's home; NO_HOME where it is not known, as for a container's user who has only a number."""
    try:
        return Path.home()
    except RuntimeError:
        return NO_HOME


def _platform_folder(variable: str, default: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home_folder() / "AppData" / "Roaming")
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support"
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else home_folder() / default  # the specification says to ignore a relative one
