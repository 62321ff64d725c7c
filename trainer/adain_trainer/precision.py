"""Convolutions in float32 or in half precision, losses always in float32; what is faster is found by trying it."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import Tensor
from torch.func import functional_call

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder, EncoderFeatures
from adain_net.statistics import channel_statistics

AUTO = "auto"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = (AUTO, *DTYPES)
TRIED = ("fp32", "bf16")
"""What auto chooses from: fp16 needs a scaler and is faster on no device that has bf16."""
TRIAL_S = 1.0
LEAST_TRIALS = 3
"""Of each precision, however long they take: the first one is slow everywhere."""
TRIAL_SIDE = 128
WORTHWHILE = 0.9
"""bf16 is taken when it needs at most this share of fp32's time: otherwise the exact numbers are worth more."""


class Convolutions:
    """The networks with their convolutions in one precision; what goes in and comes out is float32.

    This is done by hand, and not by torch.autocast, because on a processor that pads and enlarges in float32 and
    converts the features there and back at each convolution: a step takes a quarter longer.
    """

    def __init__(self, encoder: Encoder, precision: str) -> None:
        """Take the encoder, whose weights want no gradient, and one of DTYPES."""
        self._dtype = DTYPES[precision]
        self._encoder = encoder if self._dtype == torch.float32 else copy.deepcopy(encoder).to(self._dtype)

    def features(self, picture: Tensor) -> EncoderFeatures:
        """As Encoder.features()."""
        return EncoderFeatures(*(feat.float() for feat in self._encoder.features(picture.to(self._dtype))))

    def encode(self, picture: Tensor) -> Tensor:
        """relu4_1, as Encoder's."""
        feat: Tensor = self._encoder(picture.to(self._dtype))
        return feat.float()

    def decode(self, decoder: Decoder, feat: Tensor) -> Tensor:
        """As the decoder would; gradients reach its own weights, which stay in float32."""
        weights = {name: weight.to(self._dtype) for name, weight in decoder.named_parameters()}
        picture: Tensor = functional_call(decoder, weights, (feat.to(self._dtype),))
        return picture.float()


def faster_precision(seconds: dict[str, float]) -> str:
    """What auto takes, by what trial_seconds() has measured."""
    return "bf16" if seconds["bf16"] <= WORTHWHILE * seconds["fp32"] else "fp32"


def trial_seconds(encoder: Encoder, decoder: Decoder, *, side: int) -> dict[str, float]:
    """Try each of TRIED on the networks as they are, in turn, for about a second in all.

    Args:
        side: Pixels of the crop that a step is made with; TRIAL_SIDE at most.
    Returns:
        Seconds of the shortest step of each, infinite where the device cannot compute so; the decoder is as before.
    """
    picture = torch.rand(1, 3, min(side, TRIAL_SIDE), min(side, TRIAL_SIDE)).to(next(decoder.parameters()).device)
    seconds = dict.fromkeys(TRIED, math.inf)
    start, trials = time.perf_counter(), 0
    while trials < LEAST_TRIALS or time.perf_counter() - start < TRIAL_S:
        trials += 1
        for precision in TRIED:
            seconds[precision] = min(seconds[precision], _step_seconds(encoder, decoder, picture, precision))
    decoder.zero_grad(set_to_none=True)
    return seconds


def _step_seconds(encoder: Encoder, decoder: Decoder, picture: Tensor, precision: str) -> float:
    convolutions = Convolutions(encoder, precision)
    start = time.perf_counter()
    try:
        feats = convolutions.features(convolutions.decode(decoder, convolutions.encode(picture)))
        torch.stack([channel_statistics(feat).std.sum() for feat in feats]).sum().backward()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return math.inf  # a device without bf16
    gradient = next(decoder.parameters()).grad
    assert gradient is not None
    float(gradient.sum())  # waits for a graphics card
    return time.perf_counter() - start
