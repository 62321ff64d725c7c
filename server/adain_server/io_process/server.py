"""The I/O process: one loop over the clients' socket, the authenticator's and the worker's."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import zmq

from adain_client import protocol
from adain_client.errors import ProtocolError
from adain_client.protocol import Header
from adain_server.access.authenticator import OWNER
from adain_server.cache import forget_oldest
from adain_server.config import ServerConfig
from adain_server.errors import JobError, ServerError
from adain_server.io_process.admission import check_jobs, check_model, check_name, check_request
from adain_server.io_process.endpoint import Endpoint
from adain_server.io_process.fair_queue import FairQueue
from adain_server.io_process.job import Job, JobState, is_picture, request_of, style_sources
from adain_server.io_process.library import StyleLibrary
from adain_server.io_process.limits import MEMORY_LIMIT, give_memory_back, memory_of, most_segments, own_memory
from adain_server.io_process.store import PictureStore
from adain_server.io_process.worker_process import WorkerProcess
from adain_server.model_key import OWN_MODEL, ModelKey
from adain_weights.catalog import DECODER, known_models

log = logging.getLogger(__name__)

POLL_MS = 50
"""Limits are looked at as often, whether or not a message comes."""
SWEEP_S = 1.0
UPLOAD_TIMEOUT_S = 30.0
RESULT_TIMEOUT_S = 60.0
LEASE_S = 5.0
"""A result whose client has gone waits so long for it to come back."""
DRAIN_S = 5.0
KNOWN_STYLES = 4096
"""Styles' statistics that are kept, 4 KB each."""
KNOWN_SEQUENCES = 256
REMEMBERED_JOBS = 1024
BAD_ENVELOPES = 3
MEASURE_EVERY_S = POLL_MS / 1000
RESET_PAUSE_S = 2.0
"""Between two resets of all connections; good clients need some of it to come back."""
RESULT_CREDIT_LIMIT = 64
"""Chunks of a result that are sent for one message, whatever credit it gives."""
LIST_BYTES = 48 * 1024
"""Of a list of styles or models that goes into one header."""
WORKER_STARTS = 3
"""A worker that dies this often before it was ready once is not started again."""


