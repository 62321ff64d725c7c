"""Limits that programs share which know nothing of each other."""

from __future__ import annotations

LARGEST_PICTURE = 2**28
"""Pixels of a picture that is opened or painted, at most, unless a server's owner says otherwise: 16,384 x 16,384. The
network works in tiles, so the pixels themselves are what needs memory, 8 bytes each."""
