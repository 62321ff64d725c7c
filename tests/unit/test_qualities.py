"""What each quality paints: alpha, tiles, masks, selections, and a finish that is ended early."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import IO, Any

import numpy as np
import pytest
import torch

from adain_net import finish
from adain_net.engine import TorchEngine
from adain_net.finish import GradientEngine
from adain_net.layout import load_refinement
from adain_net.network import AdainNetwork
from adain_server.worker import canvas, rendering
from adain_server.worker.drafts import SIDE
from adain_server.worker.layers import Array, Layer
from adain_server.worker.measured_styles import Style, StyleEncoder
from adain_server.worker.rendering import Painted, RegionInput, Renderer, RenderRequest
from adain_weights.models import load_refinement_weights
from support.helpers import picture_pixels, pixels_array

CPU = torch.device("cpu")
PHOTO = (pixels_array(picture_pixels("chelsea.jpg", side=120))[:119, :178] / 255).astype(np.float32)  # no whole cells
HEIGHT, WIDTH = PHOTO.shape[:2]
STYLE = Style("van gogh", 1.0, picture=Layer(pixels_array(picture_pixels("coffee.jpg", side=64)).copy(), "RGB"))
QUALITIES = ("fast", "fine", "best")
STEPS = 3
STEP_SIZES = [finish.LEARNING_RATE * (1 - step / STEPS) for step in range(STEPS)]
"""How far a pixel goes in a step, at most."""


@pytest.fixture(scope="module")
def make_painter(network: AdainNetwork) -> Callable[..., Renderer]:
    """Makes painters with the shipped weights, in float32, with nothing kept."""
    weights = load_refinement_weights()
    refinement = load_refinement(weights.encoder, weights.decoder).requires_grad_(False)
    finishers = [GradientEngine(refinement.encoder, CPU, torch.float32)]

    def make(memory_budget: int = 2**30) -> Renderer:
        return Renderer(
            [TorchEngine(network, CPU)],
            encoder_digest=weights.encoder_digest,
            refinement=StyleEncoder([TorchEngine(refinement, CPU)], weights.encoder_digest),
            finishers=finishers,
            memory_budget=memory_budget,
        )

    return make


@pytest.fixture(autouse=True)
def _short_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps show everything that many do."""
    monkeypatch.setattr(finish, "STEPS", STEPS)


def _ignore(_stage: str, _step: int, _steps: int) -> None:
    return


def _paint(
    renderer: Renderer, quality: str, regions: Sequence[RegionInput], array: Array = PHOTO, **more: Any
) -> tuple[Array, Painted]:
    out = np.zeros_like(array)
    layout = {3: "RGB", 4: "RGBA"}[array.shape[2]]
    request = RenderRequest(Layer(array, layout), array.tobytes(), out, regions, 1.0, 0.5, quality=quality)
    return out, renderer.render(request, more.pop("on_step", _ignore), **more)


def _region(alpha: float = 1.0, mask: Array | None = None) -> RegionInput:
    if mask is None:
        return RegionInput(None, None, [STYLE], alpha, "none")
    return RegionInput(Layer(mask, "Y"), mask.tobytes(), [STYLE], alpha, "none")


def _mask(rows: slice, columns: slice, value: float = 1.0) -> Array:
    mask = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    mask[rows, columns] = value
    return mask


LEFT, RIGHT = _mask(slice(None), slice(0, 64)), _mask(slice(None), slice(64, None))
MIDDLE = _mask(slice(33, 77), slice(41, 90), 0.7)


@pytest.mark.parametrize("quality", QUALITIES)
def test_alpha_zero_returns_the_layer(make_painter: Callable[..., Renderer], quality: str) -> None:
    """Bit for bit, with values beyond 0..1 as they are; nothing is computed for it."""
    array = PHOTO.copy()
    array[0, 0] = (-0.5, 2.0, 0.1)
    stages: list[str] = []
    result, _ = _paint(make_painter(), quality, [_region(0.0)], array, on_step=lambda stage, *_: stages.append(stage))
    assert np.array_equal(result, array) and not stages


