"""TensorBoard, where it is installed: the same numbers as in the tables, and the sample sheets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MISSING = "TensorBoard is not installed; 'pip install adain-style[trainer]' adds it. losses.csv has the same numbers."


class TensorBoardLogger:
    """Writes into a run's folder `tensorboard`, or nowhere."""

    def __init__(self, writer: Any = None) -> None:
        """Write with torch's SummaryWriter; None writes nothing."""
        self._writer = writer

    @classmethod
    def open(cls, run: Path, step: int) -> TensorBoardLogger:
        """A logger for a run that continues from a step; entries after that step are hidden.

        Raises:
            ImportError: TensorBoard is not installed.
        """
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and seldom installed

        return cls(SummaryWriter(run / "tensorboard", purge_step=step))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers by name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def sheet(self, step: int, picture: Image.Image) -> None:
        """Add a sample sheet, RGB."""
        if self._writer is not None:
            self._writer.add_image("sheet", np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Write buffered entries and close the files."""
        if self._writer is not None:
            self._writer.close()
