"""The engines against the public PyTorch port of AdaIN as its users run it ("peer"), in turns (A B C D A B C D).

Peer: float32, the 1x1 colour convolution by itself, the style encoded at every call, the whole picture at once. It runs
twice: with the allocator settings of our worker, in this process, and in a process of its own with glibc's defaults, as
its users have it. Ours: the style's statistics known, in tiles as the server does it, with the torch and the ncnn
engine. Then a step of a slider: one decode of known features. All have the same weights and threads.

Prints medians, the peers' times over ours, and the largest error of a result in 0..1. `--memory torch` or
`--memory ncnn` prints what an engine needs for one tile instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from adain_net.boxes import Box
from adain_net.encoder import RELU4_1
from adain_net.engine import Engine, TorchEngine
from adain_net.layout import PUBLIC_DECODER, PUBLIC_ENCODER, decoder_to_public, encoder_to_public
from adain_net.network import AdainNetwork
from adain_net.statistics import StyleStatistics
from adain_net.tiling import TILE, TiledContent
from adain_net.transform import adain_transform
from adain_server.io_process.worker_process import ALLOCATOR
from adain_server.worker.ncnn_engine import NcnnEngine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.helpers import embedded_network, picture_tensor
from turns import in_turns, spread

CPU = torch.device("cpu")
CONTENT, STYLE = "coffee.jpg", "van-gogh-road-to-tarascon.jpg"
SLIDER_SIDES = (256, 512)
SLIDER_RUNS = 9
PEER, USERS_PEER = "peer, worker's allocator", "peer, glibc's own allocator"


def main() -> None:
    """Run the comparison."""
    options = _options()
    if options.serve_peer:
        _serve_peer(options.sides[0], options.style_side)
        return
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        # glibc reads this when a program starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GLIBC_TUNABLES": ALLOCATOR})  # noqa: S606
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"allocator: GLIBC_TUNABLES={os.environ.get('GLIBC_TUNABLES') or '(none)'}", flush=True)
    with torch.inference_mode():
        if options.memory:
            _memory(options.memory)
            return
        network = embedded_network()
        engines: dict[str, Engine] = {
            "torch": TorchEngine(network, CPU),
            "ncnn": NcnnEngine(network, torch.get_num_threads()),
        }
        style = _picture(STYLE, options.style_side)
        for side in options.sides:
            _compare(network, engines, _picture(CONTENT, side), style, options.runs)
        for side in SLIDER_SIDES:
            _slider(engines, side)


def _compare(network: AdainNetwork, engines: dict[str, Engine], content: Tensor, style: Tensor, runs: int) -> None:
    peer, known = Peer(network), network.style_statistics(style)
    ways: dict[str, Callable[[], Tensor]] = {PEER: lambda: peer.stylize(content, style)}
    for name, engine in engines.items():
        ways[name] = lambda engine=engine: _tiled(engine, content, known)  # type: ignore[misc]
    print(
        f"\n{content.shape[2]} x {content.shape[3]}, the peer's style {style.shape[2]} x {style.shape[3]}, {runs} runs"
    )
    with _PeerProcess(content.shape[2], style.shape[2]) as users_peer:
        results, seconds = _interleaved({USERS_PEER: lambda: users_peer.run(content), **ways}, runs)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, result in results.items():
        error = "" if name == USERS_PEER else f", error {float((result - results[PEER]).abs().max()):.1e}"
        ratios = f"{medians[USERS_PEER] / medians[name]:5.2f} and {medians[PEER] / medians[name]:5.2f} times the peers'"
        print(f"{name:27} {spread(seconds[name])}, {ratios} speeds{error}", flush=True)


class _PeerProcess:
    """The peer in a process with glibc's own allocator settings, one picture for each line that it is sent."""

    def __init__(self, side: int, style_side: int) -> None:
        arguments = ["--serve-peer", "--sides", str(side), "--style-side", str(style_side)]
        environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> _PeerProcess:
        self._wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()  # the end of its input ends it

    def run(self, content: Tensor) -> Tensor:
        """One picture; what comes back is not it, but stands in its place."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._wait()
        return content

    def _wait(self) -> None:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the peer's process has ended")


def _serve_peer(side: int, style_side: int) -> None:
    peer = Peer(embedded_network())
    content, style = _picture(CONTENT, side), _picture(STYLE, style_side)
    print("ready", flush=True)
    with torch.inference_mode():
        for _ in sys.stdin:
            peer.stylize(content, style)
            print("done", flush=True)


def _slider(engines: dict[str, Engine], side: int) -> None:
    feat = engines["torch"].encode(_picture(CONTENT, side))
    ways: dict[str, Callable[[], Tensor]] = {name: partial(engine.decode, feat) for name, engine in engines.items()}
    print(f"\none decode, {side} x {side}, {SLIDER_RUNS} runs")
    _, seconds = _interleaved(ways, SLIDER_RUNS)
    for name, values in seconds.items():
        print(f"{name:5} {spread(values)}", flush=True)


def _memory(kind: str) -> None:
    network = embedded_network()
    print(f"network loaded: {_resident_mib('VmRSS')} MiB resident")
    engine: Engine = TorchEngine(network, CPU) if kind == "torch" else NcnnEngine(network, torch.get_num_threads())
    print(f"{kind} engine made: {_resident_mib('VmRSS')} MiB")
    side = TILE + 2 * RELU4_1.margin
    feat = engine.encode(torch.rand(1, 3, side, side))
    print(f"encoded {side} x {side}: peak {_resident_mib('VmHWM')} MiB")
    engine.decode(feat)
    print(f"decoded it: peak {_resident_mib('VmHWM')} MiB")


class Peer:
    """AdaIN as the public PyTorch port does it, written anew: two Sequential modules in the public layout.

    Source:
        Huang and Belongie, ICCV 2017, eq. 8.
    """

    def __init__(self, network: AdainNetwork) -> None:
        self._encoder = _sequential(encoder_to_public(network.encoder), PUBLIC_ENCODER, ceil=True)
        self._decoder = _sequential(decoder_to_public(network.decoder), PUBLIC_DECODER, ceil=False)

    def stylize(self, content: Tensor, style: Tensor) -> Tensor:
        """The stylized picture, (1, 3, h, w), clamped to 0..1, of pictures in 0..1."""
        feat, style_feat = self._encoder(content), self._encoder(style)
        (mean, std), (style_mean, style_std) = _mean_std(feat), _mean_std(style_feat)
        target_feat = (feat - mean) / std * style_std + style_mean
        stylized: Tensor = self._decoder(target_feat)
        return stylized[:, :, : content.shape[2], : content.shape[3]].clamp(0.0, 1.0)


def _sequential(state: dict[str, Tensor], numbers: dict[str, int], *, ceil: bool) -> nn.Sequential:
    """The encoder (`ceil`) or the decoder, as plain modules."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)] if ceil else []
    names = list(numbers)
    for name, following in zip(names, [*names[1:], ""], strict=True):
        outputs, inputs = state[f"{numbers[name]}.weight"].shape[:2]
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]
        # The number before the underscore is the resolution's: conv2_2 is followed by conv3_1 at half of it.
        if following and following[:5] != name[:5]:
            layers.append(nn.MaxPool2d(2, 2, 0, ceil_mode=True) if ceil else nn.Upsample(scale_factor=2))
    if not ceil:
        layers.pop()  # no ReLU after the last
    module = nn.Sequential(*layers)
    wanted = {key: value for key, value in state.items() if int(key.split(".")[0]) < len(layers)}
    module.load_state_dict(wanted)
    return module.requires_grad_(False)


