"""Pictures in files: every mode and format comes out as the samples that it means, in sRGB."""

from __future__ import annotations

import importlib
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from adain_stylize.contents import mask_samples, read_content
from adain_stylize.deep_pictures import save_deep_png, save_deep_tiff
from adain_stylize.kept import read_kept
from adain_stylize.pictures import check_target, pixels_of, result_samples
from adain_weights.colour_profiles import ColourProfile, ProfileError, make_profile, primaries_to_xyz
from adain_weights.picture_files import PictureError, open_picture, opened, style_picture
from adain_weights.samples import samples_of, upright
from support.pictures import (
    ADOBE_RGB,
    LINEAR_GRAY,
    SRGB,
    cmyk_profile,
    noise,
    png_bytes,
    png_of_16_bit,
    png_with,
    read_png_of_16_bit,
    through_profiles,
    tiff_of_16_bit,
)

GREEN = np.array([[[90, 160, 70]]], dtype=np.uint8)


def _littlecms(samples: Any, source: bytes, target: bytes) -> Any:
    """As LittleCMS converts 8 bit."""
    return np.array(through_profiles(Image.fromarray(samples), source, target))


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_becomes_its_samples(mode: str) -> None:
    """Colours are Pillow's own conversion, and alpha is whole."""
    colours = Image.fromarray(noise(5, 7, 4))
    picture = (
        colours.convert("LA").convert(mode) if mode == "La" else colours.convert("RGB" if mode != "RGBa" else "RGBA")
    )
    picture = colours.convert("RGBA").convert(mode) if "A" in mode or mode == "RGBa" else picture.convert(mode)
    samples = samples_of(picture)
    wanted = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}.get(mode, "RGB")
    assert np.array_equal(samples.squeeze(), np.array(picture.convert(wanted)))
    if wanted.endswith("A") and mode != "PA":
        assert np.array_equal(samples[:, :, -1], noise(5, 7, 4)[:, :, 3])


def test_lab_is_converted_by_colour() -> None:
    """A known colour: L 50, a and b 0 is middle gray, 119 in sRGB."""
    lab = Image.frombytes("LAB", (1, 1), bytes([128, 0, 0]))
    assert np.abs(samples_of(lab).astype(int) - 119).max() <= 1


@pytest.mark.parametrize(
    ("mode", "transparency", "alpha"),
    [("P", 3, [255, 255, 255, 0]), ("P", bytes([0, 90, 255]), [0, 90, 255, 255]), ("L", 2, [255, 255, 0, 255]),
     ("1", 0, [0, 255, 255, 255]), ("RGB", (1, 1, 1), [255, 0, 255, 255])],
)  # fmt: skip
def test_transparent_colours_become_alpha(tmp_path: Path, mode: str, transparency: Any, alpha: list[int]) -> None:
    """A palette's entry, some of them, a gray, black, a colour."""
    values = np.arange(4, dtype=np.uint8).reshape(1, 4)
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette([1, 2, 3, 40, 50, 60, 7, 8, 9, 10, 11, 12], "RGB")
    elif mode == "1":
        picture = Image.fromarray(values > 0)
    elif mode == "RGB":
        picture = Image.merge("RGB", [picture] * 3)
    picture.save(tmp_path / "a.png", transparency=transparency)
    assert read_content(tmp_path / "a.png").first.own[0, :, -1].tolist() == alpha
    assert np.array(open_picture(tmp_path / "a.png"))[0, :, -1].tolist() == alpha


def test_transparent_gray_of_16_bit_becomes_alpha(tmp_path: Path) -> None:
    """And a colour of 16 bit, of which another has the same 8 bits."""
    gray = np.array([[[1000], [1001]]], dtype=np.uint16)
    png_of_16_bit(tmp_path / "a.png", gray, tRNS=struct.pack(">H", 1001))
    assert read_content(tmp_path / "a.png").first.own.tolist() == [[[1000, 65535], [1001, 0]]]
    colours = np.repeat(gray, 3, axis=2)
    png_of_16_bit(tmp_path / "b.png", colours, tRNS=struct.pack(">3H", *[1001] * 3))
    assert read_content(tmp_path / "b.png").first.own[0, :, 3].tolist() == [65535, 0]


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_png_is_read_and_written_whole(tmp_path: Path, channels: int) -> None:
    """Every bit, both ways."""
    samples = noise(5, 7, channels, dtype=np.uint16)
    png_of_16_bit(tmp_path / "a.png", samples)
    assert np.array_equal(read_content(tmp_path / "a.png").first.srgb, samples)
    save_deep_png(tmp_path / "b.png", samples, {"dpi": (300, 300)})
    assert np.array_equal(read_png_of_16_bit(tmp_path / "b.png"), samples)
    with Image.open(tmp_path / "b.png") as written:
        assert np.array_equal(written.info["dpi"], (299.9994, 299.9994))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("channels", "extra"), [(3, None), (4, 2)])
