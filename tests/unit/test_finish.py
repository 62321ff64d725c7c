"""The finish: exact gradients whatever the tiles, masks and precisions, and pictures that come nearer to their goal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from adain_net import finish
from adain_net.boxes import Box
from adain_net.encoder import LAYERS, Encoder
from adain_net.finish import FinishRegion, GradientEngine, TiledFinish
from adain_net.regions import region_share
from adain_net.statistics import channel_statistics, mix_statistics
from adain_net.tiling import LayerStatistics

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Random weights of the real shape that keep activations alive, in float64."""
    torch.manual_seed(0)
    encoder = Encoder().double().requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return encoder


def _picture(height: int, width: int, seed: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _style(encoder: Encoder, seed: int = 9) -> LayerStatistics:
    return tuple(channel_statistics(feat) for feat in encoder.features(_picture(48, 56, seed) ** 2))


def _finish(
    encoder: Encoder,
    content: Tensor,
    painted: Tensor,
    regions: Sequence[FinishRegion],
    *,
    tile: int = 512,
    feature_bytes: int = 2**30,
    box: Box | None = None,
) -> TiledFinish:
    height, width = content.shape[2:]
    return TiledFinish(
        [GradientEngine(encoder, CPU, torch.float64)],
        lambda part: part.of(content),
        lambda part: part.of(painted),
        regions,
        box=box or Box(0, height, 0, width),
        height=height,
        width=width,
        opacity=None,
        tile=tile,
        feature_bytes=feature_bytes,
        allocate=lambda shape: torch.empty(shape, dtype=torch.float64),
    )


def _ignore(_stage: str, _step: int, _steps: int) -> None:
    return


def _result(finisher: TiledFinish, content: Tensor, steps: int) -> Tensor:
    result = torch.full_like(content, float("nan"))

    def write(part: Box, pixels: Tensor) -> None:
        part.of(result).copy_(pixels)

    finisher.optimise(_ignore, lambda _step: True, steps=steps)
    finisher.write(write)
    return result


def _by_autograd(
    encoder: Encoder, content: Tensor, painted: Tensor, regions: Sequence[FinishRegion], steps: int
) -> Tensor:
    """The losses written down as they are, their gradient by torch, and torch's own Adam."""
    pixels = painted.clone().requires_grad_()
    adam = torch.optim.Adam([pixels], betas=finish.BETAS)
    own = encoder.features(content)
    ones = torch.ones_like(content[:, :1])
    masks = [ones if region.mask is None else region.mask for region in regions]
    total = torch.stack(masks).sum(dim=0)
    reached = torch.stack([region.alpha * mask for region, mask in zip(regions, masks, strict=True)]).sum(dim=0)
    mean = sum(region.alpha for region in regions) / len(regions)
    rates = torch.where(total > 0, reached / total.clamp_min(1e-300), mean)
    for step in range(steps):
        feats = encoder.features(pixels)
        gradient = torch.zeros_like(pixels)
        for region, mask in zip(regions, masks, strict=True):
            shares = [region_share(mask, layer.cell) for layer in LAYERS]
            loss = torch.zeros((), dtype=torch.float64)
            rows = zip(feats, own, shares, region.style, finish.LAYER_WEIGHTS, strict=True)
            for feat, own_feat, share, style, weight in rows:
                before = channel_statistics(own_feat, region=share)
                goal = mix_statistics([before, style], [1 - region.alpha, region.alpha])
                now = channel_statistics(feat, region=share)
                distance = (now.mean - goal.mean).square().mean() + (now.std - goal.std).square().mean()
                loss = loss + weight * torch.log(distance + finish.STYLE_FLOOR)
            moved = ((feats[-1] - own[-1]).square() * shares[-1]).sum() / (512 * shares[-1].sum())
            loss = loss + finish.CONTENT_WEIGHT * moved / before.std.square().mean()
            (part,) = torch.autograd.grad(loss, pixels, retain_graph=True)
            gradient += part * mask.sum()
        adam.param_groups[0]["lr"] = finish.LEARNING_RATE * (1 - step / steps)
        adam.param_groups[0]["eps"] = finish.EPS_SHARE * float((gradient.square().sum() / (3 * total.sum())).sqrt())
        pixels.grad = gradient
        before_step = pixels.detach().clone()
        adam.step()
        with torch.no_grad():
            pixels.copy_(before_step + rates * (pixels - before_step)).clamp_(0, 1)
    return pixels.detach()


@pytest.mark.parametrize(("height", "width", "tile"), [(64, 72, 512), (150, 131, 64), (97, 40, 48)])
@pytest.mark.parametrize("feature_bytes", [0, 2**30])
def test_tiles_equal_the_losses_by_autograd(
    encoder: Encoder, height: int, width: int, tile: int, feature_bytes: int
) -> None:
    """Three steps in one tile or many, the content's features kept or not: torch's autograd and Adam to 1e-9."""
    content, painted = _picture(height, width, 1), _picture(height, width, 2)
    regions = [FinishRegion(None, _style(encoder), 0.8)]
    expected = _by_autograd(encoder, content, painted, regions, 3)
    finisher = _finish(encoder, content, painted, regions, tile=tile, feature_bytes=feature_bytes)
    assert float((_result(finisher, content, 3) - expected).abs().max()) < 1e-9


def test_regions_have_goals_of_their_own(encoder: Encoder) -> None:
    """Two soft, overlapping regions with other styles and alphas, in tiles: as by autograd."""
    content, painted = _picture(120, 136, 1), _picture(120, 136, 2)
    left, right = torch.zeros(1, 1, 120, 136, dtype=torch.float64), torch.zeros(1, 1, 120, 136, dtype=torch.float64)
    left[..., :80] = torch.linspace(1, 0.1, 80, dtype=torch.float64)
    right[..., 60:] = 0.7
    regions = [FinishRegion(left, _style(encoder, 3), 1.0), FinishRegion(right, _style(encoder, 4), 0.4)]
    expected = _by_autograd(encoder, content, painted, regions, 2)
    result = _result(_finish(encoder, content, painted, regions, tile=64), content, 2)
    assert float((result - expected).abs().max()) < 1e-9


def test_a_box_is_enough_for_its_region(encoder: Encoder) -> None:
    """With the pixels that the encoder sees around a region, its own pixels are those of the whole picture's run."""
    content, painted = _picture(160, 176, 1), _picture(160, 176, 2)
    mask = torch.zeros(1, 1, 160, 176, dtype=torch.float64)
    mask[..., 64:88, 72:104] = 1
    regions = [FinishRegion(mask, _style(encoder), 1.0)]
    box = Box(32, 120, 40, 136)
    whole = _result(_finish(encoder, content, painted, regions), content, 2)
    part = _result(_finish(encoder, content, painted, regions, box=box, tile=48), content, 2)
    assert float((box.of(part) - box.of(whole)).abs().max()) < 1e-9
    box.of(part).fill_(float("nan"))
    assert bool(part.isnan().all())


def test_it_ends_when_it_is_told(encoder: Encoder) -> None:
    """The picture after the second of five steps is what there is; the steps are counted for whoever shows them."""
    content, painted = _picture(40, 40, 1), _picture(40, 40, 2)
    seen: list[tuple[str, int, int]] = []
    finisher = _finish(encoder, content, painted, [FinishRegion(None, _style(encoder), 1.0)])
    finisher.optimise(lambda *stage: seen.append(stage), lambda step: step < 2, steps=5)
    # The content is measured first, with a word before and after its tile; each step has a word before.
    assert seen == [("finish", 0, 5)] * 3 + [("finish", 1, 5)]
    assert not torch.equal(finisher.reduced(40, 40), painted)
