"""Training data: pictures, crops of them, and changes of their colours."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import v2

ZOOM = (0.8, 2.5)
"""Range of the crops' scale: see random_crop()."""

Item = TypeVar("Item")
Made = TypeVar("Made")


def to_tensor(picture: Image.Image) -> Tensor:
    """A picture as a (3, h, w) float32 tensor, RGB in 0..1."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255


def random_crop(
    picture: Image.Image, side: int, *, reference_side: int, zoom: tuple[float, float], rng: random.Random
) -> Image.Image:
    """A square crop, flipped half of the time.

    Args:
        side: Side of the result, pixels.
        reference_side: The picture's shorter side counts as this many pixels.
        zoom: Range of the factor, drawn log-uniformly, by which the crop covers more than `side` pixels of that scale.
    """
    factor = zoom[0] * (zoom[1] / zoom[0]) ** rng.random()
    shorter = min(picture.size)
    extent = min(float(shorter), side * factor * shorter / reference_side)
    left = rng.random() * (picture.width - extent)
    top = rng.random() * (picture.height - extent)
    box = (left, top, left + extent, top + extent)
    crop = picture.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return ImageOps.mirror(crop) if rng.random() < 0.5 else crop


def augment_colours(crop: Tensor, rng: random.Random, *, share: float) -> Tensor:
    """Change a crop's colours: the decoder has to see many more palettes than there are paintings.

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
class TrainingPictures:
    """The pictures that crops are taken from: contents, styles, and generic ones for both, which may be empty."""

    content: Sequence[Image.Image]
    style: Sequence[Image.Image]
    generic: Sequence[Image.Image] = ()


@dataclass(frozen=True)
class CropSource:
    """The source of crops of one kind, and how they are changed.

    Attributes:
        what: The kind's name.
        own, generic: Pictures. generic_share: How often a crop is taken from a generic picture, if there are any.
        augment_share: How often its colours are changed.
        side, reference_side: As for random_crop().
    """

    what: str
    own: Sequence[Image.Image]
    generic: Sequence[Image.Image]
    generic_share: float
    augment_share: float
    side: int
    reference_side: int

    def crops(self, count: int, rng: random.Random) -> Tensor:
        """Make crops, (count, 3, side, side) float32, RGB in 0..1."""
        crops = [self._crop(rng) for _ in range(count)]
        return torch.stack([augment_colours(each, rng, share=self.augment_share) for each in crops])

    def _crop(self, rng: random.Random) -> Tensor:
        generic = self.generic if rng.random() < self.generic_share else ()
        picture = rng.choice(generic or self.own)
        return to_tensor(random_crop(picture, self.side, reference_side=self.reference_side, zoom=ZOOM, rng=rng))


def made_ahead(make: Callable[[Item], Made], items: Iterable[Item], *, threads: int) -> Iterator[Made]:
    """A function's result for each item, in order, computed ahead by threads; with 0 threads, computed on demand."""
    if not threads:
        yield from map(make, items)
        return
    waiting: deque[Future[Made]] = deque()
    # One thread of torch in each: it would give each of them threads for every core.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
