"""The I/O process: one loop over the clients' socket, the gatekeeper's and the worker's."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import msgpack
import zmq

from adain_client import protocol
from adain_client.errors import ProtocolError
from adain_client.protocol import Header
from adain_server.admission import check_jobs, check_name, check_request
from adain_server.config import ServerConfig
from adain_server.errors import JobError, ServerError
from adain_server.job import Job, JobState, request_of, style_sources
from adain_server.library import StyleLibrary
from adain_server.place import Place
from adain_server.store import PictureStore
from adain_server.worker_process import WorkerProcess

log = logging.getLogger(__name__)

POLL_MS = 200
SWEEP_S = 1.0
UPLOAD_TIMEOUT_S = 30.0
RESULT_TIMEOUT_S = 60.0
DRAIN_S = 5.0
KNOWN_STYLES = 4096
"""Styles' statistics that are kept, 4 KB each."""
KNOWN_SEQUENCES = 256
REMEMBERED_JOBS = 1024
BAD_ENVELOPES = 3
RESULT_CREDIT_LIMIT = 64
"""Chunks of a result that are sent for one message, whatever credit it gives."""
LIST_BYTES = 48 * 1024
"""Of a list of styles that goes into one header."""
WORKER_STARTS = 3
"""A worker that dies this often before it was ready once is not started again."""


