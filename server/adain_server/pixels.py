"""Between bytes and tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def pixel_array(
    buffer: memoryview, height: int, width: int, channels: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An (h, w, channels) view of a buffer; no copy."""
    return np.frombuffer(buffer, dtype=np.uint8, count=height * width * channels).reshape(height, width, channels)


def to_picture(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], device: torch.device) -> Tensor:
    """The first three channels as (1, 3, h, w) float32, RGB in 0..1."""
    tensor = torch.tensor(array[:, :, :3], device=device)
    return tensor.permute(2, 0, 1)[None].float() / 255


def to_mask(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], device: torch.device) -> Tensor:
    """A mask as (1, 1, h, w) float32 in 0..1."""
    return torch.tensor(array, device=device).permute(2, 0, 1)[None].float() / 255


def write_stylized(
    stylized: Tensor,
    content: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None,
    out: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    """Put a stylized picture over the content into `out`.

    Args:
        stylized: (1, 3, h, w), float, RGB in 0..1.
        content: (h, w, 3 or 4); its alpha channel is copied unchanged.
        mask: (h, w, 1); where it is 0 the content comes back bit for bit; None for everything stylized.
        out: (h, w, channels of content).
    """
    painted = (stylized[0] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    out[:] = content
    if mask is None:
        out[:, :, :3] = painted
        return
    # (p m + c (255 - m)) / 255, rounded, in integers: exact at 0 and 255.
    share = mask.astype(np.uint32)
    blended = painted * share + content[:, :, :3] * (255 - share)
    out[:, :, :3] = (blended + 127) // 255
