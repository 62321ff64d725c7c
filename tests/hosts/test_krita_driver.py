"""What the tests in a real Krita stand on: scripts, their errors, undo, strokes of a brush, and the measured gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hosts.host import Installation, ScriptError
from hosts.krita import Krita, samples
from hosts.window import Screen

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(180)]

DTYPES = {"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}


def test_script_returns_a_value(krita: Krita) -> None:
    """Values go in and out."""
    assert krita.run("return int(Krita.instance().version()[0]), number + 1", number=41) == (5, 42)


def test_yields_return_to_the_event_loop(krita: Krita) -> None:
    """What a timer does happens while the script waits, and not before."""
    seen = krita.run(
        """
        done = []
        QTimer.singleShot(0, lambda: done.append(1))
        before = list(done)
        yield 0.05
        return before, done
        """
    )
    assert seen == ([], [1])


@pytest.mark.parametrize("script", ["1 / 0", "yield 0.01\n1 / 0", "return (", "yield 'soon'"])
def test_exception_is_a_script_error_and_the_next_script_runs(krita: Krita, script: str) -> None:
    """With its traceback, in a script that waits and in one that does not."""
    with pytest.raises(ScriptError, match="Traceback"):
        krita.run(script)
    assert krita.run("return len(Krita.instance().documents())") == 0


def test_documents_are_closed_after_each_script(krita: Krita) -> None:
    """Changed ones too, without a question."""
    krita.run("document, layer = picture()\nyield from settle(document)\nadd_layer(document, 'More')")
    assert krita.run("yield 0.1\nreturn len(Krita.instance().documents()), Krita.instance().activeDocument()") == (
        0,
        None,
    )


@pytest.mark.parametrize(
    ("model", "depth", "channels"),
    [
        ("RGBA", "U8", 4),
        ("RGBA", "U16", 4),
        ("RGBA", "F16", 4),
        ("RGBA", "F32", 4),
        ("GRAYA", "U8", 2),
        ("CMYKA", "U8", 5),
    ],
)
def test_picture_is_new_and_has_the_pattern(krita: Krita, model: str, depth: str, channels: int) -> None:
    """Where it was put, with a hole, soft parts and opaque corners, and nothing to undo."""
    photograph, modified, kept = krita.run(
        """
        document, layer = picture(64, 48, model=model, depth=depth, at=(10, 20), canvas=(100, 80))
        yield from undo(document)
        return look(layer), document.modified(), pattern(64, 48, model, depth) == look(layer)["pixels"]
        """,
        model=model,
        depth=depth,
    )
    pixels = samples(photograph)
    whole = 1 if depth in ("F16", "F32") else np.iinfo(pixels.dtype).max
    assert (photograph["name"], photograph["bounds"], modified, kept) == ("Photograph", (10, 20, 64, 48), False, True)
    assert (pixels.shape, pixels.dtype) == ((48, 64, channels), np.dtype(DTYPES[depth]))
    alpha = pixels[..., -1]
    assert alpha.min() == 0 and (alpha[[0, 0, -1, -1], [0, -1, 0, -1]] == whole).all()
    assert len(np.unique(pixels[..., 0])) > 30


def test_undo_takes_an_added_layer_away_and_redo_brings_its_pixels_back(krita: Krita) -> None:
    """One step."""
    states: list[dict[str, Any]] = krita.run(
        """
        document, layer = picture()
        yield from settle(document)
        states = [state(document)]
        add_layer(document, "Painted", 40, 30, at=(5, 6))
        yield from settle(document)
        states.append(state(document))
        yield from undo(document)
        states.append(state(document))
        yield from redo(document)
        states.append(state(document))
        return states
        """
    )
    before, added, undone, redone = states
    assert [look["name"] for look in added["layers"]] == ["Photograph", "Painted"]
    assert added["layers"][1]["bounds"] == (5, 6, 40, 30)
    assert undone == before and redone["layers"] == added["layers"]


def test_selection_has_soft_edges_or_given_values(krita: Krita) -> None:
    """As bytes over its rectangle."""
    none, feathered, given = krita.run(
        """
        document, layer = picture()
        yield from settle(document)
        found = [selected(document)]
        select(document, 20, 20, 40, 30, feather=4)
        yield from settle(document)
        found.append(selected(document))
        select(document, 10, 10, 3, 2, values=bytes([1, 2, 3, 4, 5, 6]))
        yield from settle(document)
        return [*found, selected(document)]
        """
    )
    assert none is None
    assert set(feathered[1]) - {0, 255}
    assert given == ((10, 10, 3, 2), bytes([1, 2, 3, 4, 5, 6]))


def test_stroke_of_the_mouse_changes_pixels_and_can_be_undone(krita: Krita) -> None:
    """With Krita's own brush."""
    before, drawn, undone = krita.run(
        """
        document, layer = picture(300, 200)
        yield from settle(document)
        looks = [look(layer)]
        yield from draw((0.4, 0.5), (0.5, 0.45), (0.6, 0.5))
        yield from until(lambda: look(layer)["pixels"] != looks[0]["pixels"])
        yield from settle(document)
        looks.append(look(layer))
        yield from undo(document)
        return [*looks, look(layer)]
        """
    )
    changed = (samples(before) != samples(drawn)).any(axis=2)
    assert changed[80:120, 120:180].any() and not changed[:20].any()
    assert undone == before


def test_gaps_see_a_block_of_the_event_loop(krita: Krita) -> None:
    """And when it was; a busy machine only makes them longer."""
    longest, worst = krita.run(
        """
        gaps = Gaps()
        yield 0.2
        begun = time.perf_counter() - gaps.started
        time.sleep(0.1)
        yield 0.1
        return gaps.stop(), [begun, *gaps.worst]
        """
    )
    begun, *found = worst
    assert longest == found[0][1] and longest >= 100
    assert any(when <= begun <= when + length / 1000 and length >= 100 for when, length in found)


def test_quitting_as_a_user_ends_the_process(krita_installation: Installation, screen: Screen) -> None:
    """And says how long it took; afterwards a script is refused."""
    with Krita(krita_installation, screen) as own:
        own.run("document, layer = picture()\nyield from settle(document)")
        assert 0 <= own.quit() < 30
        assert own.process.returncode == 0
        with pytest.raises(ScriptError, match="ended"):
            own.run("return 1")
