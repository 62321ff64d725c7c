"""The boundary around what every command stands on, the console and the file system. The standard library only."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from typing import TextIO

READER_IS_GONE = 141
"""The exit status of a program that a closed pipe ends: 128 and SIGPIPE."""
INTERRUPTED = 130
"""Likewise for Ctrl-C: 128 and SIGINT."""


def run_command(
    name: str, run: Callable[[], int], *, failures: tuple[type[Exception], ...], interrupted: str = "stopped."
) -> int:
    """Run a command from its options to its last line, so that what fails is one sentence and no traceback.

    A console that lacks a letter gets a replacement for it, and a reader that has seen enough, as `head`, ends the
    command quietly.

    Args:
        name: What the sentences begin with.
        run: Reads the options and does the work; returns the exit status.
        failures: The command's own errors, whose message is a sentence.
        interrupted: What is said after Ctrl-C.
    Returns:
        The exit status.
    """
    _take_every_letter()
    try:
        try:
            return run()
        finally:  # also after --help, which leaves by an exception
            _flush()
    except failures as error:
        return _say(name, str(error), 1)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not all(map(_has_reader, (sys.stdout, sys.stderr))):
            _write_nowhere(sys.stdout, sys.stderr)
            return READER_IS_GONE
        return _say(name, f"{error.filename or 'A file or the output'} cannot be used: {error.strerror or error}.", 1)
    except KeyboardInterrupt:
        return _say(name, interrupted, INTERRUPTED)


def _say(name: str, sentence: str, status: int) -> int:
    try:
        print(f"{name}: {sentence}", file=sys.stderr, flush=True)
    except OSError:  # nobody can be told
        _write_nowhere(sys.stdout, sys.stderr)
    return status


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        _write_nowhere(sys.stdout)
        raise


def _take_every_letter() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _has_reader(stream: TextIO) -> bool:
    """Whether somebody can read what is written; a broken pipe may also be one to a process of the command's own."""
    if (descriptor := _descriptor(stream)) is None:
        return True
    if sys.platform == "win32":  # it cannot be asked there
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are always reported
    return not poll.poll(0)


def _write_nowhere(*streams: TextIO) -> None:
    """Let what is still to be written go nowhere: Python would fail once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in map(_descriptor, streams):
        if descriptor is not None:
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _descriptor(stream: TextIO) -> int | None:
    """The system's number of a stream; None for one that is not the system's."""
    try:
        return stream.fileno()
    except OSError:
        return None
