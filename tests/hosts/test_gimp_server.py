"""Servers behind a real GIMP: none, another one, one that is started, dies or refuses; and a plug-in that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from adain_style.client.client import Client
from adain_style.client.connection import read_connection_file
from adain_style.host.settings import SavedSettings, ServerSettings, SettingsStore
from hosts.gimp import Gimp, Installation
from support.helpers import SERVER_COMMAND, RunningServer
from support.processes import server_pid

pytestmark = pytest.mark.hosts

OK = ("success", "success")
WAIT_S = 30.0

PAINT = """
    image, layer = picture()
    if side:
        layer.scale(side, side, False)
    image.clean_all()
    before = state(image)
    status = paint(layer, output=output, stroke_size=1.0)
    after = state(image)
    return status, before == after, after["clean"], len(after["layers"])
"""
SMALL: dict[str, Any] = {"side": 0, "output": "new-layer"}
LONG: dict[str, Any] = {"side": 2500, "output": "in-place"}
"""Takes seconds, so that there is a middle in which something can happen."""
PAINTED = (OK, False, False, 2)


def _refused(result: Any) -> str:
    """The sentence of a run that has changed nothing."""
    (status, sentence), unchanged, clean, layers = result
    assert (status, unchanged, clean, layers) == ("execution-error", True, True, 1)
    return str(sentence)


def test_no_server_and_none_to_start_is_a_sentence(gimp: Gimp) -> None:
    """The command that cannot be started is named; nothing changes."""
    gimp.use(None)
    sentence = _refused(gimp.run(PAINT, **SMALL))
    assert sentence.startswith("The AdaIN server cannot be started: ") and str(gimp.server_command) in sentence


def test_server_that_ends_at_once_is_a_sentence(gimp: Gimp) -> None:
    """What it said last reaches the user."""
    gimp.use(None)
    _write_command(gimp, "echo out of order >&2; exit 3")
    assert _refused(gimp.run(PAINT, **SMALL)) == "The AdaIN server could not start: out of order"


def _write_command(gimp: Gimp, line: str) -> None:
    gimp.server_command.write_text(f"#!/bin/sh\n{line}\n")
    gimp.server_command.chmod(0o700)


@pytest.fixture
def startable(gimp: Gimp) -> Iterator[Gimp]:
    """A GIMP without a server, whose plug-in can start one; that one is ended after the test."""
    gimp.use(None)
    command = gimp.installation.outside(*SERVER_COMMAND, "--device", "cpu")
    _write_command(gimp, f'exec {" ".join(command)} "$@"')
    yield gimp
    with suppress(FileNotFoundError):
        pid = server_pid(gimp.connection_file)
        os.kill(pid, signal.SIGTERM)
        _wait_for_end(pid)


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the process did not end"
        time.sleep(0.05)


def test_server_is_started_and_found_again(startable: Gimp) -> None:
    """The first picture starts one, which ends by itself after the user's own time; the second one finds it."""
    SettingsStore(startable.settings.parent).save(SavedSettings(server=ServerSettings(idle_minutes=7)))
    assert startable.run(PAINT, **SMALL) == PAINTED
    pid = server_pid(startable.connection_file)
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert words[words.index("--idle-timeout") + 1] == "420"
    assert startable.run(PAINT, **SMALL) == PAINTED
    assert server_pid(startable.connection_file) == pid


@pytest.mark.fault(67, 96)
def test_killed_server_is_a_sentence_and_the_next_picture_starts_another(
    startable: Gimp, own_server: RunningServer
) -> None:
    """A server that dies while it paints leaves the picture as it was, and nothing in the next one's way."""
    startable.use(own_server)
    startable.start(PAINT, **LONG)
    _wait_until_it_paints(own_server)
    own_server.process.kill()
    own_server.process.wait()
    assert "The AdaIN server stopped answering" in _refused(startable.result())
    assert startable.run(PAINT, **SMALL) == PAINTED
    assert server_pid(startable.connection_file) != own_server.process.pid


