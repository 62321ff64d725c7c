"""The I/O process: one loop over the clients' socket, the authenticator's and the worker's."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import zmq

from adain_server import pipe
from adain_server.access.authenticator import OWNER
from adain_server.cache import forget_oldest
from adain_server.config import ServerConfig
from adain_server.errors import JobError, ServerError
from adain_server.io_process.admission import check_jobs, check_model, check_name, check_request
from adain_server.io_process.client_link import ClientLink, ClientMessage
from adain_server.io_process.endpoint import Endpoint
from adain_server.io_process.job import Job, JobState
from adain_server.io_process.job_table import JobTable
from adain_server.io_process.library import StyleLibrary
from adain_server.io_process.limits import MEMORY_LIMIT, memory_of, most_buffers, own_memory
from adain_server.io_process.store import PictureStore
from adain_server.io_process.swatch_process import SwatchProcess, Wish
from adain_server.io_process.worker_link import WorkerLink
from adain_server.io_process.worker_process import WorkerProcess
from adain_server.memory import give_memory_back
from adain_server.model_key import OWN_MODEL, ModelKey
from adain_style.client import protocol
from adain_style.client.errors import ProtocolError
from adain_style.client.protocol import Header
from adain_style.client.version import VERSION
from adain_style.client.wire import PictureSpec, RequestSpec
from adain_weights.catalog import DECODER, known_models

log = logging.getLogger(__name__)

POLL_MS = 50
"""Limits are checked at this interval, whether or not a message comes."""
SWEEP_S = 1.0
UPLOAD_TIMEOUT_S = 30.0
RESULT_TIMEOUT_S = 60.0
LEASE_S = 5.0
"""How long a result is kept after its client has disconnected, in seconds."""
DRAIN_S = 5.0
KNOWN_STYLES = 4096
"""How many styles' statistics are kept, 12 KB each."""
KNOWN_SEQUENCES = 256
MEASURE_EVERY_S = POLL_MS / 1000
RESET_PAUSE_S = 2.0
"""Least time between two resets of all connections; well-behaved clients need some of it to reconnect."""
RESULT_CREDIT_LIMIT = 64
"""Most chunks of a result sent in answer to one message, whatever credit it gives."""


