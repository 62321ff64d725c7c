"""Models of the Hugging Face Hub: pulled into the user's models folder, pinned to a commit, verified; and pushed.

A model that is complete here needs no network. Neither torch nor the Hub's client is loaded before it is needed.
"""

from __future__ import annotations

import importlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adain_weights.architecture import check_weights
from adain_weights.catalog import (
    ABOUT,
    CARD,
    DECODER,
    ENCODER,
    AboutModel,
    about_bytes,
    is_model_name,
    parse_about,
    read_about,
)
from adain_weights.errors import WeightsError
from adain_weights.files import folder_or_put_aside
from adain_weights.manifest import DEFAULT_MODEL, ROLES, DownloadModel, read_downloads
from adain_weights.model_files import read_model_files, write_model_files

if TYPE_CHECKING:
    from adain_weights.hub_client import Snapshot

SCHEME = "hf://"
WEIGHTS = {"decoder": DECODER, "encoder": ENCODER}

_log = logging.getLogger(__name__)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REFERENCE = re.compile(rf"{SCHEME}({_NAME})/({_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?")


@dataclass(frozen=True)
class HubReference:
    """A model on the Hub: hf://ORGANIZATION/REPOSITORY[@REVISION].

    Attributes:
        revision: Branch, tag or commit; empty for the main branch.
    """

    organization: str
    repository: str
    revision: str

    @property
    def repo_id(self) -> str:
        """The Hub's name of the repository."""
        return f"{self.organization}/{self.repository}"

    @property
    def name(self) -> str:
        """The model's name in the models folder; see is_model_name()."""
        revision = f"@{self.revision.replace('/', '-')}" if self.revision else ""
        return f"{self.organization}--{self.repository}{revision}"


def parse_reference(text: str) -> HubReference:
    """Read hf://ORG/REPO[@REVISION]. Raises WeightsError for anything else."""
    match = _REFERENCE.fullmatch(text)
    if match and "--" not in text and ".." not in text:
        reference = HubReference(match[1], match[2], match[3] or "")
        if is_model_name(reference.name):
            return reference
    raise WeightsError(
        f"'{text}' is not a model on the Hub; write hf://ORGANIZATION/REPOSITORY, perhaps with @REVISION."
    )


def pull(reference: HubReference, models_folder: Path, *, update: bool = False, progress: bool = True) -> str:
    """Make sure that a model of the Hub is in the models folder, verified; returns its name there.

    A model that is there and intact is kept, without asking the Hub. One that was changed or damaged is fetched again
    at the commit that it came from.

    Args:
        models_folder: Created when missing.
        update: Ask the Hub whether the branch has moved, and fetch what it has now.
        progress: Whether the client may show progress bars.
    Raises:
        WeightsError: The model cannot be fetched, for the reason in the message; the folder is not changed.
    """
    folder = models_folder / reference.name
    about = read_about(folder_or_put_aside(folder))
    commit = about.commit if about and about.repository == reference.repo_id else ""
    whole = bool(commit) and _is_whole(folder)
    if whole and not update:
        return reference.name
    load_client()
    from adain_weights import hub_client

    with hub_client.progress_bars(progress):
        pinned = "" if update else commit
        snapshot = hub_client.look_up(reference.repo_id, pinned or reference.revision or "main")
        if not (whole and snapshot.commit == commit):
            _pull_snapshot(snapshot, folder)
    return reference.name


def pull_known(name: str, models_folder: Path, *, progress: bool = True) -> str:
    """Like pull(), for a model that the manifest knows by its digests, from any repository with these files."""
    model = read_downloads()[name]
    folder = models_folder / name
    if _is_whole(folder):
        return name
    load_client()
    from adain_weights import hub_client

    failures = []
    with hub_client.progress_bars(progress):
        for repository in model.repositories:
            try:
                _pull_public_pair(hub_client.look_up(repository, "main"), model, folder)
            except WeightsError as error:
                failures.append(str(error))
            else:
                return name
    raise WeightsError(f"None of {len(model.repositories)} repositories gave {name}; the first one: {failures[0]}")


def obtain(model: str, models_folder: Path, *, progress: bool = True) -> tuple[str, str]:
    """Fetch a model if necessary; returns a name for load_model() whatever happens, and a line for the user, or "".

    Args:
        model: hf://ORG/REPO[@REVISION], or a name of read_downloads(): pulled when it is not there; anything else is
            returned unchanged.
    Returns:
        The model's name, or the embedded model's when it cannot be fetched; in that case also the line that says so.
    """
    try:
        if model.startswith(SCHEME):
            return pull(parse_reference(model), models_folder, progress=progress), ""
        if model in read_downloads():
            return pull_known(model, models_folder, progress=progress), ""
    except WeightsError as error:
        return DEFAULT_MODEL, f"{error} Until then the embedded model {DEFAULT_MODEL} is used."
    except Exception:  # whatever it is, the server starts, with the embedded model
        _log.warning("%s cannot be had", model, exc_info=True)
        return DEFAULT_MODEL, f"The model {model} cannot be had; the embedded model {DEFAULT_MODEL} is used."
    return model, ""


