"""A server's settings, made once from the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from adain_style.client.protocol import MAX_TEXT
from adain_weights.hub import SCHEME
from adain_weights.limits import LARGEST_PICTURE

DEFAULT_HANG_TIMEOUT_S = 120.0
"""A tile takes seconds on a slow processor; so does a reduced copy of the largest picture."""

DEFAULT_LOAD_TIMEOUT_S = 1800.0
"""A worker may have to download its model first, and reports nothing while it does."""

LEAST_MEMORY_BUDGET = 256 * 1024**2
"""Enough for a tile of the smallest size and a few features."""


def default_memory_budget() -> int:
    """An eighth of the machine's memory, between 1 and 4 GiB: the rest is for other programs."""
    if not hasattr(os, "sysconf"):  # Windows
        return 2 * 1024**3
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(max(memory // 8, 1024**3), 4 * 1024**3)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """The settings of a server.

    Attributes:
        device: auto, cpu, cuda or mps.
        model: In a form that adain_weights.hub.obtain() accepts: a name, a folder, a file, or hf://ORG/REPO[@REVISION].
        models: The user's own folder of models, which clients can choose from; it need not exist.
        bind: ipc, or tcp://ADDRESS:PORT; port 0 takes a free one.
        connection_file: Written once the server listens; its folder is the server's private one.
        max_pixels: The largest content, height times width.
        max_jobs: Most jobs at a time of all clients together. max_client_jobs: Of one client.
        max_bytes: Most bytes of pixels in memory, of all jobs together and of layers that are kept for later jobs.
        memory_budget: Bytes that the worker may use for tiles, features and what it keeps between jobs.
        styles: The user's own folder of styles; it need not exist.
        hang_timeout_s: A worker that has a job and reports nothing for this long is hung; it reports every tile.
        load_timeout_s: A worker that is not ready this long after its start is hung, too.
        idle_timeout_s: End after this long without a message and without a job; 0 for never.
    """

    device: str
    model: str
    models: Path
    bind: str
    connection_file: Path
    memory_budget: int
    styles: Path
    max_pixels: int = LARGEST_PICTURE
    max_jobs: int = 64
    max_client_jobs: int = 8
    max_bytes: int = 2 * 1024**3
    hang_timeout_s: float = DEFAULT_HANG_TIMEOUT_S
    load_timeout_s: float = DEFAULT_LOAD_TIMEOUT_S
    idle_timeout_s: float = 0.0

    @property
    def model_name(self) -> str:
        """The model's name that clients see until it is loaded: not its path, and at most MAX_TEXT characters."""
        if self.model.startswith(SCHEME):
            name = self.model.removeprefix(SCHEME).replace("/", "--")  # as in the models folder
        else:
            name = Path(self.model).absolute().name.removesuffix(".safetensors")
        return name[:MAX_TEXT]
