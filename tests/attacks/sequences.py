"""Random sequences of messages, good and bad, against a model of the protocol that says what each must get.

Messages of one peer are answered in order, so that after each step a `hello` is sent, and what comes before its
`welcome` is the step's answer, together with what the worker had to say meanwhile.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import zmq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from adain_style.client import protocol
from adain_style.client.jobs import StylizeJob
from adain_style.client.protocol import Header
from attacks.outcome import Outcome, Watch
from support.helpers import SMALL_REQUEST, RunningServer, random_pixels, request, works
from support.processes import wait_until
from support.raw_peer import RawPeer

COUNT = 20_000
QUALITIES = ("fast", "best", "fast")
"""Of a sequence's jobs: one has a finish, which is long enough that something may come in the midst of it."""
SLOTS = len(QUALITIES)
LONGEST = 14
END_S = 10.0
SIDE = 24
HELLO = protocol.pack("hello", client="x")
STYLES = SMALL_REQUEST.regions[0].styles
_numbers = itertools.count()


@dataclass
class Model:
    """A job as the protocol says that it is.

    Attributes:
        job: Of the best quality, or of another one.
        state: new, uploading, working, ready, over (fetched or cancelled) or failed.
        drafts: How many may still come: as often as one was asked for.
        need: Digests that the server wants, in order.
        left: Bytes of the result that have not come. digest: Of all of them.
    """

    job: StylizeJob
    state: str = "new"
    drafts: int = 0
    need: list[bytes] = field(default_factory=list)
    left: int = 0
    digest: bytes = b""
    received: bytes = b""

    @property
    def is_active(self) -> bool:
        """The server has it."""
        return self.state in ("uploading", "working", "ready")

    def gone(self) -> str:
        """What a message about a job gets that the server does not have."""
        return "UNKNOWN_JOB" if self.state == "new" else "ALREADY_DONE"


