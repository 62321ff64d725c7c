"""Tiles give what the whole picture gives, whatever the sizes, regions and budgets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from adain_net import tiling
from adain_net.boxes import Box
from adain_net.decoder import Decoder
from adain_net.encoder import Encoder, EncoderFeatures
from adain_net.engine import Engine, TorchEngine
from adain_net.network import AdainNetwork
from adain_net.regions import continued_around, region_box, region_share
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_net.tiling import TiledContent
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


def _engine(network: AdainNetwork) -> TorchEngine:
    return TorchEngine(network, torch.device("cpu"), next(network.parameters()).dtype)


def _tiled(
    network: AdainNetwork,
    content: Tensor,
    regions: Sequence[tuple[Tensor | None, StyleStatistics, float]],
    *,
    tile: int = 64,
    feature_bytes: int = 2**30,
    engines: Sequence[Engine] = (),
) -> Tensor:
    """Through TiledContent; regions are (mask, style, alpha). Where nothing is written the result is NaN."""
    result = torch.full_like(content, float("nan"))
    height, width = content.shape[2:]
    tiled = TiledContent(
        engines or [_engine(network)],
        lambda part: part.of(content),
        [mask for mask, _, _ in regions],
        height=height,
        width=width,
        tile=tile,
        feature_bytes=feature_bytes,
    )

    written: list[Box] = []

    def write(part: Box, painted: Tensor) -> None:
        part.of(result).copy_(painted)
        written.append(part)

    own = tiled.encode(_ignore).statistics
    transforms = [adain_transform(o, style, alpha=alpha) for o, (_, style, alpha) in zip(own, regions, strict=True)]
    tiled.decode(transforms, write, _ignore)
    sizes = [part.size for part in written]
    assert sum(h * w for h, w in sizes) == int((~result[:, 0].isnan()).sum()), "a pixel was written twice"
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
    total = torch.stack(shares).sum(dim=0)
    painted = torch.zeros_like(feat)
    for share, (_, style, alpha) in zip(shares, regions, strict=True):
        transform = adain_transform(channel_statistics(feat, region=share), style, alpha=alpha)
        painted += share / total.clamp_min(1) * transform.apply(feat)
    target_feat = continued_around(painted, total.clamp(max=1))
    result: Tensor = network.decoder(target_feat)[:, :, :height, :width].clamp(0, 1)
    return result


def _ignore(_stage: str, _done: int, _total: int) -> None:
    return


def _style(seed: int = 5) -> StyleStatistics:
    generator = torch.Generator().manual_seed(seed)
    return channel_statistics(torch.rand(1, 512, 6, 6, generator=generator, dtype=torch.float64) * 4)


def _content(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.fault(65)
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


@pytest.mark.fault(65)
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


@pytest.mark.fault(65)
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
            [_engine(random_network)],
            lambda part: part.of(content),
            [region],
            height=60,
            width=70,
            opacity=opacity,
            tile=32,
        )
        own = tiled.encode(_ignore).statistics[0]
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
            TiledContent(
                [_engine(random_network)], lambda part: part.of(_content(20, 20)), regions, height=20, width=20
            )


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


@pytest.mark.fault(55)
def test_work_stops_between_tiles(random_network: AdainNetwork) -> None:
    """What on_tile raises ends the work at once; tiles are counted from 0 to all."""
    seen: list[tuple[str, int, int]] = []

    def on_tile(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))
        if (stage, done) == ("decode", 2):
            raise KeyboardInterrupt

    content = _content(128, 128)
    tiled = TiledContent(
        [_engine(random_network)], lambda part: part.of(content), [None], height=128, width=128, tile=64
    )
    transform = adain_transform(tiled.encode(on_tile).statistics[0], _style())
    written: list[Box] = []
    with pytest.raises(KeyboardInterrupt):
        tiled.decode([transform], lambda part, _: written.append(part), on_tile)
    assert seen == [("encode", i, 4) for i in range(5)] + [("decode", i, 4) for i in range(3)]
    assert len(written) == 2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.float32])
def test_masks_of_every_type_are_the_same_mask(random_network: AdainNetwork, dtype: torch.dtype) -> None:
    """0, a half and 1, in each type; floats beyond 0..1 are clamped."""
    content, mask = _content(40, 48), torch.zeros(1, 1, 40, 48, dtype=torch.float64)
    mask[:, :, 8:30, 8:40] = 1
    expected = _tiled(random_network, content, [(mask, _style(), 1.0)])
    wide = mask * 3 - (1 - mask) if dtype.is_floating_point else mask * torch.iinfo(dtype).max
    typed = wide.to(dtype)
    torch.testing.assert_close(
        _tiled(random_network, content, [(typed, _style(), 1.0)]), expected, equal_nan=True, atol=1e-6, rtol=0
    )


STATISTICS_BYTES = 2 * 512 * 8
"""Of one region, in float64."""


def test_encoded_is_used_again(random_network: AdainNetwork) -> None:
    """With what the first pass found, another transform needs no content at all."""
    content = _content(72, 80)

    def fail(_part: Box) -> Tensor:
        raise AssertionError("the content was read again")

    results = []
    encoded = None
    for source in (lambda part: part.of(content), fail):
        tiled = TiledContent([_engine(random_network)], source, [None], height=72, width=80, tile=40, encoded=encoded)
        encoded = tiled.encode(_ignore)
        result = torch.empty_like(content)

        def write(part: Box, painted: Tensor, result: Tensor = result) -> None:
            part.of(result).copy_(painted)

        tiled.decode([adain_transform(encoded.statistics[0], _style())], write, _ignore)
        results.append(result)
    assert encoded is not None and encoded.size == 512 * 9 * 10 * 8 + STATISTICS_BYTES
    assert tiled.feature_size == 512 * 9 * 10 * 8
    assert torch.equal(*results)


@pytest.mark.parametrize("feature_bytes", [0, 2**30])
@pytest.mark.parametrize("restored", [0.0, 0.5])
def test_encoded_counts_all_that_it_holds(random_network: AdainNetwork, feature_bytes: int, restored: float) -> None:
    """The statistics of each region, the features and the reconstruction, whichever of them are kept."""
    content = _content(40, 48)
    masks = [torch.ones(1, 1, 40, 48), None]
    tiled = TiledContent(
        [_engine(random_network)],
        lambda part: part.of(content),
        masks,
        height=40,
        width=48,
        feature_bytes=feature_bytes,
    )
    own = tiled.encode(_ignore).statistics
    transforms = [adain_transform(each, _style()) for each in own]
    encoded = tiled.decode(transforms, lambda _part, _painted: None, _ignore, restored=[restored, restored])
    expected = 2 * STATISTICS_BYTES
    if feature_bytes:
        expected += 512 * 5 * 6 * 8 + (3 * 40 * 48 * 8 if restored else 0)
    assert encoded.size == expected


class _FailingAt(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every operation of torch on more than a few numbers allocates: the one of this number finds no memory."""

    def __init__(self, number: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = number
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        large = any(isinstance(each, Tensor) and each.numel() > 1024 for each in args)
        self.seen += large
        if large and self.seen == self.number:
            raise torch.OutOfMemoryError("injected")
        return func(*args, **(kwargs or {}))


def _with_failure(
    network: AdainNetwork, content: Tensor, mask: Tensor, number: int
) -> tuple[Tensor, TiledContent, int]:
    """Both passes, with no memory at that operation; statistics are checked on the way."""
    result = torch.full_like(content, float("nan"))
    height, width = content.shape[2:]
    tiled = TiledContent(
        [_engine(network)], lambda part: part.of(content), [mask, None], height=height, width=width, tile=64
    )
    failing = _FailingAt(number)
    with failing:
        own = tiled.encode(_ignore).statistics
    transforms = [adain_transform(each, _style(), alpha=0.7) for each in own]

    def write(part: Box, painted: Tensor) -> None:
        part.of(result).copy_(painted)

    with failing:
        tiled.decode(transforms, write, _ignore)
    return result, tiled, failing.seen


@pytest.mark.fault(63)
def test_no_memory_at_any_operation_gives_the_same_picture(
    random_network: AdainNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever memory runs out once, the tile is cut and done again: nothing is counted twice or left out."""
    monkeypatch.setattr(tiling, "SMALLEST_TILE", 32)
    content, mask = _content(40, 56), torch.zeros(1, 1, 40, 56, dtype=torch.float64)
    mask[:, :, 5:30, 9:50] = 0.6
    expected, untouched, operations = _with_failure(random_network, content, mask, -1)
    assert untouched.tile == 64 and operations > 100
    smaller = 0
    for number in range(1, operations + 1, 6):
        result, tiled, _ = _with_failure(random_network, content, mask, number)
        assert float((result - expected).abs().max()) < 1e-10, f"operation {number}"
        smaller += tiled.tile < 64
    assert smaller > 15


class _Small:
    """An engine whose memory holds pictures up to a side.

    Attributes:
        refused: Heights and widths of the pictures that it could not hold.
    """

    def __init__(self, engine: TorchEngine, side: int) -> None:
        self._engine = engine
        self._side = side
        self.refused: list[tuple[int, int]] = []
        self.layer, self.device, self.dtype = engine.layer, engine.device, engine.dtype

    def encode(self, picture: Tensor) -> Tensor:
        """As the engine, or no memory."""
        self._check(*picture.shape[2:])
        return self._engine.encode(picture)

    def features(self, picture: Tensor) -> EncoderFeatures:
        """As the engine, or no memory."""
        self._check(*picture.shape[2:])
        return self._engine.features(picture)

    def decode(self, feat: Tensor, guide: Tensor | None = None) -> Tensor:
        """As the engine, or no memory."""
        self._check(8 * feat.shape[2], 8 * feat.shape[3])
        return self._engine.decode(feat, guide)

    def _check(self, height: int, width: int) -> None:
        if max(height, width) > self._side:
            self.refused.append((height, width))
            raise torch.OutOfMemoryError("injected")


@pytest.mark.fault(63, 64)
def test_tiles_shrink_until_they_fit_and_then_another_engine_takes_over(
    random_network: AdainNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that holds smaller tiles keeps the work; one that holds none gives it away; none at all is an error."""
    monkeypatch.setattr(tiling, "SMALLEST_TILE", 32)
    content, regions = _content(120, 120), [(None, _style(), 1.0)]
    whole = _engine(random_network)
    expected = _tiled(random_network, content, regions, tile=128)
    for side in (100, 60):
        result = _tiled(random_network, content, regions, tile=128, engines=[_Small(whole, side), whole])
        assert float((result - expected).abs().max()) < 1e-10
    engines: list[Engine] = [_Small(whole, 100), whole]
    tiled = TiledContent(engines, lambda part: part.of(content), [None], height=120, width=120, tile=128)
    tiled.encode(_ignore)
    assert tiled.tile == 64 and tiled.engine is engines[0]
    engines = [_Small(whole, 60), whole]
    tiled = TiledContent(engines, lambda part: part.of(content), [None], height=120, width=120, tile=128)
    tiled.encode(_ignore)
    assert tiled.engine is whole
    with pytest.raises(MemoryError):
        _tiled(random_network, content, regions, engines=[_Small(whole, 60)])


@pytest.mark.fault(64)
@pytest.mark.parametrize(("height", "width"), [(140, 136), (500, 700), (100, 900), (20, 24)])
def test_nothing_is_tried_twice_at_one_size(random_network: AdainNetwork, height: int, width: int) -> None:
    """Each attempt of an engine that holds nothing is smaller than the one before, and none follows the smallest."""
    content, whole = _content(height, width), _engine(random_network)
    small, other = _Small(whole, 0), _Small(whole, 0)
    with pytest.raises(MemoryError):
        _tiled(random_network, content, [(None, _style(), 1.0)], tile=1024, engines=[small, other])
    areas = [rows * columns for rows, columns in small.refused]
    assert small.refused[0] == (height, width) and areas == sorted(set(areas), reverse=True)
    halvings = max(0, math.ceil(math.log2(max(height, width) / tiling.SMALLEST_TILE)))
    assert len(areas) <= 1 + halvings
    assert other.refused == small.refused[-1:]


def test_features_are_continued_around_a_region() -> None:
    """Known cells stay; half known ones are filled up from their neighbours; four cells around get the nearest ones."""
    share = torch.zeros(1, 1, 3, 20)
    share[..., 5], share[..., 6:9] = 0.5, 1.0
    feat = torch.full((1, 2, 3, 20), 99.0)
    feat[..., 5], feat[..., 6:9] = 1.0, torch.tensor([3.0, 3.0, 7.0])
    filled = continued_around(feat * share, share)[0, 0, 1]
    assert filled[6:9].tolist() == [3.0, 3.0, 7.0]
    assert float(filled[5]) == pytest.approx(0.5 * 1.0 + 0.5 * (0.5 * 1.0 + 3.0) / 1.5)
    assert float(filled[4]) == pytest.approx(1.0) and float(filled[9]) == pytest.approx(7.0)
    assert float(filled[12]) == pytest.approx(7.0) and not filled[13:].any() and not filled[0].any()
    assert torch.equal(continued_around(feat, torch.ones_like(share)), feat)


def test_content_outside_a_selection_does_not_reach_the_decoder(random_network: AdainNetwork) -> None:
    """Whatever lies around a region that ends on cells: with the same statistics, the same paint to its edge."""
    first, second = _content(64, 96), _content(64, 96)
    second[..., 72:] = 1 - second[..., 72:]  # beyond what the region's own cells see
    mask = torch.zeros(1, 1, 64, 96, dtype=torch.float64)
    mask[..., :32] = 1
    results = [_tiled(random_network, content, [(mask, _style(), 1.0)])[..., :32] for content in (first, second)]
    assert float((results[0] - results[1]).abs().max()) < 1e-10
