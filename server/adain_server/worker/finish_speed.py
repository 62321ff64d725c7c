"""Finds by trial in which precision a device finishes pictures fastest, and how long a finish takes there."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

import torch

from adain_net import finish
from adain_net.encoder import Encoder
from adain_net.finish import GradientEngine

log = logging.getLogger(__name__)

PRECISIONS = (torch.float32, torch.bfloat16)
"""bfloat16 has float32's range. A processor without support for it computes it as well, ten times as slowly."""
SIDE = 128
"""Side of the trial picture in pixels: a trial takes about 0.1 s on two cores."""
TRIALS = 2
"""Steps of a trial; the first one also prepares what the second one reuses."""


@dataclass(frozen=True)
class FinishSpeed:
    """The result of a trial.

    Attributes:
        engine: Computes in the fastest precision.
        s_per_megapixel: Duration of a whole finish of a million pixels in one tile, in seconds.
    """

    engine: GradientEngine
    s_per_megapixel: float


def fastest_finish(encoder: Encoder, device: torch.device) -> FinishSpeed:
    """Try each precision on a device.

    Raises:
        RuntimeError: The device can compute in none of them.
    """
    engines = [GradientEngine(encoder, device, precision) for precision in PRECISIONS]
    seconds = [_step_seconds(engine) for engine in engines]
    best = min(range(len(engines)), key=seconds.__getitem__)
    if seconds[best] == math.inf:
        raise RuntimeError(f"the device {device} can compute no gradients")
    log.info("the finish computes in %s on %s", engines[best].precision, device)
    return FinishSpeed(engines[best], seconds[best] * finish.STEPS * 1e6 / SIDE**2)


def _step_seconds(engine: GradientEngine) -> float:
    """The shortest time of a step; infinite where the device cannot compute in this precision."""
    picture = torch.rand(1, 3, SIDE, SIDE, device=engine.device).requires_grad_()
    shortest = math.inf
    for _ in range(TRIALS):
        start = time.perf_counter()
        try:
            with torch.enable_grad():
                total = torch.stack([feat.mean() for feat in engine.features(picture)]).sum()
            (gradient,) = torch.autograd.grad(total, picture)
            float(gradient.sum())  # waits for a graphics card
        except RuntimeError:
            return math.inf
        shortest = min(shortest, time.perf_counter() - start)
    return shortest
