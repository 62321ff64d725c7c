"""What the windows of both hosts ask of the chosen server, and which answers they show."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from adain_style.client.client import ServerInfo
from adain_style.client.errors import ServerUnavailableError
from adain_style.host import servers
from adain_style.host.servers import ServerControl
from adain_style.host.settings import ServerSettings

HERE = ServerSettings()
STOPPED = (None, "The server has been stopped.")


def test_newest_answer_is_shown_and_no_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that began before the server was stopped says nothing more; looks wait for what is being asked."""
    may_answer, looks, posted, shown = threading.Event(), Mock(), queue.Queue[Callable[[], None]](), []
    control = ServerControl(name="test", post=posted.put, show=lambda info, state: shown.append((info, state)))

    def look(_server: ServerSettings, *, name: str) -> ServerInfo:
        looks(name)
        may_answer.wait()
        raise ServerUnavailableError("No AdaIN server is running.")

    monkeypatch.setattr(servers, "look_at_server", look)
    monkeypatch.setattr(servers, "stop_server", Mock(return_value=None))
    control.look(HERE)
    control.look(HERE)
    control.stop(HERE)
    posted.get(timeout=10)()
    may_answer.set()
    posted.get(timeout=10)()
    assert shown == [STOPPED] and looks.call_count == 1
    control.look(HERE)
    posted.get(timeout=10)()
    assert shown == [STOPPED, (None, "No AdaIN server is running.")]
    control.stop(HERE)
    control.close()
    posted.get(timeout=10)()
    assert len(shown) == 2
