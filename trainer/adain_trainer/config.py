"""Everything that decides a training run, in one frozen record that is saved beside each checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from adain_trainer.errors import TrainerError


def _option(default: Any, meaning: str) -> Any:
    """A field of FitConfig; what it means is shown by adain-trainer fit --help."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """A training run; the defaults are the recipe for two CPU cores. Each field says what it means."""

    steps: int = _option(8000, "steps in all; a resumed run goes on to this number")
    reconstruction_steps: int = _option(300, "first steps, in which the decoder only learns to invert the encoder")
    warmup_steps: int = _option(100, "steps over which the rate rises, linearly")
    cooldown_steps: int = _option(1500, "last steps, over which the rate falls to zero, linearly")
    learning_rate: float = _option(4e-4, "Adam's rate between warm-up and cool-down")
    batch: int = _option(8, "pictures a step")
    crop: int = _option(64, "side of the content crops, pixels, a multiple of 8")
    style_crop: int = _option(160, "side of the style crops, pixels, a multiple of 8")
    work_side: int = _option(512, "crops are taken at about the scale where a picture's shorter side has these pixels")
    content_loss_weight: float = _option(1.0, "factor of the paper's content loss")
    style_loss_weight: float = _option(10.0, "factor of the paper's style loss")
    balanced: bool = _option(True, "divide each pair's style loss by its target's own magnitude")
    identity_share: float = _option(
        0.125, "share of a batch that keeps its own statistics, with a pixel loss (alpha 0)"
    )
    pixel_loss_weight: float = _option(100.0, "factor of the pixel loss, in the first steps and the identity share")
    variation_loss_weight: float = _option(0.0, "factor of the total variation, which the paper does not have")
    grid_loss_weight: float = _option(10.0, "factor of the grid loss against texture on the lattice; not in the paper")
    mixture_share: float = _option(0.25, "share of a batch whose style is a random mixture of two")
    bank: int = _option(1024, "content crops, and as many styles, that are encoded at a time")
    bank_passes: int = _option(10, "how often a bank is gone through before the next one is encoded")
    checkpoint_every: int = _option(250, "steps between checkpoints")
    sheet_every: int = _option(500, "steps between sample sheets")
    seed: int = _option(0, "decides crops, order and mixtures")

    def __post_init__(self) -> None:
        """Raises TrainerError: a value that no run can have."""
        if self.crop < 16 or self.crop % 8 or self.style_crop < 16 or self.style_crop % 8:
            raise TrainerError("Crops are multiples of 8 pixels, 16 at least.")
        if not 1 <= self.batch <= self.bank:
            raise TrainerError(f"A batch has at least 1 picture and at most as many as the bank ({self.bank}).")
        if min(self.steps, self.bank_passes, self.checkpoint_every, self.sheet_every) < 1 or self.learning_rate <= 0:
            raise TrainerError("Steps, passes, intervals and the learning rate are above 0.")
        if not 0 <= self.identity_share <= 0.5 or not 0 <= self.mixture_share <= 1:
            raise TrainerError("The identity share is in 0..0.5 and the mixture share in 0..1.")

    def learning_rate_at(self, step: int) -> float:
        """The rate of a step, counted from 0: a trapezium, so that a run can be prolonged and cooled down later."""
        rise = (step + 1) / max(self.warmup_steps, 1)
        fall = (self.steps - step) / max(self.cooldown_steps, 1)
        return self.learning_rate * max(0.0, min(1.0, rise, fall))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
