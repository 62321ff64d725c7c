"""Drafts: small pictures that show a finish while it is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from adain_net.boxes import Box
from adain_net.finish import TiledFinish
from adain_server.worker.layers import Array, Layer, union_share

SIDE = 512
"""Longest side of a draft, in pixels."""


class Drafts:
    """Small pictures of a running finish, composed with the content."""

    def __init__(self, layer: Layer, masks: Sequence[Tensor | None], finisher: TiledFinish) -> None:
        """Prepare what all drafts share: the content and the masks, averaged down."""
        self._finisher = finisher
        factor = min(1.0, SIDE / max(layer.height, layer.width))
        height, width = (max(1, round(side * factor)) for side in (layer.height, layer.width))
        whole = Box(0, height, 0, width)
        box = finisher.box
        top, left = (min(int(edge * factor), side - 1) for edge, side in ((box.top, height), (box.left, width)))
        self._box = Box(
            top,
            max(top + 1, min(round(box.bottom * factor), height)),
            left,
            max(left + 1, min(round(box.right * factor), width)),
        )
        self._base = layer.shrunk(height, width).colours(whole)
        share = union_share(masks, box)
        self._share = torch.ones(1)
        if share is not None:
            self._share = adaptive_avg_pool2d(torch.from_numpy(share).permute(2, 0, 1), self._box.size)

    def picture(self) -> Array:
        """The picture as it is now, (h, w, 3) uint8, sRGB-coded."""
        picture = self._base.clone()
        part = self._box.of(picture)
        part.lerp_(self._finisher.reduced(*self._box.size), self._share)
        values: Array = (picture[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
        return values
