"""Jobs in a real Krita: progress, cancel, the queue, painting meanwhile, changes meanwhile, servers that are gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hosts.host import WAIT_S
from hosts.krita import Krita
from support.helpers import SERVER_COMMAND, RunningServer
from support.processes import server_pid

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(180)]

GAP_MS = 250.0
"""The longest that Krita may not answer, on a machine with other work too; benchmarks/krita_panel.py measures."""

BEGIN = """
    from adain_style.client.choices import RegionChoice, StyleChoice
    from adain_style.host.settings import StylizeSettings
    from adain_style.krita.jobs import Stage

    def begin(stroke_size=1.0):
        shown.controller.use(StylizeSettings((RegionChoice((StyleChoice(STYLE),)),), stroke_size=stroke_size))
        shown.stylize()
        return shown._queue.jobs[-1]

    def painting():
        job = begin()
        yield from until(lambda: job.stage is Stage.PAINTING)
        return job

    def discard(job):
        row = shown._queue_view._rows[id(job)]
        row._drop.click()

    shown = panel()
    shown.hide()
    if not shown.controller.styles.known:
        shown.start_server()
        yield from until(lambda: shown.controller.styles.known)
    document, layer = picture(width, height)
    yield from settle(document)
"""
"""begin() paints a layer at the finest strokes, which takes longest."""


def _run(krita: Krita, script: str, *, side: int = 96, **values: Any) -> Any:
    return krita.run(BEGIN + script, width=side, height=side, **values)


@pytest.mark.fault(99)
def test_one_undo_takes_the_layer_away_and_redo_brings_it_back(krita: Krita) -> None:
    """With the same pixels; the layer that the user works on stays the active one."""
    before, painted, undone, redone = _run(
        krita,
        """
    states = [state(document)]
    job = begin()
    yield from until(lambda: job.is_over)
    yield from settle(document)
    states.append(state(document))
    yield from undo(document)
    states.append(state(document))
    yield from redo(document)
    return [*states, state(document)]
    """,
    )
    assert undone["layers"] == before["layers"] and redone["layers"] == painted["layers"]
    assert [layer["name"] for layer in painted["layers"]] == ["Photograph", "The Great Wave off Kanagawa, about 1831"]
    assert painted["layers"][0] == before["layers"][0] and painted["active"] == before["active"]


def test_second_result_lies_above_the_first_and_is_what_is_seen(krita: Krita) -> None:
    """Of the same source; the result of a result lies above that one, and the message names the new layer."""
    names, wrong, second, said = _run(
        krita,
        """
    from adain_style.krita import panel as panel_module
    said = []
    tell, panel_module._tell = panel_module._tell, said.append
    def paint(style):
        shown.controller.use(StylizeSettings((RegionChoice((StyleChoice(style),)),), stroke_size=1.0))
        shown.stylize()
        job = shown._queue.jobs[-1]
        yield from until(lambda: job.is_over)
        yield from settle(document)
    try:
        yield from paint(STYLE)
        yield from paint("space-sun")
        newest = document.topLevelNodes()[-1]
        canvas, pixels = (bytes(it.pixelData(0, 0, width, height)) for it in (document, newest))
        # Where the layer lets nothing through; it has transparent parts as well.
        opaque = [at for at in range(0, len(pixels), 4) if pixels[at + 3] == 255]
        wrong = max(abs(canvas[at + c] - pixels[at + c]) for at in opaque for c in range(3))
        document.setActiveNode(document.topLevelNodes()[1])
        yield from settle(document)
        yield from paint("renoir-piano")
    finally:
        panel_module._tell = tell
    return [node.name() for node in document.topLevelNodes()], [wrong, len(opaque)], newest.name(), said
    """,
    )
    assert names[0] == "Photograph" and names[1] == "The Great Wave off Kanagawa, about 1831"
    assert names.index(second) == 3 and len(names) == 4
    assert wrong[0] <= 1 and wrong[1] > 1000
    assert said[:2] == [f"Photograph was painted; the new layer is {name}" for name in (names[1], names[3])]
    assert said[2] == f"{names[1]} was painted; the new layer is {names[2]}"


@pytest.mark.fault(96)
def test_progress_is_shown_and_a_running_job_is_cancelled(krita: Krita) -> None:
    """The bar moves with the server's words; the button of its row ends the job, and nothing is changed."""
    unchanged, shares, texts, rows, seconds = _run(
        krita,
        """
    shown.show()
    before = state(document)
    job = begin()
    shares, texts = [], []
    def seen():
        row = shown._queue_view._rows[id(job)]
        if row._bar.value() not in shares:
            shares.append(row._bar.value())
            texts.append(row._bar.text())
        return job.share > 0.2
    yield from until(seen)
    begun = time.perf_counter()
    shown._queue_view._rows[id(job)]._cancel.click()
    yield from until(lambda: not shown._queue.jobs)
    seconds = time.perf_counter() - begun
    yield from settle(document)
    rows = len(shown._queue_view._rows)
    return before == state(document), shares, texts, rows, seconds
    """,
        side=1500,
    )
    assert unchanged and rows == 0 and seconds < 5
    assert len(shares) > 2 and shares == sorted(shares), texts


