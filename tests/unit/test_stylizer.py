"""A picture painted in one call: as the server's painter paints it, whatever the quality."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adain_net.engine import TorchEngine
from adain_net.finish import GradientEngine
from adain_net.layout import load_refinement
from adain_net.network import AdainNetwork
from adain_net.refinement import RefinementNetwork
from adain_net.statistics import channel_statistics
from adain_net.stylizer import QUALITIES, Stylizer
from adain_server.worker.layers import Array, Layer
from adain_server.worker.measured_styles import Style, StyleEncoder
from adain_server.worker.rendering import RegionInput, Renderer, RenderRequest
from adain_trainer.losses import layer_distances
from adain_weights.models import load_refinement_weights
from support.helpers import picture_tensor

CPU = torch.device("cpu")
STEPS = 3
"""Of the finish; then it is ended."""


@pytest.fixture(scope="module")
def refinement() -> RefinementNetwork:
    """The embedded one."""
    weights = load_refinement_weights()
    return load_refinement(weights.encoder, weights.decoder).requires_grad_(False)


@pytest.fixture(scope="module")
def stylizer(network: AdainNetwork, refinement: RefinementNetwork) -> Stylizer:
    """In float32, on the processor."""
    return Stylizer(network, refinement)


CONTENT, STYLE = picture_tensor("chelsea.jpg", side=96), picture_tensor("coffee.jpg", side=72)
CONTENT = CONTENT[:, :, :93, :130]  # no whole cells of any layer but the first
OTHER = picture_tensor("van-gogh-road-to-tarascon.jpg", side=64)


def _array(picture: Tensor) -> Array:
    return picture[0].permute(1, 2, 0).contiguous().numpy()


def _by_server(
    network: AdainNetwork, refinement: RefinementNetwork, styles: list[tuple[Tensor, float]], alpha: float, quality: str
) -> Tensor:
    refining = StyleEncoder([TorchEngine(refinement, CPU)], "encoder")
    renderer = Renderer(
        [TorchEngine(network, CPU)],
        encoder_digest="encoder",
        refinement=refining,
        finishers=[GradientEngine(refinement.encoder, CPU, torch.float32)],
        memory_budget=2**30,
    )
    content = Layer(_array(CONTENT), "RGB")
    out = np.zeros_like(content.array)
    known = [Style(index, weight, picture=Layer(_array(style), "RGB")) for index, (style, weight) in enumerate(styles)]
    region = RegionInput(None, None, known, alpha, "none")
    request = RenderRequest(content, "content", out, [region], stroke_size=1.0, detail=1.0, quality=quality)
    made = iter(range(STEPS + 1))
    renderer.render(request, lambda *_: None, is_accepted=lambda: next(made) == STEPS)
    return torch.from_numpy(out).permute(2, 0, 1)[None]


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("quality", QUALITIES)
def test_it_paints_what_the_server_paints(
    network: AdainNetwork, refinement: RefinementNetwork, stylizer: Stylizer, quality: str, alpha: float
) -> None:
    """Two styles by weight, in each quality and at each alpha: the same picture to a thousandth.

    The server rounds to 16 bit between two passes, and where a gradient is next to nothing, the optimiser's step is as
    long as elsewhere and may go either way: of a finished picture most values agree so, and all in the mean.
    """
    expected = _by_server(network, refinement, [(STYLE, 1.0), (OTHER, 3.0)], alpha, quality)
    paint = partial(stylizer.paint, CONTENT, alpha=alpha, quality=quality, goes_on=lambda step: step < STEPS)
    result = paint([STYLE, OTHER], style_weights=[0.25, 0.75])
    errors = (result - expected).abs()
    assert float(errors.max() if quality != "best" else errors.median()) < 1e-3
    assert float(errors.mean()) < 2e-3
    assert float((result - CONTENT).abs().mean()) > 0.02
    known = [stylizer.measure(style) for style in (STYLE, OTHER)]
    assert torch.equal(paint(known, style_weights=[1, 3]), result)


def test_a_finished_picture_is_near_to_the_style(stylizer: Stylizer, network: AdainNetwork) -> None:
    """After all steps, whatever the passes before have made: much nearer to the statistics of each layer."""
    wanted = stylizer.measure(STYLE).layers
    distances = []
    for quality in ("fine", "best"):
        feats = network.encoder.features(stylizer.paint(CONTENT, [STYLE], quality=quality))
        own = [channel_statistics(feat) for feat in feats]
        distances.append(layer_distances(own, wanted)[0])
    assert bool((distances[1] < 0.7 * distances[0]).all()), distances


def test_alpha_zero_is_the_content(stylizer: Stylizer) -> None:
    """Bit for bit, in each quality."""
    assert all(torch.equal(stylizer.paint(CONTENT, [STYLE], alpha=0, quality=each), CONTENT) for each in QUALITIES)


def test_a_style_is_measured_by_both_encoders(network: AdainNetwork, refinement: RefinementNetwork) -> None:
    """The first pass knows it by the model's encoder, the others by the refinement's."""
    brighter = copy.deepcopy(network)
    assert brighter.encoder.conv1_1.bias is not None
    brighter.encoder.conv1_1.bias += 0.5
    known, usual = (Stylizer(each, refinement).measure(STYLE) for each in (brighter, network))
    assert not torch.allclose(known.first.mean, usual.first.mean)
    assert all(torch.equal(a.mean, b.mean) for a, b in zip(known.layers, usual.layers, strict=True))


def test_steps_are_told_and_may_stop_it(stylizer: Stylizer) -> None:
    """Each stage in its order; an exception from there comes through."""
    stages: list[str] = []

    def on_step(stage: str, _step: int, _steps: int) -> None:
        stages.append(stage)
        if stage == "finish":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylizer.paint(CONTENT, [STYLE], quality="best", on_step=on_step)
    assert list(dict.fromkeys(stages)) == ["encode", "decode", "refine-encode", "refine-decode", "finish"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quality": "finest"}, "quality must be one of"),
        ({"quality": "fine"}, "needs a refinement"),
        ({"styles": []}, "0 styles"),
        ({"alpha": 1.5}, "alpha must be"),
    ],
)
def test_what_cannot_be_painted_is_refused(network: AdainNetwork, changes: dict[str, Any], said: str) -> None:
    """With a sentence; a stylizer without a refinement paints fast pictures only."""
    with pytest.raises(ValueError, match=said):
        Stylizer(network).paint(**{"content": CONTENT, "styles": [STYLE], **changes})
