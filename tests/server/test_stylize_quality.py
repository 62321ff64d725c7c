"""adain-stylize's qualities: what it says of the finish beforehand, and what Ctrl-C does during it.

A painter that only finishes stands in for the real one, and says in the result how many steps it has made.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest
from PIL import Image

from adain_style.client import protocol
from adain_style.client.client import Client, ServerInfo
from adain_style.client.jobs import Progress
from adain_stylize.terminal import Forecast, KeepOnInterrupt, _rounded
from support.fake_workers import FEW_STEPS, LARGEST_WITH_FEW_STEPS, LEAST_THAT_HANGS
from support.server_inside import ServerInside, finishing_server_inside

SOON_S = 30.0
STYLE = "space-sun"
FOREWORD = "Ctrl-C once keeps the picture as it is then."


@pytest.fixture(scope="module")
def server() -> Iterator[ServerInside]:
    """One whose painter only finishes."""
    with finishing_server_inside() as running:
        yield running


def _picture(path: Path, side: int) -> Path:
    noise = np.frombuffer(secrets.token_bytes(side * side * 3), dtype=np.uint8)
    Image.fromarray(noise.reshape(side, side, 3)).save(path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A picture whose finish takes few steps."""
    return _picture(tmp_path / "small.png", LARGEST_WITH_FEW_STEPS)


class Command:
    """adain-stylize as a user runs it; what it says is read meanwhile."""

    def __init__(self, server: ServerInside, *arguments: str, cwd: Path) -> None:
        command = [sys.executable, "-m", "adain_stylize.cli", "--connection-file", str(server.connection_file)]
        self._process = subprocess.Popen(
            [*command, "--no-start", "--style", STYLE, *arguments], stderr=subprocess.PIPE, text=True, cwd=cwd
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self.end()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while text := stream.read(1):
                self.said += text

    def wait_for(self, words: str) -> None:
        """Return once it has said that."""
        deadline = time.monotonic() + SOON_S
        while words not in self.said:
            assert time.monotonic() < deadline and self._process.poll() is None, self.said
            time.sleep(0.01)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self, *, timeout_s: float = SOON_S) -> int:
        """Wait for it; its exit status."""
        status = self._process.wait(timeout=timeout_s)
        self._reader.join(timeout=SOON_S)
        return status


def _painted(path: Path) -> tuple[str, int]:
    """Quality and steps of a result."""
    with Image.open(path) as picture:
        red, green, _blue = np.asarray(picture)[0, 0]
    return protocol.QUALITY[red], int(green)


@pytest.mark.parametrize(
    ("options", "quality"),
    [([], "fine"), *[(["--quality", quality], quality) for quality in protocol.QUALITY]],
    ids=["default", *protocol.QUALITY],
)
def test_quality_reaches_the_picture(server: ServerInside, small: Path, options: list[str], quality: str) -> None:
    """It is fine when nothing is said; only the best one is announced, and only that one has steps to count."""
    with Command(server, "small.png", *options, "-o", "out.png", cwd=small.parent) as run:
        assert run.end() == 0, run.said
    assert _painted(small.with_name("out.png")) == (quality, FEW_STEPS if quality == "best" else 0)
    assert (FOREWORD in run.said) == (quality == "best")


def test_unknown_quality_is_wrong_use(server: ServerInside, small: Path) -> None:
    """It is found before anything is done, with those that there are."""
    with Command(server, "small.png", "--quality", "superb", "-o", "out.png", cwd=small.parent) as run:
        assert run.end() == 2 and "fast" in run.said and "superb" in run.said
    assert not small.with_name("out.png").exists()


def test_finish_is_announced_once_for_each_size(server: ServerInside, small: Path) -> None:
    """A film's frames have one, of which every one is finished; --quiet announces nothing; --resume goes on."""
    folder = small.parent
    (folder / "frames").mkdir()
    for number in range(3):
        _picture(folder / "frames" / f"{number}.png", LARGEST_WITH_FEW_STEPS)
    options = ["frames", "--quality", "best", "--smooth", "0.5", "-o", "out"]
    with Command(server, *options, cwd=folder) as run:
        assert run.end() == 0, run.said
    assert run.said.count(FOREWORD) == 1 and "About 1 s for the finish" in run.said
    assert [_painted(path) for path in sorted((folder / "out").iterdir())] == [("best", FEW_STEPS)] * 3
    (folder / "out" / "2.png").unlink()
    with Command(server, *options, "--resume", "--quiet", cwd=folder) as run:
        assert run.end() == 0 and run.said == ""
    assert _painted(folder / "out" / "2.png") == ("best", FEW_STEPS)


