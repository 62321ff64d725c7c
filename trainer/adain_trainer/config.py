"""Everything that determines a training run, in one frozen record that is saved with the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from adain_trainer.errors import TrainerError
from adain_trainer.losses import CONTENT_LOSSES, STYLE_LOSSES
from adain_trainer.precision import AUTO, PRECISIONS

DECODER, REFINEMENT = "decoder", "refinement"
FALLS = ("linear", "cosine")


def _option(default: Any, meaning: str, choices: tuple[str, ...] = (), *, form: str = "N") -> Any:
    """A field of FitConfig; adain-trainer fit --help shows its meaning, with its choices or its form."""
    return field(default=default, metadata={"meaning": meaning, "choices": choices, "form": "|".join(choices) or form})


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """A training run; the defaults are the preset "full", made for two CPU cores. Each field states its meaning."""

    trains: str = _option(
        DECODER,
        "a model's decoder; or the decoder of the second pass, which refines what a model has painted",
        (DECODER, REFINEMENT),
    )
    steps: int = _option(8000, "steps in all; a resumed run goes on to this number")
    reconstruction_steps: int = _option(300, "first steps, in which the decoder only learns to invert the encoder")
    warmup_steps: int = _option(100, "steps over which the rate rises, linearly")
    cooldown_steps: int = _option(1500, "last steps, over which the rate falls to zero; all steps when there are fewer")
    cooldown: str = _option("linear", "how it falls: evenly, or as half a wave of the cosine", FALLS)
    learning_rate: float = _option(4e-4, "Adam's rate between warm-up and cool-down")
    adam_beta2: float = _option(0.999, "decay of Adam's mean of squared gradients; less forgets old gradients sooner")
    gradient_limit: float = _option(0.0, "longer gradients are shortened to this norm; 0 for no limit")
    batch: int = _option(8, "pictures at a time, of all processes together")
    accumulate: int = _option(1, "batches whose gradients make one step: as one batch so many times as large")
    crop: int = _option(64, "side of the content crops, pixels, a multiple of 8")
    style_crop: int = _option(160, "side of the style crops, pixels, a multiple of 8")
    reference_side: int = _option(
        512, "crops are taken at about the scale where a picture's shorter side has these pixels"
    )
    content_target: str = _option(
        "adain",
        "what the content loss compares with: the AdaIN output, or the content's features",
        ("adain", "content"),
    )
    content_loss: str = _option(
        "paper", "the paper's, or each pair's logarithm, so that all count alike", CONTENT_LOSSES
    )
    content_loss_weight: float = _option(1.0, "factor of the content loss")
    style_loss: str = _option(
        "balanced",
        "the paper's; or each pair's and layer's divided by its target's own magnitude, or its logarithm, so that all "
        "count alike",
        STYLE_LOSSES,
    )
    style_layers: str = _option("1,1,1,1", "factors of relu1_1 to relu4_1 in the style loss", form="W,W,W,W")
    style_loss_weight: float = _option(10.0, "factor of the style loss")
    identity_share: float = _option(0.125, "share of the pictures that keep their own statistics (alpha 0)")
    identity_loss: str = _option(
        "pixel", "for these: contents' pixels, or pixels and features of contents and styles", ("pixel", "sanet")
    )
    pixel_loss_weight: float = _option(100.0, "factor of the pixel loss, in the first steps and the identity share")
    identity_feature_loss_weight: float = _option(1.0, "factor of the features' part of the identity loss sanet")
    variation_loss_weight: float = _option(0.0, "factor of the total variation, which the paper does not have")
    grid_loss_weight: float = _option(10.0, "factor of the grid loss against texture on the lattice; not in the paper")
    range_loss_weight: float = _option(0.0, "factor of the squared excess of colours beyond 0..1; not in the paper")
    mixture_share: float = _option(0.25, "share of the pictures whose style is a random mixture of two")
    generic_share: float = _option(
        0.0, "share of the styles that come from the built-in ones, to keep a decoder general"
    )
    generic_content_share: float = _option(0.0, "share of the contents that come from the built-in styles' pictures")
    style_augment_share: float = _option(0.7, "share of the style crops whose colours are changed")
    content_augment_share: float = _option(0.0, "share of the content crops whose colours are changed")
    bank: int = _option(1024, "content crops, and as many styles, that are encoded at a time")
    bank_passes: int = _option(10, "how often a bank is gone through before the next one is encoded")
    ema: float = _option(0.999, "decay of the running mean of the weights, which is what is exported; 0 for none")
    precision: str = _option(
        AUTO,
        "of the convolutions, losses are always in float32; auto tries fp32 and bf16 for a second and takes the faster",
        PRECISIONS,
    )
    checkpoint_every: int = _option(250, "steps between checkpoints")
    sheet_every: int = _option(500, "steps between sample sheets")
    eval_every: int = _option(1000, "steps between measurements on held-out pairs")
    eval_pairs: int = _option(8, "held-out pairs in your styles, and as many in built-in ones, at most")
    eval_side: int = _option(256, "pixels of a held-out picture's side")
    seed: int = _option(0, "decides crops, order and mixtures")

    def __post_init__(self) -> None:
        """Check the values. Raises TrainerError for a value that no run can have."""
        self._check_numbers()
        if self.crop < 16 or self.crop % 8 or self.style_crop < 16 or self.style_crop % 8:
            raise TrainerError("Crops are multiples of 8 pixels, 16 at least.")
        if min(self.batch, self.accumulate) < 1 or self.pairs > self.bank:
            raise TrainerError(f"A step has at least 1 picture and at most as many as the bank ({self.bank}).")
        counts = (self.steps, self.bank_passes, self.checkpoint_every, self.sheet_every, self.eval_every)
        if min(*counts, self.eval_pairs) < 1 or self.learning_rate <= 0:
            raise TrainerError("Steps, passes, intervals and the learning rate are above 0.")
        generic = (self.generic_share, self.generic_content_share)
        shares = (self.mixture_share, *generic, self.style_augment_share, self.content_augment_share)
        if not 0 <= self.identity_share <= 0.5 or not all(0 <= share <= 1 for share in shares):
            raise TrainerError("The identity share is in 0..0.5 and the other shares in 0..1.")
        if not 0 <= self.ema < 1 or not 0 <= self.adam_beta2 < 1:
            raise TrainerError("The decays, of the running mean and of Adam, are in 0..1, below 1.")
        if self.eval_side < 16:
            raise TrainerError("Held-out pictures have at least 16 pixels a side.")
        if self.identity_loss == "sanet" and self.style_crop < self.crop:
            raise TrainerError("With the identity loss sanet, style crops are at least as large as content crops.")
        if self.refines and (self.reconstruction_steps or self.identity_share or self.mixture_share):
            raise TrainerError("A refinement has no reconstruction steps, identity pairs or mixtures; set them to 0.")
        self._check_texts()

    def _check_numbers(self) -> None:
        """Check all numbers; NaN would pass a check that looks for values beyond a limit."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and each.name != "seed" and not 0 <= value < math.inf:
                raise TrainerError(f"The {each.name.replace('_', ' ')} is a number, at least 0, not {value}.")

    def _check_texts(self) -> None:
        for each in fields(self):
            if each.metadata["choices"] and getattr(self, each.name) not in each.metadata["choices"]:
                raise TrainerError(f"{each.name.replace('_', ' ')} is {' or '.join(each.metadata['choices'])}.")
        weights = self.style_layer_weights
        if len(weights) != 4 or not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise TrainerError("Style layers are four factors, at least 0 and not all 0, like 1,1,1,1.5.")

    @property
    def refines(self) -> bool:
        """Whether a refinement is trained."""
        return self.trains == REFINEMENT

    @property
    def pairs(self) -> int:
        """Pairs of content and style in one step, of all processes and batches together."""
        return self.batch * self.accumulate

    @property
    def style_layer_weights(self) -> tuple[float, ...]:
        """style_layers as numbers; empty when the text holds anything else."""
        try:
            return tuple(float(factor) for factor in self.style_layers.split(","))
        except ValueError:
            return ()

    def learning_rate_at(self, step: int) -> float:
        """The rate of a step, counted from 0: a rise, a plateau and a fall, so that a run can be prolonged later."""
        rise = (step + 1) / max(self.warmup_steps, 1)
        fall = max(0.0, min(1.0, (self.steps - step) / max(min(self.cooldown_steps, self.steps), 1)))
        if self.cooldown == "cosine":
            fall = (1 - math.cos(math.pi * fall)) / 2
        return self.learning_rate * min(1.0, rise, fall)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FitConfig:
        """The reverse of as_dict(), of this version or another: unknown values are ignored. Raises TrainerError."""
        known = {each.name for each in fields(cls)}
        named = {_FORMER_NAMES.get(name, name): value for name, value in values.items()}
        return cls(**{name: value for name, value in named.items() if name in known})