def load_client() -> None:
    """Load the Hub's client, which reads the environment as it is loaded. Raises WeightsError when it fails."""
    try:
        importlib.import_module("adain_weights.hub_client")
    except Exception as error:  # it may raise anything about the environment
        _log.debug("the Hub's client cannot be loaded", exc_info=True)
        raise WeightsError(
            f"The Hub's client cannot be loaded ({error}); check HF_ENDPOINT and HF_HOME, or install huggingface_hub."
        ) from None


def push(folder: Path, repository: str, *, private: bool, revision: str | None = None) -> str:
    """Upload a model's folder to the Hub in one commit; returns its address. The repository is created when missing.

    Args:
        repository: ORG/REPO.
        private: Whether only its owner may see it; an existing public repository is then refused.
        revision: A branch, which is created when missing; None for the main branch.
    Raises:
        WeightsError: The folder's files are invalid, it has no model card, or the Hub refuses.
    """
    repo_id = parse_reference(f"{SCHEME}{repository}").repo_id
    about = read_about(folder)
    if not about or not about.files:
        raise WeightsError(f"{folder / ABOUT} is missing or damaged; export the model again before it is pushed.")
    weights = read_model_files(folder)
    _check(weights, str(folder))
    try:
        card = (folder / CARD).read_bytes()
    except OSError:
        card = b""
    if not card.strip():
        raise WeightsError(
            f"{folder} has no model card; write {CARD}: what it was trained on, how, for whom, its licence."
        )
    load_client()
    from adain_weights import hub_client

    files = {**weights, CARD: card, ABOUT: about_bytes(replace(about, repository="", commit=""))}
    message = f"AdaIN Style model: {about.title}"
    return hub_client.upload(repo_id, files, private=private, revision=revision, message=message)


def _is_whole(folder: Path) -> bool:
    """Whether a folder's weights have the digests that were recorded when they were verified."""
    place = folder_or_put_aside(folder)
    about = read_about(place)
    try:
        return about is not None and set(read_model_files(place)) == set(about.files)
    except WeightsError:
        return False


def _pull_snapshot(snapshot: Snapshot, folder: Path) -> None:
    if DECODER in snapshot.files:
        _pull_own_format(snapshot, folder)
        return
    for model in read_downloads().values():
        if {model.encoder, model.decoder} <= set(snapshot.files):
            _pull_public_pair(snapshot, model, folder)
            return
    raise WeightsError(
        f"{snapshot.repository} holds neither {DECODER} nor the public pair of .pth files; choose another repository."
    )


def _pull_own_format(snapshot: Snapshot, folder: Path) -> None:
    from adain_weights import hub_client

    files = snapshot.files
    about = parse_about(hub_client.fetch(snapshot, ABOUT)) if ABOUT in files else None
    digests = about.files if about else {}
    names = list(digests) or [name for name in (DECODER, ENCODER) if name in files]
    if not set(names) <= set(files) or DECODER not in names:
        raise WeightsError(f"{snapshot.repository} lacks a file that its {ABOUT} names; choose another revision.")
    weights = {name: hub_client.fetch(snapshot, name, digests.get(name, "")) for name in names}
    _check(weights, snapshot.repository)
    about = about or AboutModel(snapshot.repository, "", "", f"{SCHEME}{snapshot.repository}", {}, {})
    card = hub_client.fetch(snapshot, CARD) if CARD in files else b""
    _write(folder, weights, about, card, snapshot)


def _pull_public_pair(snapshot: Snapshot, model: DownloadModel, folder: Path) -> None:
    """Convert the pair of pickled files, which are opened only if their digests are those of the manifest."""
    from adain_weights import hub_client
    from adain_weights.models import safetensors_bytes
    from adain_weights.pickled import parse_pickled, used_tensors

    weights = {}
    for role in ROLES:
        name, digest = getattr(model, role), getattr(model, f"{role}_sha256")
        if name not in snapshot.files:
            raise WeightsError(f"{snapshot.repository} has no file {name}; choose another repository.")
        unknown = (
            f"{name} of {snapshot.repository} is a pickled file with other bytes than the known one, so it was not "
            "opened; if you trust it, fetch it yourself and run 'adain-weights convert'."
        )
        tensors = parse_pickled(hub_client.fetch(snapshot, name, digest, otherwise=unknown), name)
        weights[WEIGHTS[role]] = safetensors_bytes(used_tensors(tensors), {"licence": model.licence})
    _check(weights, snapshot.repository)
    about = AboutModel(model.title, model.description, model.licence, model.origin, {}, {})
    card = f"# {model.title}\n\n{model.description}\n\nOrigin: {model.origin}. Licence: {model.licence}.\n"
    _write(folder, weights, about, card.encode(), snapshot)


def _check(weights: dict[str, bytes], whose: str) -> None:
    for role, name in WEIGHTS.items():
        if name in weights:
            check_weights(role, weights[name], f"{name} of {whose}")


def _write(folder: Path, weights: dict[str, bytes], about: AboutModel, card: bytes, snapshot: Snapshot) -> None:
    from adain_weights import hub_client

    about = replace(about, repository=snapshot.repository, commit=snapshot.commit)
    write_model_files(folder, weights, about=about, card=card)
    hub_client.remove_orphans(snapshot.repository)
