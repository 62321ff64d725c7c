"""Saved styles: the file's format, what is refused, the library that comes with the project, and where a user's are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load, save

from adain_net.encoder import EncoderFeatures
from adain_net.network import AdainNetwork
from adain_stylize.style_files import save_style
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
    FIRST_FORMAT,
    FIRST_TENSORS,
    FORMAT,
    LARGEST_STYLE,
    LAYERS,
    TENSORS,
    LayerStatistics,
    SavedStyle,
    built_in_styles,
    is_style_name,
    parse_style,
    read_style,
    style_bytes,
    write_style,
)

SHALLOW = ("relu1_1", "relu2_1", "relu3_1")
STATISTICS = [
    *((FORMAT, name) for name in TENSORS if name not in styles.PICTURES),
    *((FIRST_FORMAT, name) for name in FIRST_TENSORS if name not in styles.PICTURES),
]
"""Each tensor of statistics of each format."""
NOTICE = Path(__file__).parents[2] / "NOTICE"
BUILT_IN = built_in_styles()


def _measure(picture: NDArray[np.float32]) -> list[LayerStatistics]:
    """Stands in for an encoder: numbers that depend on the picture and on the layer."""
    colours = picture.mean(axis=(2, 3))
    means = [np.resize(colours + index, (1, channels)) for index, channels in enumerate(LAYERS.values())]
    return [LayerStatistics(mean, mean + np.float32(1)) for mean in means]


def _style(picture: Image.Image | None = None, **texts: str) -> SavedStyle:
    given = {"name": "my-style", "title": "Dünen", "artist": "", "origin": "a “test”", "licence": "MIT"} | texts
    picture = picture or Image.linear_gradient("L").resize((90, 40))
    return make_style(picture, _measure, encoder_digest="0123456789abcdef" * 4, **given)


def _parts(style: SavedStyle, form: str = FORMAT) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """A style in one of the formats as safetensors.numpy.save() wants it, to be harmed."""
    data = style_bytes(style)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors, texts = load(data), header["__metadata__"] | {"format": form}
    if form == FIRST_FORMAT:
        tensors = {name.removeprefix("relu4_1."): tensors[name] for name in TENSORS if not name.startswith(SHALLOW)}
    return tensors, texts


def _first_format(style: SavedStyle) -> bytes:
    tensors, texts = _parts(style, FIRST_FORMAT)
    return save(tensors, metadata=texts)


def _as_measured(picture: Image.Image) -> NDArray[np.float32]:
    """As make_style() hands a picture over, (1, 3, h, w)."""
    return picture_values(picture).transpose(2, 0, 1)[None]


def _same(one: SavedStyle, other: SavedStyle) -> bool:
    """In everything, to the bit."""
    assert one.layers is not None and other.layers is not None
    pairs = zip(one.layers, other.layers, strict=True)
    same = [np.array_equal(a.mean, b.mean) and np.array_equal(a.std, b.std) for a, b in pairs]
    return all(same) and all(getattr(one, name) == getattr(other, name) for name in (*styles.TEXTS, *styles.PICTURES))


def test_style_comes_back_as_it_was(tmp_path: Path) -> None:
    """Written and read, and written by another safetensors library and read."""
    style = _style()
    path = tmp_path / "folder" / "my-style.safetensors"
    write_style(path, style)
    assert _same(read_style(path), style)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    tensors, texts = _parts(style)
    assert _same(parse_style(save(tensors, metadata=texts)), style)


def test_file_holds_the_statistics_of_each_layer_under_its_name() -> None:
    """Whatever reads safetensors finds them, in order from relu1_1 to relu4_1."""
    style = _style()
    tensors, _ = _parts(style)
    assert style.layers is not None
    for layer, statistics in zip(LAYERS, style.layers, strict=True):
        assert statistics.mean.shape == statistics.std.shape == (LAYERS[layer],)
        assert np.array_equal(tensors[f"{layer}.mean"], statistics.mean)
        assert np.array_equal(tensors[f"{layer}.std"], statistics.std)


def test_layers_are_those_of_the_encoder() -> None:
    """Written down here as well, because the I/O process does without torch."""
    assert tuple(LAYERS) == EncoderFeatures._fields
    assert (*styles.ShallowLayers._fields, "relu4_1") == EncoderFeatures._fields


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


@pytest.mark.fault(46, 81)
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
def test_hostile_headers_are_refused(data: bytes) -> None:
    """Lengths that lie, nesting, numbers without end."""
    with pytest.raises(WeightsError, match="save it again"):
        parse_style(data)


HARMED: dict[str, Callable[[int], NDArray[Any]]] = {
    "nan": lambda channels: np.full(channels, np.nan, np.float32),
    "infinite": lambda channels: np.full(channels, np.inf, np.float32),
    "too few": lambda channels: np.ones(channels - 1, np.float32),
    "another layer's": lambda channels: np.ones(2 * channels, np.float32),
    "two rows": lambda channels: np.ones((1, channels), np.float32),
    "no dimension": lambda _channels: np.array(1, np.float32),
    "double": lambda channels: np.ones(channels, np.float64),
    "half": lambda channels: np.ones(channels, np.float16),
    "bytes": lambda channels: np.ones(channels, np.uint8),
}
"""From a layer's channels to what is no statistics of that layer."""


