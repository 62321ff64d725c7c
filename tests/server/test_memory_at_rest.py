"""What a worker has used for a large picture it gives back when nothing more is to be done."""

from __future__ import annotations

import re
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from adain_server.io_process import worker_process
from support.helpers import SMALL_REQUEST, random_pixels, request
from support.processes import wait_until
from support.server_inside import ServerInside

SIDE = 1600
REST_S = 0.5
SOON_S = 120.0
"""Far more than a rest takes on a machine that has much else to do."""
GIB = 1024**3
KEPT_MIB = 64
"""As the worker's KEPT_AT_REST; to import that would load torch into the tests of a server."""
SLACK_MIB = 64
"""What stays in pages that are used in part."""


def _rests_soon(connection: Connection, device: str, model: str, models: Path, budget: int) -> None:
    from adain_server.worker.worker import run_worker

    run_worker(connection, device=device, model=model, models=models, memory_budget=budget, rest_s=REST_S)


def _anonymous_mib(pid: int) -> float:
    match = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def test_worker_at_rest_gives_the_memory_of_a_large_picture_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once nothing has come for a while it has hardly more than before the picture; then it paints as ever."""
    monkeypatch.setattr(worker_process, "_run", _rests_soon)
    large = request(random_pixels(SIDE, SIDE), [("space-sun", 1.0)])
    with ServerInside(memory_budget=2 * GIB) as server, server.client() as client:
        pid = server.wait_until_ready().server._worker.process.pid
        started = _anonymous_mib(pid)
        assert wait_until(lambda: _anonymous_mib(pid) < started - SLACK_MIB, SOON_S) < SOON_S
        before = _anonymous_mib(pid)
        most = 0.0

        def note(_progress: object) -> None:
            nonlocal most
            most = max(most, _anonymous_mib(pid))

        client.stylize(large, on_progress=note)
        assert most > before + 2 * (KEPT_MIB + SLACK_MIB), "the picture is too small to show anything"
        assert wait_until(lambda: _anonymous_mib(pid) < before + KEPT_MIB + SLACK_MIB, SOON_S) < SOON_S
        assert client.stylize(SMALL_REQUEST).pixels.height == 24
        assert client.status().worker_starts == 1
