"""adain-server: the command that starts the server."""

from __future__ import annotations

import argparse
import logging
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from adain_client.connection import default_connection_file
from adain_client.folders import user_styles_folder
from adain_server.config import DEFAULT_MAX_PIXELS, LEAST_MEMORY_BUDGET, ServerConfig, default_memory_budget
from adain_server.errors import ServerError
from adain_server.place import Place
from adain_server.server import Server
from adain_weights.manifest import DEFAULT_MODEL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    config = ServerConfig(
        device=options.device,
        model=options.model,
        bind=options.bind,
        connection_file=options.connection_file.absolute(),
        memory_budget=options.memory_budget,
        styles=options.styles,
        max_pixels=options.max_megapixels,
        idle_timeout_s=options.idle_timeout,
    )
    try:
        with Place(config.connection_file, config.bind) as place:
            server = Server(config, place, announce=_announce)

            def stop(_number: int, _frame: FrameType | None) -> None:
                server.request_stop()

            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
            server.run()
    except ServerError as error:
        print(f"adain-server: {error}", file=sys.stderr)
        return 1
    return 0


def _announce(message: str) -> None:
    print(f"adain-server: {message}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adain-server", description="Stylizes pictures for GIMP, Krita and adain-stylize."
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="what computes (default: %(default)s)"
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|FOLDER|FILE",
        help="a model that 'adain-weights list' names, a folder with decoder.safetensors, or such a file "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--bind",
        default="tcp://127.0.0.1:0" if sys.platform == "win32" else "ipc",
        metavar="ipc|tcp://127.0.0.1:PORT",
        help="where to listen; port 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--connection-file",
        type=Path,
        default=default_connection_file(),
        metavar="FILE",
        help="tells clients where the server is; its folder must be yours alone (default: %(default)s)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=_megapixels,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help=f"refuse larger pictures (default: {DEFAULT_MAX_PIXELS // 1_000_000})",
    )
    parser.add_argument(
        "--memory-budget",
        type=_memory,
        default=default_memory_budget(),
        metavar="SIZE",
        help="for tiles, features and what is kept between requests, like 512M or 2G; less is slower "
        f"(default: {default_memory_budget() / 1024**3:.1f}G)",
    )
    parser.add_argument(
        "--styles",
        type=Path,
        default=user_styles_folder(),
        metavar="FOLDER",
        help="saved styles and pictures that get a name of their own (default: %(default)s)",
    )
    parser.add_argument(
        "--idle-timeout",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="end after this long without work; 0 for never (default: never)",
    )
    parser.add_argument("--verbose", action="store_true", help="log each client's hello")
    return parser


def _megapixels(text: str) -> int:
    value = float(text)
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError("must be above 0 and at most 10,000")
    return int(value * 1_000_000)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("must be at least 0 and finite")
    return value


def _memory(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])i?B?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError("is a size like 512M or 2G")
    size = int(float(match[1]) * 1024 ** {"M": 2, "G": 3}[match[2].upper()])
    if size < LEAST_MEMORY_BUDGET:
        raise argparse.ArgumentTypeError(f"must be at least {LEAST_MEMORY_BUDGET // 1024**2}M")
    return size


if __name__ == "__main__":
    sys.exit(main())
