"""What is remembered, and that a damaged file never stops the work."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from adain_style.client import protocol
from adain_style.client.choices import ChoiceError, RegionChoice, StyleChoice
from adain_style.host.settings import (
    LONGEST_NAME,
    MAX_STROKE_SIZE,
    SavedSettings,
    ServerSettings,
    SettingsStore,
    StylizeSettings,
)
from adain_style.host.settings_editor import repeatable

SETTINGS = SavedSettings(
    StylizeSettings(
        (
            RegionChoice((StyleChoice("waves", 0.25), StyleChoice("/home/me/a:b+c@d.png[1,2,3,4]", 3.0)), 0.5, "match"),
            RegionChoice((StyleChoice("ü 北斎 \udcff"),), 0.0, "luminance", "mask:Sky"),
        ),
        stroke_size=2.5,
        detail=0.0,
        output="in-place",
        model="mine",
        quality="best",
    ),
    ServerSettings(True, "studio.example:5571", "/home/me/key file.json", 45),
    "/home/me/Bilder",
    StylizeSettings(detail=0.25),
)
NAMES = ["Ölgemälde", "a/b", "../../up", ".", "..", ".hidden", "a.b.json", " padded ", 'q"<>|:*?\\', "50%2F", "北斎"]


@pytest.fixture
def store(tmp_path: Path) -> SettingsStore:
    """In a folder that does not exist yet."""
    return SettingsStore(tmp_path / "config" / "adain-style")


def _settings_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "adain-style" / "settings.json"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_settings_come_back_as_they_were_saved(store: SettingsStore) -> None:
    """The defaults before, the last saved ones after, of another store of the same folder too."""
    assert store.load() == SavedSettings()
    store.save(SETTINGS)
    assert store.load() == SETTINGS
    store.save(SavedSettings())
    assert store.load() == SavedSettings()


@pytest.mark.parametrize(("field", "default"), [("model", ""), ("quality", "fine")])
def test_settings_and_presets_of_before_there_was_a_choice_are_kept(
    store: SettingsStore, tmp_path: Path, field: str, default: str
) -> None:
    """Everything else in them is what the user chose."""
    store.save(SETTINGS)
    store.save_preset("x", SETTINGS.stylize)
    settings, preset = _settings_file(tmp_path), _settings_file(tmp_path).parent / "presets" / "x.json"
    fields = json.loads(settings.read_text())
    del fields["choices"][field]
    settings.write_text(json.dumps(fields))
    preset.write_text(json.dumps(fields["choices"]))
    changes: dict[str, Any] = {field: default}
    expected = replace(SETTINGS.stylize, **changes)
    assert store.load() == replace(SETTINGS, stylize=expected)
    assert store.load_preset("x") == expected


def test_platforms_folder_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a folder of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("sys.platform", "linux")
    SettingsStore().save(SETTINGS)
    assert _settings_file(tmp_path).exists() and SettingsStore().load() == SETTINGS


def test_files_are_private_and_nothing_else_is_left(store: SettingsStore, tmp_path: Path) -> None:
    """0600, and no half-written file beside them."""
    for _ in range(2):
        store.save(SETTINGS)
        store.save_preset("x", SETTINGS.stylize)
    files = _files(tmp_path)
    assert sorted(path.name for path in files) == ["settings.json", "x.json"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_file_is_replaced_as_a_whole(store: SettingsStore, tmp_path: Path) -> None:
    """Whoever has the old file open still reads the old settings to their end."""
    store.save(SETTINGS)
    with _settings_file(tmp_path).open(encoding="utf-8") as old:
        store.save(SavedSettings())
        assert json.load(old)["picture_folder"] == SETTINGS.picture_folder


def test_settings_that_cannot_be_saved_are_not_remembered(tmp_path: Path) -> None:
    """A file where the folder should be: nothing raised, nothing changed, defaults again; presets say so."""
    (tmp_path / "config").write_text("precious")
    for folder in (tmp_path / "config", tmp_path / "config" / "deeper"):
        store = SettingsStore(folder)
        store.save(SETTINGS)
        assert store.load() == SavedSettings() and store.presets() == []
        with pytest.raises(ChoiceError, match=r"^The preset cannot be saved: .+\.$"):
            store.save_preset("x", StylizeSettings())
        with pytest.raises(ChoiceError, match=r"^The preset cannot be deleted: .+\.$"):
            store.delete_preset("x")
    assert [path.read_text() for path in _files(tmp_path)] == ["precious"]


def test_failed_save_keeps_the_old_file(store: SettingsStore, tmp_path: Path) -> None:
    """What is in the way is a folder: it stays, and no temporary file does."""
    _settings_file(tmp_path).mkdir(parents=True)
    store.save(SETTINGS)
    assert store.load() == SavedSettings()
    assert _files(tmp_path) == []


def _with(*path: str | int, value: Any) -> Callable[[], str]:
    def text() -> str:
        fields: Any = json.loads(json.dumps(asdict(SETTINGS)))
        fields["choices"] = fields.pop("stylize")
        inner = fields
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        return json.dumps(fields)

    return text


DAMAGED = {
    "empty": lambda: "",
    "no JSON": lambda: "{]",
    "list": lambda: "[]",
    "null": lambda: "null",
    "number": lambda: "7",
    "another program's": lambda: '{"version": 3}',
    "deep": lambda: "[" * 100_000,
    "choices": _with("choices", value=[]),
    "regions": _with("choices", "regions", value={}),
    "region": _with("choices", "regions", 0, value="m=a"),
    "styles": _with("choices", "regions", 0, "styles", value=None),
    "style": _with("choices", "regions", 0, "styles", 0, value="waves"),
    "source": _with("choices", "regions", 0, "styles", 0, "source", value=1),
    "weight": _with("choices", "regions", 0, "styles", 0, "weight", value="1"),
    "negative weight": _with("choices", "regions", 0, "styles", 0, "weight", value=-1),
    "alpha": _with("choices", "regions", 1, "alpha", value=1.5),
    "alpha NaN": _with("choices", "regions", 1, "alpha", value=float("nan")),
    "alpha true": _with("choices", "regions", 1, "alpha", value=True),
    "colour": _with("choices", "regions", 1, "preserve_color", value="pink"),
    "mask": _with("choices", "regions", 1, "mask", value=None),
    "strokes": _with("choices", "stroke_size", value=MAX_STROKE_SIZE + 1),
    "strokes below the network's own": _with("choices", "stroke_size", value=0.5),
    "infinite strokes": _with("choices", "stroke_size", value=float("inf")),
    "huge strokes": _with("choices", "stroke_size", value=10**400),
    "detail": _with("choices", "detail", value=[]),
    "output": _with("choices", "output", value="printer"),
    "model": _with("choices", "model", value=3),
    "quality": _with("choices", "quality", value="superb"),
    "quality null": _with("choices", "quality", value=None),
}
DAMAGED_OUTSIDE_CHOICES = {
    "server": _with("server", value=None),
    "remote": _with("server", "remote", value=1),
    "address": _with("server", "address", value=None),
    "key file": _with("server", "key_file", value=["x"]),
    "idle minutes": _with("server", "idle_minutes", value=4.5),
    "idle minutes true": _with("server", "idle_minutes", value=True),
    "picture folder": _with("picture_folder", value=0),
}
ALL_DAMAGED = DAMAGED | DAMAGED_OUTSIDE_CHOICES


@pytest.mark.parametrize("text", ALL_DAMAGED.values(), ids=ALL_DAMAGED.keys())
def test_damaged_settings_are_the_defaults(store: SettingsStore, tmp_path: Path, text: Callable[[], str]) -> None:
    """All of them, and they can be saved again; what was in the file is kept beside it."""
    store.save(SETTINGS)
    damaged = text()
    _settings_file(tmp_path).write_text(damaged)
    assert store.load() == SavedSettings()
    store.save(SETTINGS)
    assert store.load() == SETTINGS
    assert _settings_file(tmp_path).with_suffix(".damaged.json").read_text() == damaged


def _settings_of(text: str) -> str:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(fields["choices"]) if isinstance(fields, dict) and "choices" in fields else text


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_preset_is_a_sentence(store: SettingsStore, tmp_path: Path, text: Callable[[], str]) -> None:
    """A ChoiceError; it can be saved again and deleted."""
    store.save_preset("x", SETTINGS.stylize)
    assert store.load_preset("x") == SETTINGS.stylize
    (file,) = _files(tmp_path)
    file.write_text(_settings_of(text()))
    with pytest.raises(ChoiceError) as caught:
        store.load_preset("x")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    store.save_preset("x", SETTINGS.stylize)
    assert store.load_preset("x") == SETTINGS.stylize


def test_truncated_and_binary_settings_are_the_defaults(store: SettingsStore, tmp_path: Path) -> None:
    """Cut anywhere, or bytes that are no text."""
    store.save(SETTINGS)
    data = _settings_file(tmp_path).read_bytes()
    for length in range(0, len(data) - 1, 7):
        _settings_file(tmp_path).write_bytes(data[:length])
        assert store.load() == SavedSettings()
    for foreign in (b"\xff\xfe{}", b"\x00" * 100, b"\x89PNG\r\n\x1a\n"):
        _settings_file(tmp_path).write_bytes(foreign)
        assert store.load() == SavedSettings()


def test_what_is_too_much_is_cut(store: SettingsStore, tmp_path: Path) -> None:
    """More regions and styles than a request may have, none at all, no idle time; what is unknown is ignored."""
    store.save(SETTINGS)
    fields = json.loads(_settings_file(tmp_path).read_text())
    region = fields["choices"]["regions"][0]
    region["styles"] = region["styles"][:1] * 100
    fields["choices"]["regions"] = [region] * 100
    fields["server"]["idle_minutes"] = -3
    fields["newer"] = fields["choices"]["newer"] = {"x": 1}
    _settings_file(tmp_path).write_text(json.dumps(fields))
    loaded = store.load()
    assert len(loaded.stylize.regions) == protocol.MAX_REGIONS
    assert {len(region.styles) for region in loaded.stylize.regions} == {protocol.MAX_STYLES}
    assert loaded.server.idle_minutes == 1
    assert loaded.picture_folder == SETTINGS.picture_folder
    fields["choices"]["regions"] = []
    _settings_file(tmp_path).write_text(json.dumps(fields))
    assert store.load().stylize.regions == StylizeSettings().regions


@pytest.mark.parametrize("name", NAMES)
def test_preset_of_any_name(store: SettingsStore, tmp_path: Path, name: str) -> None:
    """Saved, listed, loaded and deleted by its name; its one file is in the presets' folder."""
    store.save_preset(name, SETTINGS.stylize)
    assert store.presets() == [name.strip()]
    assert store.load_preset(name) == store.load_preset(name.strip()) == SETTINGS.stylize
    assert [path.parent for path in _files(tmp_path)] == [tmp_path / "config" / "adain-style" / "presets"]
    store.delete_preset(name)
    assert store.presets() == [] and _files(tmp_path) == []
    with pytest.raises(ChoiceError, match="cannot be read"):
        store.load_preset(name)


