"""Layers of every depth and order: what the network sees, and what goes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from adain_net.boxes import Box
from adain_server.worker.layers import DTYPES, Array, Layer, as_mask, union_share
from adain_server.worker.transfer import linear_light, srgb_coded

WHOLE = Box(0, 40, 0, 30)


def _ramp(depth: str, channels: int) -> Array:
    """0..1 in the depth's own numbers, every value different."""
    values = np.linspace(0, 1, 40 * 30 * channels).reshape(40, 30, channels)
    dtype = DTYPES[depth]
    return (values if dtype.kind == "f" else np.rint(values * np.iinfo(dtype).max)).astype(dtype)


@pytest.mark.parametrize("depth", DTYPES)
@pytest.mark.parametrize("layout", ["RGB", "RGBA", "BGR", "BGRA", "Y", "YA"])
def test_what_is_seen_goes_back_unchanged(depth: str, layout: str) -> None:
    """Colours written back as they were read are the same numbers, in every depth and order; no 8-bit step."""
    layer = Layer(_ramp(depth, len(layout)), layout)
    out = np.zeros_like(layer.array)
    layer.write(WHOLE, layer.colours(WHOLE), None, out)
    colours = len(layout.removesuffix("A"))
    tolerance = 0 if depth != "f32" else 1e-6
    assert np.abs(out[:, :, :colours].astype(float) - layer.array[:, :, :colours]).max() <= tolerance
    assert len(np.unique(out[:, :, :colours])) == len(np.unique(layer.array[:, :, :colours]))


@pytest.mark.parametrize("depth", DTYPES)
@pytest.mark.parametrize("layout", ["RGB", "RGBA", "BGR", "BGRA", "Y", "YA"])
def test_linear_light_is_seen_coded_and_goes_back(depth: str, layout: str) -> None:
    """What is seen is sRGB's curve of what is there; written back it is the same number, in every depth and order."""
    layer = Layer(_ramp(depth, len(layout)), layout, is_linear=True)
    torch.testing.assert_close(layer.colours(WHOLE), srgb_coded(replace(layer, is_linear=False).colours(WHOLE)))
    out = np.zeros_like(layer.array)
    layer.write(WHOLE, layer.colours(WHOLE), None, out)
    colours = len(layout.removesuffix("A"))
    before = layer.array[:, :, :colours].astype(float)
    error = np.abs(out[:, :, :colours].astype(float) - before)
    assert (error <= (1e-6 * before if depth == "f32" else 0)).all()


def test_every_number_of_16_bit_linear_light_survives() -> None:
    """No step with fewer bits: 65,536 numbers go through the curve and back, as gray and as colours."""
    array = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    for layout in ("Y", "RGB"):
        layer = Layer(np.ascontiguousarray(np.repeat(array, len(layout), axis=2)), layout, is_linear=True)
        out, whole = np.zeros_like(layer.array), Box(0, 256, 0, 256)
        layer.write(whole, layer.colours(whole), None, out)
        assert np.array_equal(out, layer.array)


def test_soft_edges_of_linear_light_are_blended_as_light() -> None:
    """Half of painted white over black is half of the light; what lies beyond 0..1 is blended as it is, or kept."""
    array = np.broadcast_to(np.array([0, 4, -0.1], dtype=np.float32), (40, 30, 3)).copy()
    layer, out = Layer(array, "RGB", is_linear=True), array.copy()
    share = np.zeros((40, 30, 1), dtype=np.float32)
    share[:, 10:20], share[:, 20:] = 0.5, 1
    layer.write(WHOLE, torch.ones(1, 3, 40, 30), share, out)
    assert np.array_equal(out[:, :10], array[:, :10]) and (out[:, 20:] == 1).all()
    assert np.allclose(out[:, 10:20], [0.5, 2.5, 0.45], atol=1e-7)


