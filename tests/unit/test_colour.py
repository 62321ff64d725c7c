"""Keeping the content's colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adain_net.boxes import Box
from adain_server.worker.colour import colour_statistics, recolouring, under_own_chroma
from adain_server.worker.layers import LUMA, Layer


def _layer(seed: int, *, mean: tuple[float, float, float], spread: float = 0.1) -> Layer:
    """Correlated noise about a colour, far from 0 and 1."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(3, 3))
    noise = generator.normal(size=(64, 48, 3)) @ mixing * spread / 3
    return Layer((np.array(mean) + noise).clip(0, 1).astype(np.float32), "RGB")


def test_recoloured_style_has_the_contents_colours() -> None:
    """Mean and covariance become the content's."""
    style, content = _layer(1, mean=(0.3, 0.5, 0.6)), _layer(2, mean=(0.6, 0.4, 0.5))
    target = colour_statistics(content)
    recoloured = recolouring(colour_statistics(style), target)(style.colours(Box(0, 64, 0, 48)))
    result = colour_statistics(Layer(recoloured[0].permute(1, 2, 0).numpy(), "RGB"))
    torch.testing.assert_close(result.mean, target.mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(result.covariance, target.covariance, atol=5e-4, rtol=0)


def test_same_colours_are_left_alone() -> None:
    """A picture recoloured to itself does not change."""
    layer = _layer(1, mean=(0.3, 0.5, 0.6))
    colours = layer.colours(Box(0, 64, 0, 48))
    own = colour_statistics(layer)
    torch.testing.assert_close(recolouring(own, own)(colours), colours, atol=1e-4, rtol=0)


def test_flat_pictures_give_numbers() -> None:
    """A style of one colour becomes the content's mean colour, not noise or NaN."""
    flat = Layer(np.full((20, 20, 3), 0.7, dtype=np.float32), "RGB")
    target = colour_statistics(_layer(2, mean=(0.6, 0.4, 0.5)))
    recoloured = recolouring(colour_statistics(flat), target)(flat.colours(Box(0, 20, 0, 20)))
    torch.testing.assert_close(recoloured[0, :, 3, 3].double(), target.mean, atol=1e-3, rtol=0)


def test_statistics_are_of_what_is_seen_and_selected() -> None:
    """Transparent pixels and those outside the mask have no say, at full size and reduced."""
    for scale in (1, 20):
        array = np.zeros((40 * scale, 40 * scale, 4), dtype=np.uint8)
        array[:, : 20 * scale] = (250, 0, 250, 0)
        array[:, 20 * scale :] = (10, 200, 30, 255)
        array[20 * scale :, 20 * scale :, :3] = (90, 90, 90)
        mask = np.zeros((40 * scale, 40 * scale, 1), dtype=np.uint8)
        mask[: 20 * scale] = 255
        found = colour_statistics(Layer(array, "RGBA"), Layer(mask, "Y"))
        assert found.mean.numpy() * 255 == pytest.approx([10, 200, 30], abs=1.5)


def test_luminance_is_painted_and_chroma_stays() -> None:
    """Luma is the painted one; colour differences are the content's where they fit, of the same hue where not."""
    generator = torch.Generator().manual_seed(0)
    painted, content = (torch.rand(1, 3, 40, 30, generator=generator) for _ in range(2))
    result = under_own_chroma(painted, content)
    assert float(result.amin()) >= -1e-6 and float(result.amax()) <= 1 + 1e-6
    luma = torch.tensor(LUMA)[:, None, None]
    wanted = (painted * luma).sum(dim=1, keepdim=True)
    torch.testing.assert_close((result * luma).sum(dim=1, keepdim=True), wanted, atol=1e-5, rtol=0)
    chroma, own = result - wanted, content - (content * luma).sum(dim=1, keepdim=True)
    share = (chroma * own).sum(dim=1, keepdim=True) / own.square().sum(dim=1, keepdim=True)
    torch.testing.assert_close(chroma, share * own, atol=1e-5, rtol=0)
    assert float(share.amax()) <= 1 + 1e-5 and float((share > 0.999).float().mean()) > 0.2
