"""The server's log: lines of JSON beside the connection file, bounded in size and in how often one thing is said.

What peers send comes into it escaped and cut; no pixel, no key and no secret does.
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
"""Bytes of the file; the one before is kept beside it, as server.log.1."""
LONGEST_MESSAGE = 500
OFTEN = 20
PERIOD_S = 60.0
"""One kind of message is said so often in so many seconds; then how many more there were."""


class JsonLines(logging.Formatter):
    """One object a line: time, level, what said it, message, and a traceback where there is one."""

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
    """Lets a message through OFTEN times in PERIOD_S, by its text before values are put in."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it; decided once, because all handlers share the record and what was put into it."""
        if "is_said" not in vars(record):
            vars(record)["is_said"] = self._is_said(record)
        return bool(vars(record)["is_said"])

    def _is_said(self, record: logging.LogRecord) -> bool:
        """The first one of a new period says how many were left out."""
        now, kind = time.monotonic(), str(record.msg)
        since, count = self._seen.get(kind, (now, 0))
        if now - since > PERIOD_S:
            if count > OFTEN:
                record.msg, record.args = f"{record.getMessage()} ({count - OFTEN} more like this before)", ()
            since, count = now, 0
        self._seen[kind] = since, count + 1
        return count < OFTEN


def log_to_terminal(*, verbose: bool) -> None:
    """Warnings on standard error; with verbose each client's hello as well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO if verbose else logging.WARNING)
    handler.addFilter(RateLimit())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_to_file(folder: Path) -> None:
    """Also into LOG_NAME in the server's private folder, for those that nobody watches."""
    handler = RotatingFileHandler(folder / LOG_NAME, maxBytes=LARGEST_LOG, backupCount=1, encoding="ascii", delay=True)
    handler.setFormatter(JsonLines())
    handler.addFilter(RateLimit())
    logging.getLogger().addHandler(handler)
    logging.raiseExceptions = False  # a disk that is full or read-only is no reason to fill the terminal
