"""Start, ready line, second server, end, access, finding and starting a server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from adain_server import cli
from adain_server.io_process.endpoint import NEXT_PORTS, Endpoint
from adain_server.io_process.server import DRAIN_S
from adain_style.client import launcher, protocol
from adain_style.client.client import Client
from adain_style.client.connection import ConnectionInfo, read_connection_file, write_connection_file
from adain_style.client.errors import RequestError, ServerUnavailableError
from adain_style.client.jobs import StylizeJob
from adain_weights.manifest import DEFAULT_MODEL
from support.helpers import SERVER_COMMAND, RunningServer, random_pixels, request, works
from support.processes import server_pid
from support.raw_peer import RawPeer
from support.read_only import read_only

SMALL = request(random_pixels(16, 16), [(random_pixels(16, 16, seed=1), 1.0)])


def _refusal(*options: str) -> str:
    """Run a server that must refuse to start; its one line."""
    run = subprocess.run([*SERVER_COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1 and run.stderr.count("\n") == 1, run.stderr
    return run.stderr


def test_ready_line_names_device_model_and_place(server: RunningServer) -> None:
    """One line says that it is ready, on what, with which model."""
    lines = [line for line in server.text().splitlines() if "Ready" in line]
    assert len(lines) == 1
    assert "cpu" in lines[0] and DEFAULT_MODEL in lines[0] and "ipc://" in lines[0]


def test_place_is_private(server: RunningServer) -> None:
    """Folder 0700, connection file 0600, socket without access for others."""
    socket_path = Path(read_connection_file(server.connection_file).endpoint.removeprefix("ipc://"))
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.connection_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket_path.stat().st_mode) & 0o077 == 0


@pytest.mark.fault(67, 68)
def test_second_server_refuses(server: RunningServer) -> None:
    """A second server at the same place says so and leaves the first one alone."""
    assert "already runs" in _refusal("--connection-file", str(server.connection_file))
    with server.client() as client:
        assert client.hello().ready


def _stop(server: RunningServer) -> None:
    with server.client() as client:
        client.stop()


WAYS_TO_END = {"SIGTERM": lambda server: server.process.terminate(), "stop": _stop}
each_way_to_end = pytest.mark.parametrize("end", WAYS_TO_END.values(), ids=WAYS_TO_END.keys())


@each_way_to_end
def test_server_ends_cleanly(own_server: RunningServer, end: Callable[[RunningServer], None]) -> None:
    """Exit status 0, socket and connection file gone, no worker left."""
    worker = own_server.worker_pid()
    end(own_server)
    assert own_server.process.wait(timeout=15) == 0
    assert not own_server.connection_file.exists()
    assert not list(own_server.folder.glob("*.sock"))
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.fault(72)
@each_way_to_end
def test_waiting_clients_are_told_of_the_end(own_server: RunningServer, end: Callable[[RunningServer], None]) -> None:
    """A job that cannot be finished is answered with SHUTTING_DOWN, which is retryable."""
    with RawPeer(own_server) as peer:
        assert peer.ask(*StylizeJob(SMALL).open())["op"] == "grant"
        end(own_server)
        answer = peer.receive_answer()
        assert (answer["code"], answer["retryable"]) == ("SHUTTING_DOWN", True)


@pytest.mark.fault(72)
def test_running_job_is_finished_before_the_end(own_server: RunningServer) -> None:
    """A client stops the server while another one's job runs: that one gets its result, a later one is refused."""
    job, late = (StylizeJob(request(random_pixels(256, 256), SMALL.regions[0].styles)) for _ in range(2))
    with RawPeer(own_server) as peer:
        peer.upload(job)
        while job.progress.stage in {"upload", "queued"}:
            peer.serve([job])
        _stop(own_server)
        peer.send(*late.open())
        while not (job.finished and late.finished):
            peer.serve([job, late])
    assert job.result is not None
    assert isinstance(late.error, RequestError) and late.error.code == "SHUTTING_DOWN"
    assert own_server.process.wait(timeout=15) == 0
    assert own_server.text().count("as a client asked") == 1


