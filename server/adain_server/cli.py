"""adain-server: the command that starts the server."""

from __future__ import annotations

import argparse
import math
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from adain_server.access import keys
from adain_server.config import (
    DEFAULT_HANG_TIMEOUT_S,
    LEAST_MEMORY_BUDGET,
    ServerConfig,
    default_memory_budget,
)
from adain_server.errors import ServerError
from adain_server.io_process.endpoint import Endpoint
from adain_server.io_process.limits import raise_descriptor_limit
from adain_server.io_process.server import Server
from adain_server.logs import log_to_file, log_to_terminal
from adain_style.client.client import Client
from adain_style.client.connection import default_connection_file, read_connection_file
from adain_style.client.errors import AdainError
from adain_style.client.folders import user_styles_folder
from adain_style.client.version import VERSION
from adain_weights.catalog import user_models_folder
from adain_weights.console import run_command
from adain_weights.limits import LARGEST_PICTURE
from adain_weights.manifest import DEFAULT_MODEL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command("adain-server", lambda: _run(given), failures=(ServerError, AdainError))


def _run(given: list[str]) -> int:
    if given[:1] == ["keys"]:
        return keys.main(given[1:])
    options = _parser().parse_args(given)
    if options.status:
        return _show_status(options.connection_file)
    log_to_terminal(verbose=options.verbose)
    raise_descriptor_limit()
    config = ServerConfig(
        device=options.device,
        model=options.model,
        models=options.models,
        bind=options.bind,
        connection_file=options.connection_file.absolute(),
        memory_budget=options.memory_budget,
        styles=options.styles,
        max_pixels=options.max_megapixels,
        hang_timeout_s=options.hang_timeout,
        idle_timeout_s=options.idle_timeout,
    )
    with Endpoint(config.connection_file, config.bind, keys=keys.KeyRing(options.keys)) as endpoint:
        log_to_file(config.connection_file.parent)
        server = Server(config, endpoint, announce=_announce)

        def stop(_number: int, _frame: FrameType | None) -> None:
            server.request_stop()

        for name in ("SIGTERM", "SIGINT", "SIGHUP"):  # Windows has no SIGHUP
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), stop)
        server.run()
    return 0


def _show_status(connection_file: Path) -> int:
    """Print the running server's status; returns 0 when it is ready to paint, 1 when not."""
    with Client(read_connection_file(connection_file), name="adain-server --status") as client:
        status = client.status()
    print(*status.lines(), sep="\n")
    return 0 if status.ready else 1


def _announce(message: str) -> None:
    print(f"adain-server: {message}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adain-server",
        description="Stylizes pictures for GIMP, Krita and adain-stylize.",
        epilog="'adain-server keys --help' says how clients on other machines are let in.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="what computes (default: %(default)s)"
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|FOLDER|FILE|hf://ORG/REPO[@REVISION]",
        help="what paints unless a client chooses: a model that 'adain-weights list' names, a folder with "
        "decoder.safetensors, such a file, or one of the Hugging Face Hub's (default: %(default)s)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=user_models_folder(),
        metavar="FOLDER",
        help="models that clients can choose, one folder each; looked at each time (default: %(default)s)",
    )
    parser.add_argument(
        "--bind",
        default="tcp://127.0.0.1:0" if sys.platform == "win32" else "ipc",
        metavar="ipc|tcp://ADDRESS:PORT",
        help="where to listen: tcp://0.0.0.0:PORT for other machines too, whose keys are listed; port 0 takes a free "
        "one (default: %(default)s)",
    )
    parser.add_argument("--keys", type=Path, metavar="FOLDER", help="where the keys are (default: your settings)")
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
        default=LARGEST_PICTURE,
        metavar="N",
        help=f"refuse larger pictures (default: {LARGEST_PICTURE // 1_000_000})",
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
    parser.add_argument(
        "--hang-timeout",
        type=_positive_seconds,
        default=DEFAULT_HANG_TIMEOUT_S,
        metavar="SECONDS",
        help="end and restart the process that paints when it says nothing for so long (default: %(default)g)",
    )
    parser.add_argument("--status", action="store_true", help="say how the running server is, and end")
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


def _positive_seconds(text: str) -> float:
    if (value := _seconds(text)) == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _memory(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])i?B?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError("is a size like 512M or 2G")
    size = float(match[1]) * 1024 ** {"M": 2, "G": 3}[match[2].upper()]
    if size == math.inf:
        raise argparse.ArgumentTypeError("is more than any machine has")
    if size < LEAST_MEMORY_BUDGET:
        raise argparse.ArgumentTypeError(f"must be at least {LEAST_MEMORY_BUDGET // 1024**2}M")
    return int(size)


if __name__ == "__main__":
    sys.exit(main())
