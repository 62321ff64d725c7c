"""The styles that a user chose: loading them for the wire, naming them, and saving the user's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from adain_style.client import protocol
from adain_style.client.choices import (
    PICTURE_SUFFIXES,
    ChoiceError,
    is_saved_style,
    picture_and_crop,
    style_files,
    style_name,
)
from adain_style.client.folders import user_styles_folder
from adain_style.client.jobs import Pixels, StyleFile, StyleInfo, StyleSource
from adain_style.client.texts import _
from adain_style.host.settings import StylizeSettings

LAYER_STYLE = "layer:"
"""The prefix of a host's name for a layer that is used as a style; it is valid as long as its document is open."""
MAX_STYLE_SIDE = 1024
"""Longer side, in pixels, of a layer or picture that is used as a style."""


class StyleReader(Protocol):
    """A host's reader of styles. Pixels are RGBA u8, the longer side at most MAX_STYLE_SIDE."""

    def read_picture(self, path: Path, crop: tuple[int, int, int, int] | None) -> Pixels:
        """Read a picture's file. crop: left, top, width, height of a part of it. Raises ChoiceError."""

    def read_layer(self, name: str) -> Pixels | None:
        """Read a layer, by the host's name for it; None when it is not open any more."""

    def layer_title(self, name: str) -> str | None:
        """The name that the user gave that layer; None when it is not open any more."""


class StyleResolver:
    """The styles that one window knows: the server's, the user's own, and those that were read already."""

    def __init__(self, reader: StyleReader) -> None:
        """reader: The host's reader of styles."""
        self._reader = reader
        self._loaded: dict[str, StyleSource] = {}
        self.known: list[StyleInfo] = []
        """The server's styles; the window sets them when it is connected."""

    def load(self, settings: StylizeSettings) -> dict[str, StyleSource]:
        """Load every style of the settings for the wire; returns them by source. Raises ChoiceError."""
        sources = [style.source for region in settings.regions for style in region.styles]
        return {source: self.load_one(source) for source in dict.fromkeys(sources)}

    def load_one(self, source: str, *, again: bool = False) -> StyleSource:
        """Load a style for the wire.

        Args:
            source: The style's source.
            again: Read it even if it was read before; otherwise nothing is read twice.
        Raises:
            ChoiceError: There is no such file or layer, or it cannot be read.
        """
        if again or source not in self._loaded:
            loaded = load_style(source, self._reader, {style.name for style in self.known})
            if isinstance(loaded, str):
                return loaded  # not kept: whether the server knows the name may change
            self._loaded[source] = loaded
        return self._loaded[source]

    def put(self, source: str, pixels: Pixels) -> None:
        """Set the pixels of a style's layer that was read just now."""
        self._loaded[source] = pixels

    def forget(self) -> None:
        """Forget the pictures, so that each is read again when it is needed; layers come from put(), and are kept."""
        self._loaded = {name: style for name, style in self._loaded.items() if name.startswith(LAYER_STYLE)}

    def title(self, source: str) -> str:
        """A style's title."""
        if source.startswith(LAYER_STYLE):
            return self._reader.layer_title(source.removeprefix(LAYER_STYLE)) or _("a layer")
        titles = {style.name: style.title or style.name for style in self.known}
        return titles.get(source) or picture_and_crop(source)[0].stem

    def result_name(self, settings: StylizeSettings) -> str:
        """The name of a new layer, made of its styles' titles."""
        sources = [style.source for region in settings.regions for style in region.styles if style.weight > 0]
        return " + ".join(dict.fromkeys(self.title(source) for source in sources))

    def gallery(self, settings: StylizeSettings) -> list[GalleryEntry]:
        """Every style that can be chosen, the user's own first; chosen styles are always among them."""
        known = [
            GalleryEntry(
                style.name,
                style.title or style.name,
                ", ".join(filter(None, (style.artist, style.origin, style.licence))),
            )
            for style in self.known
        ]
        names = {style.name for style in self.known}
        own = [GalleryEntry(name, path.stem, str(path)) for name, path in own_styles().items() if name not in names]
        listed = {entry.source for entry in (*own, *known)}
        chosen = {style.source for region in settings.regions for style in region.styles}
        return [*own, *(GalleryEntry(source, self.title(source), source) for source in sorted(chosen - listed)), *known]

    def picture(self, source: str) -> Pixels | None:
        """A chosen style's picture, for its thumbnail; None when it is no picture, or cannot be read."""
        with suppress(ChoiceError):
            loaded = self.load_one(source)
            return loaded if isinstance(loaded, Pixels) else None
        return None