_FORMER_NAMES = {
    "watch_every": "eval_every",
    "watch_pairs": "eval_pairs",
    "watch_side": "eval_side",
    "work_side": "reference_side",
}
"""Options by the names that they have in the records of earlier versions' runs."""


_TOWARDS_RATIOS = FitConfig(
    reconstruction_steps=0,
    cooldown="cosine",
    adam_beta2=0.99,
    gradient_limit=3.0,
    style_crop=256,
    content_target="content",
    content_loss="log",
    style_loss="log",
    style_layers="1,1,1,1.5",
    style_loss_weight=1.0,
    grid_loss_weight=0.3,
    range_loss_weight=10.0,
    identity_share=0.0,
)
"""Shared by the recipes that continue from a trained decoder: what is measured as ratios is trained by logarithms."""

PRESETS = {
    "full": FitConfig(),
    # Few steps and a low rate, among generic styles and identity pairs, so that the decoder keeps its abilities.
    "finetune": FitConfig(
        steps=600,
        reconstruction_steps=0,
        warmup_steps=50,
        cooldown_steps=300,
        learning_rate=1e-4,
        batch=4,
        crop=128,  # with 64 a good decoder starts to paint stripes
        identity_share=0.25,
        generic_share=0.5,
        generic_content_share=0.25,
        style_augment_share=0.3,
        content_augment_share=0.3,
        bank=128,
        bank_passes=8,
        ema=0.99,
        checkpoint_every=100,
        eval_every=100,
        sheet_every=200,
    ),
    # Starts from the embedded refinement and improves it in an hour on two cores.
    "refinement": replace(
        _TOWARDS_RATIOS,
        trains=REFINEMENT,
        steps=1600,
        warmup_steps=50,
        cooldown_steps=1600,
        learning_rate=6e-4,
        batch=4,
        crop=192,
        reference_side=400,  # a crop shows a good part of its picture, as its statistics are those of a picture later
        content_loss_weight=3.0,
        mixture_share=0.0,
        style_augment_share=0.0,
        bank=128,
        bank_passes=3,  # the first pass's pictures are used three times
        ema=0.98,
        checkpoint_every=100,
        sheet_every=400,
        eval_every=200,
    ),
    # Starts from a released decoder, on a card; benchmarks/gpu.py finds the batch and the steps that fit a given time.
    "gpu": replace(
        _TOWARDS_RATIOS,
        steps=8000,
        warmup_steps=100,
        cooldown_steps=8000,
        batch=32,
        crop=256,
        content_loss_weight=2.0,
        precision="bf16",
        ema=0.995,
        sheet_every=1000,
    ),
}
"""Recipes by name; a value on the command line overrides the preset's."""