def test_16_bit_tiff_is_read_and_written_whole(tmp_path: Path, order: str, channels: int, extra: int | None) -> None:
    """In both orders of bytes."""
    samples = noise(5, 7, channels, dtype=np.uint16)
    tiff_of_16_bit(tmp_path / "a.tif", samples, order=order, extra=extra)
    assert np.array_equal(read_content(tmp_path / "a.tif").first.srgb, samples)
    save_deep_tiff(tmp_path / "b.tif", samples, {})
    assert np.array_equal(read_content(tmp_path / "b.tif").first.srgb, samples)
    with Image.open(tmp_path / "b.tif") as written:
        assert written.mode == ("RGB" if channels == 3 else "RGBA") and written.size == (7, 5)
        assert isinstance(written, TiffImagePlugin.TiffImageFile)
        assert written.tag_v2[258] == (16,) * channels and written.tag_v2[262] == 2


@pytest.mark.parametrize("compression", ["deflate", "packbits"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_in_a_compressed_tiff(tmp_path: Path, compression: str, order: str) -> None:
    """As other programs write them; libtiff gives the bytes in the machine's order."""
    samples = noise(5, 7, 3, dtype=np.uint16)
    tiff_of_16_bit(tmp_path / "a.tif", samples, order=order, compression=compression)
    assert np.array_equal(read_content(tmp_path / "a.tif").first.srgb, samples)


def test_16_bit_in_planes_are_refused(tmp_path: Path) -> None:
    """Pillow would give wrong samples."""
    path = tiff_of_16_bit(tmp_path / "a.tif", noise(5, 7, 3, dtype=np.uint16))
    # RowsPerStrip, which may be left out of a single strip, makes place for PlanarConfiguration.
    entry, planes = struct.pack("<HHII", 278, 4, 1, 5), struct.pack("<HHII", 284, 4, 1, 2)
    count = struct.pack("<HHII", 279, 4, 1, 210)
    path.write_bytes(path.read_bytes().replace(entry + count, count + planes))
    with pytest.raises(PictureError, match="a plane for each channel"):
        read_content(path)


def test_associated_alpha_of_16_bit_is_divided_out(tmp_path: Path) -> None:
    """A half transparent red, multiplied by its alpha in the file."""
    tiff_of_16_bit(tmp_path / "a.tif", np.array([[[30000, 0, 1000, 32768]]], dtype=np.uint16), extra=1)
    assert read_content(tmp_path / "a.tif").first.own.tolist() == [[[59999, 0, 2000, 32768]]]


def test_white_is_zero_in_a_tiff_that_says_so(tmp_path: Path) -> None:
    """Gray of 16 bit."""
    gray = np.array([[0, 65535, 1000]], dtype=np.uint16)
    Image.fromarray(gray).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert read_content(tmp_path / "a.tif").first.own[0, :, 0].tolist() == [65535, 0, 64535]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_pictures_come_upright(tmp_path: Path, orientation: int, ending: str) -> None:
    """As Pillow itself turns them, and the result's EXIF says so no more."""
    exif = Image.Exif()
    exif[274], exif[315] = orientation, "Anna"
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / f"a.{ending}", exif=exif)
    content = read_content(tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as file:
        plain = np.array(file)
    turned = plain if ending == "tif" else upright(plain, orientation)
    assert np.array_equal(content.first.own, turned)
    assert content.first.own.shape[:2] == ((4, 6) if orientation < 5 else (6, 4))
    kept = Image.Exif()
    kept.load(content.kept.exif)
    assert kept.get(274, 1) == 1 and kept[315] == "Anna"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_as_pillow_turns(orientation: int) -> None:
    """All eight of EXIF's."""
    picture = Image.fromarray(noise(4, 6, 3))
    picture.getexif()[274] = orientation
    assert np.array_equal(upright(noise(4, 6, 3), orientation), np.array(ImageOps.exif_transpose(picture)))


def test_16_bit_comes_upright(tmp_path: Path) -> None:
    """Turned by EXIF, which a PNG has in a chunk."""
    exif = Image.Exif()
    exif[274] = 6
    samples = noise(4, 6, 3, dtype=np.uint16)
    png_of_16_bit(tmp_path / "a.png", samples, eXIf=exif.tobytes()[6:])
    assert np.array_equal(read_content(tmp_path / "a.png").first.own, np.rot90(samples, -1))


def test_profile_is_undone_as_littlecms_does(tmp_path: Path) -> None:
    """Content and style, 8 bit; back in its own colours what was painted differs, the rest is what it was."""
    samples = noise(16, 16, 3)
    Image.fromarray(samples).save(tmp_path / "a.png", icc_profile=ADOBE_RGB)
    wanted = _littlecms(samples, ADOBE_RGB, SRGB)
    content = read_content(tmp_path / "a.png")
    assert np.abs(content.first.srgb.astype(int) - wanted).max() <= 1
    assert np.array_equal(np.array(style_picture(tmp_path / "a.png")), content.first.srgb)
    painted = content.first.srgb.copy()
    painted[:8] = 255 - painted[:8]
    result = content.first.in_own_colours(painted, content.profile)
    assert np.array_equal(result[8:], samples[8:])
    assert np.abs(result[:8].astype(int) - _littlecms(painted, SRGB, ADOBE_RGB)[:8]).max() <= 1


def test_16_bit_are_converted_whole() -> None:
    """A ramp stays as fine as it was, near what LittleCMS makes of its 8 bits, and comes back within 2 of 65,535."""
    ramp = np.linspace(9000, 52000, 4000).astype(np.uint16).reshape(1, -1, 1)
    samples = np.concatenate([ramp, ramp + 2000, ramp + 3000], axis=2)
    profile = ColourProfile(ADOBE_RGB)
    srgb = profile.to_srgb(samples)
    eight = ((samples + 128) // 257).astype(np.uint8)
    assert np.abs(srgb / 257 - _littlecms(eight, ADOBE_RGB, SRGB)).max() < 1.6
    inside = (srgb > 0) & (srgb < 65535)
    back = profile.from_srgb(srgb)
    assert np.abs(back.astype(int) - samples)[inside.all(axis=2)].max() <= 2
    assert len(np.unique(srgb[0, :, 2])) > 3900


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_gray_profiles_are_a_curve(dtype: Any) -> None:
    """Linear light 0.2140 is half in sRGB's curve (IEC 61966-2-1), in every depth, and back."""
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    sample = np.array([[[0.21404 * white]]]).round(0 if white > 1 else 9).astype(dtype)
    profile = ColourProfile(LINEAR_GRAY)
    srgb = profile.to_srgb(sample)
    assert srgb.dtype == dtype and abs(float(srgb[0, 0, 0]) / white - 0.5) < (0.005 if dtype is np.uint8 else 0.0001)
    assert abs(float(profile.from_srgb(srgb)[0, 0, 0]) - float(sample[0, 0, 0])) <= (1 if white > 1 else 1e-5)


@pytest.mark.parametrize(
    ("curve", "half"),
    [
        (struct.pack(">I", 0), 0.5),
        (struct.pack(">IH", 1, 512), 0.25),
        (struct.pack(">I3H", 3, 0, 10000, 65535), 10000 / 65535),
        (struct.pack(">HHi", 0, 0, 2 << 16), 0.25),
        (struct.pack(">HH3i", 1, 0, 2 << 16, 1 << 16, 0), 0.25),
        (struct.pack(">HH4i", 2, 0, 2 << 16, 1 << 15, 0, 1 << 14), 0.0625 + 0.25),
        (struct.pack(">HH5i", 3, 0, 2 << 16, 1 << 16, 0, 1 << 14, 3 << 14), 0.125),
        (struct.pack(">HH7i", 4, 0, 2 << 16, 1 << 16, 0, 1 << 14, 3 << 14, 0, 1 << 13), 0.125 + 0.125),
    ],
    ids=["linear", "gamma", "table", "para 0", "para 1", "para 2", "para 3", "para 4"],
)
def test_every_kind_of_curve(curve: bytes, half: float) -> None:
    """Light at half of the samples, by ICC.1's formulas."""
    kind = b"curv" if len(curve) in {4, 6, 10} else b"para"
    profile = bytearray(LINEAR_GRAY)
    place = profile.index(b"kTRC")
    struct.pack_into(">II", profile, place + 4, len(profile), 8 + len(curve))
    profile += kind + bytes(4) + curve
    struct.pack_into(">I", profile, 0, len(profile))
    light = ColourProfile(bytes(profile)).to_srgb(np.array([[[0.5]]], dtype=np.float32))[0, 0, 0]
    assert light == pytest.approx(1.055 * half ** (1 / 2.4) - 0.055, abs=1e-3)


def test_srgb_is_kept_and_not_converted(tmp_path: Path) -> None:
    """Its own profile is embedded again; so a gray picture with one changes nothing."""
    for samples in (noise(4, 4, 3), noise(4, 4)):
        Image.fromarray(samples).save(tmp_path / "a.png", icc_profile=SRGB)
        content = read_content(tmp_path / "a.png")
        assert np.array_equal(content.first.srgb.squeeze(), samples) and not content.notes
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "a.png", icc_profile=SRGB)
    profile = read_content(tmp_path / "a.png").profile
    assert profile is not None and profile.icc == SRGB


@pytest.mark.parametrize("icc", [b"rubbish", ADOBE_RGB[:200], LINEAR_GRAY, b""], ids=["rubbish", "cut", "gray", "none"])
def test_unusable_profile_is_said(tmp_path: Path, icc: bytes) -> None:
    """The picture is taken as sRGB, with a sentence."""
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "a.png", icc_profile=icc)
    content = read_content(tmp_path / "a.png")
    assert np.array_equal(content.first.srgb, noise(4, 4, 3)) and content.profile is None
    assert [note.endswith("its colours are taken as sRGB.") for note in content.notes] == ([True] if icc else [])


def test_damaged_profiles_never_end_in_anything_else() -> None:
    """Bytes changed at random, cut anywhere: it works, or it is a ProfileError."""
    random = np.random.default_rng(0)
    for _ in range(300):
        icc = bytearray(ADOBE_RGB if random.random() < 0.5 else LINEAR_GRAY)
        for place in random.integers(0, len(icc), 4):
            icc[place] = random.integers(0, 256)
        try:
            profile = ColourProfile(bytes(icc[: random.integers(100, len(icc) + 1)]))
        except ProfileError:
            continue
        if profile.space in {"RGB", "GRAY"}:
            profile.to_srgb(noise(2, 2, 3 if profile.space == "RGB" else 1))


def test_inks_become_srgb_with_a_sentence(tmp_path: Path) -> None:
    """By the profile where there is one: no ink is white, black ink is black, and it differs from no profile."""
    inks = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0]]], dtype=np.uint8)
    for icc, cyan in ((b"", [0, 255, 255]), (cmyk_profile(), [156, 156, 156])):
        Image.frombytes("CMYK", (3, 1), inks.tobytes()).save(tmp_path / "a.tif", icc_profile=icc or None)
        content = read_content(tmp_path / "a.tif")
        assert content.first.srgb[0, 0].tolist() == [255] * 3 and content.first.srgb[0, 1].max() < 3
        assert np.abs(content.first.srgb[0, 2].astype(int) - cyan).max() <= 8
        assert content.profile is None and content.notes == (
            f"{tmp_path / 'a.tif'} is in CMYK; the result is in RGB (sRGB).",
        )


