"""The mathematics of adain_net."""

from __future__ import annotations

import pytest
import torch

from adain_net.encoder import Encoder
from adain_net.network import AdainNetwork
from adain_net.regions import region_share
from adain_net.statistics import StyleStatistics, channel_statistics, mix_statistics
from adain_net.transform import adain_transform
from support.helpers import picture_tensor


def _features(seed: int, *, height: int = 7, width: int = 5) -> torch.Tensor:
    return torch.rand(1, 512, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def test_transform_gives_the_styles_statistics() -> None:
    """After AdaIN the features have the style's mean and deviation."""
    content, style = _features(1), channel_statistics(_features(2))
    stylized = channel_statistics(adain_transform(channel_statistics(content), style).apply(content))
    torch.testing.assert_close(stylized.mean, style.mean)
    torch.testing.assert_close(stylized.std, style.std, atol=1e-4, rtol=1e-4)  # eps is added twice


def test_statistics_divide_by_n_minus_1_and_add_eps() -> None:
    """The convention of the public PyTorch weights, against torch's own variance."""
    feat = _features(3)
    expected = (feat.flatten(2).var(dim=2, unbiased=True) + 1e-5).sqrt()
    torch.testing.assert_close(channel_statistics(feat).std, expected)


def test_alpha_zero_keeps_the_features() -> None:
    """With alpha 0 the transform changes nothing."""
    content, style = _features(4), channel_statistics(_features(5))
    transform = adain_transform(channel_statistics(content), style, alpha=0.0)
    torch.testing.assert_close(transform.apply(content), content)


def test_alpha_blends_linearly() -> None:
    """A third of the way is a third of the difference."""
    content, style = _features(6), channel_statistics(_features(7))
    full = adain_transform(channel_statistics(content), style).apply(content)
    third = adain_transform(channel_statistics(content), style, alpha=1 / 3).apply(content)
    torch.testing.assert_close(third, content + (full - content) / 3)


def test_mixing_is_linear() -> None:
    """AdaIN with mixed statistics is the mixture of the AdaINs."""
    content = _features(8)
    own = channel_statistics(content)
    styles = [channel_statistics(_features(seed)) for seed in (9, 10, 11)]
    mixed = adain_transform(own, mix_statistics(styles, [1, 2, 5])).apply(content)
    parts = [adain_transform(own, style).apply(content) for style in styles]
    torch.testing.assert_close(mixed, (parts[0] + 2 * parts[1] + 5 * parts[2]) / 8)


def test_one_hot_weights_equal_one_style() -> None:
    """A weight of 1 among zeros gives exactly that style."""
    styles = [channel_statistics(_features(seed)) for seed in (12, 13)]
    mixed = mix_statistics(styles, [0, 3])
    assert torch.equal(mixed.mean, styles[1].mean)
    assert torch.equal(mixed.std, styles[1].std)


@pytest.mark.parametrize("weights", [[], [1.0], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_bad_style_weights_are_refused(weights: list[float]) -> None:
    """Too few, all zero, negative or not finite."""
    styles = [channel_statistics(_features(seed)) for seed in (14, 15)]
    with pytest.raises(ValueError, match="weights"):
        mix_statistics(styles, weights)


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan")])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    """Alpha is in 0..1."""
    style = channel_statistics(_features(16))
    with pytest.raises(ValueError, match="alpha"):
        adain_transform(style, style, alpha=alpha)


@pytest.mark.fault(40)
def test_constant_features_give_finite_results() -> None:
    """A flat content and a flat style: no NaN."""
    flat = torch.full((1, 512, 4, 4), 2.0)
    stylized = adain_transform(channel_statistics(flat), channel_statistics(flat)).apply(flat)
    assert bool(torch.isfinite(stylized).all())


def test_full_region_equals_no_region() -> None:
    """Statistics over a region of ones are the plain statistics."""
    feat = _features(17)
    plain, inside = channel_statistics(feat), channel_statistics(feat, region=torch.ones(1, 1, 7, 5).double())
    torch.testing.assert_close(inside.mean, plain.mean)
    torch.testing.assert_close(inside.std, plain.std)


def test_region_statistics_are_those_of_the_part() -> None:
    """A region of zeros and ones gives the statistics of the cut-out."""
    feat = _features(18)
    region = torch.zeros(1, 1, 7, 5, dtype=torch.float64)
    region[:, :, 2:6, 1:4] = 1
    cut = channel_statistics(feat[:, :, 2:6, 1:4])
    inside = channel_statistics(feat, region=region)
    torch.testing.assert_close(inside.mean, cut.mean)
    torch.testing.assert_close(inside.std, cut.std)


@pytest.mark.parametrize("share", [1e-6, 0.3, 1.0, 1.5])
def test_region_smaller_than_two_cells_is_finite(share: float) -> None:
    """However little of the grid is selected, mean and deviation are finite."""
    region = torch.zeros(1, 1, 7, 5, dtype=torch.float64)
    region[0, 0, 3, 2], region[0, 0, 3, 3] = min(share, 1.0), max(share - 1.0, 0.0)
    inside = channel_statistics(_features(19), region=region)
    assert bool(torch.isfinite(inside.mean).all()) and bool(torch.isfinite(inside.std).all())


def test_region_share_is_the_area() -> None:
    """A mask that covers 16 of a cell's 64 pixels has a share of a quarter there; edge cells count what they have."""
    region = torch.zeros(1, 1, 16, 20)
    region[:, :, 0:4, 0:4] = 1
    region[:, :, :, 16:] = 1
    expected = torch.tensor([[0.25, 0.0, 1.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(region_share(region)[0, 0], expected)


@pytest.mark.fault(36)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (8, 8), (9, 17), (31, 64), (127, 53)])
def test_any_size_comes_back_exactly(network: AdainNetwork, height: int, width: int) -> None:
    """Tiny, prime and odd sizes: the same size, finite, in range."""
    content = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    stylized = network.stylize(content, [picture_tensor("coffee.jpg", side=64)])
    assert stylized.shape == content.shape
    assert bool(torch.isfinite(stylized).all())
    assert float(stylized.min()) >= 0 and float(stylized.max()) <= 1


@pytest.mark.parametrize("name", ["chelsea.jpg", "coffee.jpg"])
def test_alpha_zero_returns_content(network: AdainNetwork, name: str) -> None:
    """alpha=0 is exactly the content through encoder and decoder, and that is recognisably the same photograph."""
    content = picture_tensor(name, side=256)
    style = picture_tensor("van-gogh-road-to-tarascon.jpg", side=256)
    same = network.stylize(content, [style], alpha=0.0)
    direct = network.decoder(network.encode(content))[:, :, : content.shape[2], : content.shape[3]].clamp(0, 1)
    torch.testing.assert_close(same, direct.detach())
    # The embedded decoders gave about 0.9, and 0.005 to 0.013; a grey picture gives 0, 0.03 and 0.08.
    assert _correlation(same, content) > 0.8
    assert float((same - content).square().mean()) < 0.02


def test_stylized_moves_towards_the_style(network: AdainNetwork) -> None:
    """The result's features have statistics much nearer to the style's than the content's are."""
    content = picture_tensor("chelsea.jpg", side=256)
    style = picture_tensor("van-gogh-road-to-tarascon.jpg", side=256)
    wanted = network.style_statistics(style)
    before = _distance(network.style_statistics(content), wanted)
    after = _distance(network.style_statistics(network.stylize(content, [style])), wanted)
    assert after < before / 2


def test_stylize_weights_equal_one_style(network: AdainNetwork) -> None:
    """Through the whole network: weights (1, 0) paint as the first style alone."""
    content, first = picture_tensor("coffee.jpg", side=64), picture_tensor("chelsea.jpg", side=64)
    second = picture_tensor("van-gogh-road-to-tarascon.jpg", side=64)
    mixed = network.stylize(content, [first, second], style_weights=[1.0, 0.0])
    torch.testing.assert_close(mixed, network.stylize(content, [first]))


def test_encoder_activations_stay_near_1(network: AdainNetwork) -> None:
    """The embedded encoder's channels are scaled so that half precision has room: mean activation near 1 everywhere."""
    features = network.encoder.features(picture_tensor("coffee.jpg", side=256))
    for feat in features:
        assert 0.3 < float(feat.mean()) < 4
        assert float(feat.max()) < 500  # half precision ends at 65504


def test_encoder_features_end_in_relu4_1() -> None:
    """forward() is the last of features(), and the layers have the documented shapes."""
    encoder = Encoder()
    picture = torch.rand(1, 3, 33, 48)
    features = encoder.features(picture)
    shapes = [tuple(feat.shape[1:]) for feat in features]
    assert shapes == [(64, 33, 48), (128, 17, 24), (256, 9, 12), (512, 5, 6)]
    torch.testing.assert_close(encoder(picture), features.relu4_1)


def _distance(a: StyleStatistics, b: StyleStatistics) -> float:
    return float((a.mean - b.mean).square().mean() + (a.std - b.std).square().mean())


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.mean(dim=1).flatten(), b.mean(dim=1).flatten()]))[0, 1])
