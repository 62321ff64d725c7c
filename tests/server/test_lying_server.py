"""A client and a window's session against a server that lies: a sentence, or the right result, and never a wait."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import msgpack
import pytest

from adain_style.client import client as client_module
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.errors import AdainError, CancelledError, ProtocolError, RequestError, ServerUnavailableError
from adain_style.client.jobs import Draft, Message, Progress, StyleInfo, StylizeRequest, StylizeResult
from adain_style.client.progress import TimeLeft, fraction
from adain_style.client.protocol import CHUNK_BYTES, pack
from support.helpers import random_pixels, request
from support.lying_server import STYLE, Answer, Lie, LyingServer, truth, welcome

HEIGHT, WIDTH = 600, 700
WANTED = request(random_pixels(HEIGHT, WIDTH), [(STYLE.name, 1.0)])
"""Its result is two parts, the second one shorter."""
SOON_S = 3.0


LIES: dict[str, tuple[Lie, str]] = {
    "one row more": (lambda answer: [answer.result(height=HEIGHT + 1), *answer.chunks()], "LENGTH_MISMATCH"),
    "lying on its side": (lambda answer: [answer.result(height=WIDTH, width=HEIGHT)], "LENGTH_MISMATCH"),
    "more than any memory": (lambda answer: [answer.result(height=2**53, width=2**53)], "LENGTH_MISMATCH"),
    "no pixel": (lambda answer: [answer.result(height=0, width=0)], "LENGTH_MISMATCH"),
    "part that nothing announces": (lambda answer: [answer.chunk(0)], "BAD_CHUNK"),
    "first part is missing": (lambda answer: [answer.result(), answer.chunk(CHUNK_BYTES)], "BAD_CHUNK"),
    "first part comes twice": (lambda answer: [answer.result(), *[answer.chunk(0)] * 2], "BAD_CHUNK"),
    "parts overlap": (
        lambda answer: [answer.result(), answer.chunk(0), answer.chunk(CHUNK_BYTES - 1)],
        "BAD_CHUNK",
    ),
    "offset beyond the end": (lambda answer: [answer.result(), answer.chunk(0, offset=2**53)], "BAD_CHUNK"),
    "last part is too long": (
        lambda answer: [answer.result(), answer.chunk(0), answer.chunk(CHUNK_BYTES, bytes(CHUNK_BYTES))],
        "BAD_CHUNK",
    ),
    "other digest": (lambda answer: [answer.result(digest=b"?" * 32), *answer.chunks()], "BAD_DIGEST"),
    "digest without the shape": (
        lambda answer: [answer.result(digest=hashlib.sha256(answer.pixels).digest()), *answer.chunks()],
        "BAD_DIGEST",
    ),
    "one other bit": (
        lambda answer: [answer.result(), answer.chunk(0, answer.flipped[:CHUNK_BYTES]), answer.chunk(CHUNK_BYTES)],
        "BAD_DIGEST",
    ),
    "not msgpack": (lambda _answer: [[b"\xc1garbage"]], "BAD_HEADER"),
    "empty": (lambda _answer: [[b""]], "BAD_HEADER"),
    "later version": (lambda _answer: [[msgpack.packb({"v": 2, "op": "result"})]], "UNSUPPORTED_VERSION"),
    "no operation of a server": (lambda answer: [[pack("open", job=answer.job)]], "UNKNOWN_OP"),
    "another type": (lambda answer: [answer.result(height="600")], "BAD_FIELD"),
    "field that nobody knows": (lambda answer: [answer.result(path="/etc/passwd")], "BAD_FIELD"),
    "part without a payload": (lambda answer: [answer.chunk(0)[:1]], "BAD_ENVELOPE"),
    "three frames": (lambda answer: [[*answer.chunk(0), b"x"]], "BAD_ENVELOPE"),
    "draft that nobody asked for": (lambda answer: [answer.draft(), *answer.truth()], "BAD_CHUNK"),
    "asks for pixels of nobody": (
        lambda answer: [[pack("grant", job=answer.job, need=[b"?" * 32], chunks=1)]],
        "BAD_FIELD",
    ),
}


def _is_sentence(error: AdainError) -> bool:
    text = str(error)
    return text.endswith(".") and len(text) > 20 and "\n" not in text


@pytest.fixture
def liar() -> Iterator[LyingServer]:
    """Honest, until a test says something else."""
    with LyingServer() as lying:
        yield lying


@pytest.fixture
def client(liar: LyingServer) -> Iterator[Client]:
    """A client of it."""
    with liar.client() as connected:
        yield connected


def _is_of(result: StylizeResult, colour: int) -> bool:
    return bytes(result.pixels.data) == bytes([colour]) * (HEIGHT * WIDTH * 3)


def _right(client: Client, colour: int) -> bool:
    """The next job gets the result that is its own."""
    return _is_of(client.stylize(WANTED), colour)


@pytest.mark.fault(97)
@pytest.mark.parametrize(("lie", "code"), LIES.values(), ids=LIES.keys())
def test_lie_is_a_typed_error_and_the_next_job_gets_its_own_result(
    liar: LyingServer, client: Client, lie: Lie, code: str
) -> None:
    """At once, with a sentence; what the lie has left on the connection does not reach the next job."""
    liar.lie = lie
    begun = time.monotonic()
    with pytest.raises(ProtocolError) as caught:
        client.stylize(WANTED)
    assert time.monotonic() - begun < SOON_S
    assert caught.value.code == code and _is_sentence(caught.value)
    liar.lie = truth
    assert _right(client, 78)


@pytest.mark.fault(45, 97)
def test_damaged_result_is_worth_another_try(liar: LyingServer, client: Client) -> None:
    """The error says so, as the protocol does; of a result of another size it says the reverse."""
    for name, worth in (("one other bit", True), ("one row more", False)):
        liar.lie, code = LIES[name]
        with pytest.raises(ProtocolError) as caught:
            client.stylize(WANTED)
        assert caught.value.retryable is worth is protocol.ERRORS[code]
    liar.lie = truth
    assert _right(client, 79)


FINISHED = replace(WANTED, quality="best")
FALSE_DRAFTS: dict[str, tuple[Lie, str]] = {
    "one byte short": (lambda answer: [answer.draft(payload=bytes(35))], "LENGTH_MISMATCH"),
    "one byte too many": (lambda answer: [answer.draft(payload=bytes(37))], "LENGTH_MISMATCH"),
    "with alpha": (lambda answer: [answer.draft(payload=bytes(3 * 4 * 4))], "LENGTH_MISMATCH"),
    "no row": (lambda answer: [answer.draft(payload=bytes(12), height=0)], "LENGTH_MISMATCH"),
    "no pixel": (lambda answer: [answer.draft(height=0, width=0, payload=b"x")], "LENGTH_MISMATCH"),
    "a column too many": (lambda answer: [answer.draft(1, protocol.MAX_DRAFT_SIDE + 1)], "LENGTH_MISMATCH"),
    "a row too many": (lambda answer: [answer.draft(protocol.MAX_DRAFT_SIDE + 1, 1)], "LENGTH_MISMATCH"),
    "more than any memory": (
        lambda answer: [answer.draft(payload=b"x", height=2**53, width=2**53)],
        "LENGTH_MISMATCH",
    ),
    "without pixels": (lambda answer: [answer.draft()[:1]], "BAD_ENVELOPE"),
    "empty": (lambda answer: [answer.draft(payload=b"")], "BAD_ENVELOPE"),
    "fewer steps than none": (lambda answer: [answer.draft(step=-1)], "BAD_FIELD"),
    "field that nobody knows": (lambda answer: [answer.draft(path="/etc/passwd")], "BAD_FIELD"),
}


@pytest.mark.fault(97)
@pytest.mark.parametrize(("lie", "code"), FALSE_DRAFTS.values(), ids=FALSE_DRAFTS.keys())
def test_false_draft_is_a_typed_error_and_the_next_job_gets_its_own_result(
    liar: LyingServer, client: Client, lie: Lie, code: str
) -> None:
    """A host would draw what it is given: nothing of such a draft reaches it."""
    shown: list[Draft] = []
    liar.lie = lambda answer: [*lie(answer), *answer.truth()]
    with pytest.raises(ProtocolError) as caught:
        client.stylize(FINISHED, on_draft=shown.append)
    assert caught.value.code == code and _is_sentence(caught.value) and not shown
    liar.lie = truth
    assert _right(client, 78)


@pytest.mark.fault(97)
@pytest.mark.parametrize("wanted", [WANTED, replace(WANTED, quality="fine")], ids=["fast", "fine"])
def test_draft_of_what_has_no_finish_is_a_typed_error(
    liar: LyingServer, client: Client, wanted: StylizeRequest
) -> None:
    """It is not asked for, although somebody would look at it; nor is one when nobody would."""
    liar.lie = LIES["draft that nobody asked for"][0]
    for request_, on_draft in ((wanted, lambda _draft: None), (FINISHED, None)):
        with pytest.raises(ProtocolError, match="nobody had asked") as caught:
            client.stylize(request_, on_draft=on_draft)
        assert caught.value.code == "BAD_CHUNK"
    assert "draft" not in liar.heard


@pytest.mark.fault(102)
def test_drafts_of_another_job_are_not_shown(liar: LyingServer, client: Client) -> None:
    """Those of the job before, and of none; the job's own are, and its result comes."""
    shown: list[Draft] = []
    client.stylize(FINISHED)
    liar.lie = lambda answer: [
        answer.before.draft(),
        answer.draft(job=b"?" * 16),
        answer.draft(step=2),
        answer.before.draft(payload=b"short"),
        answer.draft(protocol.MAX_DRAFT_SIDE, protocol.MAX_DRAFT_SIDE, step=3),
        *answer.truth(),
    ]
    assert _is_of(client.stylize(FINISHED, on_draft=shown.append), 78)
    assert [draft.step for draft in shown] == [2, 3]
    assert all(set(bytes(draft.pixels.data)) == {78} for draft in shown)


