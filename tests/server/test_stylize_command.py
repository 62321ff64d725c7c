"""adain-stylize, run as a user runs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adain_weights.styles import read_style
from support.helpers import PICTURES, RunningServer
from support.processes import server_pid
from support.read_only import read_only

STYLE = str(PICTURES / "van-gogh-road-to-tarascon.jpg")


def _run(server: RunningServer, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adain_stylize.cli", "--connection-file", str(server.connection_file)]
    return subprocess.run(
        [*command, "--no-start", *arguments], capture_output=True, text=True, timeout=100, check=False, cwd=cwd
    )


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small photograph in a file of its own."""
    path = tmp_path / "photo.png"
    with Image.open(PICTURES / "chelsea.jpg") as picture:
        picture.resize((90, 61)).save(path)
    return path


def test_one_picture_to_one_file(server: RunningServer, photo: Path) -> None:
    """The result has the content's size and other pixels; the progress bar ends with the file's name."""
    out = photo.with_name("out.png")
    run = _run(server, str(photo), "--style", STYLE, "-o", str(out))
    assert run.returncode == 0, run.stderr
    with Image.open(out) as result, Image.open(photo) as content:
        assert result.size == content.size and result.mode == "RGB"
        difference = np.abs(np.asarray(result, dtype=int) - np.asarray(content, dtype=int)).mean()
    assert difference > 5
    assert "100%" in run.stderr and str(out) in run.stderr


def test_two_weighted_styles_and_alpha_differ_from_one(server: RunningServer, photo: Path) -> None:
    """Weights and alpha reach the network: each changes the picture; --style twice with weights 1:0 is one style."""
    other = str(PICTURES / "coffee.jpg")
    variants = {
        "one": ["--style", STYLE],
        "onehot": ["--style", f"{STYLE}:2", "--style", f"{other}:0"],
        "mixed": ["--style", f"{STYLE}:1", "--style", f"{other}:3"],
        "half": ["--style", STYLE, "--alpha", "0.5"],
    }
    results = {}
    for name, options in variants.items():
        out = photo.with_name(f"{name}.png")
        assert _run(server, str(photo), *options, "--quiet", "-o", str(out)).returncode == 0
        with Image.open(out) as picture:
            results[name] = np.asarray(picture, dtype=int)
    assert np.array_equal(results["one"], results["onehot"])
    assert np.abs(results["one"] - results["mixed"]).mean() > 1
    assert np.abs(results["one"] - results["half"]).mean() > 1


