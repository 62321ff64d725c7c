"""From a request to pixels: layers, regions, styles, stroke size and previews, over the tiled network.

What does not depend on the sliders is kept between requests: reduced layers, features, the content's statistics. So a
change of alpha, weights or styles costs one transform and one decode.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from adain_net.engine import Engine
from adain_net.statistics import StyleStatistics, mix_statistics
from adain_net.tiling import CELL, MARGIN, SMALLEST_TILE, TILE, Box, TiledContent, mask_values, region_box
from adain_net.transform import AffineTransform, adain_transform
from adain_server.cache import ByteCache
from adain_server.colour import ColourStatistics, colour_statistics, recolouring, under_own_chroma
from adain_server.detail import Enlarged
from adain_server.errors import JobError
from adain_server.layers import Array, Layer, as_mask, mask_sum, union_share
from adain_server.transparency import VisibleColours
from adain_weights.errors import WeightsError
from adain_weights.style_pictures import open_style_picture
from adain_weights.styles import SavedStyle

OnStep = Callable[[str, int, int], None]
"""Told the stage, the steps that are over and the steps in all; may raise to stop."""
OnDraft = Callable[[Array], None]
"""Given the picture as it forms, (h, w, 3) uint8 sRGB, at most DRAFT_SIDE pixels a side."""
DRAFT_SIDE = 512
TILE_BYTES_PER_PIXEL = 2560
"""What the ncnn engine needs for a tile at its widest, measured: activations, and Winograd's workspace."""
SMALL_ENTRY = 256
"""Bytes of a key without a value worth mentioning."""
OUTPUT_TILE = 1024
"""Side of the parts in which a picture that was painted smaller is brought to full size."""


@dataclass(frozen=True)
class Style:
    """A style of a region, in whichever form it came.

    Attributes:
        key: Names it in the caches.
        weight: Relative to the region's other styles.
        picture: Its pixels. saved: a saved style. statistics: what is known of the picture, mean and deviation.
    """

    key: Hashable
    weight: float
    picture: Layer | None = None
    saved: SavedStyle | None = None
    statistics: StyleStatistics | None = None


@dataclass(frozen=True)
class RegionPlan:
    """A region of a request; mask None for everywhere, preserve_color as on the wire."""

    mask: Layer | None
    mask_key: Hashable
    styles: Sequence[Style]
    alpha: float
    preserve_color: str


@dataclass(frozen=True)
class Plan:
    """A request with its pixels.

    Attributes:
        content: The layer. content_key: names its pixels, and whether they are linear, in the caches.
        out: (h, w, channels) in the layer's type, of the result's size: receives the result.
        compose: As on the wire; cutout needs a content with alpha.
        smoothing: How much of `previous` the content's statistics keep, 0..1. previous: those of the frame before.
        quality: As on the wire: fast, fine or best.
    """

    content: Layer
    content_key: Hashable
    out: Array
    regions: Sequence[RegionPlan]
    stroke_size: float
    detail: float
    compose: str = "blend"
    smoothing: float = 0.0
    previous: Sequence[StyleStatistics] = ()
    quality: str = "fast"


@dataclass
class Painted:
    """What a request leaves behind besides its pixels.

    Attributes:
        statistics: The content's, one a region that was painted, smoothed when that was asked for.
        new_styles: Statistics of style pictures that were not known, by key.
        notice: A sentence for the user, or "".
    """

    statistics: Sequence[StyleStatistics] = ()
    new_styles: dict[Hashable, StyleStatistics] = field(default_factory=dict)
    notice: str = ""


