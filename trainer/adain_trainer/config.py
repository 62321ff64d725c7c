"""Everything that decides a training run, in one frozen record that is saved beside each checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from adain_trainer.errors import TrainerError


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """A training run; the defaults are the recipe for two CPU cores.

    Attributes:
        steps: Steps in all; a resumed run goes on to this number.
        reconstruction_steps: The first steps, in which the decoder only learns to invert the encoder (cheap: no loss
            network runs).
        warmup_steps, cooldown_steps: The rate rises over the first and falls to zero over the last, linearly.
        learning_rate: Adam's rate between warm-up and cool-down.
        batch: Pictures a step.
        crop: Side of the content crops, pixels, a multiple of 8.
        style_crop: Side of the style crops, pixels.
        work_side: Pictures are thought of with their shorter side at this many pixels; crops are taken at about that
            scale.
        content_loss_weight, style_loss_weight: Factors of the paper's two losses.
        balanced: Divide each pair's style loss by its target's own magnitude.
        identity_share: Share of a batch that gets the content's own statistics and a pixel loss, so that alpha 0 gives
            the content back.
        pixel_loss_weight: Factor of the pixel loss, in the reconstruction steps and the identity share.
        variation_loss_weight: Factor of the total variation, which the paper does not have.
        grid_loss_weight: Factor of grid_loss(), which the paper does not have either: it keeps texture off the lattice.
        mixture_share: Share of a batch whose style is a random mixture of two.
        bank: Content crops, and as many styles, that are encoded at a time.
        bank_passes: How often a bank is gone through before the next one is encoded.
        checkpoint_every, sheet_every: Steps between checkpoints and sample sheets.
        seed: Decides crops, order and mixtures.
    """

    steps: int = 8000
    reconstruction_steps: int = 600
    warmup_steps: int = 100
    cooldown_steps: int = 1500
    learning_rate: float = 1e-3
    batch: int = 8
    crop: int = 64
    style_crop: int = 160
    work_side: int = 512
    content_loss_weight: float = 1.0
    style_loss_weight: float = 10.0
    balanced: bool = True
    identity_share: float = 0.125
    pixel_loss_weight: float = 100.0
    variation_loss_weight: float = 0.0
    grid_loss_weight: float = 10.0
    mixture_share: float = 0.25
    bank: int = 1024
    bank_passes: int = 4
    checkpoint_every: int = 250
    sheet_every: int = 500
    seed: int = 0

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

    def changed(self, **values: Any) -> FitConfig:
        """A copy with some values replaced."""
        return replace(self, **values)
