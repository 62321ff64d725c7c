"""Bad data: converted, or left out, counted and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adain_trainer.errors import TrainerError
from adain_trainer.load import ChosenPictures, PictureCache, load_pictures, open_rgb


def _noise(side: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGBA", "LA", "1", "L", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """What printers, old programs and scanners write is converted."""
    source = _noise(20, 0)
    (source.convert("RGB").convert("L").convert("LA") if mode == "LA" else source.convert("L").convert("1")
     if mode == "1" else _in_mode(source, mode)).save(tmp_path / "picture.tif")  # fmt: skip
    pictures = load_pictures([tmp_path])
    assert [(each.mode, each.size) for each in pictures.pictures] == [("RGB", (20, 20))] and not pictures.left_out


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.merge("LAB", picture.split())
    return picture.convert(mode)


def test_deep_gray_is_scaled_not_cut_off(tmp_path: Path) -> None:
    """16 bit from 0..65535 and floats from 0..1: half is half; Pillow alone would make both white or black."""
    Image.fromarray(np.full((20, 20), 32896, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((20, 20), 0.5, dtype=np.float32)).save(tmp_path / "float.tif")
    for name in ("deep.png", "float.tif"):
        assert open_rgb(tmp_path / name).getpixel((3, 3)) == pytest.approx((128, 128, 128), abs=1)
    Image.fromarray(np.full((20, 20), 300.0, dtype=np.float32)).save(tmp_path / "unknown.tif")
    assert load_pictures([tmp_path]).left_out["unreadable"] == [tmp_path / "unknown.tif"]


def test_turned_pictures_are_upright(tmp_path: Path) -> None:
    """The camera's note is followed."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert open_rgb(tmp_path / "turned.jpg").size == (20, 40)


def test_what_cannot_be_used_is_counted_and_the_first_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off, empty, no picture at all, tiny, huge, twice: one line with a count for each reason."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    _noise(40, 1).save(tmp_path / "a" / "good.png")
    _noise(40, 1).save(tmp_path / "b" / "same-pixels.tif")
    _noise(40, 2).save(tmp_path / "a" / "other.png")
    whole = (tmp_path / "a" / "good.png").read_bytes()
    (tmp_path / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a" / "empty.jpg").write_bytes(b"")
    (tmp_path / "a" / "text.webp").write_text("not a picture")
    _noise(7, 3).save(tmp_path / "a" / "tiny.png")
    _noise(100, 4).save(tmp_path / "a" / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    found = load_pictures([tmp_path / "a", tmp_path / "b"])
    assert len(found.pictures) == len(found.digests) == 2
    assert {reason: [path.name for path in paths] for reason, paths in found.left_out.items()} == {
        "unreadable": ["cut.png", "empty.jpg", "text.webp"],
        "too small": ["tiny.png"],
        "too large": ["vast.png"],
        "found twice": ["same-pixels.tif"],
    }
    line = found.summary("content")
    assert line.startswith("2 content pictures; left out: 3 unreadable (") and "\n" not in line
    assert str(tmp_path / "a" / "cut.png") in line and "1 found twice" in line


def test_a_folder_that_is_given_twice_counts_twice(tmp_path: Path) -> None:
    """That is how a folder gets more weight; nothing is called a duplicate then."""
    _noise(20, 0).save(tmp_path / "one.png")
    found = load_pictures([tmp_path, tmp_path])
    assert len(found.pictures) == 2 and not found.left_out


def test_nothing_usable_is_a_sentence(tmp_path: Path) -> None:
    """It says what was wrong with the pictures."""
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(TrainerError, match="1 unreadable"):
        load_pictures([tmp_path])


def _saved(folder: Path, count: int) -> list[bytes]:
    """Pictures of 1,200 bytes each; returns their pixels in the files' order."""
    pictures = [_noise(20, seed) for seed in range(count)]
    for index, picture in enumerate(pictures):
        picture.save(folder / f"{index}.png")
    return [picture.tobytes() for picture in pictures]


def test_pictures_beyond_the_budget_are_read_again(tmp_path: Path) -> None:
    """Two of five fit: those are there without their files, the others only with them, and all are what they were."""
    pixels, cache = _saved(tmp_path, 5), PictureCache(3000)
    pictures = load_pictures([tmp_path], cache=cache).pictures
    assert cache.used == 2400 and [picture.tobytes() for picture in pictures] == pixels
    assert [picture.tobytes() for picture in pictures[1:4]] == pixels[1:4]
    for path in tmp_path.iterdir():
        path.unlink()
    assert [pictures[index].tobytes() for index in (0, 1)] == pixels[:2]
    with pytest.raises(TrainerError, match=r"2\.png was changed or removed"):
        _ = pictures[2]


def test_picture_that_is_given_twice_is_kept_once(tmp_path: Path) -> None:
    """As content and as style, or to give it more weight."""
    _saved(tmp_path, 2)
    cache = PictureCache(10_000)
    for folders in ([tmp_path, tmp_path], [tmp_path]):
        load_pictures(folders, cache=cache)
    assert cache.used == 2400


def test_picture_that_has_changed_is_not_trained_on(tmp_path: Path) -> None:
    """Otherwise a run that is resumed would not be the same."""
    _saved(tmp_path, 1)
    pictures = load_pictures([tmp_path]).pictures
    _noise(20, 7).save(tmp_path / "0.png")
    with pytest.raises(TrainerError, match="was changed or removed"):
        _ = pictures[0]


def test_chosen_pictures_are_those_of_the_sequence() -> None:
    """In the order that is asked for, also in parts."""
    pictures = [_noise(8, seed) for seed in range(4)]
    chosen = ChosenPictures(pictures, [3, 0, 2])
    assert list(chosen) == [pictures[3], pictures[0], pictures[2]] and list(chosen[1:]) == [pictures[0], pictures[2]]
