"""Saved styles: the file's format, what is refused, the library that comes with the project, and where a user's are."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load, save

from adain_net.network import AdainNetwork
from adain_trainer import pictures
from adain_trainer.cli import main
from adain_trainer.styles import LIBRARY, measure_with
from adain_weights import styles
from adain_weights.errors import WeightsError
from adain_weights.manifest import DEFAULT_MODEL, read_manifest
from adain_weights.style_pictures import (
    LONGER_SIDE,
    SHORTER_SIDE,
    SWATCH_SIDE,
    make_style,
    open_style_picture,
    picture_values,
)
from adain_weights.styles import (
    CHANNELS,
    LARGEST_STYLE,
    SavedStyle,
    built_in_styles,
    is_style_name,
    parse_style,
    read_style,
    style_bytes,
    write_style,
)

NOTICE = Path(__file__).parents[2] / "NOTICE"
BUILT_IN = built_in_styles()


def _measure(picture: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stands in for an encoder: numbers that depend on the picture."""
    mean = np.resize(picture.mean(axis=(0, 1)), CHANNELS).astype(np.float32)
    return mean, mean + np.float32(1)


def _style(picture: Image.Image | None = None, **texts: str) -> SavedStyle:
    given = {"name": "my-style", "title": "Dünen", "artist": "", "origin": "a “test”", "licence": "MIT"} | texts
    picture = picture or Image.linear_gradient("L").resize((90, 40))
    return make_style(picture, _measure, encoder_digest="0123456789abcdef" * 4, **given)


def _parts(style: SavedStyle) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """A style as safetensors.numpy.save() wants it, to be harmed."""
    data = style_bytes(style)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return load(data), header["__metadata__"]


def _same(one: SavedStyle, other: SavedStyle) -> bool:
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


def test_style_comes_back_as_it_was(tmp_path: Path) -> None:
    """Written and read, and written by another safetensors library and read."""
    style = _style()
    path = tmp_path / "folder" / "my-style.safetensors"
    write_style(path, style)
    assert _same(read_style(path), style)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    tensors, texts = _parts(style)
    assert _same(parse_style(save(tensors, metadata=texts)), style)


def test_same_style_gives_same_bytes() -> None:
    """Made twice: one file."""
    assert style_bytes(_style()) == style_bytes(_style())


def test_module_needs_neither_torch_nor_pillow() -> None:
    """The server's I/O process reads styles."""
    program = "import adain_weights.styles, sys; sys.exit(bool({'torch', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "text", ["a", "0", "van-gogh-2", "a" * 64, "a--b", "a-"], ids=lambda text: text if len(text) < 20 else "longest"
)
def test_style_names(text: str) -> None:
    """Small letters, digits, hyphens."""
    assert is_style_name(text)


@pytest.mark.parametrize("text", ["", "-a", "A", "a b", "a_b", "../a", "a/b", "a.b", "ä", "a\n", "٣", "a" * 65])
def test_texts_that_are_no_style_names(text: str) -> None:
    """Nothing that could leave a folder or be mistaken on a disk that does not tell A from a."""
    assert not is_style_name(text)


def test_file_cut_off_anywhere_is_refused() -> None:
    """At every length."""
    data = style_bytes(_style(Image.new("RGB", (16, 16))))
    for length in range(len(data)):
        with pytest.raises(WeightsError, match="save it again"):
            parse_style(data[:length])
    with pytest.raises(WeightsError, match="damaged"):
        parse_style(data + b"\0")


def test_flipped_bytes_never_raise_anything_else() -> None:
    """Each byte of the header flipped in turn: a style or a WeightsError."""
    data = style_bytes(_style(Image.new("RGB", (16, 16))))
    for place in range(8 + int.from_bytes(data[:8], "little")):
        for flip in (1, 0x80):
            harmed = bytearray(data)
            harmed[place] ^= flip
            with suppress(WeightsError):
                parse_style(bytes(harmed))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 8,
        b"\xff\xff\xff\xff\0\0\0\0{}",
        (900_000).to_bytes(8, "little") + b"[" * 900_000,
        (900_000).to_bytes(8, "little") + b'{"a":' + b"9" * 899_995,
        b"\x02\0\0\0\0\0\0\0{}",
        b"\x15\0\0\0\0\0\0\0" + b'{"__metadata__":null}',
        b"\x80\x04.",
    ],
    ids=["length", "longer than the file", "deep", "number", "nothing", "null", "pickle"],
)
def test_46_81_hostile_headers_are_refused(data: bytes) -> None:
    """Lengths that lie, nesting, numbers without end."""
    with pytest.raises(WeightsError, match="save it again"):
        parse_style(data)


