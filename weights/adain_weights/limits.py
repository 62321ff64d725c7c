"""Limits that are shared by programs that do not depend on each other."""

from __future__ import annotations

LARGEST_PICTURE = 2**28
"""Most pixels of a picture that is opened or painted, unless a server's owner sets another limit: 16,384 x 16,384. The
network works in tiles, so the pixels themselves need most of the memory, 8 bytes each."""
