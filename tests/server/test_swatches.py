"""Thumbnails of users' own pictures, which are made beside the loop that answers everybody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adain_server.io_process import swatch_process
from adain_server.io_process.swatch_process import SwatchProcess
from adain_style.client import protocol
from adain_style.client.errors import RequestError
from support.helpers import RunningServer
from support.processes import children_of, wait_until
from support.raw_peer import RawPeer

SOON_S = 30.0
LARGE_SIDE = 7000
"""Of a picture that takes seconds to decode."""


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    """The user's folder of styles, with a small picture and a large one."""
    for name, side in (("small", 300), ("large", LARGE_SIDE)):
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.png", compress_level=1)
    return tmp_path


@pytest.fixture
def own(styles: Path) -> Iterator[RunningServer]:
    """A server with that folder."""
    with RunningServer("--styles", str(styles)) as running:
        yield running


def test_others_are_answered_while_a_large_picture_is_opened(own: RunningServer) -> None:
    """Pings in between take no longer than ever; then the thumbnail comes, of the picture's colours."""
    with RawPeer(own) as peer, own.client() as client:
        peer.send([protocol.pack("swatch", name="large")])
        pings = 0
        while peer.silent(0):
            began = time.monotonic()
            client.hello()
            assert time.monotonic() - began < 1.0
            pings += 1
        header, payload = protocol.unpack(peer.socket.recv_multipart(), protocol.FROM_SERVER)
        assert (header["op"], header["name"]) == ("swatch", "large") and pings > 3
        with Image.open(BytesIO(payload)) as picture:
            assert picture.size == (128, 128) and abs(float(np.asarray(picture).mean()) - 127.5) < 6


def test_process_that_dies_costs_one_thumbnail(own: RunningServer) -> None:
    """The client hears that this picture cannot be opened; the next one is made by another process."""
    with own.client() as client, RawPeer(own) as peer:
        before = set(children_of(own.process.pid))
        assert client.swatch("small").startswith(b"\xff\xd8")
        [process] = set(children_of(own.process.pid)) - before
        peer.send([protocol.pack("swatch", name="large")])
        client.hello()  # by now the server has passed it on
        os.kill(process, signal.SIGKILL)
        assert peer.receive_answer()["code"] == "BAD_STYLE"
        assert client.swatch("small").startswith(b"\xff\xd8")
        assert client.status().worker_starts == 1


def test_damaged_picture_has_no_thumbnail(own: RunningServer, styles: Path) -> None:
    """BAD_STYLE and a sentence with its name."""
    (styles / "broken.png").write_bytes((styles / "small.png").read_bytes()[:500])
    with own.client() as client:
        with pytest.raises(RequestError, match=r"broken\.png") as caught:
            client.swatch("broken")
        assert caught.value.code == "BAD_STYLE"
        assert client.swatch("small").startswith(b"\xff\xd8")


def test_picture_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, styles: Path) -> None:
    """Its process is ended, and those that wait behind it get theirs."""
    monkeypatch.setattr(swatch_process, "LONGEST_S", 0.0)
    given: list[tuple[str, object]] = []
    process = SwatchProcess(lambda wish, swatch: given.append((wish.name, swatch)))
    try:
        for name in ("large", "small"):
            process.ask(swatch_process.Wish(b"client", name, styles / f"{name}.png"))
        process.check()
        assert [name for name, _ in given] == ["large"] and "too long" in str(given[0][1])
        monkeypatch.setattr(swatch_process, "LONGEST_S", SOON_S)
        assert wait_until(lambda: process._connection.poll(), SOON_S) < SOON_S
        process.take()
        assert given[1][0] == "small" and isinstance(given[1][1], bytes)
    finally:
        process.stop()
    assert process.fileno is None
