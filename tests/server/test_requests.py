"""What a request may ask for, through a real server: styles with names, files, depths, previews, films."""

from __future__ import annotations

import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adain_server.worker.layers import DTYPES, Array
from adain_server.worker.transfer import linear_light, srgb_coded
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.errors import RequestError
from adain_style.client.jobs import Pixels, StyleFile, StyleSource, StylizeJob
from adain_weights.styles import built_in_styles
from support.helpers import PICTURES, RunningServer, array_pixels, picture_pixels, pixels_array, random_pixels, request
from support.raw_peer import RawPeer

STYLE = "van-gogh-road-to-tarascon.jpg"
PHOTO = picture_pixels("chelsea.jpg", side=64)


@pytest.fixture
def styles(server: RunningServer) -> Path:
    """The shared server's folder of the user's own styles, empty."""
    server.styles.mkdir(exist_ok=True)
    for path in server.styles.iterdir():
        path.unlink()
    return server.styles


def test_built_in_styles_are_listed_with_their_origin(client: Client) -> None:
    """At least 24, each with painter or maker, title, origin and licence; more than one header holds."""
    styles = [style for style in client.styles() if not style.own]
    assert [style.name for style in styles] == list(built_in_styles()) and len(styles) >= 24
    assert all(style.title and style.artist and style.origin and style.licence for style in styles)


def test_every_style_has_a_swatch(client: Client) -> None:
    """A small square JPEG of each."""
    for style in client.styles():
        with Image.open(BytesIO(client.swatch(style.name))) as swatch:
            assert swatch.format == "JPEG" and swatch.size == (128, 128)


def test_a_style_by_name_is_the_file(client: Client) -> None:
    """The name, and the bytes of the saved style's file, paint the same; another name paints something else."""
    names = list(built_in_styles())[:2]
    by_name, other = (client.stylize(request(PHOTO, [(name, 1.0)])).pixels for name in names)
    by_file = client.stylize(request(PHOTO, [(StyleFile(built_in_styles()[names[0]].read_bytes()), 1.0)])).pixels
    assert by_file == by_name != other


@pytest.mark.parametrize("preserve_color", protocol.PRESERVE_COLOR)
def test_names_files_and_pictures_mix(client: Client, preserve_color: str) -> None:
    """All three kinds in one region, in every colour mode."""
    name, other = list(built_in_styles())[2:4]
    sources: list[tuple[StyleSource, float]] = [
        (name, 1.0),
        (StyleFile(built_in_styles()[other].read_bytes()), 2.0),
        (picture_pixels(STYLE, side=64), 1.0),
    ]
    result = client.stylize(request(PHOTO, sources, preserve_color=preserve_color)).pixels
    assert np.abs(pixels_array(result).astype(int) - pixels_array(PHOTO)).mean() > 3


def test_own_styles_are_picked_up_by_themselves(client: Client, styles: Path) -> None:
    """Pictures and saved styles that are put into the folder while the server runs; damaged ones are left out."""
    (styles / "My Painting (2).jpg").write_bytes((PICTURES / STYLE).read_bytes())
    (styles / "kept.safetensors").write_bytes(next(iter(built_in_styles().values())).read_bytes())
    (styles / "cut.safetensors").write_bytes(b"x" * 100)
    (styles / "notes.txt").write_text("not a style")
    own = [style.name for style in client.styles() if style.own]
    assert own == ["kept", "my-painting-2"]
    result = client.stylize(request(PHOTO, [("my-painting-2", 1.0)])).pixels
    assert np.abs(pixels_array(result).astype(int) - pixels_array(PHOTO)).mean() > 3
    with Image.open(BytesIO(client.swatch("my-painting-2"))) as swatch:
        assert swatch.size == (128, 128)
    with pytest.raises(RequestError, match="cut") as caught:
        client.stylize(request(PHOTO, [("cut", 1.0)]))
    assert caught.value.code == "BAD_STYLE"


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("name", "code"), [("no-such-style", "UNKNOWN_STYLE"), ("../secret", "BAD_NAME"), ("/etc/passwd", "BAD_NAME")]
)
def test_unknown_names_are_a_sentence(client: Client, name: str, code: str) -> None:
    """For a swatch as for a job; nothing of what was asked for is opened."""
    for ask in (lambda: client.swatch(name), lambda: client.stylize(request(PHOTO, [(name, 1.0)]))):
        with pytest.raises(RequestError) as caught:
            ask()
        assert caught.value.code == code and str(caught.value).endswith(".")


