"""The worker as the server's loop sees it: whether it is ready, which job it has, whether it is alive."""

from __future__ import annotations

import time

from adain_server import pipe
from adain_server.errors import ServerError
from adain_server.io_process.job import Job, JobState
from adain_server.io_process.worker_process import WorkerProcess

WORKER_STARTS = 3
"""A worker that dies this often in a row without becoming ready is not started again."""


class WorkerLink:
    """One worker, started again when it dies, and the job that it has.

    Attributes:
        process: The process itself.
        is_ready: Whether its model is loaded.
        info: What a worker reported when it was last ready; before that, what the server was asked for.
        running: Its job, or None.
        starts: How often a worker was started.
    """

    def __init__(self, process: WorkerProcess, *, device: str, model: str) -> None:
        """device, model: As in ServerConfig."""
        self.process = process
        self.is_ready = False
        self.info = pipe.Ready(device, (), model, (), 0.0, "")
        self.running: Job | None = None
        self.starts = 1
        self._deaths = 0  # since a worker was ready
        self._is_taken = False  # whether it has begun with the running job
        self._is_stopping = False  # a cancel was sent: more of them could fill a pipe that a hung worker does not read
        self._heard = time.monotonic()

    @property
    def is_free(self) -> bool:
        """Whether it can be given a job."""
        return self.is_ready and self.running is None

    def receive(self) -> pipe.FromWorker | None:
        """The next message; None when the worker has died."""
        data = self.process.inbox.recv()
        if not data:
            return None
        self._heard = time.monotonic()
        message: pipe.FromWorker = pipe.unpack(data)
        return message

    def now_ready(self, info: pipe.Ready) -> None:
        """Note that its model is loaded."""
        self.is_ready, self.info, self._deaths = True, info, 0

    def start(self, job: Job, previous: tuple[bytes, ...]) -> None:
        """Give it a job. previous: Content statistics of the sequence's previous frame."""
        job.state = JobState.RUNNING
        self.running, self._is_taken, self._is_stopping = job, False, False
        self._heard = time.monotonic()
        self.process.send(job.work(previous))

    def now_taken(self) -> None:
        """Note that it has begun with its job: if it dies now, the job may be the cause."""
        self._is_taken = True

    def accept(self, job: Job) -> None:
        """Tell it to end the finish of a job with the picture as it is."""
        if job is self.running:
            self.process.send(pipe.Accept(job.job_id))

    def cancel(self) -> None:
        """Tell it to stop the running job, whose memory it may use until it reports that it has stopped."""
        assert self.running is not None
        if not self._is_stopping:
            self.process.send(pipe.Cancel(self.running.job_id))
        self._is_stopping = True

    def release(self, job_id: bytes) -> Job:
        """Take back the running job, whose end it has reported."""
        job, self.running = self.running, None
        assert job is not None and job.job_id == job_id
        return job

    def lose(self) -> tuple[Job | None, bool]:
        """Note that it has died; returns the job that it had, and whether it had begun with it."""
        lost, self.running = self.running, None
        self.is_ready = False
        self._deaths += 1
        return lost, self._is_taken

    def restart(self) -> None:
        """Start a new worker; process.inbox is a new socket then. Raises ServerError when workers die as they start."""
        if self._deaths >= WORKER_STARTS:
            raise ServerError("The worker process dies as soon as it starts; the log says more.")
        self.process.restart()
        self.starts += 1
        self._heard = time.monotonic()

    def silent_s(self) -> float:
        """Seconds without a message although it has something to do; 0 when it is idle."""
        is_busy = self.running is not None or not self.is_ready
        return time.monotonic() - self._heard if is_busy else 0.0

    def end_hung(self) -> None:
        """End a worker that is stuck. Its job may be the cause, so the next worker is not given that job."""
        self._is_taken = True
        self._heard = time.monotonic()
        self.process.kill()