def test_png_that_names_its_curve_or_primaries(tmp_path: Path) -> None:
    """A gAMA of 1 is linear light; ImageMagick's gAMA and cHRM are sRGB; an sRGB chunk wins."""
    png = png_bytes(GREEN)
    linear = _write(tmp_path / "a.png", png_with(png, gAMA=struct.pack(">I", 100000)))
    light = GREEN / 255
    wanted = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    content = read_content(linear)
    assert np.abs(content.first.srgb - wanted).max() <= 1 and content.profile is not None
    primaries = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    usual = _write(tmp_path / "b.png", png_with(png, gAMA=struct.pack(">I", 45455), cHRM=primaries))
    assert read_content(usual).profile is None
    both = _write(tmp_path / "c.png", png_with(png, gAMA=struct.pack(">I", 100000), sRGB=b"\0"))
    assert np.array_equal(read_content(both).first.srgb, GREEN)
    gray = _write(tmp_path / "d.png", png_with(png_bytes(GREEN[:, :, 0]), gAMA=struct.pack(">I", 100000)))
    assert abs(int(read_content(gray).first.srgb[0, 0, 0]) - wanted[0, 0, 0]) <= 1


def test_camera_that_says_adobe_rgb_in_exif(tmp_path: Path) -> None:
    """R03, without a profile: the same as with Adobe RGB's."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 65535, 0xA005: {1: "R03"}}
    Image.fromarray(np.repeat(np.repeat(GREEN, 8, 0), 8, 1)).save(tmp_path / "a.jpg", exif=exif, quality=100)
    content = read_content(tmp_path / "a.jpg")
    assert content.profile is not None
    assert np.abs(content.first.srgb.astype(int) - _littlecms(content.first.own, ADOBE_RGB, SRGB)).max() <= 1
    Image.fromarray(GREEN).save(tmp_path / "b.jpg")
    assert read_content(tmp_path / "b.jpg").profile is None


def test_primaries_are_adapted_as_profiles_have_them() -> None:
    """sRGB's, against the numbers of its own profile."""
    wanted = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    assert np.abs(primaries_to_xyz([0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06]) - wanted).max() < 3e-4
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(ADOBE_RGB))).strip() == "Adobe RGB"
    assert make_profile(None, 2.2, name="x")[16:20] == b"GRAY"


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        ([[[255, 255], [255, 0], [255, 128]]], [255, 0, 128]),
        ([[[128, 255], [128, 0], [255, 255]]], [128, 0, 255]),
        ([[[9, 200, 30, 0], [255, 255, 255, 255], [255, 255, 255, 51]]], [0, 255, 51]),
        ([[[0, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 77]]], [255, 0, 77]),
        ([[[0, 255], [0, 255], [0, 255]]], [0, 0, 0]),
    ],
    ids=["white with alpha", "light times alpha", "colours", "black shape on nothing", "opaque black"],
)
def test_alpha_of_a_mask_says_where(tmp_path: Path, samples: Any, wanted: list[int]) -> None:
    """Light times alpha."""
    Image.fromarray(np.array(samples, dtype=np.uint8)).save(tmp_path / "m.png")
    assert mask_samples(tmp_path / "m.png")[0, :, 0].tolist() == wanted


