"""Pickled bytes in every place that a client or a file can reach: nothing of them ever runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.errors import RequestError
from adain_style.client.jobs import Pixels, StyleFile, StyleSource, StylizeJob
from support.helpers import Bomb, RunningServer, random_pixels, request, write_other_model
from support.raw_peer import RawPeer

AUDIT = """
import os, sys

def note(event, arguments):
    # What unpickling would need, and what it would do: names are looked up, then called.
    if event in ("pickle.find_class", "os.mkdir", "os.system", "os.posix_spawn", "subprocess.Popen"):
        descriptor = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{{event}} {{str(arguments[0])[:200]!r}}\\n".encode())
        os.close(descriptor)

sys.addaudithook(note)
"""


class Watched:
    """A server whose processes note what they look up and start.

    Attributes:
        server: Ready. mark: The folder that a bomb would make. bombs: Pickles of protocol 0, which is text, and 4.
    """

    def __init__(self, server: RunningServer, log: Path, mark: Path) -> None:
        self.server = server
        self.mark = mark
        self.text, self.data = (pickle.dumps(Bomb(mark), protocol=protocol) for protocol in (0, 4))
        self._log = log

    def events(self) -> list[str]:
        """What was noted since the server was ready."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def forget(self) -> None:
        """Note anew from now on."""
        self._log.unlink(missing_ok=True)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """The hook is there before anything of ours is imported, in the I/O process and in the worker."""
    hook = tmp_path / "hook"
    hook.mkdir()
    log = tmp_path / "events.txt"
    (hook / "sitecustomize.py").write_text(AUDIT.format(log=str(log)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])]))
    with RunningServer() as server, server.client() as client:
        # Both processes are watched: the I/O process starts the worker, which learns from a pickle what it is to run.
        watched = Watched(server, log, tmp_path / "mark")
        assert "pickle.find_class" in "".join(watched.events())
        client.stylize(request(random_pixels(40, 40), [(random_pixels(40, 40, seed=1), 1.0)]))  # libraries load late
        watched.forget()
        yield watched


def _harmless(watched: Watched) -> bool:
    """No class was looked up, nothing was made or started, and the worker is the first one."""
    with watched.server.client() as client:
        client.stylize(request(random_pixels(40, 40), [(random_pixels(40, 40, seed=2), 1.0)]))
        starts = client.status().worker_starts
    assert not watched.events()
    return starts == 1 and not watched.mark.exists()


def test_bomb_does_what_it_is_for(tmp_path: Path) -> None:
    """Otherwise these tests would prove nothing."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark"), protocol=0))  # noqa: S301  # our own
    assert (tmp_path / "mark").is_dir()


@pytest.mark.fault(81)
def test_pickle_in_a_message_is_inert(watched: Watched) -> None:
    """As a header, as a payload, and as the text of every field that is one."""
    with RawPeer(watched.server) as peer:
        for bomb in (watched.text, watched.data):
            assert peer.ask([bomb])["code"] == "BAD_HEADER"
        text = watched.text.decode()
        for field in ("op", "client"):
            header = {"v": protocol.VERSION, "op": "hello", "client": "x", field: text}
            assert peer.ask([msgpack.packb(header)])["op"] in ("error", "welcome")
        assert peer.ask([protocol.pack("swatch", name=text)])["code"] == "BAD_NAME"
        for model, styles in ((text, "van-gogh-bridge"), ("", text)):
            job = StylizeJob(request(random_pixels(8, 8), [(styles, 1.0)], model=model))
            assert peer.ask(job.open()[0])["code"] == "BAD_NAME"
    assert _harmless(watched)


@pytest.mark.fault(81)
def test_pickle_as_pixels_or_as_a_style_is_inert(watched: Watched) -> None:
    """Pixels are pixels; a style's file that is a pickle is refused."""
    with watched.server.client() as client:
        content = Pixels(watched.data.ljust(64 * 3, b"\0"), 8, 8)
        styles: list[tuple[StyleSource, float]] = [(content, 1.0)]
        assert client.stylize(request(content, styles)).pixels.height == 8
        for bomb in (watched.text, watched.data):
            _is_refused(client, StyleFile(bomb), "", "BAD_STYLE")
    assert _harmless(watched)


@pytest.mark.fault(81, 95)
@pytest.mark.parametrize("kind", ["text", "data"])
def test_pickle_in_the_users_folders_is_inert(watched: Watched, kind: str) -> None:
    """A model's file, one of torch's beside it, its description; a saved style and a picture."""
    bomb: bytes = getattr(watched, kind)
    models, styles = watched.server.models, watched.server.styles
    styles.mkdir()
    for name in ("saved.safetensors", "picture.png"):
        (styles / name).write_bytes(bomb)
    for name, file in (("decoder", "decoder.safetensors"), ("encoder", "encoder.safetensors"), ("about", "model.json")):
        write_other_model(models / name)
        (models / name / file).write_bytes(bomb)
    (models / "torch").mkdir()
    (models / "torch" / "decoder.pth").write_bytes(bomb)
    watched.forget()
    with watched.server.client() as client:
        client.models()
        client.styles()
        for name in ("saved", "picture"):
            _is_refused(client, name, "", "BAD_STYLE")
        for name in ("decoder", "encoder", "torch"):
            _is_refused(client, "van-gogh-bridge", name, "MODEL")
        # A model without a description that can be read paints; it only has no title.
        client.stylize(request(random_pixels(40, 40), [("van-gogh-bridge", 1.0)], model="about"))
    assert _harmless(watched)


def _is_refused(client: Client, style: StyleSource, model: str, code: str) -> None:
    with pytest.raises(RequestError) as refused:
        client.stylize(request(random_pixels(40, 40), [(style, 1.0)], model=model))
    assert code in refused.value.code