def test_blue_first_is_the_same_picture() -> None:
    """B,G,R,A and R,G,B,A of one picture give the same colours."""
    rgba = _ramp("u16", 4)
    bgra = np.ascontiguousarray(rgba[:, :, [2, 1, 0, 3]])
    assert torch.equal(Layer(rgba, "RGBA").colours(WHOLE), Layer(bgra, "BGRA").colours(WHOLE))


@pytest.mark.parametrize("depth", DTYPES)
def test_outside_stays_bit_for_bit_and_inside_is_painted(depth: str) -> None:
    """A share of 0 keeps every bit, also of floats beyond 0..1; of 1 is what was painted; of a half is between."""
    array = _ramp(depth, 4)
    if array.dtype.kind == "f":
        array[:4, :, :3] = 7.5
        array[4:8, :, :3] = -0.25
    layer, out = Layer(array, "RGBA"), array.copy()
    share = np.zeros((40, 30, 1), dtype=np.float32)
    share[:, 10:20], share[:, 20:] = 0.5, 1.0
    layer.write(WHOLE, torch.full((1, 3, 40, 30), 0.25), share, out)
    assert np.array_equal(out[:, :10], array[:, :10]) and np.array_equal(out[..., 3], array[..., 3])
    painted = out[:, 20:, :3].astype(float) / layer.white
    assert np.abs(painted - 0.25).max() <= 0.5 / layer.white + 1e-3 * (depth == "f16")
    between = (0.25 + array[:, 10:20, :3].astype(float) / layer.white) / 2
    tolerance = 0.51 / layer.white if array.dtype.kind != "f" else 4e-3
    assert np.abs(out[:, 10:20, :3].astype(float) / layer.white - between).max() <= tolerance


@pytest.mark.fault(39)
def test_floats_beyond_the_range_are_seen_clamped() -> None:
    """The network never sees a value outside 0..1."""
    seen = Layer(np.full((40, 30, 3), 3.0, dtype=np.float32) * [[[1, -1, 0.1]]], "RGB").colours(WHOLE)
    assert float(seen.amax()) == 1.0 and float(seen.amin()) == 0.0
    assert float(seen[0, 2, 0, 0]) == pytest.approx(0.3)


@pytest.mark.fault(39)
@pytest.mark.parametrize("is_linear", [True, False])
@pytest.mark.parametrize("layout", ["RGB", "BGRA", "Y"])
def test_what_is_brighter_than_white_is_painted_brighter(layout: str, is_linear: bool) -> None:
    """By the ratio of luminances, in light; where no number is above white, the paint is as it is."""
    light = np.full((40, 30, len(layout)), 0.5, dtype=np.float32)
    light[:20] = 4.0
    light[30:] = -0.5
    array = light if is_linear else srgb_coded(torch.from_numpy(light)).numpy()
    layer, paint = Layer(array, layout, is_linear=is_linear), srgb_coded(torch.full((1, 3, 40, 30), 0.25))
    brightened = layer.brightened(WHOLE, paint)
    torch.testing.assert_close(linear_light(brightened[:, :, :20]), torch.full((1, 3, 20, 30), 1.0))
    assert torch.equal(brightened[:, :, 20:], paint[:, :, 20:])
    seen = layer.brightened(WHOLE, layer.colours(WHOLE))  # painted as it was seen, it is what it was
    out = np.zeros_like(array)
    layer.write(WHOLE, seen, None, out)
    colours = len(layout.removesuffix("A"))
    np.testing.assert_allclose(out[:30, :, :colours], array[:30, :, :colours], rtol=1e-5)