def test_folder_of_pictures(server: RunningServer, photo: Path, tmp_path: Path) -> None:
    """A folder in, a folder out, one result a picture; other files are left alone."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        with Image.open(photo) as picture:
            picture.convert("RGB").save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    run = _run(server, str(tmp_path / "in"), "--style", STYLE, "-o", str(tmp_path / "out"))
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


def test_mask_keeps_the_black_part(server: RunningServer, photo: Path) -> None:
    """Black in the mask stays as it was, bit for bit."""
    mask, out = photo.with_name("mask.png"), photo.with_name("out.png")
    half = Image.new("L", (90, 61), 0)
    half.paste(255, (45, 0, 90, 61))
    half.save(mask)
    assert _run(server, str(photo), "--style", STYLE, "--mask", str(mask), "-o", str(out)).returncode == 0
    with Image.open(out) as result, Image.open(photo) as content:
        after, before = np.asarray(result, dtype=int), np.asarray(content, dtype=int)
    assert np.array_equal(after[:, :45], before[:, :45])
    assert np.abs(after[:, 45:] - before[:, 45:]).mean() > 5


def test_regions_have_their_own_styles(server: RunningServer, photo: Path) -> None:
    """Two masks, two styles, one run: each half is painted as alone, what no mask reaches stays."""
    for name, box in (("left", (0, 0, 8, 61)), ("right", (82, 0, 90, 61))):
        mask = Image.new("L", (90, 61), 0)
        mask.paste(255, box)
        mask.save(photo.with_name(f"{name}.png"))
    left, right = f"left.png={STYLE}:2@0.8", f"right.png={PICTURES / 'coffee.jpg'}:1+{STYLE}:3"
    results = {}
    for name, regions in (("both", [left, right]), ("first", [left]), ("second", [right])):
        options = [part for region in regions for part in ("--region", region)]
        run = _run(server, "photo.png", *options, "--quiet", "-o", f"{name}.png", cwd=photo.parent)
        assert run.returncode == 0, run.stderr
        with Image.open(photo.with_name(f"{name}.png")) as picture:
            results[name] = np.asarray(picture, dtype=int)
    with Image.open(photo) as picture:
        before = np.asarray(picture, dtype=int)
    assert np.abs(results["both"][:, :8] - results["first"][:, :8]).max() <= 1
    assert np.abs(results["both"][:, 82:] - results["second"][:, 82:]).max() <= 1
    assert np.array_equal(results["both"][:, 8:82], before[:, 8:82])


def test_one_bad_file_does_not_cost_the_others(server: RunningServer, photo: Path) -> None:
    """In a folder a file that is no picture is named; the rest is done; the exit status says that something failed."""
    folder = photo.parent / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(photo.read_bytes()[:300])
    (folder / "b.png").write_bytes(photo.read_bytes())
    run = _run(server, "in", "--style", STYLE, "--quiet", "-o", "out", cwd=photo.parent)
    assert run.returncode == 1 and run.stderr.count("\n") == 1 and "a.png is not a picture" in run.stderr
    assert [path.name for path in (photo.parent / "out").iterdir()] == ["b.png"]


def test_what_is_left_out_of_a_folder_is_said_at_the_end(server: RunningServer, photo: Path) -> None:
    """A link to nothing and a text cost nothing else, and one line says so; other programs' files are silent."""
    folder = photo.with_name("in")
    folder.mkdir()
    (folder / "photo.jfif").write_bytes(photo.read_bytes())
    (folder / "gone.png").symlink_to("nowhere.png")
    for name in ("notes.txt", "._photo.png"):
        (folder / name).touch()
    run = _run(server, "in", "--style", STYLE, "--quiet", "-o", "out", cwd=photo.parent)
    assert run.returncode == 0 and [path.name for path in (photo.parent / "out").iterdir()] == ["photo.png"]
    said = "Left out: 1 linked to nothing (in/gone.png), 1 without a picture's ending (in/notes.txt)."
    assert run.stderr == f"adain-stylize: {said}\n"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "CMYK", "I;16", "1"])
def test_every_kind_of_picture_is_taken(server: RunningServer, photo: Path, mode: str) -> None:
    """Gray, palette, CMYK, 16 bit, black and white, with and without alpha: gray and 16 bit stay, and alpha does."""
    path, out = photo.with_name("kind.tif"), photo.with_name("out.png")
    with Image.open(photo) as picture:
        if mode == "I;16":
            Image.fromarray(np.asarray(picture.convert("L"), dtype=np.uint16) * 257).save(path)
        else:
            converted = picture.convert(mode)
            if "A" in mode:
                converted.putalpha(Image.linear_gradient("L").resize(picture.size))
            converted.save(path)
    run = _run(server, str(path), "--style", STYLE, "-o", str(out))
    assert run.returncode == 0, run.stderr
    with Image.open(out) as result, Image.open(path) as content:
        assert result.size == content.size
        assert result.mode == {"P": "RGB", "CMYK": "RGB", "1": "L"}.get(mode, mode)
        if "A" in mode:
            assert np.array_equal(np.asarray(result.getchannel("A")), np.asarray(content.getchannel("A")))
        # It must not come out black or burnt: values are scaled, not cut off.
        values = np.asarray(result.convert("RGB") if result.mode == "RGBA" else result)
        assert 0.08 < values.mean() / np.iinfo(values.dtype).max < 0.92
        if mode == "I;16":
            assert len(np.unique(values)) > 256


