"""What the server and the wire cost: a picture through a real server against the bare network, side by side.

Both sides know the style's statistics already, run float32 on the CPU with the same allocator settings, and take turns
(A B A B). Prints medians, their ratio, and the worker's memory a pixel.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

from adain_server.worker_process import ALLOCATOR

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))


def main() -> None:
    """Run the comparison."""
    options = _options()
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        # glibc reads this when a program starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GLIBC_TUNABLES": ALLOCATOR})  # noqa: S606

    import torch

    from helpers import RunningServer, embedded_network, pixels_tensor, random_pixels, request

    side = options.side
    content, style = random_pixels(side, side), random_pixels(256, 256, seed=1)
    network = embedded_network()
    style_statistics = network.style_statistics(pixels_tensor(style))
    through_server, bare = [], []
    with RunningServer() as server, server.client() as client:
        wanted = request(content, [(style, 1.0)])
        client.stylize(wanted)  # the server learns the style; both sides are warm
        memory = _peak_bytes(server.worker_pid())
        for run in range(options.runs):
            started = time.perf_counter()
            client.stylize(wanted)
            through_server.append(time.perf_counter() - started)
            started = time.perf_counter()
            with torch.inference_mode():
                feat = network.encode(pixels_tensor(content))
                network.stylize_features(feat, style_statistics, alpha=1.0, height=side, width=side)
            bare.append(time.perf_counter() - started)
            print(f"run {run + 1}: server {through_server[-1]:.3f} s, bare {bare[-1]:.3f} s", flush=True)
    server_s, bare_s = statistics.median(through_server), statistics.median(bare)
    print(f"{side} x {side}, {torch.get_num_threads()} threads, torch {torch.__version__}, style known")
    print(f"median through the server {server_s:.3f} s, bare network {bare_s:.3f} s, ratio {server_s / bare_s:.3f}")
    print(f"worker's peak memory {memory / 2**20:.0f} MiB, {memory / side**2:.0f} bytes a pixel with everything loaded")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="pixels (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each side (default: %(default)s)")
    return parser.parse_args()


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main()
