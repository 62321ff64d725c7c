"""Previews as the windows ask for them: they show what will be painted, and a newer choice ends one that takes long."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from adain_server.worker.layers import Array, Layer
from adain_style.client.choices import RegionChoice, StyleChoice
from adain_style.client.client import Client
from adain_style.client.jobs import Pixels, StylizeRequest, StylizeResult
from adain_style.host.requests import DRAFT_SIDE, PREVIEW_SIDE, Content, make_request
from adain_style.host.session import Session
from adain_style.host.settings import ServerSettings, StylizeSettings
from support.helpers import RunningServer, array_pixels, picture_pixels, pixels_array, random_pixels, request

pytestmark = pytest.mark.timeout(300)

STYLE = "space-sun"
CHOSEN = (RegionChoice((StyleChoice(STYLE),)),)
LONG = request(random_pixels(3000, 3000), [(STYLE, 1.0)], preview=PREVIEW_SIDE)
"""Takes half a minute."""
WAIT_S, SOON_S = 60.0, 6.0


def _preview(height: int, side: int) -> StylizeRequest:
    """Of a small picture."""
    return request(random_pixels(height, 32), [(STYLE, 1.0)], preview=side)


def _as_read(layer: Array, side: int) -> Pixels:
    """A layer reduced by another filter than the server's, as hosts do."""
    scale = min(1.0, side / max(layer.shape))
    size = round(layer.shape[1] * scale), round(layer.shape[0] * scale)
    return array_pixels(np.asarray(Image.fromarray(layer).resize(size, Image.Resampling.BILINEAR)), "RGB")


def _reduced(layer: Array, height: int, width: int) -> Array:
    whole = Layer(layer, "RGB")
    return whole.shrunk(height, width).like(whole)


@pytest.mark.parametrize("quality", ["fast", "fine"])
@pytest.mark.parametrize(("stroke_size", "share"), [(0.0, 1.0), (1.6, 0.75), (2.0, 0.75), (3.0, 0.6), (6.0, 0.4)])
def test_preview_at_rest_shows_what_will_be_painted(
    client: Client, stroke_size: float, share: float, quality: str
) -> None:
    """A mean error below 4 of 255 beside the reduced result, whatever the host has left of the layer's pixels."""
    layer = pixels_array(picture_pixels("coffee.jpg", side=800))
    settings = StylizeSettings(CHOSEN, stroke_size=stroke_size, quality=quality)
    whole = Content(array_pixels(layer, "RGB"), None, {}, *layer.shape[:2])
    content = Content(_as_read(layer, round(share * max(layer.shape))), None, {}, *layer.shape[:2])
    full = pixels_array(client.stylize(make_request(whole, settings, {STYLE: STYLE}, compose="blend")).pixels)
    shown = client.stylize(make_request(content, settings, {STYLE: STYLE}, preview=PREVIEW_SIDE)).pixels
    error = np.abs(pixels_array(shown).astype(int) - _reduced(full, shown.height, shown.width)).mean()
    assert error < 4


class _Window:
    """Only looks at previews, in the test's thread."""

    def __init__(self) -> None:
        self._posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self._previews: list[StylizeResult] = []
        listener = Mock()
        listener.previewed = self._previews.append
        self.session = Session(listener, ServerSettings(), name="test", post=self._posted.put)

    def next_preview(self) -> tuple[int, int]:
        """Wait for one; its size."""
        seen = len(self._previews)
        while len(self._previews) == seen:
            self._posted.get(timeout=WAIT_S)()
        return self._previews[-1].pixels.height, self._previews[-1].pixels.width


@pytest.fixture
def window(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Window]:
    """At the shared server."""
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(server.connection_file))
    window = _Window()
    yield window
    window.session.close()


@pytest.mark.parametrize("newer", [True, False])
def test_preview_at_rest_ends_at_once_when_it_is_not_wanted(window: _Window, newer: bool) -> None:
    """For a newer choice, or because there is nothing to show any more: the next draft is there long before its end."""
    begun = threading.Event()

    def make_long(side: int) -> StylizeRequest:
        if side == DRAFT_SIDE:
            return _preview(20, side)
        begun.set()
        return LONG

    window.session.preview(make_long)
    assert window.next_preview() == (20, 32)
    assert begun.wait(WAIT_S)
    if not newer:
        window.session.preview(None)
    started = time.monotonic()
    window.session.preview(lambda side: _preview(10, side))
    assert window.next_preview() == (10, 32)
    assert time.monotonic() - started < SOON_S


def test_draft_is_painted_to_its_end_though_a_newer_choice_waits(window: _Window) -> None:
    """Otherwise a slider that never rests would show nothing."""
    asked: list[int] = []

    def make(side: int) -> StylizeRequest:
        if side == DRAFT_SIDE and not asked:
            window.session.preview(lambda side: _preview(10, side))
        asked.append(side)
        return _preview(20, side)

    window.session.preview(make)
    assert window.next_preview() == (20, 32)
    assert window.next_preview() == (10, 32)
    assert asked == [DRAFT_SIDE]