class Painter:
    """Paints requests, one at a time, and keeps between them what the next one may need."""

    def __init__(
        self, engines: Sequence[Engine], *, encoder_digest: str, memory_budget: int, cache: ByteCache | None = None
    ) -> None:
        """Prepare.

        Args:
            engines: The best first; the others take over when its memory is too small.
            encoder_digest: SHA-256 of the encoder's file: saved statistics of another encoder are not used.
            memory_budget: Bytes for tiles, features and everything that is kept.
            cache: What painters of several models share; None for one of its own, of half the budget.
        """
        self._engines = engines
        self._encoder_digest = encoder_digest
        self._cache = cache if cache is not None else ByteCache(memory_budget // 2)
        self._tile = tile_side(memory_budget // 3)

    @torch.inference_mode()
    def paint(
        self,
        plan: Plan,
        on_step: OnStep,
        *,
        on_draft: OnDraft = lambda _picture: None,
        is_accepted: Callable[[], bool] = lambda: False,
    ) -> Painted:
        """Paint a request into plan.out.

        Args:
            plan: The request.
            on_step: Told how far the work is.
            on_draft: Given the picture as it forms, after each step of the finish.
            is_accepted: Asked after each step of the finish; True ends it with the picture as it is.
        Raises:
            JobError: BAD_PIXELS or BAD_STYLE; and whatever on_step raises.
            MemoryError: Not even the smallest tile fits, on any engine.
        """
        done = Painted()
        self._check_numbers(plan)
        size = plan.out.shape[:2]
        shown = plan.content if size == (plan.content.height, plan.content.width) else self._preview(plan, *size)
        self._start(shown, plan)
        working = self._shrunk(plan.content, plan.content_key, *working_size(plan))
        if (working.height, working.width) == size:
            working = shown
        opacity = working.opacity()
        masks = [self._mask(region, working) for region in plan.regions]
        chosen = [(r, m) for r, m in zip(plan.regions, masks, strict=True) if _selects(m, opacity, working)]
        if not chosen:
            return done
        regions = [region for region, _ in chosen]
        mask_keys = tuple(region.mask_key for region in regions)
        key = (self._encoder_digest, plan.content_key, working.height, working.width, mask_keys)
        tiled = TiledContent(
            self._engines,
            working.colours if opacity is None else VisibleColours(working),
            [mask for _, mask in chosen],
            height=working.height,
            width=working.width,
            opacity=opacity,
            tile=self._tile,
            feature_bytes=self._cache.limit,
            encoded=self._cache.get(key),
        )
        # A style that cannot be used is found before the layer is encoded.
        styles = [self._region_style(region, working, done, on_step) for region in regions]
        self._cache.make_room(tiled.feature_size)
        encoded = tiled.encode(on_step)
        self._cache.put(key, encoded, encoded.size)
        done.statistics = _smoothed(encoded.statistics, plan)
        transforms = [
            adain_transform(own, style, alpha=region.alpha)
            for own, style, region in zip(done.statistics, styles, regions, strict=True)
        ]
        output = _Output(shown, plan, regions, [self._mask(region, shown) for region in regions])
        if working is shown:
            tiled.decode(transforms, output.write, on_step)
        else:
            self._decode_smaller(tiled, transforms, working, output, plan.detail, on_step)
        done.notice = self._notice(tiled)
        return done

    def _start(self, shown: Layer, plan: Plan) -> None:
        """The result before anything is painted: the content, its alpha cut out if that was asked for."""
        plan.out[:] = shown.array
        if plan.compose == "cutout":
            masks = [self._mask(region, shown) for region in plan.regions]
            for box in Box(0, shown.height, 0, shown.width).tiles(OUTPUT_TILE):
                shown.cut_out(box, union_share(masks, box, torch.float64), plan.out)

    def _decode_smaller(
        self,
        tiled: TiledContent,
        transforms: Sequence[AffineTransform],
        working: Layer,
        output: _Output,
        detail: float,
        on_step: OnStep,
    ) -> None:
        # Where it is bright a step of 16 bit is broader in sRGB's curve than in linear light.
        dtype = np.float32 if working.is_linear else np.uint16
        small = Layer(np.empty((working.height, working.width, 3), dtype=dtype), "RGB")

        def keep(box: Box, painted: Tensor) -> None:
            small.write(box, painted, None, small.array)

        # A selection so faint that it vanishes at the working size gets the content's own colours.
        for box in Box(0, working.height, 0, working.width).tiles(OUTPUT_TILE):
            keep(box, working.colours(box))
        tiled.decode(transforms, keep, on_step)
        enlarged = Enlarged(small, working, output.shown, detail)
        boxes = output.box().tiles(OUTPUT_TILE)
        for index, box in enumerate(boxes):
            on_step("enlarge", index, len(boxes))
            output.write(box, enlarged.colours(box))

    def _check_numbers(self, plan: Plan) -> None:
        """Float layers, masks and styles hold numbers; found before anything is computed."""
        named = [("layer", plan.content_key, plan.content)]
        named += [("selection", region.mask_key, region.mask) for region in plan.regions if region.mask is not None]
        named += [("style", s.key, s.picture) for r in plan.regions for s in r.styles if s.picture is not None]
        for what, key, layer in named:
            if self._cache.get(("finite", key)) is None:
                if not layer.is_finite():
                    raise JobError(
                        "BAD_PIXELS",
                        f"The {what} holds values that are not numbers (NaN or infinite); paint over them, "
                        "or convert it to 16-bit integers first.",
                    )
                self._cache.put(("finite", key), True, SMALL_ENTRY)

    def _preview(self, plan: Plan, height: int, width: int) -> Layer:
        return self._kept_layer(
            ("preview", plan.content_key, height, width),
            lambda: replace(plan.content, array=plan.content.shrunk(height, width).like(plan.content)),
        )

    def _shrunk(self, layer: Layer, key: Hashable, height: int, width: int) -> Layer:
        if (height, width) == (layer.height, layer.width):
            return layer
        return self._kept_layer(("shrunk", key, height, width), lambda: layer.shrunk(height, width))

    def _kept_layer(self, key: Hashable, make: Callable[[], Layer]) -> Layer:
        kept: Layer | None = self._cache.get(key)
        if kept is None:
            kept = make()
            self._cache.put(key, kept, kept.array.nbytes)
        return kept

    def _mask(self, region: RegionPlan, layer: Layer) -> Tensor | None:
        """A region's mask at a layer's size."""
        if region.mask is None:
            return None
        return as_mask(self._shrunk(region.mask, region.mask_key, layer.height, layer.width).array)

    def _region_style(self, region: RegionPlan, working: Layer, done: Painted, on_step: OnStep) -> StyleStatistics:
        """A region's mixed style."""
        target = None
        if region.preserve_color == "match":
            mask = region.mask
            if mask is not None:
                mask = self._shrunk(mask, region.mask_key, working.height, working.width)
            target = colour_statistics(working, mask)
        parts = [self._statistics(style, target, done, on_step) for style in region.styles]
        return mix_statistics(parts, [style.weight for style in region.styles])

    def _statistics(
        self, style: Style, target: ColourStatistics | None, done: Painted, on_step: OnStep
    ) -> StyleStatistics:
        if target is None and style.statistics is not None:
            return style.statistics
        if target is None and style.saved is not None and style.saved.encoder == self._encoder_digest:
            saved = style.saved.relu4_1
            return StyleStatistics(torch.tensor(saved.mean)[None], torch.tensor(saved.std)[None])
        key = ("style", self._encoder_digest, style.key, None if target is None else target.key)
        known: StyleStatistics | None = self._cache.get(key)
        if known is None:
            picture = style.picture if style.saved is None else _saved_picture(style.saved)
            assert picture is not None
            known = self._picture_statistics(picture, target, on_step)
            self._cache.put(key, known, known.mean.numel() * 8)
        if target is None and style.saved is None:
            done.new_styles[style.key] = known
        return known

    def _picture_statistics(self, picture: Layer, target: ColourStatistics | None, on_step: OnStep) -> StyleStatistics:
        """Statistics of a style picture of any size, (1, 512) each; recoloured to a content's colours if asked.

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

        # In tiles as well: a style may be as large as a content.
        tiled = TiledContent(
            self._engines,
            colours,
            [None],
            height=picture.height,
            width=picture.width,
            opacity=opacity,
            tile=self._tile,
            feature_bytes=0,
        )
        return tiled.encode(lambda _stage, step, steps: on_step("style", step, steps)).statistics[0]

    def _notice(self, tiled: TiledContent) -> str:
        if tiled.has_failed:
            return "The graphics card failed, so the processor painted this, more slowly; the server's log says more."
        if tiled.engine is not self._engines[0]:
            return "The graphics card's memory was too small, so the processor painted this, more slowly."
        if tiled.tile < self._tile:
            return "The device's memory was nearly full, so this was painted in smaller parts, more slowly."
        return ""


class _Output:
    """The picture that is returned: painted parts are put over what is there."""

    def __init__(self, shown: Layer, plan: Plan, regions: Sequence[RegionPlan], masks: Sequence[Tensor | None]) -> None:
        self.shown = shown
        self._out = plan.out
        self._blends = plan.compose == "blend"
        self._masks = masks
        self._luminance = [m for m, r in zip(masks, regions, strict=True) if r.preserve_color == "luminance"]

    def write(self, box: Box, painted: Tensor) -> None:
        """Put a painted part, (1, 3, h, w), in its place."""
        if self._luminance:
            painted = painted.float().cpu()
            kept = under_own_chroma(painted, self.shown.colours(box))
            if len(self._luminance) < len(self._masks):
                # Where regions of both kinds overlap, each has its share of the colours.
                total = mask_sum(self._masks, box).clamp_min(torch.finfo(torch.float32).tiny)
                kept = torch.lerp(painted, kept, mask_sum(self._luminance, box) / total)
            painted = kept
        share = union_share(self._masks, box)
        if share is not None and not self._blends:
            share = (share > 0).astype(np.float32)  # whole paint, wherever a mask reaches
        self.shown.write(box, painted, share, self._out)

    def box(self) -> Box:
        """Everything that any region reaches."""
        everything = Box(0, self.shown.height, 0, self.shown.width)
        if any(mask is None for mask in self._masks):
            return everything
        boxes = [box for mask in self._masks if mask is not None and (box := region_box(mask)) is not None]
        return Box.around(boxes) if boxes else Box(0, 0, 0, 0)


def working_size(plan: Plan) -> tuple[int, int]:
    """Height and width at which a request is painted: the layer's by the stroke size, at most the result's."""
    height, width = plan.out.shape[:2]
    factor = min(1.0, max(plan.content.height, plan.content.width) / plan.stroke_size / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def tile_side(budget: int) -> int:
    """The largest tile, in pixels a side, whose activations fit a number of bytes."""
    side = int((budget / TILE_BYTES_PER_PIXEL) ** 0.5) // CELL * CELL - 2 * MARGIN
    return min(max(side, SMALLEST_TILE), TILE)


def _selects(mask: Tensor | None, opacity: Tensor | None, layer: Layer) -> bool:
    """A region has at least one pixel that is seen."""
    whole = Box(0, layer.height, 0, layer.width)
    for box in whole.tiles(OUTPUT_TILE):
        parts = [mask_values(box.of(values), torch.float32) > 0 for values in (mask, opacity) if values is not None]
        if not parts or bool(torch.stack(parts).all(dim=0).any()):
            return True
    return False


def _smoothed(statistics: Sequence[StyleStatistics], plan: Plan) -> Sequence[StyleStatistics]:
    """A frame's statistics, drawn towards those of the frame before: otherwise a film's colours would flicker."""
    if not plan.smoothing or len(plan.previous) != len(statistics):
        return statistics
    return [
        mix_statistics([before, now], [plan.smoothing, 1 - plan.smoothing])
        for before, now in zip(plan.previous, statistics, strict=True)
    ]


def _saved_picture(saved: SavedStyle) -> Layer:
    try:
        return Layer(np.array(open_style_picture(saved.picture)), "RGB")
    except WeightsError as error:
        raise JobError("BAD_STYLE", str(error)) from None
