"""From a request to pixels: what each setting does, what is kept, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adain_net.boxes import Box
from adain_net.encoder import EncoderFeatures
from adain_net.engine import Engine, TorchEngine
from adain_net.network import AdainNetwork
from adain_net.tiling import TILE
from adain_server.errors import JobError
from adain_server.worker import rendering
from adain_server.worker.colour import colour_statistics
from adain_server.worker.layers import DTYPES, LUMA, Array, Layer
from adain_server.worker.measured_styles import Style, StyleEncoder
from adain_server.worker.rendering import Painted, RegionInput, Renderer, RenderRequest
from adain_server.worker.transfer import linear_light, srgb_coded
from adain_style.client import protocol
from support.helpers import picture_pixels, pixels_array

GIB = 1024**3


class CountingEngine(TorchEngine):
    """Torch, counting what it is asked for; while `broken` each attempt ends with `error`."""

    def __init__(self, network: AdainNetwork) -> None:
        super().__init__(network, torch.device("cpu"))
        self.encoded = self.decoded = 0
        self.broken = False
        self.error: Exception = torch.OutOfMemoryError("injected")

    def encode(self, picture: Tensor) -> Tensor:
        """Counted."""
        self._count()
        self.encoded += 1
        return super().encode(picture)

    def features(self, picture: Tensor) -> EncoderFeatures:
        """Counted as encoded."""
        self._count()
        self.encoded += 1
        return super().features(picture)

    def decode(self, feat: Tensor, guide: Tensor | None = None) -> Tensor:
        """Counted."""
        self._count()
        self.decoded += 1
        return super().decode(feat, guide)

    def _count(self) -> None:
        if self.broken:
            raise self.error


@pytest.fixture
def engine(network: AdainNetwork) -> CountingEngine:
    """A fresh counter over the shipped network."""
    return CountingEngine(network)


@pytest.fixture
def renderer(engine: CountingEngine) -> Renderer:
    """With nothing kept yet."""
    return _renderer(engine)


def _renderer(*engines: Engine, memory_budget: int = GIB) -> Renderer:
    """Over a model whose encoder refines as well, with nothing kept yet."""
    encoder = StyleEncoder(engines, "none")
    return Renderer(engines, encoder_digest="none", refinement=encoder, finishers=[], memory_budget=memory_budget)


PHOTO = pixels_array(picture_pixels("chelsea.jpg", side=96))
STYLE = Style("van gogh", 1.0, picture=Layer(pixels_array(picture_pixels("coffee.jpg", side=64)), "RGB"))


def _region(mask: Array | None = None, **changes: Any) -> RegionInput:
    layer, key = (None, None) if mask is None else (Layer(mask, "Y"), mask.tobytes())
    return replace(RegionInput(layer, key, [STYLE], 1.0, "none"), **changes)


def _paint(
    renderer: Renderer,
    array: Array = PHOTO,
    *regions: RegionInput,
    layout: str = "",
    is_linear: bool = False,
    size: tuple[int, int] | None = None,
    on_step: Callable[[str, int, int], None] = lambda *_: None,
    **changes: Any,
) -> tuple[Array, Painted]:
    out = np.zeros((*(size or array.shape[:2]), array.shape[2]), array.dtype)
    layer = Layer(array, layout or {1: "Y", 3: "RGB", 4: "RGBA"}[array.shape[2]], is_linear)
    request = RenderRequest(
        layer, (array.tobytes(), is_linear), out, regions or [_region()], stroke_size=1.0, detail=0.5
    )
    return out, renderer.render(replace(request, **changes), on_step)


def test_every_depth_gives_the_same_picture(renderer: Renderer) -> None:
    """8 bit, 16 bit, half and float of one photograph: the same paint, to the depth's own step."""
    eight, _ = _paint(renderer)
    sixteen, _ = _paint(renderer, PHOTO.astype(np.uint16) * 257)
    single, _ = _paint(renderer, (PHOTO / 255).astype(np.float32))
    half, _ = _paint(renderer, (PHOTO / 255).astype(np.float16))
    expected = single.astype(float)
    assert np.abs(eight / 255 - expected).max() < 0.51 / 255
    assert np.abs(sixteen / 65535 - expected).max() < 2e-5
    assert np.abs(half - expected).max() < 0.01
    assert len(np.unique(sixteen)) > 4 * 256