def test_jobs_wait_for_each_other_and_one_that_waits_is_cancelled(krita: Krita) -> None:
    """Of three the second one is taken out; the others end, each in its own document."""
    stages, counts = _run(
        krita,
        """
    first = begin()
    second = begin()
    other, layer = picture(120, 80)
    third = begin()
    stages = [job.stage.value for job in (first, second, third)]
    shown._queue_view._rows[id(second)]._cancel.click()
    yield from until(lambda: first.is_over and third.is_over)
    yield from settle(other)
    return stages, [len(shown._queue.jobs), len(document.topLevelNodes()), len(other.topLevelNodes())]
    """,
        side=500,
    )
    assert stages[1:] == ["waiting", "waiting"] and counts == [0, 2, 2]


@pytest.mark.fault(101)
def test_user_paints_on_another_layer_while_a_job_runs(krita: Krita) -> None:
    """Strokes of the mouse land; Krita answers all the time, but for the moment of Krita's own work for a new layer."""
    landed, names, gaps = _run(
        krita,
        """
    sketch = add_layer(document, "Sketch", 64, 64)
    yield from settle(document)
    document.setActiveNode(layer)
    watch, now = Gaps(), "reading"
    gaps = {}
    job = begin(8.0)
    document.setActiveNode(sketch)
    def note(name):
        nonlocal watch, now
        gaps[now] = max(gaps.get(now, 0.0), watch.stop())
        watch, now = Gaps(), name
    queue, set_stage, insert = shown._queue, shown._queue._set_stage, shown._queue._insert
    def enter(job, stage, text):
        if now != "inserting":
            note(stage.value)
        set_stage(job, stage, text)
    def begin_to_insert(job):
        note("inserting")
        insert(job)
    queue._set_stage, queue._insert = enter, begin_to_insert
    before = look(sketch)["pixels"]
    for step in range(200):
        yield from draw((0.45, 0.4 + step % 5 / 20), (0.5, 0.45), (0.55, 0.4))
        if job.stage in (Stage.DONE, Stage.FAILED):
            break
    note("")
    del queue._set_stage, queue._insert
    return before != look(sketch)["pixels"], [node.name() for node in document.topLevelNodes()], gaps
    """,
        side=2048,
    )
    print("gaps in ms:", {stage: round(gap) for stage, gap in gaps.items()})
    assert landed and len(names) == 3
    assert {"reading", "painting", "writing"} <= gaps.keys()
    assert max(gap for stage, gap in gaps.items() if stage != "inserting") < GAP_MS, gaps


CHANGES = {
    "painted": ("layer.setPixelData(bytes(4 * 100), 5, 5, 10, 10)", "The layer 'Photograph' was changed meanwhile."),
    "moved": ("layer.move(7, 3)", "The layer 'Photograph' was changed meanwhile."),
    "deleted": ("layer.remove()", "The layer 'Photograph' was deleted meanwhile."),
    "resized": (
        "document.resizeImage(0, 0, 200, 150)",
        "The document was resized meanwhile, so the painted layer may not fit any more.",
    ),
}


