"""adain-stylize with people's own files: profiles, 16 bit, what stands beside the pixels, frames, transparency.

--alpha 0 paints the content itself, so that the result must be the content in every number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from adain_stylize.cli import main
from support.helpers import PICTURES, RunningServer
from support.pictures import (
    ADOBE_RGB,
    LINEAR_GRAY,
    SRGB,
    noise,
    png_of_16_bit,
    read_png_of_16_bit,
    through_profiles,
    tiff_of_16_bit,
)

STYLE = str(PICTURES / "van-gogh-road-to-tarascon.jpg")


def _paint(server: RunningServer, *arguments: str | Path) -> int:
    """At once, one pass."""
    command = ["--connection-file", server.connection_file, "--no-start", "--quiet", "--quality", "fast"]
    return main([str(argument) for argument in (*command, "--style", STYLE, *arguments)])


def _same(server: RunningServer, content: Path, target: Path) -> None:
    assert _paint(server, content, "--alpha", "0", "-o", target) == 0


def _samples(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.array(picture)


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize(
    ("icc", "shape"), [(ADOBE_RGB, (40, 30, 3)), (ADOBE_RGB, (40, 30, 4)), (LINEAR_GRAY, (40, 30))]
)
def test_result_has_the_colours_and_the_profile_of_its_content(
    server: RunningServer, tmp_path: Path, ending: str, icc: bytes, shape: tuple[int, ...]
) -> None:
    """Bit for bit, where nothing is painted, and the profile embedded; a WebP is RGB and cannot hold a gray one."""
    content, target = tmp_path / "a.png", tmp_path / f"out.{ending}"
    Image.fromarray(noise(*shape)).save(content, icc_profile=icc)
    _same(server, content, target)
    with Image.open(target) as result:
        if ending == "webp":
            assert result.info.get("icc_profile", b"") == (icc if len(shape) == 3 else b"")
        else:
            assert result.info["icc_profile"] == icc and np.array_equal(np.array(result), noise(*shape))


def test_painted_colours_are_the_same_with_and_without_a_profile(server: RunningServer, tmp_path: Path) -> None:
    """A picture and the same in Adobe RGB: what is painted looks the same, seen through the profiles."""
    with Image.open(PICTURES / "chelsea.jpg") as picture:
        plain = picture.convert("RGB").resize((90, 61))
    wide = through_profiles(plain, SRGB, ADOBE_RGB)
    plain.save(tmp_path / "plain.png")
    wide.save(tmp_path / "wide.png", icc_profile=ADOBE_RGB)
    for name in ("plain", "wide"):
        assert _paint(server, tmp_path / f"{name}.png", "-o", tmp_path / f"{name}-out.png") == 0
    with Image.open(tmp_path / "wide-out.png") as result:
        seen = through_profiles(result, ADOBE_RGB, SRGB)
    difference = np.abs(np.array(seen, dtype=int) - _samples(tmp_path / "plain-out.png"))
    assert difference.mean() < 2.5


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_come_through_whole(server: RunningServer, tmp_path: Path, channels: int) -> None:
    """PNG to PNG and to TIFF, TIFF to TIFF."""
    samples = noise(40, 30, channels, dtype=np.uint16)
    png_of_16_bit(tmp_path / "a.png", samples)
    _same(server, tmp_path / "a.png", tmp_path / "out.png")
    assert np.array_equal(read_png_of_16_bit(tmp_path / "out.png"), samples)
    if channels > 2:
        tiff_of_16_bit(tmp_path / "a.tif", samples, extra=2 if channels == 4 else None)
        _same(server, tmp_path / "a.tif", tmp_path / "out.tif")
        _same(server, tmp_path / "out.tif", tmp_path / "again.png")
        assert np.array_equal(read_png_of_16_bit(tmp_path / "again.png"), samples)


def test_16_bit_as_jpeg_are_said(server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They become 8."""
    png_of_16_bit(tmp_path / "a.png", noise(40, 30, 3, dtype=np.uint16))
    _same(server, tmp_path / "a.png", tmp_path / "out.jpg")
    assert "out.jpg holds 8 bit" in capsys.readouterr().err


