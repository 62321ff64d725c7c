"""The catalog of models: the embedded ones and those in the user's models folder. Quick; no torch needed.

A model of the user's own is a folder with decoder.safetensors, perhaps encoder.safetensors, a model card (README.md),
and model.json, which describes the model and holds its files' digests.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adain_weights.errors import WeightsError
from adain_weights.files import folder_or_put_aside, put_aside_name
from adain_weights.manifest import read_manifest

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
"""Valid model names; none of them is a path on any platform."""

DECODER, ENCODER, CARD, ABOUT = "decoder.safetensors", "encoder.safetensors", "README.md", "model.json"
FORMAT = "adain-style model 1"
LONGEST_TEXT = 256
NO_HOME = Path("/nonexistent")
"""The home folder that systems give to users without one: it holds nothing and cannot be written to."""
LARGEST_ABOUT = 64 * 1024
"""Most bytes of model.json."""

_TEXTS = ("title", "description", "licence", "origin", "repository", "commit")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class CatalogModel:
    """A model that can be loaded by its name.

    Attributes:
        name: See is_model_name().
        title, description, licence, origin: Printable, at most LONGEST_TEXT characters; the last three may be empty.
        own: Whether it is in the user's folder; otherwise it comes with the project.
    """

    name: str
    title: str
    description: str
    licence: str
    origin: str
    own: bool


@dataclass(frozen=True)
class AboutModel:
    """The content of model.json, about the weights beside it. The constructor checks it.

    Attributes:
        title, description, licence, origin: Printable, at most LONGEST_TEXT characters.
        figures: Measured losses by name (style, content, target, identity, ...), finite; may be empty.
        files: SHA-256 of each weights file by its name, DECODER or ENCODER; write_model() fills it in.
        repository, commit: Its origin on the Hub, ORG/REPO and 40 hexadecimal digits; both empty for other models.
    Raises:
        WeightsError: A value is invalid.
    """

    title: str
    description: str
    licence: str
    origin: str
    figures: Mapping[str, float]
    files: Mapping[str, str]
    repository: str = ""
    commit: str = ""

    def __post_init__(self) -> None:
        for text in _TEXTS:
            if not _is_text(getattr(self, text)):
                raise _unusable(f"its {text} is not a printable text of at most {LONGEST_TEXT} characters")
        if self.commit and not _COMMIT.fullmatch(self.commit):
            raise _unusable("its commit is not 40 hexadecimal digits")
        if not isinstance(self.figures, Mapping) or not all(
            _is_text(name) and _is_number(figure) for name, figure in self.figures.items()
        ):
            raise _unusable("its figures are not finite numbers")
        if not isinstance(self.files, Mapping) or not all(
            name in (DECODER, ENCODER) and isinstance(digest, str) and _DIGEST.fullmatch(digest)
            for name, digest in self.files.items()
        ):
            raise _unusable(f"its files are not SHA-256 digests of {DECODER} and {ENCODER}")


def is_model_name(text: str) -> bool:
    """Whether a model name is valid: letters, digits, `.`, `_`, `-`, `@`, at most 128, a letter or digit first."""
    return MODEL_NAME.fullmatch(text) is not None


def user_models_folder() -> Path:
    """The folder of the user's own models. Not created here."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or _home_folder() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = _home_folder() / "Library" / "Application Support"
    else:
        named = Path(os.environ.get("XDG_DATA_HOME", ""))
        # The XDG specification says to ignore a relative path.
        base = named if named.is_absolute() else _home_folder() / ".local" / "share"
    return base / "adain-style" / "models"


def _home_folder() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # in a container, a user that has no name
        return NO_HOME


def known_models(folder: Path) -> list[CatalogModel]:
    """The embedded models, then those in a folder of the user's, by name; those without a decoder are left out.

    A missing or unreadable folder has none. A name in the manifest always means the embedded model.
    """
    models = _embedded_models()
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except OSError:
        entries = []
    for name in sorted({put_aside_name(entry) or entry for entry in entries}):
        if is_model_name(name) and name not in models and (model := _own_model(folder, name)):
            models[name] = model
    return list(models.values())


def find_model(name: str, folder: Path) -> CatalogModel | None:
    """One of known_models(), without reading the others; None when there is none of this name."""
    return (_embedded_models().get(name) or _own_model(folder, name)) if is_model_name(name) else None


def _embedded_models() -> dict[str, CatalogModel]:
    return {
        model.name: CatalogModel(model.name, model.title, model.description, model.licence, model.origin, own=False)
        for model in read_manifest().values()
    }


def _own_model(folder: Path, name: str) -> CatalogModel | None:
    place = folder_or_put_aside(folder / name)
    if not (place / DECODER).is_file():
        return None
    if not (about := read_about(place)):
        return CatalogModel(name, name, "", "", "", own=True)
    return CatalogModel(name, about.title or name, about.description, about.licence, about.origin, own=True)


def read_about(folder: Path) -> AboutModel | None:
    """Read a model folder's model.json; None when it is missing or unusable."""
    try:
        with (folder / ABOUT).open("rb") as file:
            return parse_about(file.read(LARGEST_ABOUT + 1))
    except (OSError, WeightsError):
        return None


def parse_about(data: bytes) -> AboutModel:
    """Read model.json from untrusted bytes. Raises WeightsError."""
    if len(data) > LARGEST_ABOUT:
        raise _unusable(f"it is larger than {LARGEST_ABOUT} bytes")
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise _unusable("it is not JSON") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise _unusable(f"it does not say that it is '{FORMAT}'")
    try:
        return AboutModel(**content)
    except TypeError:
        raise _unusable("it holds other fields than it should") from None


def about_bytes(about: AboutModel) -> bytes:
    """The content of model.json; the same model always gives the same bytes."""
    return (json.dumps({"format": FORMAT, **asdict(about)}, indent=2, sort_keys=True) + "\n").encode()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _unusable(reason: str) -> WeightsError:
    return WeightsError(f"The model's {ABOUT} cannot be used because {reason}; export or pull the model again.")
