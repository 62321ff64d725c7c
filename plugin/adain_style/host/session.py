"""The connection to the server behind a window, in a thread of its own, so that the window stays responsive.

One thing is done at a time: a picture before a preview, the newest preview before lists of what the server has, and
lists before swatches. Only the newest preview waits; each is shown small first and then, unless a newer one was asked
for, in full preview size.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Protocol

from adain_style.client.client import Client, ServerInfo
from adain_style.client.errors import AdainError, CancelledError, RequestError, ServerUnavailableError
from adain_style.client.jobs import Draft, ModelInfo, Progress, StyleInfo, StylizeRequest, StylizeResult
from adain_style.client.texts import _
from adain_style.host import labels
from adain_style.host.requests import DRAFT_SIDE, PREVIEW_SIDE
from adain_style.host.servers import open_server
from adain_style.host.settings import ServerSettings

LOADING_POLL_S = 0.3
UNHEARD_S, ANSWER_S = 5.0, 1.0
"""How long after its last answer a server is asked whether it is still there; how long that answer may take."""

WATCH_S = 0.15
"""How often an idle session checks whether its server is still there, without sending anything."""
CLOSE_S = 0.4
"""The longest that a quitting host waits for the thread; with everything else it is to be half a second at most."""


class SessionListener(Protocol):
    """Receives what happens in a session, in the window's thread."""

    def connecting(self, sentence: str) -> None:
        """Called while the server is looked for, started, or loading; the sentence says which."""

    def connected(self, info: ServerInfo) -> None:
        """Called when the server is ready, after listed()."""

    def listed(self, styles: list[StyleInfo], models: list[ModelInfo]) -> None:
        """Called with the styles and models that the server knows, on connecting and after look_again()."""

    def disconnected(self, error: AdainError) -> None:
        """Called when there is no server. reconnect() and pictures try again; so do previews after a server ended."""

    def swatch(self, name: str, jpeg: bytes) -> None:
        """Called with a style's thumbnail."""

    def previewed(self, result: StylizeResult) -> None:
        """Called with a preview of the newest request, or with a draft of an earlier one."""

    def preview_failed(self, error: AdainError) -> None:
        """Called when there is no preview of the newest request."""

    def progressed(self, progress: Progress) -> None:
        """Called with the picture's progress."""

    def drafted(self, draft: Draft) -> None:
        """Called with the picture as it forms, about once a second during its finish."""

    def painted(self, result: StylizeResult) -> None:
        """Called with the picture that was asked for."""

    def paint_failed(self, error: AdainError) -> None:
        """Called when there is no picture; with CancelledError when it was cancelled."""