HARMED: dict[str, NDArray[Any]] = {
    "nan": np.full(CHANNELS, np.nan, np.float32),
    "infinite": np.full(CHANNELS, np.inf, np.float32),
    "too few": np.ones(CHANNELS - 1, np.float32),
    "two rows": np.ones((1, CHANNELS), np.float32),
    "no dimension": np.array(1, np.float32),
    "double": np.ones(CHANNELS, np.float64),
    "half": np.ones(CHANNELS, np.float16),
    "bytes": np.ones(CHANNELS, np.uint8),
}


@pytest.mark.parametrize("tensor", ["mean", "std"])
@pytest.mark.parametrize("fault", HARMED)
def test_harmed_statistics_are_refused(tensor: str, fault: str) -> None:
    """Neither NaN nor another kind or number of numbers."""
    tensors, texts = _parts(_style())
    tensors[tensor] = HARMED[fault]
    with pytest.raises(WeightsError, match=f"its {tensor}"):
        parse_style(save(tensors, metadata=texts))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_std_is_above_zero(value: float) -> None:
    """It is multiplied with; a negative one would turn a style inside out."""
    tensors, texts = _parts(_style())
    tensors["std"] = tensors["std"].copy()
    tensors["std"][7] = value
    with pytest.raises(WeightsError, match="not above 0"):
        parse_style(save(tensors, metadata=texts))


@pytest.mark.parametrize("tensor", ["picture", "swatch"])
@pytest.mark.parametrize(
    "harmed",
    [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", np.ones((3, 3), np.uint8), np.ones(9, np.int8), np.ones(3, np.float32)],
    ids=["empty", "short", "png", "two dimensions", "signed", "float"],
)
def test_what_is_no_jpeg_is_refused(tensor: str, harmed: bytes | NDArray[Any]) -> None:
    """By its first bytes, and by its kind."""
    tensors, texts = _parts(_style())
    tensors[tensor] = np.frombuffer(harmed, np.uint8) if isinstance(harmed, bytes) else harmed
    with pytest.raises(WeightsError, match=f"its {tensor}"):
        parse_style(save(tensors, metadata=texts))


@pytest.mark.parametrize("tensor", styles.TENSORS)
def test_tensors_have_exactly_their_names(tensor: str) -> None:
    """One missing, one more, one called otherwise."""
    tensors, texts = _parts(_style())
    others = {name: value for name, value in tensors.items() if name != tensor}
    for harmed in (others, {**tensors, "more": tensors[tensor]}, {**others, tensor.upper(): tensors[tensor]}):
        with pytest.raises(WeightsError, match="other parts"):
            parse_style(save(harmed, metadata=texts))


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F4", "I16", "NOT"])
def test_kinds_of_numbers_that_numpy_lacks_are_refused(dtype: str) -> None:
    """Whatever the library raises for them."""
    data = style_bytes(_style())
    header_length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + header_length].replace(b'"F32","shape":[512]', f'"{dtype}","shape":[1024]'.encode())
    with pytest.raises(WeightsError, match="save it again"):
        parse_style(len(header).to_bytes(8, "little") + header + data[8 + header_length :])


@pytest.mark.parametrize("text", ["format", *styles.TEXTS])
def test_texts_are_all_there_short_and_printable(text: str) -> None:
    """Missing, too long, with a line's end or a terminal's escape; and none beside them."""
    tensors, texts = _parts(_style())
    rest = {name: value for name, value in texts.items() if name != text}
    for harmed in (rest, rest | {text: "a" * 257}, rest | {text: "a\nb"}, rest | {text: "\x1b[2J"}):
        with pytest.raises(WeightsError, match="save it again"):
            parse_style(save(tensors, metadata=harmed))
    with pytest.raises(WeightsError, match="other parts"):
        parse_style(save(tensors, metadata=texts | {"more": ""}))


@pytest.mark.parametrize(
    ("text", "value"),
    [("format", "adain-style 2"), ("name", "../evil"), ("name", ""), ("encoder", "f" * 63), ("encoder", "F" * 64)],
)
def test_texts_of_another_form_are_refused(text: str, value: str) -> None:
    """A format to come, a name that leaves its folder, what is no digest."""
    tensors, texts = _parts(_style())
    with pytest.raises(WeightsError, match="save it again"):
        parse_style(save(tensors, metadata=texts | {text: value}))


def test_file_without_texts_is_refused() -> None:
    """A decoder's file, for example."""
    with pytest.raises(WeightsError, match="does not say that it is"):
        parse_style(save(_parts(_style())[0]))