class Server:
    """Takes jobs, hands them to the worker one by one, and answers everything."""

    def __init__(self, config: ServerConfig, endpoint: Endpoint, announce: Callable[[str], None]) -> None:
        """announce: Called with a sentence for the terminal."""
        self._config = config
        self._endpoint = endpoint
        self._announce = announce
        self._router = endpoint.router
        self._boot = os.urandom(16)
        self._worker = WorkerProcess(
            endpoint.context,
            device=config.device,
            model=config.model,
            models=config.models,
            memory_budget=config.memory_budget,
        )
        self._store = PictureStore(config.max_bytes, most_segments())
        self._library = StyleLibrary(config.styles)
        self._poller = zmq.Poller()
        for socket in (self._router, endpoint.authenticator.socket, self._worker.inbox):
            self._poller.register(socket, zmq.POLLIN)
        self._device = config.device
        self._devices: list[str] = []
        self._model = config.model
        self._ready = False
        self._finish_s_per_megapixel = 0.0
        self._deaths = 0
        self._jobs: dict[bytes, Job] = {}
        self._ended: OrderedDict[bytes, bool] = OrderedDict()  # by job id: its client needs it no more
        self._waiting = FairQueue()
        self._running: Job | None = None
        self._taken = False  # the worker has begun with the running job
        self._stopping = (
            False  # it was told to stop; once is enough, as the pipe of a worker that does not read has an end
        )
        self._statistics: OrderedDict[tuple[ModelKey, bytes], bytes] = OrderedDict()
        self._sequences: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._bad_envelopes: OrderedDict[bytes, int] = OrderedDict()
        self._user = ""  # who sent the message that is being answered
        self._stop_at: float | None = None
        self._worker_starts = 1
        self._measure_at = 0.0  # how much memory this process has
        self._has_worked = False  # since memory was given back
        self._last_error = ""
        self._started = self._heard = self._swept = self._worker_heard = time.monotonic()

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
        if self._endpoint.authenticator.socket in readable:
            self._endpoint.authenticator.answer()
        if inbox in readable:
            self._take_worker_message(inbox.recv())
        if self._router in readable:
            self._take_client_message(self._router.recv_multipart(copy=False))
        if time.monotonic() - self._swept > SWEEP_S:
            self._sweep()
        self._keep_limits()
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

    def _take_client_message(self, frames: Sequence[zmq.Frame]) -> None:
        client, *message = (frame.bytes for frame in frames)
        self._user = _property_of(frames[-1], "User-Id")
        if not self._user or _property_of(frames[-1], "Identity"):
            # Old versions of ZMTP may come in unasked; and whoever names itself could take another one's place.
            log.warning("ignored a peer that nobody let in, or that names itself")
            return
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
        except Exception:
            # A folder that cannot be read, say: one question fails, and not everybody's jobs.
            log.exception("a message could not be answered")
            self._note_error("A message could not be answered; the log says more.")
            self._send_error(client, "INTERNAL", "The server made a mistake; its log says more.", header.get("job"))

    def _refuse(self, client: bytes, error: ProtocolError) -> None:
        log.warning("refused a message: %s %s", error.code, error)
        if error.code == "BAD_ENVELOPE":
            self._bad_envelopes[client] = self._bad_envelopes.get(client, 0) + 1
            forget_oldest(self._bad_envelopes, REMEMBERED_JOBS)
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
            finish_s_per_megapixel=self._finish_s_per_megapixel,
        )

    def _on_styles(self, client: bytes, header: Header, _payload: bytes) -> None:
        self._send_list(client, "styles", self._library.entries(), header["first"])

    def _on_models(self, client: bytes, header: Header, _payload: bytes) -> None:
        self._send_list(client, "models", known_models(self._config.models), header["first"])

    def _on_swatch(self, client: bytes, header: Header, _payload: bytes) -> None:
        check_name(header["name"])
        self._send(client, "swatch", self._library.swatch(header["name"]), name=header["name"])

    def _on_open(self, client: bytes, header: Header, _payload: bytes) -> None:
        if self._ended.get(header["job"], False):
            raise JobError("ALREADY_DONE", "The job has ended already.")
        self._ended.pop(header["job"], None)
        job = self._jobs.get(header["job"])
        if job is not None:
            self._attach(job, client, header)
            return
        if self._stop_at is not None:
            raise JobError("SHUTTING_DOWN", "The server is ending; start it again and retry.")
        check_request(header, max_pixels=self._config.max_pixels)
        model = self._model_key(header["model"])
        if header["preview"]:
            self._replace_previews(client)
        check_jobs(client, self._jobs.values(), self._config)
        named = {source: self._library.find(source) for source in style_sources(header) if isinstance(source, str)}
        job = Job(client, header, self._store, model, self._known_statistics(header, model), named)
        self._jobs[job.job_id] = job
        self._grant(job)
        if not job.needs() and job.job_id in self._jobs:  # the grant may have shown that the client has gone
            self._queue(job)

    def _model_key(self, name: str) -> ModelKey:
        """Which model is meant, and of what time. Raises JobError UNKNOWN_MODEL."""
        if not name or name == self._model:
            return OWN_MODEL
        models = self._config.models
        check_model(name, models)
        try:
            return name, (models / name / DECODER).stat().st_mtime_ns
        except OSError:
            return name, 0  # one that comes with the program

    def _known_statistics(self, header: Header, model: ModelKey) -> dict[bytes, bytes]:
        """What is known of an `open`'s style pictures: statistics belong to the model's encoder."""
        known = {}
        for source in style_sources(header):
            if is_picture(source) and (model, source["digest"]) in self._statistics:
                known[source["digest"]] = self._statistics[model, source["digest"]]
                self._statistics.move_to_end((model, source["digest"]))
        return known

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
        job.client, job.wants_draft = client, False
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
            self._drop(job)
            raise JobError("BAD_CHUNK", "There is no result yet.")
        for offset, data in job.result_chunks(min(header["chunks"], RESULT_CREDIT_LIMIT)):
            self._send(client, "chunk", data, job=job.job_id, offset=offset)

    def _on_accept(self, client: bytes, header: Header, _payload: bytes) -> None:
        job = self._find_job(client, header)
        if job is None or job.is_accepted:
            return
        job.is_accepted = True
        if job is self._running:
            self._worker.send("accept", job=job.job_id)

    def _on_draft(self, client: bytes, header: Header, _payload: bytes) -> None:
        job = self._find_job(client, header)
        if job is not None:
            job.wants_draft = True

    def _on_cancel(self, client: bytes, header: Header, _payload: bytes) -> None:
        job = self._job_of(client, header)
        if job.state is JobState.READY:
            raise JobError("ALREADY_DONE", "The job is finished already.")
        self._send(client, "cancelled", job=job.job_id)
        self._drop(job, for_good=True)

    def _on_done(self, client: bytes, header: Header, _payload: bytes) -> None:
        self._drop(self._job_of(client, header), for_good=True)

    def _on_status(self, client: bytes, _header: Header, _payload: bytes) -> None:
        states = Counter(job.state for job in self._jobs.values())
        self._send(
            client,
            "status",
            uptime_s=time.monotonic() - self._started,
            ready=self._ready,
            device=self._device,
            model=self._model,
            models=len(known_models(self._config.models)),
            uploading=states[JobState.UPLOADING],
            queued=states[JobState.QUEUED],
            running=states[JobState.RUNNING],
            finished=states[JobState.READY],
            held_bytes=self._store.held,
            max_bytes=self._config.max_bytes,
            memory=own_memory(),
            worker_memory=memory_of(self._worker.pid),
            devices=self._devices,
            worker_starts=self._worker_starts,
            last_error=self._last_error[: protocol.MAX_TEXT],
        )

    def _on_stop(self, client: bytes, _header: Header, _payload: bytes) -> None:
        if self._user != OWNER:
            raise JobError("FORBIDDEN", "Only the machine that the server runs on may end it.")
        self._announce("Ending, as a client asked.")
        self._send(client, "stopping")
        self.request_stop()

    def _find_job(self, client: bytes, header: Header) -> Job | None:
        job = self._jobs.get(header["job"])
        return job if job is not None and job.client == client else None

    def _job_of(self, client: bytes, header: Header) -> Job:
        job = self._find_job(client, header)
        if job is not None:
            return job
        if header["job"] in self._ended:
            raise JobError("ALREADY_DONE", "The job has ended already.")
        raise JobError("UNKNOWN_JOB", "The server has no such job.")

    # Messages from the worker

    def _take_worker_message(self, data: bytes) -> None:
        if not data:
            self._replace_worker()
            return
        self._worker_heard = time.monotonic()
        message = msgpack.unpackb(data)
        getattr(self, f"_worker_{message.pop('op')}")(**message)

    def _worker_ready(
        self, device: str, devices: list[str], model: str, notices: list[str], finish_s_per_megapixel: float
    ) -> None:
        self._ready, self._deaths = True, 0
        self._heard = time.monotonic()  # loading is not idleness
        self._device, self._devices, self._model = device, devices, model
        self._finish_s_per_megapixel = finish_s_per_megapixel
        for notice in notices:
            self._announce(notice)
        self._announce(f"Ready on {device}, model {model}, at {self._endpoint.address}")

    def _worker_unusable(self, message: str) -> None:
        raise ServerError(message)

    def _worker_style(self, job: bytes, digest: bytes, statistics: bytes) -> None:
        assert self._running is not None and self._running.job_id == job
        key = self._running.model, digest
        self._statistics[key] = statistics
        self._statistics.move_to_end(key)
        forget_oldest(self._statistics, KNOWN_STYLES)

    def _worker_taken(self, job: bytes) -> None:
        assert self._running is not None and self._running.job_id == job
        self._taken = True

    def _worker_progress(self, job: bytes, stage: str, step: int, steps: int) -> None:
        running = self._jobs.get(job)
        if running is not None and running.client:
            self._send(running.client, "progress", job=job, stage=stage, step=step, steps=steps)

    def _worker_draft(self, job: bytes, pixels: bytes, **about: int) -> None:
        running = self._jobs.get(job)
        if running is not None and running.client and running.wants_draft:
            running.wants_draft = False  # the next one only when this one has been read
            self._send(running.client, "draft", pixels, job=job, **about)

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
            forget_oldest(self._sequences, KNOWN_SEQUENCES)
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
        if code == "INTERNAL":
            self._note_error(message)
        self._fail(failed, code, message)

    def _replace_worker(self) -> None:
        self._ready = False
        self._deaths += 1
        self._note_error(f"The process that paints died, exit status {self._worker.exit_status}.")
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
        self._worker_starts += 1
        self._worker_heard = time.monotonic()
        self._poller.register(self._worker.inbox, zmq.POLLIN)

    def _end_hung_worker(self) -> None:
        """A worker that is stuck would keep everybody waiting for ever."""
        silent_s = time.monotonic() - self._worker_heard
        limit_s = self._config.hang_timeout_s if self._ready else self._config.load_timeout_s
        if (self._running is not None or not self._ready) and silent_s > limit_s:
            self._note_error(f"The process that paints said nothing for {silent_s:.0f} seconds and was ended.")
            self._taken = True  # whatever it hangs in may come from the job, which is not given to the next worker
            self._worker_heard = time.monotonic()
            self._worker.kill()

    def _note_error(self, sentence: str) -> None:
        log.error("%s", sentence)
        self._last_error = sentence

    # Jobs

    def _dispatch(self) -> None:
        """Give the worker its next job; clients take turns."""
        if not self._ready or self._running is not None or not self._waiting or self._stop_at is not None:
            return
        job = self._jobs[self._waiting.take(lambda job_id: self._jobs[job_id].client)]
        if job.is_too_late:
            self._fail_late(job)
            return
        job.state = JobState.RUNNING
        self._running, self._taken, self._stopping = job, False, False
        self._worker_heard = time.monotonic()
        self._worker.send("run", **job.work(self._sequences.get(job.sequence, [])))

    def _queue(self, job: Job, *, first: bool = False) -> None:
        job.state = JobState.QUEUED
        self._waiting.add(job.job_id, first=first)

    def _tell_waiting(self, job: Job) -> None:
        if job.state is JobState.UPLOADING:
            stage, step, steps = "upload", *job.upload_progress()
        elif job.state is JobState.READY:
            stage, step, steps = "download", *job.download_progress()
        else:
            stage, step, steps = "queued" if self._ready else "loading", 0, 1
        self._send(job.client, "progress", job=job.job_id, stage=stage, step=step, steps=steps)

    def _sweep(self) -> None:
        """Drop what nobody tends. Telling waiting clients that the server lives also finds those that have gone."""
        self._swept = now = time.monotonic()
        self._store.sweep()
        self._end_hung_worker()
        for job in list(self._jobs.values()):
            untouched = now - job.touched
            if job.state is JobState.UPLOADING and untouched > UPLOAD_TIMEOUT_S:
                self._fail(job, "EXPIRED", "The upload stopped for too long; try again.")
            elif job.state is JobState.READY and untouched > (RESULT_TIMEOUT_S if job.client else LEASE_S):
                self._forget(job)
            elif job.state is JobState.QUEUED and job.is_too_late:
                self._fail_late(job)
            elif job.state is not JobState.RUNNING and job.client:
                self._tell_waiting(job)
        if self._has_worked and not self._jobs:
            give_memory_back()
        self._has_worked = bool(self._jobs)

    def _keep_limits(self) -> None:
        """Of descriptors and of memory: messages that never end grow in libzmq, unseen; then all peers are let go."""
        now = time.monotonic()
        if now < self._measure_at:
            return
        self._measure_at = now + MEASURE_EVERY_S
        self._endpoint.limit_crowd()
        if own_memory() < MEMORY_LIMIT:
            return
        self._measure_at = now + RESET_PAUSE_S
        self._note_error("Too much was sent at a time, so that all connections were closed.")
        self._poller.unregister(self._router)
        self._endpoint.reset_connections()
        self._router = self._endpoint.router
        self._poller.register(self._router, zmq.POLLIN)
        self._boot = os.urandom(16)  # so that clients open their jobs again
        give_memory_back()

    def _fail_late(self, job: Job) -> None:
        self._fail(job, "EXPIRED", "The job waited longer than its time limit, and was not begun; try again.")

    def _fail(self, job: Job, code: str, message: str) -> None:
        client = job.client
        self._forget(job)
        if client:
            self._send_error(client, code, message, job.job_id)

    def _drop(self, job: Job, *, for_good: bool = False) -> None:
        """End a job that nobody wants any more; for good: its client will not open it again."""
        self._ended[job.job_id] = for_good
        if job is self._running:
            # Its memory is the worker's until the worker says that it has stopped.
            if not self._stopping:
                self._worker.send("cancel", job=job.job_id)
            self._stopping = True
            job.client = b""
        else:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        if self._jobs.pop(job.job_id, None) is None:
            return
        self._waiting.remove(job.job_id)
        self._ended.setdefault(job.job_id, False)
        forget_oldest(self._ended, REMEMBERED_JOBS)
        job.close()

    def _forget_client(self, client: bytes) -> None:
        """The client has gone: nobody wants its jobs, unless it comes back soon for a result."""
        for job in [job for job in self._jobs.values() if job.client == client]:
            if job.state is JobState.READY:
                job.leave()
            else:
                self._drop(job)

    def _end_all(self) -> None:
        for job in list(self._jobs.values()):
            self._fail(job, "SHUTTING_DOWN", "The server is ending; start it again and retry.")

    # Sending

    def _send_list(self, client: bytes, op: str, entries: Sequence[object], first: int) -> None:
        """As many entries as one header holds, from the one that was asked for."""
        listed: list[dict[str, Any]] = []
        room = LIST_BYTES
        for entry in entries[first:]:
            fields = vars(entry)
            room -= len(msgpack.packb(fields))
            if room < 0:
                break
            listed.append(fields)
        self._send(client, op, first=first, total=len(entries), **{op: listed})

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


def _property_of(frame: zmq.Frame, name: str) -> str:
    """What the sender said in its handshake, or, of User-Id, what the authenticator took it for; "" for nothing."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""
