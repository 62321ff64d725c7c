"""The manifest: the models that come with the project or are known to it, their origin and terms. No torch needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

EMBEDDED = Path(__file__).parent / "embedded"
MANIFEST = EMBEDDED / "manifest.json"
DEFAULT_MODEL = "adain-third-light"
ROLES = ("encoder", "decoder")


@dataclass(frozen=True)
class ModelFile:
    """One weights file of a manifest model.

    Attributes:
        path: Relative to the embedded folder.
        sha256: Digest that the file must have.
        origin: Where the numbers come from.
        licence: The licence of the numbers.
    """

    path: str
    sha256: str
    origin: str
    licence: str


@dataclass(frozen=True)
class ManifestModel:
    """A model that comes with the project.

    Attributes:
        title: Shown to people instead of the name.
        use: Who may use it for what.
    """

    name: str
    title: str
    description: str
    use: str
    encoder: ModelFile
    decoder: ModelFile

    @property
    def licence(self) -> str:
        """The licences of both files."""
        return f"{self.decoder.licence}; encoder: {self.encoder.licence}"

    @property
    def origin(self) -> str:
        """The decoder's origin, because the decoder makes the model."""
        return self.decoder.origin


@dataclass(frozen=True)
class DownloadModel:
    """A model that is not embedded but known by its files' digests, so that any repository with these files can serve.

    Attributes:
        repositories: On the Hub, ORG/REPO, in the order in which they are tried.
        encoder, decoder: Names of the pickled files in these repositories.
        encoder_sha256, decoder_sha256: The digests that they must have.
    """

    name: str
    title: str
    description: str
    origin: str
    licence: str
    repositories: tuple[str, ...]
    encoder: str
    encoder_sha256: str
    decoder: str
    decoder_sha256: str


def read_manifest() -> dict[str, ManifestModel]:
    """The models that come with the project, by name."""
    return {
        name: ManifestModel(
            name=name,
            title=entry["title"],
            description=entry["description"],
            use=entry["use"],
            encoder=ModelFile(**entry["files"]["encoder"]),
            decoder=ModelFile(**entry["files"]["decoder"]),
        )
        for name, entry in _content()["models"].items()
    }


def read_refinement() -> ModelFile:
    """The decoder that refines any model's pictures, from relu3_1 of the default model's encoder."""
    return ModelFile(**_content()["refinement"])


def read_downloads() -> dict[str, DownloadModel]:
    """The models that are known by their digests, by name."""
    return {
        name: DownloadModel(
            name=name,
            title=entry["title"],
            description=entry["description"],
            origin=entry["origin"],
            licence=entry["licence"],
            repositories=tuple(entry["repositories"]),
            **{role: entry["files"][role]["path"] for role in ROLES},
            **{f"{role}_sha256": entry["files"][role]["sha256"] for role in ROLES},
        )
        for name, entry in _content()["downloads"].items()
    }


@cache
def _content() -> Any:
    return json.loads(MANIFEST.read_text(encoding="utf-8"))
