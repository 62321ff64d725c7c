"""The worker process as its parent sees it: started, spoken to, noticed when it dies, started again."""

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
"""An idle worker ends within this; one that is computing is not waited for."""
ALLOCATOR = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824"
"""Buffers of a tile's layers are kept and used again; larger ones, of whole pictures, go back at once (glibc only)."""


class WorkerProcess:
    """One worker, in a process of its own; messages both ways are the records of pipe.py.

    A thread hands on what the worker says, so that the parent's loop waits for sockets only.

    Attributes:
        inbox: A socket that gets the worker's messages; an empty one means that the worker has died.
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
        """Of the process."""
        return self._process.pid or 0

    @property
    def exit_status(self) -> int | None:
        """Of the process, once it has ended; a signal's number is negative."""
        self._process.join(timeout=STOP_S)
        return self._process.exitcode

    def send(self, message: pipe.ToWorker) -> None:
        """Say something to the worker. A worker that is dead is reported by inbox, not here."""
        try:
            self._connection.send_bytes(pipe.pack(message))
        except OSError:
            return

    def kill(self) -> None:
        """End a process that does not answer any more; inbox says when it is gone."""
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
        # The pipe ends with the process, and the thread with the pipe; only then nobody reads what is closed here.
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
    """glibc reads its settings when a program starts, so they are in the environment only while the worker starts."""

    def __enter__(self) -> None:
        self._before = os.environ.get("GLIBC_TUNABLES")
        if sys.platform == "linux" and self._before is None:
            os.environ["GLIBC_TUNABLES"] = ALLOCATOR

    def __exit__(self, *exception: object) -> None:
        if self._before is None:
            os.environ.pop("GLIBC_TUNABLES", None)