class Session:
    """Talks to the server in a thread; every method returns at once."""

    def __init__(
        self,
        listener: SessionListener,
        server: ServerSettings,
        *,
        name: str,
        post: Callable[[Callable[[], None]], object],
        start: bool = True,
    ) -> None:
        """Begin to look for the server.

        Args:
            listener: Receives what happens.
            server: Which server.
            name: This client's name, for the server's log.
            post: Schedules a function to be called in the window's thread, soon; safe in any thread.
            start: False to start no server until reconnect() or paint() is called.
        """
        self._listener = listener
        self._server = server
        self._name = name
        self._post = post
        self._client: Client | None = None
        self._problem: AdainError = ServerUnavailableError(_("No AdaIN server is running."))
        self._wake = threading.Condition()
        self._preview: Callable[[int], StylizeRequest] | None = None
        self._preview_side = 0  # of the one that waits; 0 when none does
        self._paint: Callable[[], StylizeRequest] | None = None
        self._swatches: deque[str] = deque()
        self._lists_wanted = False
        self._connect_wanted = True
        self._may_start = start
        self._is_lost = False  # a server that was there, and may be started again without asking
        self._heard_at = 0.0
        self._cancelled, self._accepted = threading.Event(), threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="adain-session")
        self._thread.start()

    def reconnect(self, server: ServerSettings | None = None) -> None:
        """Look for the server again, or for another one; starts this machine's when none runs."""
        with self._wake:
            self._server = server or self._server
            self._connect_wanted = self._may_start = True
            self._wake.notify()

    def preview(self, make_request: Callable[[int], StylizeRequest] | None) -> None:
        """Show this preview soon, in place of one that waits, or that is being painted and is more than a draft.

        Args:
            make_request: Called in the session's thread with the preview's longer side; None for no preview.
        """
        with self._wake:
            self._preview, self._preview_side = make_request, 0 if make_request is None else DRAFT_SIDE
            self._wake.notify()

    def paint(self, make_request: Callable[[], StylizeRequest]) -> None:
        """Paint the picture. make_request: Called in the session's thread."""
        with self._wake:
            self._cancelled.clear()
            self._accepted.clear()
            self._paint, self._preview, self._preview_side = make_request, None, 0
            self._wake.notify()

    @property
    def is_accepted(self) -> bool:
        """Whether the picture that is being painted, or was painted last, was accepted."""
        return self._accepted.is_set()

    def accept(self) -> None:
        """Have the finish end with the picture as it is by then; painted() follows."""
        self._accepted.set()

    def cancel(self) -> None:
        """Give up painting; paint_failed() follows, at once when the picture still waits for a server."""
        self._cancelled.set()
        with self._wake:
            waiting, self._paint = self._paint, None
        if waiting is not None:
            self._tell(self._listener.paint_failed, CancelledError(_("Painting was cancelled.")))

    def fetch_swatches(self, names: list[str]) -> None:
        """Ask for thumbnails, when there is nothing more urgent to do."""
        with self._wake:
            self._swatches = deque(names)
            self._wake.notify()

    def look_again(self) -> None:
        """Ask which styles and models there are by now, when there is nothing more urgent to do."""
        with self._wake:
            self._lists_wanted = True
            self._wake.notify()

    def close(self, *, wait_s: float = CLOSE_S) -> None:
        """End the thread and call the listener no more. Waits wait_s at most."""
        self._closed.set()
        self._cancelled.set()
        with self._wake:
            self._wake.notify()
        self._thread.join(wait_s)

    # The thread

    def _run(self) -> None:
        while not self._closed.is_set():
            self._do_next()
        if self._client is not None:
            self._client.close()

    def _do_next(self) -> None:
        with self._wake:
            if not (self._closed.is_set() or self._has_work()):
                self._wake.wait(None if self._client is None else WATCH_S)
            has_work = self._has_work()
            connect_wanted, self._connect_wanted = self._connect_wanted, False
            self._may_start |= self._paint is not None
            wants_server = self._paint is not None or bool(self._preview_side)
        if self._closed.is_set():
            return
        if not has_work:
            self._watch()
            return
        if connect_wanted or (wants_server and not self._is_there()):
            self._connect()  # a picture still waits during this, so that it can be cancelled
        with self._wake:
            work = self._take_work()
        if work is not None:
            work()

    def _take_work(self) -> Callable[[], None] | None:
        """Take the next piece of work off the queue."""
        if self._paint is not None:
            paint, self._paint = self._paint, None
            return lambda: self._do_paint(paint)
        client = self._client
        if client is None:
            return None
        if self._preview is not None and self._preview_side:
            preview, side, self._preview_side = self._preview, self._preview_side, 0
            return lambda: self._do_preview(client, preview, side)
        if self._lists_wanted:
            return lambda: self._do_lists(client)
        if self._swatches:
            name = self._swatches.popleft()
            return lambda: self._do_swatch(client, name)
        return None

    def _has_work(self) -> bool:
        # Lists and swatches wait for a server, and so do previews, unless the session has lost its server. A picture
        # makes the session look for one.
        can_preview = self._client is not None or self._is_lost
        return bool(
            self._connect_wanted
            or self._paint
            or (can_preview and self._preview_side)
            or (self._client and (self._lists_wanted or self._swatches))
        )

    def _watch(self) -> None:
        """Report at once when the server has ended by itself, or was stopped or killed."""
        if self._client is not None and self._client.is_gone():
            if self._server.remote:
                sentence = _("The AdaIN server on the other machine has ended; try again once it runs.")
            else:
                sentence = _("The AdaIN server has ended; the next picture starts it again.")
            self._lose_if_gone(ServerUnavailableError(sentence))

    def _is_there(self) -> bool:
        """Whether the server still answers: after some time without work it ends by itself, without notice."""
        if self._client is None:
            return False
        if time.monotonic() - self._heard_at < UNHEARD_S:
            return True
        try:
            self._client.hello(timeout_s=ANSWER_S)
        except AdainError:
            return False
        self._heard_at = time.monotonic()
        return True

    def _connect(self) -> None:
        self._disconnect()
        self._is_lost = False  # a server that cannot be reached is not tried again and again
        self._tell(self._listener.connecting, _("Looking for the AdaIN server…"))
        try:
            self._client = open_server(
                self._server,
                name=self._name,
                start=self._may_start,
                on_start=lambda sentence: self._tell(self._listener.connecting, sentence),
                cancelled=self._closed.is_set,
            )
            info = self._client.hello()
            while not info.ready and not self._closed.wait(LOADING_POLL_S):
                self._tell(self._listener.connecting, _("The AdaIN server is loading its model…"))
                info = self._client.hello()
            self._heard_at, self._may_start = time.monotonic(), True
            self._tell_lists(self._client)
            self._tell(self._listener.connected, info)
        except Exception as error:
            self._lose(for_people(error))

    def _do_paint(self, make_request: Callable[[], StylizeRequest]) -> None:
        if self._client is None:
            self._tell(self._listener.paint_failed, self._problem)
            return
        try:
            result = self._client.stylize(
                make_request(),
                on_progress=lambda progress: self._tell(self._listener.progressed, progress),
                on_draft=lambda draft: self._tell(self._listener.drafted, draft),
                accepted=self._accepted.is_set,
                cancelled=self._cancelled.is_set,
            )
            self._heard_at = time.monotonic()
            self._tell(self._listener.painted, result)
        except Exception as error:
            # The picture's failure is reported last, because that is what the user wants to try again.
            self._lose_if_gone(error)
            self._tell(self._listener.paint_failed, for_people(error))

    def _do_preview(self, client: Client, make_request: Callable[[int], StylizeRequest], side: int) -> None:
        try:
            result = client.stylize(make_request(side), cancelled=lambda: self._is_unwanted(make_request, side))
        except Exception as error:
            if self._preview is make_request and not isinstance(error, CancelledError):
                self._tell(self._listener.preview_failed, for_people(error))
            self._lose_if_gone(error)
            return
        self._heard_at = time.monotonic()
        with self._wake:
            newest = self._preview
            if newest is make_request and side == DRAFT_SIDE:
                self._preview_side = PREVIEW_SIDE
        if newest is make_request or (newest is not None and side == DRAFT_SIDE):
            # A draft is shown even when a newer value waits; otherwise a slider that never rests would show nothing.
            self._tell(self._listener.previewed, result)

    def _is_unwanted(self, make_request: Callable[[int], StylizeRequest], side: int) -> bool:
        """Whether to end a preview: any one for a picture, and one larger than a draft also for a newer choice."""
        is_old = side > DRAFT_SIDE and self._preview is not make_request
        return is_old or self._closed.is_set() or self._paint is not None

    def _do_lists(self, client: Client) -> None:
        try:
            self._tell_lists(client)
        except Exception as error:
            for_people(error)
            self._lose_if_gone(error)  # what was listed before is still shown

    def _tell_lists(self, client: Client) -> None:
        with self._wake:
            self._lists_wanted = False
        self._tell(self._listener.listed, client.styles(), client.models())

    def _do_swatch(self, client: Client, name: str) -> None:
        try:
            self._tell(self._listener.swatch, name, client.swatch(name))
        except Exception as error:
            for_people(error)
            self._lose_if_gone(error)  # a style without a thumbnail is shown by its name

    def _lose_if_gone(self, error: Exception) -> None:
        self._heard_at = time.monotonic()
        if isinstance(error, ServerUnavailableError):
            self._is_lost = True
            self._lose(error)

    def _lose(self, error: AdainError) -> None:
        self._disconnect()
        self._problem = error
        self._tell(self._listener.disconnected, error)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _tell(self, method: Callable[..., None], *values: object) -> None:
        def call() -> None:
            if not self._closed.is_set():
                method(*values)

        self._post(call)


def for_people(error: Exception) -> AdainError:
    """Return an error as a window shows it, with the server's English messages in the user's language.

    A bug of ours becomes a sentence too: it must not leave a window that waits for ever.
    """
    if isinstance(error, RequestError):
        return labels.worded(error)
    if isinstance(error, AdainError):
        return error
    traceback.print_exception(error, file=sys.stderr)
    sentence = _("Something went wrong in the plug-in ({what}); nothing was changed.").format(what=repr(error)[:200])
    return RequestError("INTERNAL", sentence)
