"""The queue of pictures: one is painted at a time, the others wait; each can be cancelled, tried again, or kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from adain_style.client.errors import AdainError, CancelledError
from adain_style.client.jobs import Progress, StylizeResult
from adain_style.client.texts import _
from adain_style.host import labels
from adain_style.host.session import Session, for_people
from adain_style.krita.cooperative import CooperativeTask, TaskSteps
from adain_style.krita.jobs import Job, Stage

log = logging.getLogger(__name__)


class Queue:
    """Jobs, in the order in which the user asked for them.

    Attributes:
        jobs: All jobs that are shown: those that wait, the current one, and those that need the user's decision.
    """

    def __init__(
        self, session: Callable[[], Session], changed: Callable[[], None], done: Callable[[Job], None]
    ) -> None:
        """Make an empty queue.

        Args:
            session: Returns the connection to the server.
            changed: Called when a job's state or the list of jobs has changed.
            done: Called when a job's layer is in its document.
        """
        self.jobs: list[Job] = []
        self._session, self._changed, self._done = session, changed, done
        self._current: Job | None = None
        self._task: CooperativeTask[object] | None = None

    @property
    def painted_job(self) -> Job | None:
        """The job that the server has at the moment; None when it has none."""
        job = self._current
        return job if job is not None and job.stage is Stage.PAINTING else None

    def add(self, job: Job) -> None:
        """Paint this job after those in the queue."""
        self.jobs.append(job)
        self._go_on()

    def cancel(self, job: Job) -> None:
        """Forget a job; whatever it was doing stops."""
        if job is not self._current:
            self._forget(job)
        elif job.stage is Stage.PAINTING:
            job.text = _("Cancelling…")
            self._session().cancel()
            self._changed()
        else:
            self._stop_work()
            self._current = None
            self._forget(job)
            self._go_on()

    def accept(self, job: Job) -> None:
        """End the finish of the picture that is being painted; the picture as it is becomes the result."""
        if job.can_be_accepted:
            job.can_be_accepted, job.text = False, labels.KEEPING
            self._session().accept()
            self._changed()

    def again(self, job: Job) -> None:
        """Try a failed job again."""
        job.again()
        self._go_on()

    def keep(self, job: Job) -> None:
        """Insert a result although something has changed."""
        job.is_kept, job.stage = True, Stage.WAITING
        self._go_on()

    def close(self) -> None:
        """Stop painting and drop all jobs."""
        self._stop_work()
        for job in self.jobs:
            job.release()
        self.jobs, self._current = [], None

    # Reports from the session

    def progressed(self, progress: Progress) -> None:
        """Show the picture's progress."""
        job = self.painted_job
        if job is None:
            return
        log.debug("painting %s %d/%d", progress.stage, progress.step, progress.steps)
        is_finishing = progress.stage == "finish"
        if is_finishing and self._session().is_accepted:
            return  # the finish ends after its current step
        job.show(progress)
        job.can_be_accepted = is_finishing
        self._changed()

    def painted(self, result: StylizeResult) -> None:
        """Write the picture into a layer."""
        job = self.painted_job
        if job is None:
            return
        log.debug("painted %s", job.title)
        job.notice = result.notice or job.notice
        self._set_stage(job, Stage.WRITING, _("Putting the layer together…"))
        self._do(job, job.write_steps(result.pixels), lambda _nothing: self._written(job))

    def paint_failed(self, error: AdainError) -> None:
        """Let the job that is being painted fail; a job that has its picture already is not affected."""
        job = self.painted_job
        if job is None:
            return
        if isinstance(error, CancelledError):
            log.debug("cancelled")
            self._current = None
            self._forget(job)
            self._go_on()
        else:
            self._fail(job, error)

    # One step after the other

    def _go_on(self) -> None:
        self._changed()
        if self._current is not None:
            return
        job = next((job for job in self.jobs if job.stage is Stage.WAITING), None)
        if job is None:
            return
        self._current = job
        if job.is_kept:
            self._insert(job)
        else:
            self._read(job)

    def _read(self, job: Job) -> None:
        self._set_stage(job, Stage.READING, _("Reading the layer…"))
        self._do(job, job.read_steps(), lambda found: self._paint(job) if found else self._written(job))

    def _paint(self, job: Job) -> None:
        log.debug("read %s", job.title)
        self._set_stage(job, Stage.PAINTING, job.text)
        self._session().paint(job.request)

    def _written(self, job: Job) -> None:
        log.debug("written %s", job.title)
        if job.has_more_frames:
            job.next_frame()
            self._read(job)
        else:
            self._insert(job)

    def _insert(self, job: Job) -> None:
        self._set_stage(job, Stage.WRITING, _("Putting the layer together…"))
        self._do(job, job.insert_steps(), lambda problem: self._inserted(job, str(problem)))

    def _inserted(self, job: Job, problem: str) -> None:
        self._current = None
        if problem:
            log.debug("changed: %s", problem)
            job.sentence = problem
            self._set_stage(job, Stage.CHANGED, "")
        else:
            log.debug("inserted %s", job.title)
            job.stage = Stage.DONE
            self._forget(job)
            self._done(job)
        self._go_on()

    def _do(self, job: Job, steps: TaskSteps[object], done: Callable[[object], None]) -> None:
        self._stop_work()  # replacing the only reference to a running task would drop it in the middle of its steps
        self._task = CooperativeTask(steps, done, lambda error: self._fail(job, for_people(error)))

    def _stop_work(self) -> None:
        if self._task is not None:
            self._task.stop()
            self._task = None

    def _fail(self, job: Job, error: AdainError) -> None:
        log.debug("error: %s", error)
        job.release()
        job.sentence = str(error)
        self._current = None
        self._set_stage(job, Stage.FAILED, "")
        self._go_on()

    def _set_stage(self, job: Job, stage: Stage, text: str) -> None:
        job.stage, job.text, job.can_be_accepted = stage, text, False
        log.debug("%s %.3f", stage.value, time.monotonic())
        self._changed()

    def _forget(self, job: Job) -> None:
        job.release()
        if job in self.jobs:
            self.jobs.remove(job)
        self._changed()
