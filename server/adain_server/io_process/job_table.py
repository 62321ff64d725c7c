"""All jobs: by id, in the order in which they are painted, and the ids of those that have ended."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

from adain_server.cache import forget_oldest
from adain_server.errors import JobError
from adain_server.io_process.fair_queue import FairQueue
from adain_server.io_process.job import Job, JobState

REMEMBERED_JOBS = 1024
"""Ids of ended jobs that are still known, so that a late message about one gets the right answer."""


class JobTable:
    """The jobs that were opened and have not ended, iterated in the order in which they were opened."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, Job] = {}
        self._queue = FairQueue()
        self._ended: OrderedDict[bytes, bool] = OrderedDict()  # by job id: whether its client is done with it

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))  # a copy: callers remove jobs while they iterate

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: object) -> bool:
        return isinstance(job, Job) and self._jobs.get(job.job_id) is job

    def get(self, job_id: bytes) -> Job | None:
        """A job of any client."""
        return self._jobs.get(job_id)

    def find(self, client: bytes, job_id: bytes) -> Job | None:
        """A client's own job."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.client == client else None

    def require(self, client: bytes, job_id: bytes) -> Job:
        """A client's own job. Raises JobError ALREADY_DONE or UNKNOWN_JOB."""
        job = self.find(client, job_id)
        if job is not None:
            return job
        if job_id in self._ended:
            raise JobError("ALREADY_DONE", "The job has ended already.")
        raise JobError("UNKNOWN_JOB", "The server has no such job.")

    def reopen(self, job_id: bytes) -> None:
        """Allow an ended id to be opened again. Raises JobError ALREADY_DONE when its client was done with it."""
        if self._ended.get(job_id, False):
            raise JobError("ALREADY_DONE", "The job has ended already.")
        self._ended.pop(job_id, None)

    def add(self, job: Job) -> None:
        """Add a job that was opened."""
        self._jobs[job.job_id] = job

    def queue(self, job: Job, *, first: bool = False) -> None:
        """Queue a completely uploaded job for the worker; first: before the others of its client."""
        job.state = JobState.QUEUED
        self._queue.add(job.job_id, first=first)

    def take_next(self) -> Job | None:
        """Take the job whose turn it is out of the queue; None when none is waiting."""
        if not self._queue:
            return None
        return self._jobs[self._queue.take(lambda job_id: self._jobs[job_id].client)]

    def mark_ended(self, job: Job, *, for_good: bool) -> None:
        """Note that a job is no longer wanted; for_good: its client will not open it again."""
        self._ended[job.job_id] = for_good

    def remove(self, job: Job) -> None:
        """Forget a job and free its memory; does nothing if it was forgotten before."""
        if self._jobs.pop(job.job_id, None) is None:
            return
        self._queue.remove(job.job_id)
        self._ended.setdefault(job.job_id, False)
        forget_oldest(self._ended, REMEMBERED_JOBS)
        job.close()

    def count(self) -> Counter[JobState]:
        """The number of jobs in each state."""
        return Counter(job.state for job in self._jobs.values())