class Server:
    """Takes jobs, hands them to the worker one by one, and answers everything."""

    def __init__(self, config: ServerConfig, place: Place, announce: Callable[[str], None]) -> None:
        """announce: Called with a sentence for the terminal."""
        self._config = config
        self._place = place
        self._announce = announce
        self._router = place.router
        self._boot = os.urandom(16)
        self._worker = WorkerProcess(
            place.context, device=config.device, model=config.model, memory_budget=config.memory_budget
        )
        self._store = PictureStore(config.max_bytes)
        self._library = StyleLibrary(config.styles)
        self._poller = zmq.Poller()
        for socket in (self._router, place.gatekeeper.socket, self._worker.inbox):
            self._poller.register(socket, zmq.POLLIN)
        self._device = config.device
        self._model = config.model
        self._ready = False
        self._deaths = 0
        self._jobs: dict[bytes, Job] = {}
        self._ended: OrderedDict[bytes, None] = OrderedDict()
        self._turns: deque[bytes] = deque()
        self._served = b""
        self._running: Job | None = None
        self._taken = False  # the worker has begun with the running job
        self._styles: OrderedDict[bytes, bytes] = OrderedDict()
        self._sequences: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._bad_envelopes: OrderedDict[bytes, int] = OrderedDict()
        self._stop_at: float | None = None
        self._heard = self._swept = time.monotonic()

    def request_stop(self) -> None:
        """Finish what runs, within DRAIN_S, then end. Safe in a signal handler."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + DRAIN_S

    def run(self) -> None:
        """Serve until request_stop() or the idle time-out. Raises ServerError when the worker cannot work."""
        try:
            while not self._is_over():
                self._turn()
        finally:
            self._end_all()
            self._worker.stop()
            self._store.close()

    def _turn(self) -> None:
        inbox = self._worker.inbox
        readable = dict(self._poller.poll(POLL_MS))
        if self._place.gatekeeper.socket in readable:
            self._place.gatekeeper.answer()
        if inbox in readable:
            self._take_worker_message(inbox.recv())
        if self._router in readable:
            self._take_client_message(self._router.recv_multipart())
        if time.monotonic() - self._swept > SWEEP_S:
            self._sweep()
        self._dispatch()

    def _is_over(self) -> bool:
        now = time.monotonic()
        if self._stop_at is not None:
            busy = self._running is not None or any(job.state is JobState.READY for job in self._jobs.values())
            return not busy or now > self._stop_at
        idle = self._config.idle_timeout_s
        if idle and self._ready and not self._jobs and now - self._heard > idle:
            self._announce(f"Ending after {idle:g} seconds without work.")
            return True
        return False

    # Messages from clients

    def _take_client_message(self, frames: list[bytes]) -> None:
        client, *message = frames
        self._heard = time.monotonic()
        if self._bad_envelopes.get(client, 0) >= BAD_ENVELOPES:
            return
        header: Header = {}
        try:
            header, payload = protocol.unpack(message, protocol.FROM_CLIENT)
            getattr(self, f"_on_{header['op']}")(client, header, payload)
        except ProtocolError as error:
            self._refuse(client, error)
        except JobError as error:
            self._send_error(client, error.code, str(error), header.get("job"), error.retry_after_s)

    def _refuse(self, client: bytes, error: ProtocolError) -> None:
        log.warning("refused a message: %s %s", error.code, error)
        if error.code == "BAD_ENVELOPE":
            self._bad_envelopes[client] = self._bad_envelopes.get(client, 0) + 1
            _forget_oldest(self._bad_envelopes, REMEMBERED_JOBS)
        self._send_error(client, error.code, str(error))

    def _on_hello(self, client: bytes, header: Header, _payload: bytes) -> None:
        log.info("hello from %r", header["client"])
        self._send(
            client,
            "welcome",
            boot=self._boot,
            server=importlib.metadata.version("adain-style"),
            device=self._device,
            model=self._model,
            ready=self._ready,
            max_pixels=self._config.max_pixels,
            max_styles=protocol.MAX_STYLES,
            max_regions=protocol.MAX_REGIONS,
            idle_timeout_s=self._config.idle_timeout_s,
            jobs=len(self._jobs),
        )

    def _on_styles(self, client: bytes, header: Header, _payload: bytes) -> None:
        entries = self._library.entries()
        listed: list[dict[str, Any]] = []
        room = LIST_BYTES
        for entry in entries[header["first"] :]:
            fields = vars(entry)
            room -= len(msgpack.packb(fields))
            if room < 0:
                break
            listed.append(fields)
        self._send(client, "styles", first=header["first"], total=len(entries), styles=listed)

    def _on_swatch(self, client: bytes, header: Header, _payload: bytes) -> None:
        check_name(header["name"])
        self._send(client, "swatch", self._library.swatch(header["name"]), name=header["name"])

    def _on_open(self, client: bytes, header: Header, _payload: bytes) -> None:
        job = self._jobs.get(header["job"])
        if job is not None:
            self._attach(job, client, header)
            return
        if self._stop_at is not None:
            raise JobError("SHUTTING_DOWN", "The server is ending; start it again and retry.")
        check_request(header, max_pixels=self._config.max_pixels)
        if header["preview"]:
            self._replace_previews(client)
        check_jobs(client, self._jobs.values(), self._config)
        named = {source: self._library.find(source) for source in style_sources(header) if isinstance(source, str)}
        job = Job(client, header, self._store, self._styles, named)
        self._jobs[job.job_id] = job
        for digest in job.statistics:
            self._styles.move_to_end(digest)
        self._grant(job)
        if not job.needs():
            self._queue(job)

    def _replace_previews(self, client: bytes) -> None:
        """A newer preview takes the place of those that this client still waits for."""
        for job in list(self._jobs.values()):
            waits = job.state in (JobState.UPLOADING, JobState.QUEUED)
            if job.client == client and job.is_preview and waits:
                self._send(client, "cancelled", job=job.job_id)
                self._forget(job)

    def _attach(self, job: Job, client: bytes, header: Header) -> None:
        if request_of(header) != job.spec:
            raise JobError("ID_CONFLICT", "This job id is in use for other contents.")
        job.client = client
        if job.state is JobState.UPLOADING:
            job.restart_upload()
            self._grant(job)
        elif job.state is JobState.READY:
            self._send(client, "result", **job.announce())

    def _grant(self, job: Job) -> None:
        self._send(job.client, "grant", job=job.job_id, need=job.needs(), chunks=job.grant())

    def _on_chunk(self, client: bytes, header: Header, payload: bytes) -> None:
        job = self._job_of(client, header)
        try:
            job.accept_chunk(header["digest"], header["offset"], payload)
        except JobError:
            self._drop(job)
            raise
        if not job.needs():
            self._queue(job)
            self._tell_waiting(job)
        elif more := job.grant():
            self._send(client, "credit", job=job.job_id, chunks=more)

    def _on_credit(self, client: bytes, header: Header, _payload: bytes) -> None:
        job = self._job_of(client, header)
        if job.state is not JobState.READY:
            raise JobError("BAD_CHUNK", "There is no result yet.")
        for offset, data in job.result_chunks(min(header["chunks"], RESULT_CREDIT_LIMIT)):
            self._send(client, "chunk", data, job=job.job_id, offset=offset)

    def _on_cancel(self, client: bytes, header: Header, _payload: bytes) -> None:
        job = self._job_of(client, header)
        if job.state is JobState.READY:
            raise JobError("ALREADY_DONE", "The job is finished already.")
        self._send(client, "cancelled", job=job.job_id)
        self._drop(job)

    def _on_done(self, client: bytes, header: Header, _payload: bytes) -> None:
        self._forget(self._job_of(client, header))

    def _on_stop(self, client: bytes, _header: Header, _payload: bytes) -> None:
        self._announce("Ending, as a client asked.")
        self._send(client, "stopping")
        self.request_stop()

    def _job_of(self, client: bytes, header: Header) -> Job:
        job = self._jobs.get(header["job"])
        if job is not None and job.client == client:
            return job
        if header["job"] in self._ended:
            raise JobError("ALREADY_DONE", "The job has ended already.")
        raise JobError("UNKNOWN_JOB", "The server has no such job.")

    # Messages from the worker

    def _take_worker_message(self, data: bytes) -> None:
        if not data:
            self._replace_worker()
            return
        message = msgpack.unpackb(data)
        getattr(self, f"_worker_{message.pop('op')}")(**message)

    def _worker_ready(self, device: str, model: str, notice: str) -> None:
        self._ready, self._deaths = True, 0
        self._heard = time.monotonic()  # loading is not idleness
        self._device, self._model = device, model
        if notice:
            self._announce(notice)
        self._announce(f"Ready on {device}, model {model}, at {self._place.endpoint}")

    def _worker_unusable(self, message: str) -> None:
        raise ServerError(message)

    def _worker_style(self, digest: bytes, statistics: bytes) -> None:
        self._styles[digest] = statistics
        self._styles.move_to_end(digest)
        _forget_oldest(self._styles, KNOWN_STYLES)

    def _worker_progress(self, job: bytes, stage: str, step: int, steps: int) -> None:
        self._taken = True
        running = self._jobs.get(job)
        if running is not None and running.client:
            self._send(running.client, "progress", job=job, stage=stage, step=step, steps=steps)

    def _worker_finished(self, job: bytes, digest: bytes, notice: str, statistics: list[bytes]) -> None:
        finished, self._running = self._running, None
        assert finished is not None and finished.job_id == job
        if not finished.client:
            self._forget(finished)
            return
        finished.finish(digest, notice)
        if finished.sequence:
            self._sequences[finished.sequence] = statistics
            self._sequences.move_to_end(finished.sequence)
            _forget_oldest(self._sequences, KNOWN_SEQUENCES)
        self._send(finished.client, "result", **finished.announce())

    def _worker_cancelled(self, job: bytes) -> None:
        stopped, self._running = self._running, None
        assert stopped is not None and stopped.job_id == job
        if stopped.client:
            self._queue(stopped, first=True)  # its client came back while the worker was stopping
        else:
            self._forget(stopped)

    def _worker_failed(self, job: bytes, code: str, message: str) -> None:
        failed, self._running = self._running, None
        assert failed is not None and failed.job_id == job
        self._fail(failed, code, message)

    def _replace_worker(self) -> None:
        self._ready = False
        self._deaths += 1
        log.error("the worker died, exit status %s", self._worker.exit_status)
        if self._running is not None:
            lost, self._running = self._running, None
            if self._taken or not lost.client:
                self._fail(lost, "WORKER_LOST", "The process that was painting died; it is started again, so retry.")
            else:
                self._queue(lost, first=True)
        if self._deaths >= WORKER_STARTS:
            raise ServerError("The worker process dies as soon as it starts; the log says more.")
        self._poller.unregister(self._worker.inbox)
        self._worker.restart()
        self._poller.register(self._worker.inbox, zmq.POLLIN)

    # Jobs

    def _dispatch(self) -> None:
        """Give the worker its next job; clients take turns."""
        if not self._ready or self._running is not None or not self._turns or self._stop_at is not None:
            return
        job = self._jobs[self._next_turn()]
        job.state = JobState.RUNNING
        self._running, self._taken = job, False
        self._worker.send("run", **job.work(self._sequences.get(job.sequence, [])))

    def _queue(self, job: Job, *, first: bool = False) -> None:
        job.state = JobState.QUEUED
        if first:
            self._turns.appendleft(job.job_id)
        else:
            self._turns.append(job.job_id)

    def _next_turn(self) -> bytes:
        """The oldest job of another client than the one served last; else the oldest."""
        job_id = self._turns[0]
        for candidate in self._turns:
            if self._jobs[candidate].client != self._served:
                job_id = candidate
                break
        self._turns.remove(job_id)
        self._served = self._jobs[job_id].client
        return job_id

    def _tell_waiting(self, job: Job) -> None:
        if job.state is JobState.UPLOADING:
            stage, step, steps = "upload", *job.upload_progress()
        else:
            stage, step, steps = "queued" if self._ready else "loading", 0, 1
        self._send(job.client, "progress", job=job.job_id, stage=stage, step=step, steps=steps)

    def _sweep(self) -> None:
        """Drop what nobody tends. Telling waiting clients that the server lives also finds those that have gone."""
        self._swept = now = time.monotonic()
        self._store.sweep()
        for job in list(self._jobs.values()):
            untouched = now - job.touched
            if job.state is JobState.UPLOADING and untouched > UPLOAD_TIMEOUT_S:
                self._fail(job, "EXPIRED", "The upload stopped for too long; try again.")
            elif job.state is JobState.READY and untouched > RESULT_TIMEOUT_S:
                self._forget(job)
            elif job.state in (JobState.UPLOADING, JobState.QUEUED):
                self._tell_waiting(job)

    def _fail(self, job: Job, code: str, message: str) -> None:
        client = job.client
        self._forget(job)
        if client:
            self._send_error(client, code, message, job.job_id)

    def _drop(self, job: Job) -> None:
        """End a job that nobody wants any more."""
        if job is self._running:
            # Its memory is the worker's until the worker says that it has stopped.
            self._worker.send("cancel", job=job.job_id)
            job.client = b""
        else:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        if self._jobs.pop(job.job_id, None) is None:
            return
        if job.job_id in self._turns:
            self._turns.remove(job.job_id)
        self._ended[job.job_id] = None
        _forget_oldest(self._ended, REMEMBERED_JOBS)
        job.close()

    def _forget_client(self, client: bytes) -> None:
        """The client has gone: nobody wants its jobs."""
        for job in [job for job in self._jobs.values() if job.client == client]:
            if job.state is not JobState.READY:  # a client that comes back may still fetch a result
                self._drop(job)

    def _end_all(self) -> None:
        for job in list(self._jobs.values()):
            self._fail(job, "SHUTTING_DOWN", "The server is ending; start it again and retry.")

    # Sending

    def _send_error(
        self, client: bytes, code: str, message: str, job: bytes | None = None, retry_after_s: float | None = None
    ) -> None:
        fields: dict[str, Any] = {"code": code, "message": message[: protocol.MAX_TEXT]}
        fields["retryable"] = protocol.ERRORS[code]
        if job is not None:
            fields["job"] = job
        if retry_after_s is not None:
            fields["retry_after_s"] = retry_after_s
        if code == "UNSUPPORTED_VERSION":
            fields["versions"] = [protocol.VERSION, protocol.VERSION]
        self._send(client, "error", **fields)

    def _send(self, client: bytes, op: str, payload: bytes | None = None, /, **fields: Any) -> None:
        frames = [client, protocol.pack(op, **fields)]
        if payload is not None:
            frames.append(payload)
        try:
            self._router.send_multipart(frames, zmq.DONTWAIT)
        except zmq.ZMQError as error:
            # EHOSTUNREACH: the peer has gone. EAGAIN: it reads nothing, although credit keeps its queue short.
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self._forget_client(client)


def _forget_oldest(known: OrderedDict[bytes, Any], most: int) -> None:
    while len(known) > most:
        known.popitem(last=False)