@pytest.mark.parametrize("quality", QUALITIES)
def test_alpha_zero_beside_another_region(make_painter: Callable[..., Renderer], quality: str) -> None:
    """Where a region's alpha is 0 the layer stays bit for bit, whatever the region beside it gets."""
    result, _ = _paint(make_painter(), quality, [_region(0.0, LEFT), _region(1.0, RIGHT)])
    assert np.array_equal(result[:, :64], PHOTO[:, :64])
    assert np.abs(result[:, 64:] - PHOTO[:, 64:]).mean() > 0.05


@pytest.mark.parametrize("quality", QUALITIES)
def test_alpha_goes_from_the_layer_to_the_paint(make_painter: Callable[..., Renderer], quality: str) -> None:
    """The further alpha goes, the further the picture is from the layer; near 0 it is near the layer."""
    renderer = make_painter()
    moved = []
    for alpha in (0.02, 0.25, 0.5, 0.75, 1.0):
        result, _ = _paint(renderer, quality, [_region(alpha)])
        moved.append(float(np.abs(result - PHOTO).mean()))
    assert moved == sorted(moved)
    assert moved[0] < 0.1 * moved[-1]


def test_fine_puts_the_shallow_statistics_right(make_painter: Callable[..., Renderer], network: AdainNetwork) -> None:
    """From relu1_1 to relu3_1 the refined picture is nearer to the style than the first pass; none is much farther."""
    renderer = make_painter()
    assert STYLE.picture is not None
    style = torch.from_numpy(STYLE.picture.array).permute(2, 0, 1)[None] / 255

    def distances(quality: str) -> list[float]:
        result, _ = _paint(renderer, quality, [_region()])
        picture = torch.from_numpy(result).permute(2, 0, 1)[None]
        pairs = list(zip(network.encoder.features(picture), network.encoder.features(style), strict=True))[:3]
        return [
            float((mine.mean((0, 2, 3)) - theirs.mean((0, 2, 3))).square().mean())
            + float((mine.std((0, 2, 3)) - theirs.std((0, 2, 3))).square().mean())
            for mine, theirs in pairs
        ]

    fast, fine = distances("fast"), distances("fine")
    ratios = [refined / first for refined, first in zip(fine, fast, strict=True)]
    assert math.prod(ratios) < 0.9 and max(ratios) < 1.05, (fast, fine)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize(
    "regions", [[_region(0.7)], [_region(1.0, MIDDLE)], [_region(1.0, LEFT), _region(0.4, MIDDLE)]]
)
def test_tiles_and_disk_change_nothing(
    make_painter: Callable[..., Renderer], monkeypatch: pytest.MonkeyPatch, quality: str, regions: list[RegionInput]
) -> None:
    """Tiles of 48 pixels, nothing kept, and pictures between passes on disk: as the whole picture at once, to 1e-3.

    The finish is exact in float64 (test_finish.py). In float32 the largest of four neighbours that are all but equal
    may be another one, which then gets the gradient: a few pixels differ by a part of their steps.
    """
    whole, _ = _paint(make_painter(), quality, regions)
    monkeypatch.setattr(rendering, "tile_side", lambda _budget: 48)
    on_disk: list[int] = []
    reserve = canvas.reserve

    def counted(file: IO[bytes], size: int) -> None:
        on_disk.append(size)
        reserve(file, size)

    monkeypatch.setattr(canvas, "reserve", counted)
    tiled, _ = _paint(make_painter(memory_budget=0), quality, regions)
    error = np.abs(tiled - whole)
    if quality == "best":
        assert error.mean() < 1e-4 and (error > 1e-3).mean() < 0.01 and error.max() < sum(STEP_SIZES)
    else:
        assert error.max() < 1e-3
    assert bool(on_disk) == (quality != "fast")


@pytest.mark.parametrize("quality", QUALITIES)
def test_outside_the_mask_nothing_changes(make_painter: Callable[..., Renderer], quality: str) -> None:
    """Bit for bit, in 8 bit and in float; inside there is paint."""
    for array in (PHOTO, (PHOTO * 255).astype(np.uint8)):
        result, _ = _paint(make_painter(), quality, [_region(1.0, MIDDLE)], array)
        inside = MIDDLE[..., 0] > 0
        assert np.array_equal(result[~inside], array[~inside])
        assert (result[inside] != array[inside]).mean() > 0.9