def _curved(array: Array, layout: str, curve: Callable[[Tensor], Tensor]) -> Array:
    """A float layer whose colours have gone through a curve, in float32; alpha as it is."""
    result = array.astype(np.float32)
    colours = result[:, :, : len(layout.removesuffix("A"))]
    colours[:] = curve(torch.from_numpy(colours)).numpy()
    return result


LINEAR_SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "broad strokes": {"stroke_size": 3.0},
    "preview": {"size": (48, 72)},
    "preview of broad strokes": {"size": (48, 72), "stroke_size": 4.0},
}


@pytest.mark.parametrize("settings", LINEAR_SETTINGS.values(), ids=LINEAR_SETTINGS.keys())
@pytest.mark.parametrize("preserve_color", protocol.PRESERVE_COLOR)
@pytest.mark.parametrize("layout", ["RGB", "BGRA", "Y"])
def test_linear_light_is_painted_as_the_coded_picture(
    renderer: Renderer, layout: str, preserve_color: str, settings: dict[str, Any]
) -> None:
    """In every colour mode, with broad strokes, with transparent parts and as a preview."""
    coded = (PHOTO if layout != "Y" else PHOTO[:, :, :1]) / np.float32(255)
    if layout == "BGRA":
        # Not to 0: in a flat filling the network makes 1e-3 of a rounding of 1e-7, of coded colours as well.
        alpha = np.broadcast_to(np.linspace(0.2, 1, PHOTO.shape[1]), PHOTO.shape[:2])
        coded = np.dstack([coded[:, :, ::-1], alpha]).astype(np.float32)
    linear = _curved(coded, layout, linear_light)
    region = _region(preserve_color=preserve_color)
    expected, _ = _paint(renderer, np.ascontiguousarray(coded), region, layout=layout, **settings)
    result, _ = _paint(renderer, linear, region, layout=layout, is_linear=True, **settings)
    assert np.abs(_curved(result, layout, srgb_coded) - expected).max() < 1e-4
    assert np.abs(result - _curved(expected, layout, linear_light)).max() < 1e-4


@pytest.mark.parametrize(("depth", "tolerance"), [("u16", 1.0 / 65535), ("f16", 2e-3)])
def test_every_depth_of_linear_light_gives_the_same_picture(renderer: Renderer, depth: str, tolerance: float) -> None:
    """To the depth's own step, when what is there is the same; dark parts of 16 bit included."""
    photo = _curved(PHOTO / np.float32(255), "RGB", linear_light)
    white = 65535 if depth == "u16" else 1
    array = (np.rint(photo * white) if depth == "u16" else photo).astype(DTYPES[depth])
    expected, _ = _paint(renderer, array.astype(np.float32) / np.float32(white), is_linear=True)
    result, _ = _paint(renderer, array, is_linear=True)
    assert result.dtype == array.dtype and np.abs(result / white - expected.astype(float)).max() <= tolerance
    coded, _ = _paint(renderer)
    assert np.abs(_curved(result / white, "RGB", srgb_coded) - coded / 255).max() < 0.01


@pytest.mark.parametrize("stroke_size", [1.0, 3.0])
@pytest.mark.parametrize("compose", protocol.COMPOSE)
@pytest.mark.parametrize("depth", DTYPES)
@pytest.mark.parametrize("layout", ["RGBA", "BGRA", "YA"])
def test_linear_light_outside_of_masks_stays_bit_for_bit(
    renderer: Renderer, layout: str, depth: str, compose: str, stroke_size: float
) -> None:
    """And what lies beyond 0..1, of floats; a cutout's alpha is the same as of coded colours."""
    array, masks = _noise(layout, depth), _soft_masks()
    if array.dtype.kind == "f":
        array[:2, :20, :-1], array[:2, 20:, :-1] = 4.0, -0.1
    regions = [_region(mask) for mask in masks]
    settings: dict[str, Any] = {"layout": layout, "compose": compose, "stroke_size": stroke_size}
    result, _ = _paint(renderer, array, *regions, is_linear=True, **settings)
    coded, _ = _paint(renderer, array, *regions, **settings)
    outside = _union(masks, *array.shape[:2])[:, :, 0] == 0
    assert outside.any() and np.array_equal(result[outside][:, :-1], array[outside][:, :-1])
    assert np.array_equal(result[..., -1], coded[..., -1]) and not np.array_equal(result[..., :-1], coded[..., :-1])
    assert np.isfinite(result).all()


