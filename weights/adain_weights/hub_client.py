"""Access to the Hugging Face Hub through its own client. Every failure becomes one sentence that tells what to do.

Only hub.py imports this, and only when it needs the Hub. The client reads HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from adain_weights.digest import sha256_of_bytes
from adain_weights.errors import WeightsError
from adain_weights.model_files import LARGEST_FILE, read_bytes

PATIENCE = 10.0
"""How long to wait for the Hub's first answer, in seconds."""
ORPHAN_AGE = 3600.0
"""Seconds since its last write after which an unfinished download counts as abandoned."""

_COMMIT = re.compile(r"[0-9a-f]{40}")

# The HTTP library's own error and OSError. The library differs between the client's releases.
_CONNECTION_ERRORS: tuple[type[Exception], ...] = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_log = logging.getLogger(__name__)

_CUT = "The Hub could not be reached for {}, or the connection was cut; check the network and try again."
_NO_HUB = "What answered for {} is not a Hub; check HF_ENDPOINT and the proxy's settings."
_BAD_LOGIN = "Your token for the Hub is damaged, so {} was not asked for; run 'hf auth login' again, or mend HF_TOKEN."
_CERTIFICATES = "The certificates that vouch for the Hub cannot be used for {} ({}); check SSL_CERT_FILE and the clock."
_PACKAGE = "To ask the Hub for {} its client needs the package {}; install it, or unset ALL_PROXY if it is for a proxy."
_SENTENCES: tuple[tuple[type[Exception], str], ...] = (  # a class comes before those that it derives from
    (
        GatedRepoError,
        "{} is open to those who accept its conditions: do so on its page on the Hub, then run 'hf auth login'.",
    ),
    (DisabledRepoError, "{} has been disabled on the Hub; choose another model."),
    (
        RepositoryNotFoundError,
        "The Hub shows you no repository {}; check its name, or run 'hf auth login' if it is private.",
    ),
    (RevisionNotFoundError, "{} has no such revision; check the name after the @."),
    (RemoteEntryNotFoundError, "A file of {} is missing on the Hub; try again later, or choose another revision."),
    (OfflineModeIsEnabled, "HF_HUB_OFFLINE forbids asking the Hub for {}; unset it, or choose a model that is here."),
    (LocalEntryNotFoundError, _CUT),
    (FileMetadataError, _NO_HUB),
)


