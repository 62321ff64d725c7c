"""A painted picture between two passes."""

from __future__ import annotations

import math
import os
import tempfile
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from adain_net.boxes import Box
from adain_server.worker.layers import Array, cut

WHITE = 65535
"""16-bit integers are precise enough here, in half the memory of float32."""


class Canvas:
    """The pixels of a part of the working picture, sRGB-coded RGB.

    Attributes:
        box: The part.
    """

    def __init__(self, box: Box, *, memory_bytes: int) -> None:
        """Allocate the pixels, with undefined values. Arguments and errors are those of room_for()."""
        self.box = box
        self._pixels = room_for((*box.size, 3), np.dtype(np.uint16), memory_bytes=memory_bytes)

    def write(self, part: Box, painted: Tensor) -> None:
        """Put a painted part, (1, 3, h, w), float, RGB in 0..1, in its place, which is within the box."""
        colours = painted[0].permute(1, 2, 0).float().cpu().numpy()
        cut(self._pixels, part.within(self.box))[:] = np.rint(colours * WHITE)

    def colours(self, part: Box) -> Tensor:
        """A part that is within the box, (1, 3, h, w) float32, RGB in 0..1."""
        values = cut(self._pixels, part.within(self.box)).astype(np.float32)
        values /= WHITE
        return torch.from_numpy(values).permute(2, 0, 1)[None]


def room_for(shape: tuple[int, ...], dtype: np.dtype[Any], *, memory_bytes: int) -> Array:
    """An array whose values are undefined, in memory, or on disk when it is too large for that.

    Args:
        memory_bytes: An array that needs more is a temporary file without a name.
    Raises:
        MemoryError: Neither the memory nor the disk has room.
    """
    size = math.prod(shape) * dtype.itemsize
    if size <= memory_bytes:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        reserve(file, size)
        return np.memmap(file, dtype, shape=shape)  # keeps its file open


def reserve(file: IO[bytes], size: int) -> None:
    """Reserve a file's bytes on the disk: writing into a mapped file on a full disk ends the process.

    Raises:
        MemoryError: The disk has no room.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    except OSError:
        raise MemoryError("the disk has no room for a picture between two passes") from None