@pytest.mark.parametrize("depth", DTYPES)
def test_a_cutout_of_linear_light_over_the_content_is_the_blend(renderer: Renderer, depth: str) -> None:
    """Blended in the layer's own numbers, which is what a host does that works with light."""
    array, masks = _noise("RGBA", depth), _soft_masks()
    regions = [_region(mask) for mask in masks]
    blend, plain, cutout = (
        _paint(renderer, array, *regions, compose=compose, is_linear=True)[0] for compose in protocol.COMPOSE
    )
    share, white = _union(masks, *array.shape[:2]) / 65535, Layer(array, "RGBA").white
    laid = cutout[:, :, :-1] / white * share + array[:, :, :-1] / white * (1 - share)
    assert np.array_equal(plain[:, :, :-1], cutout[:, :, :-1])
    assert np.abs(blend[:, :, :-1] / white - laid).max() <= ROUNDING[depth]


@pytest.mark.parametrize("settings", LINEAR_SETTINGS.values(), ids=LINEAR_SETTINGS.keys())
def test_the_same_bytes_are_kept_for_light_and_for_coded_colours_apart(
    renderer: Renderer, network: AdainNetwork, settings: dict[str, Any]
) -> None:
    """One painter that has seen both gives what a fresh one gives, in either order."""
    for order in ((False, True), (True, False)):
        for is_linear in order:
            fresh = _renderer(CountingEngine(network))
            expected, _ = _paint(fresh, is_linear=is_linear, **settings)
            result, _ = _paint(renderer, is_linear=is_linear, **settings)
            assert np.array_equal(result, expected)


def test_order_of_channels_does_not_matter(renderer: Renderer) -> None:
    """B,G,R,A as Krita has it."""
    rgba = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    bgra = np.ascontiguousarray(rgba[:, :, [2, 1, 0, 3]])
    assert np.array_equal(_paint(renderer, bgra, layout="BGRA")[0][:, :, [2, 1, 0, 3]], _paint(renderer, rgba)[0])


def test_gray_stays_gray(renderer: Renderer) -> None:
    """A gray layer gets the luminance of what would be painted."""
    gray = np.ascontiguousarray(PHOTO[:, :, :1])
    colours, _ = _paint(renderer, np.ascontiguousarray(np.repeat(gray, 3, axis=2)))
    result, _ = _paint(renderer, gray)
    assert result.shape == gray.shape
    assert np.abs(result[:, :, 0] - colours.astype(float) @ np.array(LUMA)).max() <= 1.01


def _mask(*where: tuple[slice, slice, int]) -> Array:
    mask = np.zeros((*PHOTO.shape[:2], 1), dtype=np.uint8)
    for rows, columns, value in where:
        mask[rows, columns] = value
    return mask


EVERYWHERE = slice(None)
ODD_MASKS = {
    "one pixel": _mask((slice(50, 51), slice(60, 61), 255)),
    "one faint pixel": _mask((slice(50, 51), slice(60, 61), 1)),
    "corner": _mask((slice(95, 96), slice(143, 144), 255)),
    "less than a cell": _mask((slice(17, 20), slice(33, 35), 255)),
    "one row": _mask((slice(0, 1), EVERYWHERE, 255)),
    "frame": _mask((EVERYWHERE, EVERYWHERE, 255), (slice(1, -1), slice(1, -1), 0)),
    "faint everywhere": _mask((EVERYWHERE, EVERYWHERE, 1)),
}


@pytest.mark.parametrize("mask", ODD_MASKS.values(), ids=ODD_MASKS.keys())
@pytest.mark.parametrize("preserve_color", ["none", "match", "luminance"])
@pytest.mark.parametrize("stroke_size", [1.0, 3.0])
def test_odd_selections_are_painted_and_nothing_else(
    renderer: Renderer, mask: Array, preserve_color: str, stroke_size: float
) -> None:
    """Finite inside, bit for bit outside, whatever the selection is like; in floats, where NaN would show."""
    array = (PHOTO / 255).astype(np.float32)
    result, _ = _paint(renderer, array, _region(mask, preserve_color=preserve_color), stroke_size=stroke_size)
    assert np.isfinite(result).all()
    outside = mask[:, :, 0] == 0
    assert np.array_equal(result[outside], array[outside])
    assert not np.array_equal(result[~outside], array[~outside])


