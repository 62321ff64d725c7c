"""Saving a user's own style: its statistics and picture in one small file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from adain_net.layout import load_encoder
from adain_net.network import layer_statistics
from adain_net.statistics import StyleStatistics
from adain_style.client.choices import style_name
from adain_style.client.protocol import MAX_TEXT
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model
from adain_weights.style_pictures import make_style
from adain_weights.styles import write_style


def save_style(target: Path, picture: Image.Image, *, title: str, artist: str, origin: str, licence: str) -> None:
    """Save a picture as a style, with the statistics of the encoder that comes with the project.

    A server with another encoder computes them again from the picture in the file.

    Raises:
        WeightsError: The file cannot be written, or a text cannot be stored.
    """
    model = load_model(DEFAULT_MODEL)
    encoder = load_encoder(model.encoder)

    @torch.inference_mode()
    def measure(picture: NDArray[np.float32]) -> list[StyleStatistics]:
        return layer_statistics(encoder, torch.from_numpy(picture))

    style = make_style(
        picture,
        measure,
        name=style_name(target.stem) or "style",
        title=title[:MAX_TEXT],
        artist=artist[:MAX_TEXT],
        origin=origin[:MAX_TEXT],
        licence=licence[:MAX_TEXT],
        encoder_digest=model.encoder_digest,
    )
    write_style(target, style)
