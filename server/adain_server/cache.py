"""Values kept while they fit a number of bytes; the one that was used longest ago goes first."""

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
        """The value, which counts as used now; None when it is not kept."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of that many bytes, unless it alone is over the limit."""
        if key in self._values:
            self.held -= self._values.pop(key)[1]
        if size > self.limit:
            return
        self.make_room(size)
        self._values[key] = (value, size)
        self.held += size

    def shrink(self, most: int) -> None:
        """Forget the largest values until that many bytes are left: they free the most, and the small ones are many."""
        for key in sorted(self._values, key=lambda key: self._values[key][1], reverse=True):
            if self.held <= most:
                return
            self.held -= self._values.pop(key)[1]

    def make_room(self, size: int) -> None:
        """Forget values until that many bytes more fit, or none is left."""
        while self._values and self.held + size > self.limit:
            _, (_, freed) = self._values.popitem(last=False)
            self.held -= freed


def forget_oldest(known: OrderedDict[Any, Any], most: int) -> None:
    """Forget what was put or moved to the end longest ago, until so many are left."""
    while len(known) > most:
        known.popitem(last=False)
