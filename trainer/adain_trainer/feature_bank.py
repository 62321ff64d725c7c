"""Banks of encoded crops, each of which a run uses several times."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from adain_net.decoder import Decoder
from adain_net.encoder import LAYERS, RELU3_1, RELU4_1, Encoder
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_net.transform import adain_transform
from adain_trainer.config import FitConfig
from adain_trainer.data import CropSource, TrainingPictures, made_ahead
from adain_trainer.distributed import ProcessGroup
from adain_trainer.errors import TrainerError
from adain_trainer.precision import Convolutions

ENCODE_BATCH = 8
MOST_THREADS = 16
"""Most threads that prepare crops for a graphics card; a processor that encodes them is busy already."""
CARD_SHARE = 0.25
"""Largest share of a graphics card's free memory that a bank may take."""


@dataclass(frozen=True)
class PaintedBatch:
    """The model's picture of each pair, when a refinement is trained.

    Attributes:
        pictures: (B, 3, crop, crop) float32, RGB in 0..1.
        feat: (B, 256, crop/4, crop/4) float32: their relu3_1.
    """

    pictures: Tensor
    feat: Tensor


@dataclass(frozen=True)
class Batch:
    """A part of a step's data; B pairs of `total`.

    Attributes:
        pictures: (B, 3, crop, crop) float32, RGB in 0..1: the content.
        content_feat: (B, 512, crop/8, crop/8) float32: its relu4_1.
        styles: Statistics of relu1_1 to relu4_1, (B, channels) each.
        identity: (B,) bool: the pairs that keep the content's own style.
        total, total_identity: Numbers of pairs and of identity pairs in the whole step.
        painted: The input of a refinement; None when a model's decoder is trained.
    """

    pictures: Tensor
    content_feat: Tensor
    styles: tuple[StyleStatistics, ...]
    identity: Tensor
    total: int
    total_identity: int
    painted: PaintedBatch | None = None