def _layer_and_kind(tensor: str) -> tuple[str, str]:
    """Whose statistics a tensor holds, in either format, and which."""
    layer, _, kind = tensor.rpartition(".")
    return layer or "relu4_1", kind


@pytest.mark.parametrize(("form", "tensor"), STATISTICS)
@pytest.mark.parametrize("fault", HARMED)
def test_harmed_statistics_are_refused(form: str, tensor: str, fault: str) -> None:
    """Neither NaN nor another kind or number of numbers, at any layer, in either format; the layer is named."""
    tensors, texts = _parts(_style(), form)
    layer, kind = _layer_and_kind(tensor)
    tensors[tensor] = HARMED[fault](LAYERS[layer])
    with pytest.raises(WeightsError, match=f"its {kind} of {layer} .*save it again"):
        parse_style(save(tensors, metadata=texts))


@pytest.mark.parametrize("value", [0.0, -1.0])
@pytest.mark.parametrize(("form", "tensor"), [each for each in STATISTICS if each[1].endswith("std")])
def test_std_is_above_zero(form: str, tensor: str, value: float) -> None:
    """It is multiplied with; a negative one would turn a style inside out."""
    tensors, texts = _parts(_style(), form)
    tensors[tensor] = tensors[tensor].copy()
    tensors[tensor][7] = value
    with pytest.raises(WeightsError, match=f"its std of {_layer_and_kind(tensor)[0]} is not above 0"):
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


@pytest.mark.parametrize(
    ("form", "tensor"), [(FORMAT, name) for name in TENSORS] + [(FIRST_FORMAT, name) for name in FIRST_TENSORS]
)
def test_tensors_have_exactly_their_names(form: str, tensor: str) -> None:
    """One missing, one more, one called otherwise."""
    tensors, texts = _parts(_style(), form)
    others = {name: value for name, value in tensors.items() if name != tensor}
    for harmed in (others, {**tensors, "more": tensors[tensor]}, {**others, tensor.upper(): tensors[tensor]}):
        with pytest.raises(WeightsError, match="other parts"):
            parse_style(save(harmed, metadata=texts))


@pytest.mark.parametrize("layer", SHALLOW)
def test_missing_layer_is_refused(layer: str) -> None:
    """Only the first format does without; there is no file with some layers."""
    tensors, texts = _parts(_style())
    rest = {name: value for name, value in tensors.items() if not name.startswith(layer)}
    with pytest.raises(WeightsError, match="other parts"):
        parse_style(save(rest, metadata=texts))


