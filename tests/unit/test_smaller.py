"""The smaller of a mask and a selection, as a loop with min() has it, and many times faster than such a loop."""

from __future__ import annotations

import math
import random
import time
from array import array

import pytest

from adain_style.gimp.smaller import smaller_samples

KINDS = {"u8": "B", "f32": "f"}
SPECIAL = (0.0, -0.0, 1.0, math.nextafter(1.0, 0), 1e-45, 1.2e-38, 0.5, -0.5, 2.0, -3e38, 3e38, math.inf, -math.inf)


def _by_min(mask: array[int] | array[float], selection: array[int] | array[float]) -> bytes:
    return array(mask.typecode, map(min, mask, selection)).tobytes()


def test_every_pair_of_bytes() -> None:
    """All 65,536 of them."""
    mask, selection = array("B", bytes(range(256)) * 256), array("B", sorted(bytes(range(256)) * 256))
    assert smaller_samples(mask.tobytes(), selection.tobytes(), "u8") == _by_min(mask, selection)


def test_every_pair_of_special_floats() -> None:
    """Below 0, above 1, infinite, the smallest there are: bit for bit; a selection is never below 0."""
    selections = [value for value in SPECIAL if math.copysign(1, value) > 0]
    pairs = [(value, other) for value in SPECIAL for other in selections]
    mask, selection = (array("f", side) for side in zip(*pairs, strict=True))
    assert smaller_samples(mask.tobytes(), selection.tobytes(), "f32") == _by_min(mask, selection)


def test_nan_of_a_mask_stays_nan() -> None:
    """Whatever its sign and its bits; its neighbours are what they would be without it."""
    patterns = (0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0xFFC00000, 0xFF800001, 0xFFFFFFFF)
    mask = b"".join(pattern.to_bytes(4, "little") + array("f", [0.75]).tobytes() for pattern in patterns)
    selection = array("f", [0.5] * 12).tobytes()
    result = smaller_samples(mask, selection, "f32")
    assert result[0::8] + result[1::8] + result[2::8] + result[3::8] == b"".join(mask[byte::8] for byte in range(4))
    assert array("f", bytes(result))[1::2] == array("f", [0.5] * 6)


@pytest.mark.parametrize("depth", KINDS)
@pytest.mark.parametrize("count", [1, 3, 65536 // 4, 65536, 65537, 200_001])
def test_every_number_of_samples(depth: str, count: int) -> None:
    """Strips that are whole and strips that are not."""
    numbers = random.Random(count)
    draw = (lambda: numbers.randrange(256)) if depth == "u8" else (lambda: numbers.random())
    mask, selection = (array(KINDS[depth], [draw() for _ in range(count)]) for _ in range(2))
    result = smaller_samples(mask.tobytes(), memoryview(bytearray(selection.tobytes())), depth)
    assert result == _by_min(mask, selection)


@pytest.mark.parametrize("depth", KINDS)
def test_it_is_many_times_faster_than_a_loop(depth: str) -> None:
    """Measured: 45 times for bytes and 9 for floats; a third of that is asked for, because machines are busy."""
    samples = array(KINDS[depth], bytes(8_000_000))
    data = samples.tobytes()
    looped, at_once = [], []
    for _ in range(2):
        begun = time.process_time()
        _by_min(samples, samples)
        looped.append(time.process_time() - begun)
        begun = time.process_time()
        smaller_samples(data, data, depth)
        at_once.append(time.process_time() - begun)
    assert min(looped) > 3 * min(at_once)
