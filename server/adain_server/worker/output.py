"""The picture that is returned: painted parts composed with the layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adain_net.boxes import Box
from adain_net.regions import region_box
from adain_server.worker.colour import under_own_chroma
from adain_server.worker.layers import Array, Layer, mask_sum, union_share


class Output:
    """Composes painted parts with the layer.

    A region whose alpha is 0 is the layer itself. Where it overlaps another one, each has its share of the pixels.

    Attributes:
        layer: The layer that is painted over, of the result's size.
    """

    def __init__(
        self,
        layer: Layer,
        out: Array,
        *,
        masks: Sequence[Tensor | None],
        alphas: Sequence[float],
        keeps_luminance: Sequence[bool],
        blends: bool,
    ) -> None:
        """Prepare.

        Args:
            out: (h, w, channels) in the layer's type: receives the result, and holds the layer already.
            masks: One per region, of the layer's size; None for everywhere.
            alphas: One per region.
            keeps_luminance: Whether the region's paint is put under the content's own chroma.
            blends: Soft masks blend the paint with the layer; otherwise paint is whole wherever a mask reaches.
        """
        self.layer = layer
        self._out = out
        self._blends = blends
        self._masks = masks
        self._painted = [mask for mask, alpha in zip(masks, alphas, strict=True) if alpha > 0]
        self._luminance = [mask for mask, keeps in zip(masks, keeps_luminance, strict=True) if keeps]

    def write(self, box: Box, painted: Tensor) -> None:
        """Put a painted part, (1, 3, h, w), in its place."""
        if self._luminance:
            painted = self._under_own_chroma(box, painted)
        self.layer.write(box, self.layer.brightened(box, painted), self._share(box), self._out)

    def box(self) -> Box:
        """The box around all regions."""
        everything = Box(0, self.layer.height, 0, self.layer.width)
        if any(mask is None for mask in self._masks):
            return everything
        boxes = [box for mask in self._masks if mask is not None and (box := region_box(mask)) is not None]
        return Box.around(boxes) if boxes else Box(0, 0, 0, 0)

    def _under_own_chroma(self, box: Box, painted: Tensor) -> Tensor:
        painted = painted.float().cpu()
        kept = under_own_chroma(painted, self.layer.colours(box))
        if len(self._luminance) == len(self._masks):
            return kept
        # Where regions of both kinds overlap, each has its share of the colours.
        return torch.lerp(painted, kept, self._part_of(self._luminance, box))

    def _share(self, box: Box) -> Array | None:
        share = union_share(self._masks, box)
        if share is not None and not self._blends:
            share = (share > 0).astype(np.float32)
        if len(self._painted) == len(self._masks):
            return share
        part = self._part_of(self._painted, box)[0].permute(1, 2, 0).numpy()
        return part if share is None else part * share

    def _part_of(self, some: Sequence[Tensor | None], box: Box) -> Tensor:
        """The share of some masks in the sum of all, (1, 1, h, w) float32."""
        total = mask_sum(self._masks, box).clamp_min(torch.finfo(torch.float32).tiny)
        return mask_sum(some, box) / total