def _mean_std(feat: Tensor) -> tuple[Tensor, Tensor]:
    cells = feat.flatten(2)
    return cells.mean(dim=2)[:, :, None, None], (cells.var(dim=2) + 1e-5).sqrt()[:, :, None, None]


def _tiled(engine: Engine, content: Tensor, style: StyleStatistics) -> Tensor:
    """The stylized picture, as the server makes it."""
    height, width = content.shape[2:]
    tiled = TiledContent([engine], lambda box: box.of(content), [None], height=height, width=width)
    (own,) = tiled.encode(_ignore).statistics
    result = torch.empty_like(content)

    def write(box: Box, painted: Tensor) -> None:
        box.of(result).copy_(painted)

    tiled.decode([adain_transform(own, style)], write, _ignore)
    return result


def _ignore(_stage: str, _over: int, _all: int) -> None:
    pass


def _interleaved(
    ways: Mapping[str, Callable[[], Tensor]], runs: int
) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Each way's result, and the seconds of its runs; one more run before them is not counted."""
    results = {name: way() for name, way in ways.items()}
    return results, in_turns(ways, runs)


def _picture(name: str, side: int) -> Tensor:
    """A square part of a picture of docs/pictures."""
    return picture_tensor(name, side=side)[:, :, :side, :side].contiguous()


def _resident_mib(field: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) // 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048], help="pixels (default: %(default)s)")
    parser.add_argument("--style-side", type=int, default=512, help="of the peer's style (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each way (default: %(default)s)")
    parser.add_argument("--memory", choices=["torch", "ncnn"], help="print an engine's memory instead (Linux)")
    parser.add_argument("--serve-peer", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
