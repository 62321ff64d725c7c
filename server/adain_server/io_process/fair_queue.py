"""Decides whose job is next: clients take turns, and each client's jobs keep their order."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable

from adain_server.cache import forget_oldest

REMEMBERED_CLIENTS = 1024


class FairQueue:
    """Waiting jobs. The next one is the oldest of the client that was served longest ago."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._served: OrderedDict[bytes, int] = OrderedDict()
        self._count = itertools.count(1)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, job_id: bytes, *, first: bool = False) -> None:
        """Add a job; first: before the others of its client."""
        if first:
            self._waiting.appendleft(job_id)
        else:
            self._waiting.append(job_id)

    def remove(self, job_id: bytes) -> None:
        """Remove a job, if it is waiting."""
        if job_id in self._waiting:
            self._waiting.remove(job_id)

    def take(self, client_of: Callable[[bytes], bytes]) -> bytes:
        """Take the next job out. client_of: Returns a job's client, which may change while the job waits."""
        job_id = min(self._waiting, key=lambda each: self._served.get(client_of(each), 0))
        self._waiting.remove(job_id)
        self._served[client_of(job_id)] = next(self._count)
        self._served.move_to_end(client_of(job_id))
        forget_oldest(self._served, REMEMBERED_CLIENTS)
        return job_id
