"""A blocking client: one DEALER socket, a time limit on everything, nothing that lingers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import zmq

from adain_style.client import protocol
from adain_style.client.connection import ConnectionInfo, is_deserted
from adain_style.client.errors import AdainError, CancelledError, ProtocolError, RequestError, ServerUnavailableError
from adain_style.client.jobs import (
    Draft,
    Message,
    ModelInfo,
    Progress,
    StyleInfo,
    StylizeJob,
    StylizeRequest,
    StylizeResult,
)
from adain_style.client.protocol import Header
from adain_style.client.texts import _

HELLO_TIMEOUT_S = 3.0
SWATCH_TIMEOUT_S = 12.0
"""The server spends up to ten seconds on a picture that it has to open."""
HELLO_AGAIN_S = 1.0
"""A hello is repeated after this long, in seconds: a connection that was breaking may have swallowed the first."""
SEND_TIMEOUT_MS = 1000
CLOSE_MS = 100
"""Time for the last message, which tells the server to forget the job; nothing is queued for a server that is gone."""
GONE_S = 0.7
"""How long a broken connection may take to recover, in seconds, before checking whether anybody still listens."""
SILENCE_TIMEOUT_S = 10.0
"""A server that sends nothing for this long, not even an answer to a hello, is taken for dead."""
JOB_SILENCE_TIMEOUT_S = 600.0
"""A server that answers hellos but not about the job for this long forgot it; a hung worker is ended long before."""
HELLO_EVERY_S = 2.0
CANCEL_TIMEOUT_S = 10.0
POLL_S = 0.05
MAX_LISTED = 10_000
"""The most styles or models that are read; a longer list is taken for endless."""
NOT_PROTOCOL = frozenset({"BAD_NAME", "UNKNOWN_STYLE", "BAD_STYLE", "FORBIDDEN", "INTERNAL"})
"""Codes of errors outside jobs that are not due to different versions of the two sides."""


@dataclass(frozen=True)
class ServerInfo:
    """A server's description of itself.

    Attributes:
        boot: 16 bytes that differ after each start.
        server: Its version. device, model: The compute device and the model's name.
        ready: Whether the model is loaded.
        max_pixels: The largest content, height times width.
        max_styles: The most styles of a region. max_regions: The most regions of a job.
        idle_timeout_s: It ends by itself after that many seconds without work; 0 for never.
        jobs: The number of jobs that it has at the moment, of all clients.
        finish_s_per_megapixel: How long a whole finish takes there; 0 while it is not known: see finish_seconds().
    """

    boot: bytes
    server: str
    device: str
    model: str
    ready: bool
    max_pixels: int
    max_styles: int
    max_regions: int
    idle_timeout_s: float
    jobs: int
    finish_s_per_megapixel: float = 0.0


@dataclass(frozen=True)
class ServerStatus:
    """The state of a server.

    Attributes:
        uptime_s: How long it has been running, in seconds.
        ready: Whether its worker can take a job. device, model: As in ServerInfo.
        models: How many models can be chosen.
        uploading, queued, running, finished: Jobs of all clients; the results of finished ones wait to be fetched.
        held_bytes, max_bytes: Bytes of pictures in memory, and their limit.
        memory, worker_memory: Bytes of the two processes' own memory, without what they share; 0 where the system does
            not report them.
        devices: The devices that could compute.
        worker_starts: How often the process that paints was started.
        last_error: The last thing that went wrong in the server, or "".
    """

    uptime_s: float
    ready: bool
    device: str
    model: str
    models: int
    uploading: int
    queued: int
    running: int
    finished: int
    held_bytes: int
    max_bytes: int
    memory: int
    worker_memory: int
    devices: list[str]
    worker_starts: int
    last_error: str

    def lines(self) -> list[str]:
        """The status for people, in lines of English text."""
        hours, minutes = divmod(round(self.uptime_s / 60), 60)
        return [
            f"{'ready' if self.ready else 'loading'} on {self.device}, model {self.model} of {self.models}",
            f"running for {hours} h {minutes} min, worker started {self.worker_starts} times",
            f"jobs: {self.uploading} arriving, {self.queued} waiting, {self.running} painted, "
            f"{self.finished} to be fetched",
            f"pictures in memory: {self.held_bytes / 1024**2:.0f} of {self.max_bytes / 1024**2:.0f} MiB",
            f"memory besides: {self.memory / 1024**2:.0f} MiB, worker {self.worker_memory / 1024**2:.0f} MiB",
            f"devices: {', '.join(self.devices) or 'not known yet'}",
            f"last error: {self.last_error or 'none'}",
        ]


class Client:
    """A connection to one server. Use it in one thread, as a context manager."""

    def __init__(self, connection: ConnectionInfo, *, name: str = "adain-client") -> None:
        self._name, self._endpoint = name, connection.endpoint
        self._broken_at: float | None = None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing queues for a server that is not there
        self._socket.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
        largest = protocol.largest_frame(encrypted=bool(connection.server_key))
        self._socket.setsockopt(zmq.MAXMSGSIZE, largest)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        try:
            if connection.server_key:
                self._socket.setsockopt(zmq.CURVE_SERVERKEY, connection.server_key.encode("ascii"))
                self._socket.setsockopt(zmq.CURVE_PUBLICKEY, connection.client_key.encode("ascii"))
                self._socket.setsockopt(zmq.CURVE_SECRETKEY, connection.client_secret.encode("ascii"))
            self._socket.connect(connection.endpoint)
        except (zmq.ZMQError, UnicodeEncodeError):
            self.close()
            raise ServerUnavailableError(
                _("The server's address or its keys are damaged; copy its key file again.")
            ) from None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection, after CLOSE_MS at most."""
        self._socket.close(linger=CLOSE_MS)
        self._context.term()

    def is_gone(self) -> bool:
        """Whether the connection broke, was not restored within GONE_S, and nobody listens at its other end.

        Sends nothing. Call it several times a second: a break is timed from the call that first notices it.
        """
        now = time.monotonic()
        # With IMMEDIATE a socket can be written to only while it is connected.
        if self._socket.poll(0, zmq.POLLOUT):
            self._broken_at = None
            return False
        if self._broken_at is None:
            self._broken_at = now
        if now - self._broken_at < GONE_S:
            return False
        if is_deserted(self._endpoint):
            return True
        self._broken_at = now  # somebody listens but accepts no connections at the moment
        return False

    def hello(self, *, timeout_s: float = HELLO_TIMEOUT_S) -> ServerInfo:
        """Ask the server to describe itself.

        Raises:
            ServerUnavailableError: No answer in time.
            ProtocolError: The other side is not an AdaIN server of this version.
        """
        header, _ = self._ask(timeout_s, "hello", "welcome", HELLO_AGAIN_S, client=self._name)
        return ServerInfo(**{name: header[name] for name in protocol.FROM_SERVER["welcome"] if name in header})

    def styles(self) -> list[StyleInfo]:
        """The styles that the server knows by name. Raises as hello()."""
        return [StyleInfo(**entry) for entry in self._ask_list("styles")]

    def models(self) -> list[ModelInfo]:
        """The models that the server can paint with. Raises as hello()."""
        return [ModelInfo(**entry) for entry in self._ask_list("models")]

    def swatch(self, name: str) -> bytes:
        """A named style's thumbnail, a small JPEG file.

        Raises:
            RequestError: The server knows no such style, or cannot read it. And as hello().
        """
        _, payload = self._ask(SWATCH_TIMEOUT_S, "swatch", "swatch", name=name)
        return payload

    def status(self) -> ServerStatus:
        """Return the server's state. Raises as hello()."""
        header, _ = self._ask(HELLO_TIMEOUT_S, "status", "status")
        return ServerStatus(**{name: header[name] for name in protocol.FROM_SERVER["status"]})

    def stop(self) -> None:
        """Tell the server to end, and wait until it confirms. Raises as hello().

        It finishes what it is painting, if that takes no longer than a few seconds; other jobs end with SHUTTING_DOWN.
        """
        self._ask(HELLO_TIMEOUT_S, "stop", "stopping")

    def _ask_list(self, op: str) -> list[dict[str, Any]]:
        """The entries of a list that may be longer than one header can hold."""
        found: list[dict[str, Any]] = []
        total = 1
        while len(found) < total:
            header, _nothing = self._ask(HELLO_TIMEOUT_S, op, op, first=len(found))
            found += header[op]
            total = header["total"] if header[op] else len(found)
            if len(found) > MAX_LISTED:
                raise ProtocolError("TOO_LARGE", _("The server's list of styles or models has no end."))
        return found

    def _ask(
        self, timeout_s: float, op: str, answer: str, again_s: float = math.inf, /, **fields: object
    ) -> tuple[Header, bytes]:
        """Send a question outside a job, repeat it every again_s seconds, and wait for its answer."""
        deadline = time.monotonic() + timeout_s
        question: Message = [protocol.pack(op, **fields)]
        if not self._send(question):
            raise ServerUnavailableError(_("No AdaIN server is running."))
        asked = time.monotonic()
        while (now := time.monotonic()) < deadline:
            if now - asked > again_s:
                self._send(question)
                asked = now
            message = self._receive(min(deadline - now, POLL_S))
            if message is None:
                if self.is_gone():
                    raise ServerUnavailableError(_("No AdaIN server is running."))
                continue
            header, payload = message
            # An answer to an earlier question that was given up names another style or another part of a list.
            if header["op"] == answer and all(header.get(name, value) == value for name, value in fields.items()):
                return header, payload
            if header["op"] == "error" and "job" not in header:
                if header["code"] in NOT_PROTOCOL:
                    raise RequestError(header["code"], header["message"], retryable=header["retryable"])
                raise ProtocolError(header["code"], header["message"])
        raise ServerUnavailableError(_("The AdaIN server does not answer."))

    def stylize(
        self,
        request: StylizeRequest,
        *,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
        on_draft: Callable[[Draft], None] | None = None,
        accepted: Callable[[], bool] = lambda: False,
        cancelled: Callable[[], bool] = lambda: False,
        timeout_s: float | None = None,
    ) -> StylizeResult:
        """Run one job to its end.

        The job is sent again to a server that was restarted during it or lost its connection to this client.

        Args:
            on_progress: Called whenever the job's progress changes, in this thread.
            on_draft: Called with the picture as it forms, about once a second during its finish, in this thread.
            accepted: Called as often as `cancelled`; True ends the finish, and the picture as it is becomes the result.
            cancelled: Called about twenty times a second; True cancels the job.
            timeout_s: Limit for the whole job; the server does not begin it later. None for no limit as long as the
                server answers.
        Returns:
            The stylized pixels, and the server's notice about them.
        Raises:
            CancelledError: `cancelled` returned True. RequestError: The server refused or lost the job.
            ServerUnavailableError: No server answers any more, or the time is over.
        """
        job = StylizeJob(request, wants_drafts=on_draft is not None)
        audience = _Audience(job, on_progress, on_draft)
        started = heard = tended = time.monotonic()
        self.hello()
        intact = self._send_all(job.open(deadline_s=timeout_s))
        asked, cancel_sent = started, None
        while not job.finished:
            now = time.monotonic()
            if cancel_sent is None and cancelled():
                intact &= self._send_all(job.cancel())
                cancel_sent = now
            if not job.is_accepted and accepted():
                intact &= self._send_all(job.accept())
            self._check_time(now, heard, tended, started, timeout_s, cancel_sent)
            if now - (max(heard, asked) if intact else asked) > HELLO_EVERY_S:
                # A silent server may be computing, or dead: a hello tells which.
                self._send([protocol.pack("hello", client=self._name)])
                asked = now
            message = self._receive(POLL_S)
            if message is None:
                if self.is_gone():
                    raise _lost(is_cancelled=cancel_sent is not None)
                continue
            heard = time.monotonic()
            header, payload = message
            if header["op"] != "welcome":
                tended = heard if header.get("job") == job.job_id else tended
                intact &= self._send_all(job.receive(header, payload))
            elif not intact or tended < asked:
                # The server lives but sends nothing about the job: it was restarted, or the connection was lost for
                # a moment. Opening a job that it already has changes nothing.
                intact = self._send_all([*job.open(deadline_s=timeout_s), *(job.cancel() if cancel_sent else [])])
            audience.tell()
        if job.error is not None:
            raise job.error
        assert job.result is not None
        return job.result

    @staticmethod
    def _check_time(
        now: float, heard: float, tended: float, started: float, timeout_s: float | None, cancel_sent: float | None
    ) -> None:
        if cancel_sent is not None and now - cancel_sent > CANCEL_TIMEOUT_S:
            raise _lost(is_cancelled=True)
        if now - heard > SILENCE_TIMEOUT_S:
            raise _lost(is_cancelled=False)
        if now - tended > JOB_SILENCE_TIMEOUT_S:
            raise ServerUnavailableError(_("The AdaIN server says nothing of the job any more; try again."))
        if timeout_s is not None and now - started > timeout_s:
            raise ServerUnavailableError(_("The job was not finished within {n:g} seconds.").format(n=timeout_s))

    def _send_all(self, messages: list[Message]) -> bool:
        return all(self._send(message) for message in messages)

    def _send(self, message: Message) -> bool:
        """Return False when the connection is down: the job is opened again when the server answers a hello."""
        started = time.monotonic()
        try:
            self._socket.send_multipart(message, copy=len(message) == 1)
        except zmq.Again:
            self._broken_at = self._broken_at or started
            return False
        except zmq.ZMQError as error:
            raise ServerUnavailableError(
                _("The connection to the AdaIN server failed ({error}).").format(error=error)
            ) from None
        return True

    def _receive(self, timeout_s: float) -> tuple[Header, bytes] | None:
        if not self._socket.poll(max(0, int(timeout_s * 1000))):
            return None
        return protocol.unpack(self._socket.recv_multipart(), protocol.FROM_SERVER)


def _lost(*, is_cancelled: bool) -> AdainError:
    """The error for a job whose server does not answer."""
    if is_cancelled:
        return CancelledError(_("The job was cancelled; the server did not confirm it."))
    return ServerUnavailableError(_("The AdaIN server stopped answering; try again."))


class _Audience:
    """The callbacks that follow a job, and what they were last given."""

    def __init__(
        self, job: StylizeJob, on_progress: Callable[[Progress], None], on_draft: Callable[[Draft], None] | None
    ) -> None:
        self._job, self._on_progress, self._on_draft = job, on_progress, on_draft
        self._progress: Progress | None = None
        self._draft: Draft | None = None

    def tell(self) -> None:
        """Call them if the progress or the draft has changed."""
        job = self._job
        if job.progress != self._progress:
            self._progress = job.progress
            self._on_progress(job.progress)
        if self._on_draft is not None and job.draft is not None and job.draft is not self._draft:
            self._draft = job.draft
            self._on_draft(job.draft)