def test_mask_is_in_srgb(tmp_path: Path) -> None:
    """Linear gray 55 is 128 in sRGB's curve; 16 bit are rounded."""
    Image.fromarray(np.array([[55]], dtype=np.uint8)).save(tmp_path / "m.png", icc_profile=LINEAR_GRAY)
    assert abs(int(mask_samples(tmp_path / "m.png")[0, 0, 0]) - 128) <= 1
    Image.fromarray(np.array([[257 * 7 + 100]], dtype=np.uint16)).save(tmp_path / "n.png")
    assert mask_samples(tmp_path / "n.png")[0, 0, 0] == 7


def test_transparent_style_is_on_white(tmp_path: Path) -> None:
    """Hidden colours are not seen; half of black is middle gray."""
    samples = np.array([[[1, 2, 3, 0], [0, 0, 0, 128], [9, 8, 7, 255]]], dtype=np.uint8)
    Image.fromarray(samples).save(tmp_path / "s.png")
    assert np.array(style_picture(tmp_path / "s.png")).tolist() == [[[255] * 3, [127] * 3, [9, 8, 7]]]


REFUSED = {
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, which cannot be read here; pip install"),
    "JPEG XL": (b"\xff\x0a" + bytes(30), "a JPEG XL picture, which cannot be read here; save it as PNG"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="x">', "a SVG picture"),
    "XCF": (b"gimp xcf v011", "a XCF (GIMP) file"),
    "PDF": (b"%PDF-1.7", "a PDF file"),
    "zip": (b"PK\x03\x04" + bytes(60), "a zip file"),
    "a page": (b"<!DOCTYPE html><html>", "a web page (HTML) file"),
    "raw": (b"II*\0\x10\0\0\0CR\x02\0", "a camera raw (CR2) file"),
    "nothing known": (b"hello", "not a picture that can be read"),
    "nothing": (b"", "not a picture that can be read"),
}


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_formats_are_named_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, words: str
) -> None:
    """Whatever the name ends in; without the plug-in."""
    monkeypatch.setattr("adain_weights.picture_formats.find_spec", lambda _name: None)
    with pytest.raises(PictureError, match=r"^[^\n]*[.]$") as refused:
        open_picture(_write(tmp_path / "picture.jpg", data))
    assert words in str(refused.value)