def test_transparent_pixels_do_not_count(make_painter: Callable[..., Renderer]) -> None:
    """What is hidden under transparent pixels has no influence on a refined and finished picture."""
    opaque = np.concatenate([PHOTO, np.ones_like(PHOTO[..., :1])], axis=2)
    results = []
    for hidden in (0.0, 1.0):
        array = opaque.copy()
        array[:, :40] = hidden
        array[:, :40, 3] = 0
        result, _ = _paint(make_painter(), "best", [_region()], array)
        assert np.array_equal(result[..., 3], array[..., 3])
        results.append(result[:, 40:])
    assert np.abs(results[0] - results[1]).max() < 1e-5


def test_a_finish_is_the_same_twice(make_painter: Callable[..., Renderer]) -> None:
    """Two runs give the same bits."""
    first, second = (_paint(make_painter(), "best", [_region()])[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_accepted_before_the_finish_is_the_refined_picture(make_painter: Callable[..., Renderer]) -> None:
    """No step is made, and no draft is shown."""
    drafts: list[Array] = []
    fine, _ = _paint(make_painter(), "fine", [_region()])
    best, _ = _paint(make_painter(), "best", [_region()], is_accepted=lambda: True, on_draft=drafts.append)
    assert np.abs(fine - best).max() < 1e-4 and not drafts


def test_accepted_after_a_step(make_painter: Callable[..., Renderer]) -> None:
    """The picture is that of the step, and its draft shows it; the whole finish is another picture."""
    drafts: list[Array] = []
    answers = iter([False, True])
    early, _ = _paint(make_painter(), "best", [_region()], is_accepted=lambda: next(answers), on_draft=drafts.append)
    whole, _ = _paint(make_painter(), "best", [_region()])
    assert len(drafts) == 1 and drafts[0].shape == PHOTO.shape
    assert np.abs(drafts[0] / 255 - early).max() < 0.51 / 255
    assert np.abs(whole - early).max() > 0.01


def test_drafts_are_small_and_leave_the_rest_as_it_is(make_painter: Callable[..., Renderer]) -> None:
    """A long layer's drafts have 512 pixels at most, and outside the mask they show the layer."""
    array = np.tile(PHOTO[:64, :96], (1, 11, 1))
    mask = np.zeros((*array.shape[:2], 1), np.float32)
    mask[16:48, 300:360] = 1
    drafts: list[Array] = []
    _paint(make_painter(), "best", [_region(1.0, mask)], array, on_draft=drafts.append)
    shown = Layer(array, "RGB").shrunk(*drafts[0].shape[:2]).array
    assert len(drafts) == STEPS and max(drafts[0].shape) == SIDE
    assert np.abs(drafts[-1][:, :130] / 255 - shown[:, :130]).max() < 0.51 / 255
    assert np.abs(drafts[-1][10:22, 150:175] / 255 - shown[10:22, 150:175]).mean() > 0.02


def test_cancel_ends_a_finish(make_painter: Callable[..., Renderer]) -> None:
    """What on_step raises comes out at once."""

    def on_step(stage: str, step: int, _steps: int) -> None:
        if (stage, step) == ("finish", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _paint(make_painter(), "best", [_region()], on_step=on_step)


def test_a_film_is_smoothed_in_both_passes(make_painter: Callable[..., Renderer]) -> None:
    """A frame's statistics keep the share of the frame before, of the content and of the refined picture."""
    renderer = make_painter()
    _, first = _paint(renderer, "fine", [_region()])
    other = np.ascontiguousarray(PHOTO[::-1]) ** 2
    _, own = _paint(renderer, "fine", [_region()], other)
    out = np.zeros_like(other)
    request = RenderRequest(Layer(other, "RGB"), "other", out, [_region()], 1.0, 0.5, quality="fine")
    smooth = renderer.render(replace(request, smoothing=0.5, previous=first.statistics), _ignore)
    assert [each.mean.shape[1] for each in smooth.statistics] == [512, 256]
    expected = 0.5 * first.statistics[0].mean + 0.5 * own.statistics[0].mean
    torch.testing.assert_close(smooth.statistics[0].mean, expected)
    # From fine to fast only the first pass has statistics of the frame before; nothing fails.
    assert renderer.render(
        replace(request, quality="fast", smoothing=0.5, previous=first.statistics), _ignore
    ).statistics
