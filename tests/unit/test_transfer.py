"""sRGB's curve, against known values and against itself."""

from __future__ import annotations

import pytest
import torch

from adain_server.worker.transfer import linear_light, srgb_coded

KNOWN = [(0.0, 0.0), (0.001, 0.01292), (0.0031308, 0.0404499), (0.18, 0.461356), (0.5, 0.735357), (1.0, 1.0)]
"""Linear light, and what IEC 61966-2-1 makes of it."""


@pytest.mark.parametrize(("linear", "coded"), KNOWN)
def test_known_values(linear: float, coded: float) -> None:
    """There and back, and mirrored below 0."""
    for sign in (1, -1):
        assert float(srgb_coded(torch.tensor(sign * linear))) == pytest.approx(sign * coded, abs=1e-6)
        assert float(linear_light(torch.tensor(sign * coded))) == pytest.approx(sign * linear, abs=1e-6)


def test_black_and_white_are_exact() -> None:
    """In float32, both ways."""
    ends = torch.tensor([-1.0, 0.0, 1.0])
    assert torch.equal(srgb_coded(ends), ends) and torch.equal(linear_light(ends), ends)


def test_there_and_back() -> None:
    """To a relative 1e-6, from far below the darkest 16 bit to far above white, and about the line's end."""
    linear = torch.cat([torch.logspace(-9, 4, 100_000), torch.linspace(0.0031307, 0.0031309, 1000)])
    linear = torch.cat([linear, -linear])
    torch.testing.assert_close(linear_light(srgb_coded(linear)), linear, rtol=1e-6, atol=0)


def test_what_goes_in_stays() -> None:
    """The numbers that are changed are copies."""
    values = torch.linspace(-1, 2, 7)
    before = values.clone()
    srgb_coded(values), linear_light(values)
    assert torch.equal(values, before)