def test_avif_is_read(tmp_path: Path) -> None:
    """By Pillow."""
    Image.new("RGB", (8, 6), (200, 30, 40)).save(tmp_path / "a.avif", quality=100)
    assert np.abs(read_content(tmp_path / "a.avif").first.own.astype(int) - [200, 30, 40]).max() <= 4


def test_heic_is_read_with_the_plug_in(tmp_path: Path) -> None:
    """By what pillow-heif has written."""
    importlib.import_module("pillow_heif.HeifImagePlugin")
    Image.new("RGB", (64, 48), (200, 30, 40)).save(tmp_path / "a.heic", quality=95)
    content = read_content(tmp_path / "a.heic")
    assert content.first.own.shape == (48, 64, 3) and np.abs(content.first.own.astype(int) - [200, 30, 40]).max() <= 4


def _layers(path: Path, kind: bytes, **parts: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("mimetype"), kind)
        for name, data in parts.items():
            file.writestr(f"{name}.png", data)
    return path


@pytest.mark.parametrize(("kind", "ending"), [(b"application/x-krita", "kra"), (b"image/openraster", "ora")])
def test_merged_picture_of_layers_is_read(tmp_path: Path, kind: bytes, ending: str) -> None:
    """With its profile and its transparency."""
    samples = noise(5, 7, 4)
    path = _layers(tmp_path / f"a.{ending}", kind, mergedimage=png_bytes(samples, icc_profile=ADOBE_RGB))
    content = read_content(path)
    assert np.array_equal(content.first.own, samples) and content.profile is not None
    with pytest.raises(PictureError, match="not a picture that can be read"):
        read_content(_layers(tmp_path / f"b.{ending}", kind, other=b"x"))


