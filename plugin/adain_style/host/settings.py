"""The settings of a request, and keeping them: the last settings, named presets, where the server is."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from adain_style.client import protocol
from adain_style.client.choices import ChoiceError, RegionChoice, StyleChoice
from adain_style.client.folders import settings_folder, write_whole
from adain_style.client.texts import _

OUTPUTS = ("new-layer", "in-place")
MAX_CHOSEN_STYLES = 4
"""The most styles of a region in a window; scripts may mix as many as the protocol allows."""
MAX_STROKE_SIZE = protocol.MAX_STROKE_SIZE
FITTING_SIDE = 1024
"""A picture's longer side, in pixels, at which the network's own strokes look right."""
DEFAULT_IDLE_MINUTES = 10
LONGEST_NAME = 80
"""The longest name of a preset, in characters."""

T = TypeVar("T")


@dataclass(frozen=True)
class StylizeSettings:
    """A whole request except for the pixels.

    Attributes:
        regions: At least one; the first one's mask is "" for the selection, or the whole layer without one.
        stroke_size: As in adain_style.client.jobs.StylizeRequest; 0 fits it to the picture's size.
        output: One of OUTPUTS.
        detail, model, quality: As in adain_style.client.jobs.StylizeRequest.
    """

    regions: tuple[RegionChoice, ...] = (RegionChoice(),)
    stroke_size: float = 0.0
    detail: float = 0.7
    output: str = OUTPUTS[0]
    model: str = ""
    quality: str = "fine"

    @property
    def in_place(self) -> bool:
        """Whether the layer itself is changed."""
        return self.output == "in-place"

    def strokes_for(self, height: int, width: int) -> float:
        """The stroke size for a picture of this size, which is in pixels."""
        fitting = min(max(height, width) / FITTING_SIDE, MAX_STROKE_SIZE)
        return self.stroke_size or max(1.0, round(fitting, 1))


@dataclass(frozen=True)
class ServerSettings:
    """The choice of a server.

    Attributes:
        remote: Whether it is on another machine, at address with the keys of key_file; otherwise this machine's.
        address: HOST:PORT. key_file: its connection file.
        idle_minutes: How long a server that is started here runs without work before it ends by itself.
    """

    remote: bool = False
    address: str = ""
    key_file: str = ""
    idle_minutes: int = DEFAULT_IDLE_MINUTES


@dataclass(frozen=True)
class SavedSettings:
    """Everything that is kept between sessions.

    Attributes:
        stylize: The settings that were painted with last. server: The server that is used.
        picture_folder: The folder in which a picture was last chosen.
        chosen: The settings that a window had last, painted with or not; None for stylize.
    """

    stylize: StylizeSettings = field(default_factory=StylizeSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    picture_folder: str = ""
    chosen: StylizeSettings | None = None


class SettingsStore:
    """The files of settings and presets. Unreadable settings never stop the work: the defaults are used."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: None for the platform's own."""
        self._folder = settings_folder() if folder is None else folder

    def load(self) -> SavedSettings:
        """Load the saved settings; the defaults when the file is missing or damaged.

        A damaged file is kept as settings.damaged.json, because the next save writes over it.
        """
        file = self._folder / "settings.json"
        try:
            return saved_from(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, RecursionError, ChoiceError):
            with contextlib.suppress(OSError):
                shutil.copyfile(file, file.with_suffix(".damaged.json"))
        except OSError:
            pass
        return SavedSettings()

    def save(self, saved: SavedSettings) -> None:
        """Keep the settings. A full or read-only disk only means that they are not remembered."""
        try:
            self._write(self._folder / "settings.json", _saved_fields(saved))
        except OSError:
            return

    def presets(self) -> list[str]:
        """The presets' names, in order."""
        return sorted((unquote(path.stem) for path in self._presets().glob("*.json")), key=str.casefold)

    def load_preset(self, name: str) -> StylizeSettings:
        """Load a preset. Raises ChoiceError when it is missing or damaged."""
        try:
            return settings_from(json.loads(self._preset(name).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            raise ChoiceError(_("The preset '{name}' cannot be read; save it again.").format(name=name)) from None

    def save_preset(self, name: str, settings: StylizeSettings) -> None:
        """Save settings under a name, in place of a preset of that name. Raises ChoiceError."""
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise ChoiceError(_("A preset's name has 1 to {n} characters.").format(n=LONGEST_NAME))
        try:
            self._write(self._preset(name), asdict(settings))
        except OSError as error:
            raise ChoiceError(
                _("The preset cannot be saved: {reason}.").format(reason=error.strerror or error)
            ) from None

    def delete_preset(self, name: str) -> None:
        """Delete a preset, if it exists. Raises ChoiceError."""
        try:
            self._preset(name).unlink(missing_ok=True)
        except OSError as error:
            raise ChoiceError(
                _("The preset cannot be deleted: {reason}.").format(reason=error.strerror or error)
            ) from None

    def _presets(self) -> Path:
        return self._folder / "presets"

    def _preset(self, name: str) -> Path:
        # Letters of all scripts stay as they are: quoted, a Chinese name would be too long for a file's name.
        quoted = re.sub(r'[%/\\:*?"<>|]', lambda found: f"%{ord(found[0]):02X}", name.strip())
        return self._presets() / f"{quoted}.json"

    @staticmethod
    def _write(path: Path, fields: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(fields, indent=1).encode())


def _saved_fields(saved: SavedSettings) -> dict[str, Any]:
    fields = asdict(saved)
    return {"choices": fields.pop("stylize"), **fields}  # the name in the file since its first version


def saved_from(fields: Any) -> SavedSettings:
    """Read everything that is kept between sessions. Raises ChoiceError."""
    server = _fields(fields, "server", dict)
    return SavedSettings(
        settings_from(_fields(fields, "choices", dict)),
        ServerSettings(
            remote=_fields(server, "remote", bool),
            address=_fields(server, "address", str),
            key_file=_fields(server, "key_file", str),
            idle_minutes=max(1, _fields(server, "idle_minutes", int)),
        ),
        _fields(fields, "picture_folder", str),
        # Older files lack this field.
        None if fields.get("chosen") is None else settings_from(_fields(fields, "chosen", dict)),
    )


def settings_from(fields: Any) -> StylizeSettings:
    """Read the settings of a request. Raises ChoiceError."""
    regions = tuple(_region_from(region) for region in _fields(fields, "regions", list))
    settings = StylizeSettings(
        regions[: protocol.MAX_REGIONS],
        stroke_size=_number(fields, "stroke_size", 0.0, MAX_STROKE_SIZE),
        detail=_number(fields, "detail", 0.0, 1.0),
        output=_one_of(fields, "output", OUTPUTS),
        # Older files lack both fields.
        model=_fields(fields, "model", str) if "model" in fields else StylizeSettings.model,
        quality=_one_of(fields, "quality", protocol.QUALITY) if "quality" in fields else StylizeSettings.quality,
    )
    if 0 < settings.stroke_size < 1:
        raise _damaged("stroke_size")
    return settings if regions else replace(settings, regions=StylizeSettings().regions)


def _region_from(fields: Any) -> RegionChoice:
    styles = tuple(
        StyleChoice(_fields(style, "source", str), _number(style, "weight", 0.0, 1e6))
        for style in _fields(fields, "styles", list)
    )
    return RegionChoice(
        styles[: protocol.MAX_STYLES],
        alpha=_number(fields, "alpha", 0.0, 1.0),
        preserve_color=_one_of(fields, "preserve_color", protocol.PRESERVE_COLOR),
        mask=_fields(fields, "mask", str),
    )


def _fields(fields: Any, name: str, kind: type[T]) -> T:
    value: Any = fields.get(name) if isinstance(fields, dict) else None
    if type(value) is not kind:
        raise _damaged(name)
    return value


def _number(fields: Any, name: str, least: float, most: float) -> float:
    value: Any = fields.get(name) if isinstance(fields, dict) else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and least <= value <= most):  # NaN is not between anything
        raise _damaged(name)
    return float(value)


def _one_of(fields: Any, name: str, allowed: tuple[str, ...]) -> str:
    value = _fields(fields, name, str)
    if value not in allowed:
        raise _damaged(name)
    return value


def _damaged(name: str) -> ChoiceError:
    return ChoiceError(_("The file of settings is damaged: {name} is missing or wrong.").format(name=name))
