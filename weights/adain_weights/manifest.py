"""The manifest: which models come with the project, from where, under which licence, for whom. No torch needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

EMBEDDED = Path(__file__).parent / "embedded"
MANIFEST = EMBEDDED / "manifest.json"
DEFAULT_MODEL = "adain-first-light"
ROLES = ("encoder", "decoder")


@dataclass(frozen=True)
class ModelFile:
    """One weights file of a manifest model.

    Attributes:
        path: Relative to the embedded folder.
        sha256: Digest that the file must have.
        origin: Where the numbers come from.
        licence: Under which they are given.
    """

    path: str
    sha256: str
    origin: str
    licence: str


@dataclass(frozen=True)
class ManifestModel:
    """A model that the project knows.

    Attributes:
        use: Who may use it for what.
    """

    name: str
    description: str
    use: str
    encoder: ModelFile
    decoder: ModelFile


def read_manifest() -> dict[str, ManifestModel]:
    """The models that come with the project, by name."""
    entries = json.loads(MANIFEST.read_text(encoding="utf-8"))["models"]
    return {
        name: ManifestModel(
            name=name,
            description=entry["description"],
            use=entry["use"],
            encoder=ModelFile(**entry["files"]["encoder"]),
            decoder=ModelFile(**entry["files"]["decoder"]),
        )
        for name, entry in entries.items()
    }