@dataclass(frozen=True)
class GalleryEntry:
    """A style in the gallery.

    Attributes:
        source: As in StyleChoice. title: Shown below the picture. about: Everything else that is known of it.
        thumbnail: A picture of the host's toolkit; None until it is there.
    """

    source: str
    title: str
    about: str = ""
    thumbnail: Any = None

    def with_thumbnail(self, thumbnail: Any) -> GalleryEntry:
        """The same entry with a thumbnail."""
        return replace(self, thumbnail=thumbnail)

    def matches(self, text: str) -> bool:
        """Whether what a user searches for occurs in the title or description."""
        return text.strip().casefold() in f"{self.title} {self.about}".casefold()


def load_style(source: str, reader: StyleReader, known: Collection[str]) -> StyleSource:
    """Load a style's source for the wire.

    Args:
        source: A picture's file, PICTURE[LEFT,TOP,WIDTH,HEIGHT], a saved style's file, LAYER_STYLE and a layer's
            name, or the name of a style that the server knows or that is in the user's own styles folder.
        reader: The host's reader of styles.
        known: The names of the server's styles.
    Raises:
        ChoiceError: There is no such file or layer, or it cannot be read.
    """
    if source.startswith(LAYER_STYLE):
        pixels = reader.read_layer(source.removeprefix(LAYER_STYLE))
        if pixels is None:
            raise ChoiceError(_("The layer that was chosen as a style is not open any more; choose another style."))
        return pixels
    path, crop = picture_and_crop(source)
    if crop is None and not path.exists() and protocol.STYLE_NAME.fullmatch(source):
        own = None if source in known else own_styles().get(source)
        if own is None:
            return source
        path = own  # a server on another machine does not see this one's folder
    if not path.is_file():
        raise ChoiceError(_("There is no style or picture '{name}'.").format(name=source))
    if is_saved_style(path):
        return StyleFile(path.read_bytes())
    return reader.read_picture(path, crop)


def own_styles() -> dict[str, Path]:
    """The files of the user's own styles folder, by the names that a server gives them."""
    return style_files(user_styles_folder(), PICTURE_SUFFIXES)


def save_style(title: str, write_png: Callable[[Path], str]) -> Path:
    """Save a picture in the user's own styles folder; a server on this machine knows it by name at once.

    Args:
        title: The name that the user gives it.
        write_png: Writes the picture's file; returns why that failed, or "".
    Raises:
        ChoiceError: The title is not usable as a file's name, or is taken, or the file cannot be written.
    """
    if not style_name(title) or set(title) & set('/\\:*?"<>|') or title.startswith("."):
        raise ChoiceError(_("A style's name has letters or digits, and no signs such as / or :."))
    if style_name(title) in own_styles():
        raise ChoiceError(_("You have a style '{name}' already; choose another name.").format(name=title))
    folder = user_styles_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as hidden:
            written = Path(hidden) / "style.png"
            if problem := write_png(written):
                raise ChoiceError(_("The style cannot be saved: {reason}.").format(reason=problem))
            return written.replace(folder / f"{title}.png")
    except OSError as error:
        raise ChoiceError(_("The style cannot be saved: {reason}.").format(reason=error.strerror or error)) from None
