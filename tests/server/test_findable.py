"""A server whose files somebody removes stays findable; one whose place was taken ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from adain_style.client.client import Client
from adain_style.client.connection import read_connection_file
from adain_style.client.errors import ServerUnavailableError
from adain_style.client.launcher import connect
from support.helpers import SERVER_COMMAND, RunningServer, random_pixels, request, works
from support.processes import wait_until

SOON_S = 10.0
STYLES = [("space-sun", 1.0)]


def _answers(server: RunningServer) -> bool:
    """A new client finds it by its connection file."""
    try:
        with Client(read_connection_file(server.connection_file), name="new") as client:
            return client.hello().ready
    except ServerUnavailableError:
        return False


@pytest.mark.parametrize("removed", ["connection.json", "connection.sock", "connection.lock", "everything"])
def test_server_whose_files_are_removed_is_found_again(own_server: RunningServer, removed: str) -> None:
    """Within seconds, twice; a client that was connected goes on, and a second server still cannot start."""
    lock = own_server.connection_file.with_suffix(".lock")
    with own_server.client() as old:
        old.hello()
        for _ in range(2):
            if removed == "everything":
                shutil.rmtree(own_server.folder, ignore_errors=True)
            else:
                for path in own_server.folder.glob(removed.replace(".sock", "*.sock")):
                    path.unlink()
            assert wait_until(lambda: lock.exists() and _answers(own_server), SOON_S) < SOON_S
        assert old.stylize(request(random_pixels(64, 64), STYLES)).pixels.height == 64
        assert works(own_server)
    own_server.folder.joinpath("output.txt").touch()  # the test's own
    command = [*SERVER_COMMAND, "--connection-file", str(own_server.connection_file)]
    second = subprocess.run(command, check=False, capture_output=True, text=True)
    assert second.returncode == 1 and "already runs" in second.stderr


def test_server_whose_place_was_taken_ends_and_leaves_the_other_one_alone(own_server: RunningServer) -> None:
    """It was stopped while its folder was removed and another server started there."""
    own_server.process.send_signal(signal.SIGSTOP)
    shutil.rmtree(own_server.folder)
    own_server.folder.mkdir(mode=0o700)
    with RunningServer(folder=own_server.folder) as other:
        own_server.process.send_signal(signal.SIGCONT)
        assert own_server.process.wait(SOON_S) == 1
        assert wait_until(lambda: _answers(other), SOON_S) < SOON_S and works(other)


def test_hang_up_ends_the_server_and_leaves_no_files(own_server: RunningServer) -> None:
    """As when the terminal that it was started in is closed."""
    own_server.process.send_signal(signal.SIGHUP)
    assert own_server.process.wait(SOON_S) == 0
    assert not list(own_server.folder.glob("*.sock")) and not own_server.connection_file.exists()


def test_server_that_is_stopped_is_named(own_server: RunningServer) -> None:
    """Not "no server" and "already runs" in one breath: which process does not answer, and what to do."""
    own_server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(ServerUnavailableError, match=rf"process {own_server.process.pid}\) runs but does not"):
            connect(name="x", connection_file=Path(own_server.connection_file), command=SERVER_COMMAND)
        assert time.monotonic() - began < 60
    finally:
        os.kill(own_server.process.pid, signal.SIGCONT)
    assert works(own_server)
