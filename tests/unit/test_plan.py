"""What adain-stylize finds out before anything is painted: files, folders, places for results."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import adain_stylize.cli
from adain_stylize.cli import main
from adain_stylize.contents import read_content
from adain_stylize.pictures import check_target, save_picture
from adain_stylize.plan import Contents, UsageError, find_contents, find_targets, make_folder
from adain_weights.picture_files import PictureError
from support.read_only import read_only


def _touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """2 before 10, whether or not numbers are filled up with zeros."""
    _touch(tmp_path, "b.png", "a10.png", "a010b3.png", "a2.png", "a1.png")
    found = [path.name for path in find_contents([tmp_path]).paths]
    assert found == ["a1.png", "a2.png", "a10.png", "a010b3.png", "b.png"]


def test_what_is_no_picture_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """A dangling link costs nothing else; hidden files and file managers' are not worth a word."""
    folder = tmp_path / "in"
    _touch(folder, "a.png", "b.HEIC", "c.jfif", "notes.txt", "tones.txt", "._a.png", ".hidden.png", "Thumbs.db")
    (folder / "d.png").symlink_to(folder / "gone.png")
    (folder / "e.png").mkdir()
    os.mkfifo(folder / "f.png")
    found = find_contents([folder])
    assert [path.name for path in found.paths] == ["a.png", "b.HEIC", "c.jfif"]
    assert found.about_the_rest() == (
        f"Left out: 1 in folders of their own ({folder}/e.png), 1 linked to nothing ({folder}/d.png), "
        f"1 that are no files ({folder}/f.png), 2 without a picture's ending ({folder}/notes.txt and others)."
    )


def test_nothing_left_out_is_nothing_said(tmp_path: Path) -> None:
    """Not even of hidden files."""
    _touch(tmp_path, "a.png", "._a.png")
    assert find_contents([tmp_path]).about_the_rest() == "" == Contents([]).about_the_rest()


def test_folder_without_a_picture_and_a_link_to_nothing_are_refused(tmp_path: Path) -> None:
    """Whoever names a link wants it painted."""
    _touch(tmp_path / "in", "notes.txt", "._a.png")
    (tmp_path / "link.png").symlink_to("gone.png")
    for path, words in ((tmp_path / "in", "no picture in the folder"), (tmp_path / "link.png", "There is no file")):
        with pytest.raises(UsageError, match=words):
            find_contents([path])


def test_results_of_one_name_are_named_as_a_pair(tmp_path: Path) -> None:
    """The first two; the same file twice is said as that."""
    contents = [Path("x/a.png"), Path("x/b.png"), Path("y/b.jpg"), Path("z/a.tif")]
    with pytest.raises(UsageError) as caught:
        find_targets(contents, tmp_path, all_frames=False)
    assert str(caught.value) == (
        f"x/b.png and y/b.jpg would both become {tmp_path}/b.png; rename one, or paint them into different folders."
    )
    with pytest.raises(UsageError, match=r"^x/a\.png is named twice\.$"):
        find_targets([Path("x/a.png"), Path("x/a.png")], tmp_path, all_frames=False)


@pytest.mark.parametrize(("system", "is_refused"), [("linux", False), ("win32", True), ("darwin", True)])
def test_names_that_differ_in_capitals_are_one_where_the_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, is_refused: bool
) -> None:
    """On Windows and macOS the second result would replace the first."""
    monkeypatch.setattr(sys, "platform", system)
    contents = [Path("x/a.png"), Path("x/A.jpg")]
    if is_refused:
        with pytest.raises(UsageError, match=r"^x/a\.png and x/A\.jpg would both become "):
            find_targets(contents, tmp_path, all_frames=False)
    else:
        assert find_targets(contents, tmp_path, all_frames=False) == [tmp_path / "a.png", tmp_path / "A.png"]


