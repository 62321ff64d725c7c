"""The window of Stylize in a real GIMP: a style is chosen, the preview changes, it is painted, undone and redone.

Screenshots are kept in tests/hosts/screenshots, for people to look at.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adain_style.client.choices import RegionChoice, StyleChoice
from adain_style.host.settings import SavedSettings, SettingsStore, StylizeSettings
from hosts.finishing_server import FinishingServer
from hosts.gimp import Installation, samples
from hosts.window import WAIT_S, Screen, WindowedGimp, missing_programs
from support.helpers import PICTURES, RunningServer

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(180)]

SCREENSHOTS = Path(__file__).parent / "screenshots"
TITLE = "^AdaIN Style$"
MAIN_WINDOW = "GIMP$"
UNDO, REDO = ((("alt+e", "Return"), (shortcut,)) for shortcut in ("ctrl+z", "ctrl+y"))
"""The first of GIMP's menu Edit that can be chosen (Undo, and Redo when nothing is left to undo), or the shortcut: a
menu may take the keyboard and show nothing. Plug-ins can do neither."""
STRENGTH, STYLIZE, CANCEL, REGION, FIT, TRY_AGAIN = "alt+t", "alt+s", "alt+c", "alt+g", "alt+f", "alt+a"
STROKES = "alt+z"
MODEL, QUALITY, KEEP, MIX = "alt+m", "alt+q", "alt+k", "alt+x"
PRESETS, RESET = "alt+e", "alt+r"

OPEN = """
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(path))
    layer = image.get_layers()[0]
    if side:
        layer.scale(side, side, False)
        image.resize_to_layers()
    for x in range(channels):
        image.select_rectangle(Gimp.ChannelOps.REPLACE, 60 * x, 0, 50, 200)
        Gimp.Selection.save(image).set_name(f"Part {x + 1}")
    Gimp.Selection.none(image)
    if feather:
        image.select_ellipse(Gimp.ChannelOps.REPLACE, 100, 40, 220, 220)
        Gimp.Selection.feather(image, feather)
    image.undo_enable()  # a picture that a script has opened has none
    image.clean_all()
    before = state(image)
    display = Gimp.Display.new(image)
    config = Gimp.get_pdb().lookup_procedure(procedure).create_config()
    config.set_property("run-mode", Gimp.RunMode.INTERACTIVE)
    if not procedure.endswith("server"):
        config.set_property("image", image)
        config.set_core_object_array("drawables", [layer])

    def changed(image, seen):
        deadline = time.monotonic() + 60
        while (now := state(image)) == seen and time.monotonic() < deadline:
            time.sleep(0.1)
        return now

    result = Gimp.get_pdb().lookup_procedure(procedure).run(config).index(0).value_nick
    states = [before, state(image)]
    for step in range(steps):
        print("seen", step, flush=True)
        states.append(changed(image, states[-1]))
        print("changed", step, flush=True)
    display.delete()
    return result, *states
"""
KEYS_S, PRESSES = 6.0, 6
"""After this long without an effect keys are taken for lost, and pressed again, so often."""
QUIT = ("alt+f", "Up", "Return")
"""The last one of GIMP's menu File."""
QUIT_MORE_S = 0.5
"""What an open window of ours may add."""
QUIT_TRIES = 3
"""Other work on the machine makes a quit slower, never quicker: the quickest one counts."""
SETTINGS: dict[str, Any] = {
    "side": 0,
    "channels": 0,
    "feather": 0.0,
    "procedure": "plug-in-adain-style",
    "steps": 0,
}


