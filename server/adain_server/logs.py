"""The server's log: lines of JSON beside the connection file, bounded in size and in repetitions.

Data from peers is escaped and cut; pixels, keys and secrets are never logged.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG_NAME = "server.log"
LARGEST_LOG = 1024**2
"""Most bytes of the file; the previous one is kept beside it as server.log.1."""
LONGEST_MESSAGE = 500
OFTEN = 20
PERIOD_S = 60.0
"""A kind of message is logged OFTEN times in this many seconds; then follows how many more there were."""


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII."""
        when = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        fields = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LONGEST_MESSAGE],
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class RateLimit(logging.Filter):
    """Lets a message through OFTEN times in PERIOD_S, counted by its text before values are put in."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a record; decided once, because all handlers share the record and its changes."""
        if "is_said" not in vars(record):
            vars(record)["is_said"] = self._is_said(record)
        return bool(vars(record)["is_said"])

    def _is_said(self, record: logging.LogRecord) -> bool:
        """Count a record; the first one of a new period also tells how many were left out."""
        now, kind = time.monotonic(), str(record.msg)
        since, count = self._seen.get(kind, (now, 0))
        if now - since > PERIOD_S:
            if count > OFTEN:
                record.msg, record.args = f"{record.getMessage()} ({count - OFTEN} more like this before)", ()
            since, count = now, 0
        self._seen[kind] = since, count + 1
        return count < OFTEN


def log_to_terminal(*, verbose: bool) -> None:
    """Log warnings to standard error; with verbose also each client's hello."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO if verbose else logging.WARNING)
    handler.addFilter(RateLimit())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_to_file(folder: Path) -> None:
    """Log to LOG_NAME in the server's private folder as well, for servers that run without a terminal."""
    handler = RotatingFileHandler(folder / LOG_NAME, maxBytes=LARGEST_LOG, backupCount=1, encoding="ascii", delay=True)
    handler.setFormatter(JsonLines())
    handler.addFilter(RateLimit())
    logging.getLogger().addHandler(handler)
    logging.raiseExceptions = False  # a disk that is full or read-only is no reason to fill the terminal
