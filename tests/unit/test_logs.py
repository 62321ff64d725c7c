"""The server's log: lines that programs can read, bounded, and with nothing in them that a peer could forge."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adain_server import logs
from adain_server.logs import LARGEST_LOG, LOG_NAME, LONGEST_MESSAGE, OFTEN, RateLimit, log_to_file

log = logging.getLogger("adain_server.test")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the log goes while the test runs."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    root.setLevel(logging.INFO)
    log_to_file(tmp_path)
    yield tmp_path
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers, root.level = before


def _lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / LOG_NAME).read_text().splitlines()]


@pytest.mark.fault(32)
def test_line_cannot_be_forged_and_is_cut(folder: Path) -> None:
    """Line breaks, control characters and a megabyte from a peer stay inside one message."""
    log.warning("refused %s", 'x"}\n{"level": "error"}\x1b[31m\u202e')
    log.warning("long %s", "y" * 1_000_000)
    first, second = _lines(folder)
    assert first["level"] == second["level"] == "warning" and first["message"].startswith('refused x"}\n{')
    assert len(second["message"]) == LONGEST_MESSAGE
    assert (folder / LOG_NAME).read_bytes().isascii()


def test_traceback_is_in_the_line_of_its_error(folder: Path) -> None:
    """With the time, the level and who said it."""
    try:
        raise ZeroDivisionError("by hand")
    except ZeroDivisionError:
        log.exception("job failed")
    (line,) = _lines(folder)
    assert "by hand" in line["traceback"] and line["logger"] == "adain_server.test" and line["time"].endswith("+00:00")


def test_flood_of_one_kind_is_counted_and_not_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OFTEN lines of a kind, others meanwhile, and how many there were once the period is over."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for number in range(500):
        log.warning("refused a peer at %r", str(number))
    log.error("something else")
    assert len(_lines(folder)) == OFTEN + 1
    now[0] += logs.PERIOD_S + 1
    log.warning("refused a peer at %r", "again")
    log.warning("refused a peer at %r", "and again")
    *_, again, last = _lines(folder)
    assert again["message"] == f"refused a peer at 'again' ({500 - OFTEN} more like this before)"
    assert last["message"] == "refused a peer at 'and again'"


def test_files_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, whatever is said."""
    monkeypatch.setattr(RateLimit, "filter", lambda *_: True)
    for number in range(12_000):
        log.warning("%d %s", number, "z" * 300)
    files = sorted(path.name for path in folder.iterdir())
    assert files == [LOG_NAME, f"{LOG_NAME}.1"]
    assert sum((folder / name).stat().st_size for name in files) <= 2 * LARGEST_LOG
    assert _lines(folder)[-1]["message"].startswith("11999 ")