def test_presets_of_similar_names_are_different(store: SettingsStore) -> None:
    """Each keeps its own choices."""
    for number, name in enumerate(NAMES):
        store.save_preset(name, StylizeSettings(stroke_size=1.0 + number))
    assert len(store.presets()) == len(NAMES)
    assert [store.load_preset(name).stroke_size for name in NAMES] == [1.0 + number for number in range(len(NAMES))]


def test_presets_are_in_order_whatever_their_case(store: SettingsStore) -> None:
    """As a person looks for them; saving again adds nothing."""
    assert store.presets() == []
    for name in ("banana", "Cherry", "apple", "Banana 2", "banana"):
        store.save_preset(name, StylizeSettings())
    assert store.presets() == ["apple", "banana", "Banana 2", "Cherry"]


def test_preset_replaces_what_had_its_name(store: SettingsStore) -> None:
    """The newest choices count, and the settings are untouched."""
    store.save(SETTINGS)
    store.save_preset("x", StylizeSettings())
    store.save_preset("x", SETTINGS.stylize)
    assert store.load_preset("x") == SETTINGS.stylize
    store.delete_preset("x")
    store.delete_preset("x")
    assert store.load() == SETTINGS


@pytest.mark.parametrize("name", ["", "   ", "x" * (LONGEST_NAME + 1), "a\nb", "a\0b", "\ud800"])
def test_impossible_name_of_a_preset_is_a_sentence(store: SettingsStore, tmp_path: Path, name: str) -> None:
    """And nothing is written."""
    with pytest.raises(ChoiceError, match=r"^A preset's name has 1 to 80 characters\.$"):
        store.save_preset(name, StylizeSettings())
    assert _files(tmp_path) == []


