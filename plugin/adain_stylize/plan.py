"""Planning which files are painted and where each result goes; errors are found before anything is painted."""

from __future__ import annotations

import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adain_stylize.pictures import FORMATS
from adain_weights.files import LITTER
from adain_weights.picture_formats import NAMED_SUFFIXES, SUFFIXES

LEAST_ROOM = 65_536
"""The bytes that must be free on a disk before anything is painted for it."""


class UsageError(Exception):
    """The user's request cannot be carried out; the message is one sentence."""


@dataclass(frozen=True)
class Contents:
    """The files to paint.

    Attributes:
        paths: The files, in order.
        left_out: The folders' other entries, by reason. Hidden files, and litter of file managers, are not counted.
    """

    paths: Sequence[Path]
    left_out: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def about_the_rest(self) -> str:
        """One line: how many entries were left out, why, and the first of each kind; "" for none."""
        parts = [
            f"{len(paths)} {reason} ({paths[0]}{' and others' if len(paths) > 1 else ''})"
            for reason, paths in sorted(self.left_out.items())
        ]
        return f"Left out: {', '.join(parts)}." if parts else ""


def find_contents(given: Sequence[Path]) -> Contents:
    """Find the named files, and the pictures in the named folders, sorted by name with numbers by value.

    Raises:
        UsageError: A file is missing, or a folder has no picture.
        OSError: One cannot be accessed.
    """
    paths: list[Path] = []
    left_out: dict[str, list[Path]] = {}
    for path in given:
        if not path.exists():
            raise UsageError(f"There is no file {path}.")
        if not path.is_dir():
            paths.append(path)
            continue
        entries = sorted((entry for entry in path.iterdir() if not _is_hidden(entry)), key=_frame_order)
        reasons = {entry: _reason_against(entry) for entry in entries}
        if all(reasons.values()):
            raise UsageError(f"There is no picture in the folder {path}.")
        paths += [entry for entry, reason in reasons.items() if not reason]
        for entry, reason in reasons.items():
            if reason:
                left_out.setdefault(reason, []).append(entry)
    return Contents(paths, left_out)


def _is_hidden(path: Path) -> bool:
    """Whether to ignore an entry: hidden ones, macOS' companions (._*), leftovers of killed runs of this command."""
    return path.name.startswith(".") or path.name in LITTER


def _reason_against(path: Path) -> str:
    """The reason why an entry of a folder is not painted; "" when it is."""
    if path.is_file():
        return "" if path.suffix.lower() in SUFFIXES | NAMED_SUFFIXES else "without a picture's ending"
    if path.is_dir():
        return "in folders of their own"
    return "linked to nothing" if path.is_symlink() else "that are no files"


def _frame_order(path: Path) -> list[tuple[int, str]]:
    """A sort key for names with numbers by value: frame 2 comes before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def find_targets(
    contents: Sequence[Path], output: Path, *, all_frames: bool, other_inputs: Iterable[Path] = ()
) -> list[Path]:
    """Return each result's file; nothing is created yet. Accesses each file once, however many there are.

    Args:
        contents: At least one.
        output: A folder, or a file for a single content.
        all_frames: Whether, in a folder, a result keeps its content's suffix if that format can hold frames.
        other_inputs: Styles and masks; no input is ever overwritten.
    Raises:
        UsageError: A result cannot be written to its file, or shares it with another.
        OSError: A file cannot be accessed.
    """
    is_folder = output.is_dir() or not output.suffix
    if not is_folder and len(contents) > 1:
        raise UsageError(f"{len(contents)} pictures need a folder for their results, and {output} is a file's name.")
    targets = [output / (path.stem + _ending(path, all_frames)) if is_folder else output for path in contents]
    _refuse_duplicates(contents, targets)
    inputs = {_identity(path) for path in (*contents, *other_inputs)} - {None}
    for target in targets:
        if target.suffix.lower() not in FORMATS:
            raise UsageError(f"{target} has no picture format's ending; use .png or .jpg.")
        if _identity(target) in inputs:
            raise UsageError(f"The result would overwrite {target}; choose another output.")
        if target.is_dir():
            raise UsageError(f"{target} is a folder, so no result can be written there; choose another output.")
    return targets


def _ending(path: Path, all_frames: bool) -> str:
    suffix = path.suffix.lower()
    return suffix if all_frames and suffix in FORMATS and FORMATS[suffix].frames else ".png"


def _refuse_duplicates(contents: Sequence[Path], targets: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for content, target in zip(contents, targets, strict=True):
        name = str(target).casefold() if sys.platform in {"win32", "darwin"} else str(target)
        first = seen.setdefault(name, content)
        if first == content and first is not content:
            raise UsageError(f"{content} is named twice.")
        if first is not content:
            raise UsageError(
                f"{first} and {content} would both become {target}; rename one, or paint them into different folders."
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """A file's identity, whatever its name; None for a folder, or when there is no such file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if stat.S_ISDIR(status.st_mode) else (status.st_dev, status.st_ino)


def make_folder(folder: Path) -> None:
    """Create a folder for results; check that it can be written and its disk is not full. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(LEAST_ROOM))
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be written: {error.strerror}.") from None