REFUSED = {
    "missing content": (["no.png", "--style", STYLE, "-o", "out.png"], "no file no.png"),
    "missing style": (["photo.png", "--style", "no.jpg", "-o", "out.png"], "no file no.jpg"),
    "unknown style": (["photo.png", "--style", "no-such-style", "-o", "out.png"], "no style 'no-such-style'"),
    "saved style is damaged": (["photo.png", "--style", "bad.safetensors", "-o", "out.png"], "bad.safetensors"),
    "saved style is missing": (["photo.png", "--style", "no.safetensors", "-o", "out.png"], "no.safetensors"),
    "crop outside": (["photo.png", "--style", f"{STYLE}[0,0,9999,10]", "-o", "out.png"], "not inside"),
    "stroke below 1": (["photo.png", "--style", STYLE, "--stroke-size", "0.5", "-o", "out.png"], "between 1 and 32"),
    "detail is a word": (["photo.png", "--style", STYLE, "--detail", "much", "-o", "out.png"], "'much'"),
    "smoothing of 1": (["photo.png", "--style", STYLE, "--smooth", "1", "-o", "out.png"], "between 0 and 0.999"),
    "nothing to paint": (["--style", STYLE, "-o", "out.png"], "needed"),
    "saving without a style": (["--save-style", "x"], "exactly one --style"),
    "saving under a bad name": (["--style", STYLE, "--save-style", "My Style"], "small letters"),
    "saving what is no picture": (["--style", "notes.txt", "--save-style", "x"], "not a picture"),
    "not a picture": (["notes.txt", "--style", STYLE, "-o", "out.png"], "not a picture"),
    "cut off picture": (["cut.png", "--style", STYLE, "-o", "out.png"], "not a picture"),
    "weight is a word": (["photo.png", "--style", f"{STYLE}:heavy", "-o", "out.png"], "'heavy'"),
    "weight is negative": (["photo.png", "--style", f"{STYLE}:-1", "-o", "out.png"], "at least 0"),
    "weight is not a number": (["photo.png", "--style", f"{STYLE}:nan", "-o", "out.png"], "'nan'"),
    "all weights zero": (["photo.png", "--style", f"{STYLE}:0", "-o", "out.png"], "not all 0"),
    "alpha is a word": (["photo.png", "--style", STYLE, "--alpha", "much", "-o", "out.png"], "'much'"),
    "alpha too large": (["photo.png", "--style", STYLE, "--alpha", "2", "-o", "out.png"], "between 0 and 1"),
    "mask is not a picture": (["photo.png", "--style", STYLE, "--mask", "notes.txt", "-o", "out.png"], "not a picture"),
    "output is the input": (["photo.png", "--style", STYLE, "-o", "photo.png"], "overwrite"),
    "output of no format": (["photo.png", "--style", STYLE, "-o", "out.xyz"], "ending"),
    "two pictures into one file": (["photo.png", "cut.png", "--style", STYLE, "-o", "out.png"], "folder"),
    "no style": (["photo.png", "-o", "out.png"], "--style or --region"),
    "region and style": (
        ["photo.png", "--style", STYLE, "--region", f"m.png={STYLE}", "-o", "out.png"],
        "leave --style",
    ),
    "region without a style": (["photo.png", "--region", "m.png", "-o", "out.png"], "MASK=STYLE"),
    "region's mask is missing": (["photo.png", "--region", f"m.png={STYLE}", "-o", "out.png"], "no file m.png"),
    "region's alpha is a word": (["photo.png", "--region", f"m.png={STYLE}@much", "-o", "out.png"], "'much'"),
    "empty folder": (["empty", "--style", STYLE, "-o", "out"], "no picture in the folder"),
    "output is the style": (["photo.png", "--style", "style.png", "-o", "style.png"], "overwrite style.png"),
    "output is the mask": (["photo.png", "--style", STYLE, "--mask", "style.png", "-o", "style.png"], "overwrite"),
    "output is a folder's place": (["photo.png", "--style", STYLE, "-o", "full"], "photo.png is a folder"),
    "two results of one name": (
        ["photo.png", "in/photo.jpg", "--style", STYLE, "-o", "out"],
        "photo.png and in/photo.jpg",
    ),
    "content twice": (["photo.png", "photo.png", "--style", STYLE, "-o", "out"], "photo.png is named twice"),
    "content is an address": (
        ["https://a.org/b.png", "--style", STYLE, "-o", "out.png"],
        "'https://a.org/b.png' is an",
    ),
    "output is an address": (["photo.png", "--style", STYLE, "-o", "https://a.org/b.png"], "is an address"),
    "mask is an address": (["photo.png", "--style", STYLE, "--mask", "http://a/b", "-o", "out.png"], "is an address"),
    "style is on a drive": (["photo.png", "--style", "C:\\me\\a.png", "-o", "out.png"], "no file C:\\me\\a.png"),
    "name is too long": (
        ["photo.png", "--style", STYLE, "-o", "x" * 300 + ".png"],
        "cannot be used: File name too long",
    ),
    "content's name is too long": (
        ["x" * 300, "--style", STYLE, "-o", "out.png"],
        "cannot be used: File name too long",
    ),
    "crop of many digits": (["photo.png", "--style", f"{STYLE}[0,0,{'9' * 5000},1]", "-o", "out.png"], "not inside"),
    "output cannot be written": (["photo.png", "--style", STYLE, "-o", "notes.txt/out.png"], "cannot be made"),
}