@dataclass(frozen=True)
class RemoteFile:
    """The Hub's description of a file; None where it has none.

    Attributes:
        size: In bytes.
        sha256: Digest of the content, for large files.
        git_oid: Git's digest of the content as a blob, for the others.
    """

    size: int | None
    sha256: str | None
    git_oid: str | None

    def is_content(self, data: bytes) -> bool:
        """Whether these bytes can be the file's."""
        # This only finds damage; SHA-256 decides which weights they must be.
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        return (
            self.size in (None, len(data))
            and self.sha256 in (None, sha256_of_bytes(data))
            and self.git_oid in (None, blob.hexdigest())
        )


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        repository: ORG/REPO.
        commit: 40 hexadecimal digits.
        files: Its files, by path.
    """

    repository: str
    commit: str
    files: Mapping[str, RemoteFile]


def look_up(repository: str, revision: str) -> Snapshot:
    """Ask for the commit that a branch, tag or commit stands for, and for its files.

    A renamed repository is found under its old name, too: the Hub redirects.

    Raises:
        WeightsError: The Hub cannot be reached, or does not show this repository or revision.
    """
    with _sentences(repository):
        info = HfApi().model_info(repository, revision=revision, timeout=PATIENCE, files_metadata=True)
    if not _COMMIT.fullmatch(info.sha or ""):
        raise WeightsError(_NO_HUB.format(repository))
    files = {
        file.rfilename: RemoteFile(
            size=file.size,
            sha256=file.lfs.sha256 if file.lfs else None,
            git_oid=None if file.lfs else file.blob_id,
        )
        for file in info.siblings or ()
    }
    return Snapshot(repository, str(info.sha), files)


def fetch(snapshot: Snapshot, name: str, sha256: str = "", *, otherwise: str = "") -> bytes:
    """A file's content, from the Hub's cache on this machine if it is there, otherwise from the Hub.

    The client shows a progress bar and resumes a download that was cut. When the cache has wrong bytes, the file is
    fetched once more.

    Args:
        sha256: Digest that the content must have, besides the Hub's own description; empty when unknown.
        otherwise: The error message if the digest differs; empty for a default one.
    Raises:
        WeightsError: It cannot be fetched or kept, is too large, or does not match the digests.
    """
    file = snapshot.files[name]
    wrong = otherwise or (
        f"{name} of {snapshot.repository} was fetched twice and is not what its SHA-256 digest says; nothing was "
        "changed here; try again later, or tell its owner."
    )
    if (file.size or 0) > LARGEST_FILE:
        raise WeightsError(f"{name} of {snapshot.repository} is too large to be an AdaIN encoder or decoder.")
    if sha256 and file.sha256 not in (None, sha256):
        raise WeightsError(wrong)
    for again in (False, True):
        with _sentences(snapshot.repository):
            path = hf_hub_download(snapshot.repository, name, revision=snapshot.commit, force_download=again)
        data = read_bytes(Path(path))
        if file.is_content(data) and sha256 in ("", sha256_of_bytes(data)):
            return data
    raise WeightsError(wrong)


def upload(repository: str, files: Mapping[str, bytes], *, private: bool, revision: str | None, message: str) -> str:
    """Put files into a repository in one commit; the repository is created when missing. Returns the commit's address.

    Raises:
        WeightsError: The Hub cannot be reached or refuses; or `private` is set and the repository exists but is public.
    """
    api = HfApi()
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
    with _sentences(repository), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the Hub's advice on what a card could add
        api.create_repo(repository, private=private, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise WeightsError(f"{repository} is there already and public, so nothing was sent; choose another name.")
        if revision:
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.create_commit(repository, operations, commit_message=message, revision=revision)
    return commit.commit_url


def cache_folder() -> Path:
    """The folder in which the client keeps its downloads."""
    return Path(constants.HF_HUB_CACHE)


def remove_orphans(repository: str) -> None:
    """Remove a repository's unfinished downloads from the cache that were killed long ago."""
    blobs = cache_folder() / repo_folder_name(repo_id=repository, repo_type="model") / "blobs"
    for path in blobs.glob("*.incomplete"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ORPHAN_AGE:
                path.unlink()


@contextmanager
def progress_bars(shown: bool) -> Iterator[None]:
    """Let the client show its progress bars or not, and restore the setting afterwards."""
    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _sentences(repository: str) -> Iterator[None]:
    """Turn any error of the client and its HTTP library into a WeightsError with a sentence."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        _log.debug("asking the Hub for %s failed", repository, exc_info=True)
        raise WeightsError(_sentence(error, repository)) from None


def _sentence(error: BaseException, repository: str) -> str:
    if isinstance(error, ValueError) and str(error).startswith("Invalid metadata in README.md"):
        return f"The Hub refuses the first lines of the model card for {repository}; mend README.md and push again."
    if sentence := _sentence_about_settings(error, repository):
        return sentence
    vague = isinstance(error, LocalEntryNotFoundError | ValueError) and not isinstance(error, HfHubHTTPError)
    if vague and error.__cause__ is not None:
        error = error.__cause__  # for a file that is not in its cache, the client reports only that it failed
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return sentence.format(repository)
    if isinstance(error, HfHubHTTPError):
        return _status_sentence(error.response.status_code, repository)
    if isinstance(error, OSError) and (error.filename or error.errno in _NO_ROOM):
        remedy = "make room there, or set" if error.errno in _NO_ROOM else "set"
        return (
            f"What was fetched from {repository} cannot be kept in {cache_folder()}: {error.strerror}; {remedy} "
            "HF_HOME to another folder."
        )
    if isinstance(error, KeyError | ValueError):
        return _NO_HUB.format(repository)
    if isinstance(error, (*_CONNECTION_ERRORS, EntryNotFoundError, RuntimeError)):
        return _CUT.format(repository)
    return (
        f"The Hub's client failed for {repository}; try again later, or bring the package huggingface_hub up to date."
    )


def _sentence_about_settings(error: BaseException, repository: str) -> str:
    """The sentence when settings of this machine prevented any request; "" otherwise."""
    for cause in _causes(error):
        if isinstance(cause, ImportError):
            return _PACKAGE.format(repository, _missing_package(cause))
        if isinstance(cause, UnicodeError) or "Illegal header value" in str(cause):
            return _BAD_LOGIN.format(repository)
        if isinstance(cause, OSError) and cause.filename == constants.HF_TOKEN_PATH:
            return _BAD_LOGIN.format(repository)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _CERTIFICATES.format(repository, getattr(cause, "verify_message", "they do not fit"))
    # Certificates are read before any request, and the error does not name their file.
    if isinstance(error, ssl.SSLError):
        return _CERTIFICATES.format(repository, "they are damaged")
    if isinstance(error, OSError) and error.errno == errno.ENOENT and not error.filename:
        return _CERTIFICATES.format(repository, error.strerror)
    return ""


def _missing_package(error: ImportError) -> str:
    names = [cause.name for cause in _causes(error) if isinstance(cause, ImportError) and cause.name]
    return names[-1] if names else f"that this names: {error}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, from the last to the first."""
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _status_sentence(status: int, repository: str) -> str:
    if status in (401, 403):
        return f"The Hub does not let you do this with {repository}; run 'hf auth login' with a token that may."
    if status == 429:
        return (
            f"The Hub has had too many requests from here to answer for {repository}; wait some minutes and try again."
        )
    return f"The Hub cannot answer for {repository} now (HTTP status {status}); try again later."
