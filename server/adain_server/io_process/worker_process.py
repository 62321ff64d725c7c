"""The worker process as its parent sees it: starts it, talks to it, notices its death and restarts it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import zmq

from adain_server import pipe

STOP_S = 1.0
"""An idle worker ends within this time; one that is still computing then is killed."""
ALLOCATOR = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824"
"""glibc only: keeps buffers of a tile's layers for reuse and returns larger ones, of whole pictures, at once."""


class WorkerProcess:
    """One worker, in a process of its own; messages both ways are the records of pipe.py.

    A thread forwards the worker's messages, so that the parent's loop waits for sockets only.

    Attributes:
        inbox: A socket that receives the worker's messages; an empty one means that the worker has died.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], *, device: str, model: str, models: Path, memory_budget: int
    ) -> None:
        self._context = context
        self._arguments = (device, model, models, memory_budget)
        self.inbox: zmq.Socket[bytes]
        self._start()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid or 0

    @property
    def exit_status(self) -> int | None:
        """Exit status of the process once it has ended; negative for a signal."""
        self._process.join(timeout=STOP_S)
        return self._process.exitcode

    def send(self, message: pipe.ToWorker) -> None:
        """Send a message to the worker. A dead worker is reported by inbox, not here."""
        try:
            self._connection.send_bytes(pipe.pack(message))
        except OSError:
            return

    def kill(self) -> None:
        """Kill a process that does not answer any more; inbox reports when it is gone."""
        self._process.kill()

    def restart(self) -> None:
        """Start a new process in the place of a dead one."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """End the process; one that is computing is killed."""
        self.send(pipe.Stop())
        self._process.join(timeout=STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        # The pipe ends with the process, and the thread with the pipe; only then is nothing in use that is closed here.
        self._pump.join()
        self._connection.close()
        self.inbox.close(linger=0)

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_run, args=(theirs, *self._arguments), name="adain-worker", daemon=True)
        with _AllocatorSettings():
            self._process.start()
        theirs.close()
        endpoint = f"inproc://worker-{self._process.pid}"
        self.inbox = self._context.socket(zmq.PAIR)
        self.inbox.bind(endpoint)
        outbox = self._context.socket(zmq.PAIR)
        outbox.connect(endpoint)
        self._pump = threading.Thread(target=_pump, args=(self._connection, outbox), daemon=True)
        self._pump.start()


def _run(connection: Connection, device: str, model: str, models: Path, memory_budget: int) -> None:
    # Imported here, so that the parent, which never computes, does not load torch.
    from adain_server.worker.worker import run_worker

    run_worker(connection, device=device, model=model, models=models, memory_budget=memory_budget)


def _pump(connection: Connection, outbox: zmq.Socket[bytes]) -> None:
    try:
        while True:
            outbox.send(connection.recv_bytes())
    except (EOFError, OSError):
        outbox.send(b"")
    finally:
        outbox.close(linger=1000)


class _AllocatorSettings:
    """Sets ALLOCATOR in the environment while the worker starts, which is when glibc reads it."""

    def __enter__(self) -> None:
        self._before = os.environ.get("GLIBC_TUNABLES")
        if sys.platform == "linux" and self._before is None:
            os.environ["GLIBC_TUNABLES"] = ALLOCATOR

    def __exit__(self, *exception: object) -> None:
        if self._before is None:
            os.environ.pop("GLIBC_TUNABLES", None)