def attack(count: int) -> Outcome:
    """Play that many sequences to one server."""
    outcome = Outcome()
    played: Counter[str] = Counter()
    with RunningServer() as server:
        works(server)
        watch = Watch(server.process.pid)
        with RawPeer(server) as peer, RawPeer(server) as stranger:

            @settings(
                max_examples=count,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(st.lists(st.tuples(st.sampled_from(OFTEN), st.integers(0, SLOTS - 1)), max_size=LONGEST))
            def play(steps: list[tuple[str, int]]) -> None:
                game = Game(server, peer, stranger)
                for name, slot in steps:
                    game.play(name, slot)
                    played[name] += 1
                game.end()
                played["sequences"] += 1

            try:
                play()
            except (AssertionError, Flaky) as error:
                outcome.promise(False, "; ".join([str(error), *getattr(error, "__notes__", [])]))
            with server.client() as client:
                status = client.status()
                outcome.promise(status.worker_starts == 1, f"the worker died: {status.last_error}")
                outcome.promise(not status.last_error, status.last_error)
        # Kept layers have a descriptor each, and nobody had a reason to forget them.
        outcome.measured.append(f"I/O process: {watch.memory_grown():+.1f} MiB")
        outcome.promise(watch.memory_grown() < 64, "the I/O process grew")
        outcome.promise(works(server), "the server does not paint any more")
    outcome.measured.append(f"{played.pop('sequences'):,} sequences: {dict(played)}")
    return outcome


class Game:
    """One sequence."""

    def __init__(self, server: RunningServer, peer: RawPeer, stranger: RawPeer) -> None:
        self._server, self._peer, self._stranger = server, peer, stranger
        self._models = [self._new_model(quality) for quality in QUALITIES]

    def play(self, name: str, slot: int) -> None:
        """One step, and all of its answers."""
        model = self._models[slot]
        STEPS[name](self, model)

    def end(self) -> None:
        """Cancel what is left: then the server has no job."""
        for model in self._models:
            cancel(self, model)
            if model.state == "ready":
                done(self, model)

        def has_none() -> bool:
            self._peer.send([HELLO])
            while (header := self._peer.receive())["op"] != "welcome":
                assert header["op"] in ("progress",), header
            return bool(header["jobs"] == 0)

        assert wait_until(has_none, END_S, every_s=0.001) < END_S, "a job was left behind"

    def ask(self, model: Model, frames: list[Any], *, stranger: bool = False) -> list[Header]:
        """Send a message about a job; its answers. What the worker says meanwhile goes into the models."""
        peer = self._stranger if stranger else self._peer
        peer.send(frames)
        peer.send([HELLO])
        answers: list[Header] = []
        while True:
            try:
                header, payload = protocol.unpack(peer.socket.recv_multipart(), protocol.FROM_SERVER)
            except zmq.Again:
                state = f"exit status {self._server.process.poll()}, {self._server.text()[-2000:]}"
                raise AssertionError(f"no answer to {model.state} {frames[0]!r}: {state}") from None
            if header["op"] == "welcome":
                return answers
            if header["op"] == "progress":
                continue
            about = next((each for each in self._models if each.job.job_id == header.get("job")), None)
            assert about is not None, f"an answer about another job: {header}"
            if header["op"] == "draft":
                assert about.state == "working" and about.drafts > 0, f"nobody has asked for {header}"
                assert len(payload) == header["height"] * header["width"] * 3, header
                about.drafts -= 1
                continue
            if header["op"] == "result" and about.state == "working":
                about.state, about.digest = "ready", header["digest"]
                about.left, about.received = SIDE * SIDE * 3, b""
                continue
            if header["op"] == "grant":  # at once, because a result may follow when nothing is needed
                about.state, about.need = "uploading" if header["need"] else "working", header["need"]
            assert about is model, f"an answer about another job than the one that was asked about: {header}"
            answers.append({**header, "payload": payload, "state": model.state})

    @staticmethod
    def _new_model(quality: str) -> Model:
        layer = random_pixels(SIDE, SIDE, seed=1000 + next(_numbers))
        return Model(StylizeJob(request(layer, STYLES, quality=quality)))


def open_(game: Game, model: Model) -> None:
    """A new job, or one that is there already, or was."""
    before = model.state
    answers = game.ask(model, model.job.open()[0])
    if before == "failed" and not answers:
        model.state = "working"  # the worker was still stopping, and now goes on
    elif before in ("new", "failed", "uploading"):
        (grant,) = answers
        assert grant["op"] == "grant" and grant["chunks"] == len(grant["need"]), grant
        assert grant["need"] or before == "failed", "the layer of a new job was there already"
    elif before == "over":
        _expect(answers, "ALREADY_DONE")
    elif answers:  # its result was there
        (result,) = answers
        assert result["op"] == "result" and result["digest"] == model.digest, result
        model.left, model.received = SIDE * SIDE * 3, b""


def open_other(game: Game, model: Model) -> None:
    """The same id with other contents."""
    if model.state in ("new", "failed"):
        return
    same = model.job._request
    for changed in ({"content": random_pixels(SIDE, SIDE, seed=2)}, {"quality": "fine"}):
        job = StylizeJob(replace(same, **changed))
        job.job_id = model.job.job_id
        _expect(game.ask(model, job.open()[0]), "ALREADY_DONE" if model.state == "over" else "ID_CONFLICT")


def upload(game: Game, model: Model) -> None:
    """The next picture that is needed; or one that is not."""
    if model.state == "uploading":
        digest = model.need.pop(0)
        if not model.need:
            model.state = "working"
        data = bytes(model.job._blob(digest).data)
        answers = game.ask(model, _chunk(model, digest, 0, data))
        assert not answers, answers
        return
    _refuse_chunk(game, model, _chunk(model, b"d" * 32, 0, b"x"), "BAD_CHUNK")


def wrong_place(game: Game, model: Model) -> None:
    """A chunk that leaves a gap."""
    _refuse_chunk(game, model, _chunk(model, model.need[0] if model.need else b"d" * 32, 7, b"x"), "BAD_CHUNK")


def wrong_length(game: Game, model: Model) -> None:
    """A chunk that ends before its picture does."""
    code = "LENGTH_MISMATCH" if model.state == "uploading" else "BAD_CHUNK"
    _refuse_chunk(game, model, _chunk(model, model.need[0] if model.need else b"d" * 32, 0, b"x"), code)


def wrong_pixels(game: Game, model: Model) -> None:
    """As many bytes as there should be, but others."""
    code = "BAD_DIGEST" if model.state == "uploading" else "BAD_CHUNK"
    _refuse_chunk(
        game, model, _chunk(model, model.need[0] if model.need else b"d" * 32, 0, bytes(SIDE * SIDE * 3)), code
    )


def accept(game: Game, model: Model) -> None:
    """The picture as it is then: never answered, wherever the job is, and whether there is one."""
    _expect_nothing(game.ask(model, [protocol.pack("accept", job=model.job.job_id)]))


def draft(game: Game, model: Model) -> None:
    """The picture as it forms; it may come as long as the job is finished."""
    model.drafts += 1
    _expect_nothing(game.ask(model, [protocol.pack("draft", job=model.job.job_id)]))


def cancel(game: Game, model: Model) -> None:
    """Confirmed, unless there is a result already."""
    before = model.state
    answers = game.ask(model, model.job.cancel()[0])
    if not model.is_active:
        assert before == model.state
        _expect(answers, model.gone())
    elif answers[0]["state"] == "ready":
        _expect(answers, "ALREADY_DONE")
    else:
        (answer,) = answers
        assert answer["op"] == "cancelled", answer
        model.state = "over"


def done(game: Game, model: Model) -> None:
    """The client has what it wanted, or says so too early, which is as good as a cancel."""
    was_active = model.is_active
    answers = game.ask(model, [protocol.pack("done", job=model.job.job_id)])
    if not was_active:
        _expect(answers, model.gone())
        return
    assert not answers, answers
    model.state = "over"


def credit(game: Game, model: Model) -> None:
    """A result's next chunk; none after the last one."""
    before, left = model.state, model.left
    answers = game.ask(model, [protocol.pack("credit", job=model.job.job_id, chunks=3)])
    if not model.is_active:
        _expect(answers, model.gone())
    elif before == "ready" and not left:
        assert not answers, answers
    elif answers[0]["op"] == "chunk":
        (chunk,) = answers
        assert model.state == "ready" and chunk["offset"] == len(model.received), chunk
        model.received += chunk["payload"]
        model.left -= len(chunk["payload"])
        shape = f"{SIDE} {SIDE} RGB u8\n".encode()
        assert model.left == 0 and hashlib.sha256(shape + model.received).digest() == model.digest
    else:
        assert answers[0]["state"] != "ready", answers
        _expect(answers, "BAD_CHUNK")
        model.state = "failed"


def meddle(game: Game, model: Model) -> None:
    """Another client cancels, fetches or ends a job that is not its own."""
    for message in (
        model.job.cancel()[0],
        [protocol.pack("credit", job=model.job.job_id, chunks=1)],
        [protocol.pack("done", job=model.job.job_id)],
        _chunk(model, b"d" * 32, 0, b"x"),
    ):
        _expect(game.ask(model, message, stranger=True), "UNKNOWN_JOB" if model.is_active else model.gone())
    for op in ("accept", "draft"):
        _expect_nothing(game.ask(model, [protocol.pack(op, job=model.job.job_id)], stranger=True))


STEPS: dict[str, Callable[[Game, Model], None]] = {
    step.__name__.rstrip("_"): step
    for step in (
        open_,
        open_other,
        upload,
        wrong_place,
        wrong_length,
        wrong_pixels,
        accept,
        draft,
        cancel,
        done,
        credit,
        meddle,
    )
}
OFTEN = [*sorted(STEPS), *["open", "upload", "upload", "upload"] * 2]
"""Most sequences are to get somewhere."""


def _refuse_chunk(game: Game, model: Model, message: list[bytes], code: str) -> None:
    """A chunk that is wrong ends a job that the server has."""
    answers = game.ask(model, message)
    if model.is_active:
        _expect(answers, code)
        model.state = "failed"
    else:
        _expect(answers, model.gone())


def _chunk(model: Model, digest: bytes, offset: int, payload: bytes) -> list[bytes]:
    return [protocol.pack("chunk", job=model.job.job_id, digest=digest, offset=offset), payload]


def _expect(answers: list[Header], code: str) -> None:
    assert [answer.get("code", answer["op"]) for answer in answers] == [code], (code, answers)


def _expect_nothing(answers: list[Header]) -> None:
    assert not answers, answers