def test_no_input_is_overwritten_by_whatever_name(tmp_path: Path) -> None:
    """Contents, styles and masks, also through links; another file of theirs is."""
    _touch(tmp_path / "in", "a.png", "b.png", "style.png")
    out = tmp_path / "out"
    _touch(out, "b.png")
    contents = [tmp_path / "in" / name for name in ("a.png", "b.png")]
    assert find_targets(contents, out, all_frames=False) == [out / "a.png", out / "b.png"]
    for link, inputs in (("in/b.png", []), ("in/style.png", [tmp_path / "in" / "style.png"])):
        (out / "a.png").unlink(missing_ok=True)
        (out / "a.png").hardlink_to(tmp_path / link)
        with pytest.raises(UsageError, match=f"would overwrite {out}/a.png"):
            find_targets(contents, out, all_frames=False, other_inputs=inputs)


def test_planning_looks_at_each_file_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and all results there already: twice the frames are twice the looks."""
    looks = {}
    real_stat = os.stat
    for count in (100, 200):
        _touch(tmp_path / f"in{count}", *(f"{index}.png" for index in range(count)))
        _touch(tmp_path / f"out{count}", *(f"{index}.png" for index in range(count)))
        seen: list[Any] = []

        def stat(path: Any, *arguments: Any, seen: list[Any] = seen, **options: Any) -> os.stat_result:
            seen.append(path)
            return real_stat(path, *arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", stat)
            contents = find_contents([tmp_path / f"in{count}"]).paths
            find_targets(contents, tmp_path / f"out{count}", all_frames=False)
        looks[count] = len(seen)
    assert looks[100] >= 300 and looks[200] - looks[100] <= looks[100]


def test_folder_that_cannot_be_written_is_found_first(tmp_path: Path) -> None:
    """One that is there, one below it, and one in place of a file."""
    folder = tmp_path / "results"
    make_folder(folder / "deep")
    assert not list((folder / "deep").iterdir())
    (tmp_path / "file").touch()
    with read_only(folder):
        with pytest.raises(UsageError, match=f"^The folder {folder} cannot be written: Read-only file system\\.$"):
            make_folder(folder)
        with pytest.raises(UsageError, match=f"^The folder {folder}/new cannot be made: Read-only file system\\.$"):
            make_folder(folder / "new")
    with pytest.raises(UsageError, match="cannot be made"):
        make_folder(tmp_path / "file" / "new")


def test_full_disk_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file can be made there, and nothing written into it."""

    class Full(BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_options: Full())
    with pytest.raises(UsageError, match=f"^The folder {tmp_path} cannot be written: No space left on device\\.$"):
        make_folder(tmp_path)


@pytest.mark.parametrize(
    ("ending", "side"),
    [("jpg", 65_500), ("jfif", 65_500), ("webp", 16_383), ("gif", 65_535)],
    ids=lambda value: str(value),
)
def test_size_that_a_format_cannot_hold_is_refused(tmp_path: Path, ending: str, side: int) -> None:
    """The largest can be written, one more pixel cannot: across and down."""
    target = tmp_path / f"out.{ending}"
    for size in ((side, 1), (1, side)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        assert check_target(read_content(tmp_path / "a.png"), target, all_frames=False) == []
        save_picture(Image.new("RGB", size), target)
        with Image.open(target) as written:
            assert written.size == size
    for size in ((side + 1, 1), (1, side + 1)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        with pytest.raises(PictureError, match=f" has {size[0]} x {size[1]} pixels, and .* at most {side} a side; use"):
            check_target(read_content(tmp_path / "a.png"), target, all_frames=False)
        with pytest.raises(PictureError, match="cannot be written"):
            save_picture(Image.new("RGB", size), target)


@pytest.mark.parametrize("target", ["out.webp", "no.xyz", "file/out.png"])
def test_single_picture_is_checked_before_a_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    """Its size, its ending and its folder."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Image.new("RGB", (20_000, 1)).save("a.png")
    Image.new("RGB", (9, 9)).save("style.png")
    monkeypatch.setattr(adain_stylize.cli, "connect", lambda **_options: pytest.fail("A server was asked."))
    assert main(["a.png", "--style", "style.png", "-o", target]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_name_may_be_as_long_as_the_system_takes(tmp_path: Path) -> None:
    """The place beside the target, where it is written first, has a shorter one; nothing else is left."""
    target = tmp_path / ("x" * 251 + ".png")
    save_picture(Image.fromarray(np.zeros((2, 2, 3), np.uint8)), target)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
