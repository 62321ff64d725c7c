"""Krita's queue does one job's steps at a time; the host and Qt are stand-ins, whose timers the tests let run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar
from weakref import WeakMethod

import pytest

from adain_style.client.errors import AdainError, CancelledError

OURS = "adain_style.krita"


class Timer:
    """As PyQt's: it does not keep alive the object whose method it calls."""

    running: ClassVar[list[Timer]] = []

    def __init__(self, _parent: object) -> None:
        self.timeout = self

    def connect(self, method: Callable[[], None]) -> None:
        """To be called each time."""
        self._method = WeakMethod(method)

    def setInterval(self, _milliseconds: int) -> None:  # noqa: N802  # Qt's name
        """The tests say when."""

    def start(self) -> None:
        """From now on."""
        Timer.running.append(self)

    def stop(self) -> None:
        """No more."""
        if self in Timer.running:
            Timer.running.remove(self)

    def fire(self) -> None:
        """Call the method, if its object is still there."""
        if (method := self._method()) is not None:
            method()


@pytest.fixture
def krita_queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module adain_style.krita.queue, over stand-ins for Krita and Qt."""
    Timer.running.clear()
    qt = SimpleNamespace(
        QtCore=SimpleNamespace(QObject=type("QObject", (), {}), QTimer=Timer, pyqtSignal=lambda *_: None),
        QtGui=SimpleNamespace(
            QImage=SimpleNamespace(Format=SimpleNamespace(Format_RGBA8888=0, Format_RGB888=1)),
        ),
        QtWidgets=SimpleNamespace(QScrollArea=object, QLabel=object),
    )
    pyqt = ModuleType("PyQt5")
    vars(pyqt).update(vars(qt))
    monkeypatch.setitem(sys.modules, "krita", ModuleType("krita"))
    monkeypatch.setitem(sys.modules, "PyQt5", pyqt)
    yield importlib.import_module(f"{OURS}.queue")
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{OURS}.")]:
        del sys.modules[name]


@dataclass(eq=False)
class StandInJob:
    """Has nothing to read; its layer takes steps to be written."""

    title: str
    stage: Any
    text: str = ""
    sentence: str = ""
    notice: str = ""
    is_kept: bool = False
    can_be_accepted: bool = False
    has_more_frames: bool = False
    steps: int = 3
    log: list[str] = field(default_factory=list)

    def read_steps(self) -> Generator[None, None, bool]:
        """At once."""
        yield
        return True

    def request(self) -> None:
        """Of nothing."""

    def write_steps(self, _pixels: object) -> Generator[bool, None, None]:
        """One a turn."""
        try:
            for step in range(self.steps):
                self.log.append(f"write {step}")
                yield True  # Krita has to do something first
        finally:
            self.log.append("closed")

    def insert_steps(self) -> Generator[None, None, str]:
        """At once."""
        yield
        self.log.append("inserted")
        return ""

    def release(self) -> None:
        """Nothing is held."""


def _turn(turns: int = 1) -> None:
    """Let each timer that runs call once, several times over."""
    for _turn in range(turns):
        for timer in list(Timer.running):
            timer.fire()


def _queue(module: Any, *jobs: StandInJob) -> Any:
    """A queue with jobs, the first of which the server paints."""
    session = SimpleNamespace(paint=lambda _request: None, cancel=lambda: None, is_accepted=False)
    queue = module.Queue(lambda: session, lambda: None, lambda _job: None)
    for job in jobs:
        queue.add(job)
    _turn(2)
    assert queue.painted_job is jobs[0]
    return queue


RESULT = SimpleNamespace(pixels=None, notice="")


@pytest.mark.parametrize("error", [AdainError("The server has ended."), CancelledError("Cancelled.")])
def test_a_failure_that_comes_while_a_layer_is_written_changes_nothing(krita_queue: Any, error: AdainError) -> None:
    """The picture is there: its layer is written whole and inserted, and then the next job's turn has come."""
    first, second = (StandInJob(name, krita_queue.Stage.WAITING) for name in ("first", "second"))
    queue = _queue(krita_queue, first, second)
    queue.painted(RESULT)
    _turn()
    queue.paint_failed(error)
    _turn(8)
    assert first.log == ["write 0", "write 1", "write 2", "closed", "inserted"]
    assert first.stage is krita_queue.Stage.DONE and queue.painted_job is second
    assert queue.jobs == [second] and second.stage is krita_queue.Stage.PAINTING


def test_a_failure_while_it_is_painted_ends_the_job(krita_queue: Any) -> None:
    """It stays in the list with its sentence, and the next one is painted."""
    first, second = (StandInJob(name, krita_queue.Stage.WAITING) for name in ("first", "second"))
    queue = _queue(krita_queue, first, second)
    queue.paint_failed(AdainError("The server has ended."))
    _turn(2)
    assert (first.stage, first.sentence) == (krita_queue.Stage.FAILED, "The server has ended.")
    assert queue.painted_job is second


def test_work_that_takes_the_place_of_other_work_ends_that_first(krita_queue: Any) -> None:
    """What the first one holds is given back at once, it does no step more, and only the second one tells its end."""
    job = StandInJob("job", krita_queue.Stage.WAITING)
    queue = _queue(krita_queue, job)
    told: list[str] = []
    queue._do(job, job.write_steps(None), lambda _nothing: told.append("first"))
    _turn()
    replaced = queue._task  # somebody else still holds it, so it is not collected
    queue._do(job, job.insert_steps(), lambda _problem: told.append("second"))
    assert job.log == ["write 0", "closed"] and len(Timer.running) == 1
    _turn(4)
    assert replaced is not queue._task and told == ["second"] and job.log == ["write 0", "closed", "inserted"]