def test_brightness_of_a_colour_follows_its_luminance() -> None:
    """Red at 3 and green at 0.5: seen are 1 and 0.5. What is no number, and white itself, change nothing."""
    array = np.array([[[3.0, 0.5, 0.0], [np.nan, 0.5, 0.5], [1.0, 1.0, 1.0]]], dtype=np.float32)
    paint = srgb_coded(torch.tensor([0.2, 0.4, 0.6])[None, :, None, None].expand(1, 3, 1, 3))
    brightened = Layer(array, "RGB", is_linear=True).brightened(Box(0, 1, 0, 3), paint)
    ratio = (3 * 0.2126 + 0.5 * 0.7152) / (0.2126 + 0.5 * 0.7152)
    torch.testing.assert_close(linear_light(brightened[0, :, 0, 0]), ratio * torch.tensor([0.2, 0.4, 0.6]))
    assert torch.equal(brightened[..., 1:], paint[..., 1:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_found(bad: float) -> None:
    """Wherever they are; integers have none."""
    array = _ramp("f16", 3)
    assert Layer(array, "RGB").is_finite()
    array[39, 29, 2] = bad
    assert not Layer(array, "RGB").is_finite()


def test_opacity_is_none_for_opaque_layers_only() -> None:
    """One pixel below full counts."""
    array = np.full((40, 30, 4), 255, dtype=np.uint8)
    assert Layer(array, "RGBA").opacity() is None and Layer(array[..., :3], "RGB").opacity() is None
    array[39, 29, 3] = 254
    opacity = Layer(array, "RGBA").opacity()
    assert opacity is not None and opacity.shape == (1, 1, 40, 30) and int(opacity.min()) == 254


@pytest.mark.parametrize(("height", "width"), [(1, 1), (13, 10), (20, 15), (39, 30), (700, 3)])
def test_shrunk_keeps_the_mean_and_a_ramp(height: int, width: int) -> None:
    """A linear picture of 1,400 rows, more than a strip, stays linear without steps where strips meet."""
    rows = np.linspace(0, 65535, 1400)[:, None, None]
    layer = Layer(np.broadcast_to(rows, (1400, 30, 3)).round().astype(np.uint16), "RGB")
    small = layer.shrunk(height, min(width, 30))
    assert small.array.dtype == np.uint16 and small.array.shape == (height, min(width, 30), 3)
    assert float(small.array.mean()) == pytest.approx(65535 / 2, rel=2e-3)
    if height > 4:
        steps = np.diff(small.array[1:-1, 0, 0].astype(float))
        assert steps.min() > 0 and steps.max() - steps.min() < 0.02 * steps.mean() + 2


def test_shrunk_does_not_mix_in_hidden_colours() -> None:
    """Beside transparent pixels a colour stays what it is; alpha is averaged."""
    array = np.zeros((40, 30, 4), dtype=np.uint8)
    array[:, :, 1] = 255  # green, hidden
    array[:, 15:] = (200, 0, 0, 255)
    small = Layer(array, "RGBA").shrunk(8, 5)
    assert np.abs(small.array[:, 2:, :3].astype(float) / 257 - (200, 0, 0)).max() < 1.5
    assert 0 < small.array[0, 2, 3] < 65535 and small.array[0, 0, 3] == 0 and small.array[0, 4, 3] == 65535


@pytest.mark.parametrize("is_linear", [False, True])
def test_shrunk_floats_of_any_alpha_stay_among_their_colours(is_linear: bool) -> None:
    """Half floats may have an alpha below 0 or above 1, which weighs as 0 or 1; where nothing is seen it is black."""
    generator = np.random.default_rng(0)
    array = generator.uniform(0, 1, (60, 45, 4)).astype(np.float16)
    array[:, :, 3] = generator.uniform(-1, 2, (60, 45))
    array[:30, :20, 3] = -1e-4
    small = Layer(array, "RGBA", is_linear=is_linear).shrunk(7, 5).array
    assert np.isfinite(small.astype(np.float16)).all()
    assert small[:, :, :3].min() >= 0 and small[:, :, :3].max() <= 1


def test_shrunk_floats_keep_their_range() -> None:
    """A preview of a float layer shows what lies beyond 0..1, too."""
    small = Layer(np.full((40, 30, 1), 4.0, dtype=np.float16), "Y").shrunk(4, 3)
    assert small.array.dtype == np.float32 and np.allclose(small.array, 4.0)
    for value in (4.0, -0.1):
        linear = Layer(np.full((40, 30, 1), value, dtype=np.float32), "Y", is_linear=True).shrunk(4, 3)
        assert linear.is_linear and np.allclose(linear.array, value)


@pytest.mark.parametrize("layout", ["RGB", "BGRA", "Y"])
def test_shrunk_linear_light_looks_like_the_coded_picture(layout: str) -> None:
    """Averages of what is seen, so that detail and colour modes see the same; 600 rows are several strips."""
    coded = np.random.default_rng(5).random((600, 30, len(layout))).astype(np.float32)
    linear = coded.copy()
    colours = len(layout.removesuffix("A"))
    linear[:, :, :colours] = linear_light(torch.from_numpy(coded[:, :, :colours])).numpy()
    small = [Layer(coded, layout).shrunk(201, 11), Layer(linear, layout, is_linear=True).shrunk(201, 11)]
    whole = Box(0, 201, 0, 11)
    torch.testing.assert_close(small[1].colours(whole), small[0].colours(whole), atol=1e-6, rtol=0)
    assert small[1].is_linear and np.array_equal(small[1].array[:, :, colours:], small[0].array[:, :, colours:])


@pytest.mark.parametrize("depth", ["u8", "u16"])
def test_cutting_out_rounds_integers_to_nearest(depth: str) -> None:
    """Each alpha under each mask of 8 bit, and many of 16 bit, against integer arithmetic."""
    top = np.iinfo(DTYPES[depth]).max
    values = np.arange(256) if depth == "u8" else np.random.default_rng(1).integers(0, top, 500, endpoint=True)
    values[[0, -1]] = 0, top
    alpha, mask = (part[:, :, None].astype(DTYPES[depth]) for part in np.meshgrid(values, values))
    layer, whole = Layer(np.dstack([alpha, alpha]), "YA"), Box(0, len(values), 0, len(values))
    out = layer.array.copy()
    layer.cut_out(whole, union_share([as_mask(mask)], whole, torch.float64), out)
    product = 2 * alpha[..., 0].astype(np.int64) * mask[..., 0]  # the maximum is odd, so nothing lies half-way
    assert np.array_equal(out[..., 1], (product + top) // (2 * top)) and np.array_equal(out[..., 0], alpha[..., 0])


@pytest.mark.parametrize("depth", DTYPES)
def test_cutting_out_with_masks_that_add_up_to_1_keeps_every_bit(depth: str) -> None:
    """However 1 is shared out between two masks; of floats beyond 0..1 as well."""
    array = _ramp(depth, 4)
    if array.dtype.kind == "f":
        array[:4, :, 3], array[4:8, :, 3] = 7.5, -0.25
    layer, out = Layer(array, "RGBA"), np.zeros_like(array)
    first = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30, 1) * 54
    layer.cut_out(WHOLE, union_share([as_mask(first), as_mask(65535 - first)], WHOLE, torch.float64), out)
    assert np.array_equal(out[..., 3], array[..., 3]) and not out[..., :3].any()
    layer.cut_out(WHOLE, union_share([as_mask(first * 0)], WHOLE, torch.float64), out)
    assert not out.any()


def test_masks_that_overlap_add_up_to_at_most_one() -> None:
    """8 and 16 bit masks together; one that is everywhere makes the share 1."""
    first, second = np.zeros((40, 30, 1), dtype=np.uint8), np.zeros((40, 30, 1), dtype=np.uint16)
    first[:, :20], second[:, 10:] = 204, 32768
    share = union_share([as_mask(first), as_mask(second)], Box(3, 5, 0, 30))
    assert share is not None and share.shape == (2, 30, 1)
    assert (
        share[0, 0, 0] == pytest.approx(0.8)
        and share[0, 15, 0] == 1.0
        and share[0, 29, 0] == pytest.approx(0.5, abs=1e-4)
    )
    assert union_share([as_mask(first), None], WHOLE) is None
