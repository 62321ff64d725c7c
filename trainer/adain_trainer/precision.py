"""Convolutions in float32 or in half precision, losses always in float32; a trial finds which is faster."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import Tensor
from torch.func import functional_call

from adain_net.encoder import RELU4_1, Encoder, EncoderFeatures, FeatureLayer
from adain_net.refinement import RefinementDecoder
from adain_net.statistics import channel_statistics
from adain_trainer.networks import AnyDecoder, layer_of

AUTO = "auto"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = (AUTO, *DTYPES)
TRIED = ("fp32", "bf16")
"""The choices of auto: fp16 needs a scaler and is not faster on any device that has bf16."""
LEAST_TRIALS, MOST_TRIALS = 2, 5
"""Trials of each precision; the first one is always slow, and other programs may disturb some."""
CLEAR = 3.0
"""When one takes this many times as long as the other, more trials are pointless."""
TRIAL_SIDE, TRIAL_PIXELS = 128, 2 * 128**2
WORTHWHILE = 0.9
"""bf16 is taken when it needs at most this share of fp32's time: otherwise the exact numbers are worth more."""


class Convolutions:
    """The networks with their convolutions in one precision; inputs and outputs are float32.

    This is done by hand, and not by torch.autocast, because on a processor that pads and enlarges in float32 and
    converts the features there and back at each convolution: with crops of 128 a step takes a quarter longer.
    """

    def __init__(self, encoder: Encoder, precision: str) -> None:
        """Take the encoder, without gradients, and one of DTYPES."""
        self._dtype = DTYPES[precision]
        self._encoder = encoder if self._dtype == torch.float32 else copy.deepcopy(encoder).to(self._dtype)

    def features(self, picture: Tensor) -> EncoderFeatures:
        """See Encoder.features()."""
        return EncoderFeatures(*(feat.float() for feat in self._encoder.features(picture.to(self._dtype))))

    def encode(self, picture: Tensor, layer: FeatureLayer = RELU4_1) -> Tensor:
        """Features of one layer; see Encoder.forward()."""
        feat: Tensor = self._encoder(picture.to(self._dtype), layer)
        return feat.float()

    def decode(self, decoder: AnyDecoder, feat: Tensor, guide: Tensor | None = None) -> Tensor:
        """Decode features; gradients reach the decoder's own weights, which stay in float32.

        Args:
            feat: Of the decoder's layer.
            guide: Further input of a refinement's decoder, (N, 6, h, w); other decoders ignore it.
        """
        weights = {name: weight.to(self._dtype) for name, weight in decoder.named_parameters()}
        inputs = [feat.to(self._dtype)]
        if isinstance(decoder, RefinementDecoder):
            assert guide is not None
            inputs.append(guide.to(self._dtype))
        picture: Tensor = functional_call(decoder, weights, tuple(inputs))
        return picture.float()


def try_precisions(encoder: Encoder, decoder: AnyDecoder, *, side: int, crops: int) -> tuple[str, str]:
    """The precision that auto chooses here, and a sentence with the measured times. Arguments: see trial_seconds()."""
    seconds = trial_seconds(encoder, decoder, side=side, crops=crops)
    chosen, measured = faster_precision(seconds), ", ".join(f"{each} {one:.2f} s" for each, one in seconds.items())
    return chosen, f"The precision is {chosen}, by a trial of steps with a few crops: {measured}."


def faster_precision(seconds: dict[str, float]) -> str:
    """The precision that auto chooses by the result of trial_seconds()."""
    return "bf16" if seconds["bf16"] <= WORTHWHILE * seconds["fp32"] else "fp32"


def trial_seconds(encoder: Encoder, decoder: AnyDecoder, *, side: int, crops: int) -> dict[str, float]:
    """Try each of TRIED in turn on these networks, for one or a few seconds.

    Args:
        side, crops: Pixels of a step's crops, and how many there are; fewer and smaller ones are tried.
    Returns:
        Seconds of the shortest step of each, on a processor those of all its cores together, so that other
        programs matter less; infinite where the device lacks the precision. The decoder is not changed.
    """
    side = min(side, TRIAL_SIDE)
    shape = min(crops, max(1, TRIAL_PIXELS // side**2)), 3, side, side
    pictures = torch.rand(shape).to(next(decoder.parameters()).device)
    seconds = dict.fromkeys(TRIED, math.inf)
    for trial in range(MOST_TRIALS):
        for precision in TRIED:
            seconds[precision] = min(seconds[precision], _step_seconds(encoder, decoder, pictures, precision))
        if trial + 1 >= LEAST_TRIALS and max(seconds.values()) > CLEAR * min(seconds.values()):
            break
    decoder.zero_grad(set_to_none=True)
    return seconds


def _step_seconds(encoder: Encoder, decoder: AnyDecoder, pictures: Tensor, precision: str) -> float:
    clock = time.process_time if pictures.device.type == "cpu" else time.perf_counter
    convolutions = Convolutions(encoder, precision)
    start = clock()
    try:
        feat = convolutions.encode(pictures, layer_of(decoder))
        feats = convolutions.features(convolutions.decode(decoder, feat, torch.cat([pictures, pictures], dim=1)))
        torch.stack([channel_statistics(feat).std.sum() for feat in feats]).sum().backward()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return math.inf  # a device without bf16
    gradient = next(decoder.parameters()).grad
    assert gradient is not None
    float(gradient.sum())  # waits for a graphics card
    return clock() - start
