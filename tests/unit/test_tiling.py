"""Tiles give what the whole picture gives, whatever the sizes, regions and budgets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder
from adain_net.network import AdainNetwork
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_net.tiling import Box, TiledContent, region_box, region_share
from adain_net.transform import adain_transform


@pytest.fixture(scope="module")
def random_network() -> AdainNetwork:
    """A network of the real shape in float64, its random weights keeping activations alive."""
    torch.manual_seed(0)
    network = AdainNetwork(Encoder(), Decoder()).double().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    # Into 0..1, so that clamping hides nothing.
    network.decoder.conv1_1.weight.mul_(0.02)
    assert network.decoder.conv1_1.bias is not None
    network.decoder.conv1_1.bias.fill_(0.5)
    return network


def _tiled(
    network: AdainNetwork,
    content: Tensor,
    regions: Sequence[tuple[Tensor | None, StyleStatistics, float]],
    *,
    tile: int = 64,
    feature_bytes: int = 2**30,
) -> Tensor:
    """Through TiledContent; regions are (mask, style, alpha). Where nothing is written the result is NaN."""
    result = torch.full_like(content, float("nan"))
    height, width = content.shape[2:]
    tiled = TiledContent(
        network,
        lambda part: part.of(content),
        [mask for mask, _, _ in regions],
        height=height,
        width=width,
        tile=tile,
        feature_bytes=feature_bytes,
    )

    def write(part: Box, painted: Tensor) -> None:
        assert bool(part.of(result).isnan().all()), "a pixel was written twice"
        part.of(result).copy_(painted)

    own = tiled.statistics(_ignore)
    transforms = [adain_transform(o, style, alpha=alpha) for o, (_, style, alpha) in zip(own, regions, strict=True)]
    tiled.decode(transforms, write, _ignore)
    return result


def _whole(
    network: AdainNetwork, content: Tensor, regions: Sequence[tuple[Tensor | None, StyleStatistics, float]]
) -> Tensor:
    """The same by the formula of the design, on the whole picture at once."""
    height, width = content.shape[2:]
    feat = network.encode(content)
    shares = []
    for mask, _, _ in regions:
        full = torch.ones_like(content[:, :1]) if mask is None else mask
        grown = functional.pad(full, (0, max(0, 16 - width), 0, max(0, 16 - height)), mode="replicate")
        shares.append(region_share(grown))
    total = sum(shares).clamp_min(1)  # type: ignore[union-attr]
    target_feat = feat.clone()
    for share, (_, style, alpha) in zip(shares, regions, strict=True):
        transform = adain_transform(channel_statistics(feat, region=share), style, alpha=alpha)
        target_feat += share / total * (transform.apply(feat) - feat)
    result: Tensor = network.decoder(target_feat)[:, :, :height, :width].clamp(0, 1)
    return result


def _ignore(_stage: str, _done: int, _total: int) -> None:
    return


def _style(seed: int = 5) -> StyleStatistics:
    generator = torch.Generator().manual_seed(seed)
    return channel_statistics(torch.rand(1, 512, 6, 6, generator=generator, dtype=torch.float64) * 4)


def _content(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("height", "width", "tile"),
    [(160, 160, 64), (131, 203, 64), (97, 250, 48), (64, 65, 64), (9, 300, 64), (3, 150, 32), (1, 1, 64), (200, 17, 8)],
)
def test_tiled_equals_whole(random_network: AdainNetwork, height: int, width: int, tile: int) -> None:
    """Odd sizes, strips, tiles of one cell: equal to 1e-10 in float64, and to the network's plain path."""
    content, style = _content(height, width), _style()
    result = _tiled(random_network, content, [(None, style, 0.7)], tile=tile)
    assert float((result - _whole(random_network, content, [(None, style, 0.7)])).abs().max()) < 1e-10
    feat = random_network.encode(content)
    plain = random_network.stylize_features(feat, style, alpha=0.7, height=height, width=width)
    assert float((result - plain).abs().max()) < 1e-10


def test_encoding_again_equals_keeping(random_network: AdainNetwork) -> None:
    """With no room for features the tiles are encoded twice, to the same result."""
    content, region = _content(150, 170), (None, _style(), 1.0)
    kept = _tiled(random_network, content, [region])
    again = _tiled(random_network, content, [region], feature_bytes=0)
    assert float((kept - again).abs().max()) < 1e-10


REGIONS = {
    "corner": (slice(0, 40), slice(0, 50)),
    "middle": (slice(70, 101), slice(60, 143)),
    "far edge": (slice(120, 171), slice(150, 203)),
    "one pixel": (slice(77, 78), slice(91, 92)),
    "everything": (slice(0, 171), slice(0, 203)),
}


@pytest.mark.parametrize("where", REGIONS.values(), ids=REGIONS.keys())
@pytest.mark.parametrize("feature_bytes", [0, 2**30])
def test_region_equals_whole_inside_its_box(
    random_network: AdainNetwork, where: tuple[slice, slice], feature_bytes: int
) -> None:
    """Inside the region's box the pixels are those of the whole picture's run; outside nothing is computed."""
    content = _content(171, 203)
    mask = torch.zeros(1, 1, 171, 203, dtype=torch.float64)
    mask[0, 0][where] = 0.8
    regions = [(mask, _style(), 1.0)]
    expected = _whole(random_network, content, regions)
    result = _tiled(random_network, content, regions, tile=48, feature_bytes=feature_bytes)
    box = region_box(mask)
    assert box is not None
    assert float((box.of(result) - box.of(expected)).abs().max()) < 1e-10
    box.of(result).fill_(float("nan"))
    assert bool(result.isnan().all())


