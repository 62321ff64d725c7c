"""Pictures that were painted smaller, brought back to full size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adain_net.boxes import Box
from adain_server.worker.detail import Enlarged
from adain_server.worker.layers import Array, Layer


def _content(height: int = 160, width: int = 120) -> Array:
    """A hard vertical edge at column 61, and faint noise on the left."""
    picture = np.full((height, width, 3), 0.8, dtype=np.float32)
    picture[:, :61] = 0.2 + np.random.default_rng(0).normal(size=(height, 61, 1)).astype(np.float32) * 0.02
    return picture


def _enlarged(detail: float, *, scale: float = 4, gain: float = 1.0) -> tuple[Enlarged, Layer]:
    content = Layer(_content(), "RGB")
    working = content.shrunk(round(160 / scale), round(120 / scale))
    painted = np.rint((0.5 + gain * (working.array - 0.5)).clip(0, 1) * 65535).astype(np.uint16)
    return Enlarged(Layer(painted, "RGB"), working, content, detail), content


@pytest.mark.parametrize("scale", [1.5, 4, 7])
@pytest.mark.parametrize("detail", [0.0, 1.0])
def test_parts_agree_with_the_whole(scale: float, detail: float) -> None:
    """However it is cut, every part has the whole picture's pixels: no seam."""
    enlarged, _ = _enlarged(detail, scale=scale)
    whole = enlarged.colours(Box(0, 160, 0, 120))
    assert whole.shape == (1, 3, 160, 120)
    for box in (Box(0, 64, 0, 56), Box(64, 160, 56, 120), Box(13, 14, 0, 120), Box(40, 100, 7, 9)):
        torch.testing.assert_close(enlarged.colours(box), box.of(whole), atol=1e-4, rtol=0)


def test_detail_brings_the_edge_back() -> None:
    """Enlarged smoothly the edge is wide; with detail it is as sharp as the content's; in between it is between."""
    width = {}
    for detail in (0.0, 0.5, 1.0):
        enlarged, _ = _enlarged(detail)
        row = enlarged.colours(Box(0, 160, 0, 120))[0, 0, 80]
        width[detail] = int(((row > 0.3) & (row < 0.7)).sum())
    assert width[1.0] <= 1 < width[0.0] and width[1.0] <= width[0.5] <= width[0.0]


def test_detail_follows_the_paint() -> None:
    """Where the paint has turned light into dark, so does the detail."""
    turned, _ = _enlarged(1.0, gain=-1.0)
    row = turned.colours(Box(0, 160, 0, 120))[0, 0, 80]
    assert float(row[50:58].mean()) > 0.7 > 0.3 > float(row[65:75].mean())
    assert int(((row > 0.3) & (row < 0.7)).sum()) <= 2


def test_an_edge_comes_back_in_flat_paint_as_well() -> None:
    """Where the paint did not follow the content, its edge is drawn; away from edges nothing is."""
    flat, _ = _enlarged(1.0, gain=0.0)
    row = flat.colours(Box(0, 160, 0, 120))[0, 0, 80]
    assert float(row[61]) > 0.58 and float(row[59]) < 0.42
    assert float((row[80:] - 0.5).abs().max()) < 0.01


def test_faint_texture_stays_paint() -> None:
    """Noise of 0.02 comes back at a fifth at most."""
    enlarged, content = _enlarged(1.0)
    result = enlarged.colours(Box(0, 160, 0, 120))[0, 0, :, :50]
    assert float(result.std()) < 0.3 * float(content.array[:, :50, 0].std())
