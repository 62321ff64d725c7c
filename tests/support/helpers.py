"""What most tests need: the embedded network, pictures, requests, and a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adain_net.layout import load_network
from adain_net.network import AdainNetwork
from adain_server import pipe
from adain_server.model_key import OWN_MODEL
from adain_server.worker.layers import DTYPES, Array
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.connection import read_connection_file
from adain_style.client.jobs import Pixels, Region, StyleSource, StylizeRequest
from adain_style.client.wire import PictureSpec
from adain_weights.catalog import AboutModel
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_model, write_model
from support.processes import children_of

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "docs" / "pictures"
READY_TIMEOUT_S = 60.0
SERVER_COMMAND = [sys.executable, "-m", "adain_server"]


def embedded_network() -> AdainNetwork:
    """The network with the weights that ship with the project."""
    weights = load_model(DEFAULT_MODEL)
    return load_network(weights.encoder, weights.decoder).requires_grad_(False)


def write_other_model(folder: Path, *, darker: float = 0.0) -> None:
    """A model of a user's own that is easy to tell: it paints what the embedded one paints, inverted and darker."""
    decoder = load_model(DEFAULT_MODEL).decoder
    inverted = {
        **decoder,
        "conv1_1.weight": -decoder["conv1_1.weight"],
        "conv1_1.bias": 1 - darker - decoder["conv1_1.bias"],
    }
    about = AboutModel("Inverted", "paints inverted", "MIT", "a test", {}, {})
    write_model(folder, inverted, about=about, card="# Inverted\n")


def picture_tensor(name: str, *, side: int | None = None) -> Tensor:
    """A picture of docs/pictures as (1, 3, h, w) in 0..1, its shorter side scaled to `side`."""
    return pixels_tensor(picture_pixels(name, side=side))


def pixels_tensor(pixels: Pixels) -> Tensor:
    """8-bit wire pixels as (1, channels, h, w) float in 0..1."""
    return torch.from_numpy(pixels_array(pixels).copy()).permute(2, 0, 1)[None].float() / 255


def pixels_array(pixels: Pixels) -> Array:
    """Wire pixels as (h, w, channels)."""
    array = np.frombuffer(pixels.data, dtype=DTYPES[pixels.depth])
    return array.reshape(pixels.height, pixels.width, protocol.LAYOUTS[pixels.layout])


def array_pixels(array: Array, layout: str) -> Pixels:
    """The reverse of pixels_array()."""
    depth = next(name for name, dtype in DTYPES.items() if dtype == array.dtype)
    return Pixels(array.tobytes(), array.shape[0], array.shape[1], layout, depth)


def picture_pixels(name: str, *, side: int | None = None) -> Pixels:
    """A picture of docs/pictures for the wire."""
    with Image.open(PICTURES / name) as opened:
        picture = opened.convert("RGB")
    if side is not None:
        scale = side / min(picture.size)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    return Pixels(picture.tobytes(), picture.height, picture.width)


def random_pixels(height: int, width: int, layout: str = "RGB", *, seed: int = 0) -> Pixels:
    """Noise of 8 bit."""
    shape = (height, width, protocol.LAYOUTS[layout])
    return array_pixels(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), layout)


def request(
    content: Pixels,
    styles: Sequence[tuple[StyleSource, float]],
    *,
    alpha: float = 1.0,
    mask: Pixels | None = None,
    preserve_color: str = "none",
    **settings: Any,
) -> StylizeRequest:
    """A request with one region; settings are the request's own."""
    return StylizeRequest(content, [Region(styles, alpha, mask, preserve_color)], **settings)


class RunningServer:
    """A real server process on this machine, in a private folder of its own; close() ends it."""

    def __init__(
        self, *options: str, folder: Path | None = None, command: Sequence[str] = tuple(SERVER_COMMAND)
    ) -> None:
        self._owns_folder = folder is None
        # Not pytest's tmp_path: a socket's path has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="adain-test-")) if folder is None else folder
        self.connection_file = self.folder / "connection.json"
        self.styles = self.folder / "styles"
        self.models = self.folder / "models"
        self.output = ""
        self._log = (self.folder / "output.txt").open("w+")
        self.process = subprocess.Popen(
            [
                *command,
                *("--device", "cpu", "--connection-file", str(self.connection_file)),
                *("--styles", str(self.styles), "--models", str(self.models)),
                *options,
            ],
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )

    def __enter__(self) -> RunningServer:
        """Ready, or closed again and an AssertionError."""
        return self.wait_until_ready()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_until_ready(self) -> RunningServer:
        """Return once the server has said that it is ready."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while "Ready on" not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise AssertionError(f"the server did not get ready: {self.text()}")
            time.sleep(0.05)
        return self

    def text(self) -> str:
        """Everything that it has printed."""
        if not self._log.closed:
            self.output = (self.folder / "output.txt").read_text()
        return self.output

    def client(self) -> Client:
        """A client of it; the caller closes it."""
        return Client(read_connection_file(self.connection_file), name="test")

    def worker_pid(self) -> int:
        """The worker's process, found among the server's children."""
        for child in children_of(self.process.pid):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        raise AssertionError("the server has no worker")

    def close(self) -> None:
        """End the process and remove its folder."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.text()
        self._log.close()
        if self._owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


SMALL_REQUEST = request(random_pixels(24, 24), [(random_pixels(24, 24, seed=1), 1.0)])
"""Painted in a moment."""


def works(server: RunningServer) -> bool:
    """A server still paints."""
    with server.client() as client:
        return len(client.stylize(SMALL_REQUEST).pixels.data) == 24 * 24 * 3


class Bomb:
    """What a pickle of it does when it is loaded: it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._mark,)


def run_of(job: bytes, *, accepted: bool = False) -> pipe.Run:
    """What a worker is told of a job that has no pixels anywhere."""
    nothing = pipe.SharedPicture(PictureSpec(b"", 1, 1, "RGB", "u8"), "")
    return pipe.Run(
        job=job,
        model=OWN_MODEL,
        content=nothing,
        result=nothing,
        regions=(),
        stroke_size=1.0,
        detail=0.0,
        compose="blend",
        transfer="srgb",
        quality="fast",
        accepted=accepted,
        smoothing=0.0,
        previous=(),
    )
