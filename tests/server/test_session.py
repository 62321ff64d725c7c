"""The thread behind a window, with a real server: what the window is told, and that it is never kept waiting."""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adain_style.client import launcher
from adain_style.client.client import ServerInfo
from adain_style.client.errors import AdainError, CancelledError, RequestError, ServerUnavailableError
from adain_style.client.jobs import Draft, ModelInfo, Progress, StyleInfo, StylizeRequest, StylizeResult
from adain_style.host import session as session_module
from adain_style.host.requests import DRAFT_SIDE, PREVIEW_SIDE
from adain_style.host.session import Session
from adain_style.host.settings import ServerSettings
from support.fake_workers import FEW_STEPS, LARGEST_WITH_FEW_STEPS
from support.helpers import (
    PICTURES,
    SERVER_COMMAND,
    RunningServer,
    pixels_array,
    random_pixels,
    request,
    write_other_model,
)
from support.processes import server_pid
from support.server_inside import ServerInside, finishing_server_inside

WAIT_S = 60.0
SOON_S = 0.5
TOLD_S = 3.0
"""It is one second on a machine that is not busy."""
STYLE = random_pixels(64, 64, seed=1)
SMALL = request(random_pixels(32, 32), [(STYLE, 1.0)])
LONG = request(random_pixels(1500, 1500), [(STYLE, 1.0)])
"""Takes seconds."""


class Window:
    """Writes down what it is told, when it looks: its thread is the test's."""

    def __init__(self, *, start: bool = True) -> None:
        self.told: list[tuple[str, Any]] = []
        self._posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self.session = Session(self, ServerSettings(), name="test", post=self._posted.put, start=start)

    def wait_for(self, *names: str, until: Callable[[Any], bool] = lambda _value: True) -> Any:
        """Look until one of these is told; what came with it."""
        deadline = time.monotonic() + WAIT_S
        while True:
            seen = len(self.told)
            try:
                self._posted.get(timeout=max(0.0, deadline - time.monotonic()))()
            except queue.Empty:
                raise AssertionError(f"none of {names} was told, but {self.names()}") from None
            for name, value in self.told[seen:]:
                if name in names and until(value):
                    return value

    def look_for(self, seconds: float) -> None:
        """Look for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._posted.get(timeout=left)()
            except queue.Empty:
                return

    def names(self) -> list[str]:
        """What was told, in order."""
        return [name for name, _ in self.told]

    def connecting(self, sentence: str) -> None:
        """A sentence."""
        self.told.append(("connecting", sentence))

    def connected(self, info: ServerInfo) -> None:
        """The server."""
        self.told.append(("connected", info))

    def listed(self, styles: list[StyleInfo], models: list[ModelInfo]) -> None:
        """What it has."""
        self.told.append(("listed", (styles, models)))

    def disconnected(self, error: AdainError) -> None:
        """Why."""
        self.told.append(("disconnected", error))

    def swatch(self, name: str, jpeg: bytes) -> None:
        """A thumbnail."""
        self.told.append(("swatch", (name, jpeg)))

    def previewed(self, result: StylizeResult) -> None:
        """A preview."""
        self.told.append(("previewed", result))

    def preview_failed(self, error: AdainError) -> None:
        """Why."""
        self.told.append(("preview_failed", error))

    def progressed(self, progress: Progress) -> None:
        """How far."""
        self.told.append(("progressed", progress))

    def drafted(self, draft: Draft) -> None:
        """The picture as it forms."""
        self.told.append(("drafted", draft))

    def painted(self, result: StylizeResult) -> None:
        """The picture."""
        self.told.append(("painted", result))

    def paint_failed(self, error: AdainError) -> None:
        """Why."""
        self.told.append(("paint_failed", error))


class Previews:
    """Makes requests whose pictures are told apart by their height, and counts them."""

    def __init__(self) -> None:
        self.sides: list[tuple[int, int]] = []

    def __call__(self, height: int) -> Callable[[int], StylizeRequest]:
        """A preview of a picture that is `height` by 600."""

        def make(side: int) -> StylizeRequest:
            self.sides.append((height, side))
            return request(random_pixels(height, 600), [(STYLE, 1.0)], preview=side)

        return make


def _shape(result: StylizeResult) -> tuple[int, int]:
    return result.pixels.height, result.pixels.width


def _is_sentence(error: AdainError) -> bool:
    text = str(error)
    return text.endswith(".") and "\n" not in text


@pytest.fixture
def window(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """Connected to the shared server."""
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(server.connection_file))
    yield from _connected()


@pytest.fixture
def own_window(own_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """Connected to this test's own server."""
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(own_server.connection_file))
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, "/no/such/command")
    yield from _connected()


