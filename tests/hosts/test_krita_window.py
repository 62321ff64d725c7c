"""The panel in a real Krita, by mouse and keyboard: a style is chosen, the preview follows, presets, small dialogs.

Screenshots are kept in tests/hosts/screenshots, for people to look at.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adain_style.client.choices import RegionChoice, StyleChoice
from adain_style.host.settings import SavedSettings, SettingsStore, StylizeSettings
from hosts.host import Installation
from hosts.krita import SETTINGS, Krita
from hosts.window import Screen
from support.helpers import PICTURES, RunningServer, write_other_model

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(180)]

SCREENSHOTS = Path(__file__).parent / "screenshots"
STYLE, OTHER = "hokusai-great-wave", "space-sun"


def test_menu_has_four_entries_and_the_panel_its_title(krita: Krita) -> None:
    """Filter → AdaIN Style, as a user reads it."""
    entries, title = krita.run(
        """
        bar = Krita.instance().activeWindow().qwindow().menuBar()
        (filters,) = [menu for menu in bar.actions() if menu.text().replace("&", "") == "Filter"]
        (ours,) = [action for action in filters.menu().actions() if action.text() == "AdaIN Style"]
        return [action.text() for action in ours.menu().actions()], panel().windowTitle()
        """
    )
    assert entries == ["&Stylize…", "&Repeat Last", "Style from This &Layer…", "Ser&ver…"]
    assert title == "AdaIN Style"


def test_style_is_found_by_typing_and_weakened_by_keys(krita: Krita, server: RunningServer) -> None:
    """Enter chooses the first that is found; the preview comes small, then full, and changes with the strength."""
    krita.log.write_text("")
    listed, found, chosen, alpha = krita.run(
        """
        document, layer = picture(600, 400)
        panel().hide()
        shown = yield from open_panel()
        styles = shown.gallery._list
        items = [styles.item(row) for row in range(styles.count())]
        yield from until(lambda: not any(shown.controller._has_no_thumbnail(item.data(Qt.UserRole)) for item in items))
        listed = [item.text() for item in items]
        yield from hand("type", "great wave")
        found = [item.text() for item in items if not item.isHidden()]
        yield from press("Return")
        full = yield from previewed(512)
        chosen = shown.controller.editor.current.styles[0].source
        shown.controls._alpha.field.setFocus()
        yield from press("Page_Down", "Page_Down", "Page_Down")
        yield from previewed(512, full)
        return listed, found, chosen, shown.controller.editor.current.alpha
        """
    )
    with server.client() as client:
        assert {style.title for style in client.styles()} == set(listed)
    assert found == ["The Great Wave off Kanagawa, about 1831"] and chosen == STYLE and alpha < 1
    krita.logged("previewed 512", after=krita.logged("previewed 256"))


def test_clicks_choose_and_mix_up_to_four_styles(krita: Krita) -> None:
    """A click has one alone, Ctrl+click adds, a fifth is refused with a sentence, and a slider weighs."""
    counts, sentence, kept, weight = krita.run(
        """
        document, layer = picture(300, 200)
        shown = yield from open_panel()
        counts = []
        for number in range(5):
            yield from click_style(number, holding="ctrl" if number else "")
            counts.append(len(shown.controller.editor.current.styles))
        sentence = shown._message.isVisible() and shown._sentence.text()
        kept = [item.isSelected() for item in map(shown.gallery._list.item, range(6))]
        before = yield from previewed(300)
        slider = shown.mix._grid.itemAtPosition(1, 2).widget()
        yield from click(slider, QPoint(3, slider.height() // 2))
        yield from previewed(300, before)
        weight = shown.controller.editor.current.styles[1].weight
        yield from click_style(5)
        return [*counts, len(shown.controller.editor.current.styles)], sentence, kept, weight
        """
    )
    assert counts == [1, 2, 3, 4, 4, 1] and sentence == "A mix has at most 4 styles; take one out first."
    assert kept == [True] * 4 + [False] * 2 and weight < 1


def test_enter_adds_to_the_mix_when_every_click_does(krita: Krita) -> None:
    """As in GIMP's window: Mix several is for the keyboard, too."""
    chosen = krita.run(
        """
        document, layer = picture()
        shown = yield from open_panel()
        (mixes,) = [box for box in shown.findChildren(QCheckBox) if box.text() == "Mix several"]
        yield from click(mixes, QPoint(8, mixes.height() // 2))
        for words in ("great wave", "the sun"):
            yield from click(shown.gallery.search)
            yield from press("ctrl+a")
            yield from hand("type", words)
            yield from press("Return")
        mixes.setChecked(False)
        return [style.source for style in shown.controller.editor.current.styles]
        """
    )
    assert chosen == [STYLE, OTHER]


def test_preview_follows_what_the_user_does(krita: Krita) -> None:
    """A stroke of the brush, another layer, a selection, another document: each is previewed without a click."""
    previews = krita.run(
        """
        document, layer = picture(300, 200)
        add_layer(document, "Small", 280, 60)
        yield from settle(document)
        document.setActiveNode(layer)
        shown = yield from open_panel()
        shown.move(900, 30)
        yield from click_style(0)
        previews = [(yield from previewed(300))]
        yield from draw((0.4, 0.5), (0.5, 0.45), (0.55, 0.5))
        previews.append((yield from previewed(300, previews[-1])))
        select(document, 20, 20, 100, 100, feather=8)
        previews.append((yield from previewed(300, previews[-1])))
        document.setActiveNode(document.nodeByName("Small"))
        previews.append((yield from previewed(280)))
        other, layer = picture(250, 150)
        previews.append((yield from previewed(250)))
        return previews
        """
    )
    assert len(set(previews)) == 5


def test_presets_are_saved_chosen_and_deleted(krita: Krita) -> None:
    """The name is typed; choosing brings styles and sliders back."""
    names, chosen, alpha, left = krita.run(
        """
        document, layer = picture()
        shown = yield from open_panel()
        yield from click_style(1)
        wanted = shown.controller.editor.settings
        save, delete = [widget for widget in shown._presets.findChildren(QToolButton)]
        yield from click(save)
        asked = yield from dialog()
        yield from hand("type", "Fiery sea")
        yield from press("Return")
        yield from until(lambda: not QApplication.activeModalWidget())
        names = shown.controller.store.presets()
        yield from click_style(2)
        shown.controls._alpha.field.setValue(40)
        shown._presets._list.setFocus()
        yield from press("space", "Home", "Return")
        yield SEEN_S
        chosen, alpha = shown.controller.editor.settings == wanted, shown.controls.alpha
        yield from click(delete)
        return names, chosen, alpha, shown.controller.store.presets()
        """
    )
    assert (names, chosen, alpha, left) == (["Fiery sea"], True, 1.0, [])


def test_repeat_paints_without_asking_and_says_when_there_is_nothing(krita: Krita) -> None:
    """A sentence before the first time; then the last settings, whatever the panel shows."""
    sentence, names = krita.run(
        """
        document, layer = picture()
        shown = panel()
        action("adain_style_repeat")
        sentence = shown._sentence.text()
        yield from paint(document, {"": STYLE})
        document.setActiveNode(layer)
        shown.controller.use(type(shown.controller.editor.settings)())
        action("adain_style_repeat")
        yield from until(lambda: len(document.topLevelNodes()) == 3)
        yield from settle(document)
        return sentence, [node.name() for node in document.topLevelNodes()]
        """
    )
    assert sentence == "Nothing has been painted yet that could be repeated; use Stylize first."
    assert names == ["Photograph", *["The Great Wave off Kanagawa, about 1831"] * 2]


def test_layer_is_saved_as_a_style_and_is_in_the_gallery(krita: Krita) -> None:
    """Its selected part, under a name that is typed; a name that is taken is said in the same window."""
    listed, sentence = krita.run(
        """
        document, layer = picture()
        select(document, 10, 20, 40, 30)
        yield from settle(document)
        shown = yield from open_panel()
        for _attempt in range(2):
            action("adain_style_save_style")
            asked = yield from dialog()
            yield from press("ctrl+a")
            yield from hand("type", "My sky")
            yield from press("Return")
        labels = [label.text() for label in asked.findChildren(QLabel)]
        yield from press("Escape")
        yield from until(lambda: not QApplication.activeModalWidget())
        return shown.gallery._list.item(0).text(), labels
        """
    )
    assert listed == "My sky" and "You have a style 'My sky' already; choose another name." in sentence
    with Image.open(krita.styles / "My sky.png") as saved:
        assert saved.size == (40, 30)


def test_layer_of_an_open_document_is_used_as_a_style(krita: Krita) -> None:
    """It is chosen from a list by keyboard, previewed, and gives its name to what is painted."""
    offered, names = krita.run(
        """
        document, layer = picture()
        add_layer(document, "My cup", 40, 40)
        yield from settle(document)
        document.setActiveNode(layer)
        shown = yield from open_panel()
        (use,) = [made for made in shown.findChildren(QPushButton) if made.text() == "Use a layer…"]
        yield from click(use)
        asked = yield from dialog()
        listed = asked.findChild(QListWidget)
        offered = [listed.item(row).text().split(" (")[0] for row in range(listed.count())]
        yield from press("Return")
        yield from previewed(96)
        yield from click(shown._stylize)
        yield from until(lambda: len(document.topLevelNodes()) == 3)
        yield from settle(document)
        return offered, [node.name() for node in document.topLevelNodes()]
        """
    )
    assert offered == ["My cup", "Photograph"]
    assert names == ["Photograph", "My cup", "My cup"]


def test_servers_window_says_its_state(krita: Krita) -> None:
    """And closes without a change."""
    texts = krita.run(
        """
        document, layer = picture()
        shown = yield from open_panel()
        QTimer.singleShot(0, lambda: action("adain_style_server"))
        asked = yield from dialog()
        yield from until(lambda: "Ready" in asked._state.text())
        texts = asked.windowTitle(), asked._state.text(), asked._start.isEnabled(), asked._stop.isEnabled()
        yield from press("Escape")
        yield from until(lambda: not QApplication.activeModalWidget())
        return texts
        """
    )
    assert texts[0] == "AdaIN server" and texts[1].startswith("Ready on cpu") and texts[2:] == (False, True)
    assert not krita.settings.exists()


def test_settings_are_there_after_a_restart(krita: Krita) -> None:
    """A new panel begins with what was painted last, but for regions that its document may not have."""
    regions = (RegionChoice((StyleChoice(OTHER, 0.5),), 0.6, "match"), RegionChoice((StyleChoice(STYLE),), mask="Gone"))
    remembered = StylizeSettings(regions, stroke_size=3.0, detail=0.2, model="mine", quality="best")
    SettingsStore(krita.settings.parent).save(SavedSettings(remembered))
    styles, *shown = krita.run(
        """
        new = type(panel())()
        try:
            controls = new.controls
            styles = [(style.source, style.weight) for style in new.controller.editor.current.styles]
            return (styles, len(new.controller.editor.settings.regions), controls.alpha, controls.preserve_color,
                    controls.stroke_size, controls.detail, controls.model, controls.quality)
        finally:
            new.close_session()
            new.deleteLater()
        """
    )
    assert styles == [(OTHER, 0.5)] and shown == [1, 0.6, "match", 3.0, 0.2, "mine", "best"]


def test_model_that_was_added_meanwhile_can_be_chosen(krita: Krita, server: RunningServer) -> None:
    """There is nothing to choose before; when the user comes back to Krita the list has it, and its preview differs."""
    assert not krita.run(
        """
        document, layer = picture(300, 200)
        shown = yield from open_panel()
        yield from until(lambda: shown.controller.models)
        return shown.controls._model.isVisible()
        """
    )
    write_other_model(server.models / "mine")
    try:
        titles, tip, chosen, before, after, kept = krita.run(
            """
            document, layer = picture(300, 200)
            shown = yield from open_panel()
            settings = type(shown.controller.editor.settings)
            shown.controller.use(settings(quality="fast"))  # what is refined is not the inverse
            yield from click_style(0)
            before = yield from previewed(300)
            QApplication.instance().applicationStateChanged.emit(Qt.ApplicationState.ApplicationActive)
            models = shown.controls._model
            yield from until(models.isVisible)
            models.setFocus()
            yield from press("Down")
            after = yield from previewed(300, before)
            titles = [models.itemText(row) for row in range(models.count())]
            shown._column.ensureWidgetVisible(models)
            yield SEEN_S
            screenshot(path)
            return (titles, models.itemData(1, Qt.ToolTipRole), shown.controller.editor.settings.model,
                    before, after, shown.controller.editor.current.styles[0].source)
            """,
            path=str(krita.folder / "krita-models.png"),
        )
    finally:
        shutil.rmtree(server.models / "mine")
    assert titles[1:] == ["Inverted"] and "paints inverted" in tip and chosen == "mine" and kept
    plain, inverted = (np.frombuffer(pixels, np.uint8).reshape(-1, 4)[:, :3].astype(int) for pixels in (before, after))
    assert np.abs(inverted - (255 - plain)).mean() < 2
    _kept(krita, "krita-models.png")


def test_tab_goes_through_the_panel_in_the_order_that_is_seen(krita: Krita) -> None:
    """From the search to Stylize, a mix's sliders in their place; every part has a name."""
    places, unnamed = krita.run(
        """
        document, layer = picture()
        shown = yield from open_panel()
        yield from click_style(0)
        yield from click_style(1, holding="ctrl")
        shown._message.hide()
        yield from click(shown.gallery.search)
        labelled = [label.buddy() for label in shown.findChildren(QLabel)]
        places, unnamed = [], []
        for _step in range(40):
            widget = QApplication.focusWidget()
            corner = widget.mapTo(shown.widget(), QPoint(0, 0))
            places.append((corner.y(), corner.x()))
            says = widget.text() if isinstance(widget, (QPushButton, QCheckBox)) else widget.accessibleName()
            if not says and widget not in labelled:
                unnamed.append(f"{type(widget).__name__} at {corner.x()}, {corner.y()}")
            if widget is shown._stylize:
                break
            yield from press("Tab")
        return places, unnamed
        """
    )
    assert unnamed == [] and len(places) == 19
    rows = [round(y / 20) for y, _x in places]
    assert rows == sorted(rows)


def test_panel_takes_no_keys_from_kritas_menus(krita: Krita) -> None:
    """Alt and a letter open a menu while the panel is docked and has the keyboard."""
    opened = krita.run(
        """
        document, layer = picture()
        shown = yield from open_panel(floating=False)
        opened = []
        for letter in "lstv":
            shown.gallery.search.setFocus()
            yield from press(f"alt+{letter}")
            popup = QApplication.activePopupWidget()
            opened.append(popup.title().replace("&", "") if popup is not None else "")
            yield from press("Escape", "Escape")
        return opened
        """
    )
    assert opened == ["Layer", "Select", "Tools", "View"]


POOR = "raise ModuleNotFoundError(\"No module named 'zmq'\", name='zmq')"


def test_missing_library_is_an_instruction(krita_installation: Installation, screen: Screen, tmp_path: Path) -> None:
    """The menu entry is there without zmq; it says what to do, and nobody sees a traceback."""
    (tmp_path / "zmq.py").write_text(POOR)
    with Krita(krita_installation, screen, PYTHONPATH=str(tmp_path)) as poor:
        text = poor.run(
            """
            QTimer.singleShot(0, lambda: action("adain_style_stylize"))
            asked = yield from dialog()
            text = asked.text()
            asked.accept()
            return text
            """
        )
        printed = poor.text()
    assert "Krita's Python" in text and "has no zmq" in text and "adain-plugin install krita" in text
    assert "Traceback" not in printed


class _Bright(Krita):
    """With Krita's light theme."""

    kritarc = SETTINGS + "\n[theme]\nTheme=Krita bright\n"


SCENE = """
    from adain_style.client.choices import RegionChoice, StyleChoice
    from adain_style.host.settings import StylizeSettings

    def choices(*regions):
        return StylizeSettings(tuple(RegionChoice((StyleChoice(style),), mask=mask) for mask, style in regions))

    document = Krita.instance().openDocument(photograph)
    Krita.instance().activeWindow().addView(document)
    document.setBatchmode(True)
    layer = document.topLevelNodes()[0]
    yield from settle(document)
    shown = yield from open_panel(floating=False)
"""


def _photograph(krita: Krita) -> str:
    """A picture's file where a Krita in a userland sees it: among this machine's temporary files."""
    return str(shutil.copy(PICTURES / "chelsea.jpg", krita.folder))


def _kept(krita: Krita, *names: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    for name in names:
        shutil.move(krita.folder / name, SCREENSHOTS / name)


def test_screenshots_of_the_dark_panel(krita: Krita) -> None:
    """Docked and floating, a painted soft selection, two regions, a running bar, a question: what people look at."""
    names = [f"krita-{name}.png" for name in ("docked", "selection", "floating", "regions", "queue", "question")]
    krita.run(
        SCENE
        + """
    paths = iter(paths)
    yield from press("Escape")
    shown.controller.use(choices(("", STYLE)))
    yield from previewed(451)
    screenshot(next(paths))
    select(document, 110, 40, 230, 220, feather=20)
    yield 1.0
    shown.stylize()
    yield from until(lambda: not shown._queue.jobs)
    document.setActiveNode(layer)
    yield 2.0
    screenshot(next(paths))
    yield from open_panel()
    shown.controller.use(choices(("", STYLE)))
    yield from click_style(3, holding="ctrl")
    yield from previewed(451)
    screenshot(next(paths))
    action("add_new_transparency_mask")
    yield from settle(document)
    mask = [node for node in layer.childNodes()][0]
    document.setSelection(None)
    shown.controller.use(choices(("", STYLE), (shown._mask_sources()[0].name, other)))
    yield 4.0
    screenshot(next(paths))
    mask.remove()
    shown.controller.use(StylizeSettings(choices(("", STYLE)).regions, stroke_size=1.0))
    big, large = picture(1600, 1200)
    yield 1.0
    for _count in range(2):
        shown.stylize()
    first, second = shown._queue.jobs
    yield from until(lambda: first.share > 0.3)
    large.setPixelData(bytes(400), 0, 0, 10, 10)
    screenshot(next(paths))
    shown._queue.cancel(second)
    yield from until(lambda: first.is_over)
    yield 0.5
    screenshot(next(paths))
    shown._queue.cancel(first)
    shown.setFloating(False)
    """,
        photograph=_photograph(krita),
        paths=[str(krita.folder / name) for name in names],
        other=OTHER,
        timeout_s=150.0,  # it paints a large picture in the finest strokes
    )
    _kept(krita, *names)


def test_german_texts_and_a_light_theme(
    krita_installation: Installation, screen: Screen, server: RunningServer
) -> None:
    """A second Krita, as some users have it; its screenshots are for people."""
    with _Bright(krita_installation, screen, LANGUAGE="de") as bright:
        bright.use(server)
        texts = bright.run(
            SCENE
            + """
    shown.controller.use(choices(("", STYLE)))
    yield from previewed(451)
    screenshot(path)
    return shown._stylize.text(), shown._reset.text(), shown._state.text()
    """,
            photograph=_photograph(bright),
            path=str(bright.folder / "krita-light.png"),
        )
        _kept(bright, "krita-light.png")
    assert texts[:2] == ("Stilisieren", "Zurücksetzen") and texts[2].startswith("Server bereit")
