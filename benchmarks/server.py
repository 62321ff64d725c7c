"""What a user waits for, through a real server: its overhead, sliders, selections, and memory.

Everything is measured in turns (A B A B) in one run, medians are printed, with the ratios. Both sides of a comparison
know the style's statistics, have the same threads and the same allocator settings. `--memory SIDE` instead paints one
noisy picture of that side and prints what the server's processes needed.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adain_server.io_process.worker_process import ALLOCATOR
from turns import in_turns, spread

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

if TYPE_CHECKING:
    from adain_style.client.client import Client

STYLE = "van-gogh-bridge"
PREVIEWS = (256, 512)
"""Longer sides, in pixels, of what is shown while a slider moves."""
CANVAS = 2048
SHARES = (1.0, 0.5, 0.1, 0.02)
"""Of the canvas that is selected, as a square in its middle."""


def main() -> None:
    """Run the measurements."""
    options = _options()
    if options.memory:
        _memory(options.memory, options.memory_budget)
        return
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        # glibc reads this when a program starts; the bare network has to have the worker's settings.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GLIBC_TUNABLES": ALLOCATOR})  # noqa: S606

    from support.helpers import RunningServer

    # Nothing may be kept from one run to the next where the whole way is measured: each run has pixels of its own.
    with RunningServer() as server, server.client() as client:
        _overhead(client, options.overhead_side, options.runs)
        for side in PREVIEWS:
            _sliders(client, side, options.runs)
        _selections(client, options.runs)
    for side in options.memory_sides:
        subprocess.run([sys.executable, __file__, "--memory", str(side)], check=True)


def _overhead(client: Client, side: int, runs: int) -> None:
    """A picture through the server, from pixels to pixels, against the network in this process, in the same tiles."""
    import torch

    from adain_net.boxes import Box
    from adain_net.statistics import StyleStatistics
    from adain_net.tiling import TiledContent
    from adain_net.transform import adain_transform
    from adain_server.worker.layers import Layer
    from adain_server.worker.ncnn_engine import best_engine
    from adain_weights.styles import built_in_styles, read_style
    from support.helpers import array_pixels, embedded_network, request

    engine = best_engine(embedded_network())
    saved = read_style(built_in_styles()[STYLE]).relu4_1
    style = StyleStatistics(torch.tensor(saved.mean)[None], torch.tensor(saved.std)[None])
    content = _noise(side)

    def through_server() -> None:
        client.stylize(request(array_pixels(_varied(content), "RGB"), [(STYLE, 1.0)]))

    @torch.inference_mode()
    def bare() -> None:
        layer = Layer(_varied(content), "RGB")
        out = np.empty_like(layer.array)
        tiled = TiledContent([engine], layer.colours, [None], height=side, width=side)
        own = tiled.encode(_ignore).statistics[0]

        def write(box: Box, painted: torch.Tensor) -> None:
            layer.write(box, painted, None, out)

        tiled.decode([adain_transform(own, style)], write, _ignore)

    seconds = _interleaved({"server": through_server, "bare network": bare}, runs)
    ratio = statistics.median(seconds["server"]) / statistics.median(seconds["bare network"])
    print(f"\n{side} x {side}, {type(engine).__name__}: through the server / bare network = {ratio:.3f}", flush=True)


def _sliders(client: Client, side: int, runs: int) -> None:
    """A slider's step on a photograph of 4096 x 2731, from the call to the pixels; the layer is there already."""
    from support.helpers import array_pixels, request

    content = array_pixels(_noise(4096, 2731), "RGB")
    alphas = iter(np.linspace(0.1, 0.9, runs + 1))

    def step() -> None:
        client.stylize(request(content, [(STYLE, 1.0)], alpha=float(next(alphas)), preview=side))

    started = time.perf_counter()
    step()
    print(f"\npreview of {side}: the first one, with the upload, {time.perf_counter() - started:.3f} s")
    _interleaved({"slider step": step}, runs)


def _selections(client: Client, runs: int) -> None:
    """The same canvas with smaller and smaller selections."""
    from support.helpers import array_pixels, request

    content = _noise(CANVAS)

    def ask(share: float) -> None:
        mask = np.zeros((CANVAS, CANVAS, 1), dtype=np.uint8)
        half = round(CANVAS * share**0.5 / 2)
        mask[CANVAS // 2 - half : CANVAS // 2 + half, CANVAS // 2 - half : CANVAS // 2 + half] = 255
        pixels = array_pixels(_varied(content), "RGB")
        client.stylize(request(pixels, [(STYLE, 1.0)], mask=array_pixels(mask, "Y")))

    print(f"\nselections on a canvas of {CANVAS} x {CANVAS}")
    ways: dict[str, Callable[[], object]] = {}
    for share in SHARES:
        ways[f"{share:.0%}"] = lambda share=share: ask(share)  # type: ignore[misc]
    seconds = _interleaved(ways, max(1, runs // 3))
    whole = statistics.median(seconds[f"{SHARES[0]:.0%}"])
    for name, values in seconds.items():
        print(f"{name:>5} of the canvas: {statistics.median(values) / whole:.3f} of the time", flush=True)


def _memory(side: int, budget: str) -> None:
    from support.helpers import RunningServer, array_pixels, request

    options = ["--memory-budget", budget] if budget else []
    with RunningServer(*options) as server, server.client() as client:
        peaks = _Peaks([server.process.pid, server.worker_pid()])
        content = array_pixels(_noise(side), "RGB")
        started = time.perf_counter()
        client.stylize(request(content, [(STYLE, 1.0)]), on_progress=lambda _: peaks.look())
        seconds = time.perf_counter() - started
        worker_peak = peaks.worker_peak()
    print(f"\n{side} x {side}: {seconds:.1f} s, both processes at most {peaks.highest / 2**30:.2f} GiB together,")
    print(f"the worker at most {worker_peak / 2**30:.2f} GiB with the shared pixels", flush=True)


class _Peaks:
    """The largest memory that processes had together: private pages, and shared ones by their share."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self.highest = 0

    def worker_peak(self) -> int:
        """The highest that the kernel saw of the last process, shared pixels included, in bytes."""
        status = Path(f"/proc/{self._pids[-1]}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def look(self) -> None:
        """Look once."""
        texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self._pids)
        sizes = (re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE) for text in texts)
        self.highest = max(self.highest, sum(int(size[1]) * 1024 for size in sizes if size))


def _interleaved(ways: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of each way, in turns; the medians are printed."""
    seconds = in_turns(ways, runs)
    for name, values in seconds.items():
        print(f"{name}: {spread(values)}, {runs} runs", flush=True)
    return seconds


def _noise(width: int, height: int | None = None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height or width, width, 3), dtype=np.uint8)


def _varied(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Other pixels than ever before, so that nothing is known of them."""
    array = array.copy()
    array[0, 0] = np.frombuffer(os.urandom(3), dtype=np.uint8)
    return array


def _ignore(_stage: str, _step: int, _steps: int) -> None:
    return


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each side (default: %(default)s)")
    parser.add_argument("--overhead-side", type=int, default=1024, metavar="SIDE", help="pixels (default: %(default)s)")
    parser.add_argument("--memory-sides", type=int, nargs="*", default=[4096], metavar="SIDE", help="pixels")
    parser.add_argument("--memory", type=int, metavar="SIDE", help="measure memory only, in this process")
    parser.add_argument("--memory-budget", default="", metavar="SIZE", help="with --memory: the server's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