def test_overlapping_regions_equal_whole(random_network: AdainNetwork) -> None:
    """Three regions, soft, overlapping beyond 1 and one of everything, each with its own style and alpha."""
    content = _content(120, 140)
    soft, hard = torch.zeros(1, 1, 120, 140, dtype=torch.float64), torch.zeros(1, 1, 120, 140, dtype=torch.float64)
    soft[:, :, 10:90, 20:100] = torch.linspace(0, 1, 80, dtype=torch.float64)
    hard[:, :, 50:110, 60:137] = 1
    regions = [(soft, _style(1), 1.0), (hard, _style(2), 0.5)]
    everywhere: tuple[None, StyleStatistics, float] = (None, _style(3), 0.8)
    for chosen in (regions, [*regions, everywhere]):
        result, expected = _tiled(random_network, content, chosen, tile=48), _whole(random_network, content, chosen)
        inside = ~result.isnan()
        assert float((result - expected)[inside].abs().max()) < 1e-10
        assert bool(inside[:, :, 10:110, 20:137].all())


def test_opacity_weighs_the_statistics_only(random_network: AdainNetwork) -> None:
    """Statistics as over a mask of the opacity, while everything is painted; with a region, over their product."""
    content = _content(60, 70)
    opacity, mask = torch.zeros(1, 1, 60, 70, dtype=torch.float64), torch.ones(1, 1, 60, 70, dtype=torch.float64)
    opacity[:, :, 8:50, 5:40], mask[:, :, 30:] = 0.7, 0
    for region in (None, mask):
        wanted = opacity if region is None else opacity * region
        tiled = TiledContent(
            random_network, lambda part: part.of(content), [region], height=60, width=70, opacity=opacity, tile=32
        )
        own = tiled.statistics(_ignore)[0]
        expected = channel_statistics(random_network.encode(content), region=region_share(wanted))
        torch.testing.assert_close(own.mean, expected.mean)
        torch.testing.assert_close(own.std, expected.std)


def test_region_of_narrow_tiles(random_network: AdainNetwork) -> None:
    """Masks in tiles of a single cell, in a picture that is continued below."""
    content, mask = _content(9, 60), torch.zeros(1, 1, 9, 60, dtype=torch.float64)
    mask[:, :, 2:9, 13:44] = 1
    regions = [(mask, _style(), 1.0)]
    result, expected = _tiled(random_network, content, regions, tile=8), _whole(random_network, content, regions)
    inside = ~result.isnan()
    assert float((result - expected)[inside].abs().max()) < 1e-10


def test_no_region_is_refused(random_network: AdainNetwork) -> None:
    """Nothing to do, or a region without a pixel, is the caller's mistake."""
    no_regions: list[list[Tensor | None]] = [[], [torch.zeros(1, 1, 20, 20)]]
    for regions in no_regions:
        with pytest.raises(ValueError, match="region"):
            TiledContent(random_network, lambda part: part.of(_content(20, 20)), regions, height=20, width=20)


def test_float32_error_is_small(network: AdainNetwork) -> None:
    """The real weights in float32: within 1e-4."""
    content = _content(200, 264).float()
    style = channel_statistics(network.encode(_content(96, 96).float().flip(1)))
    expected = _whole(network, content, [(None, style, 1.0)])
    assert float((_tiled(network, content, [(None, style, 1.0)], tile=64) - expected).abs().max()) < 1e-4


def test_region_box_is_on_the_grid() -> None:
    """The box is rounded outwards to cells and ends at the picture's edge; an empty region has none."""
    region = torch.zeros(1, 1, 30, 21)
    assert region_box(region) is None
    region[0, 0, 9:12, 17:21] = 0.1
    assert region_box(region) == Box(8, 16, 16, 21)


def test_tiles_cover_a_box_once_and_are_even() -> None:
    """No gap, no overlap, no sliver: sizes differ by one cell at most."""
    box = Box(16, 1301, 8, 777)
    tiles = box.tiles(512)
    covered = torch.zeros(1, 1, 1301, 777, dtype=torch.int)
    for tile in tiles:
        tile.of(covered).add_(1)
    assert bool((box.of(covered) == 1).all()) and int(covered.sum()) == (1301 - 16) * (777 - 8)
    heights = {tile.bottom - tile.top for tile in tiles}
    assert max(heights) - min(heights) <= 8 and max(heights) <= 512


def test_stopping_between_tiles(random_network: AdainNetwork) -> None:
    """What on_tile raises ends the work at once; tiles are counted from 0 to all."""
    seen: list[tuple[str, int, int]] = []

    def on_tile(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))
        if (stage, done) == ("decode", 2):
            raise KeyboardInterrupt

    content = _content(128, 128)
    tiled = TiledContent(random_network, lambda part: part.of(content), [None], height=128, width=128, tile=64)
    transform = adain_transform(tiled.statistics(on_tile)[0], _style())
    written: list[Box] = []
    with pytest.raises(KeyboardInterrupt):
        tiled.decode([transform], lambda part, _: written.append(part), on_tile)
    assert seen == [("encode", i, 4) for i in range(4)] + [("decode", i, 4) for i in range(3)]
    assert len(written) == 2
