"""Random layers, masks and settings: finite, of the very size, alpha as it was, and nothing beyond the masks."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from adain_server.worker.layers import DTYPES, Array
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.errors import AdainError
from adain_style.client.jobs import Pixels, Region, StylizeRequest
from attacks.outcome import Outcome
from support.helpers import RunningServer, array_pixels, pixels_array, random_pixels

COUNT = 2_000
SIDES = (1, 2, 3, 5, 7, 8, 16, 17, 31, 64, 97)
LARGER = 300
STYLES = (
    random_pixels(1, 1),
    random_pixels(24, 31, seed=1),
    random_pixels(9, 40, "RGBA", seed=2),
    "hokusai-great-wave",
)


def attack(count: int) -> Outcome:
    """Paint that many."""
    outcome = Outcome()
    chance = random.Random(0)
    kinds: Counter[str] = Counter()
    with RunningServer() as server, server.client() as client:
        for number in range(count):
            wanted = _request(chance)
            content = wanted.content
            kinds[f"{content.layout} {content.depth}"] += 1
            for fault in _faults(client, wanted):
                outcome.promise(False, f"{number}: {fault}: {_words(wanted)}")
    outcome.measured.append(f"{sum(kinds.values()):,} painted, in {len(kinds)} of 24 layouts and depths")
    return outcome


def _faults(client: Client, wanted: StylizeRequest) -> list[str]:
    try:
        pixels = client.stylize(wanted, timeout_s=120).pixels
    except AdainError as error:
        return [f"refused with {error}"]
    content = wanted.content
    found = []
    if (pixels.height, pixels.width) != protocol.result_size(content.height, content.width, wanted.preview):
        found.append(f"a result of {pixels.height} x {pixels.width}")
    if (pixels.layout, pixels.depth) != (content.layout, content.depth):
        found.append("another layout or depth")
    after, before = pixels_array(pixels), pixels_array(content)
    if not np.isfinite(after.astype(np.float64)).all():
        found.append("pixels that are no numbers")
    if after.shape != before.shape:
        return found  # a preview
    if wanted.compose == "cutout":
        return found  # other alpha is what it is for
    if protocol.has_alpha(content.layout) and after[..., -1].tobytes() != before[..., -1].tobytes():
        found.append("another alpha")
    untouched = _untouched(wanted)
    if after[untouched].tobytes() != before[untouched].tobytes():
        found.append("other pixels where no mask is")
    return found


def _untouched(wanted: StylizeRequest) -> Array:
    """Where no mask reaches, as (h, w) bool."""
    untouched = np.ones((wanted.content.height, wanted.content.width), dtype=bool)
    for region in wanted.regions:
        untouched &= pixels_array(region.mask)[..., 0] <= 0 if region.mask is not None else False
    return untouched


def _request(chance: random.Random) -> StylizeRequest:
    height, width = (chance.choice(SIDES) if chance.random() < 0.9 else chance.randint(1, LARGER) for _ in range(2))
    layout = chance.choice(sorted(protocol.LAYOUTS))
    content = _pixels(chance, height, width, layout, chance.choice(sorted(protocol.DEPTHS)))
    compose = chance.choice(protocol.COMPOSE if protocol.has_alpha(layout) else ("blend", "plain"))
    regions = [_region(chance, height, width) for _ in range(chance.choice([1, 1, 2, 4]))]
    return StylizeRequest(
        content,
        regions,
        stroke_size=chance.choice([1.0, 1.0, chance.uniform(1, protocol.MAX_STROKE_SIZE)]),
        detail=chance.random(),
        preview=chance.choice([0, 0, chance.randint(1, LARGER)]),
        compose=compose,
        transfer=chance.choice(protocol.TRANSFER),
    )


def _region(chance: random.Random, height: int, width: int) -> Region:
    styles = [(chance.choice(STYLES), chance.uniform(0.01, 3)) for _ in range(chance.choice([1, 1, 2]))]
    mask = _mask(chance, height, width) if chance.random() < 0.7 else None
    colour = chance.choice(protocol.PRESERVE_COLOR)
    return Region(styles, chance.choice([0.0, 0.3, 1.0]), mask, colour)


def _mask(chance: random.Random, height: int, width: int) -> Pixels:
    """Noise, nothing, everything, one pixel, or a rectangle with a faint rest."""
    depth = chance.choice(sorted(protocol.DEPTHS))
    most = 1 if depth.startswith("f") else np.iinfo(DTYPES[depth]).max
    mask = np.zeros((height, width, 1))
    kind = chance.randrange(5)
    if kind == 0:
        mask[:] = np.random.default_rng(chance.randrange(99)).random(mask.shape)
    elif kind == 1:
        mask[:] = 1
    elif kind == 2:
        mask[chance.randrange(height), chance.randrange(width)] = 1
    elif kind == 3:
        mask[: height // 2, : width // 3 + 1] = 1
        mask[height // 2 :] = 0.004
    return array_pixels((mask * most).astype(DTYPES[depth]), "Y")


def _pixels(chance: random.Random, height: int, width: int, layout: str, depth: str) -> Pixels:
    """Noise, one colour, or the extremes; sometimes transparent."""
    shape = (height, width, protocol.LAYOUTS[layout])
    generator = np.random.default_rng(chance.randrange(2**32))
    kind = chance.randrange(3)
    values = generator.random(shape) if kind == 0 else np.full(shape, chance.random())
    if kind == 2:
        values = generator.integers(0, 2, shape).astype(float)
    if protocol.has_alpha(layout) and chance.random() < 0.3:
        values[..., -1] = 0
    if depth.startswith("f"):
        return array_pixels(
            (values * chance.choice([1, 1, 3]) - chance.choice([0, 0, 1])).astype(DTYPES[depth]), layout
        )
    return array_pixels(np.round(values * np.iinfo(DTYPES[depth]).max).astype(DTYPES[depth]), layout)


def _words(wanted: StylizeRequest) -> str:
    """A request for people: without bytes."""
    content = wanted.content
    regions = [(region.alpha, region.preserve_color, region.mask is not None) for region in wanted.regions]
    settings = (wanted.stroke_size, wanted.detail, wanted.preview, wanted.compose, wanted.transfer)
    return f"{content.height} x {content.width} {content.layout} {content.depth}, {regions}, {settings}"
