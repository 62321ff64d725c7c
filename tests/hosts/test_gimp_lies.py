"""Servers that lie to a real GIMP: not a pixel is changed and the user is told, or the right result comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.gimp import Gimp, samples
from hosts.lies import LIES, before_and_truth, break_off, others_and_truth
from support.lying_server import Lie, LyingServer

pytestmark = pytest.mark.hosts

OUTPUTS = ("new-layer", "in-place")
PAINT = """
    image, layer = picture(width, height, alpha=True)
    before = state(image)
    status = paint(layer, output=output)
    return status, before, state(image)
"""


@pytest.fixture
def liar(gimp: Gimp) -> Iterator[LyingServer]:
    """Honest, until a test says something else; GIMP's plug-in finds it."""
    with LyingServer() as lying:
        gimp.use(lying)
        yield lying


def _paint(gimp: Gimp, output: str, width: int = 96, height: int = 72) -> tuple[tuple[str, str], Any, Any]:
    """Status and sentence, and the image before and after."""
    status, before, after = gimp.run(PAINT, output=output, width=width, height=height)
    return status, before, after


def _refused(found: tuple[tuple[str, str], Any, Any]) -> str:
    """The sentence of a run that has changed nothing: no pixel, no layer, no undo step."""
    (status, sentence), before, after = found
    assert status == "execution-error" and before == after and after["clean"]
    return sentence


def _colours(found: tuple[tuple[str, str], Any, Any]) -> set[int]:
    """The colours of the layer that was painted, or is new."""
    status, before, after = found
    assert status == ("success", "success") and before["layers"] != after["layers"]
    assert after["layers"][1:] in ([], before["layers"])
    return set(samples(after["layers"][0]).flat)


@pytest.mark.fault(96, 97)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("lie", "sentence"), LIES.values(), ids=LIES.keys())
def test_lie_changes_nothing_and_is_said(gimp: Gimp, liar: LyingServer, lie: Lie, sentence: str, output: str) -> None:
    """The error's sentence; the next result is right."""
    liar.lie = lie
    assert sentence in _refused(_paint(gimp, output))
    liar.lie = lambda answer: answer.truth()
    assert _colours(_paint(gimp, output)) == {78}


@pytest.mark.fault(96, 97)
@pytest.mark.parametrize("output", OUTPUTS)
def test_result_that_breaks_off_changes_nothing_and_is_said(gimp: Gimp, liar: LyingServer, output: str) -> None:
    """The first of two parts has come when the server falls silent."""
    break_off(liar)
    found = _paint(gimp, output, 600, 500)
    assert _refused(found) == "The AdaIN server stopped answering; try again."
    assert liar.heard.count("chunk") == 2


@pytest.mark.fault(102)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("stray", [before_and_truth, others_and_truth])
def test_result_of_another_job_is_ignored(gimp: Gimp, liar: LyingServer, stray: Lie, output: str) -> None:
    """What GIMP shows is all of this job's colour, with its alpha."""
    assert _colours(_paint(gimp, output)) == {77}
    liar.lie = stray
    assert _colours(_paint(gimp, output)) == {78}


@pytest.mark.fault(97, 102)
def test_pixels_of_the_job_before_are_no_result(gimp: Gimp, liar: LyingServer) -> None:
    """Sent under the new job's id, as its own."""
    assert _colours(_paint(gimp, "in-place")) == {77}
    liar.lie = lambda answer: [answer.result(), answer.chunk(0, answer.before.pixels)]
    assert "damaged on its way" in _refused(_paint(gimp, "in-place"))


@pytest.fixture
def breakable(gimp: Gimp) -> Iterator[Path]:
    """The module of GIMP's own copy of the plug-in that writes layers; as it was after the test."""
    module = gimp.folder / "gimp" / "plug-ins" / "adain_style" / "gimp" / "layers.py"
    whole = module.read_text()
    yield module
    module.write_text(whole)


@pytest.mark.fault(96)
@pytest.mark.parametrize(
    ("output", "broken"),
    [("new-layer", "write_pixels"), ("new-layer", "_copy_mask"), ("in-place", "write_pixels")],
)
def test_insertion_that_fails_is_a_sentence_and_leaves_the_image(
    gimp: Gimp, liar: LyingServer, breakable: Path, output: str, broken: str
) -> None:
    """Before and after the new layer is there: neither a half painted layer nor a changed pixel stays."""
    script = PAINT.replace("before =", "layer.add_mask(layer.create_mask(Gimp.AddMaskType.WHITE)); before =")
    with breakable.open("a") as module:
        module.write(f"\n\ndef {broken}(*_arguments):\n    raise RuntimeError('no room for it')\n")
    (status, sentence), before, after = gimp.run(script, output=output, width=96, height=72)
    assert status == "execution-error" and "no room for it" in sentence and sentence.endswith("; nothing was changed.")
    assert liar.heard[-1] == "done" and after["layers"] == before["layers"]