@pytest.mark.parametrize(("form", "said"), [(FORMAT, FIRST_FORMAT), (FIRST_FORMAT, FORMAT)])
def test_file_that_says_the_other_format_is_refused(form: str, said: str) -> None:
    """Each format has its own tensors."""
    tensors, texts = _parts(_style(), form)
    with pytest.raises(WeightsError, match="other parts"):
        parse_style(save(tensors, metadata=texts | {"format": said}))


def test_file_of_the_first_format_is_read() -> None:
    """Its relu4_1, its picture and its texts are what they were; the layers before are unknown."""
    style = _style()
    read = parse_style(_first_format(style))
    assert read.shallow is None and read.layers is None
    assert np.array_equal(read.relu4_1.mean, style.relu4_1.mean)
    assert np.array_equal(read.relu4_1.std, style.relu4_1.std)
    assert _same(replace(read, shallow=style.shallow), style)


def test_style_without_all_layers_is_not_written(tmp_path: Path) -> None:
    """What was read from the first format has to be measured again; no file appears."""
    path = tmp_path / "old.safetensors"
    with pytest.raises(WeightsError, match=r"older format, .*save it again from its picture"):
        write_style(path, parse_style(_first_format(_style())))
    assert not path.exists()


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
    [("format", "adain-style 3"), ("name", "../evil"), ("name", ""), ("encoder", "f" * 63), ("encoder", "F" * 64)],
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
    assert style.layers is not None
    for known, measured in zip(style.layers, _measure(_as_measured(kept)), strict=True):
        assert np.array_equal(known.mean, measured.mean[0]) and np.array_equal(known.std, measured.std[0])


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (90, 60)])
def test_users_styles_are_measured_as_built_in(network: AdainNetwork, tmp_path: Path, size: tuple[int, int]) -> None:
    """By the same encoder, a picture that is smaller than it needs included; relu4_1 is what the network takes."""
    path = tmp_path / "mine.safetensors"
    save_style(path, Image.radial_gradient("L").resize(size), title="", artist="", origin="", licence="")
    style = read_style(path)
    values = _as_measured(open_style_picture(style.picture))
    assert style.layers is not None
    for known, measured in zip(style.layers, measure_with(network.encoder)(values), strict=True):
        assert np.array_equal(known.mean, np.asarray(measured.mean)[0])
        assert np.array_equal(known.std, np.asarray(measured.std)[0])
    wanted = network.style_statistics(torch.from_numpy(values))
    assert np.abs(style.relu4_1.mean - wanted.mean[0].numpy()).max() < 1e-5
    assert np.abs(style.relu4_1.std - wanted.std[0].numpy()).max() < 1e-5


def test_worst_picture_fits_its_file() -> None:
    """Noise, which JPEG keeps worst, in the largest size that is kept."""
    noise = np.random.default_rng(1).integers(0, 256, (SHORTER_SIDE, LONGER_SIDE, 3), np.uint8)
    assert len(style_bytes(_style(Image.fromarray(noise)))) <= LARGEST_STYLE


@pytest.mark.fault(46)
def test_pictures_that_cannot_be_opened_get_a_sentence() -> None:
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
    values = _as_measured(open_style_picture(style.picture))
    assert style.layers is not None
    for known, measured in zip(style.layers, measure_with(network.encoder)(values), strict=True):
        assert np.abs(known.mean - np.asarray(measured.mean)[0]).max() < 1e-4
        assert np.abs(known.std - np.asarray(measured.std)[0]).max() < 1e-4


def test_missing_picture_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packages without the pictures: the command says which, and that it failed."""
    monkeypatch.setattr(pictures, "DEBIAN_PACKAGES", ())
    monkeypatch.setattr(pictures, "PYPI_PACKAGES", ())
    assert main(["styles", "-o", str(tmp_path / "styles"), "--downloads", str(tmp_path / "downloads")]) == 1
    assert "skimage/data/brick.png" in capsys.readouterr().err