class _Bank:
    """One content and one style per row, FitConfig.bank rows; initially zeros.

    Attributes:
        pictures: Content crops, (bank, 3, crop, crop) uint8.
        style_pictures: Corners of the style crops, likewise, when identity pairs are styles as well; otherwise empty.
        feats: relu4_1 of the contents, float16.
        styles: Statistics of relu1_1 to relu4_1, (bank, channels) each, on the CPU.
        painted: Each content as the model paints it in the style of its row, like pictures, when a refinement is
            trained; otherwise empty.
        painted_feats: Their relu3_1, float16.
    """

    def __init__(self, config: FitConfig, device: torch.device) -> None:
        crop, bank = config.crop, config.bank
        self.pictures = torch.zeros(bank, 3, crop, crop, dtype=torch.uint8, device=device)
        self.style_pictures = torch.zeros_like(self.pictures[: bank if config.identity_loss == "sanet" else 0])
        cells = [crop // layer.cell for layer in (RELU4_1, RELU3_1)]
        self.feats = torch.zeros(bank, RELU4_1.channels, cells[0], cells[0], dtype=torch.float16, device=device)
        refined = bank if config.refines else 0
        self.painted = torch.zeros_like(self.pictures[:refined])
        self.painted_feats = torch.zeros(
            refined, RELU3_1.channels, cells[1], cells[1], dtype=torch.float16, device=device
        )
        self.styles = [StyleStatistics(*torch.zeros(2, bank, layer.channels)) for layer in LAYERS]

    def tensors(self) -> list[Tensor]:
        """All its tensors."""
        statistics = [each for layer in self.styles for each in (layer.mean, layer.std)]
        pictures = [self.pictures, self.style_pictures, self.painted]
        return [*pictures, self.feats, self.painted_feats, *statistics]


def bank_bytes(config: FitConfig) -> int:
    """Bytes of a bank."""
    crops = 3 * config.crop**2 * (1 + (config.identity_loss == "sanet") + config.refines)
    kept = (RELU4_1, RELU3_1) if config.refines else (RELU4_1,)
    feats = sum(2 * layer.channels * (config.crop // layer.cell) ** 2 for layer in kept)
    return config.bank * (crops + feats + 2 * 4 * sum(layer.channels for layer in LAYERS))


def room_for_pictures(config: FitConfig, memory_budget: int) -> int:
    """Bytes that a bank leaves for pictures. Raises TrainerError when it does not fit."""
    needed = bank_bytes(config)
    if needed > memory_budget:
        raise TrainerError(
            f"A bank of {config.bank} crops of {config.crop} pixels needs {needed / 1024**3:.2f} GiB; take a smaller "
            "--bank, or allow more by --memory-budget."
        )
    return memory_budget - needed


def place_of_bank(config: FitConfig, device: torch.device) -> torch.device:
    """The graphics card if it has enough room, so that no step waits for a copy; otherwise the CPU."""
    if device.type == "cuda" and bank_bytes(config) <= CARD_SHARE * torch.cuda.mem_get_info(device)[0]:
        return device
    return torch.device("cpu")


class FeatureBank:
    """Encoded content crops and style statistics, renewed every few passes.

    A step's data depends on the configuration and the step's number only, so a resumed run continues exactly, and a
    step's pairs are the same however many processes share them. Each process encodes its share of a bank and gets the
    others' rows by a sum: any process may need any row in the following passes, and encoding takes most of the time.
    """

    def __init__(
        self,
        encoder: Encoder,
        pictures: TrainingPictures,
        config: FitConfig,
        group: ProcessGroup,
        progress: Callable[[str, int, int], None],
        painter: Decoder | None = None,
    ) -> None:
        """Prepare; nothing is encoded yet.

        Args:
            encoder: On the group's device.
            pictures: The pictures that crops are taken from.
            progress: Called with the kind of data and the numbers of finished rows and of all rows; may raise to stop.
            painter: The decoder of the model whose pictures are refined, when a refinement is trained.
        """
        self._convolutions = Convolutions(encoder, config.precision)
        self._painter = painter
        self._config = config
        self._group = group
        self._progress = progress
        self._generation = -1
        self._contents = CropSource(
            "content crops",
            pictures.content,
            pictures.generic,
            config.generic_content_share,
            config.content_augment_share,
            config.crop,
            config.reference_side,
        )
        self._styles = CropSource(
            "styles",
            pictures.style,
            pictures.generic,
            config.generic_share,
            config.style_augment_share,
            config.style_crop,
            config.reference_side,
        )

    def parts(self, step: int) -> Iterator[Batch]:
        """This process's parts of a step, one for each time that gradients are accumulated.

        A new bank is encoded at its first step. A part takes its pairs from all over the step, so that identity pairs,
        which come first, are in every part.
        """
        config = self._config
        per_pass = config.bank // config.pairs
        generation = step // (per_pass * config.bank_passes)
        if generation != self._generation:
            self._encode(generation)
            self._generation = generation
        order_rng = random.Random(f"{config.seed}/order/{step // per_pass}")
        contents = order_rng.sample(range(config.bank), config.bank)
        # The model's pictures are painted in the style of the content's own row.
        styles = contents if config.refines else order_rng.sample(range(config.bank), config.bank)
        first = (step % per_pass) * config.pairs
        mix_rng = random.Random(f"{config.seed}/mix/{step}")
        others = [mix_rng.randrange(config.bank) for _ in range(config.pairs)]
        mixed = [mix_rng.random() if mix_rng.random() < config.mixture_share else 0.0 for _ in range(config.pairs)]
        for part in range(config.accumulate):
            chosen = range(
                part + self._group.rank * config.accumulate, config.pairs, config.accumulate * self._group.size
            )
            yield self._batch(
                step,
                positions=list(chosen),
                contents=[contents[first + each] for each in chosen],
                styles=[styles[first + each] for each in chosen],
                others=[others[each] for each in chosen],
                mixed=torch.tensor([mixed[each] for each in chosen]),
            )

    def _batch(
        self,
        step: int,
        *,
        positions: list[int],
        contents: list[int],
        styles: list[int],
        others: list[int],
        mixed: Tensor,
    ) -> Batch:
        config, device, bank = self._config, self._group.device, self._bank
        total_identity = round(config.identity_share * config.pairs)
        pictures, feats = bank.pictures[contents], bank.feats[contents].to(device).float()
        # Every other identity pair is a style picture; they alternate from step to step, for the case of a single pair.
        own_styles = [
            row
            for row, position in enumerate(positions)
            if config.identity_loss == "sanet" and position < total_identity and (position + step) % 2
        ]
        if own_styles:
            pictures[own_styles] = bank.style_pictures[[styles[row] for row in own_styles]]
            with torch.no_grad():
                feats[own_styles] = self._convolutions.encode(_as_floats(pictures[own_styles], device))
        mixtures = []
        for layer in bank.styles:
            mean = torch.lerp(layer.mean[styles], layer.mean[others], mixed[:, None])
            std = torch.lerp(layer.std[styles], layer.std[others], mixed[:, None])
            mixtures.append(StyleStatistics(mean.to(device), std.to(device)))
        return Batch(
            pictures=_as_floats(pictures, device),
            content_feat=feats,
            styles=tuple(mixtures),
            identity=torch.tensor([position < total_identity for position in positions], device=device),
            total=config.pairs,
            total_identity=total_identity,
            painted=self._painted(contents) if config.refines else None,
        )

    def _painted(self, rows: list[int]) -> PaintedBatch:
        bank, device = self._bank, self._group.device
        return PaintedBatch(_as_floats(bank.painted[rows], device), bank.painted_feats[rows].to(device).float())

    @torch.no_grad()
    def _encode(self, generation: int) -> None:
        """Fill this process's rows, then sum over the processes: the other rows are zeros here."""
        self._bank = _Bank(self._config, place_of_bank(self._config, self._group.device))
        self._fill_contents(generation)
        self._fill_styles(generation)
        if self._painter is not None:
            self._fill_painted(self._painter)
        for tensor in self._bank.tensors():
            self._group.add_up(tensor)

    def _fill_contents(self, generation: int) -> None:
        for rows, crops in self._crops(self._contents, generation):
            self._bank.pictures[rows] = _as_bytes(crops)
            self._bank.feats[rows] = self._convolutions.encode(crops.to(self._group.device)).half()

    def _fill_styles(self, generation: int) -> None:
        crop, bank = self._config.crop, self._bank
        for rows, crops in self._crops(self._styles, generation):
            if len(bank.style_pictures):
                bank.style_pictures[rows] = _as_bytes(crops[:, :, :crop, :crop])
            feats = self._convolutions.features(crops.to(self._group.device))
            for layer, feat in zip(bank.styles, feats, strict=True):
                statistics = channel_statistics(feat)
                layer.mean[rows] = statistics.mean.cpu()
                layer.std[rows] = statistics.std.cpu()

    def _fill_painted(self, painter: Decoder) -> None:
        """Do the first pass: paint each content in the style of its row with the model's decoder."""
        bank, device = self._bank, self._group.device
        for rows in self._rows("first pass"):
            feat, known = bank.feats[rows].to(device).float(), bank.styles[-1]
            style = StyleStatistics(known.mean[rows].to(device), known.std[rows].to(device))
            target_feat = adain_transform(channel_statistics(feat), style).apply(feat)
            painted = self._convolutions.decode(painter, target_feat).clamp(0, 1)
            bank.painted[rows] = _as_bytes(painted)
            bank.painted_feats[rows] = self._convolutions.encode(painted, RELU3_1).half()

    def _crops(self, source: CropSource, generation: int) -> Iterator[tuple[slice, Tensor]]:
        """The rows that this process fills, with their crops, each from random numbers of its own."""

        def prepared(start: int) -> Tensor:
            rng = random.Random(f"{self._config.seed}/bank/{generation}/{source.what}/{start}")
            return source.crops(min(ENCODE_BATCH, self._config.bank - start), rng)

        starts = range(ENCODE_BATCH * self._group.rank, self._config.bank, ENCODE_BATCH * self._group.size)
        threads = 0 if self._group.device.type == "cpu" else min(os.cpu_count() or 1, MOST_THREADS)
        crops = made_ahead(prepared, starts, threads=threads)
        for rows in self._rows(source.what):
            yield rows, next(crops)

    def _rows(self, what: str) -> Iterator[slice]:
        """The rows of a bank that this process fills, a few at a time.

        All processes call `progress` equally often, so that they can agree there to stop.
        """
        total, size = self._config.bank, self._group.size
        for first in range(0, total, ENCODE_BATCH * size):
            self._progress(what, first, total)
            start = first + ENCODE_BATCH * self._group.rank
            if start < total:
                yield slice(start, min(start + ENCODE_BATCH, total))


def _as_bytes(crops: Tensor) -> Tensor:
    """Convert 0..1 to 0..255."""
    return (crops * 255).round().to(torch.uint8)


def _as_floats(crops: Tensor, device: torch.device) -> Tensor:
    """The reverse of _as_bytes(), on a device."""
    return crops.to(device).float() / 255
