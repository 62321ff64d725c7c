"""The smaller of two masks, sample by sample, without numpy: GIMP's own Python has only its standard library.

The samples of a strip are taken as one large integer, each in a lane of its own, and a few operations on such integers
compare all of them at once. A loop over 24 million samples would take seconds, in which no window responds.
"""

from __future__ import annotations

Samples = bytes | bytearray | memoryview

_STRIP_BYTES = 1 << 16
"""The bytes of a strip, few enough that a strip and everything computed from it stay in the processor's cache."""


def _in_each_lane(number: int, lane_bytes: int) -> int:
    return int.from_bytes(number.to_bytes(lane_bytes, "little") * (_STRIP_BYTES // lane_bytes), "little")


_TOP_U8, _BELOW_U8 = _in_each_lane(0x80, 1), _in_each_lane(0x7F, 1)
_TOP_F32, _BELOW_F32 = _in_each_lane(0x80000000, 4), _in_each_lane(0x7FFFFFFF, 4)
_BEYOND_INFINITY = _in_each_lane(0x007FFFFF, 4)
"""Added to the bits of a positive float, it sets the top bit only for NaN, whose bits lie above 0x7F800000."""


def smaller_samples(mask: Samples, selection: Samples, depth: str) -> bytearray:
    """Return the smaller of a mask's and a selection's samples.

    Args:
        mask: u8 or little-endian f32; floats of any value. NaN stays NaN, so that it is still detected.
        selection: As many samples of the same depth; floats of at least 0.
        depth: u8 or f32.
    """
    of_strip = {"u8": _smaller_u8, "f32": _smaller_f32}[depth]
    first, second = memoryview(mask), memoryview(selection)
    result = bytearray()
    for start in range(0, first.nbytes, _STRIP_BYTES):
        strip = slice(start, start + _STRIP_BYTES)
        found = of_strip(int.from_bytes(first[strip], "little"), int.from_bytes(second[strip], "little"))
        result += found.to_bytes(_STRIP_BYTES, "little")
    del result[first.nbytes :]
    return result


def _smaller_u8(mask: int, selection: int) -> int:
    differs = mask ^ selection
    # With its top bit set, no lane borrows from the next; it then tells mask >= selection, unless the top bits differ.
    reached = (mask | _TOP_U8) - (selection & _BELOW_U8)
    is_larger = (reached ^ ((reached ^ mask) & differs)) & _TOP_U8
    return mask ^ (differs & (is_larger - (is_larger >> 7) | is_larger))


def _smaller_f32(mask: int, selection: int) -> int:
    # The bits of floats of at least 0 are ordered as the floats are; a mask's float below 0 has its top bit set.
    reached = (mask | _TOP_F32) - (selection & _BELOW_F32)
    is_negative_or_nan = mask | ((mask & _BELOW_F32) + _BEYOND_INFINITY)
    is_larger = reached & ~is_negative_or_nan & _TOP_F32
    return mask ^ ((mask ^ selection) & (is_larger - (is_larger >> 31) | is_larger))
