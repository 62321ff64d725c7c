"""Channel statistics of a picture that is processed tile by tile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from adain_net.statistics import EPS, StyleStatistics


@dataclass(frozen=True)
class TileSums:
    """A tile's part of the sums, float64, relative to a guess of the mean."""

    guess: Tensor
    count: Tensor
    first: Tensor
    second: Tensor


class WeightedSums:
    """A region's statistics, summed tile by tile in float64 relative to a first guess of the mean.

    Without the guess a large picture would lose digits in the difference of two large sums.
    """

    def __init__(self) -> None:
        self._total: TileSums | None = None

    def of_tile(self, feat: Tensor, share: Tensor | None) -> TileSums:
        """A tile's sums: features, (1, C, h, w), each cell counted by its share, (1, 1, h, w); None for 1."""
        # In half precision squares would overflow. Otherwise deviations from the mean need no more than the features'
        # own precision, only their sums do.
        cells = feat[0].flatten(1).to(torch.promote_types(feat.dtype, torch.float32))
        total = self._total
        guess = cells.mean(dim=1, keepdim=True) if total is None else total.guess.to(cells)
        moved = cells - guess
        if share is None:
            count = torch.tensor(float(cells.shape[1]), dtype=torch.float64)
            weighted = moved
        else:
            weights = share[0].flatten(1).to(cells)
            count = weights.sum(dtype=torch.float64)
            weighted = moved * weights
        first = weighted.sum(dim=1, dtype=torch.float64)
        second = moved.mul_(weighted).sum(dim=1, dtype=torch.float64)
        return TileSums(*(each.double().cpu() for each in (guess, count, first, second)))

    def add(self, part: TileSums) -> None:
        """Add a result of of_tile()."""
        total = self._total
        if total is None:
            self._total = part
        else:
            self._total = TileSums(
                total.guess, total.count + part.count, total.first + part.first, total.second + part.second
            )

    @property
    def count(self) -> float:
        """Number of cells, each counted by its share."""
        assert self._total is not None
        return float(self._total.count)

    @property
    def variance_count(self) -> float:
        """The divisor of the sum of squares: see channel_statistics()."""
        return max(self.count - 1, self.count / 2)

    def statistics(self, dtype: torch.dtype) -> StyleStatistics:
        """The statistics of all that was added, (1, C), on the CPU, as of channel_statistics()."""
        total = self._total
        assert total is not None
        offset = total.first / total.count
        squares = (total.second - total.count * offset.square()).clamp_min(0)
        variance = squares / self.variance_count
        mean = total.guess[:, 0] + offset
        return StyleStatistics(mean[None].to(dtype), (variance + EPS).sqrt()[None].to(dtype))


def add_tile(tile: Iterable[tuple[WeightedSums, Tensor, Tensor | None]]) -> None:
    """Add a tile to several sums: to all, or to none when memory runs out halfway, so that it can be repeated.

    Args:
        tile: Sums, and the features and shares that belong to them, as for of_tile().
    """
    parts = [(sums, sums.of_tile(feat, share)) for sums, feat, share in tile]
    for sums, part in parts:
        sums.add(part)