@pytest.mark.fault(72)
@each_way_to_end
def test_job_that_takes_longer_than_the_drain_is_given_up(
    own_server: RunningServer, end: Callable[[RunningServer], None]
) -> None:
    """It is given five seconds; then it is told SHUTTING_DOWN, and the server ends cleanly all the same."""
    job = StylizeJob(request(random_pixels(6000, 6000), SMALL.regions[0].styles))
    with RawPeer(own_server) as peer:
        peer.upload(job)
        while job.progress.stage in {"upload", "queued", "style"}:
            peer.serve([job])
        started = time.monotonic()
        end(own_server)
        answer = peer.receive_answer()
        took = time.monotonic() - started
        assert (answer["code"], answer["job"], answer["retryable"]) == ("SHUTTING_DOWN", job.job_id, True)
    assert DRAIN_S <= took < DRAIN_S + 5
    assert own_server.process.wait(timeout=15) == 0
    assert not own_server.connection_file.exists()


@pytest.mark.fault(85)
def test_server_whose_folder_turns_read_only_goes_on(own_server: RunningServer) -> None:
    """It paints, lets new clients in, and says which files have to stay when it ends; the next server starts there."""
    with read_only(own_server.folder):
        assert works(own_server)
        with RawPeer(own_server) as peer:
            assert peer.ask([b"\xc1"])["code"] == "BAD_HEADER"  # which is logged
        own_server.process.terminate()
        own_server.process.wait(timeout=30)
        text = own_server.text()
    assert "Traceback" not in text and "connection.json cannot be removed: Read-only file system" in text, text
    with RunningServer(folder=own_server.folder) as again:
        assert works(again)


def test_stopping_without_a_server_is_a_sentence(own_server: RunningServer) -> None:
    """As any question to a server that has gone."""
    with own_server.client() as client:
        client.stop()
        own_server.process.wait(timeout=15)
        with pytest.raises(ServerUnavailableError):
            client.stop()


@pytest.mark.fault(67)
def test_stale_socket_is_replaced(own_server: RunningServer) -> None:
    """What a killed server left behind does not stop the next one."""
    own_server.process.send_signal(signal.SIGKILL)
    own_server.process.wait()
    assert own_server.connection_file.exists() and list(own_server.folder.glob("*.sock"))
    with RunningServer(folder=own_server.folder) as again, again.client() as client:
        assert client.hello().ready


@pytest.mark.fault(69)
def test_file_in_the_sockets_place_is_not_touched(tmp_path: Path) -> None:
    """A regular file where the socket belongs: refused, and the file stays."""
    tmp_path.chmod(0o700)
    (tmp_path / "c.sock").write_text("precious")
    assert "in the way" in _refusal("--connection-file", str(tmp_path / "c.json"))
    assert (tmp_path / "c.sock").read_text() == "precious"


@pytest.mark.fault(69)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a socket another user's")
def test_socket_of_another_user_is_not_touched() -> None:
    """Somebody else's socket where ours belongs: refused, and it stays whose it is and goes on to answer."""
    with tempfile.TemporaryDirectory(prefix="adain-test-") as folder, socket.socket(socket.AF_UNIX) as theirs:
        endpoint = Path(folder) / "c.sock"
        theirs.bind(str(endpoint))
        theirs.listen()
        os.chown(endpoint, 65534, 65534)
        before = endpoint.lstat()
        assert "in the way" in _refusal("--connection-file", str(endpoint.with_suffix(".json")))
        after = endpoint.lstat()
        assert (after.st_ino, after.st_uid, after.st_mode) == (before.st_ino, 65534, before.st_mode)
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(endpoint))
        assert not endpoint.with_suffix(".json").exists()


@pytest.mark.fault(69)
def test_link_in_the_sockets_place_is_not_followed() -> None:
    """Not even to a socket of one's own: refused, and both stay."""
    with tempfile.TemporaryDirectory(prefix="adain-test-") as folder, socket.socket(socket.AF_UNIX) as own:
        target, endpoint = Path(folder) / "other.sock", Path(folder) / "c.sock"
        own.bind(str(target))
        endpoint.symlink_to(target)
        assert "in the way" in _refusal("--connection-file", str(endpoint.with_suffix(".json")))
        assert endpoint.is_symlink() and target.is_socket()


def test_open_folder_is_refused(tmp_path: Path) -> None:
    """A folder that others may enter is no place for a socket."""
    tmp_path.chmod(0o755)
    assert "chmod 700" in _refusal("--connection-file", str(tmp_path / "c.json"))


