"""How fast a device trains a model's decoder, batch by batch, by a few steps of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from adain_net.layout import load_decoder, load_encoder
from adain_trainer.config import FitConfig
from adain_trainer.data import TrainingPictures
from adain_trainer.distributed import ProcessGroup
from adain_trainer.errors import TrainerError
from adain_trainer.feature_bank import FeatureBank
from adain_trainer.initial_weights import InitialWeights
from adain_trainer.networks import placed
from adain_trainer.training import Trainer
from adain_weights.manifest import DEFAULT_MODEL

WARM_STEPS, TIMED_STEPS = 4, 8
SMALL_BANK = 64
"""Rows of the bank with which a batch is tried."""
Row = dict[str, object]


@dataclass(frozen=True)
class Pace:
    """How fast a batch is: seconds of a step, and of what a bank needs for a row."""

    batch: int
    step_s: float
    row_s: float

    @property
    def pairs_per_s(self) -> float:
        """Without banks."""
        return self.batch / self.step_s

    def row(self) -> Row:
        """For the report."""
        pairs_per_s = self.pairs_per_s
        return {"batch": self.batch, "seconds a step": self.step_s, "pairs a second": pairs_per_s, "row s": self.row_s}


def paces_of(base: FitConfig, pictures: TrainingPictures, device: torch.device, batches: Sequence[int]) -> list[Pace]:
    """The paces of the batches that fit the card, the smallest first. Raises TrainerError when none does."""
    paces: list[Pace] = []
    for batch in sorted(batches):
        try:
            paces.append(pace_of(replace(base, batch=batch, bank=max(batch, SMALL_BANK)), pictures, device))
        except torch.OutOfMemoryError:
            break
    if not paces:
        raise TrainerError("Not even the smallest batch fits the card; take a smaller one by --batches.")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return paces


def pace_of(config: FitConfig, pictures: TrainingPictures, device: torch.device) -> Pace:
    """Train the embedded decoder for a few steps. Raises torch.OutOfMemoryError."""
    start, group = InitialWeights.from_model(DEFAULT_MODEL), ProcessGroup(0, 1, device)
    assert start.decoder is not None
    encoder = placed(load_encoder(start.encoder), device).requires_grad_(False)
    trainer = Trainer(encoder, placed(load_decoder(start.decoder), device), config, group)
    banks = FeatureBank(encoder, pictures, replace(config, bank_passes=1000), group, lambda _what, _done, _total: None)
    moments = [time.perf_counter()]
    for step in range(WARM_STEPS + TIMED_STEPS):
        parts = list(banks.parts(step))  # the first time, the bank is made
        moments.append(time.perf_counter())
        trainer.train(parts)  # it reads the losses, so it waits for the card
    row_s = (moments[1] - moments[0]) / config.bank
    return Pace(config.batch, (time.perf_counter() - moments[WARM_STEPS + 1]) / TIMED_STEPS, row_s)