@pytest.mark.fault(40)
@pytest.mark.parametrize("array", [PHOTO[:1, :1], PHOTO[:1, :37], PHOTO[:23, :1], np.full_like(PHOTO[:40, :40], 77)])
def test_tiny_and_flat_layers_give_numbers(renderer: Renderer, array: Array) -> None:
    """One pixel, one row, one column, one colour; with broad strokes as well."""
    array = (np.ascontiguousarray(array) / 255).astype(np.float32)
    for stroke_size in (1.0, 32.0):
        result, _ = _paint(renderer, array, _region(preserve_color="match"), stroke_size=stroke_size)
        assert result.shape == array.shape and np.isfinite(result).all()


@pytest.mark.fault(42)
def test_empty_selection_gives_everything_back_without_work(renderer: Renderer, engine: CountingEngine) -> None:
    """No region reaches a pixel: bit for bit, and nothing is computed."""
    result, painted = _paint(renderer, PHOTO, _region(_mask()), _region(_mask()))
    assert np.array_equal(result, PHOTO) and not painted.statistics and not engine.encoded


def test_overlapping_regions_blend(renderer: Renderer) -> None:
    """Two full regions of one style are that style; an overlap of two styles lies between them."""
    full = _mask((EVERYWHERE, EVERYWHERE, 255))
    once, _ = _paint(renderer, PHOTO, _region(full))
    twice, _ = _paint(renderer, PHOTO, _region(full), _region(full))
    assert np.abs(once.astype(int) - twice).max() <= 1
    other, _ = _paint(renderer, PHOTO, _region(full, alpha=0.0))
    both, _ = _paint(renderer, PHOTO, _region(full), _region(full, alpha=0.0))
    assert np.abs(both - once.astype(float)).mean() < np.abs(other - once.astype(float)).mean()
    assert np.abs(both - other.astype(float)).mean() < np.abs(other - once.astype(float)).mean()


WITH_ALPHA = [layout for layout in protocol.LAYOUTS if protocol.has_alpha(layout)]
ROUNDING = {"u8": 1.01 / 255, "u16": 1.01 / 65535, "f16": 8 * 2**-10, "f32": 8 * 2**-23}
"""How far a result and one that is computed from another result may lie apart, 1 = white."""
SIZES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "broad strokes": {"stroke_size": 3.0},
    "preview": {"size": (20, 24)},
    "preview of broad strokes": {"size": (20, 24), "stroke_size": 3.0},
}


def _noise(layout: str, depth: str) -> Array:
    """Of 40 x 48, alpha from clear to opaque; colours of floats also beyond 0..1."""
    values = np.random.default_rng(3).normal(0.5, 0.6, (40, 48, protocol.LAYOUTS[layout]))
    values[:, :, -1] = values[:, :, -1].clip(0, 1)
    dtype = DTYPES[depth]
    if dtype.kind != "f":
        values = np.rint(values.clip(0, 1) * np.iinfo(dtype).max)
    return values.astype(dtype)


def _soft_masks() -> list[Array]:
    """Two of 8 and of 16 bit: above and left of both nothing, then a part of each, more than 1 where they overlap."""
    across, down = np.linspace(-100, 355, 48).clip(0, 255), np.linspace(-30000, 65535, 40).clip(0, 65535)
    first, second = np.broadcast_to(across, (40, 48)), np.broadcast_to(down[:, None], (40, 48))
    return [first[:, :, None].astype(np.uint8), second[:, :, None].astype(np.uint16)]


def _at_size(array: Array, layout: str, height: int, width: int) -> Array:
    """A layer as a result of that size shows it where nothing is painted."""
    layer = Layer(array, layout)
    return layer.shrunk(height, width).like(layer)


def _union(masks: list[Array], height: int, width: int) -> Array:
    """The masks' sum at a size, in units of 1 / 65535, at most that."""
    at_size = [Layer(mask, "Y").shrunk(height, width).array for mask in masks]
    sixteen = [mask.astype(np.int64) * (257 if mask.dtype == np.uint8 else 1) for mask in at_size]
    union: Array = np.sum(sixteen, axis=0).clip(max=65535)
    return union


