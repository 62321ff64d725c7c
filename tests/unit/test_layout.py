"""The public layout of AdaIN weights, read and written, against the public code's mathematics written out here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adain_net.layout import (
    LayoutError,
    decoder_to_public,
    encoder_to_public,
    load_decoder,
    load_encoder,
    load_network,
)
from adain_net.network import AdainNetwork
from adain_net.statistics import channel_statistics
from adain_net.transform import adain_transform
from adain_weights.cli import main as weights_command
from adain_weights.models import load_model


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]


def _public_encoder() -> nn.Sequential:
    pool = nn.MaxPool2d(2, 2, ceil_mode=True)
    plan: list[int | nn.Module] = [64, 64, pool, 128, 128, pool, *[256] * 4, pool, *[512] * 4, pool, *[512] * 4]
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    channels = 3
    for step in plan:
        if isinstance(step, int):
            layers += _conv(channels, step)
            channels = step
        else:
            layers.append(step)
    return nn.Sequential(*layers)


def _public_decoder() -> nn.Sequential:
    up = nn.Upsample(scale_factor=2, mode="nearest")
    layers = [*_conv(512, 256), up, *_conv(256, 256), *_conv(256, 256), *_conv(256, 256), *_conv(256, 128), up]
    layers += [*_conv(128, 128), *_conv(128, 64), up, *_conv(64, 64), *_conv(64, 3)[:2]]
    return nn.Sequential(*layers)


def _public_stylize(
    encoder: nn.Sequential, decoder: nn.Sequential, content: Tensor, style: Tensor, alpha: float
) -> Tensor:
    """The public code's mathematics: AdaIN with n-1 and eps on both sides, then the blend."""

    def moments(feat: Tensor) -> tuple[Tensor, Tensor]:
        flat = feat.flatten(2)
        return flat.mean(dim=2)[..., None, None], (flat.var(dim=2) + 1e-5).sqrt()[..., None, None]

    relu4_1 = encoder[:31]
    content_feat, style_feat = relu4_1(content), relu4_1(style)
    (content_mean, content_std), (style_mean, style_std) = moments(content_feat), moments(style_feat)
    adapted = (content_feat - content_mean) / content_std * style_std + style_mean
    result: Tensor = decoder(alpha * adapted + (1 - alpha) * content_feat)
    return result


@pytest.fixture(scope="module")
def public_pair() -> tuple[nn.Sequential, nn.Sequential]:
    """Both public networks with random weights that keep activations alive."""
    torch.manual_seed(0)
    pair = _public_encoder(), _public_decoder()
    for network in pair:
        for module in network:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.normal_(module.bias, std=0.1)
    return pair[0].requires_grad_(False), pair[1].requires_grad_(False)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_public_weights_give_the_public_result(
    public_pair: tuple[nn.Sequential, nn.Sequential], tmp_path: Path, alpha: float
) -> None:
    """A vgg_normalised.pth and decoder.pth, converted by our command, paint what the public code paints, to 1e-4."""
    encoder, decoder = public_pair
    torch.save(encoder.state_dict(), tmp_path / "vgg_normalised.pth")
    torch.save(decoder.state_dict(), tmp_path / "decoder.pth")
    paths = [str(tmp_path / name) for name in ("vgg_normalised.pth", "decoder.pth")]
    assert weights_command(["convert", *paths, "-o", str(tmp_path / "model")]) == 0
    weights = load_model(str(tmp_path / "model"))
    network = load_network(weights.encoder, weights.decoder)
    content, style = torch.rand(1, 3, 64, 72), torch.rand(1, 3, 48, 56)
    expected = _public_stylize(encoder, decoder, content, style, alpha)
    scale = float(expected.abs().max())
    with torch.inference_mode():
        feat = network.encode(content)
        transform = adain_transform(channel_statistics(feat), network.style_statistics(style), alpha=alpha)
        result = network.decoder(transform.apply(feat))
    assert float((result - expected).abs().max()) < 1e-4 * max(scale, 1.0)


def test_written_public_weights_load_in_the_public_network(network: AdainNetwork) -> None:
    """Our weights, written in the public layout, load strictly there and compute the same."""
    encoder, decoder = _public_encoder(), _public_decoder()
    encoder.load_state_dict(encoder_to_public(network.encoder))
    decoder.load_state_dict(decoder_to_public(network.decoder))
    picture = torch.rand(1, 3, 40, 48)
    with torch.inference_mode():
        feat = network.encoder(picture)
        torch.testing.assert_close(encoder[:31](picture), feat, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(decoder(feat), network.decoder(feat), atol=1e-4, rtol=1e-4)


def test_public_layout_round_trip_is_exact(network: AdainNetwork) -> None:
    """Written and read again, the weights are the same to the bit."""
    again = load_encoder(encoder_to_public(network.encoder))
    for name, tensor in network.encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_wrong_tensors_are_refused_by_name(network: AdainNetwork) -> None:
    """Missing, reshaped, foreign and non-finite tensors each get a sentence that names the tensor."""
    good = dict(network.decoder.state_dict())
    cases = {
        "missing": {name: t for name, t in good.items() if name != "conv3_2.bias"},
        "shape": {**good, "conv3_2.bias": torch.zeros(7)},
        "not part": {**good, "conv9_9.bias": torch.zeros(7)},
        "not finite": {**good, "conv3_2.bias": torch.full((256,), float("nan"))},
    }
    for words, state in cases.items():
        with pytest.raises(LayoutError, match=words):
            load_decoder(state)
