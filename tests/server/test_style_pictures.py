"""Ordinary picture files as styles, that are no ordinary pictures."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from adain_style.client.client import Client
from adain_style.client.errors import RequestError
from adain_weights.limits import LARGEST_PICTURE
from support.helpers import PICTURES, RunningServer, picture_pixels, request
from support.processes import resident_mib

PHOTO = picture_pixels("chelsea.jpg", side=64)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(side: int) -> bytes:
    """A black square of one bit a pixel, packed into next to nothing, and whole."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer, row = zlib.compressobj(9), bytes(1 + -(-side // 8))
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _other_format(name: str) -> bytes:
    """A small picture that Pillow could open, if it were asked to."""
    data = BytesIO()
    Image.new("RGB", (40, 40), "red").save(data, name)
    return data.getvalue()


def _cut(count: int) -> bytes:
    return (PICTURES / "coffee.jpg").read_bytes()[:count]


FILES = {
    "more pixels than a server takes": lambda: _png(int(LARGEST_PICTURE**0.5) + 8),
    "four times as many": lambda: _png(2 * int(LARGEST_PICTURE**0.5)),
    "ICO": lambda: _other_format("ICO"),
    "TGA": lambda: _other_format("TGA"),
    "EPS": lambda: _other_format("EPS"),
    "PCX": lambda: _other_format("PCX"),
    "PDF": lambda: _other_format("PDF"),
    "ends in its header": lambda: _cut(100),
    "ends in the middle": lambda: _cut(5000),
}
each_file = pytest.mark.parametrize("name", FILES)


@pytest.fixture
def bad(server: RunningServer, name: str) -> Iterator[Path]:
    """Such a file in the server's folder of styles, under a suffix that is asked for."""
    server.styles.mkdir(exist_ok=True)
    path = server.styles / "bad.png"
    path.write_bytes(FILES[name]())
    yield path
    path.unlink()


@pytest.mark.fault(46)
@each_file
def test_file_in_the_styles_folder_that_is_no_picture_is_refused(
    server: RunningServer, client: Client, bad: Path, name: str
) -> None:
    """BAD_STYLE and a sentence, for its swatch and for a job, without unpacking it; the next request works."""
    assert bad.exists(), name
    before = resident_mib(server.process.pid)
    for ask in (lambda: client.swatch("bad"), lambda: client.stylize(request(PHOTO, [("bad", 1.0)]))):
        with pytest.raises(RequestError) as caught:
            ask()
        assert caught.value.code == "BAD_STYLE" and str(caught.value).endswith(".")
        assert not caught.value.retryable
    assert resident_mib(server.process.pid) - before < 32
    assert client.stylize(request(PHOTO, [("space-sun", 1.0)])).pixels != PHOTO


@pytest.mark.fault(46)
@each_file
def test_file_on_the_command_line_that_is_no_picture_is_refused(
    server: RunningServer, bad: Path, name: str, tmp_path: Path
) -> None:
    """As a style and as the picture itself: one line, exit 1, and no result."""
    photo, out = PICTURES / "chelsea.jpg", tmp_path / "out.png"
    command = [sys.executable, "-m", "adain_stylize.cli", "--connection-file", str(server.connection_file)]
    for content, style in ((photo, bad), (bad, photo)):
        run = subprocess.run(
            [*command, "--no-start", str(content), "--style", str(style), "-o", str(out), "--quiet"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert run.returncode == 1 and run.stderr.count("\n") == 1 and "bad.png" in run.stderr, f"{name}: {run.stderr}"
        assert not out.exists()