@pytest.mark.fault(46)
@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_use_is_one_sentence(server: RunningServer, photo: Path, arguments: list[str], words: str) -> None:
    """Exit 1, one line on stderr that says what is wrong; no output file; inputs untouched."""
    folder = photo.parent
    (folder / "notes.txt").write_text("not a picture")
    (folder / "bad.safetensors").write_bytes(b"x" * 50)
    (folder / "cut.png").write_bytes(photo.read_bytes()[:200])
    (folder / "empty").mkdir()
    (folder / "in").mkdir()
    (folder / "full" / "photo.png").mkdir(parents=True)
    for name in ("style.png", "in/photo.jpg"):
        shutil.copyfile(photo, folder / name)
    before = photo.read_bytes()
    run = _run(server, *arguments, "--quiet", cwd=folder)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1 and run.stderr.startswith("adain-stylize: ") and words in run.stderr
    assert not (folder / "out.png").exists() and photo.read_bytes() == before


@pytest.mark.fault(85)
def test_result_that_cannot_be_written_is_a_sentence(server: RunningServer, photo: Path) -> None:
    """A disk that turned read-only: exit 1, one line, and the file that was there stays."""
    folder = photo.with_name("results")
    folder.mkdir()
    (folder / "out.png").write_text("the one before")
    with read_only(folder):
        run = _run(server, str(photo), "--style", STYLE, "-o", str(folder / "out.png"), "--quiet")
    assert run.returncode == 1 and run.stderr.count("\n") == 1, run.stderr
    assert "cannot be written: Read-only file system" in run.stderr
    assert [path.name for path in folder.iterdir()] == ["out.png"]
    assert (folder / "out.png").read_text() == "the one before"


