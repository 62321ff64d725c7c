"""One zip for Krita's Tools > Scripts > Import Python Plugin from File."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from adain_plugin.errors import FilesError, LibrariesError
from adain_plugin.install import copy_plugin, source_beside
from adain_plugin.krita import Krita
from adain_plugin.machine import Machine
from adain_plugin.question import MODULES, PLUGIN, VENDOR
from adain_plugin.vendor import PLATFORMS, PYTHONS, download_all

TIME = (1980, 1, 1, 0, 0, 0)
"""The first that a zip can hold: the same files give the same bytes."""


def write_archive(machine: Machine, output: Path, say: Callable[[str], None]) -> None:
    """Write the zip whole: the plug-in, and libraries for every system and Python that Krita may come with.

    It does not say where the server is; the plug-in then looks for adain-server in PATH.

    Raises:
        FilesError: It cannot be written. LibrariesError: There are no libraries at all.
    """
    new = output.with_name(f".{output.name}.new")
    try:
        new.touch()  # whether it can be written is known before anything is downloaded
        with tempfile.TemporaryDirectory(prefix="adain-plugin-") as name:
            folder = Path(name)
            copy_plugin(folder / PLUGIN)
            for beside in Krita.beside:
                shutil.copyfile(source_beside(beside), folder / beside)
            _add_libraries(machine, folder / PLUGIN / VENDOR, say)
            _write(folder, new)
            new.replace(output)
        size = output.stat().st_size
    except OSError as error:
        raise FilesError(f"{output} cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    say(f"{output}, {size / 1e6:.1f} MB")
    say("  in Krita: Tools > Scripts > Import Python Plugin from File; then restart Krita")


def _add_libraries(machine: Machine, vendor: Path, say: Callable[[str], None]) -> None:
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


def _write(folder: Path, output: Path) -> None:
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, f"{PLUGIN}/", b"")  # Krita looks for the folder's own entry
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            _add(archive, path.relative_to(folder).as_posix(), path.read_bytes())


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    information = zipfile.ZipInfo(name, TIME)
    information.create_system = 3  # Unix, wherever it is written
    information.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
    archive.writestr(information, data, zipfile.ZIP_DEFLATED)