@pytest.mark.fault(98)
@pytest.mark.parametrize("change", CHANGES)
def test_change_meanwhile_is_a_question(krita: Krita, change: str) -> None:
    """Nothing is inserted unasked; one button inserts all the same, the other one forgets."""
    script, sentence = CHANGES[change]
    found = _run(
        krita,
        """
    add_layer(document, "Below", 20, 20)
    yield from settle(document)
    found = []
    for answer in ("_keep", "_drop"):
        document.setActiveNode(layer)
        job = yield from painting()
        exec(change)
        document.refreshProjection()
        yield from until(lambda: job.is_over)
        yield from settle(document)
        row = shown._queue_view._rows[id(job)]
        found.append((row._sentence.text(), row._keep.text(), len(document.topLevelNodes())))
        getattr(row, answer).click()
        yield from until(lambda: not shown._queue.jobs)
        yield from settle(document)
        found.append(len(document.topLevelNodes()))
        if once:
            break
        change = change.replace("7, 3", "9, 9").replace("200", "180").replace("5, 5", "30, 9")
    return found
    """,
        change=script,
        once=change == "deleted",
    )
    left = 1 if change == "deleted" else 2
    assert found[:2] == [(sentence, "Insert all the same", left), left + 1]
    assert found[2:] in ([], [(sentence, "Insert all the same", 3), 3])


@pytest.mark.fault(98)
def test_document_that_is_closed_meanwhile_is_opened_as_a_new_one(krita: Krita) -> None:
    """Or forgotten: the user is asked."""
    found, opened = _run(
        krita,
        """
    found = []
    for answer in ("_drop", "_keep"):
        closed, layer = picture(64, 48)
        yield from settle(closed)
        job = yield from painting()
        closed.setModified(False)
        closed.close()
        yield from until(lambda: job.is_over)
        row = shown._queue_view._rows[id(job)]
        found.append((job.sentence, row._keep.text(), len(Krita.instance().documents())))
        getattr(row, answer).click()
        yield from until(lambda: not shown._queue.jobs)
        yield 0.2
        found.append(len(Krita.instance().documents()))
    new = Krita.instance().activeDocument()
    yield from settle(new)
    return found, (new.width(), new.height(), [(node.name(), look(node)["bounds"]) for node in new.topLevelNodes()])
    """,
    )
    sentence = "The document was closed meanwhile. The painted layer can be opened as a new document."
    question = (sentence, "Open as a new document", 2)  # the one that the layer waits in is shown to nobody
    assert found == [question, 1, question, 2]
    name = "The Great Wave off Kanagawa, about 1831"
    assert opened[:2] == (64, 48) and (name, (0, 0, 64, 48)) in opened[2]


def test_job_ends_although_the_panel_was_closed(krita: Krita) -> None:
    """A closed panel looks at nothing, but its jobs go on."""
    names = _run(
        krita,
        """
    shown.show()
    job = begin()
    shown.close()
    yield from until(lambda: job.is_over)
    yield from settle(document)
    return [node.name() for node in document.topLevelNodes()]
    """,
    )
    assert len(names) == 2


@pytest.mark.fault(96)
@pytest.mark.parametrize("step", ["new_layer", "write_steps", "find_node"])
def test_insertion_that_fails_is_a_sentence_and_leaves_the_document(krita: Krita, step: str) -> None:
    """A mistake of ours, or what Krita refuses, after the result has come; the same job is painted when it is gone."""
    unchanged, sentence, names = _run(
        krita,
        """
    from adain_style.krita import jobs

    def fail(*_arguments):
        if job is None or job.stage in (Stage.WAITING, Stage.READING):
            return kept(*_arguments)
        raise RuntimeError("no room for it")

    before, kept, job = state(document), getattr(jobs, step), None
    setattr(jobs, step, fail)
    try:
        job = begin()
        yield from until(lambda: job.is_over)
    finally:
        setattr(jobs, step, kept)
    yield from settle(document)
    unchanged, sentence = before == state(document), job.sentence
    shown._queue_view._rows[id(job)]._again.click()
    yield from until(lambda: not shown._queue.jobs)
    yield from settle(document)
    return unchanged, sentence, [node.name() for node in document.topLevelNodes()]
    """,
        step=step,
    )
    assert unchanged and "no room for it" in sentence and sentence.endswith("; nothing was changed.")
    assert len(names) == 2


