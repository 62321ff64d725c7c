"""The error handling that all commands share, for the console and the file system. The standard library only."""

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
"""The exit status after Ctrl-C: 128 and SIGINT."""


def run_command(
    name: str, run: Callable[[], int], *, failures: tuple[type[Exception], ...], interrupted: str = "stopped."
) -> int:
    """Run a command, reporting failures as one sentence instead of a traceback.

    A character that the console lacks is replaced, and a reader that closes the pipe, such as `head`, ends the command
    quietly.

    Args:
        name: The command's name, which the sentences begin with.
        run: Reads the options and does the work; returns the exit status.
        failures: The command's own errors, whose message is a sentence.
        interrupted: The message after Ctrl-C.
    Returns:
        The exit status.
    """
    _take_every_letter()
    try:
        try:
            return run()
        finally:  # also after --help, which exits by an exception
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
    except OSError:  # there is nowhere to report it
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
    """Whether a stream still has a reader; a broken pipe may also be one to the command's own child process."""
    if (descriptor := _descriptor(stream)) is None:
        return True
    if sys.platform == "win32":  # there is no way to tell
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are always reported
    return not poll.poll(0)


def _write_nowhere(*streams: TextIO) -> None:
    """Discard what is still to be written: Python would fail once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in map(_descriptor, streams):
        if descriptor is not None:
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _descriptor(stream: TextIO) -> int | None:
    """A stream's file descriptor; None when it has none."""
    try:
        return stream.fileno()
    except OSError:
        return None