def test_bomb_in_a_zip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it would unpack to, before it does; and a picture with too many pixels as anywhere."""
    path = _layers(tmp_path / "a.ora", b"image/openraster", mergedimage=bytes(2**20))
    monkeypatch.setattr("adain_weights.picture_formats.LARGEST_INSIDE", 2**20 - 1)
    with pytest.raises(PictureError, match="not a picture that can be read"):
        open_picture(path)
    huge = bytearray(png_bytes(GREEN))
    struct.pack_into(">II", huge, 16, 100000, 100000)
    struct.pack_into(">I", huge, 29, zlib.crc32(bytes(huge[12:29])))
    monkeypatch.undo()
    with pytest.raises(PictureError, match="more pixels"):
        open_picture(_layers(tmp_path / "b.ora", b"image/openraster", mergedimage=bytes(huge)))


def test_psd_is_read_by_its_merged_picture(tmp_path: Path) -> None:
    """Header, no layers, the picture plane by plane, as Adobe's specification has it."""
    samples = noise(3, 4, 3)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 3, 4, 8, 3) + bytes(12)
    path = _write(tmp_path / "a.psd", head + b"\0\0" + samples.transpose(2, 0, 1).tobytes())
    assert np.array_equal(read_content(path).first.own, samples)


@pytest.mark.parametrize(("tag", "kind"), [(271, 10), (315, 5), (282, 7)])
def test_damaged_exif_is_left_out(tmp_path: Path, tag: int, kind: int) -> None:
    """Beside an orientation, which still counts: the picture is read, and a sentence says what is missing."""
    entries = struct.pack("<HHIHH", 274, 3, 1, 6, 0) + struct.pack("<HHII", tag, kind, 2, 38)
    exif = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + bytes(range(200, 255))
    samples = noise(4, 6, 3)
    content = read_content(_write(tmp_path / "a.png", png_with(png_bytes(samples), eXIf=exif)))
    assert np.array_equal(content.first.own, np.rot90(samples, -1)) and content.kept.exif == b""
    assert [note.endswith("is damaged and left out: EXIF.") for note in content.notes] == [True]
    assert np.array_equal(np.array(style_picture(tmp_path / "a.png")), np.rot90(samples, -1))