def _write_command(krita: Krita, line: str) -> None:
    krita.server_command.write_text(f"#!/bin/sh\n{line}\n")
    krita.server_command.chmod(0o700)


@pytest.fixture
def startable(krita: Krita) -> Iterator[Krita]:
    """A Krita whose plug-in can start a server; that one is ended after the test."""
    command = krita.installation.outside(*SERVER_COMMAND, "--device", "cpu")
    _write_command(krita, f'exec {" ".join(command)} "$@"')
    yield krita
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = server_pid(krita.connection_file)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + WAIT_S
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline, "the process did not end"
            time.sleep(0.05)


@pytest.mark.fault(96)
def test_server_killed_while_it_paints_is_said_and_another_one_paints(
    startable: Krita, own_server: RunningServer
) -> None:
    """The row has the sentence and Try again, which starts a server and paints; nothing was inserted before."""
    startable.use(own_server)
    startable.log.write_text("")
    startable.start(
        BEGIN
        + """
    shown.start_server()
    yield from until(lambda: shown._wants_server is False)
    shown.show()
    unchanged = state(document)
    job = begin()
    yield from until(lambda: job.is_over)
    yield from settle(document)
    unchanged = unchanged == state(document)
    row = shown._queue_view._rows[id(job)]
    buttons = row._again.isVisible(), row._drop.isVisible(), row._keep.isVisible()
    sentence, before = row._sentence.text(), len(document.topLevelNodes())
    row._again.click()
    yield from until(lambda: not shown._queue.jobs, 50)
    yield from settle(document)
    return unchanged, sentence, buttons, before, len(document.topLevelNodes())
    """,
        width=700,
        height=700,
    )
    startable.logged("painting encode")
    own_server.process.kill()
    own_server.process.wait()
    unchanged, sentence, buttons, before, after = startable.result()
    assert unchanged and "The AdaIN server stopped answering" in sentence and buttons == (True, True, False)
    assert (before, after) == (1, 2)
    assert server_pid(startable.connection_file) != own_server.process.pid


def test_no_server_and_none_to_start_is_a_sentence(krita: Krita) -> None:
    """In the panel, when it is shown, and in the row of a picture that was to be painted."""
    krita.use(None)
    said, failed, state_text = _run(
        krita,
        """
    session = shown.controller.session()
    shown.show()
    shown.present()
    yield from until(lambda: "cannot be started" in shown._sentence.text() and shown._message.isVisible(), 10)
    said = shown._sentence.text(), shown._try_again.isVisible()
    job = begin()
    yield from until(lambda: job.is_over)
    failed = job.sentence
    discard(job)
    return said, failed, (shown._state.text(), shown._start.isVisible())
    """,
    )
    assert said[0].startswith("The AdaIN server cannot be started: ") and said[1]
    assert failed == said[0] and state_text == ("No server", True)


def test_server_that_has_ended_is_started_by_the_next_slider(startable: Krita, own_server: RunningServer) -> None:
    """It ends by itself when nobody works, and tells nobody: the next preview brings it back without a click."""
    startable.use(own_server)
    _run(
        startable,
        """
    from adain_style.host import session
    kept, session.UNHEARD_S = session.UNHEARD_S, 0.1
    try:
        shown.show()
        shown.start_server()
        shown.controller.use(StylizeSettings((RegionChoice((StyleChoice(STYLE),)),), quality="fast"))
        yield 0.5
        first = yield from previewed(96)
        os.kill(pid, 15)
        yield from until(lambda: not os.path.exists(connection))
        yield 0.2
        shown.controls._alpha.field.setValue(50)
        yield from previewed(96, first)
    finally:
        session.UNHEARD_S = kept
    """,
        pid=own_server.process.pid,
        connection=str(own_server.connection_file),
    )
    assert server_pid(startable.connection_file) != own_server.process.pid