@pytest.mark.parametrize("letter", ["x", "ö", "斎"])
def test_longest_name_of_a_preset_can_be_saved(store: SettingsStore, letter: str) -> None:
    """In any script that people write."""
    store.save_preset(letter * LONGEST_NAME, StylizeSettings())
    assert store.presets() == [letter * LONGEST_NAME]


def test_foreign_files_among_the_presets_do_no_harm(store: SettingsStore, tmp_path: Path) -> None:
    """They are listed at most; reading one says what is wrong."""
    store.save_preset("x", StylizeSettings())
    folder = tmp_path / "config" / "adain-style" / "presets"
    (folder / "notes.txt").write_text("x")
    (folder / "%FF%zz.json").write_text("{}")
    (folder / "folder.json").mkdir()
    assert "x" in store.presets() and "notes" not in store.presets()
    for name in set(store.presets()) - {"x"}:
        with pytest.raises(ChoiceError):
            store.load_preset(name)
    with pytest.raises(ChoiceError, match=r"cannot be deleted: .+\.$"):
        store.delete_preset("folder")


def test_strokes_fit_the_picture_unless_they_are_chosen() -> None:
    """The network's own up to a side of 1024, then in proportion to the longer side, up to the protocol's limit."""
    fitting = StylizeSettings()
    assert fitting.strokes_for(100, 200) == fitting.strokes_for(1024, 1024) == 1.0
    assert fitting.strokes_for(100, 2048) == fitting.strokes_for(2048, 100) == 2.0
    assert fitting.strokes_for(3000, 2000) == 2.9
    assert fitting.strokes_for(100_000, 10) == MAX_STROKE_SIZE
    assert replace(fitting, stroke_size=1.5).strokes_for(100_000, 10) == 1.5