def _connected() -> Iterator[Window]:
    window = Window()
    try:
        window.wait_for("connected")
        yield window
    finally:
        window.session.close()


@pytest.fixture
def lonely_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """Where no server runs and none can be started."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(tmp_path / "connection.json"))
    monkeypatch.delenv(launcher.SERVER_COMMAND_VARIABLE, raising=False)
    monkeypatch.setattr(launcher, "SERVER_COMMAND_FILE", tmp_path / "server.json")
    monkeypatch.setenv("PATH", str(tmp_path))
    window = Window()
    try:
        yield window
    finally:
        window.session.close()


def test_connection_is_told_with_what_the_server_has(window: Window) -> None:
    """Looking first, then its styles and models, then the server."""
    assert window.names() == ["connecting", "listed", "connected"]
    (styles, models), info = window.told[-2][1], window.told[-1][1]
    assert info.ready and info.device and styles
    assert info.model in [model.name for model in models]


def test_new_style_and_new_model_are_found_by_looking_again(own_server: RunningServer, own_window: Window) -> None:
    """Put there a moment ago; the server is the same one."""
    own_server.styles.mkdir()
    shutil.copy(PICTURES / "chelsea.jpg", own_server.styles / "my-cat.jpg")
    write_other_model(own_server.models / "mine")
    own_window.session.look_again()
    styles, models = own_window.wait_for("listed")
    assert "my-cat" in [style.name for style in styles] and "mine" in [model.name for model in models]
    assert "disconnected" not in own_window.names()


def test_preview_is_shown_small_and_then_in_full(window: Window) -> None:
    """A draft, and when nothing newer has come the preview's full size; then nothing more."""
    previews = Previews()
    window.session.preview(previews(300))
    assert _shape(window.wait_for("previewed")) == (DRAFT_SIDE // 2, DRAFT_SIDE)
    assert _shape(window.wait_for("previewed")) == (PREVIEW_SIDE // 2, PREVIEW_SIDE)
    window.look_for(SOON_S)
    assert previews.sides == [(300, DRAFT_SIDE), (300, PREVIEW_SIDE)]


def test_previews_never_queue_up(window: Window) -> None:
    """A slider that moves for two seconds: something is shown meanwhile, few are made, the newest is the last one."""
    previews = Previews()
    asked = 0
    begun = time.monotonic()
    while time.monotonic() - begun < 2:
        asked += 1
        window.session.preview(previews(100 + asked))
        window.look_for(0.01)
    before_the_end = window.names().count("previewed")
    last = 100 + asked
    window.wait_for(
        "previewed", until=lambda result: _shape(result) == (round(last * PREVIEW_SIDE / 600), PREVIEW_SIDE)
    )
    window.look_for(SOON_S)
    assert before_the_end >= 1
    assert len(previews.sides) < asked / 2
    assert previews.sides[-2:] == [(last, DRAFT_SIDE), (last, PREVIEW_SIDE)]
    assert window.told[-1][0] == "previewed" and _shape(window.told[-1][1])[1] == PREVIEW_SIDE


def test_preview_that_is_not_wanted_any_more_is_not_shown(window: Window) -> None:
    """Neither made nor told once it was taken back, though it was being made."""
    previews = Previews()
    window.session.preview(previews(300))
    deadline = time.monotonic() + WAIT_S
    while not previews.sides:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    window.session.preview(None)
    window.look_for(2)
    assert "previewed" not in window.names() and previews.sides == [(300, DRAFT_SIDE)]


def test_picture_goes_before_previews(window: Window) -> None:
    """A preview that waits is dropped, and one that runs is given up."""
    previews = Previews()
    window.session.preview(previews(600))
    window.session.preview(previews(300))
    window.session.paint(lambda: SMALL)
    assert _shape(window.wait_for("painted")) == (32, 32)
    window.look_for(SOON_S)
    assert "previewed" not in window.names() and "preview_failed" not in window.names()
    assert window.names().index("progressed") < window.names().index("painted")


def test_preview_asked_for_while_painting_comes_afterwards(window: Window) -> None:
    """It waits for the picture."""
    window.session.paint(lambda: request(random_pixels(500, 500), [(STYLE, 1.0)]))
    window.wait_for("progressed")
    window.session.preview(Previews()(300))
    assert window.wait_for("painted", "previewed").pixels.height == 500
    assert _shape(window.wait_for("previewed")) == (DRAFT_SIDE // 2, DRAFT_SIDE)


def test_painting_can_be_cancelled_and_begun_again(window: Window) -> None:
    """CancelledError, once; the next picture is painted."""
    window.session.paint(lambda: LONG)
    window.wait_for("progressed", until=lambda progress: progress.stage in {"encode", "decode"})
    window.session.cancel()
    assert isinstance(window.wait_for("paint_failed", "painted"), CancelledError)
    window.session.paint(lambda: SMALL)
    assert _shape(window.wait_for("painted", "paint_failed")) == (32, 32)
    assert window.names().count("paint_failed") == 1


def test_cancelling_nothing_does_no_harm(window: Window) -> None:
    """Nothing is told, and the next picture is painted."""
    window.session.cancel()
    window.look_for(SOON_S)
    assert window.names() == ["connecting", "listed", "connected"]
    window.session.paint(lambda: SMALL)
    assert window.wait_for("painted", "paint_failed").pixels.height == 32


def test_swatches_come_when_there_is_nothing_better_to_do(window: Window) -> None:
    """Of every style that the server knows; one that it does not know is left out in silence."""
    names = [style.name for style in window.told[-2][1][0]][:5]
    window.session.fetch_swatches(["no-such-style", *names])
    window.wait_for("swatch", until=lambda value: bool(value[0] == names[-1]))
    swatches = [value for name, value in window.told if name == "swatch"]
    assert [name for name, _ in swatches] == names
    assert all(jpeg.startswith(b"\xff\xd8") for _, jpeg in swatches)
    assert "disconnected" not in window.names()


def _raise(error: Exception) -> StylizeRequest:
    raise error


def test_mistake_while_a_picture_is_read_is_a_sentence(window: Window) -> None:
    """Whatever it is, the session goes on working; an error of ours is told as it is."""
    window.session.paint(lambda: _raise(ZeroDivisionError("division\nby zero")))
    error = window.wait_for("paint_failed")
    assert isinstance(error, RequestError) and _is_sentence(error) and "ZeroDivisionError" in str(error)
    window.session.paint(lambda: _raise(AdainError("Not like that.")))
    assert str(window.wait_for("paint_failed")) == "Not like that."
    window.session.paint(lambda: SMALL)
    assert window.wait_for("painted", "paint_failed").pixels.height == 32
    assert "disconnected" not in window.names()


def test_mistake_while_a_preview_is_read_is_told_once(window: Window) -> None:
    """It is not tried for ever, and the next preview is shown."""
    calls: list[int] = []

    def make(side: int) -> StylizeRequest:
        calls.append(side)
        return _raise(ZeroDivisionError("x"))

    window.session.preview(make)
    error = window.wait_for("preview_failed", "paint_failed")
    assert isinstance(error, RequestError) and _is_sentence(error)
    window.look_for(SOON_S)
    assert calls == [DRAFT_SIDE] and window.names()[3:] == ["preview_failed"]
    window.session.preview(Previews()(300))
    assert _shape(window.wait_for("previewed")) == (DRAFT_SIDE // 2, DRAFT_SIDE)


def test_refused_preview_is_told_once(window: Window) -> None:
    """The server's sentence; a picture is refused with the same."""
    bad = request(random_pixels(16, 16), [("no-such-style", 1.0)])
    window.session.preview(lambda _side: bad)
    error = window.wait_for("preview_failed")
    window.look_for(SOON_S)
    assert window.names()[3:] == ["preview_failed"]
    window.session.paint(lambda: bad)
    assert str(window.wait_for("paint_failed")) == str(error)


def test_no_server_and_no_command_is_a_sentence(lonely_window: Window) -> None:
    """Told once; a preview starts nothing and waits, a picture looks again and fails."""
    window = lonely_window
    error = window.wait_for("disconnected")
    assert isinstance(error, ServerUnavailableError) and _is_sentence(error) and "install" in str(error)
    previews = Previews()
    window.session.preview(previews(300))
    window.session.fetch_swatches(["x"])
    window.look_for(SOON_S)
    assert window.names() == ["connecting", "disconnected"] and previews.sides == []
    window.session.paint(lambda: SMALL)
    error = window.wait_for("paint_failed")
    assert isinstance(error, ServerUnavailableError) and _is_sentence(error)
    assert window.names() == ["connecting", "disconnected"] * 2 + ["paint_failed"]


def test_waiting_preview_is_shown_once_there_is_a_server(
    lonely_window: Window, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After reconnect()."""
    lonely_window.wait_for("disconnected")
    lonely_window.session.preview(Previews()(300))
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(server.connection_file))
    lonely_window.session.reconnect()
    assert _shape(lonely_window.wait_for("previewed")) == (DRAFT_SIDE // 2, DRAFT_SIDE)


@pytest.mark.usefixtures("lonely_window")
def test_session_that_starts_nothing_waits_until_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command is run for a look around; reconnect() and paint() run it."""
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, "/no/such/command")
    shy = Window(start=False)
    try:
        assert "No AdaIN server is running" in str(shy.wait_for("disconnected"))
        shy.session.reconnect()
        assert "cannot be started" in str(shy.wait_for("disconnected"))
    finally:
        shy.session.close()


def _stop_by_a_client(server: RunningServer) -> None:
    with server.client() as client:
        client.stop()


@pytest.mark.parametrize(
    "end", [RunningServer.close, lambda server: server.process.kill(), _stop_by_a_client], ids=["end", "kill", "stop"]
)
def test_window_at_rest_is_told_at_once_that_the_server_has_ended(
    own_window: Window, own_server: RunningServer, end: Callable[[RunningServer], None]
) -> None:
    """Once, without anything having been asked for; nothing is started for that."""
    end(own_server)
    own_server.process.wait()
    began = time.monotonic()
    error = own_window.wait_for("disconnected")
    assert time.monotonic() - began < TOLD_S
    assert str(error) == "The AdaIN server has ended; the next picture starts it again."
    own_window.look_for(2 * SOON_S)
    assert own_window.names() == ["connecting", "listed", "connected", "disconnected"]


def test_server_that_has_ended_is_started_again_by_the_next_preview(
    own_window: Window, own_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that had no work for a while: nobody has to ask for it."""
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, shlex.join([*SERVER_COMMAND, "--device", "cpu"]))
    own_server.process.terminate()
    own_window.wait_for("disconnected")
    own_window.session.preview(Previews()(300))
    try:
        own_window.wait_for("connecting", until=lambda sentence: "Starting" in sentence)
        assert _shape(own_window.wait_for("previewed", "preview_failed")) == (DRAFT_SIDE // 2, DRAFT_SIDE)
    finally:
        _end_started(own_server)


def test_other_server_can_be_chosen(window: Window) -> None:
    """One that is not there: a sentence; and back again."""
    window.session.reconnect(ServerSettings(remote=True, address="nonsense"))
    assert "HOST:PORT" in str(window.wait_for("disconnected"))
    window.session.reconnect(ServerSettings())
    assert window.wait_for("connected").ready


def test_mistake_while_connecting_is_told_as_no_server(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence, and the session goes on."""

    def open_nothing(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError("x")

    with monkeypatch.context() as patched:
        patched.setattr(session_module, "open_server", open_nothing)
        window.session.reconnect()
        assert _is_sentence(window.wait_for("disconnected", "paint_failed"))
        assert window.told[-1][0] == "disconnected"
    window.session.reconnect()
    assert window.wait_for("connected").ready


def test_picture_can_be_cancelled_while_its_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lonely_window: Window
) -> None:
    """At once, though the server takes its time; the session still closes soon."""
    window = lonely_window
    window.wait_for("disconnected")
    noted = tmp_path / "pid"
    monkeypatch.setenv(
        launcher.SERVER_COMMAND_VARIABLE, f"/bin/sh -c 'echo $$ > {shlex.quote(str(noted))}; exec /bin/sleep 99'"
    )
    window.session.paint(lambda: SMALL)
    try:
        window.wait_for("connecting", until=lambda sentence: "Starting" in sentence)
        begun = time.monotonic()
        window.session.cancel()
        assert isinstance(window.wait_for("paint_failed"), CancelledError)
        assert time.monotonic() - begun < SOON_S
        window.session.close()
        assert time.monotonic() - begun < 3 * SOON_S
    finally:
        deadline = time.monotonic() + 10
        while not (noted.exists() and noted.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(int(noted.read_text()), signal.SIGKILL)


def test_server_that_dies_while_painting_is_told_and_another_one_paints(
    own_window: Window, own_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence within the client's patience; reconnect() starts a server, which paints."""
    own_window.session.paint(lambda: LONG)
    own_window.wait_for("progressed", until=lambda progress: progress.stage in {"encode", "decode"})
    own_server.process.send_signal(signal.SIGKILL)
    own_server.process.wait()
    error = own_window.wait_for("paint_failed", "painted")
    assert _is_sentence(error)
    assert isinstance(error, ServerUnavailableError) or (isinstance(error, RequestError) and error.retryable)
    monkeypatch.setenv(launcher.SERVER_COMMAND_VARIABLE, shlex.join([*SERVER_COMMAND, "--device", "cpu"]))
    own_window.session.reconnect()
    try:
        own_window.wait_for("connecting", until=lambda sentence: "Starting" in sentence)
        own_window.wait_for("connected")
        own_window.session.paint(lambda: SMALL)
        assert own_window.wait_for("painted", "paint_failed").pixels.height == 32
    finally:
        _end_started(own_server)


def _end_started(own_server: RunningServer) -> None:
    """End the server that a session has started in place of a test's own."""
    if (
        own_server.connection_file.exists()
        and (pid := server_pid(own_server.connection_file)) != own_server.process.pid
    ):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while own_server.connection_file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)


def _kill(server: RunningServer) -> None:
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def _stop(server: RunningServer) -> None:
    server.process.send_signal(signal.SIGSTOP)


@pytest.mark.fault(100)
@pytest.mark.parametrize("harm", [_kill, _stop, lambda _server: None], ids=["dead", "stopped", "well"])
def test_closing_takes_no_time_and_nothing_is_told_afterwards(
    own_window: Window, own_server: RunningServer, harm: Callable[[RunningServer], None]
) -> None:
    """In the middle of a picture, whatever has become of the server."""
    own_window.session.paint(lambda: LONG)
    own_window.wait_for("progressed")
    harm(own_server)
    try:
        begun = time.monotonic()
        own_window.session.close()
        assert time.monotonic() - begun < SOON_S
        told = len(own_window.told)
        own_window.look_for(3)
        assert len(own_window.told) == told
    finally:
        if own_server.process.poll() is None:
            own_server.process.send_signal(signal.SIGCONT)


def test_closing_twice_and_using_a_closed_session_does_no_harm(window: Window) -> None:
    """A window may do so while it goes."""
    window.session.close()
    window.session.close()
    window.session.preview(Previews()(300))
    window.session.paint(lambda: SMALL)
    window.session.cancel()
    window.session.reconnect()
    window.look_for(SOON_S)
    assert window.names() == ["connecting", "listed", "connected"]


SHORT, ENDLESS = LARGEST_WITH_FEW_STEPS, LARGEST_WITH_FEW_STEPS + 1
"""Sides of layers whose finish takes few steps, and whose finish goes on until it is accepted."""


@pytest.fixture(scope="module")
def finishing_server() -> Iterator[ServerInside]:
    """One whose painter only finishes, and says in the result how many steps it has made."""
    with finishing_server_inside() as running:
        yield running


@pytest.fixture
def finishing_window(finishing_server: ServerInside, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """Connected to that one."""
    monkeypatch.setenv("ADAIN_CONNECTION_FILE", str(finishing_server.connection_file))
    yield from _connected()


def _paint(window: Window, side: int, quality: str = "best") -> None:
    window.session.paint(lambda: request(random_pixels(side, side), [("space-sun", 1.0)], quality=quality))


def _steps_made(result: StylizeResult) -> int:
    return int(pixels_array(result.pixels)[0, 0, 1])


def test_finish_is_shown_as_it_forms_and_ended_by_accepting(finishing_window: Window) -> None:
    """What there is by then is painted; the next picture has its whole finish again."""
    window = finishing_window
    _paint(window, ENDLESS)
    draft = window.wait_for("drafted")
    assert (draft.pixels.height, draft.pixels.width) == (4, 6) and draft.steps > FEW_STEPS
    window.session.accept()
    assert window.session.is_accepted
    assert _steps_made(window.wait_for("painted", "paint_failed")) >= 1
    _paint(window, SHORT)
    assert not window.session.is_accepted
    assert _steps_made(window.wait_for("painted", "paint_failed")) == FEW_STEPS


def test_accepting_what_is_not_finished_does_no_harm(finishing_window: Window) -> None:
    """Neither when nothing is painted, nor in another quality; nothing forms there that could be shown."""
    window = finishing_window
    window.session.accept()
    _paint(window, SHORT)
    assert _steps_made(window.wait_for("painted", "paint_failed")) == FEW_STEPS
    seen = len(window.told)
    _paint(window, SHORT, "fine")
    window.session.accept()
    assert _steps_made(window.wait_for("painted", "paint_failed")) == 0
    assert "drafted" not in [name for name, _ in window.told[seen:]]