def test_exif_damaged_at_random_never_costs_the_picture(tmp_path: Path) -> None:
    """Its samples are all there, turned or not."""
    exif = Image.Exif()
    exif[274], exif[315], exif[0x8769] = 6, "Anna", {0x9003: "2026:01:01"}
    samples, random = noise(4, 6, 3), np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(exif.tobytes()[6:])
        for place in random.integers(8, len(damaged), 3):
            damaged[place] = random.integers(0, 256)
        cut = int(random.integers(10, len(damaged) + 1))
        path = _write(tmp_path / "a.png", png_with(png_bytes(samples), eXIf=bytes(damaged[:cut])))
        assert sorted(read_content(path).first.own.ravel()) == sorted(samples.ravel())


def test_what_stands_beside_the_pixels_is_read(tmp_path: Path) -> None:
    """Resolution, EXIF without the old sizes, XMP that is upright, texts, a comment."""
    exif, info = Image.Exif(), PngImagePlugin.PngInfo()
    exif[274], exif[271], exif[0x8769] = 3, "Camera", {0x829A: 0.5, 0xA002: 4000}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3" dc:rights="Ü"/>')
    info.add_text("Title", "Cat")
    info.add_itxt("Comment", "Grün")
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "a.png", exif=exif, pnginfo=info, dpi=(300, 150))
    with opened(tmp_path / "a.png") as file:
        file.load()
        kept = read_kept(file)
    assert kept.dpi == pytest.approx((300, 150), abs=0.02)
    assert kept.xmp.decode() == '<x tiff:Orientation="1" dc:rights="Ü"/>'
    assert kept.texts == {"Title": "Cat"} and kept.comment == "Grün" and not kept.damaged
    again = Image.Exif()
    again.load(kept.exif)
    assert again[271] == "Camera" and 274 not in again
    assert again.get_ifd(0x8769) == {0x829A: 0.5} and again.get_ifd(0x8825)[2] == (48.0, 8.0, 0.0)


def test_what_a_format_cannot_hold_is_refused_or_said(tmp_path: Path) -> None:
    """Before anything is painted."""
    clear = noise(4, 4, 4)
    Image.fromarray(clear).save(tmp_path / "a.png")
    content = read_content(tmp_path / "a.png")
    for ending in ("jpg", "bmp", "ppm"):
        with pytest.raises(PictureError, match="transparent parts"):
            check_target(content, tmp_path / f"out.{ending}", all_frames=False)
    for ending in ("png", "tif", "webp"):
        assert not check_target(content, tmp_path / f"out.{ending}", all_frames=False)
    assert "nothing between" in check_target(content, tmp_path / "out.gif", all_frames=False)[0]
    clear[:, :, 3] = 255
    Image.fromarray(clear).save(tmp_path / "b.png")
    assert not check_target(read_content(tmp_path / "b.png"), tmp_path / "out.jpg", all_frames=False)
    png_of_16_bit(tmp_path / "c.png", noise(4, 4, 3, dtype=np.uint16))
    deep = read_content(tmp_path / "c.png")
    assert "8 bit" in check_target(deep, tmp_path / "out.jpg", all_frames=False)[0]
    assert not check_target(deep, tmp_path / "out.png", all_frames=False)
    Image.fromarray(noise(4, 4)).save(tmp_path / "d.png", icc_profile=LINEAR_GRAY)
    gray = read_content(tmp_path / "d.png")
    assert "colour profile" in check_target(gray, tmp_path / "out.webp", all_frames=False)[0]
    assert not check_target(gray, tmp_path / "out.jpg", all_frames=False)


def test_wire_has_samples_as_they_are() -> None:
    """To the wire and back, every layout and depth."""
    for dtype in (np.uint8, np.uint16):
        for channels in (1, 2, 3, 4):
            samples = noise(3, 5, channels, dtype=dtype)
            assert np.array_equal(result_samples(pixels_of(samples)), samples)
    floats = np.linspace(-1, 2, 15, dtype=np.float32).reshape(3, 5, 1)
    assert np.array_equal(result_samples(pixels_of(floats)), floats)
