"""What a host's window does with clicks and with the server's answers: the view and the session are stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from adain_style.client.choices import RegionChoice, StyleChoice
from adain_style.client.errors import AdainError
from adain_style.client.jobs import ModelInfo, Pixels, StyleInfo, StylizeRequest, StylizeResult
from adain_style.host import controller as controller_module
from adain_style.host.controller import StylizeController
from adain_style.host.requests import Content
from adain_style.host.settings import MAX_CHOSEN_STYLES, SavedSettings, ServerSettings, SettingsStore, StylizeSettings
from adain_style.host.styles import GalleryEntry

LAYER = Pixels(bytes(4 * 3 * 3), 3, 4)
PICTURE = Pixels(bytes(2 * 2 * 4), 2, 2, "RGBA")


def _style(name: str) -> StyleInfo:
    return StyleInfo(name, title=name.upper(), artist="", origin="", licence="", own=False)


KNOWN = [_style(name) for name in ("sun", "sea", "sky", "sand", "stone")]


class Gallery:
    """Entries, and which are marked."""

    def __init__(self) -> None:
        self.entries: dict[str, GalleryEntry] = {}
        self.marked: list[str] = []

    def entry(self, source: str) -> GalleryEntry | None:
        """By its source."""
        return self.entries.get(source)

    def show_entries(self, entries: Iterable[GalleryEntry]) -> None:
        """Thumbnails are kept, as the hosts do."""
        before, self.entries = self.entries, {}
        for entry in entries:
            old = before.get(entry.source, entry)
            self.entries[entry.source] = entry.with_thumbnail(old.thumbnail)

    def add(self, entry: GalleryEntry, *, first: bool = False) -> None:
        """At the beginning or the end."""
        others = {source: other for source, other in self.entries.items() if source != entry.source}
        self.entries = {entry.source: entry, **others} if first else {**others, entry.source: entry}

    def mark(self, sources: Iterable[str]) -> None:
        """These and no others."""
        self.marked = list(sources)


class View:
    """Writes down what it is to show."""

    pictures = 1

    def __init__(self) -> None:
        self.gallery = Gallery()
        self.mix, self.controls, self.regions, self.preview = Mock(), Mock(), Mock(), Mock()
        self.seen: Content | None = Content(LAYER, None, {}, 300, 400)
        self.paints = False
        self.shown: dict[str, Any] = {}
        self.looks = 0

    def layer_size(self) -> tuple[int, int]:
        """Larger than what was read for previews."""
        return 300, 400

    def content(self) -> Content | None:
        """Set by the tests."""
        return self.seen

    def is_painting(self) -> bool:
        """Set by the tests."""
        return self.paints

    def look_at_layer(self) -> None:
        """Counted."""
        self.looks += 1

    def image_of(self, pixels: Pixels) -> object:
        """Pixels are this toolkit's pictures."""
        return pixels

    def image_of_file(self, data: bytes) -> object | None:
        """A file that can be read has something in it."""
        return data or None

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        """What is shown or told, by the method's name; the newest of each."""
        return lambda value: self.shown.__setitem__(name, value)


@pytest.fixture
def view() -> View:
    """A window."""
    return View()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The session that the controller makes."""
    session = Mock()
    monkeypatch.setattr(controller_module, "Session", session)
    return session.return_value  # type: ignore[no-any-return]


@pytest.fixture
def controller(view: View, session: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StylizeController:
    """Of a user who has never painted, with a server that knows some styles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    reader = Mock(read_picture=lambda _path, _crop: PICTURE)
    controller = StylizeController(
        view, reader, name="test", post=lambda do: do(), starts_server=False, reads_at_once=True
    )
    controller.listed(KNOWN, [])
    session.reset_mock()
    return controller


def _mix(controller: StylizeController) -> list[str]:
    return [style.source for style in controller.editor.current.styles]


def _asked(session: Mock) -> StylizeRequest | None:
    """The newest preview that the session was asked for."""
    make_request = session.preview.call_args.args[0]
    request: StylizeRequest | None = make_request and make_request(256)
    return request


def test_click_chooses_marks_and_asks_for_a_preview(controller: StylizeController, view: View, session: Mock) -> None:
    """Alone, or with what is in the mix; the preview has these styles with these weights."""
    controller.pick("sun", adds=False)
    controller.pick("sea", adds=True)
    controller.weigh([StyleChoice("sun", 0.25), StyleChoice("sea", 1.0)])
    assert view.gallery.marked == ["sun", "sea"] and view.shown["allow_painting"] is True
    request = _asked(session)
    assert request is not None and list(request.regions[0].styles) == [("sun", 0.25), ("sea", 1.0)]
    controller.take_out([StyleChoice("sea")])
    assert view.gallery.marked == ["sea"]
    assert view.mix.show_mix.call_args.args[0] == (StyleChoice("sea"),)


def test_full_mix_says_so_and_the_gallery_shows_what_is_chosen(controller: StylizeController, view: View) -> None:
    """Though the host's list may have marked the one too many."""
    names = [style.name for style in KNOWN]
    controller.choose(names[:MAX_CHOSEN_STYLES])
    controller.choose(names)
    assert "at most" in str(view.shown["show_error"])
    assert view.gallery.marked == _mix(controller) == names[:MAX_CHOSEN_STYLES]