def test_server_is_started_when_none_runs(photo: Path) -> None:
    """The first picture starts a server and says so, the second finds it; the server is ended by its id."""
    command = [sys.executable, "-m", "adain_stylize.cli", str(photo), "--style", STYLE, "--quiet"]
    with tempfile.TemporaryDirectory(prefix="adain-test-") as folder:
        place = Path(folder) / "connection.json"
        said = []
        try:
            for name in ("first.png", "second.png"):
                run = subprocess.run(
                    [*command, "--connection-file", str(place), "-o", str(photo.with_name(name))],
                    capture_output=True,
                    text=True,
                    timeout=100,
                    check=False,
                )
                assert run.returncode == 0, run.stderr
                said.append(run.stderr)
        finally:
            if place.exists():
                os.kill(server_pid(place), signal.SIGTERM)
        deadline = time.monotonic() + 15
        while place.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not place.exists()
    assert "Starting the AdaIN server" in said[0] and not said[1]
    assert photo.with_name("first.png").read_bytes() == photo.with_name("second.png").read_bytes()


def test_no_server_is_one_sentence(tmp_path: Path, photo: Path) -> None:
    """With --no-start and no server: exit 1 and a sentence."""
    command = [sys.executable, "-m", "adain_stylize.cli", "--connection-file", str(tmp_path / "none.json")]
    run = subprocess.run(
        [*command, "--no-start", str(photo), "--style", STYLE, "-o", str(tmp_path / "out.png")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1 and run.stderr == "adain-stylize: No AdaIN server is running.\n"


def test_demo_makes_its_picture(tmp_path: Path) -> None:
    """What `make demo` runs: a server of its own, a picture, the place of the result, and no server left."""
    command = [sys.executable, str(PICTURES.parent / "demo.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    result = tmp_path / "demo" / "stylized.png"
    assert "Ready on" in run.stdout and str(result) in run.stdout
    with Image.open(result) as picture, Image.open(PICTURES / "chelsea.jpg") as content:
        assert picture.size == content.size


def test_styles_are_listed(server: RunningServer) -> None:
    """A line each: name, painter, title, origin, licence."""
    run = _run(server, "--list-styles")
    assert run.returncode == 0 and run.stdout.count("\n") >= 24
    assert re.search(r"^hokusai-great-wave +Katsushika Hokusai, .*public domain", run.stdout, re.MULTILINE)


def test_saved_style_paints_as_its_picture(server: RunningServer, photo: Path) -> None:
    """Into a file, and under a name that the server finds by itself; a part of a picture is another style."""
    folder = photo.parent
    run = _run(server, "--style", STYLE, "--save-style", "mine.safetensors", "--title", "Mine", cwd=folder)
    assert run.returncode == 0 and "mine.safetensors" in run.stdout, run.stderr
    assert (folder / "mine.safetensors").stat().st_size < 200_000
    server.styles.mkdir(exist_ok=True)
    (server.styles / "mine.safetensors").write_bytes((folder / "mine.safetensors").read_bytes())
    painted = {}
    for name, style in (
        ("picture", STYLE),
        ("file", "mine.safetensors"),
        ("name", "mine"),
        ("part", f"{STYLE}[10,20,100,90]"),
    ):
        out = folder / f"{name}.png"
        options = ("--style", style, "--quality", "fast", "--quiet")  # fine looks at grain, which a JPEG changes
        run = _run(server, str(photo), *options, "-o", str(out), cwd=folder)
        assert run.returncode == 0, run.stderr
        with Image.open(out) as result:
            painted[name] = np.asarray(result, dtype=int)
    (server.styles / "mine.safetensors").unlink()
    assert np.array_equal(painted["file"], painted["name"])
    assert np.abs(painted["file"] - painted["picture"]).mean() < 5  # its picture was kept as a JPEG
    assert np.abs(painted["part"] - painted["picture"]).mean() > 3


def test_style_is_saved_under_a_name_for_the_user(photo: Path) -> None:
    """A bare name goes to the user's own folder."""
    command = [sys.executable, "-m", "adain_stylize.cli", "--style", STYLE, "--save-style", "road"]
    environment = {**os.environ, "XDG_DATA_HOME": str(photo.parent)}
    subprocess.run(command, check=True, env=environment, timeout=60, capture_output=True)
    saved = read_style(photo.parent / "adain-style" / "styles" / "road.safetensors")
    assert saved.name == "road" and saved.title == "van-gogh-road-to-tarascon"


@pytest.mark.parametrize(
    "options",
    [
        ["--preserve-color", "match"],
        ["--preserve-color", "luminance"],
        ["--stroke-size", "3"],
        ["--stroke-size", "3", "--detail", "0"],
    ],
    ids=lambda options: "-".join(options).strip("-"),
)
def test_settings_reach_the_picture(server: RunningServer, photo: Path, options: list[str]) -> None:
    """Each changes the result."""
    results = []
    for index, arguments in enumerate(([], options)):
        out = photo.with_name(f"{index}.png")
        assert _run(server, str(photo), "--style", STYLE, "--quiet", "-o", str(out), *arguments).returncode == 0
        results.append(out.read_bytes())
    assert results[0] != results[1]


def test_regions_have_colour_modes_of_their_own(server: RunningServer, photo: Path) -> None:
    """MASK=STYLE@ALPHA@COLOUR, and --preserve-color for those that do not say."""
    mask = photo.with_name("mask.png")
    Image.new("L", (90, 61), 255).save(mask)
    variants = {
        "said": ["--region", f"{mask}={STYLE}@0.9@luminance"],
        "default": ["--region", f"{mask}={STYLE}@0.9", "--preserve-color", "luminance"],
        "none": ["--region", f"{mask}={STYLE}@0.9"],
    }
    results = {}
    for name, options in variants.items():
        out = photo.with_name(f"{name}.png")
        run = _run(server, str(photo), "--quiet", "-o", str(out), *options)
        assert run.returncode == 0, run.stderr
        results[name] = out.read_bytes()
    assert results["said"] == results["default"] != results["none"]


def _frames(folder: Path) -> Path:
    """Four frames that grow darker."""
    frames = folder / "frames"
    frames.mkdir()
    with Image.open(folder / "photo.png") as picture:
        for index in range(4):
            picture.point(lambda value, index=index: value * (4 - index) // 4).save(frames / f"{index:04}.png")
    return frames


def test_film_goes_on_where_it_was_stopped(server: RunningServer, photo: Path) -> None:
    """--resume leaves finished frames as they are, and does those that are missing."""
    folder = photo.parent
    frames = _frames(folder)
    run = _run(server, str(frames), "--style", STYLE, "--smooth", "0.6", "-o", "whole", cwd=folder)
    assert run.returncode == 0, run.stderr
    assert "4.0/4" in run.stderr and "pictures/s" in run.stderr.replace("s/pictures", "pictures/s")
    whole = [path.read_bytes() for path in sorted((folder / "whole").iterdir())]
    partial = folder / "partial"
    partial.mkdir()
    for index in (0, 1):
        (partial / f"{index:04}.png").write_bytes(whole[index])
    before = (partial / "0000.png").stat().st_mtime_ns
    assert _run(server, str(frames), "--style", STYLE, "--resume", "-o", "partial", cwd=folder).returncode == 0
    assert (partial / "0000.png").stat().st_mtime_ns == before
    assert len(list(partial.iterdir())) == 4
    assert (partial / "0003.png").read_bytes() != whole[3]  # smoothed and not


def test_frames_depend_on_those_before_only_when_smoothed(server: RunningServer, photo: Path) -> None:
    """Frame by frame without --smooth each is what it is alone."""
    folder = photo.parent
    frames = _frames(folder)
    assert _run(server, str(frames), "--style", STYLE, "--quiet", "-o", "plain", cwd=folder).returncode == 0
    run = _run(server, str(frames / "0003.png"), "--style", STYLE, "--quiet", "-o", "alone.png", cwd=folder)
    assert run.returncode == 0
    assert (folder / "alone.png").read_bytes() == (folder / "plain" / "0003.png").read_bytes()
