"""Files and folders are there whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from adain_style.client import folders
from adain_trainer.checkpoint import Checkpoint, save_checkpoint
from adain_weights import files
from adain_weights.errors import WeightsError
from adain_weights.files import write_folder, write_whole

_WRITER = """
import sys
from pathlib import Path
from adain_weights.files import write_folder
number = 0
while True:
    number += 1
    write_folder(Path(sys.argv[1]), {"a": b"%d" % number * 300_000, "b": b"%d" % number * 300_000}, replaceable="ab")
    print(number, flush=True)
"""


@pytest.mark.fault(83)
def test_killed_writer_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """SIGKILL at any moment: both files are there, of the same writing, not older than what was reported."""
    folder = tmp_path / "mine"
    for attempt in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(attempt * 0.003)
            process.send_signal(signal.SIGKILL)
            reported = process.stdout.read().split()
        place = files.folder_or_put_aside(folder)
        first, second = ((place / name).read_bytes() for name in ("a", "b"))
        assert first == second and len(first) >= 300_000
        number = int(first[: len(first) // 300_000])
        assert number >= int(reported[-1]) if reported else number >= 1


def _limited(write: Callable[[Path], None], path: Path) -> str:
    """What a write says when no file may grow beyond 100 KB, in a process of its own."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write(path)
        except WeightsError as error:
            path.with_name("said").write_text(str(error))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return path.with_name("said").read_text()


@pytest.mark.fault(85)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    """A file and a folder: a sentence, the old content, and nothing beside it."""
    write_whole(tmp_path / "file", b"old")
    write_folder(tmp_path / "folder", {"a": b"old"}, replaceable="a")
    said = _limited(lambda path: write_whole(path, bytes(200_000)), tmp_path / "file")
    assert said == f"{tmp_path / 'file'} cannot be written: File too large."
    said = _limited(lambda path: write_folder(path, {"a": bytes(200_000)}, replaceable="a"), tmp_path / "folder")
    assert said == f"{tmp_path / 'folder'} cannot be written: File too large; make room or choose another."
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "a").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder", "said", ".lock-folder"}


@pytest.mark.fault(83)
def test_what_is_written_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, its name, the folder; otherwise a power cut could leave an empty file under the right name."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append("sync")
        fsync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    write_whole(tmp_path / "file", b"new")
    assert done == ["sync", "rename", "sync"]
    done.clear()
    folders.write_whole(tmp_path / "settings", b"new")
    assert done == ["sync", "rename", "sync"]
    done.clear()
    for step in range(2):
        save_checkpoint(tmp_path, Checkpoint(step, {}, {}, {}))
    # The second one first gives the first its other name.
    assert done == ["sync", "rename", "sync", "sync", "rename", "rename", "sync"]


@pytest.mark.fault(84)
def test_orphan_is_taken_away_by_the_next_write(tmp_path: Path) -> None:
    """Of a writer that was killed."""
    (tmp_path / "file.tmp").write_bytes(b"half")
    write_whole(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_writers_of_one_model_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for ever."""
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    with FileLock(tmp_path / ".lock-mine"), pytest.raises(WeightsError, match="written by another program"):
        write_folder(tmp_path / "mine", {"a": b""}, replaceable="a")
