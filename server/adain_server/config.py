"""A server's settings, made once from the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

BYTES_A_PIXEL = 1024
"""About what the network needs for a pixel when the whole picture is done at once, float32; see benchmarks/."""
FALLBACK_MAX_PIXELS = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What a server is to be.

    Attributes:
        device: auto, cpu, cuda or mps.
        model: As adain_weights.models.load_model() takes it: a name, a folder or a file.
        bind: ipc, or tcp://HOST:PORT on a loopback address; port 0 takes a free one.
        connection_file: Written once the server listens; its folder is the server's private place.
        max_pixels: The largest content, height times width.
        max_jobs: Jobs at a time, all clients together. max_client_jobs: of one client.
        max_bytes: Pixels in memory, of all jobs together.
        idle_timeout_s: End after this long without a message; None for never.
    """

    device: str
    model: str
    bind: str
    connection_file: Path
    max_pixels: int
    max_jobs: int = 64
    max_client_jobs: int = 8
    max_bytes: int = 2 * 1024**3
    idle_timeout_s: float | None = None


def default_max_pixels() -> int:
    """The largest picture for which half of this machine's memory is enough."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return FALLBACK_MAX_PIXELS  # Windows has no sysconf
    return memory // 2 // BYTES_A_PIXEL