@pytest.mark.fault(46)
@pytest.mark.parametrize("cut", [0.1, 0.5, 0.999])
def test_truncated_style_file_is_refused_and_the_next_request_works(client: Client, cut: float) -> None:
    """Wherever the file ends."""
    data = next(iter(built_in_styles().values())).read_bytes()
    with pytest.raises(RequestError, match="save it again") as caught:
        client.stylize(request(PHOTO, [(StyleFile(data[: int(len(data) * cut)]), 1.0)]))
    assert caught.value.code == "BAD_STYLE" and not caught.value.retryable
    assert client.stylize(request(PHOTO, [(StyleFile(data), 1.0)])).pixels != PHOTO


def _noise(layout: str, depth: str) -> Array:
    """Of 40 x 48; floats also beyond 0..1."""
    generator = np.random.default_rng(7)
    shape = (40, 48, protocol.LAYOUTS[layout])
    dtype = DTYPES[depth]
    if dtype.kind == "f":
        return generator.normal(0.5, 0.6, shape).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("depth", protocol.DEPTHS)
@pytest.mark.parametrize("layout", protocol.LAYOUTS)
def test_every_layout_and_depth_comes_back_as_it_went(client: Client, layout: str, depth: str) -> None:
    """Painted in the middle; alpha, and everything outside the mask, bit for bit."""
    array, dtype = _noise(layout, depth), DTYPES[depth]
    mask = np.zeros((40, 48, 1), dtype=dtype)
    mask[10:30, 10:40] = 1 if dtype.kind == "f" else np.iinfo(dtype).max
    content = array_pixels(array, layout)
    wanted = request(content, [(picture_pixels(STYLE, side=64), 1.0)], mask=array_pixels(mask, "Y"))
    result = client.stylize(wanted).pixels
    assert (result.layout, result.depth) == (layout, depth)
    after, inside = pixels_array(result), mask[:, :, 0] > 0
    assert np.array_equal(after[~inside], array[~inside])
    if protocol.has_alpha(layout):
        assert np.array_equal(after[..., -1], array[..., -1])
    assert not np.array_equal(after[inside], array[inside])


@pytest.mark.parametrize("depth", protocol.DEPTHS)
@pytest.mark.parametrize("layout", [layout for layout in protocol.LAYOUTS if protocol.has_alpha(layout)])
def test_composing_decides_who_blends(client: Client, layout: str, depth: str) -> None:
    """Paint under a half mask: the blend is between, plain is whole, a cutout is plain with half of the alpha."""
    array = _noise(layout, depth)
    mask = np.zeros((40, 48, 1), dtype=np.float32)
    mask[10:30, 10:24], mask[10:30, 24:40] = 0.5, 1
    wanted = request(array_pixels(array, layout), [("space-sun", 1.0)], mask=array_pixels(mask, "Y"))
    blend, plain, cutout = (
        pixels_array(client.stylize(replace(wanted, compose=compose)).pixels) for compose in protocol.COMPOSE
    )
    outside, half, whole = (mask[:, :, 0] == share for share in (0, 0.5, 1))
    assert np.array_equal(plain[outside], array[outside]) and np.array_equal(plain[whole], blend[whole])
    between = (plain[half].astype(float) + array[half]) / 2
    step = np.finfo(array.dtype).eps * 4 if array.dtype.kind == "f" else 1
    assert np.abs(blend[half].astype(float) - between)[:, :-1].max() <= step
    assert np.abs(blend[half].astype(float) - plain[half]).mean() > 10 * step
    assert np.array_equal(cutout[..., :-1], plain[..., :-1]) and np.array_equal(plain[..., -1], array[..., -1])
    assert np.array_equal(cutout[whole], plain[whole]) and not cutout[outside][:, -1].any()
    assert np.abs(cutout[half][:, -1] - array[half][:, -1] / 2).max() <= step / 2