def test_first_interrupt_keeps_the_picture_and_goes_on_with_the_next(server: ServerInside, small: Path) -> None:
    """What was made until then is written, exit status 0; each picture's finish can be ended so."""
    folder = small.parent
    _picture(folder / "large.png", LARGEST_WITH_FEW_STEPS + 1)
    with Command(server, "large.png", "small.png", "--quality", "best", "-o", "out", cwd=folder) as run:
        run.wait_for(", finish ")
        run.interrupt()
        assert run.end() == 0, run.said
    quality, steps = _painted(folder / "out" / "large.png")
    assert quality == "best" and steps >= 1
    assert _painted(folder / "out" / "small.png") == ("best", FEW_STEPS)


def test_second_interrupt_cancels(server: ServerInside, small: Path) -> None:
    """In a step that does not end: the first one has to wait for it, the second one does not; nothing is written."""
    folder = small.parent
    _picture(folder / "hangs.png", LEAST_THAT_HANGS)
    with Command(server, "hangs.png", "--quality", "best", "-o", "out.png", cwd=folder) as run:
        run.wait_for(", finish ")
        run.interrupt()
        with pytest.raises(subprocess.TimeoutExpired):
            run.end(timeout_s=0.5)
        run.interrupt()
        assert run.end() == 130 and "cancelled" in run.said
    assert not (folder / "out.png").exists()


@pytest.mark.parametrize(("stage", "times"), [("upload", 1), ("decode", 1), ("finish", 2), ("download", 1)])
def test_interrupt_is_kept_once_and_only_during_the_finish(stage: str, times: int) -> None:
    """Before and after it Ctrl-C is what it always was; so it is when the picture is over."""
    before = signal.getsignal(signal.SIGINT)
    with KeepOnInterrupt() as interrupt:
        interrupt.progress = Progress(stage, 1, 25, "best")
        for _ in range(times - 1):
            signal.raise_signal(signal.SIGINT)
        assert interrupt.has_come == (times > 1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


class _Knowing(Client):
    """A client without a connection, of a server that loads at first."""

    def __init__(self, finish_s_per_megapixel: float) -> None:
        self.hellos = 0
        self._finish_s_per_megapixel = finish_s_per_megapixel

    def hello(self, *, timeout_s: float = 0.0) -> ServerInfo:
        """The first time it is not ready."""
        self.hellos += 1
        ready = self.hellos > 1
        known = self._finish_s_per_megapixel if ready else 0.0
        return ServerInfo(b"b" * 16, "0", "cpu", "none", ready, 10**8, 16, 16, timeout_s, 0, known)


def test_forecast_waits_for_the_server_and_is_said_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked until the server is ready, and then no more; the size that is painted counts."""
    monkeypatch.setattr("adain_stylize.terminal.LOADING_POLL_S", 0.0)
    said: list[str] = []
    client = _Knowing(150.0)
    forecast = Forecast(client, 2.0, said.append)
    for height, width in ((1000, 1000), (1000, 1000), (2000, 2000), (1000, 1000)):
        forecast.announce(height, width)
    assert [sentence.partition(" for the finish; ")[::2] for sentence in said] == [
        ("About 38 s", FOREWORD),
        ("About 2 min", FOREWORD),
        ("About 38 s", FOREWORD),
    ]
    assert client.hellos == 2


def test_forecast_of_a_server_that_does_not_know() -> None:
    """It is said so, and what Ctrl-C does."""
    said: list[str] = []
    client = _Knowing(0.0)
    client.hellos = 1
    Forecast(client, 1.0, said.append).announce(512, 512)
    assert said == [f"How long the finish takes is not known; {FOREWORD}"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.001, "1 s"),
        (40.4, "40 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (36000, "10.0 h"),
    ],
)
def test_times_are_rounded(seconds: float, words: str) -> None:
    """To what a user can do something with."""
    assert _rounded(seconds) == words
