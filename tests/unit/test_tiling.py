"""Tiles give what the whole picture gives, whatever the sizes, regions and budgets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder
from adain_net.network import AdainNetwork
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_net.tiling import Box, TiledContent, region_box


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
    style: StyleStatistics,
    *,
    alpha: float = 1.0,
    region: Tensor | None = None,
    tile: int = 64,
    feature_bytes: int = 2**30,
) -> Tensor:
    """Through TiledContent; where nothing is written the result is NaN."""
    result = torch.full_like(content, float("nan"))
    box = region_box(region) if region is not None else None
    height, width = content.shape[2:]
    tiled = TiledContent(
        network,
        lambda part: part.of(content),
        height=height,
        width=width,
        box=box,
        region=(lambda part: part.of(region)) if region is not None else None,
        tile=tile,
        feature_bytes=feature_bytes,
    )

    def write(part: Box, painted: Tensor) -> None:
        assert bool(part.of(result).isnan().all()), "a pixel was written twice"
        part.of(result).copy_(painted)

    own = tiled.statistics(lambda *_: None)
    tiled.decode(own, style, alpha=alpha, write=write, on_tile=lambda *_: None)
    return result


def _style() -> StyleStatistics:
    generator = torch.Generator().manual_seed(5)
    return channel_statistics(torch.rand(1, 512, 6, 6, generator=generator, dtype=torch.float64) * 4)


def _whole(
    network: AdainNetwork, content: Tensor, style: StyleStatistics, alpha: float, region: Tensor | None
) -> Tensor:
    height, width = content.shape[2:]
    feat = network.encode(content)
    return network.stylize_features(feat, style, alpha=alpha, height=height, width=width, region=region)


def _content(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("height", "width", "tile"),
    [(160, 160, 64), (131, 203, 64), (97, 250, 48), (64, 65, 64), (9, 300, 64), (3, 150, 32), (1, 1, 64), (200, 17, 8)],
)
def test_tiled_equals_whole(random_network: AdainNetwork, height: int, width: int, tile: int) -> None:
    """Odd sizes, strips, tiles of one cell: equal to 1e-10 in float64."""
    content, style = _content(height, width), _style()
    expected = _whole(random_network, content, style, 0.7, None)
    result = _tiled(random_network, content, style, alpha=0.7, tile=tile)
    assert float((result - expected).abs().max()) < 1e-10


def test_encoding_again_equals_keeping(random_network: AdainNetwork) -> None:
    """With no room for features the tiles are encoded twice, to the same result."""
    content, style = _content(150, 170), _style()
    kept = _tiled(random_network, content, style)
    again = _tiled(random_network, content, style, feature_bytes=0)
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
    content, style = _content(171, 203), _style()
    region = torch.zeros(1, 1, 171, 203, dtype=torch.float64)
    region[0, 0][where] = 0.8
    expected = _whole(random_network, content, style, 1.0, region)
    result = _tiled(random_network, content, style, region=region, tile=48, feature_bytes=feature_bytes)
    box = region_box(region)
    assert box is not None
    assert float((box.of(result) - box.of(expected)).abs().max()) < 1e-10
    box.of(result).fill_(float("nan"))
    assert bool(result.isnan().all())


def test_float32_error_is_small(network: AdainNetwork) -> None:
    """The real weights in float32: within 1e-4."""
    content = _content(200, 264).float()
    style = channel_statistics(network.encode(_content(96, 96).float().flip(1)))
    expected = _whole(network, content, style, 1.0, None)
    assert float((_tiled(network, content, style, tile=64) - expected).abs().max()) < 1e-4


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
    tiled = TiledContent(random_network, lambda part: part.of(content), height=128, width=128, tile=64)
    own = tiled.statistics(on_tile)
    written: list[Box] = []
    with pytest.raises(KeyboardInterrupt):
        tiled.decode(own, _style(), alpha=1.0, write=lambda part, _: written.append(part), on_tile=on_tile)
    assert seen == [("encode", i, 4) for i in range(4)] + [("decode", i, 4) for i in range(3)]
    assert len(written) == 2
