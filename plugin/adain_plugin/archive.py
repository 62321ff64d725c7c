"""Zips of the plug-in, for Krita's own import and for unpacking into GIMP's plug-in folder."""

from __future__ import annotations

import datetime
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adain_plugin.errors import FilesError, LibrariesError
from adain_plugin.gimp import Gimp
from adain_plugin.install import ENTRY, WHEEL, copy_plugin, source_beside
from adain_plugin.krita import Krita
from adain_plugin.machine import Machine
from adain_plugin.question import MODULES, PLUGIN, VENDOR
from adain_plugin.vendor import PLATFORMS, PYTHONS, download_all
from adain_style.client.version import VERSION

TIME = datetime.datetime(1980, 1, 1)
"""The earliest time that a zip can hold, used throughout so that the same files give the same bytes."""
WHEEL_NAMES = f"adain_style-{VERSION}-*.whl"


@dataclass(frozen=True)
class Archive:
    """The zip for one host.

    Attributes:
        name: The zip's file name.
        beside: Names of files that belong beside the plug-in's folder.
        remedy: Instructions for its user.
    """

    name: str
    beside: tuple[str, ...]
    remedy: str


ARCHIVES = {
    "gimp": Archive(
        "adain-style-gimp.zip",
        Gimp.beside,
        "unpack it into the folder that GIMP names in Edit > Preferences > Folders > Plug-ins; then restart GIMP",
    ),
    "krita": Archive(
        "adain-style-krita.zip",
        Krita.beside,
        "in Krita: Tools > Scripts > Import Python Plugin from File; then restart Krita",
    ),
}


def write_archives(
    machine: Machine, outputs: Mapping[str, Path], say: Callable[[str], None], *, wheel: Path | None = None
) -> None:
    """Write complete zips: the plug-in, and libraries for every system and Python that a host may come with.

    They do not name the server's program; the plug-in then looks for adain-server in PATH.

    Args:
        machine: The machine that pip runs on.
        outputs: The zip's file for each of the wanted hosts of ARCHIVES.
        say: Called with each line of output.
        wheel: For a release, this project's wheel, which is included; libraries are then required for every system.
    Raises:
        FilesError: A file cannot be written, or the wheel is of another version. LibrariesError: There are no
            libraries at all, or some are missing in a release.
    """
    if wheel and not (wheel.match(WHEEL_NAMES) and wheel.is_file()):
        raise FilesError(f"{wheel} is not a wheel of this version, {WHEEL_NAMES}; build it with 'make release'.")
    for output in outputs.values():
        with _new(output):  # finds out whether it can be written before anything is downloaded
            pass
    with _temporary() as folder:
        copy_plugin(folder / PLUGIN)
        if wheel:
            (folder / PLUGIN / WHEEL).mkdir()
            shutil.copyfile(wheel, folder / PLUGIN / WHEEL / wheel.name)
        _add_libraries(machine, folder / PLUGIN / VENDOR, say, every=wheel is not None)
        for host, output in outputs.items():
            with _new(output) as new:
                _write(folder, ARCHIVES[host].beside, new)
                new.replace(output)
                size = output.stat().st_size
            say(f"{output}, {size / 1e6:.1f} MB")
            say(f"  {ARCHIVES[host].remedy}")


@contextmanager
def _new(output: Path) -> Iterator[Path]:
    """Make a new file beside the one that it will replace; it is removed if it is still there at the end."""
    new = output.with_name(f".{output.name}.new")
    try:
        new.touch()
        yield new
    except OSError as error:
        raise FilesError(f"{output} cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


@contextmanager
def _temporary() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="adain-plugin-") as name:
            yield Path(name)
    except OSError as error:
        where = error.filename or tempfile.gettempdir()
        raise FilesError(f"{where} cannot be used: {error.strerror or error}.") from None


def _add_libraries(machine: Machine, vendor: Path, say: Callable[[str], None], *, every: bool) -> None:
    modules = " and ".join(MODULES)
    say(f"Downloading {modules} for {', '.join(PLATFORMS)}, Python {', '.join(PYTHONS)} ...")
    try:
        failures = download_all(machine, list(PLATFORMS), vendor)
    except LibrariesError as error:
        raise LibrariesError(
            f"{modules} cannot be downloaded ({str(error).rstrip('.')}); connect to the internet and run this again."
        ) from None
    for tag, reason in failures.items():
        say(f"  none for {tag}: {reason}")
    if every and failures:
        raise LibrariesError(f"A release needs {modules} for every system; they are missing for {', '.join(failures)}.")


def _write(folder: Path, beside: tuple[str, ...], output: Path) -> None:
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    paths |= {name: source_beside(name) for name in beside}
    files = {name: paths[name].read_bytes() for name in sorted(paths)}
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, f"{PLUGIN}/", b"", 0o40755)  # Krita looks for the folder's own entry
        for name, data in files.items():
            if name == f"{PLUGIN}/{ENTRY}":
                # Without the executable bit GIMP silently ignores the plug-in's entry.
                _add(archive, name, data, 0o100755, _time_of(files))
            else:
                _add(archive, name, data, 0o100644)


def _time_of(files: Mapping[str, bytes]) -> datetime.datetime:
    """A time that depends on the files: GIMP looks again only at a plug-in whose entry's time has changed."""
    checksum = 0
    for name, data in files.items():
        checksum = zlib.crc32(data, zlib.crc32(name.encode(), checksum))
    return TIME + datetime.timedelta(seconds=2 * (checksum >> 3))  # up to 2014; a zip counts in steps of two seconds


def _add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int, time: datetime.datetime = TIME) -> None:
    information = zipfile.ZipInfo(name, (time.year, time.month, time.day, time.hour, time.minute, time.second))
    information.create_system = 3  # Unix, wherever it is written
    information.external_attr = mode << 16 | (0x10 if name.endswith("/") else 0)  # a folder, for Windows
    archive.writestr(information, data, zipfile.ZIP_DEFLATED)