class Server:
    """Takes jobs, gives them to the worker one by one, and answers all messages."""

    def __init__(self, config: ServerConfig, endpoint: Endpoint, announce: Callable[[str], None]) -> None:
        """announce: Called with a sentence for the terminal."""
        self._config = config
        self._endpoint = endpoint
        self._announce = announce
        self._clients = ClientLink(endpoint, self._forget_client)
        process = WorkerProcess(
            endpoint.context,
            device=config.device,
            model=config.model,
            models=config.models,
            memory_budget=config.memory_budget,
        )
        self._worker = WorkerLink(process, device=config.device, model=config.model_name)
        self._jobs = JobTable()
        self._store = PictureStore(config.max_bytes, most_buffers())
        self._library = StyleLibrary(config.styles)
        self._swatches = SwatchProcess(self._give_swatch)
        self._swatch_pipe: int | None = None  # the descriptor that the poller has
        self._poller = zmq.Poller()
        for socket in (self._clients.socket, endpoint.authenticator.socket, process.inbox):
            self._poller.register(socket, zmq.POLLIN)
        self._statistics: OrderedDict[tuple[ModelKey, bytes], bytes] = OrderedDict()
        self._sequences: OrderedDict[tuple[ModelKey, bytes], tuple[bytes, ...]] = OrderedDict()
        self._stop_at: float | None = None
        self._measure_at = 0.0  # when limits are checked next
        self._has_worked = False  # since memory was last given back
        self._last_error = ""
        self._started = self._heard = self._swept = time.monotonic()
        self._answers: dict[str, Callable[[bytes, Header], None]] = {
            "hello": self._on_hello,
            "styles": self._on_styles,
            "models": self._on_models,
            "swatch": self._on_swatch,
            "open": self._on_open,
            "credit": self._on_credit,
            "accept": self._on_accept,
            "draft": self._on_draft,
            "cancel": self._on_cancel,
            "done": self._on_done,
            "status": self._on_status,
        }
        self._news: dict[type[Any], Callable[[Any], None]] = {
            pipe.Ready: self._worker_ready,
            pipe.Unusable: self._worker_unusable,
            pipe.Taken: self._job_taken,
            pipe.StageProgress: self._job_progressed,
            pipe.DraftPicture: self._draft_made,
            pipe.StyleMeasured: self._style_measured,
            pipe.Finished: self._job_finished,
            pipe.Cancelled: self._job_cancelled,
            pipe.Failed: self._job_failed,
        }

    def request_stop(self) -> None:
        """Let the running job and the downloads finish, for at most DRAIN_S, then end. Safe in a signal handler."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + DRAIN_S

    def run(self) -> None:
        """Serve until request_stop() or the idle time-out. Raises ServerError when the worker cannot work."""
        try:
            while not self._is_over():
                self._turn()
        finally:
            for job in self._jobs:
                self._fail(job, "SHUTTING_DOWN", "The server is ending; start it again and retry.")
            self._swatches.stop()
            self._worker.process.stop()
            self._store.close()

    def _turn(self) -> None:
        self._poll_swatches()
        inbox = self._worker.process.inbox
        readable = dict(self._poller.poll(POLL_MS))
        if self._endpoint.authenticator.socket in readable:
            self._endpoint.authenticator.answer()
        if inbox in readable:
            self._take_worker_message(self._worker.receive())
        if self._clients.socket in readable:
            self._take_client_message(self._clients.receive())
        if self._swatch_pipe in readable:
            self._swatches.take()
        if time.monotonic() - self._swept > SWEEP_S:
            self._sweep()
        self._keep_limits()
        self._dispatch()

    def _poll_swatches(self) -> None:
        """Poll the thumbnail process's pipe, which changes when that process starts or ends."""
        if self._swatches.fileno != self._swatch_pipe:
            if self._swatch_pipe is not None:
                self._poller.unregister(self._swatch_pipe)
            self._swatch_pipe = self._swatches.fileno
            if self._swatch_pipe is not None:
                self._poller.register(self._swatch_pipe, zmq.POLLIN)

    def _is_over(self) -> bool:
        now = time.monotonic()
        if self._stop_at is not None:
            busy = self._worker.running is not None or any(job.state is JobState.READY for job in self._jobs)
            return not busy or now > self._stop_at
        idle = self._config.idle_timeout_s
        if idle and self._worker.is_ready and not self._jobs and now - self._heard > idle:
            self._announce(f"Ending after {idle:g} seconds without work.")
            return True
        return False

    # Messages from clients

    def _take_client_message(self, message: ClientMessage | None) -> None:
        if message is None:
            return
        self._heard = time.monotonic()
        if not self._clients.is_ignored(message.client):
            self._answer(message)

    def _answer(self, message: ClientMessage) -> None:
        client = message.client
        header: Header = {}
        try:
            header, payload = protocol.unpack(message.frames, protocol.FROM_CLIENT)
            self._has_worked |= bool(payload)  # a refused message leaves memory behind, too
            if header["op"] == "chunk":
                self._on_chunk(client, header, payload)
            elif header["op"] == "stop":
                self._on_stop(message)
            else:
                self._answers[header["op"]](client, header)
        except (ProtocolError, JobError) as error:
            self._clients.refuse(client, error, header.get("job"))
        except Exception:
            # A folder that cannot be read, for example: one message fails, and not everybody's jobs.
            log.exception("a message could not be answered")
            self._note_error("A message could not be answered; the log says more.")
            mistake = "The server made a mistake; its log says more."
            self._clients.send_error(client, "INTERNAL", mistake, header.get("job"))

    def _on_hello(self, client: bytes, header: Header) -> None:
        log.info("hello from %r", header["client"])
        info = self._worker.info
        self._clients.send(
            client,
            "welcome",
            boot=self._clients.boot,
            server=VERSION,
            device=info.device,
            model=info.model,
            ready=self._worker.is_ready,
            max_pixels=self._config.max_pixels,
            max_styles=protocol.MAX_STYLES,
            max_regions=protocol.MAX_REGIONS,
            idle_timeout_s=self._config.idle_timeout_s,
            jobs=len(self._jobs),
            finish_s_per_megapixel=info.finish_s_per_megapixel,
        )

    def _on_styles(self, client: bytes, header: Header) -> None:
        self._clients.send_list(client, "styles", self._library.entries(), header["first"])

    def _on_models(self, client: bytes, header: Header) -> None:
        self._clients.send_list(client, "models", known_models(self._config.models), header["first"])

    def _on_swatch(self, client: bytes, header: Header) -> None:
        name = header["name"]
        check_name(name)
        path = self._library.find(name)
        saved = self._library.saved_swatch(path)
        if saved is not None:
            self._clients.send(client, "swatch", saved, name=name)
        else:
            self._swatches.ask(Wish(client, name, path))

    def _give_swatch(self, wish: Wish, swatch: bytes | JobError) -> None:
        if isinstance(swatch, JobError):
            self._clients.refuse(wish.client, swatch)
        else:
            self._clients.send(wish.client, "swatch", swatch, name=wish.name)

    def _on_open(self, client: bytes, header: Header) -> None:
        self._jobs.reopen(header["job"])
        spec, deadline_s = RequestSpec.from_header(header), header.get("deadline_s")
        job = self._jobs.get(header["job"])
        if job is not None:
            self._attach(job, client, spec)
            return
        if self._stop_at is not None:
            raise JobError("SHUTTING_DOWN", "The server is ending; start it again and retry.")
        check_request(spec, deadline_s, max_pixels=self._config.max_pixels)
        model = self._model_key(spec.model)
        if spec.preview:
            self._replace_previews(client)
        check_jobs(client, self._jobs, self._config)
        named = {each.source: self._library.find(each.source) for each in spec.styles if isinstance(each.source, str)}
        known = self._known_statistics(spec, model)
        job = Job(client, header["job"], spec, self._store, model, known, named, deadline_s=deadline_s)
        self._jobs.add(job)
        self._grant(job)
        if not job.needs() and job in self._jobs:  # the grant may have shown that the client has gone
            self._jobs.queue(job)

    def _model_key(self, name: str) -> ModelKey:
        """The key of the model that a request names. Raises JobError UNKNOWN_MODEL."""
        if not name or name == self._worker.info.model:
            return OWN_MODEL
        models = self._config.models
        check_model(name, models)
        try:
            return name, (models / name / DECODER).stat().st_mtime_ns
        except OSError:
            return name, 0  # one that comes with the program

    def _known_statistics(self, spec: RequestSpec, model: ModelKey) -> dict[bytes, bytes]:
        """Known statistics of a request's style pictures by digest; they are valid for the model's encoder only."""
        known = {}
        for style in spec.styles:
            if isinstance(style.source, PictureSpec) and (key := (model, style.source.digest)) in self._statistics:
                known[style.source.digest] = self._statistics[key]
                self._statistics.move_to_end(key)
        return known

    def _replace_previews(self, client: bytes) -> None:
        """Cancel the previews that this client still waits for: a newer one takes their place."""
        for job in self._jobs:
            waits = job.state in (JobState.UPLOADING, JobState.QUEUED)
            if job.client == client and job.is_preview and waits:
                self._clients.send(client, "cancelled", job=job.job_id)
                self._jobs.remove(job)

    def _attach(self, job: Job, client: bytes, spec: RequestSpec) -> None:
        if spec != job.spec:
            raise JobError("ID_CONFLICT", "This job id is in use for other contents.")
        job.client, job.wants_draft = client, False
        if job.state is JobState.UPLOADING:
            job.restart_upload()
            self._grant(job)
        elif job.state is JobState.READY:
            self._clients.send(client, "result", **job.announce())

    def _grant(self, job: Job) -> None:
        self._clients.send(job.client, "grant", job=job.job_id, need=job.needs(), chunks=job.grant())

    def _on_chunk(self, client: bytes, header: Header, payload: bytes) -> None:
        job = self._jobs.require(client, header["job"])
        try:
            job.accept_chunk(header["digest"], header["offset"], payload)
        except JobError:
            self._drop(job)
            raise
        if not job.needs():
            self._jobs.queue(job)
            self._tell_waiting(job)
        elif more := job.grant():
            self._clients.send(client, "credit", job=job.job_id, chunks=more)

    def _on_credit(self, client: bytes, header: Header) -> None:
        job = self._jobs.require(client, header["job"])
        if job.state is not JobState.READY:
            self._drop(job)
            raise JobError("BAD_CHUNK", "There is no result yet.")
        for offset, data in job.result_chunks(min(header["chunks"], RESULT_CREDIT_LIMIT)):
            self._clients.send(client, "chunk", data, job=job.job_id, offset=offset)

    def _on_accept(self, client: bytes, header: Header) -> None:
        job = self._jobs.find(client, header["job"])
        if job is not None and not job.is_accepted:
            job.is_accepted = True
            self._worker.accept(job)

    def _on_draft(self, client: bytes, header: Header) -> None:
        job = self._jobs.find(client, header["job"])
        if job is not None:
            job.wants_draft = True

    def _on_cancel(self, client: bytes, header: Header) -> None:
        job = self._jobs.require(client, header["job"])
        if job.state is JobState.READY:
            raise JobError("ALREADY_DONE", "The job is finished already.")
        self._clients.send(client, "cancelled", job=job.job_id)
        self._drop(job, for_good=True)

    def _on_done(self, client: bytes, header: Header) -> None:
        self._drop(self._jobs.require(client, header["job"]), for_good=True)

    def _on_status(self, client: bytes, _header: Header) -> None:
        states, info = self._jobs.count(), self._worker.info
        self._clients.send(
            client,
            "status",
            uptime_s=time.monotonic() - self._started,
            ready=self._worker.is_ready,
            device=info.device,
            model=info.model,
            models=len(known_models(self._config.models)),
            uploading=states[JobState.UPLOADING],
            queued=states[JobState.QUEUED],
            running=states[JobState.RUNNING],
            finished=states[JobState.READY],
            held_bytes=self._store.held,
            max_bytes=self._config.max_bytes,
            memory=own_memory(),
            worker_memory=memory_of(self._worker.process.pid),
            devices=info.devices,
            worker_starts=self._worker.starts,
            last_error=self._last_error[: protocol.MAX_TEXT],
        )

    def _on_stop(self, message: ClientMessage) -> None:
        if message.user != OWNER:
            raise JobError("FORBIDDEN", "Only the machine that the server runs on may end it.")
        self._announce("Ending, as a client asked.")
        self._clients.send(message.client, "stopping")
        self.request_stop()

    # Messages from the worker

    def _take_worker_message(self, message: pipe.FromWorker | None) -> None:
        if message is None:
            self._replace_worker()
        else:
            self._news[type(message)](message)

    def _worker_ready(self, ready: pipe.Ready) -> None:
        if ready.encoder != self._worker.info.encoder:
            # The files of the server's own model may have changed while its worker was started again.
            self._statistics, self._sequences = OrderedDict(), OrderedDict()
        self._worker.now_ready(ready)
        self._heard = time.monotonic()  # loading is not idleness
        for notice in ready.notices:
            self._announce(notice)
        self._announce(f"Ready on {ready.device}, model {ready.model}, at {self._endpoint.address}")

    def _worker_unusable(self, unusable: pipe.Unusable) -> None:
        raise ServerError(unusable.message)

    def _style_measured(self, style: pipe.StyleMeasured) -> None:
        running = self._worker.running
        assert running is not None and running.job_id == style.job
        key = running.model, style.digest
        self._statistics[key] = style.statistics
        self._statistics.move_to_end(key)
        forget_oldest(self._statistics, KNOWN_STYLES)

    def _job_taken(self, taken: pipe.Taken) -> None:
        assert self._worker.running is not None and self._worker.running.job_id == taken.job
        self._worker.now_taken()

    def _job_progressed(self, progress: pipe.StageProgress) -> None:
        job = self._jobs.get(progress.job)
        if job is not None and job.client:
            self._clients.send(job.client, "progress", **vars(progress))

    def _draft_made(self, draft: pipe.DraftPicture) -> None:
        job = self._jobs.get(draft.job)
        if job is not None and job.client and job.wants_draft:
            job.wants_draft = False  # the next one only when this one has been read
            about = {name: value for name, value in vars(draft).items() if name != "pixels"}
            self._clients.send(job.client, "draft", draft.pixels, **about)

    def _job_finished(self, finished: pipe.Finished) -> None:
        job = self._worker.release(finished.job)
        if not job.client:
            self._jobs.remove(job)
            return
        job.finish(finished.digest, finished.notice)
        if job.sequence:
            key = job.model, job.sequence
            self._sequences[key] = finished.statistics
            self._sequences.move_to_end(key)
            forget_oldest(self._sequences, KNOWN_SEQUENCES)
        self._clients.send(job.client, "result", **job.announce())

    def _job_cancelled(self, cancelled: pipe.Cancelled) -> None:
        job = self._worker.release(cancelled.job)
        if job.client:
            self._jobs.queue(job, first=True)  # its client came back while the worker was stopping
        else:
            self._jobs.remove(job)

    def _job_failed(self, failed: pipe.Failed) -> None:
        job = self._worker.release(failed.job)
        if failed.code == "INTERNAL":
            self._note_error(failed.message)
        self._fail(job, failed.code, failed.message)

    def _replace_worker(self) -> None:
        job, was_taken = self._worker.lose()
        self._note_error(f"The process that paints died, exit status {self._worker.process.exit_status}.")
        if job is not None:
            if was_taken or not job.client:
                self._fail(job, "WORKER_LOST", "The process that was painting died; it is started again, so retry.")
            else:
                self._jobs.queue(job, first=True)
        self._poller.unregister(self._worker.process.inbox)
        self._worker.restart()
        self._poller.register(self._worker.process.inbox, zmq.POLLIN)

    def _end_hung_worker(self) -> None:
        """End a worker that is stuck: it would keep everybody waiting for ever."""
        silent_s = self._worker.silent_s()
        if silent_s > (self._config.hang_timeout_s if self._worker.is_ready else self._config.load_timeout_s):
            self._note_error(f"The process that paints said nothing for {silent_s:.0f} seconds and was ended.")
            self._worker.end_hung()

    def _note_error(self, sentence: str) -> None:
        log.error("%s", sentence)
        self._last_error = sentence

    # Jobs

    def _dispatch(self) -> None:
        """Give the worker its next job; clients take turns."""
        if not self._worker.is_free or self._stop_at is not None:
            return
        job = self._jobs.take_next()
        if job is None:
            return
        if job.is_too_late:
            self._fail_late(job)
            return
        self._worker.start(job, self._sequences.get((job.model, job.sequence), ()))

    def _tell_waiting(self, job: Job) -> None:
        if job.state is JobState.UPLOADING:
            stage, step, steps = "upload", *job.upload_progress()
        elif job.state is JobState.READY:
            stage, step, steps = "download", *job.download_progress()
        else:
            stage, step, steps = "queued" if self._worker.is_ready else "loading", 0, 1
        self._clients.send(job.client, "progress", job=job.job_id, stage=stage, step=step, steps=steps)

    def _sweep(self) -> None:
        """Drop abandoned jobs and pictures. Progress messages to waiting clients also reveal those that have gone."""
        self._swept = now = time.monotonic()
        self._endpoint.stay_findable()
        self._store.sweep()
        self._swatches.check()
        self._end_hung_worker()
        for job in self._jobs:
            untouched = now - job.touched
            if job.state is JobState.UPLOADING and untouched > UPLOAD_TIMEOUT_S:
                self._fail(job, "EXPIRED", "The upload stopped for too long; try again.")
            elif job.state is JobState.READY and untouched > (RESULT_TIMEOUT_S if job.client else LEASE_S):
                self._jobs.remove(job)
            elif job.state is JobState.QUEUED and job.is_too_late:
                self._fail_late(job)
            elif job.state is not JobState.RUNNING and job.client:
                self._tell_waiting(job)
        self._has_worked |= bool(self._jobs)
        if self._has_worked and not self._jobs:
            give_memory_back()
            self._has_worked = False

    def _keep_limits(self) -> None:
        """Check descriptors and memory: endless messages grow unseen inside libzmq; then all connections are reset."""
        now = time.monotonic()
        if now < self._measure_at:
            return
        self._measure_at = now + MEASURE_EVERY_S
        self._endpoint.limit_crowd()
        if own_memory() < MEMORY_LIMIT:
            return
        self._measure_at = now + RESET_PAUSE_S
        self._note_error("Too much was sent at a time, so that all connections were closed.")
        self._poller.unregister(self._clients.socket)
        self._clients.reset()
        self._poller.register(self._clients.socket, zmq.POLLIN)
        give_memory_back()

    def _fail_late(self, job: Job) -> None:
        self._fail(job, "EXPIRED", "The job waited longer than its time limit, and was not begun; try again.")

    def _fail(self, job: Job, code: str, message: str) -> None:
        client = job.client
        self._jobs.remove(job)
        if client:
            self._clients.send_error(client, code, message, job.job_id)

    def _drop(self, job: Job, *, for_good: bool = False) -> None:
        """End a job that is no longer wanted; for_good: its client will not open it again."""
        self._jobs.mark_ended(job, for_good=for_good)
        if job is self._worker.running:
            self._worker.cancel()
            job.client = b""
        else:
            self._jobs.remove(job)

    def _forget_client(self, client: bytes) -> None:
        """Drop the jobs of a client that has gone; results stay for a while in case it comes back."""
        for job in [job for job in self._jobs if job.client == client]:
            if job.state is JobState.READY:
                job.leave()
            else:
                self._drop(job)