def test_output_says_whether_the_layer_itself_is_changed() -> None:
    """A new layer unless it was asked for."""
    assert not StylizeSettings().in_place and StylizeSettings(output="in-place").in_place


def test_last_settings_are_repeated_without_regions_that_the_document_has_not() -> None:
    """Another picture has other masks; layers that were styles may still be open."""
    layer = RegionChoice((StyleChoice("layer:7"),))
    sky = RegionChoice((StyleChoice("waves"),), mask="mask:Sky")
    last = StylizeSettings((layer, sky), detail=0.25)
    assert repeatable(last, ["mask:Sky", "other"]) == last
    assert repeatable(last, []) == StylizeSettings((layer,), detail=0.25)


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ((RegionChoice(),), "Nothing has been painted yet"),
        ((RegionChoice((StyleChoice("waves"),), mask="mask:Sky"),), "none of the regions"),
        ((RegionChoice(), RegionChoice((StyleChoice("waves"),), mask="mask:Sky")), "none of the regions"),
    ],
)
def test_nothing_to_repeat_is_a_sentence(regions: tuple[RegionChoice, ...], said: str) -> None:
    """Nothing was painted yet, or nothing of it is here."""
    with pytest.raises(ChoiceError, match=said):
        repeatable(StylizeSettings(regions), [])


def test_settings_of_before_choices_were_kept_are_shown_again(store: SettingsStore, tmp_path: Path) -> None:
    """What was painted with last is what a window begins with."""
    store.save(SETTINGS)
    file = next(tmp_path.rglob("settings.json"))
    fields = json.loads(file.read_text())
    del fields["chosen"]
    file.write_text(json.dumps(fields))
    assert store.load() == replace(SETTINGS, chosen=None)
