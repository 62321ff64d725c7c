"""Colours under transparent pixels are filled from what is seen."""

from __future__ import annotations

import numpy as np
import torch

from adain_net.boxes import Box
from adain_server.worker.layers import Array, Layer
from adain_server.worker.transparency import VisibleColours, fill_empty


def _layer() -> Array:
    layer = np.zeros((75, 61, 4), dtype=np.uint8)
    layer[:, :, :3] = 99  # hidden
    layer[20:40, 10:50] = (200, 100, 0, 255)
    return layer


def test_opaque_pixels_stay_and_hidden_ones_are_filled() -> None:
    """One visible colour: it is seen where it is, and continued everywhere else."""
    filled = VisibleColours(Layer(_layer(), "RGBA"))(Box(0, 75, 0, 61))
    expected = torch.tensor([200, 100, 0]) / 255
    torch.testing.assert_close(filled, expected[None, :, None, None].expand(1, 3, 75, 61), atol=1e-5, rtol=0)


def test_tiles_agree_with_the_whole() -> None:
    """Two colours and soft alpha: every tile has exactly the whole picture's pixels."""
    layer = _layer()
    layer[50:70, 30:61] = (0, 50, 255, 40)
    colours = VisibleColours(Layer(layer, "RGBA"))
    whole = colours(Box(0, 75, 0, 61))
    for tile in (Box(0, 32, 0, 24), Box(32, 75, 24, 61), Box(16, 40, 8, 61)):
        torch.testing.assert_close(colours(tile), tile.of(whole))


def test_fill_is_smooth_between_two_colours() -> None:
    """Between black on the left and white on the right the filled cells rise."""
    weights = torch.zeros(1, 1, 1, 16)
    weights[..., 0] = weights[..., -1] = 1
    filled = fill_empty(torch.where(torch.arange(16) == 15, 1.0, 0.0).expand(1, 1, 1, 16) * weights, weights)[0, 0, 0]
    assert bool((filled.diff() >= -1e-6).all()) and filled[0] == 0 and filled[-1] == 1
    assert float(filled.diff().max()) < 0.5
