"""Between bytes and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from adain_net.tiling import Box

PixelArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
"""(h, w, channels), 8 bit."""


def pixel_array(buffer: memoryview, height: int, width: int, channels: int) -> PixelArray:
    """A view of a buffer's pixels; no copy."""
    return np.frombuffer(buffer, dtype=np.uint8, count=height * width * channels).reshape(height, width, channels)


def cut(array: PixelArray, box: Box) -> PixelArray:
    """A part of a picture; no copy."""
    return array[box.top : box.bottom, box.left : box.right]


def to_picture(array: PixelArray, device: torch.device) -> Tensor:
    """The first three channels as (1, 3, h, w) float32, RGB in 0..1."""
    return torch.tensor(array[:, :, :3], device=device).permute(2, 0, 1)[None].float() / 255


def to_mask(array: PixelArray) -> Tensor:
    """A mask as (1, 1, h, w), 8 bit; no copy."""
    return torch.from_numpy(array).permute(2, 0, 1)[None]


def union_mask(masks: Sequence[PixelArray | None], box: Box) -> PixelArray | None:
    """What at least one mask selects in a box, their sum up to 255; None when one of them is everything."""
    parts = [cut(mask, box) for mask in masks if mask is not None]
    if len(parts) < len(masks):
        return None
    return np.minimum(np.sum(parts, axis=0, dtype=np.uint32), 255).astype(np.uint8)


def write_stylized(stylized: Tensor, mask: PixelArray | None, out: PixelArray) -> None:
    """Put stylized pixels over the content.

    Args:
        stylized: (1, 3, h, w), float, RGB in 0..1.
        mask: (h, w, 1); where it is 0 the content stays bit for bit; None for everything stylized.
        out: (h, w, 3 or 4), the content, changed in place; its alpha channel stays.
    """
    painted = (stylized[0] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    if mask is not None:
        # (p m + c (255 - m)) / 255, rounded, in integers: exact at 0 and 255.
        share = mask.astype(np.uint32)
        blended = painted * share + out[:, :, :3] * (255 - share)
        painted = ((blended + 127) // 255).astype(np.uint8)
    out[:, :, :3] = painted