def test_inks_are_said(server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A CMYK JPEG: written in RGB, without a profile."""
    Image.fromarray(noise(40, 30, 3)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    _same(server, tmp_path / "a.jpg", tmp_path / "out.png")
    assert "is in CMYK; the result is in RGB" in capsys.readouterr().err
    with Image.open(tmp_path / "a.jpg") as inks, Image.open(tmp_path / "out.png") as result:
        assert np.array_equal(np.array(result), np.array(inks.convert("RGB"))) and "icc_profile" not in result.info


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_what_stands_beside_the_pixels_is_kept(server: RunningServer, tmp_path: Path, ending: str) -> None:
    """Resolution, EXIF but for its orientation, XMP and comment, where the format has a place for them."""
    exif = Image.Exif()
    exif[274], exif[315], exif[0x8769] = 6, "Anna", {0x9003: "2026:01:02 03:04:05"}
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    Image.fromarray(noise(40, 30, 3)).save(tmp_path / "a.jpg", exif=exif, xmp=xmp, comment="Cat", dpi=(300, 300))
    target = tmp_path / f"out.{ending}"
    assert _paint(server, tmp_path / "a.jpg", "-o", target) == 0
    with Image.open(target) as result:
        result.load()
        assert result.size == (40, 30)
        found = result.getexif()
        assert found[315] == "Anna" and found.get(274, 1) == 1
        assert found.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
        kept: Any = result.info.get("xmp") or result.info.get("XML:com.adobe.xmp")
        assert bytes(kept if isinstance(kept, bytes) else kept.encode()) == xmp.replace(b'"6"', b'"1"')
        if ending != "webp":
            assert np.allclose([float(value) for value in result.info["dpi"]], 300, atol=0.01)
        comment = {"png": result.info.get("Comment"), "jpg": result.info.get("comment"), "tif": found.get(270)}
        assert comment.get(ending, "Cat") in {"Cat", b"Cat"}


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_frames_are_painted_with_their_durations(
    server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """All of them when that is asked for; else the first one, with a sentence."""
    content, target = tmp_path / f"a.{ending}", tmp_path / f"out.{ending}"
    frames = [Image.new("RGB", (40, 30), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options: dict[str, Any] = {"lossless": True} if ending == "webp" else {}
    timing: dict[str, Any] = {} if ending == "tif" else {"duration": [70, 200, 90], "loop": 0}
    frames[0].save(content, save_all=True, append_images=frames[1:], **timing, **options)
    _same(server, content, tmp_path / "one.png")
    assert "has 3 frames, of which the first is painted" in capsys.readouterr().err
    assert np.array_equal(_samples(tmp_path / "one.png")[0, 0], [250, 0, 0])
    assert _paint(server, content, "--frames", "--alpha", "0", "-o", target) == 0
    assert not capsys.readouterr().err
    with Image.open(target) as result:
        assert getattr(result, "n_frames", 1) == 3
        painted, durations = [], []
        for frame in ImageSequence.Iterator(result):
            painted.append(np.array(frame.convert("RGB"), dtype=int)[15, 20])
            durations.append(frame.info.get("duration"))
        assert np.abs(np.array(painted) - [[250, 0, 0], [0, 250, 0], [0, 0, 250]]).max() <= 8
        if timing:
            assert durations == [70, 200, 90] and result.info["loop"] == 0


def test_frames_keep_their_ending_in_a_folder(server: RunningServer, tmp_path: Path) -> None:
    """And a smoothed one is a film; a transparent frame stays transparent."""
    clear = noise(30, 40, 4)
    clear[:, :, 3] = 255 * (clear[:, :, 3] > 128)
    frames = [Image.fromarray(clear), Image.fromarray(clear[::-1].copy())]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=50)
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in" / "b.gif", save_all=True, append_images=frames[1:], duration=50, disposal=2)
    frames[0].save(tmp_path / "in" / "c.bmp")
    assert _paint(server, tmp_path / "in", "--frames", "--smooth", "0.5", "-o", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.gif", "c.png"]
    with Image.open(tmp_path / "out" / "b.gif") as result:
        for frame, wanted in zip(ImageSequence.Iterator(result), (clear, clear[::-1]), strict=True):
            assert np.array_equal(np.array(frame.convert("RGBA"))[:, :, 3], wanted[:, :, 3])


def test_frames_into_a_format_for_one_are_refused(
    server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is painted."""
    Image.new("L", (9, 9)).save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("L", (9, 9), 9)])
    assert _paint(server, tmp_path / "a.gif", "--frames", "-o", tmp_path / "out.jpg") == 1
    assert "has 2 frames" in capsys.readouterr().err and not (tmp_path / "out.jpg").exists()


def test_transparency_is_refused_where_it_would_be_lost(
    server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JPEG: a sentence; an alpha that is opaque everywhere is nothing to lose."""
    clear = noise(40, 30, 4)
    Image.fromarray(clear).save(tmp_path / "a.png")
    assert _paint(server, tmp_path / "a.png", "-o", tmp_path / "out.jpg") == 1
    assert "transparent parts" in capsys.readouterr().err and not (tmp_path / "out.jpg").exists()
    clear[:, :, 3] = 255
    Image.fromarray(clear).save(tmp_path / "b.png")
    assert _paint(server, tmp_path / "b.png", "-o", tmp_path / "out.jpg") == 0


def test_alpha_of_a_mask_says_where(server: RunningServer, tmp_path: Path) -> None:
    """All white, with an alpha channel: painted where it is opaque, and untouched where it is not."""
    mask = np.full((40, 30, 2), 255, dtype=np.uint8)
    mask[:, :15, 1] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(noise(40, 30, 3)).save(tmp_path / "a.png", icc_profile=ADOBE_RGB)
    assert _paint(server, tmp_path / "a.png", "--mask", tmp_path / "mask.png", "-o", tmp_path / "out.png") == 0
    result = _samples(tmp_path / "out.png").astype(int)
    assert np.array_equal(result[:, :15], noise(40, 30, 3)[:, :15])
    assert np.abs(result[:, 15:] - noise(40, 30, 3)[:, 15:]).mean() > 5


def test_named_style_is_read_through_its_profile(server: RunningServer, tmp_path: Path) -> None:
    """The server's own reading of the styles folder gives what the command's does."""
    server.styles.mkdir(exist_ok=True)
    style = server.styles / "wide.png"
    Image.fromarray(noise(64, 64, 3)).save(style, icc_profile=ADOBE_RGB)
    Image.fromarray(noise(40, 30, 3, seed=1)).save(tmp_path / "a.png")
    command = ["--connection-file", str(server.connection_file), "--no-start", "--quiet", "--quality", "fast"]
    try:
        for name, source in (("name", "wide"), ("file", str(style))):
            arguments = [str(tmp_path / "a.png"), "--style", source, "-o", str(tmp_path / f"{name}.png")]
            assert main([*command, *arguments]) == 0
    finally:
        style.unlink()
    assert np.array_equal(_samples(tmp_path / "name.png"), _samples(tmp_path / "file.png"))
