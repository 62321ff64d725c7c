"""Training steps, and the state of a run between two steps."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from adain_net.encoder import Encoder
from adain_trainer.checkpoint import Checkpoint
from adain_trainer.config import FitConfig
from adain_trainer.distributed import ProcessGroup
from adain_trainer.errors import TrainerError
from adain_trainer.feature_bank import Batch
from adain_trainer.networks import AnyDecoder
from adain_trainer.objective import Losses, Objective

ADAM_BETA1 = 0.9
FIRST_SCALE = 256.0
"""Initial factor of losses in half precision; the scaler doubles it while the gradients stay finite, else halves it."""


class Trainer:
    """A decoder in training.

    Attributes:
        decoder: The decoder that is trained.
        averaged: The running mean of its weights, which is measured, shown and exported.
        step: Number of steps done.
    """

    def __init__(self, encoder: Encoder, decoder: AnyDecoder, config: FitConfig, group: ProcessGroup) -> None:
        """Take the networks, on the group's device; the encoder is not trained."""
        encoder.requires_grad_(False)
        self.decoder = decoder
        self.averaged = copy.deepcopy(decoder).requires_grad_(False)
        self.step = 0
        self._config = config
        self._group = group
        self._objective = Objective(encoder, decoder, config)
        self._optimizer = torch.optim.Adam(decoder.parameters(), lr=config.learning_rate)
        # Small gradients underflow in half precision, so they are computed from the loss times a large factor.
        self._scaler = torch.amp.GradScaler(group.device.type, FIRST_SCALE, enabled=config.precision == "fp16")

    def train(self, parts: Iterable[Batch]) -> Losses:
        """Do one step with this process's parts; every process does so at the same time.

        Returns:
            The means over all the step's pairs, on the CPU.
        Raises:
            TrainerError: The loss is not finite; the weights are unchanged.
        """
        self._optimizer.zero_grad(set_to_none=True)
        sums = None
        for batch in parts:
            losses = self._objective.part_losses(batch, self.step)
            self._scaler.scale(losses.total(self._config)).backward()  # type: ignore[no-untyped-call]
            sums = losses.detached() if sums is None else sums + losses.detached()
        assert sums is not None, "every process has at least one pair"
        means = Losses(*self._group.add_up(sums).cpu())
        if not bool(torch.isfinite(means.total(self._config))):
            raise TrainerError(
                f"The loss of step {self.step} is not finite; go on from the last checkpoint with a smaller rate."
            )
        self._add_up_gradients()
        self._shorten_gradients()
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate_at(self.step)
            group["betas"] = (ADAM_BETA1, self._config.adam_beta2)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average()
        self.step += 1
        return means

    def checkpoint(self) -> Checkpoint:
        """Everything that load() needs to continue exactly."""
        return Checkpoint(
            step=self.step,
            decoder=self.decoder.state_dict(),
            optimizer=self._optimizer.state_dict(),
            config=self._config.as_dict(),
            ema=self.averaged.state_dict(),
            scaler=self._scaler.state_dict(),
        )

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint.

        Raises:
            TrainerError: It is of another network.
        """
        try:
            self.decoder.load_state_dict(checkpoint.decoder)
            self.averaged.load_state_dict(checkpoint.weights)
            self._optimizer.load_state_dict(checkpoint.optimizer)
            if checkpoint.scaler and self._scaler.is_enabled():
                self._scaler.load_state_dict(checkpoint.scaler)
        except (RuntimeError, ValueError):
            raise TrainerError("The run's checkpoint is of another network; choose another folder.") from None
        self.step = checkpoint.step

    def _add_up_gradients(self) -> None:
        """Sum the gradients over the processes: each one has its share of the step's mean."""
        if self._group.size == 1:
            return
        gradients = [parameter.grad for parameter in self.decoder.parameters() if parameter.grad is not None]
        flat = self._group.add_up(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, summed in zip(gradients, torch.split(flat, sizes), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def _shorten_gradients(self) -> None:
        """Clip the gradient's norm over all parameters.

        Source:
            Pascanu, Mikolov and Bengio, ICML 2013, algorithm 1.
        """
        if self._config.gradient_limit:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.decoder.parameters(), self._config.gradient_limit)

    @torch.no_grad()
    def _average(self) -> None:
        """Update the exponential moving average, with a smaller decay at first to forget the first weights soon."""
        decay = min(self._config.ema, (1 + self.step) / (10 + self.step))
        for mean, weight in zip(self.averaged.parameters(), self.decoder.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)
