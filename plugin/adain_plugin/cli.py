"""adain-plugin: puts the plug-in into GIMP and Krita and takes it out again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from adain_plugin import doctor, install
from adain_plugin.archive import ARCHIVES, write_archives
from adain_plugin.errors import PluginError
from adain_plugin.gimp import find_gimps
from adain_plugin.hosts import Host
from adain_plugin.krita import find_kritas
from adain_plugin.machine import Machine
from adain_style.client.version import VERSION
from adain_weights.console import run_command

Finder = Callable[..., Sequence[Host]]
"""Finds a host's user folders; called with the machine, and with folder= and program= as the user named them."""
HOSTS: dict[str, Finder] = {"gimp": find_gimps, "krita": find_kritas}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command("adain-plugin", lambda: _run(arguments), failures=(PluginError,))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    options.run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adain-plugin", description="Puts AdaIN Style into GIMP 3 and Krita.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="your settings folder of GIMP, the one with plug-ins in it, or your folder of Krita with pykrita in it",
    )
    place.add_argument(
        "--program",
        metavar="PATH",
        help="the paint program, for Krita also an AppImage; both are looked for unless you name them",
    )
    for name, run, text in (
        ("install", _install, "put the plug-in in, or bring it up to date"),
        ("uninstall", _uninstall, "take the plug-in out"),
    ):
        command = commands.add_parser(name, parents=[place], help=text)
        command.add_argument("host", choices=HOSTS, help="the paint program")
        command.set_defaults(run=run)
    command = commands.add_parser("status", parents=[place], help="say where the plug-in is and whether it works")
    command.add_argument("host", nargs="?", choices=HOSTS, help="the paint program; all of them unless you name one")
    command.set_defaults(run=_status)
    command = commands.add_parser("doctor", help="say what a report of a fault needs, without your name and keys")
    command.set_defaults(run=_doctor)
    command = commands.add_parser(
        "zip", help="write one file for any system, which Krita imports, or which is unpacked for GIMP"
    )
    command.add_argument("hosts", nargs="+", choices=ARCHIVES, help="the paint programs")
    command.add_argument(
        "--output", type=Path, metavar="FILE|DIR", help="the file, or a folder; adain-style-HOST.zip here by default"
    )
    command.add_argument(
        "--release", type=Path, metavar="WHEEL", help="put this project's wheel in, and fail if any library is missing"
    )
    command.set_defaults(run=_zip)
    return parser


def _install(options: argparse.Namespace) -> None:
    hosts = _find(HOSTS[options.host], options)
    # An older version leaves its folder behind; such folders matter only where no program can be found.
    for host in [host for host in hosts if host.program] or hosts:
        install.install(host, _say)


def _uninstall(options: argparse.Namespace) -> None:
    for host in _find(HOSTS[options.host], options):
        install.uninstall(host, _say)


def _status(options: argparse.Namespace) -> None:
    for find in [HOSTS[options.host]] if options.host else HOSTS.values():
        try:
            hosts = _find(find, options)
        except PluginError as error:
            _say(str(error))  # few users have all the hosts
            continue
        for host in hosts:
            install.status(host, _say)


def _doctor(_options: argparse.Namespace) -> None:
    doctor.examine(HOSTS.values(), _say)


def _zip(options: argparse.Namespace) -> None:
    output: Path = options.output or Path()
    if output.is_dir() or len(options.hosts) > 1:
        outputs = {host: output / ARCHIVES[host].name for host in options.hosts}
    else:
        outputs = {options.hosts[0]: output}
    write_archives(Machine.here(), outputs, _say, wheel=options.release)


def _find(find: Finder, options: argparse.Namespace) -> Sequence[Host]:
    return find(Machine.here(), folder=options.folder, program=options.program)


def _say(message: str) -> None:
    print(message, flush=True)


if __name__ == "__main__":
    sys.exit(main())