STRAYS: dict[str, Lie] = {
    "of another job": lambda answer: [
        answer.result(job=b"?" * 16),
        *[answer.chunk(offset, job=b"?" * 16) for offset in (0, CHUNK_BYTES)],
        *answer.truth(),
    ],
    "of the job before": lambda answer: [*answer.before.truth(), *answer.truth()],
    "of the job before, between the parts": lambda answer: [
        answer.result(),
        answer.before.result(),
        answer.chunk(0),
        *answer.before.chunks(),
        answer.chunk(CHUNK_BYTES),
    ],
    "errors and ends of the job before": lambda answer: [
        [pack("cancelled", job=answer.before.job)],
        [pack("error", job=answer.before.job, code="INTERNAL", message="Over.", retryable=False)],
        [pack("grant", job=answer.before.job, need=[b"?" * 32], chunks=1)],
        *answer.truth(),
    ],
    "answers that nobody has asked for": lambda answer: [
        [pack("stopping")],
        [pack("swatch", name="hokusai-great-wave"), b"JPEG"],
        welcome(boot=b"?" * 16),
        *answer.truth(),
    ],
}


@pytest.mark.fault(102)
@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS.keys())
def test_what_belongs_to_another_job_is_ignored(liar: LyingServer, client: Client, stray: Lie) -> None:
    """And the right result comes, which has another colour."""
    assert _right(client, 77)
    liar.lie = stray
    assert _right(client, 78)