@pytest.mark.parametrize("depth", ["u16", "f16", "f32"])
def test_linear_light_is_painted_like_the_coded_picture(client: Client, depth: str) -> None:
    """A photograph as a host's linear layer has it, under a mask: painted like its sRGB-coded self, kept elsewhere."""
    coded = pixels_array(PHOTO) / np.float32(255)
    linear = linear_light(torch.from_numpy(coded)).numpy()
    white = 65535 if depth == "u16" else 1
    array = (np.rint(linear * white) if depth == "u16" else linear).astype(DTYPES[depth])
    mask = np.zeros((*array.shape[:2], 1), dtype=np.uint8)
    mask[:, 40:] = 255
    settings: dict[str, Any] = {"mask": array_pixels(mask, "Y"), "stroke_size": 2.0}
    expected = pixels_array(client.stylize(request(PHOTO, [("space-sun", 1.0)], **settings)).pixels) / 255
    content = array_pixels(array, "RGB")
    result = pixels_array(client.stylize(request(content, [("space-sun", 1.0)], transfer="linear", **settings)).pixels)
    assert result.dtype == array.dtype and np.array_equal(result[:, :40], array[:, :40])
    seen = srgb_coded(torch.from_numpy(result.astype(np.float32) / white)).numpy()
    assert np.abs(seen - expected).max() < 0.01 and np.abs(expected - coded)[:, 40:].mean() > 0.03


def test_the_same_bytes_as_light_and_as_coded_colours_are_two_pictures(client: Client) -> None:
    """Whatever was kept of the first is not taken for the second; nothing is uploaded again."""
    content = random_pixels(64, 80, seed=11)
    for settings in ({}, {"preview": 48}, {"stroke_size": 2.0}):
        wanted = request(content, [("space-sun", 1.0)], **settings)
        coded, linear, again = (
            pixels_array(client.stylize(replace(wanted, transfer=transfer)).pixels)
            for transfer in ("srgb", "linear", "srgb")
        )
        assert np.array_equal(coded, again) and np.abs(coded.astype(int) - linear).mean() > 5


def test_a_cutout_needs_an_alpha_channel(client: Client) -> None:
    """The sentence says what to do; the layer is not uploaded."""
    stages: list[str] = []
    wanted = request(PHOTO, [("space-sun", 1.0)], compose="cutout")
    with pytest.raises(RequestError, match="alpha channel") as caught:
        client.stylize(wanted, on_progress=lambda progress: stages.append(progress.stage))
    assert caught.value.code == "BAD_FIELD" and set(stages) <= {"upload"}


@pytest.mark.fault(39)
def test_nan_is_a_sentence_and_the_next_request_works(client: Client) -> None:
    """A float layer with a pixel that is no number."""
    array = np.full((20, 20, 3), 0.5, dtype=np.float32)
    array[3, 4] = np.nan
    with pytest.raises(RequestError, match="not numbers") as caught:
        client.stylize(request(array_pixels(array, "RGB"), [(PHOTO, 1.0)]))
    assert caught.value.code == "BAD_PIXELS"
    array[3, 4] = 1.0
    client.stylize(request(array_pixels(array, "RGB"), [(PHOTO, 1.0)]))


def test_a_layer_is_uploaded_once(server: RunningServer) -> None:
    """After a job, another one with the same layer and mask needs nothing, from any client."""
    content, mask = random_pixels(64, 64, seed=91), random_pixels(64, 64, "Y", seed=92)
    wanted = request(content, [("space-sun", 1.0)], mask=mask)
    with server.client() as first:
        first.stylize(wanted)
    with RawPeer(server) as peer:
        assert (
            peer.ask(*StylizeJob(request(content, [("texture-brick", 1.0)], alpha=0.4, mask=mask)).open())["need"] == []
        )