@pytest.mark.parametrize("settings", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("preserve_color", ["none", "luminance"])
@pytest.mark.parametrize("depth", DTYPES)
@pytest.mark.parametrize("layout", WITH_ALPHA)
def test_cutout_over_the_content_is_the_blend(
    renderer: Renderer, layout: str, depth: str, preserve_color: str, settings: dict[str, Any]
) -> None:
    """Alpha is the content's times the masks' sum, exactly; colour * share + content * (1 - share) is the blend."""
    array, masks = _noise(layout, depth), _soft_masks()
    regions = [_region(masks[0], preserve_color=preserve_color), _region(masks[1], alpha=0.7)]
    blend, plain, cutout = (
        _paint(renderer, array, *regions, layout=layout, compose=compose, **settings)[0] for compose in protocol.COMPOSE
    )
    content = _at_size(array, layout, *blend.shape[:2])
    union = _union(masks, *blend.shape[:2])
    alpha = content[:, :, -1:]
    if array.dtype.kind == "f":
        cut = (alpha.astype(np.float64) * (union / 65535)).astype(array.dtype)
    else:
        cut = (2 * alpha.astype(np.int64) * union + 65535) // (2 * 65535)
    assert np.array_equal(cutout[:, :, -1:], cut)
    assert np.array_equal(plain[:, :, :-1], cutout[:, :, :-1])
    assert np.array_equal(plain[:, :, -1:], alpha) and np.array_equal(blend[:, :, -1:], alpha)
    outside = union[:, :, 0] == 0
    assert outside.any() and np.array_equal(plain[outside], content[outside])
    share, white = union / 65535, Layer(array, layout).white
    laid = cutout[:, :, :-1] / white * share + content[:, :, :-1] / white * (1 - share)
    assert np.abs(blend[:, :, :-1] / white - laid).max() <= ROUNDING[depth]


@pytest.mark.parametrize("stroke_size", [1.0, 3.0])
def test_plain_leaves_faintly_selected_paint_whole(renderer: Renderer, stroke_size: float) -> None:
    """A mask of 1 in 255 on the left and of 255 on the right: plain paints both as if all were selected."""
    mask = _mask((EVERYWHERE, slice(0, 72), 1), (EVERYWHERE, slice(72, None), 255))
    everywhere, _ = _paint(renderer, PHOTO, stroke_size=stroke_size)
    blend, plain = (
        _paint(renderer, PHOTO, _region(mask), compose=compose, stroke_size=stroke_size)[0]
        for compose in ("blend", "plain")
    )
    assert np.array_equal(plain[:, 72:], blend[:, 72:])
    assert np.abs(blend[:, :72].astype(int) - PHOTO[:, :72]).max() <= 1
    moved, all_moved = (np.abs(result[:, :72].astype(int) - PHOTO[:, :72]).mean() for result in (plain, everywhere))
    assert moved > 0.5 * all_moved


@pytest.mark.parametrize("compose", protocol.COMPOSE)
def test_without_a_mask_everything_is_painted_whole(renderer: Renderer, compose: str) -> None:
    """However it is composed, and whatever another region's mask is."""
    array = _noise("RGBA", "u16")
    regions = [_region(), _region(_soft_masks()[0], alpha=0.5)]
    expected, _ = _paint(renderer, array, *regions)
    result, _ = _paint(renderer, array, *regions, compose=compose)
    assert np.array_equal(result, expected) and np.array_equal(result[..., 3], array[..., 3])


@pytest.mark.parametrize("size", [None, (20, 24)])
@pytest.mark.parametrize("depth", DTYPES)
@pytest.mark.parametrize("layout", WITH_ALPHA)
def test_nothing_selected_is_cut_out_to_nothing(
    renderer: Renderer, engine: CountingEngine, layout: str, depth: str, size: tuple[int, int] | None
) -> None:
    """Alpha 0 everywhere over the content's colours; plain is the content. Nothing is computed."""
    array, nothing = _noise(layout, depth), _region(np.zeros((40, 48, 1), np.uint8))
    plain, cutout = (
        _paint(renderer, array, nothing, layout=layout, size=size, compose=c)[0] for c in ("plain", "cutout")
    )
    content = _at_size(array, layout, *(size or array.shape[:2]))
    assert np.array_equal(plain, content) and not engine.encoded
    assert not cutout[..., -1].any() and np.array_equal(cutout[..., :-1], content[..., :-1])


def test_selection_that_vanishes_at_the_working_size_is_still_cut_out(renderer: Renderer) -> None:
    """One faint pixel under strokes 32 times as broad: nothing is painted, and alpha is the mask's all the same."""
    array, mask = np.full((400, 400, 4), 255, dtype=np.uint8), np.zeros((400, 400, 1), dtype=np.uint8)
    mask[390, 390] = 1
    result, painted = _paint(renderer, array, _region(mask), stroke_size=32.0, compose="cutout")
    assert not painted.statistics and np.array_equal(result[..., :3], array[..., :3])
    assert np.array_equal(result[..., 3:], mask)


def test_match_brings_the_contents_colours(renderer: Renderer) -> None:
    """The painted mean colour lies nearer to the photograph's than without."""
    plain, matched = _paint(renderer)[0], _paint(renderer, PHOTO, _region(preserve_color="match"))[0]
    target = PHOTO.mean(axis=(0, 1))
    assert np.abs(matched.mean(axis=(0, 1)) - target).max() < 0.5 * np.abs(plain.mean(axis=(0, 1)) - target).max()


def test_luminance_is_a_matter_of_each_region(renderer: Renderer) -> None:
    """One half keeps its chroma, the other does not; in one request."""
    left, right = _mask((EVERYWHERE, slice(0, 72), 255)), _mask((EVERYWHERE, slice(72, None), 255))
    result, _ = _paint(renderer, PHOTO, _region(left, preserve_color="luminance"), _region(right))
    own, _ = _paint(renderer, PHOTO, _region(left), _region(right))
    assert np.array_equal(result[:, 72:], own[:, 72:])
    hue = [np.arctan2(*np.moveaxis(a[:, :72, :2] - a[:, :72, 2:].astype(float), -1, 0)) for a in (result, PHOTO)]
    strong = np.ptp(PHOTO[:, :72].astype(int), axis=-1) > 60
    strong &= np.ptp(result[:, :72].astype(int), axis=-1) > 20
    turned = np.abs(np.angle(np.exp(1j * (hue[0] - hue[1]))))[strong]
    assert strong.sum() > 100 and np.median(turned) < 0.05


def test_broad_strokes_are_broad_and_keep_edges_by_detail(renderer: Renderer) -> None:
    """A larger stroke has less fine structure; detail brings some of it back."""

    def fineness(array: Array) -> float:
        return float(np.abs(np.diff(array.astype(float), axis=1)).mean())

    fine = fineness(_paint(renderer)[0])
    smooth, sharp = (fineness(_paint(renderer, stroke_size=4.0, detail=d)[0]) for d in (0.0, 1.0))
    assert smooth < 0.5 * fine and smooth < sharp < fine


def test_selection_that_vanishes_at_the_working_size_changes_nothing_visibly(renderer: Renderer) -> None:
    """A pixel of 1 in 255 beside a selected part, under strokes 32 times as broad: it keeps its colour."""
    array = np.full((400, 400, 3), 0.8, dtype=np.float32)
    mask = np.zeros((400, 400, 1), dtype=np.uint8)
    mask[:64, :64], mask[390, 390] = 255, 1
    result, _ = _paint(renderer, array, _region(mask), stroke_size=32.0)
    assert np.abs(result[390, 390] - 0.8).max() < 1e-3 < np.abs(result[:64, :64] - 0.8).max()


def test_sliders_cost_one_decode(renderer: Renderer, engine: CountingEngine) -> None:
    """Another alpha, weight, style or way to keep colours encodes nothing of the layer again; another mask does.

    The first alpha below 1 decodes the content as well, to see what is lost of it.
    """
    _paint(renderer, PHOTO, _region(alpha=0.6))
    assert engine.decoded == 2
    encoded, decoded = engine.encoded, engine.decoded
    for region in (_region(alpha=0.3), _region(preserve_color="luminance"), _region(styles=[STYLE, STYLE])):
        _paint(renderer, PHOTO, region)
    assert (engine.encoded, engine.decoded) == (encoded, decoded + 3)
    _paint(renderer, PHOTO, _region(_mask((EVERYWHERE, slice(0, 50), 255))))
    assert engine.encoded > encoded


def test_kept_features_do_not_change_the_picture(network: AdainNetwork, renderer: Renderer) -> None:
    """The second time, from what was kept, the pixels are the same as in a painter that keeps nothing."""
    _paint(renderer, PHOTO, _region(alpha=0.2))
    forgetful = _renderer(TorchEngine(network, torch.device("cpu")), memory_budget=0)
    assert np.abs(_paint(renderer)[0].astype(int) - _paint(forgetful)[0]).max() <= 1


@pytest.mark.parametrize("detail", [0.0, 0.7])
@pytest.mark.parametrize("stroke_size", [1.0, 1.7, 3.0, 4.0, 4.3, 6.0, 12.0])
def test_preview_is_the_result_made_smaller(renderer: Renderer, stroke_size: float, detail: float) -> None:
    """Of its size and type, and to a level of 255 but where it is painted directly: broad strokes without detail."""
    large = np.ascontiguousarray(np.tile(PHOTO, (3, 3, 1)))
    full, _ = _paint(renderer, large, stroke_size=stroke_size, detail=detail)
    preview, _ = _paint(renderer, large, size=(72, 108), stroke_size=stroke_size, detail=detail)
    reduced = Layer(full, "RGB").shrunk(72, 108).like(Layer(full, "RGB"))
    assert preview.shape == (72, 108, 3) and preview.dtype == np.uint8
    error = np.abs(preview.astype(int) - reduced)
    if detail == 0 and stroke_size >= 4:
        assert error.mean() < 6
    else:
        assert error.max() <= 1


@pytest.mark.parametrize("is_linear", [False, True])
@pytest.mark.parametrize(
    ("stroke_size", "size"), [(3.0, None), (1.0, (72, 108)), (3.0, (72, 108)), (2.3, (95, 143)), (4.0, (71, 109))]
)
def test_small_selection_costs_what_it_is_at_every_size(
    monkeypatch: pytest.MonkeyPatch,
    renderer: Renderer,
    stroke_size: float,
    size: tuple[int, int] | None,
    is_linear: bool,
) -> None:
    """Few parts of a large layer are read and enlarged; the pixels are those of doing it everywhere, bit for bit."""
    large = np.ascontiguousarray(np.tile(PHOTO, (3, 3, 1)))
    array = large / np.float32(255) if is_linear else large
    mask = np.zeros((*large.shape[:2], 1), np.uint8)
    mask[101:150, 203:231] = 255
    mask[101:120, 203:231] = 99
    region = _region(mask)
    enlarged: list[int] = []

    def note(stage: str, _step: int, steps: int) -> None:
        if stage == "enlarge":
            enlarged.append(steps)

    def paint() -> Array:
        enlarged.clear()
        settings: dict[str, Any] = {"stroke_size": stroke_size, "detail": 0.7, "is_linear": is_linear}
        return _paint(renderer, array, region, size=size, on_step=note, **settings)[0]

    monkeypatch.setattr(rendering, "OUTPUT_TILE", 64)
    few, parts = paint(), len(enlarged)
    monkeypatch.setattr(rendering, "_behind", lambda _box, _size, other, **_reach: Box(0, other[0], 0, other[1]))
    everywhere = paint()
    assert np.array_equal(few, everywhere)
    assert parts < 12
    if size is not None and stroke_size > 1:
        assert len(enlarged) > 30


def test_preview_of_an_empty_selection_is_the_layer_made_smaller(renderer: Renderer) -> None:
    """Bit for bit."""
    nothing = _region(np.zeros((*PHOTO.shape[:2], 1), np.uint8))
    preview, _ = _paint(renderer, PHOTO, nothing, size=(24, 36))
    assert np.abs(preview.astype(int) - Layer(PHOTO, "RGB").shrunk(24, 36).like(Layer(PHOTO, "RGB"))).max() == 0


@pytest.mark.fault(39)
@pytest.mark.parametrize("what", ["layer", "selection", "style"])
def test_pixels_that_are_not_numbers_are_refused_before_any_work(
    renderer: Renderer, engine: CountingEngine, what: str
) -> None:
    """The sentence says which picture it is; the next request works."""
    nan = (PHOTO / 255).astype(np.float32)
    nan[5, 6, 1] = np.nan
    region = _region()
    if what == "selection":
        region = _region(np.ascontiguousarray(nan[:, :, 1:2]))
    if what == "style":
        region = _region(styles=[Style("bad", 1.0, picture=Layer(nan, "RGB"))])
    with pytest.raises(JobError, match=what) as caught:
        _paint(renderer, nan if what == "layer" else PHOTO, region)
    assert caught.value.code == "BAD_PIXELS" and not engine.encoded
    assert _paint(renderer)[0].any()


def test_style_without_a_visible_pixel_is_refused(renderer: Renderer) -> None:
    """A transparent layer chosen as a style."""
    clear = Style("clear", 1.0, picture=Layer(np.zeros((30, 30, 4), np.uint8), "RGBA"))
    with pytest.raises(JobError, match="no visible pixel"):
        _paint(renderer, PHOTO, _region(styles=[clear]))


def test_hidden_colours_of_a_style_have_no_influence(renderer: Renderer) -> None:
    """What lies under a style's transparent pixels does not reach the result."""
    results = []
    for hidden in (0, 255):
        array = np.dstack([pixels_array(picture_pixels("coffee.jpg", side=64)), np.full((64, 96), 255, np.uint8)])
        array[:, 40:] = (hidden, 255 - hidden, hidden, 0)
        results.append(_paint(renderer, PHOTO, _region(styles=[Style(hidden, 1.0, picture=Layer(array, "RGBA"))]))[0])
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1


def test_smoothing_draws_a_frame_towards_the_one_before(renderer: Renderer) -> None:
    """The statistics are the weighted mean; with nothing before them they are the frame's own."""
    dark = PHOTO // 2
    _, first = _paint(renderer, dark, smoothing=0.75)
    _, own = _paint(renderer)
    _, smoothed = _paint(renderer, PHOTO, smoothing=0.75, previous=first.statistics)
    expected = 0.75 * first.statistics[0].mean + 0.25 * own.statistics[0].mean
    torch.testing.assert_close(smoothed.statistics[0].mean, expected)


@pytest.mark.fault(63)
def test_no_memory_is_told_and_the_other_engine_paints(network: AdainNetwork, engine: CountingEngine) -> None:
    """A broken card: the processor's picture, and a sentence; no engine left: MemoryError, and the next one works."""
    processor = TorchEngine(network, torch.device("cpu"))
    both = _renderer(engine, processor)
    expected, painted = _paint(both)
    assert painted.notice == ""
    engine.broken = True
    changed = PHOTO[::-1].copy()
    result, painted = _paint(both, changed)
    assert "processor" in painted.notice
    assert np.abs(result.astype(int) - _paint(_renderer(processor), changed)[0]).max() <= 1
    alone = _renderer(engine)
    with pytest.raises(MemoryError):
        _paint(alone)
    engine.broken = False
    assert np.abs(_paint(alone)[0].astype(int) - expected).max() <= 1


@pytest.mark.fault(66)
def test_card_that_fails_is_left_at_once_and_the_processor_paints(
    network: AdainNetwork, engine: CountingEngine
) -> None:
    """Before the first tile, or between encoding and decoding: the processor's picture, a sentence, one attempt."""
    processor = TorchEngine(network, torch.device("cpu"))
    expected, _ = _paint(_renderer(processor))
    engine.error = RuntimeError("CUDA error: unspecified launch failure")
    for stage in ("style", "encode", "decode"):
        both = _renderer(engine, processor)
        engine.broken, attempts = False, engine.encoded + engine.decoded

        def fail(now: str, _step: int, _steps: int, stage: str = stage) -> None:
            engine.broken |= now == stage

        result, painted = _paint(both, on_step=fail)
        assert np.abs(result.astype(int) - expected).max() <= 1
        assert "card failed" in painted.notice
        assert engine.encoded + engine.decoded - attempts == ("style", "encode", "decode").index(stage)
        again, painted = _paint(both)
        assert np.abs(again.astype(int) - expected).max() <= 1 and "card failed" in painted.notice
    alone = _renderer(engine)
    with pytest.raises(RuntimeError, match="launch failure"):
        _paint(alone)


def test_stages_are_told_in_order(renderer: Renderer) -> None:
    """Style, encode, decode, enlarge; each to its end; what is raised stops the work."""
    seen: list[tuple[str, int, int]] = []
    _paint(renderer, stroke_size=2.0, on_step=lambda *step: seen.append(step))
    order = ["style", "encode", "decode", "enlarge"]
    assert [stage for stage, step, _ in seen if step == 0] == order

    def stop(stage: str, _step: int, _steps: int) -> None:
        if stage == "decode":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _paint(renderer, on_step=stop)


@pytest.mark.parametrize(("budget", "side"), [(0, 128), (128 * 2**20, 160), (512 * 2**20, 392), (GIB, TILE)])
def test_tile_follows_the_budget(budget: int, side: int) -> None:
    """Less memory, smaller tiles; never below what the margins make senseless."""
    assert rendering.tile_side(budget) == side


def test_colours_of_what_is_selected_are_matched(renderer: Renderer) -> None:
    """`match` looks at the region's colours, not at the whole layer's."""
    array = PHOTO.copy()
    array[:, :72] = array[:, :72] // 4 + np.array([150, 0, 0], dtype=np.uint8)
    left = _mask((EVERYWHERE, slice(0, 72), 255))
    result, _ = _paint(renderer, array, _region(left, preserve_color="match"))
    found = colour_statistics(Layer(np.ascontiguousarray(result[:, :72]), "RGB")).mean
    wanted = colour_statistics(Layer(np.ascontiguousarray(array[:, :72]), "RGB")).mean
    assert float((found - wanted).abs().max()) < 0.15