@pytest.fixture(scope="module")
def window_gimp(gimp_installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowedGimp]:
    """A GIMP with windows, that the tests of this module share."""
    if missing := missing_programs():
        pytest.skip(f"windows need {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("screen")
    with Screen(folder) as screen, WindowedGimp(gimp_installation, screen) as running:
        screen.window("^Welcome to GIMP")  # the first thing that a new user sees
        screen.keys("Escape")
        yield running


@pytest.fixture
def gimp(window_gimp: WindowedGimp, server: RunningServer) -> WindowedGimp:
    """The same, with nothing remembered and a log that begins anew; its plug-in finds the shared server."""
    window_gimp.settings.unlink(missing_ok=True)
    window_gimp.log.unlink(missing_ok=True)
    window_gimp.use(server)
    return window_gimp


def _keep(gimp: WindowedGimp, name: str, window: str | None = None) -> Image.Image:
    SCREENSHOTS.mkdir(exist_ok=True)
    gimp.screen.do("mousemove", "0", "999")  # or a tooltip would lie over the picture
    picture = gimp.screen.picture(window)
    picture.save(SCREENSHOTS / f"{name}.png")
    return picture


def _open(gimp: WindowedGimp, **changes: Any) -> str:
    """Open the window over a photograph; its number, once the server's styles are in it."""
    gimp.start(OPEN, **{**SETTINGS, "path": _photograph(gimp), **changes})
    try:
        window = gimp.screen.window(TITLE)
    except AssertionError:
        gimp.result(timeout_s=1.0)  # raises what went wrong in GIMP
        raise
    gimp.logged("connected")
    return window


def _photograph(gimp: WindowedGimp) -> str:
    """A picture's file where a GIMP in a userland sees it: among this machine's temporary files."""
    return str(shutil.copy(PICTURES / "chelsea.jpg", gimp.folder))


def _choose_style(gimp: WindowedGimp, words: str) -> None:
    """By keyboard alone: Ctrl+F goes to the field that searches, and Enter chooses the first that is found."""
    gimp.screen.keys("ctrl+f", "ctrl+a")
    gimp.screen.do("type", words)
    gimp.screen.keys("Return")


def _wait_for_output(gimp: WindowedGimp, text: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while text not in gimp.text():
        assert time.monotonic() < deadline, gimp.text()
        time.sleep(0.05)


def _press_until(gimp: WindowedGimp, ways: tuple[tuple[str, ...], ...], text: str) -> None:
    """Keys for the main window, which may lose those that come while another window closes or a menu opens.

    ways: Keys that have the same effect; they take turns.
    """
    for attempt in range(PRESSES):
        gimp.screen.window(MAIN_WINDOW)
        for key in ("Escape", *ways[attempt % len(ways)]):
            gimp.screen.keys(key)  # each waits, so that a menu is there before the key that chooses from it
        deadline = time.monotonic() + KEYS_S
        while time.monotonic() < deadline:
            if text in gimp.text():
                return
            time.sleep(0.05)
    raise AssertionError(gimp.text())


def _same_pixels(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return bool(before["layers"] == [layer for layer in after["layers"] if layer["id"] == before["layers"][0]["id"]])


@pytest.mark.fault(99)
def test_style_is_chosen_previewed_painted_undone_and_redone(gimp: WindowedGimp) -> None:
    """By keyboard: the preview changes with the style and with the strength; one undo takes the layer away, redo brings
    the same pixels back.
    """
    window = _open(gimp, steps=2, feather=20.0)
    empty = np.asarray(_keep(gimp, "1-opened", window))
    _choose_style(gimp, "great wave")
    seen = gimp.logged("previewed 451")
    full = np.asarray(_keep(gimp, "2-style-chosen", window))
    gimp.screen.keys(STRENGTH, *["Page_Down"] * 5)
    gimp.logged("previewed 451", after=seen)
    weaker = np.asarray(_keep(gimp, "3-weaker", window))
    preview = np.s_[:400, : empty.shape[1] // 2]
    assert np.abs(empty[preview].astype(int) - full[preview]).mean() > 2
    assert np.abs(weaker[preview].astype(int) - full[preview]).mean() > 0.5
    gimp.screen.keys(STYLIZE)
    gimp.logged("layer painted")
    gimp.screen.window(MAIN_WINDOW)
    _keep(gimp, "4-painted")
    for step, keys in enumerate((UNDO, REDO)):
        _wait_for_output(gimp, f"seen {step}\n")  # or two steps could look like none
        _press_until(gimp, keys, f"changed {step}\n")
    result, before, painted, undone, redone = gimp.result()
    assert result == "success" and _same_pixels(before, painted)
    assert [layer["name"] for layer in painted["layers"]] == ["The Great Wave off Kanagawa, about 1831", "Background"]
    assert undone["layers"] == before["layers"] and redone["layers"] == painted["layers"]
    assert json.loads(gimp.settings.read_text())["choices"]["regions"][0]["styles"][0]["source"] == "hokusai-great-wave"


@pytest.mark.fault(99)
def test_painting_in_place_is_undone_in_one_step_and_redone(gimp: WindowedGimp) -> None:
    """Through a soft selection: one undo brings every pixel back, redo the same painted ones."""
    settings = StylizeSettings((RegionChoice((StyleChoice("hokusai-great-wave"),)),), output="in-place")
    SettingsStore(gimp.settings.parent).save(SavedSettings(stylize=settings))
    _open(gimp, steps=2, feather=20.0)
    gimp.logged("previewed 451")
    gimp.screen.keys(STYLIZE)
    gimp.logged("layer painted")
    for step, keys in enumerate((UNDO, REDO)):
        _wait_for_output(gimp, f"seen {step}\n")  # or two steps could look like none
        _press_until(gimp, keys, f"changed {step}\n")
    result, before, painted, undone, redone = gimp.result()
    assert result == "success" and len(painted["layers"]) == 1
    assert painted["layers"][0]["pixels"] != before["layers"][0]["pixels"]
    assert undone["layers"] == before["layers"] and undone["clean"]
    assert redone["layers"] == painted["layers"]


def test_model_of_the_users_own_is_chosen_by_keys(gimp: WindowedGimp, own_model: str) -> None:
    """The list is there when there is something to choose; the preview is that model's, and it is remembered."""
    window = _open(gimp)
    _choose_style(gimp, "great wave")
    seen = gimp.logged("previewed 451")
    embedded = np.asarray(_keep(gimp, "6-embedded-model", window)).astype(int)
    gimp.screen.keys(MODEL, "Down")
    gimp.logged("previewed 451", after=seen)
    own = np.asarray(_keep(gimp, "7-own-model", window)).astype(int)
    preview = np.s_[:400, : own.shape[1] // 2]
    assert np.abs(own[preview] - embedded[preview]).mean() > 10
    gimp.screen.keys(STYLIZE)
    assert gimp.result()[0] == "success"
    assert json.loads(gimp.settings.read_text())["choices"]["model"] == own_model


def _chosen_quality(gimp: WindowedGimp) -> str:
    return str(json.loads(gimp.settings.read_text())["choices"]["quality"])


def test_quality_is_chosen_by_keys_and_painted(gimp: WindowedGimp) -> None:
    """The quickest, by a real server; it is remembered."""
    window = _open(gimp)
    gimp.screen.keys(QUALITY, "Up")
    _choose_style(gimp, "great wave")
    gimp.logged("previewed 451")
    _keep(gimp, "11-quick", window)
    gimp.screen.keys(STYLIZE)
    result, before, after = gimp.result()
    assert result == "success" and _same_pixels(before, after) and len(after["layers"]) == 2
    assert _chosen_quality(gimp) == "fast"


def test_finish_is_announced_shown_as_it_forms_and_kept(gimp: WindowedGimp) -> None:
    """How long it takes is said before; no preview is finished; the button that keeps it works only meanwhile."""
    with FinishingServer() as server:
        gimp.use(server)
        window = _open(gimp)
        _choose_style(gimp, "great wave")
        seen = gimp.logged("previewed 451")
        gimp.screen.keys(QUALITY, "Down")
        gimp.logged("forecast: The finish takes about 40 seconds on this machine.", after=seen)
        gimp.logged("previewed 451", after=seen)
        gimp.screen.keys(KEEP)
        _keep(gimp, "12-finish-announced", window)
        assert set(server.asked) == {(256, "fast"), (512, "fine")} and "accept" not in server.heard
        gimp.screen.keys(STYLIZE)
        gimp.logged("drafted 1/25")
        forming = np.asarray(_keep(gimp, "13-finishing", window))
        assert (forming[300, 240] == 77).all(), "the draft is not what the preview shows"
        gimp.screen.keys(KEEP)
        result, before, after = gimp.result()
    assert server.asked[-1] == (0, "best") and server.heard.count("accept") == 1
    assert result == "success" and _same_pixels(before, after)
    assert set(samples(after["layers"][0]).flat) == {77} and _chosen_quality(gimp) == "best"


def test_real_finish_is_kept_before_its_end(gimp: WindowedGimp) -> None:
    """The layer is there, painted, after some of the steps; one that was not ended would take all of them."""
    window = _open(gimp, side=704)
    gimp.screen.keys(QUALITY, "Down")
    _choose_style(gimp, "great wave")
    gimp.logged("forecast: The finish takes about")
    gimp.logged("previewed 512")
    gimp.screen.keys(STYLIZE)
    gimp.logged("drafted", timeout_s=60.0)
    _keep(gimp, "14-real-finish", window)
    gimp.screen.keys(KEEP)
    result, before, after = gimp.result()
    assert result == "success" and _same_pixels(before, after) and len(after["layers"]) == 2
    assert after["layers"][0]["size"] == (704, 704)
    steps = re.findall(r"painting finish (\d+)/(\d+)", gimp.log.read_text())
    assert 0 < int(steps[-1][0]) < int(steps[-1][1]) - 1


@pytest.mark.fault(96)
def test_cancel_while_painting_leaves_the_image_as_it_was(gimp: WindowedGimp) -> None:
    """Cancel ends the painting soon and keeps the window; a second one closes it. No layer, no undo step is left."""
    window = _open(gimp, side=2400)
    _choose_style(gimp, "great wave")
    gimp.logged("previewed 512")
    gimp.screen.keys(FIT, STROKES, *["Page_Down"] * 5)  # the finest strokes: that takes long
    gimp.logged("note: The strokes will be finer than shown here.")
    _keep(gimp, "5-finer-strokes", window)
    gimp.screen.keys(STYLIZE)
    gimp.logged("painting decode")
    _keep(gimp, "5-painting", window)
    gimp.screen.keys(CANCEL)
    gimp.logged("cancelled", timeout_s=5.0)
    assert gimp.screen.has_window(TITLE)
    gimp.screen.keys(CANCEL)
    result, before, after = gimp.result()
    assert result == "cancel" and after == before and after["clean"]


def test_server_that_dies_while_painting_is_said_and_can_be_tried_again(gimp: WindowedGimp) -> None:
    """A sentence and a button in the window; with a server that runs again, the button paints."""
    with RunningServer() as first:
        gimp.use(first)
        window = _open(gimp, side=1600)
        _choose_style(gimp, "great wave")
        gimp.logged("previewed 512")
        gimp.screen.keys(FIT)
        gimp.screen.keys(STYLIZE)
        gimp.logged("painting")
        first.process.send_signal(signal.SIGKILL)
        seen = gimp.logged("error:")
    _keep(gimp, "6-server-died", window)
    with RunningServer() as second:
        gimp.use(second)
        gimp.screen.keys(FIT, TRY_AGAIN)
        gimp.logged("layer painted", after=seen, timeout_s=60.0)
        result, before, after = gimp.result()
    assert result == "success" and _same_pixels(before, after) and len(after["layers"]) == 2


def test_two_regions_are_painted_each_in_its_own_style(gimp: WindowedGimp) -> None:
    """A saved channel becomes a region from the menu; the two regions have different styles in one new layer."""
    window = _open(gimp, channels=1)
    _choose_style(gimp, "great wave")
    gimp.logged("previewed")
    gimp.screen.keys(REGION, "Tab", "space", "Return")
    seen = gimp.logged("previewed 451")
    _choose_style(gimp, "the sun")
    gimp.logged("previewed 451", after=seen)
    _keep(gimp, "7-regions", window)
    gimp.screen.keys(STYLIZE)
    result, before, after = gimp.result()
    assert result == "success" and _same_pixels(before, after) and len(after["layers"]) == 2
    regions = json.loads(gimp.settings.read_text())["choices"]["regions"]
    assert [region["mask"] for region in regions] == ["", "Part 1"]
    assert regions[0]["styles"] != regions[1]["styles"]


def test_enter_on_a_thumbnail_chooses_it_and_paints_nothing(gimp: WindowedGimp) -> None:
    """Not the style that was chosen before: it is previewed, the window stays, and it is what is painted then."""
    settings = StylizeSettings((RegionChoice((StyleChoice("hokusai-great-wave"),)),))
    SettingsStore(gimp.settings.parent).save(SavedSettings(stylize=settings))
    _open(gimp)
    seen = gimp.logged("previewed 451")
    gimp.screen.keys("ctrl+f", "Tab", "Return")  # the first of the gallery
    gimp.logged("previewed 451", after=seen)
    assert gimp.screen.has_window(TITLE) and "layer painted" not in gimp.log.read_text()
    gimp.screen.keys(STYLIZE)
    result, _before, after = gimp.result()
    assert result == "success" and after["layers"][0]["name"].startswith("Spring")


def test_escape_clears_the_search_ends_the_painting_and_only_then_the_window(gimp: WindowedGimp) -> None:
    """One thing at a time; nothing of the image is touched."""
    _open(gimp, side=2400)
    gimp.screen.keys("ctrl+f")
    gimp.screen.do("type", "nothing is called so")
    gimp.screen.keys("Escape")
    gimp.screen.do("type", "great wave")
    gimp.screen.keys("Return")
    gimp.logged("previewed 512")
    gimp.screen.keys(FIT)
    gimp.screen.keys(STYLIZE)
    gimp.logged("painting decode")
    gimp.screen.keys("Escape")
    gimp.logged("cancelled", timeout_s=5.0)
    assert gimp.screen.has_window(TITLE)
    gimp.screen.keys("ctrl+f", "Tab", "Escape")
    result, before, after = gimp.result()
    assert result == "cancel" and after == before and after["clean"]


def test_reset_forgets_the_preset_and_the_mix(gimp: WindowedGimp) -> None:
    """The preset can be chosen again, and a click chooses one style alone."""
    preset = StylizeSettings((RegionChoice((StyleChoice("hokusai-great-wave"), StyleChoice("space-sun"))),))
    SettingsStore(gimp.settings.parent).save_preset("Fiery sea", preset)
    _open(gimp)
    gimp.screen.keys(MIX, PRESETS, "space", "Down", "Return")
    seen = gimp.logged("previewed 451")
    gimp.screen.keys(RESET)
    _keep(gimp, "15-reset")
    gimp.screen.keys(PRESETS, "space", "Down", "Return")
    _keep(gimp, "16-preset-again")
    seen = gimp.logged("previewed 451", after=seen)
    _choose_style(gimp, "brick")
    gimp.logged("previewed 451", after=seen)
    gimp.screen.keys(STYLIZE)
    result, _before, after = gimp.result()
    assert result == "success" and "+" not in after["layers"][0]["name"] and "rick" in after["layers"][0]["name"]


@pytest.mark.parametrize(("procedure", "title"), [("server", "AdaIN server"), ("save", "Style from this layer")])
def test_small_windows_open_and_can_be_left(gimp: WindowedGimp, procedure: str, title: str) -> None:
    """Escape leaves them, and nothing is changed."""
    gimp.start(OPEN, **{**SETTINGS, "path": _photograph(gimp), "procedure": f"plug-in-adain-style-{procedure}"})
    window = gimp.screen.window(f"^{title}$")
    _keep(gimp, f"8-{procedure}", window)
    gimp.screen.keys("Escape")
    result, before, after = gimp.result()
    assert result in ("cancel", "success") and after == before
    assert not gimp.settings.exists() and not gimp.styles.exists()


def test_mix_of_two_styles_is_saved_as_a_preset_and_painted(gimp: WindowedGimp) -> None:
    """With *Mix several* a second style is added; the preset has both, and the new layer is named after both."""
    _open(gimp)
    gimp.screen.keys(MIX)
    _choose_style(gimp, "great wave")
    _choose_style(gimp, "the sun")
    gimp.logged("previewed 451")
    gimp.screen.keys("ctrl+f", *["shift+Tab"] * 3, "space")
    gimp.screen.window("^Save preset$")
    gimp.screen.do("type", "Fiery sea")
    gimp.screen.keys("Return")
    _keep(gimp, "9-mix-and-preset", gimp.screen.window(TITLE))
    gimp.screen.keys(STYLIZE)
    result, before, after = gimp.result()
    assert result == "success" and _same_pixels(before, after)
    assert after["layers"][0]["name"] == "The Great Wave off Kanagawa, about 1831 + The Sun, 2010, detail"
    preset = json.loads((gimp.settings.parent / "presets" / "Fiery sea.json").read_text())
    assert [style["source"] for style in preset["regions"][0]["styles"]] == ["hokusai-great-wave", "space-sun"]


def test_layer_of_another_image_is_used_as_a_style(gimp: WindowedGimp) -> None:
    """It is chosen from a list of every open layer, and the result is named after it."""
    _open(gimp)
    gimp.screen.keys("alt+l")
    chooser = gimp.screen.window("^Use a layer as a style$")
    _keep(gimp, "10-use-a-layer", chooser)
    gimp.screen.keys("alt+u")
    gimp.screen.window(TITLE)
    gimp.logged("previewed 451")
    gimp.screen.keys(STYLIZE)
    result, before, after = gimp.result()
    assert result == "success" and _same_pixels(before, after)
    assert after["layers"][0]["name"].startswith("Background")


def _quit(installation: Installation, screen: Screen, blow: signal.Signals | None) -> float:
    """The seconds that GIMP takes to quit with an image open.

    Args:
        installation: Which GIMP. screen: Where.
        blow: What the server of an open window of ours gets before; None for a window that was left before.
    """
    with RunningServer() as server, WindowedGimp(installation, screen) as gimp:
        screen.window("^Welcome to GIMP")
        screen.keys("Escape")
        gimp.use(server)
        _open(gimp, steps=1)
        if blow is None:
            screen.keys(CANCEL)
            _wait_for_output(gimp, "seen 0\n")
        else:
            server.process.send_signal(blow)
        screen.window(MAIN_WINDOW)
        begun = time.monotonic()
        screen.do("key", "--delay", "150", *QUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            gimp.process.wait(timeout=KEYS_S)
        seconds = time.monotonic() - begun
        server.process.send_signal(signal.SIGCONT)
    return seconds


@pytest.mark.fault(100)
def test_gimp_quits_with_the_window_of_a_dead_server(gimp_installation: Installation, screen: Screen) -> None:
    """Killed, or stopped so that it answers nothing: GIMP is gone as soon as without our window."""
    if missing := missing_programs():
        pytest.skip(f"windows need {', '.join(missing)}")
    without = min(_quit(gimp_installation, screen, None) for _ in range(2))
    assert without < KEYS_S, "the keys that quit GIMP were lost"
    limit = without + QUIT_MORE_S
    for blow in (signal.SIGKILL, signal.SIGSTOP):
        seconds = _quit(gimp_installation, screen, blow)
        for _again in range(QUIT_TRIES - 1):
            if seconds >= limit:
                seconds = min(seconds, _quit(gimp_installation, screen, blow))
        print(f"quit in s: without our window {without:.2f}, with {blow.name} {seconds:.2f}")
        assert seconds < limit