def test_preview_has_its_size_and_the_contents_type(client: Client) -> None:
    """Longer side as asked; a mask is reduced with it."""
    content = random_pixels(90, 300, "BGRA")
    mask = Pixels(bytes(90 * 300), 90, 300, "Y")
    preview = client.stylize(request(content, [("space-sun", 1.0)], preview=100)).pixels
    assert (preview.height, preview.width, preview.layout, preview.depth) == (30, 100, "BGRA", "u8")
    untouched = client.stylize(request(content, [("space-sun", 1.0)], preview=100, mask=mask)).pixels
    assert untouched != preview


def _messages(peer: RawPeer, jobs: list[StylizeJob]) -> None:
    deadline = time.monotonic() + 60
    while not all(job.finished for job in jobs) and time.monotonic() < deadline:
        peer.serve(jobs)


def test_waiting_previews_are_replaced_by_the_newest(server: RunningServer) -> None:
    """A slider that moves faster than the server paints: the last preview comes, those that waited are cancelled."""

    def job(alpha: float, preview: int) -> StylizeJob:
        content = random_pixels(700, 700, seed=5)
        return StylizeJob(request(content, [("space-sun", 1.0)], alpha=alpha, preview=preview))

    with RawPeer(server) as peer:
        busy = job(0.9, 0)  # a full-size run is never replaced
        peer.upload(busy)
        previews = [job(alpha, 64) for alpha in (0.1, 0.2, 0.3, 0.4)]
        for preview in previews:
            for message in preview.open():
                peer.send(message)
        _messages(peer, [busy, *previews])
    assert busy.result is not None and previews[-1].result is not None
    assert [type(preview.error).__name__ for preview in previews[:-1]] == ["CancelledError"] * 3


def test_frames_of_a_film_are_smoothed(client: Client) -> None:
    """The second frame depends on the first when both are of one sequence, and on nothing when they are not."""
    dark = array_pixels(pixels_array(PHOTO) // 4, "RGB")

    def second(sequence: tuple[bytes, bytes], smoothing: float) -> Pixels:
        client.stylize(request(dark, [("space-sun", 1.0)], sequence=sequence[0], smoothing=smoothing))
        return client.stylize(request(PHOTO, [("space-sun", 1.0)], sequence=sequence[1], smoothing=smoothing)).pixels

    alone = client.stylize(request(PHOTO, [("space-sun", 1.0)])).pixels
    assert second((b"a" * 16, b"b" * 16), 0.8) == alone
    assert second((b"c" * 16, b"c" * 16), 0.0) == alone
    assert second((b"d" * 16, b"d" * 16), 0.8) != alone


def test_frames_of_linear_light_are_smoothed_as_coded_ones_are(client: Client) -> None:
    """The same film in 16 bit, coded and linear, and one that goes from coded to linear: it looks the same."""
    coded = [pixels_array(PHOTO) / np.float32(255 * divisor) for divisor in (4, 1)]
    frames = {"srgb": coded, "linear": [linear_light(torch.from_numpy(frame)).numpy() for frame in coded]}

    def second(name: bytes, first: str, transfer: str) -> Array:
        for number, kind in enumerate((first, transfer)):
            content = array_pixels(np.rint(frames[kind][number] * 65535).astype(np.uint16), "RGB")
            settings: dict[str, Any] = {"transfer": kind, "sequence": name * 16, "smoothing": 0.8}
            result = client.stylize(request(content, [("space-sun", 1.0)], **settings)).pixels
        values = torch.from_numpy(pixels_array(result).astype(np.float32) / 65535)
        return (srgb_coded(values) if transfer == "linear" else values).numpy()

    expected = second(b"e", "srgb", "srgb")
    assert np.abs(second(b"f", "linear", "linear") - expected).max() < 0.01
    assert np.abs(second(b"g", "srgb", "linear") - expected).max() < 0.01
