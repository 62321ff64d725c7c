"""Pictures from folders, cropped, augmented and encoded once into banks that a run goes through several times."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import v2

from adain_net.encoder import Encoder
from adain_net.statistics import StyleStatistics, channel_statistics
from adain_trainer.config import FitConfig
from adain_trainer.errors import TrainerError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
STORED_SIDE = 768
"""Pictures are held in memory no larger than this; crops are taken at work_side and below."""
DEEP_MODES = ("I", "F")
"""Pillow's modes of more than 8 bit a channel, which it would cut off instead of scaling: such pictures are skipped."""
ENCODE_BATCH = 8


def picture_paths(folders: Sequence[Path]) -> list[Path]:
    """Every picture file below the folders, in a fixed order.

    Raises:
        TrainerError: A folder does not exist, or there is no picture in any of them.
    """
    paths = []
    for folder in folders:
        if not folder.is_dir():
            raise TrainerError(f"There is no folder {folder}.")
        paths += sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise TrainerError(f"There is no picture in {', '.join(map(str, folders))}.")
    return paths


def load_pictures(folders: Sequence[Path]) -> tuple[list[Image.Image], list[Path]]:
    """Open every picture of the folders as RGB, no larger than STORED_SIDE.

    Returns:
        The pictures, and the files that could not be read.
    Raises:
        TrainerError: No folder, or nothing readable in it.
    """
    pictures, unreadable = [], []
    for path in picture_paths(folders):
        try:
            with warnings.catch_warnings(), Image.open(path) as opened:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                if opened.mode.startswith(DEEP_MODES):
                    raise ValueError("deeper than 8 bit")
                opened.draft("RGB", (STORED_SIDE, STORED_SIDE))
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            unreadable.append(path)
            continue
        picture.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.LANCZOS)
        pictures.append(picture)
    if not pictures:
        raise TrainerError(f"None of the pictures in {', '.join(map(str, folders))} can be read.")
    return pictures, unreadable


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


def augment_style(crop: Tensor, rng: random.Random) -> Tensor:
    """Change a style crop's colours: the decoder has to see far more palettes than there are paintings.

    Args:
        crop: (3, h, w) float, RGB in 0..1.
    Returns:
        The same crop in 3 cases of 10; otherwise with hue, saturation, contrast, brightness or channels changed.
    """
    if rng.random() < 0.3:
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
    """One step's data; B pictures.

    Attributes:
        pictures: (B, 3, crop, crop) float32, RGB in 0..1: the content.
        content_feat: (B, 512, crop/8, crop/8) float32: its relu4_1.
        styles: Statistics of relu1_1 to relu4_1, (B, channels) each.
        identity: Number of pictures at the batch's start whose style is to be the content's own.
    """

    pictures: Tensor
    content_feat: Tensor
    styles: tuple[StyleStatistics, ...]
    identity: int


class Banks:
    """Encoded content crops and style statistics, made anew every few passes.

    What a step gets depends on the configuration and the step's number only, so a resumed run goes on exactly.
    """

    def __init__(
        self,
        encoder: Encoder,
        content: Sequence[Image.Image],
        style: Sequence[Image.Image],
        config: FitConfig,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._encoder = encoder
        self._content = content
        self._style = style
        self._config = config
        self._progress = progress
        self._generation = -1

    def batch(self, step: int) -> Batch:
        """The data of a step, encoding a new bank when the step begins one."""
        config = self._config
        per_pass = config.bank // config.batch
        generation = step // (per_pass * config.bank_passes)
        if generation != self._generation:
            self._encode(generation)
            self._generation = generation
        order_rng = random.Random(f"{config.seed}/order/{step // per_pass}")
        contents = order_rng.sample(range(config.bank), config.bank)
        styles = order_rng.sample(range(config.bank), config.bank)
        first = (step % per_pass) * config.batch
        chosen = contents[first : first + config.batch]
        return Batch(
            pictures=self._pictures[chosen].float() / 255,
            content_feat=self._feats[chosen].float(),
            styles=self._mixtures(styles[first : first + config.batch], random.Random(f"{config.seed}/mix/{step}")),
            identity=round(config.identity_share * config.batch),
        )

    def _mixtures(self, chosen: list[int], rng: random.Random) -> tuple[StyleStatistics, ...]:
        others = [rng.randrange(self._config.bank) for _ in chosen]
        shares = torch.tensor([rng.random() if rng.random() < self._config.mixture_share else 0.0 for _ in chosen])
        mixed = []
        for layer in self._statistics:
            mean = torch.lerp(layer.mean[chosen], layer.mean[others], shares[:, None])
            std = torch.lerp(layer.std[chosen], layer.std[others], shares[:, None])
            mixed.append(StyleStatistics(mean, std))
        return tuple(mixed)

    @torch.inference_mode()
    def _encode(self, generation: int) -> None:
        config = self._config
        rng = random.Random(f"{config.seed}/bank/{generation}")
        pictures, feats = [], []
        for crops in self._crops("content crops", self._content, config.crop, (0.8, 2.5), rng):
            pictures.append((crops * 255).round().to(torch.uint8))
            feats.append(self._encoder(crops).half())
        statistics = []
        for crops in self._crops("styles", self._style, config.style_crop, (0.8, 2.5), rng):
            augmented = torch.stack([augment_style(crop, rng) for crop in crops])
            statistics.append([channel_statistics(feat) for feat in self._encoder.features(augmented)])
        self._pictures, self._feats = torch.cat(pictures), torch.cat(feats)
        self._statistics = [
            StyleStatistics(torch.cat([s.mean for s in layer]), torch.cat([s.std for s in layer]))
            for layer in zip(*statistics, strict=True)
        ]

    def _crops(
        self, what: str, pictures: Sequence[Image.Image], side: int, zoom: tuple[float, float], rng: random.Random
    ) -> Iterator[Tensor]:
        total = self._config.bank
        for first in range(0, total, ENCODE_BATCH):
            count = min(ENCODE_BATCH, total - first)
            crops = [
                to_tensor(random_crop(rng.choice(pictures), side, work_side=self._config.work_side, zoom=zoom, rng=rng))
                for _ in range(count)
            ]
            self._progress(what, first + count, total)
            yield torch.stack(crops)