def test_large_file_is_neither_read_nor_written(tmp_path: Path) -> None:
    """At most LARGEST_STYLE, in both directions; just below is a style."""
    style = _style()
    fitting = replace(style, picture=style.picture + bytes(LARGEST_STYLE - len(style_bytes(style)) - 64))
    assert _same(parse_style(style_bytes(fitting)), fitting)
    with pytest.raises(WeightsError, match="larger"):
        style_bytes(replace(style, picture=style.picture + bytes(LARGEST_STYLE)))
    path = tmp_path / "large.safetensors"
    path.write_bytes(style_bytes(style) + bytes(LARGEST_STYLE))
    with pytest.raises(WeightsError, match=r"large\.safetensors: .* larger"):
        read_style(path)
    with pytest.raises(WeightsError, match="larger"):
        parse_style(path.read_bytes())


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    """One sentence with the path."""
    with pytest.raises(WeightsError, match=r"gone\.safetensors cannot be read"):
        read_style(tmp_path / "gone.safetensors")
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(WeightsError, match=r"a\.safetensors cannot be written"):
        write_style(tmp_path / "taken" / "a.safetensors", _style())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1"])
@pytest.mark.parametrize("size", [(1, 1), (300, 20), (1000, 700), (5, 5000)])
def test_any_picture_becomes_a_style(mode: str, size: tuple[int, int]) -> None:
    """Made smaller, never larger; the statistics are those of the picture that the file keeps."""
    style = parse_style(style_bytes(_style(Image.new(mode, size))))
    kept = open_style_picture(style.picture)
    assert kept.width <= size[0] and kept.height <= size[1]
    assert min(kept.size) <= SHORTER_SIDE and max(kept.size) <= LONGER_SIDE
    assert open_style_picture(style.swatch).size == (SWATCH_SIDE, SWATCH_SIDE)
    assert np.array_equal(style.mean, _measure(picture_values(kept))[0])


def test_worst_picture_fits_its_file() -> None:
    """Noise, which JPEG keeps worst, in the largest size that is kept."""
    noise = np.random.default_rng(1).integers(0, 256, (SHORTER_SIDE, LONGER_SIDE, 3), np.uint8)
    assert len(style_bytes(_style(Image.fromarray(noise)))) <= LARGEST_STYLE


def test_46_pictures_that_cannot_be_opened_get_a_sentence() -> None:
    """Cut off, another format, more pixels than a style has, far more pixels than memory has."""
    large, png = BytesIO(), BytesIO()
    Image.new("L", (SHORTER_SIDE + 1, SHORTER_SIDE + 1)).save(large, "JPEG")
    Image.new("L", (9, 9)).save(png, "PNG")
    start = large.getvalue().index(b"\xff\xc0") + 5
    bomb = large.getvalue()[:start] + b"\xff\xff\xff\xff" + large.getvalue()[start + 4 :]
    for data in (b"", b"\xff\xd8\xff", _style().picture[:200], png.getvalue(), large.getvalue(), bomb):
        with pytest.raises(WeightsError, match="save it again"):
            open_style_picture(data)


def test_library_is_what_the_command_makes() -> None:
    """Every entry has its file, every file its entry; enough of them, small enough for the wheel."""
    assert list(BUILT_IN) == sorted(style.name for style in LIBRARY)
    assert len(BUILT_IN) >= 24
    assert sum(path.stat().st_size for path in BUILT_IN.values()) < 3_000_000


@pytest.mark.parametrize("entry", LIBRARY, ids=lambda entry: entry.name)
def test_built_in_style_is_whole(entry: Any) -> None:
    """Its name, where it is from, and the encoder it belongs to; NOTICE names it."""
    style = read_style(BUILT_IN[entry.name])
    assert style_bytes(style) == BUILT_IN[entry.name].read_bytes()
    assert style.name == entry.name
    for text in ("title", "artist", "origin", "licence"):
        assert getattr(style, text) and getattr(style, text) == getattr(entry, text)
    assert style.encoder == read_manifest()[DEFAULT_MODEL].encoder.sha256
    assert open_style_picture(style.swatch).size == (SWATCH_SIDE, SWATCH_SIDE)
    assert min(open_style_picture(style.picture).size) >= 200
    assert style.licence in {"public domain", "CC0-1.0", "CC-BY-4.0"}
    paragraph = " ".join(NOTICE.read_text(encoding="utf-8").split())
    assert f"{style.name}: {style.artist}, “{style.title}”" in paragraph


@pytest.mark.parametrize("name", ["renoir-piano", "space-sun", "tapestry-lady-unicorn"])
def test_built_in_statistics_are_those_of_the_picture(network: AdainNetwork, name: str) -> None:
    """The embedded encoder finds the same numbers in the picture that the file keeps."""
    style = read_style(BUILT_IN[name])
    mean, std = measure_with(network)(picture_values(open_style_picture(style.picture)))
    assert np.abs(mean - style.mean).max() < 1e-3
    assert np.abs(std - style.std).max() < 1e-3


def test_missing_picture_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packages without the pictures: the command says which, and that it failed."""
    monkeypatch.setattr(pictures, "DEBIAN_PACKAGES", ())
    monkeypatch.setattr(pictures, "PYPI_PACKAGES", ())
    assert main(["styles", "-o", str(tmp_path / "styles"), "--downloads", str(tmp_path / "downloads")]) == 1
    assert "skimage/data/brick.png" in capsys.readouterr().err
