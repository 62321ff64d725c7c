"""A cache with a limit in bytes, which evicts the least recently used values first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class ByteCache:
    """A least-recently-used cache with a limit in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """The value, marked as just used; None when it is not in the cache."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of `size` bytes, unless it alone exceeds the limit."""
        if key in self._values:
            self.held -= self._values.pop(key)[1]
        if size > self.limit:
            return
        self.make_room(size)
        self._values[key] = (value, size)
        self.held += size

    def shrink(self, most: int) -> None:
        """Evict the largest values until at most `most` bytes are held: small ones are many and free little."""
        for key in sorted(self._values, key=lambda key: self._values[key][1], reverse=True):
            if self.held <= most:
                return
            self.held -= self._values.pop(key)[1]

    def make_room(self, size: int) -> None:
        """Evict values until `size` more bytes fit or the cache is empty."""
        while self._values and self.held + size > self.limit:
            _, (_, freed) = self._values.popitem(last=False)
            self.held -= freed


def forget_oldest(known: OrderedDict[Any, Any], most: int) -> None:
    """Remove the entries that were added or moved to the end longest ago, until at most `most` are left."""
    while len(known) > most:
        known.popitem(last=False)
