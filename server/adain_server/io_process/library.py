"""Styles that have names: those that come with the program, and those in the user's own folder.

The folder is read each time, so that a style that was just added is found.
"""

from __future__ import annotations

from pathlib import Path

from adain_server.errors import JobError
from adain_style.client.choices import is_saved_style, style_files
from adain_style.client.jobs import StyleInfo
from adain_style.client.protocol import MAX_TEXT
from adain_weights.errors import WeightsError
from adain_weights.picture_formats import SUFFIXES
from adain_weights.styles import built_in_styles, read_style


class StyleLibrary:
    """Finds styles by name."""

    def __init__(self, folder: Path) -> None:
        """folder: The user's own saved styles and pictures; it need not exist."""
        self._folder = folder
        self._read: dict[tuple[Path, int], StyleInfo | None] = {}

    def entries(self) -> list[StyleInfo]:
        """Every style that can be read: the user's own first, each group by name."""
        own = {name: self._entry(name, path, own=True) for name, path in style_files(self._folder, SUFFIXES).items()}
        built_in = {
            name: self._entry(name, path, own=False) for name, path in built_in_styles().items() if name not in own
        }
        return [entry for entry in (*own.values(), *built_in.values()) if entry is not None]

    def find(self, name: str) -> Path:
        """A style's file. Raises JobError UNKNOWN_STYLE."""
        path = style_files(self._folder, SUFFIXES).get(name) or built_in_styles().get(name)
        if path is None:
            raise JobError("UNKNOWN_STYLE", f"There is no style '{name}'; 'adain-stylize --list-styles' names them.")
        return path

    def saved_swatch(self, path: Path) -> bytes | None:
        """The thumbnail in a saved style, a JPEG file; None for a picture. Raises JobError BAD_STYLE."""
        if not is_saved_style(path):
            return None
        try:
            return read_style(path).swatch
        except WeightsError as error:
            raise JobError("BAD_STYLE", str(error)) from None

    def _entry(self, name: str, path: Path, *, own: bool) -> StyleInfo | None:
        """A style's description; None when its file is damaged."""
        key = (path, path.stat().st_mtime_ns)
        if key not in self._read:
            self._read[key] = _read_entry(name, path, own=own)
        return self._read[key]


def _read_entry(name: str, path: Path, *, own: bool) -> StyleInfo | None:
    if not is_saved_style(path):
        return StyleInfo(name, path.stem[:MAX_TEXT], "", "a picture in your styles folder", "", own)
    try:
        style = read_style(path)
    except WeightsError:
        return None
    return StyleInfo(name, style.title, style.artist, style.origin, style.licence, own)
