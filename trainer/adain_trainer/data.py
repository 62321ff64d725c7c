"""Crops of the pictures, augmented and encoded once into banks that a run goes through several times."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import v2

from adain_net.encoder import LAYERS, Encoder
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_trainer.config import FitConfig
from adain_trainer.distributed import Group
from adain_trainer.errors import TrainerError
from adain_trainer.precision import Convolutions

ENCODE_BATCH = 8
ZOOM = (0.8, 2.5)
STYLE_LAYERS = tuple(layer.channels for layer in LAYERS)
"""Channels of relu1_1 to relu4_1."""


def to_tensor(picture: Image.Image) -> Tensor:
    """(3, h, w) float32, RGB in 0..1."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255


def random_crop(
    picture: Image.Image, side: int, *, work_side: int, zoom: tuple[float, float], rng: random.Random
) -> Image.Image:
    """A square crop, flipped half of the time.

    Args:
        side: Of the result, pixels.
        work_side: The picture's shorter side is thought of as this many pixels.
        zoom: Range of the factor by which more than `side` pixels of that scale are taken in; drawn log-uniformly.
    """
    factor = zoom[0] * (zoom[1] / zoom[0]) ** rng.random()
    shorter = min(picture.size)
    extent = min(float(shorter), side * factor * shorter / work_side)
    left = rng.random() * (picture.width - extent)
    top = rng.random() * (picture.height - extent)
    box = (left, top, left + extent, top + extent)
    crop = picture.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return ImageOps.mirror(crop) if rng.random() < 0.5 else crop


def augment_colours(crop: Tensor, rng: random.Random, *, share: float) -> Tensor:
    """Change a crop's colours: the decoder has to see far more palettes than there are paintings.

    Args:
        crop: (3, h, w) float, RGB in 0..1.
        share: How often, in 0..1.
    Returns:
        The same crop, or one with hue, saturation, contrast, brightness or channels changed.
    """
    if rng.random() >= share:
        return crop
    if rng.random() < 0.3:
        crop = crop[rng.sample(range(3), 3)]
    if rng.random() < 0.1:
        crop = 1 - crop
    crop = v2.functional.adjust_hue(crop, rng.uniform(-0.5, 0.5) if rng.random() < 0.5 else 0.0)
    crop = v2.functional.adjust_saturation(crop, rng.uniform(0.4, 1.6))
    crop = v2.functional.adjust_contrast(crop, rng.uniform(0.6, 1.5))
    brightened: Tensor = v2.functional.adjust_brightness(crop, rng.uniform(0.6, 1.4))
    return brightened


@dataclass(frozen=True)
class Batch:
    """A part of a step's data; B pairs of `total`.

    Attributes:
        pictures: (B, 3, crop, crop) float32, RGB in 0..1: the content.
        content_feat: (B, 512, crop/8, crop/8) float32: its relu4_1.
        styles: Statistics of relu1_1 to relu4_1, (B, channels) each.
        identity: (B,) bool: the pairs whose style is to be the content's own.
        total, total_identity: Pairs of the whole step, and how many of them are identity pairs.
    """

    pictures: Tensor
    content_feat: Tensor
    styles: tuple[StyleStatistics, ...]
    identity: Tensor
    total: int
    total_identity: int


@dataclass(frozen=True)
class TrainingPictures:
    """What crops are taken from: contents, styles, and generic pictures for both, of which there may be none."""

    content: Sequence[Image.Image]
    style: Sequence[Image.Image]
    generic: Sequence[Image.Image] = ()


