"""What windows say of the qualities, and of the time that the best one takes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from adain_style.client import protocol
from adain_style.client.client import ServerInfo
from adain_style.client.errors import RequestError
from adain_style.client.jobs import Pixels
from adain_style.host import labels
from adain_style.host.requests import Content
from adain_style.host.settings import ServerSettings, StylizeSettings
from support.helpers import random_pixels

HERE, THERE = ServerSettings(), ServerSettings(remote=True, address="studio.example:5571")
BEST = StylizeSettings(quality="best")


def _server(finish_s_per_megapixel: float) -> ServerInfo:
    return ServerInfo(b"b" * 16, "0", "cpu", "none", True, 10**9, 16, 16, 0.0, 0, finish_s_per_megapixel)


def _layer(side: int) -> Content:
    return Content(random_pixels(8, 8), None, {}, side, side)


def test_every_quality_has_a_name_and_a_meaning() -> None:
    """In the order of what they cost; the tip has all of them."""
    assert tuple(labels.QUALITY_NAMES) == tuple(labels.QUALITY_MEANINGS) == protocol.QUALITY
    assert labels.QUALITY_TIP.splitlines() == [
        "How much work goes into the picture",
        "Quick: Painted in one pass",
        "Fine: Then the brush strokes are refined",
        "Finished: Then worked over step by step, until it is as like the styles as it gets; this takes long",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "about 1 second"),
        (7.4, "about 7 seconds"),
        (38.0, "about 40 seconds"),
        (89.0, "about 90 seconds"),
        (91.0, "about 2 minutes"),
        (600.0, "about 10 minutes"),
        (5399.0, "about 90 minutes"),
        (5500.0, "about 2 hours"),
    ],
)
def test_time_of_the_finish_is_said_beforehand(seconds: float, said: str) -> None:
    """No more exactly than it can be known; a million pixels are painted here."""
    sentence = labels.finish_forecast(_server(seconds), HERE, BEST, _layer(1000))
    assert sentence == f"The finish takes {said} on this machine."


def test_time_is_that_of_the_size_at_which_is_painted() -> None:
    """Strokes that fit a large layer, or twice as broad ones, cost less; several pictures cost more."""
    server, finest = _server(100.0), StylizeSettings(quality="best", stroke_size=1.0)
    assert "7 minutes" in labels.finish_forecast(server, HERE, finest, _layer(2048))
    assert "2 minutes" in labels.finish_forecast(server, HERE, BEST, _layer(2048))
    assert "25 seconds" in labels.finish_forecast(
        server, HERE, StylizeSettings(quality="best", stroke_size=4.0), _layer(2048)
    )
    assert "5 minutes" in labels.finish_forecast(server, HERE, BEST, _layer(1000), pictures=3)


def test_time_on_another_machine_is_said_of_the_server() -> None:
    """It tells nothing of this one."""
    sentence = labels.finish_forecast(_server(40.0), THERE, BEST, _layer(1000))
    assert sentence == "The finish takes about 40 seconds on the server."


@pytest.mark.parametrize(
    ("info", "settings"),
    [
        (None, BEST),
        (_server(0.0), BEST),
        (_server(40.0), StylizeSettings()),
        (_server(40.0), StylizeSettings(quality="fast")),
    ],
    ids=["no server", "not measured", "fine", "fast"],
)
def test_nothing_is_said_when_nobody_knows_or_nothing_is_finished(
    info: ServerInfo | None, settings: StylizeSettings
) -> None:
    """No server, one that has not measured it, another quality; no layer."""
    assert labels.finish_forecast(info, HERE, settings, _layer(1000)) == ""
    assert labels.finish_forecast(_server(40.0), HERE, BEST, None) == ""


def test_time_is_that_of_what_is_selected() -> None:
    """The rectangle around it is a quarter of the layer."""
    selection = Pixels(bytes(4 * 8) + 4 * (bytes(4) + b"\x09" * 4), 8, 8, "Y")
    selected = replace(_layer(1000), selection=selection)
    assert "10 seconds" in labels.finish_forecast(_server(40.0), HERE, BEST, selected)


def test_servers_errors_are_worded_in_the_users_language() -> None:
    """What else is known of them stays; in English, and for mistakes of programs, the server's own sentence stays."""
    busy = RequestError("BUSY", "Wait.", retryable=True, retry_after_s=2.0)
    said = labels.worded(busy, is_english=False)
    assert (str(said), said.code, said.retryable, said.retry_after_s) == (
        labels.SERVER_ERRORS["BUSY"],
        "BUSY",
        True,
        2.0,
    )
    assert labels.worded(busy, is_english=True) is busy
    foreign = RequestError("BAD_CHUNK", "A chunk is missing.")
    assert labels.worded(foreign, is_english=False) is foreign
    assert set(labels.SERVER_ERRORS) <= set(protocol.ERRORS)


def test_german_window_says_the_servers_errors_in_german() -> None:
    """Through for_people(), by which every error of a session goes."""
    program = (
        "from adain_style.client.errors import RequestError; from adain_style.host.session import for_people\n"
        "print(for_people(RequestError('UNKNOWN_STYLE', 'There is no style.')))"
    )
    environment = os.environ | {"LANGUAGE": "de", "PYTHONUTF8": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, encoding="utf-8", env=environment
    )
    assert run.stdout.strip() == "Der Server hat einen der Stile nicht; wählen Sie einen anderen."
