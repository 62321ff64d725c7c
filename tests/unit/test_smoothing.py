"""A film's statistics are kept by region and pass, whichever regions a frame shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from adain_net.engine import TorchEngine
from adain_net.layout import load_refinement
from adain_net.network import AdainNetwork
from adain_server.worker.layers import Array, Layer
from adain_server.worker.measured_styles import Style, StyleEncoder
from adain_server.worker.rendering import Painted, RegionInput, RegionStatistics, Renderer, RenderRequest
from adain_server.worker.worker import pack_region_statistics, unpack_region_statistics
from adain_style.client import protocol
from adain_weights.models import load_refinement_weights
from support.helpers import picture_pixels, pixels_array

CPU = torch.device("cpu")
PHOTO = pixels_array(picture_pixels("chelsea.jpg", side=96))
OTHER = np.ascontiguousarray(PHOTO[::-1] // 2)
STYLE = Style("coffee", 1.0, picture=Layer(pixels_array(picture_pixels("coffee.jpg", side=64)), "RGB"))
SMOOTHING = 0.75
CHANNELS = {"fast": (512,), "fine": (512, 256)}
"""Of the layer of each pass."""


@pytest.fixture(scope="module")
def renderer(network: AdainNetwork) -> Renderer:
    """With the shipped weights and their refinement, on the CPU."""
    weights = load_refinement_weights()
    refinement = load_refinement(weights.encoder, weights.decoder).requires_grad_(False)
    return Renderer(
        [TorchEngine(network, CPU)],
        encoder_digest=weights.encoder_digest,
        refinement=StyleEncoder([TorchEngine(refinement, CPU)], weights.encoder_digest),
        finishers=[],
        memory_budget=2**30,
    )


def _third(number: int, *, is_seen: bool = True) -> RegionInput:
    """A region over a third of the picture, or over nothing."""
    mask = np.zeros((*PHOTO.shape[:2], 1), np.uint8)
    width = PHOTO.shape[1] // 3
    mask[:, number * width : (number + 1) * width] = 255 if is_seen else 0
    return RegionInput(Layer(mask, "Y"), mask.tobytes(), [STYLE], 1.0, "none")


def _render(renderer: Renderer, array: Array, seen: Sequence[int], **more: Any) -> Painted:
    """Three regions, of which those that are named are seen."""
    regions = [_third(number, is_seen=number in seen) for number in range(3)]
    request = RenderRequest(Layer(array, "RGB"), array.tobytes(), np.zeros_like(array), regions, 1.0, 0.5)
    return renderer.render(replace(request, **more), lambda *_: None)


def _by_key(painted: Painted) -> dict[tuple[int, int], RegionStatistics]:
    return {each.key: each for each in painted.statistics}


def _through_the_pipe(painted: Painted) -> list[RegionStatistics]:
    return [unpack_region_statistics(pack_region_statistics(each)) for each in painted.statistics]


@pytest.mark.parametrize("quality", ["fast", "fine"])
@pytest.mark.parametrize(
    ("first", "second"), [((0, 1, 2), (1, 2)), ((1, 2), (0, 1, 2)), ((0, 1), (1, 2)), ((0,), (2,))]
)
def test_a_region_is_smoothed_with_its_own_past_only(
    renderer: Renderer, quality: str, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    """What was seen in both frames is mixed with itself; what was not seen before has the frame's own statistics."""
    before = _render(renderer, PHOTO, first, quality=quality)
    past = _by_key(before)
    assert past.keys() == {(region, channels) for region in first for channels in CHANNELS[quality]}
    smooth = _by_key(
        _render(renderer, OTHER, second, quality=quality, smoothing=SMOOTHING, previous=_through_the_pipe(before))
    )
    own = _by_key(_render(renderer, OTHER, second, quality="fast"))
    assert smooth.keys() == {(region, channels) for region in second for channels in CHANNELS[quality]}
    for region in second:
        key = region, CHANNELS["fast"][0]
        mean, std = own[key].mean, own[key].std
        if region in first:
            mean = SMOOTHING * past[key].mean + (1 - SMOOTHING) * mean
            std = SMOOTHING * past[key].std + (1 - SMOOTHING) * std
        torch.testing.assert_close(smooth[key].mean, mean)
        torch.testing.assert_close(smooth[key].std, std)


def test_the_refinement_is_smoothed_with_the_regions_own_past(renderer: Renderer) -> None:
    """All but the whole weight on the frame before: each region's statistics are those that it had there."""
    before = _render(renderer, PHOTO, (0, 1, 2), quality="fine")
    after = _render(renderer, OTHER, (1, 2), quality="fine", smoothing=1 - 1e-6, previous=before.statistics)
    past = _by_key(before)
    assert [each.key for each in after.statistics] == [(1, 512), (2, 512), (1, 256), (2, 256)]
    for each in after.statistics:
        torch.testing.assert_close(each.mean, past[each.key].mean, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(each.std, past[each.key].std, atol=1e-3, rtol=1e-3)


def test_every_region_of_a_request_comes_through_the_pipe() -> None:
    """The index of the last region that the protocol allows is kept, and so are the numbers, to float32."""
    numbers = torch.rand(1, 512)
    sent = RegionStatistics(numbers, numbers + 1, protocol.MAX_REGIONS - 1)
    came = unpack_region_statistics(pack_region_statistics(sent))
    assert came.key == (protocol.MAX_REGIONS - 1, 512)
    assert torch.equal(came.mean, sent.mean) and torch.equal(came.std, sent.std)