@pytest.mark.fault(97, 102)
def test_result_of_the_job_before_under_the_new_id_is_refused(liar: LyingServer, client: Client) -> None:
    """Pixels that do not have the digest of what was announced, and those of a picture of another size."""
    client.stylize(request(random_pixels(50, 40), [(STYLE.name, 1.0)]))
    liar.lie = lambda answer: [
        answer.result(height=answer.before.blob["height"], width=answer.before.blob["width"]),
        answer.chunk(0, answer.before.pixels),
    ]
    with pytest.raises(ProtocolError, match="another size"):
        client.stylize(WANTED)
    liar.lie = lambda answer: [
        answer.result(),
        *[answer.chunk(offset, answer.before.chunk(offset)[1]) for offset in (0, CHUNK_BYTES)],
    ]
    with pytest.raises(ProtocolError, match="damaged") as caught:
        client.stylize(WANTED)
    assert caught.value.code == "BAD_DIGEST"


@pytest.mark.fault(61, 102)
def test_half_a_result_of_a_server_before_is_dropped(
    liar: LyingServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server dies between two parts; the one that starts in its place gets the job again, and sends it whole."""
    monkeypatch.setattr(client_module, "HELLO_EVERY_S", 0.2)
    restarted: list[float] = []

    def restart(progress: Progress) -> None:
        if progress.stage == "download" and not restarted:
            restarted.append(fraction(progress))
            liar.restart(truth)

    liar.lie = lambda answer: answer.truth()[:2]
    result = client.stylize(WANTED, on_progress=restart)
    assert restarted and liar.heard.count("open") == 2 and _is_of(result, 78)


@pytest.mark.fault(61)
def test_restarted_server_hears_again_that_the_picture_is_accepted_and_looked_at(
    liar: LyingServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies during the finish; the one that starts in its place knows nothing of what was said before."""
    monkeypatch.setattr(client_module, "HELLO_EVERY_S", 0.2)

    said_before: list[str] = []

    def restart() -> bool:
        if "accept" in liar.heard and not said_before:
            said_before[:] = liar.heard
            liar.restart(truth)
        return False

    liar.lie = lambda answer: [[pack("progress", job=answer.job, stage="finish", step=1, steps=25)]]
    result = client.stylize(
        FINISHED, accepted=lambda: "chunk" in liar.heard, on_draft=lambda _draft: None, cancelled=restart
    )
    assert _is_of(result, 78)
    again = liar.heard[len(said_before) :]
    assert again[again.index("open") :][:3] == ["open", "draft", "accept"]


@pytest.mark.fault(97)
@pytest.mark.parametrize("moment", ["hello", "result"])
def test_server_that_falls_silent_is_a_sentence_in_time(
    liar: LyingServer, client: Client, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It is still connected, and reads; before the job and in the middle of its result."""
    monkeypatch.setattr(client_module, "SILENCE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(client_module, "HELLO_TIMEOUT_S", 1.0)
    monkeypatch.setattr(client_module, "HELLO_EVERY_S", 0.2)

    def silent(answer: Answer) -> Iterator[Message]:
        yield answer.result()
        liar.fall_silent()
        yield answer.chunk(0)

    liar.lie = silent
    if moment == "hello":
        liar.fall_silent()
    begun = time.monotonic()
    with pytest.raises(ServerUnavailableError) as caught:
        client.stylize(WANTED)
    assert time.monotonic() - begun < 2 * SOON_S and _is_sentence(caught.value)


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    "lie",
    [lambda answer: answer.truth()[:2], lambda answer: [answer.result()], lambda _answer: []],
    ids=["last part", "all parts", "everything"],
)
def test_missing_end_is_a_sentence_although_the_server_answers(
    liar: LyingServer, client: Client, monkeypatch: pytest.MonkeyPatch, lie: Lie
) -> None:
    """A server that says hello and never the rest is not asked for ever."""
    monkeypatch.setattr(client_module, "HELLO_EVERY_S", 0.1)
    monkeypatch.setattr(client_module, "JOB_SILENCE_TIMEOUT_S", 1.0)
    liar.lie = lie
    with pytest.raises(AdainError) as caught:
        client.stylize(WANTED)
    assert not isinstance(caught.value, CancelledError) and _is_sentence(caught.value)
    liar.lie = truth
    assert len(client.stylize(WANTED).pixels.data) == HEIGHT * WIDTH * 3


@pytest.mark.fault(97, 102)
def test_results_of_other_jobs_do_not_keep_a_forgotten_one_alive(
    liar: LyingServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the server says of others, it has said nothing of this one."""
    monkeypatch.setattr(client_module, "HELLO_EVERY_S", 0.1)
    monkeypatch.setattr(client_module, "JOB_SILENCE_TIMEOUT_S", 1.0)
    over = threading.Event()

    def endless(answer: Answer) -> Iterator[Message]:
        while not over.wait(0.05):
            yield answer.result(job=b"?" * 16)

    liar.lie = endless
    begun = time.monotonic()
    try:
        with pytest.raises(ServerUnavailableError) as caught:
            client.stylize(WANTED)
    finally:
        over.set()
    assert time.monotonic() - begun < SOON_S and _is_sentence(caught.value)


@pytest.mark.fault(97)
def test_frame_above_the_limit_is_a_sentence_and_a_new_connection_works(
    liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never taken: the connection ends."""
    monkeypatch.setattr(client_module, "SILENCE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(client_module, "SEND_TIMEOUT_MS", 100)
    liar.lie = lambda answer: [answer.result(), answer.chunk(0, bytes(CHUNK_BYTES + 1))]
    with liar.client() as client, pytest.raises(AdainError) as caught:
        client.stylize(WANTED)
    assert _is_sentence(caught.value)
    liar.lie = truth
    with liar.client() as client:
        assert len(client.stylize(WANTED).pixels.data) == HEIGHT * WIDTH * 3


@pytest.mark.fault(97)
def test_end_that_nobody_has_asked_for_is_no_cancel(liar: LyingServer, client: Client) -> None:
    """A window forgets what its user has cancelled, and this has to be told; of a preview it is the protocol."""
    liar.lie = lambda answer: [[pack("cancelled", job=answer.job)]]
    with pytest.raises(RequestError) as caught:
        client.stylize(WANTED)
    assert _is_sentence(caught.value) and caught.value.retryable
    liar.previews = liar.lie
    with pytest.raises(CancelledError):
        client.stylize(request(WANTED.content, WANTED.regions[0].styles, preview=64))


@pytest.mark.fault(97)
@pytest.mark.parametrize("code", ["NONSENSE", "ALREADY_DONE"])
def test_error_without_a_word_gets_a_sentence(liar: LyingServer, client: Client, code: str) -> None:
    """With the code that the server gave, whatever that is; the one after a cancel, too, when there was none."""
    liar.lie = lambda answer: [[pack("error", job=answer.job, code=code, message="", retryable=False)]]
    with pytest.raises(RequestError) as caught:
        client.stylize(WANTED)
    assert caught.value.code == code and _is_sentence(caught.value) and code in str(caught.value)


@pytest.mark.fault(97)
@pytest.mark.parametrize(("step", "steps"), [(2**53, 1), (2**53, 2**53), (7, 0), (0, 0)])
def test_progress_beyond_its_end_stays_on_the_bar(liar: LyingServer, client: Client, step: int, steps: int) -> None:
    """Hosts' bars take no more than their end; words for it are found, too."""
    seen: list[Progress] = []

    def beyond(answer: Answer) -> Iterator[Message]:
        for stage in ("decode", "?", "upload"):
            yield [pack("progress", job=answer.job, stage=stage, step=step, steps=steps)]
        yield from answer.truth()

    liar.lie = beyond
    client.stylize(WANTED, on_progress=seen.append)
    assert any((progress.stage, progress.step) == ("decode", step) for progress in seen)
    assert all(0 <= fraction(progress) <= 1 for progress in seen) and all(map(TimeLeft().text, seen))


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    "answer",
    [
        welcome(jobs=-1),
        welcome(finish_s_per_megapixel=float("nan")),
        welcome(finish_s_per_megapixel="soon"),
        [b"\xc1"],
        [pack("hello", client="me")],
    ],
)
def test_wrong_welcome_is_a_sentence(answer: Message) -> None:
    """Of a program that is no server of ours."""
    with LyingServer(hello=answer) as other, other.client() as client, pytest.raises(ProtocolError) as caught:
        client.hello()
    assert _is_sentence(caught.value)


@pytest.mark.parametrize(("said", "known"), [({}, 0.0), ({"finish_s_per_megapixel": 12.5}, 12.5)], ids=["not", "said"])
def test_welcome_may_leave_out_how_long_a_finish_takes(said: dict[str, float], known: float) -> None:
    """Then it is not known."""
    with LyingServer(hello=welcome(**said)) as other, other.client() as client:
        assert client.hello().finish_s_per_megapixel == known


@pytest.mark.fault(102)
def test_late_answer_to_an_earlier_question_is_not_taken_for_this_ones(liar: LyingServer, client: Client) -> None:
    """A swatch of another style, and another part of the list."""
    other = StyleInfo("other", "Other", "", "", "", False)
    liar.also = [
        [pack("swatch", name="other"), b"other"],
        [pack("styles", first=1, total=2, styles=[vars(other)])],
    ]
    assert client.styles() == [STYLE]
    liar.swatches = {"hokusai-great-wave": b"wave"}
    assert client.swatch("hokusai-great-wave") == b"wave"


@pytest.mark.fault(97)
def test_list_without_an_end_is_a_sentence(liar: LyingServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that always has one more."""
    monkeypatch.setattr(client_module, "MAX_LISTED", 100)
    liar.total = 2**53
    with pytest.raises(ProtocolError) as caught:
        client.styles()
    assert _is_sentence(caught.value)