def test_nothing_to_paint_asks_for_no_preview(controller: StylizeController, view: View, session: Mock) -> None:
    """Without a style, without a layer, and until the mask of a region has been read."""
    controller.session()
    controller.refresh()
    assert _asked(session) is None and view.shown["allow_painting"] is False
    controller.pick("sun", adds=False)
    assert _asked(session) is not None
    controller.change_regions(["", "face"], 1)
    assert view.looks == 1 and _asked(session) is None and view.shown["allow_painting"] is True
    view.seen = Content(LAYER, None, {"face": Pixels(bytes(12), 3, 4, "Y")}, 300, 400)
    controller.refresh()
    request = _asked(session)
    assert request is not None and [region.mask is None for region in request.regions] == [True, False]
    view.seen = None
    controller.refresh()
    assert _asked(session) is None and view.preview.show_after.call_args.args == (None,)


def test_control_changes_the_region_that_is_shown(controller: StylizeController, view: View) -> None:
    """And what all regions share."""
    controller.pick("sun", adds=False)
    controller.change_regions(["", "face"], 1)
    view.controls.configure_mock(
        alpha=0.5, preserve_color="match", stroke_size=2.0, detail=0.5, model="", quality="fast"
    )
    controller.take_controls()
    settings = controller.editor.settings
    assert [region.alpha for region in settings.regions] == [1.0, 0.5] and settings.quality == "fast"
    controller.show_region(0)
    shown, region, fitting = view.controls.show_settings.call_args.args
    assert (shown, region.alpha) == (settings, 1.0) and fitting == StylizeSettings().strokes_for(300, 400)


def test_preset_with_a_picture_fills_gallery_and_widgets(
    controller: StylizeController, view: View, tmp_path: Path
) -> None:
    """The picture, which the server does not know, is there with its thumbnail."""
    painting = tmp_path / "painting.png"
    painting.write_bytes(b"read by the stand-in")
    controller.use(StylizeSettings(regions=(RegionChoice((StyleChoice(str(painting)),)),)))
    entry = view.gallery.entry(str(painting))
    assert entry is not None and (entry.title, entry.thumbnail) == ("painting", PICTURE)
    assert view.regions.show_regions.call_args.args == ([""], 0) and view.looks == 1
    controller.add_style(str(painting), "Mine", "a file")
    assert next(iter(view.gallery.entries)) == str(painting) and _mix(controller) == [str(painting)]


def test_lists_fetch_thumbnails_that_are_missing(controller: StylizeController, view: View, session: Mock) -> None:
    """The same list again changes nothing; a file that is no picture leaves the dots."""
    controller.swatch("sun", b"jpeg")
    controller.swatch("sea", b"")
    controller.listed(KNOWN, [])
    session.fetch_swatches.assert_not_called()
    controller.listed([*KNOWN, _style("new")], [ModelInfo("other", "", "", "", "", own=False)])
    assert session.fetch_swatches.call_args.args == (["sea", "sky", "sand", "stone", "new"],)
    assert view.gallery.entries["sun"].thumbnail == b"jpeg"
    assert [entry.name for entry in view.controls.show_models.call_args.args[0]] == ["", "other"]


def test_preview_is_not_shown_over_the_picture_that_is_painted(controller: StylizeController, view: View) -> None:
    """It was asked for before."""
    result = Mock(spec=StylizeResult, pixels=LAYER)
    view.paints = True
    view.preview.reset_mock()
    controller.previewed(result)
    view.preview.show_after.assert_not_called()
    view.paints = False
    controller.previewed(result)
    assert view.preview.show_after.call_args.args[0] == LAYER


def test_what_is_chosen_is_kept(controller: StylizeController, session: Mock, tmp_path: Path) -> None:
    """Each thing without the others being written over."""
    controller.use_folder(tmp_path)
    controller.pick("sun", adds=False)
    controller.remember(controller.editor.settings)
    controller.use_server(ServerSettings(remote=True, address="studio.example:5571"))
    saved = SettingsStore().load()
    assert saved.stylize.regions[0].styles == (StyleChoice("sun"),) and saved.picture_folder == str(tmp_path)
    assert saved.server.address == "studio.example:5571"
    session.reconnect.assert_called_once_with(saved.server)


def test_choices_are_kept_without_painting(controller: StylizeController) -> None:
    """The next window begins with them, and what was painted with last can still be repeated."""
    controller.keep_choices()
    assert SettingsStore().load() == SavedSettings()
    controller.pick("sun", adds=False)
    controller.remember(controller.editor.settings)
    controller.pick("sea", adds=False)
    controller.keep_choices()
    saved = SettingsStore().load()
    assert saved.stylize.regions[0].styles == (StyleChoice("sun"),)
    assert saved.chosen is not None and saved.chosen.regions[0].styles == (StyleChoice("sea"),)


def test_lost_server_takes_the_forecast_with_it(controller: StylizeController, view: View) -> None:
    """Nobody knows then how long the finish takes."""
    error = AdainError("No AdaIN server is running.")
    controller.disconnected(error)
    assert view.shown["show_disconnected"] is error and view.shown["show_forecast"] == ""
