"""Renders requests: layers, regions, styles, stroke size and previews, with the tiled network.

As its quality says, a request is painted in one pass, refined in a second one over what was painted, and finished by
optimising the pixels. What does not depend on the sliders is kept between requests: reduced layers, features, the
content's statistics. A change of alpha, weights or styles costs one transform and one decode of the first pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adain_net import finish
from adain_net.boxes import CELL, Box
from adain_net.encoder import LAYERS, RELU3_1, RELU4_1
from adain_net.engine import Engine
from adain_net.finish import FinishRegion, GradientEngine, TiledFinish
from adain_net.measured_style import MeasuredStyle
from adain_net.regions import mask_values
from adain_net.statistics import StyleStatistics, mix_statistics
from adain_net.tiling import SMALLEST_TILE, TILE, ReadPart, TiledContent, TiledWork, WritePart
from adain_net.transform import AffineTransform, adain_transform
from adain_server.cache import ByteCache
from adain_server.errors import JobError
from adain_server.worker.canvas import Canvas, room_for
from adain_server.worker.colour import colour_statistics
from adain_server.worker.detail import REACH, Enlarged
from adain_server.worker.drafts import Drafts
from adain_server.worker.layers import Array, Layer, as_mask, union_share
from adain_server.worker.measured_styles import OnStep, Style, StyleEncoder, StyleMeasurer
from adain_server.worker.output import Output
from adain_server.worker.transparency import VisibleColours
from adain_style.client import protocol

OnDraft = Callable[[Array], None]
"""Called with a draft of the picture, (h, w, 3) uint8 sRGB, at most drafts.SIDE pixels a side."""
TILE_BYTES_PER_PIXEL = 2560
"""The ncnn engine's peak memory per pixel of a tile, measured: activations and Winograd's workspace."""
SMALL_ENTRY = 256
"""Bytes of a cache entry with a negligible value."""
OUTPUT_TILE = 1024
"""Side of the parts in which a picture that was painted at another size is resized to the result's."""
FINISHED_SURROUNDINGS = RELU4_1.margin
"""Pixels around the regions that the finish's encoder sees."""
REFINED_SURROUNDINGS = -(-2 * RELU3_1.margin // CELL) * CELL
"""Pixels around the regions on which the refinement depends, in its decoder and in the encoder before it."""


@dataclass(frozen=True)
class RegionInput:
    """A region of a request; a mask of None selects everything, preserve_color is as on the wire."""

    mask: Layer | None
    mask_key: Hashable
    styles: Sequence[Style]
    alpha: float
    preserve_color: str


@dataclass(frozen=True)
class RegionStatistics(StyleStatistics):
    """The content's statistics in a region, as one pass has measured them.

    Attributes:
        region: The region's index in its request; the regions that a frame does not show leave gaps.
    """

    region: int

    @property
    def key(self) -> tuple[int, int]:
        """Identifies the region and the pass, since each pass uses another layer, with another number of channels."""
        return self.region, self.mean.shape[1]


@dataclass(frozen=True)
class RenderRequest:
    """A request with its pixels.

    Attributes:
        content: The layer. content_key: Identifies its pixels, and whether they are linear, in the caches.
        out: (h, w, channels) in the layer's type, of the result's size: receives the result.
        compose: As on the wire; cutout needs a content with alpha.
        smoothing: How much of `previous` the content's statistics keep, 0..1. previous: Those of the previous frame.
        quality: As on the wire: fast, fine or best.
    """

    content: Layer
    content_key: Hashable
    out: Array
    regions: Sequence[RegionInput]
    stroke_size: float
    detail: float
    compose: str = "blend"
    smoothing: float = 0.0
    previous: Sequence[RegionStatistics] = ()
    quality: str = "fast"


@dataclass
class Painted:
    """The results of a request besides its pixels.

    Attributes:
        statistics: Of the content, one per painted region, then those of the picture that was refined; smoothed if the
            request asks for it.
        new_styles: Statistics of style pictures that were not known, by key.
        notice: A sentence for the user, or "".
    """

    statistics: list[RegionStatistics] = field(default_factory=list)
    new_styles: dict[Hashable, MeasuredStyle] = field(default_factory=dict)
    notice: str = ""


@dataclass(frozen=True)
class Hooks:
    """The callbacks of a request; see Renderer.render()."""

    on_step: OnStep
    on_draft: OnDraft
    is_accepted: Callable[[], bool]


@dataclass(frozen=True)
class _RenderTask:
    """A request at the size at which it is painted.

    Attributes:
        request: The request.
        layer: The content at that size.
        content: Its colours, with transparent parts filled in.
        opacity: How much each pixel counts; None for 1.
        regions, masks: The regions that are painted, and their masks.
        indices: The request's index of each of these regions.
        styles: One per region.
    """

    request: RenderRequest
    layer: Layer
    content: ReadPart
    opacity: Tensor | None
    regions: Sequence[RegionInput]
    masks: Sequence[Tensor | None]
    indices: Sequence[int]
    styles: Sequence[MeasuredStyle]

    @property
    def restored(self) -> list[float]:
        """How much of what a pass loses of its picture is restored, one value per region."""
        return [1.0 - region.alpha for region in self.regions]


class Renderer:
    """Paints requests, one at a time, and caches what the next one may need."""

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        encoder_digest: str,
        refinement: StyleEncoder,
        finishers: Sequence[GradientEngine],
        memory_budget: int,
        cache: ByteCache | None = None,
    ) -> None:
        """Prepare.

        Args:
            engines: The best first; the others take over when its memory is too small.
            encoder_digest: SHA-256 of the encoder's file: saved statistics of another encoder are not used.
            refinement: The engines that refine a painted picture, and their encoder.
            finishers: The engines that optimise pixels, with the same encoder, the best first.
            memory_budget: Bytes for tiles, features and everything that is kept.
            cache: Shared by the renderers of several models; None for a cache of its own, of half the budget.
        """
        self._engines = engines
        self._encoder_digest = encoder_digest
        self._refinement = refinement
        self._finishers = finishers
        self._cache = cache if cache is not None else ByteCache(memory_budget // 2)
        self._tile = tile_side(memory_budget // 3)
        encoder = StyleEncoder(engines, encoder_digest)
        self._styles = StyleMeasurer(encoder, refinement, self._cache, tile=self._tile)

    @torch.no_grad()
    def render(
        self,
        request: RenderRequest,
        on_step: OnStep,
        *,
        on_draft: OnDraft = lambda _picture: None,
        is_accepted: Callable[[], bool] = lambda: False,
    ) -> Painted:
        """Render a request into request.out.

        Args:
            request: The request.
            on_step: Called with the progress.
            on_draft: Called with a draft after each step of the finish.
            is_accepted: Called before the finish and after each of its steps; True ends it with the picture as it is.
        Raises:
            JobError: BAD_PIXELS or BAD_STYLE; and whatever on_step raises.
            MemoryError: Not even the smallest tile fits, on any engine.
        """
        done = Painted()
        self._check_numbers(request)
        size = request.out.shape[:2]
        output_layer = (
            request.content
            if size == (request.content.height, request.content.width)
            else self._preview(request, *size)
        )
        self._start(output_layer, request)
        layer = self._shrunk(request.content, request.content_key, *working_size(request))
        if (layer.height, layer.width) == size and not _reduces_painted(request):
            layer = output_layer
        task = self._task(request, layer, done, on_step)
        if task is None:
            return done
        output = self._output(task, output_layer)
        hooks = Hooks(on_step, on_draft, is_accepted)
        if layer is output_layer:
            self._passes(task, output.write, done, hooks)
        else:
            self._paint_resized(task, output, done, hooks)
        return done

    def _task(self, request: RenderRequest, layer: Layer, done: Painted, on_step: OnStep) -> _RenderTask | None:
        """The task; None when there is nothing to paint. An unusable style raises before anything is encoded."""
        opacity = layer.opacity()
        masks = [self._mask(region, layer) for region in request.regions]
        indices = [index for index, mask in enumerate(masks) if _selects(mask, opacity, layer)]
        regions = [request.regions[index] for index in indices]
        if all(region.alpha == 0 for region in regions):
            return None
        return _RenderTask(
            request=request,
            layer=layer,
            content=layer.colours if opacity is None else VisibleColours(layer),
            opacity=opacity,
            regions=regions,
            masks=[masks[index] for index in indices],
            indices=indices,
            styles=[self._region_style(region, layer, done, on_step) for region in regions],
        )

    def _output(self, task: _RenderTask, output_layer: Layer) -> Output:
        return Output(
            output_layer,
            task.request.out,
            masks=[self._mask(region, output_layer) for region in task.regions],
            alphas=[region.alpha for region in task.regions],
            keeps_luminance=[region.preserve_color == "luminance" for region in task.regions],
            blends=task.request.compose == "blend",
        )

    def _passes(self, task: _RenderTask, write: WritePart, done: Painted, hooks: Hooks) -> None:
        """Paint at the working size, in as many passes as the quality needs."""
        on_step = hooks.on_step
        quality = task.request.quality
        if quality == "fast":
            self._first_pass(task, self._first_tiles(task, surroundings=0), write, done, on_step)
            return
        beyond = FINISHED_SURROUNDINGS if quality == "best" else 0
        tiles = self._first_tiles(task, surroundings=beyond + REFINED_SURROUNDINGS)
        canvas = Canvas(tiles.box, memory_bytes=self._cache.limit)
        self._first_pass(task, tiles, canvas.write, done, on_step)
        refined = self._tiles(task, self._refinement.engines, canvas.colours, guide=task.content, surroundings=beyond)
        if quality == "fine":
            self._refine(task, refined, write, done, on_step)
            return
        second = Canvas(refined.box, memory_bytes=self._cache.limit)
        self._refine(task, refined, second.write, done, on_step)
        self._finish(task, second, write, done, hooks)

    def _finish(self, task: _RenderTask, painted: Canvas, write: WritePart, done: Painted, hooks: Hooks) -> None:
        """Optimise the pixels of a refined picture, until all steps are done or the user accepts it as it is."""
        if hooks.is_accepted():
            for part in painted.box.tiles(OUTPUT_TILE):
                visible = part.grown(0, Box(0, task.layer.height, 0, task.layer.width))
                write(visible, painted.colours(visible))
            return
        finisher = TiledFinish(
            self._finishers,
            task.content,
            painted.colours,
            [
                FinishRegion(mask, style.layers, region.alpha)
                for mask, style, region in zip(task.masks, task.styles, task.regions, strict=True)
            ],
            box=painted.box,
            height=task.layer.height,
            width=task.layer.width,
            opacity=task.opacity,
            tile=self._tile,
            feature_bytes=self._cache.limit // 2,
            allocate=self._room,
        )
        drafts = Drafts(task.layer, task.masks, finisher)

        def goes_on(_step: int) -> bool:
            hooks.on_draft(drafts.picture())
            return not hooks.is_accepted()

        finisher.optimise(hooks.on_step, goes_on, steps=finish.STEPS)
        finisher.write(write)
        done.notice = done.notice or self._notice(finisher)

    def _room(self, shape: tuple[int, ...]) -> Tensor:
        """Memory for one of the finish's four pictures."""
        size = 4 * math.prod(shape)
        self._cache.make_room(size)
        return torch.from_numpy(room_for(shape, np.dtype(np.float32), memory_bytes=self._cache.limit // 8))

    def _first_tiles(self, task: _RenderTask, *, surroundings: int) -> TiledContent:
        return self._tiles(
            task, self._engines, task.content, encoded=self._cache.get(self._key(task)), surroundings=surroundings
        )

    def _key(self, task: _RenderTask) -> Hashable:
        """Identifies the content's features in the cache."""
        mask_keys = tuple(region.mask_key for region in task.regions)
        size = (task.layer.height, task.layer.width)
        # What the next passes look at around a selection is encoded, too.
        surroundings = task.request.quality if any(key is not None for key in mask_keys) else ""
        return (self._encoder_digest, task.request.content_key, size, mask_keys, surroundings)

    def _tiles(self, task: _RenderTask, engines: Sequence[Engine], picture: ReadPart, **more: Any) -> TiledContent:
        return TiledContent(
            engines,
            picture,
            task.masks,
            height=task.layer.height,
            width=task.layer.width,
            opacity=task.opacity,
            tile=self._tile,
            feature_bytes=self._cache.limit,
            **more,
        )

    def _first_pass(
        self, task: _RenderTask, tiles: TiledContent, write: WritePart, done: Painted, on_step: OnStep
    ) -> None:
        self._cache.make_room(tiles.feature_size)
        encoded = tiles.encode(on_step)
        self._cache.put(self._key(task), encoded, encoded.size)
        styles = [style.first for style in task.styles]
        transforms = self._transforms(task, encoded.statistics, styles, done)
        encoded = tiles.decode(transforms, write, on_step, restored=task.restored)
        self._cache.put(self._key(task), encoded, encoded.size)
        done.notice = self._notice(tiles)

    def _refine(self, task: _RenderTask, tiles: TiledContent, write: WritePart, done: Painted, on_step: OnStep) -> None:
        """Refine a painted picture in another pass."""

        def on_tile(stage: str, step: int, steps: int) -> None:
            on_step(f"refine-{stage}", step, steps)

        self._cache.make_room(tiles.feature_size)
        statistics = tiles.encode(on_tile).statistics
        styles = [style.layers[LAYERS.index(RELU3_1)] for style in task.styles]
        transforms = self._transforms(task, statistics, styles, done)
        tiles.decode(transforms, write, on_tile, restored=task.restored)
        done.notice = done.notice or self._notice(tiles)

    def _transforms(
        self, task: _RenderTask, own: Sequence[StyleStatistics], styles: Sequence[StyleStatistics], done: Painted
    ) -> list[AffineTransform]:
        """The transforms to each region's style; a film's statistics are drawn towards those of the previous frame."""
        measured = [RegionStatistics(each.mean, each.std, index) for each, index in zip(own, task.indices, strict=True)]
        smooth = _smoothed(measured, task.request.previous, task.request.smoothing)
        done.statistics += smooth
        return [
            adain_transform(mine, style, alpha=region.alpha)
            for mine, style, region in zip(smooth, styles, task.regions, strict=True)
        ]

    def _start(self, output_layer: Layer, request: RenderRequest) -> None:
        """Fill the result with the content before painting, its alpha cut out if the request asks for it."""
        request.out[:] = output_layer.array
        if request.compose == "cutout":
            masks = [self._mask(region, output_layer) for region in request.regions]
            for box in Box(0, output_layer.height, 0, output_layer.width).tiles(OUTPUT_TILE):
                output_layer.cut_out(box, union_share(masks, box, torch.float64), request.out)

    def _paint_resized(self, task: _RenderTask, output: Output, done: Painted, hooks: Hooks) -> None:
        """Paint at a working size that is not the result's, then resize the paint to the result's.

        Only the parts on which the result's regions depend are resized: the rest of a large layer stays as it is.
        """
        layer = task.layer
        painted = _empty_paint(layer)
        size, full_size = output.layer.array.shape[:2], task.request.content.array.shape[:2]
        factor = max(full / less for full, less in zip(full_size, size, strict=True))
        full = _behind(output.box(), size, full_size, reach=2 * math.ceil(factor))
        needed = _behind(full, full_size, layer.array.shape[:2], reach=REACH)

        def keep(box: Box, colours: Tensor) -> None:
            painted.write(box, colours, None, painted.array)

        # A selection so faint that it vanishes at the working size gets the content's own colours.
        for box in needed.tiles(OUTPUT_TILE):
            keep(box, layer.colours(box))
        self._passes(task, keep, done, hooks)
        colours = _resized(painted, task, output.layer, full, hooks.on_step)
        for box in _each_part(output.box().tiles(OUTPUT_TILE), hooks.on_step):
            output.write(box, colours(box))

    def _check_numbers(self, request: RenderRequest) -> None:
        """Check that float layers, masks and styles hold finite numbers, before anything is computed."""
        named = [("layer", request.content_key, request.content)]
        named += [("selection", region.mask_key, region.mask) for region in request.regions if region.mask is not None]
        named += [("style", s.key, s.picture) for r in request.regions for s in r.styles if s.picture is not None]
        for what, key, layer in named:
            if self._cache.get(("finite", key)) is None:
                if not layer.is_finite():
                    raise JobError(
                        "BAD_PIXELS",
                        f"The {what} holds values that are not numbers (NaN or infinite); paint over them, "
                        "or convert it to 16-bit integers first.",
                    )
                self._cache.put(("finite", key), True, SMALL_ENTRY)

    def _preview(self, request: RenderRequest, height: int, width: int) -> Layer:
        return self._kept_layer(
            ("preview", request.content_key, height, width),
            lambda: replace(request.content, array=request.content.shrunk(height, width).like(request.content)),
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

    def _mask(self, region: RegionInput, layer: Layer) -> Tensor | None:
        """A region's mask at a layer's size."""
        if region.mask is None:
            return None
        return as_mask(self._shrunk(region.mask, region.mask_key, layer.height, layer.width).array)

    def _region_style(self, region: RegionInput, working_layer: Layer, done: Painted, on_step: OnStep) -> MeasuredStyle:
        """A region's mixed style."""
        target = None
        if region.preserve_color == "match":
            mask = region.mask
            if mask is not None:
                mask = self._shrunk(mask, region.mask_key, working_layer.height, working_layer.width)
            target = colour_statistics(working_layer, mask)
        return self._styles.mixed(region.styles, target, done.new_styles, on_step)

    def _notice(self, tiled: TiledWork[Any]) -> str:
        if tiled.has_failed:
            return "The graphics card failed, so the processor painted this, more slowly; the server's log says more."
        if tiled.has_moved:
            return "The graphics card's memory was too small, so the processor painted this, more slowly."
        if tiled.tile < self._tile:
            return "The device's memory was nearly full, so this was painted in smaller parts, more slowly."
        return ""


def working_size(request: RenderRequest) -> tuple[int, int]:
    """Height and width at which a request is painted: the layer's by the stroke size, however small the result is."""
    return protocol.working_size(request.content.height, request.content.width, request.stroke_size)


def _reduces_painted(request: RenderRequest) -> bool:
    """Whether a preview is made by reducing paint of the layer's full size.

    It is not where painting it directly gives the same sooner: when no stroke is finer than the preview's pixels and no
    detail is taken from the layer.
    """
    size, content = request.out.shape[:2], request.content
    if size == (content.height, content.width):
        return False
    return request.detail > 0 or max(working_size(request)) > max(size)


def _behind(box: Box, size: tuple[int, ...], other: tuple[int, ...], *, reach: int) -> Box:
    """The part of a picture on which a part of the same picture at another size depends.

    Args:
        box: The dependent part. size: Height and width of its picture. other: Those of the picture that it is made of.
        reach: Pixels of the other picture around each pixel on which it depends.
    """
    down, across = other[0] / size[0], other[1] / size[1]
    scaled = Box(
        math.floor(box.top * down),
        math.ceil(box.bottom * down),
        math.floor(box.left * across),
        math.ceil(box.right * across),
    )
    return scaled.grown(reach + 1, Box(0, other[0], 0, other[1]))  # one more for the products that are rounded


def _resized(painted: Layer, task: _RenderTask, result: Layer, full: Box, on_step: OnStep) -> ReadPart:
    """The paint of the working size, resized to the result's.

    Args:
        full: The part that is needed, at the layer's size; the rest is left unpainted.
    """
    request = task.request
    if not _reduces_painted(request):
        return Enlarged(painted, task.layer, result, request.detail).colours
    content = request.content
    if task.layer is not content:
        enlarged = Enlarged(painted, task.layer, content, request.detail)
        painted = _empty_paint(content)
        parts = Box(0, content.height, 0, content.width).tiles(OUTPUT_TILE)
        for box in _each_part([part for part in parts if part.meets(full)], on_step):
            painted.write(box, enlarged.colours(box), None, painted.array)
    return painted.shrunk(result.height, result.width).colours


def _each_part(parts: Sequence[Box], on_step: OnStep) -> Iterator[Box]:
    for index, part in enumerate(parts):
        on_step("enlarge", index, len(parts))
        yield part


def _empty_paint(layer: Layer) -> Layer:
    """A picture of a layer's size for sRGB-coded paint, precise enough, all 0: untouched pages cost no memory."""
    # In bright parts a 16-bit step is coarser on sRGB's curve than in linear light.
    dtype = np.float32 if layer.is_linear else np.uint16
    return Layer(np.zeros((layer.height, layer.width, 3), dtype=dtype), "RGB")


def tile_side(budget: int) -> int:
    """The largest tile, in pixels a side, whose activations fit a number of bytes."""
    side = int((budget / TILE_BYTES_PER_PIXEL) ** 0.5) // CELL * CELL - 2 * RELU4_1.margin
    return min(max(side, SMALLEST_TILE), TILE)


def _selects(mask: Tensor | None, opacity: Tensor | None, layer: Layer) -> bool:
    """Whether a region has at least one visible pixel."""
    whole = Box(0, layer.height, 0, layer.width)
    for box in whole.tiles(OUTPUT_TILE):
        parts = [mask_values(box.of(values), torch.float32) > 0 for values in (mask, opacity) if values is not None]
        if not parts or bool(torch.stack(parts).all(dim=0).any()):
            return True
    return False


def _smoothed(
    statistics: Sequence[RegionStatistics], previous: Sequence[RegionStatistics], smoothing: float
) -> list[RegionStatistics]:
    """A frame's statistics, each drawn towards that of its region in the previous frame, if it was visible there.

    Without it a film's colours would flicker.
    """
    before = {each.key: each for each in previous} if smoothing else {}
    return [_drawn_towards(each, before.get(each.key), smoothing) for each in statistics]


def _drawn_towards(now: RegionStatistics, before: RegionStatistics | None, smoothing: float) -> RegionStatistics:
    if before is None:
        return now
    mixed = mix_statistics([before, now], [smoothing, 1 - smoothing])
    return replace(now, mean=mixed.mean, std=mixed.std)