def _wait_until_it_paints(server: RunningServer) -> None:
    """Return once the server has a job and its worker has computed for a while."""
    worker = server.worker_pid()
    with server.client() as client:
        _wait_for_jobs(client, 1)
    enough = _computed_s(worker) + 0.5
    deadline = time.monotonic() + WAIT_S
    while _computed_s(worker) < enough:
        assert time.monotonic() < deadline, "the worker does not compute"
        time.sleep(0.02)


def _computed_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def _wait_for_jobs(client: Client, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while client.hello().jobs != count:
        assert time.monotonic() < deadline, f"the server never had {count} jobs"
        time.sleep(0.02)


@pytest.mark.fault(54, 96)
def test_killed_plug_in_leaves_the_picture_and_no_job(gimp: Gimp, server: RunningServer) -> None:
    """GIMP's Cancel ends the plug-in's process: no stray layer, no undo step, and the server drops the job."""
    with server.client() as client:
        gimp.start(PAINT, **LONG)
        _wait_until_it_paints(server)
        os.kill(gimp.plugin_process(), signal.SIGKILL)
        (status, _sentence), *rest = gimp.result()
        assert status != "success" and rest == [True, True, 1]
        _wait_for_jobs(client, 0)
    assert gimp.run(PAINT, **SMALL) == PAINTED


@pytest.fixture(scope="module")
def studio() -> Iterator[RunningServer]:
    """A server on tcp, which takes pictures of 0.01 megapixels."""
    with RunningServer("--bind", "tcp://127.0.0.1:0", "--max-megapixels", "0.01") as running:
        yield running


@pytest.mark.fault(37)
def test_layer_that_is_too_large_for_the_server_is_a_sentence(gimp: Gimp, studio: RunningServer) -> None:
    """The server's own sentence, which says what to do."""
    gimp.use(studio)
    assert "scale it down" in _refused(gimp.run(PAINT, side=200, output="in-place"))


def test_server_on_another_machine_paints(gimp: Gimp, studio: RunningServer) -> None:
    """With its address and its keys; without them, or with a wrong address, there is a sentence and no local start."""
    gimp.use(None)
    key_file = gimp.folder / "studio.json"
    shutil.copy(studio.connection_file, key_file)
    address = read_connection_file(key_file).endpoint.removeprefix("tcp://")
    store = SettingsStore(gimp.settings.parent)
    store.save(SavedSettings(server=ServerSettings(True, address, str(key_file))))
    assert gimp.run(PAINT, **SMALL) == PAINTED
    for wrong, sentence in (
        (ServerSettings(True, address, "/no/such.json"), "There is no key file /no/such.json; "),
        (ServerSettings(True, "studio", str(key_file)), "The server's address is HOST:PORT, "),
        (ServerSettings(True, "127.0.0.1:9", str(key_file)), "No AdaIN server is running"),
    ):
        store.save(SavedSettings(server=wrong))
        assert _refused(gimp.run(PAINT, **SMALL)).startswith(sentence)


def test_missing_library_is_an_instruction(gimp_installation: Installation, tmp_path: Path) -> None:
    """The menu entry is there without zmq; it says what to do, and nobody sees a traceback."""
    (tmp_path / "zmq.py").write_text("raise ModuleNotFoundError(\"No module named 'zmq'\", name='zmq')")
    with Gimp(gimp_installation, PYTHONPATH=str(tmp_path)) as poor:
        result, menu, others = poor.run(
            """
            image, layer = picture()
            before = state(image)
            status = call(STYLIZE, [layer], {})
            pdb = Gimp.get_pdb()
            others = [name for name in pdb.query_procedures(*["^plug-in-adain"] + [".*"] * 7) if name != STYLIZE]
            found = status, before == state(image), not image.is_dirty(), len(image.get_layers())
            return found, pdb.lookup_procedure(STYLIZE).get_menu_paths(), others
            """
        )
        printed = poor.text()
    sentence = _refused(result)
    assert "GIMP's Python" in sentence and "has no zmq" in sentence and "adain-plugin install gimp" in sentence
    assert menu == ["<Image>/Filters/AdaIN Style/"] and others == []
    assert "Traceback" not in printed