def room_for_pictures(config: FitConfig, memory_budget: int) -> int:
    """Bytes that are left when a bank has its own. Raises TrainerError when it does not fit."""
    crops = 3 * config.crop**2 * (2 if config.identity_loss == "sanet" else 1)
    feats, statistics = 2 * STYLE_LAYERS[-1] * (config.crop // 8) ** 2, 2 * 4 * sum(STYLE_LAYERS)
    needed = config.bank * (crops + feats + statistics)
    if needed > memory_budget:
        raise TrainerError(
            f"A bank of {config.bank} crops of {config.crop} pixels needs {needed / 1024**3:.2f} GiB; take a smaller "
            "--bank, or allow more by --memory-budget."
        )
    return memory_budget - needed


class Banks:
    """Encoded content crops and style statistics, made anew every few passes.

    What a step gets depends on the configuration and the step's number only, so a resumed run goes on exactly, and a
    step's pairs are the same however many processes share them. Each process encodes its share of a bank and gets the
    others' rows by a sum: any process may need any row in the passes that follow, and encoding is what costs time.
    """

    def __init__(
        self,
        encoder: Encoder,
        pictures: TrainingPictures,
        config: FitConfig,
        group: Group,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._convolutions = Convolutions(encoder, config.precision)
        self._sources = pictures
        self._config = config
        self._group = group
        self._progress = progress
        self._generation = -1

    def parts(self, step: int) -> Iterator[Batch]:
        """This process's parts of a step, one for each time that gradients are accumulated.

        A new bank is encoded when the step begins one. A part takes its pairs from all over the step, so that identity
        pairs, which come first, are in every part.
        """
        config = self._config
        per_pass = config.bank // config.pairs
        generation = step // (per_pass * config.bank_passes)
        if generation != self._generation:
            self._encode(generation)
            self._generation = generation
        order_rng = random.Random(f"{config.seed}/order/{step // per_pass}")
        contents = order_rng.sample(range(config.bank), config.bank)
        styles = order_rng.sample(range(config.bank), config.bank)
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
        config, device = self._config, self._group.device
        total_identity = round(config.identity_share * config.pairs)
        pictures, feats = self._pictures[contents], self._feats[contents].to(device).float()
        # Every other identity pair is a style picture, which changes from step to step where there is one pair only.
        own_styles = [
            row
            for row, position in enumerate(positions)
            if config.identity_loss == "sanet" and position < total_identity and (position + step) % 2
        ]
        if own_styles:
            pictures[own_styles] = self._style_pictures[[styles[row] for row in own_styles]]
            with torch.no_grad():
                feats[own_styles] = self._convolutions.encode(pictures[own_styles].to(device).float() / 255)
        mixtures = []
        for layer in self._statistics:
            mean = torch.lerp(layer.mean[styles], layer.mean[others], mixed[:, None])
            std = torch.lerp(layer.std[styles], layer.std[others], mixed[:, None])
            mixtures.append(StyleStatistics(mean.to(device), std.to(device)))
        return Batch(
            pictures=pictures.to(device).float() / 255,
            content_feat=feats,
            styles=tuple(mixtures),
            identity=torch.tensor([position < total_identity for position in positions], device=device),
            total=config.pairs,
            total_identity=total_identity,
        )

    @torch.no_grad()
    def _encode(self, generation: int) -> None:
        """Fill the rows of this process, on the CPU, and add up: the other rows are zeros here."""
        config, crop, sources = self._config, self._config.crop, self._sources
        self._pictures = torch.zeros(config.bank, 3, crop, crop, dtype=torch.uint8)
        self._style_pictures = torch.zeros_like(self._pictures[: config.bank if config.identity_loss == "sanet" else 0])
        self._feats = torch.zeros(config.bank, 512, crop // 8, crop // 8, dtype=torch.float16)
        self._statistics = [
            StyleStatistics(torch.zeros(config.bank, channels), torch.zeros(config.bank, channels))
            for channels in STYLE_LAYERS
        ]
        for rows, rng in self._rows("content crops", generation):
            crops = [
                self._crop(self._source(sources.content, config.generic_content_share, rng), crop, rng) for _ in rows
            ]
            pictures = torch.stack([augment_colours(each, rng, share=config.content_augment_share) for each in crops])
            self._pictures[rows.start : rows.stop] = (pictures * 255).round().to(torch.uint8)
            self._feats[rows.start : rows.stop] = (
                self._convolutions.encode(pictures.to(self._group.device)).half().cpu()
            )
        for rows, rng in self._rows("styles", generation):
            crops = [
                self._crop(self._source(sources.style, config.generic_share, rng), config.style_crop, rng) for _ in rows
            ]
            pictures = torch.stack([augment_colours(each, rng, share=config.style_augment_share) for each in crops])
            if len(self._style_pictures):
                corners = pictures[:, :, :crop, :crop]
                self._style_pictures[rows.start : rows.stop] = (corners * 255).round().to(torch.uint8)
            feats = self._convolutions.features(pictures.to(self._group.device))
            for layer, feat in zip(self._statistics, feats, strict=True):
                statistics = channel_statistics(feat)
                layer.mean[rows.start : rows.stop] = statistics.mean.cpu()
                layer.std[rows.start : rows.stop] = statistics.std.cpu()
        for tensor in (self._pictures, self._style_pictures, self._feats):
            self._group.add_up(tensor)
        for layer in self._statistics:
            self._group.add_up(layer.mean)
            self._group.add_up(layer.std)

    def _rows(self, what: str, generation: int) -> Iterator[tuple[range, random.Random]]:
        """The rows of a bank that this process fills, a few at a time, each time with random numbers of their own.

        All processes come to `progress` equally often, so that they can agree there to stop.
        """
        total, size = self._config.bank, self._group.size
        for first in range(0, total, ENCODE_BATCH * size):
            self._progress(what, first, total)
            start = first + ENCODE_BATCH * self._group.rank
            if start < total:
                rng = random.Random(f"{self._config.seed}/bank/{generation}/{what}/{start}")
                yield range(start, min(start + ENCODE_BATCH, total)), rng

    def _source(self, own: Sequence[Image.Image], generic_share: float, rng: random.Random) -> Image.Image:
        generic = self._sources.generic if rng.random() < generic_share else ()
        return rng.choice(generic or own)

    def _crop(self, picture: Image.Image, side: int, rng: random.Random) -> Tensor:
        return to_tensor(random_crop(picture, side, work_side=self._config.work_side, zoom=ZOOM, rng=rng))