@pytest.mark.fault(70)
def test_long_path_is_refused(tmp_path: Path) -> None:
    """A socket's path has a limit; the sentence says what to do."""
    assert "too long" in _refusal("--connection-file", str(tmp_path / ("x" * 120) / "c.json"))


def test_unknown_model_is_one_line(tmp_path: Path) -> None:
    """A wrong --model ends the server with the names that exist."""
    tmp_path.chmod(0o700)
    assert DEFAULT_MODEL in _refusal("--model", "nonsense", "--connection-file", str(tmp_path / "c.json"))


@pytest.mark.parametrize(
    "bind", ["tcp://localhost", "tcp://localhost:5555", "tcp://0.0.0.0", "udp://127.0.0.1:5555", "no"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, bind: str) -> None:
    """One line that says how addresses are written."""
    tmp_path.chmod(0o700)
    assert "tcp://0.0.0.0:PORT" in _refusal("--bind", bind, "--connection-file", str(tmp_path / "c.json"))


def test_tcp_serves_the_holder_of_the_connection_file(tcp_server: RunningServer) -> None:
    """With the keys of the connection file a job runs over tcp."""
    with tcp_server.client() as client:
        assert len(client.stylize(SMALL).pixels.data) == 16 * 16 * 3


def test_tcp_carries_whole_chunks(tcp_server: RunningServer) -> None:
    """Encryption makes a frame larger than the chunk in it, both on the way to the server and back."""
    content = random_pixels(700, 900)
    with tcp_server.client() as client:
        result = client.stylize(request(content, [("space-sun", 1.0)], alpha=0.0))
    assert memoryview(content.data).nbytes > protocol.CHUNK_BYTES
    assert bytes(result.pixels.data) == bytes(content.data)


@pytest.mark.fault(74, 75, 76)
def test_tcp_delivers_nothing_without_the_keys(tcp_server: RunningServer) -> None:
    """No CURVE, an unlisted key, a wrong server key: no answer to any of them; the holder of the keys is served."""
    info = read_connection_file(tcp_server.connection_file)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    strangers = {
        "no CURVE": ConnectionInfo(info.endpoint, info.pid),
        "unlisted key": ConnectionInfo(info.endpoint, info.pid, info.server_key, public, secret),
        "wrong server key": ConnectionInfo(info.endpoint, info.pid, public, info.client_key, info.client_secret),
    }
    for name, stranger in strangers.items():
        with Client(stranger) as client, pytest.raises(ServerUnavailableError):
            client.hello(timeout_s=1.0)
            raise AssertionError(f"{name} was answered")
    with tcp_server.client() as client:
        assert client.hello().ready


@pytest.mark.fault(71)
def test_next_port_is_used_when_one_is_taken() -> None:
    """The connection file says which, and a line does; clients of this machine notice nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with RunningServer("--bind", f"tcp://127.0.0.1:{port}") as server:
            used = int(read_connection_file(server.connection_file).endpoint.rpartition(":")[2])
            assert port < used <= port + NEXT_PORTS and f"port {port} is taken; port {used} is used" in server.text()
            assert works(server)


@pytest.mark.fault(3)
@pytest.mark.parametrize("bind", ["ipc", "tcp://127.0.0.1:0"])
def test_connections_are_let_go_at_the_same_address(tmp_path: Path, bind: str) -> None:
    """Clients come back to where the connection file says that the server is."""
    tmp_path.chmod(0o700)
    with Endpoint(tmp_path / "c.json", bind) as endpoint:
        for _ in range(3):
            before, router = endpoint.address, endpoint.router
            endpoint.reset_connections()
            assert endpoint.address == before and endpoint.router is not router


@pytest.mark.fault(71)
def test_no_free_port_is_a_sentence(tmp_path: Path) -> None:
    """The wanted one is named, and what to do."""
    tmp_path.chmod(0o700)
    with contextlib.ExitStack() as all_taken:
        # The last ports there are, so that there is none after them.
        for port in range(65535 - NEXT_PORTS, 65536):
            with contextlib.suppress(OSError):  # somebody else has it
                each = all_taken.enter_context(socket.socket())
                each.bind(("127.0.0.1", port))
                each.listen()
        bind = f"tcp://127.0.0.1:{65535 - NEXT_PORTS}"
        assert "another port" in _refusal("--bind", bind, "--connection-file", str(tmp_path / "c.json"))


def test_welcome_tells_the_idle_timeout_and_the_jobs() -> None:
    """How long the server waits for work, and the jobs of all clients; without a time-out it says 0."""
    with RunningServer("--idle-timeout", "600") as running, running.client() as client, RawPeer(running) as peer:
        job = StylizeJob(SMALL)
        assert (client.hello().idle_timeout_s, client.hello().jobs) == (600.0, 0)
        assert peer.ask(*job.open())["op"] == "grant" and client.hello().jobs == 1
        assert peer.ask(*job.cancel())["op"] == "cancelled" and client.hello().jobs == 0


def test_status_counts_jobs_bytes_and_models(own_server: RunningServer) -> None:
    """A job that is arriving, its bytes, and nothing of it once it is cancelled."""
    job = StylizeJob(request(random_pixels(300, 300), SMALL.regions[0].styles))
    with own_server.client() as client, RawPeer(own_server) as peer:
        before = client.status()
        assert before.ready and before.models >= 1 and before.worker_starts == 1 and before.last_error == ""
        assert (before.uploading, before.queued, before.running, before.finished, before.held_bytes) == (0,) * 5
        assert before.memory > 0 and before.worker_memory > before.memory  # torch is in one of them
        assert before.devices[-1].startswith("cpu") and before.device in before.devices
        assert peer.ask(*job.open())["op"] == "grant"
        during = client.status()
        assert during.uploading == 1 and during.held_bytes > 2 * 300 * 300 * 3 and during.uptime_s > before.uptime_s
        assert peer.ask(*job.cancel())["op"] == "cancelled"
        assert client.status().uploading == 0


def test_status_command_says_how_the_server_is(own_server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines for people and exit 0; without a server one line and exit 1."""
    endpoint = ["--status", "--connection-file", str(own_server.connection_file)]
    assert cli.main(endpoint) == 0
    printed = capsys.readouterr().out
    assert "ready on cpu" in printed and DEFAULT_MODEL in printed and "last error: none" in printed
    assert "devices: cpu" in printed and "MiB, worker" in printed
    own_server.close()
    assert cli.main(endpoint) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon"])
def test_impossible_hang_timeout_is_a_sentence(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A time above 0."""
    with pytest.raises(SystemExit):
        cli.main(["--hang-timeout", value])
    assert "--hang-timeout" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_impossible_idle_timeout_is_a_sentence(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Negative, or no number of seconds that a client could be told."""
    with pytest.raises(SystemExit):
        cli.main(["--idle-timeout", value])
    assert "--idle-timeout: must be at least 0" in capsys.readouterr().err


def test_idle_server_ends_by_itself() -> None:
    """After the idle time-out the process is gone, and was not before."""
    with RunningServer("--idle-timeout", "2") as running:
        assert running.process.wait(timeout=20) == 0
        assert "without work" in running.text()


@pytest.mark.fault(82)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_connection_file_open_to_others_is_not_trusted(tmp_path: Path, mode: int) -> None:
    """A file that others can read or write could send pixels to a stranger."""
    path = tmp_path / "connection.json"
    write_connection_file(path, ConnectionInfo("ipc:///tmp/x", 1))
    path.chmod(mode)
    with pytest.raises(ServerUnavailableError, match="not trusted"):
        read_connection_file(path)


@pytest.mark.fault(82)
def test_connection_file_that_is_a_link_is_not_trusted(tmp_path: Path) -> None:
    """Nor is a link."""
    write_connection_file(tmp_path / "real.json", ConnectionInfo("ipc:///tmp/x", 1))
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    with pytest.raises(ServerUnavailableError, match="not a plain file"):
        read_connection_file(tmp_path / "link.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"endpoint": 1, "pid": 1}', '{"endpoint": "file:///x", "pid": 1}'])
def test_damaged_connection_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    """Whatever stands in it: one typed error."""
    path = tmp_path / "connection.json"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(ServerUnavailableError, match="remove it"):
        read_connection_file(path)


def test_launcher_starts_a_server_and_finds_it_again() -> None:
    """The first client starts a server, the second finds it; both do jobs; the server is ended by its id."""
    with tempfile.TemporaryDirectory(prefix="adain-test-") as folder:
        path = Path(folder) / "connection.json"
        said: list[str] = []
        with launcher.connect(
            name="first", connection_file=path, command=SERVER_COMMAND, on_start=said.append
        ) as first:
            pid = server_pid(path)
            try:
                assert len(said) == 1 and "ends by itself" in said[0]
                with launcher.connect(name="second", connection_file=path, command=["/no/such/command"]) as second:
                    assert second.hello().boot == first.hello().boot
                    assert len(second.stylize(SMALL).pixels.data) == 16 * 16 * 3
            finally:
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not path.exists()


def test_launcher_says_why_a_server_cannot_start(tmp_path: Path) -> None:
    """The server's own last line reaches the user."""
    tmp_path.chmod(0o700)
    path = tmp_path / "connection.json"
    command = [*SERVER_COMMAND, "--model", "nonsense"]
    with pytest.raises(ServerUnavailableError, match="no model, folder or file 'nonsense'"):
        launcher.connect(name="x", connection_file=path, command=command)
    with pytest.raises(ServerUnavailableError, match="cannot be started"):
        launcher.connect(name="x", connection_file=path, command=["/no/such/command"])
    with pytest.raises(ServerUnavailableError, match="No AdaIN server is running"):
        launcher.connect(name="x", connection_file=path, start=False)


def _debians_python() -> str:
    """Debian's own interpreter, when it has what a host has; otherwise the test is skipped."""
    python = "/usr/bin/python3"
    probe = "import zmq, msgpack, sys; assert sys.version_info >= (3, 10)"
    if not Path(python).exists() or subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("/usr/bin/python3 with python3-zmq and python3-msgpack is not on this machine")
    return python


@pytest.mark.fault(78)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_peer_of_another_user_is_refused(own_server: RunningServer) -> None:
    """Even with folder and socket wide open, the kernel's word on the uid decides: root is answered, nobody is not."""
    python = _debians_python()
    endpoint = read_connection_file(own_server.connection_file).endpoint
    own_server.folder.chmod(0o755)
    Path(endpoint.removeprefix("ipc://")).chmod(0o777)
    program = (
        "import sys, zmq\n"
        "socket = zmq.Context().socket(zmq.DEALER)\n"
        "socket.setsockopt(zmq.LINGER, 0)\n"
        "socket.connect(sys.argv[1])\n"
        "socket.send(bytes.fromhex(sys.argv[2]))\n"
        "print('answered' if socket.poll(2000) else 'silence')\n"
        "socket.close()\n"
    )
    hello = protocol.pack("hello", client="stranger").hex()
    answers = []
    for uid in (0, 65534):
        run = subprocess.run(
            [python, "-c", program, endpoint, hello],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            user=uid,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
        )
        answers.append(run.stdout.strip())
    assert answers == ["answered", "silence"]


def test_debians_python_can_be_a_client(server: RunningServer) -> None:
    """The client works in the hosts' Python: another interpreter, Debian's own zmq and msgpack."""
    python = _debians_python()
    program = (
        "import sys; from pathlib import Path\n"
        "from adain_style.client import Pixels, Region, StylizeRequest, connect\n"
        "style = Pixels(bytes(range(192)), 8, 8)\n"
        "client = connect(name='debian', connection_file=Path(sys.argv[1]), start=False)\n"
        "with client:\n"
        "    content = Pixels(bytes(30 * 40 * 4), 30, 40, 'RGBA')\n"
        "    result = client.stylize(StylizeRequest(content, [Region([(style, 1.0)])]))\n"
        "print(len(result.pixels.data), sys.prefix)\n"
    )
    plugin = Path(launcher.__file__).parents[2]
    run = subprocess.run(
        [python, "-c", program, str(server.connection_file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(plugin), "PATH": "/usr/bin:/bin"},
    )
    assert run.stdout.split() == [str(30 * 40 * 4), "/usr"], run.stderr


def test_connection_file_names_the_process(server: RunningServer) -> None:
    """Pid and endpoint, and no key for a local socket."""
    fields = json.loads(server.connection_file.read_text())
    assert fields["pid"] == server.process.pid
    assert fields["endpoint"].startswith("ipc://") and not fields["client_secret"]
