"""Styles in all forms, and their statistics, which are measured once and kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adain_net.boxes import Box
from adain_net.encoder import LAYERS
from adain_net.engine import Engine
from adain_net.measured_style import MeasuredStyle, mix_measured
from adain_net.regions import mask_values
from adain_net.statistics import StyleStatistics
from adain_net.tiling import LayerStatistics, tiled_style_statistics
from adain_server.cache import ByteCache
from adain_server.errors import JobError
from adain_server.worker.colour import ColourStatistics, colour_statistics, recolouring
from adain_server.worker.layers import Layer
from adain_server.worker.transparency import VisibleColours
from adain_weights.errors import WeightsError
from adain_weights.style_pictures import open_style_picture
from adain_weights.styles import SavedStyle

OnStep = Callable[[str, int, int], None]
"""Called with the stage, the number of finished steps and the number of all steps; may raise to stop."""
STATISTICS_BYTES = 2 * 4 * (512 + sum(layer.channels for layer in LAYERS))


@dataclass(frozen=True)
class Style:
    """A style of a region, in any of its forms.

    Attributes:
        key: Identifies it in the caches.
        weight: Relative to the region's other styles.
        picture: Its pixels. saved: A saved style. statistics: Known statistics of the picture.
    """

    key: Hashable
    weight: float
    picture: Layer | None = None
    saved: SavedStyle | None = None
    statistics: MeasuredStyle | None = None


@dataclass(frozen=True)
class StyleEncoder:
    """An encoder that measures styles.

    Attributes:
        engines: The best first.
        digest: SHA-256 of the encoder's file: saved statistics of another encoder are not used.
    """

    engines: Sequence[Engine]
    digest: str


class StyleMeasurer:
    """Measures styles by the model's encoder and by the refinement's, which are mostly the same."""

    def __init__(self, first: StyleEncoder, refinement: StyleEncoder, cache: ByteCache, *, tile: int) -> None:
        """Prepare.

        Args:
            cache: Keeps statistics.
            tile: Side of a tile in pixels: a style may be as large as a content.
        """
        self._first = first
        self._refinement = refinement
        self._cache = cache
        self._tile = tile

    def mixed(
        self,
        styles: Sequence[Style],
        target: ColourStatistics | None,
        new: dict[Hashable, MeasuredStyle],
        on_step: OnStep,
    ) -> MeasuredStyle:
        """The statistics of a mixture of styles.

        Args:
            styles: At least one.
            target: The colours that the styles get before they are measured; None to keep their own.
            new: Receives the statistics of pictures that were not known.
        Raises:
            JobError: BAD_PIXELS or BAD_STYLE.
        """
        parts = [self._style(style, target, new, on_step) for style in styles]
        return mix_measured(parts, [style.weight for style in styles])

    def _style(
        self,
        style: Style,
        target: ColourStatistics | None,
        new: dict[Hashable, MeasuredStyle],
        on_step: OnStep,
    ) -> MeasuredStyle:
        if target is None and style.statistics is not None:
            return style.statistics
        if target is None and style.saved is not None and (saved := self._saved(style.saved)) is not None:
            return saved
        digests = (self._first.digest, self._refinement.digest)
        key = ("style", *digests, style.key, None if target is None else target.key)
        known: MeasuredStyle | None = self._cache.get(key)
        if known is None:
            picture = style.picture if style.saved is None else _saved_picture(style.saved)
            assert picture is not None
            known = self._picture(picture, target, on_step)
            self._cache.put(key, known, STATISTICS_BYTES)
        if target is None and style.saved is None:
            new[style.key] = known
        return known

    def _saved(self, saved: SavedStyle) -> MeasuredStyle | None:
        """The statistics in a saved style; None when they are those of another encoder or of one layer only."""
        if saved.layers is None or {self._first.digest, self._refinement.digest} != {saved.encoder}:
            return None
        layers = tuple(
            StyleStatistics(torch.tensor(layer.mean)[None], torch.tensor(layer.std)[None]) for layer in saved.layers
        )
        return MeasuredStyle(layers[-1], layers)

    def _picture(self, picture: Layer, target: ColourStatistics | None, on_step: OnStep) -> MeasuredStyle:
        """Measure a picture of any size, recoloured to a content's colours if asked.

        Raises:
            JobError: BAD_PIXELS, when no pixel of it is visible.
        """
        opacity = picture.opacity()
        if opacity is not None and not bool((mask_values(opacity, torch.float32) > 0).any()):
            raise JobError("BAD_PIXELS", "A style has no visible pixel; choose another layer or picture.")
        colours: Callable[[Box], Tensor] = picture.colours if opacity is None else VisibleColours(picture)
        if target is not None:
            plain, recolour = colours, recolouring(colour_statistics(picture), target)

            def colours(box: Box) -> Tensor:
                return recolour(plain(box))

        def measured_by(encoder: StyleEncoder) -> LayerStatistics:
            return tiled_style_statistics(
                encoder.engines,
                colours,
                height=picture.height,
                width=picture.width,
                opacity=opacity,
                tile=self._tile,
                on_tile=lambda _stage, step, steps: on_step("style", step, steps),
            )

        first = measured_by(self._first)
        same = self._first.digest == self._refinement.digest
        return MeasuredStyle(first[-1], first if same else measured_by(self._refinement))


def _saved_picture(saved: SavedStyle) -> Layer:
    try:
        return Layer(np.array(open_style_picture(saved.picture)), "RGB")
    except WeightsError as error:
        raise JobError("BAD_STYLE", str(error)) from None
