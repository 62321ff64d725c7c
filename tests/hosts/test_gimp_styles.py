"""What can be a style, and what is remembered: names, files, layers, weights, saved styles, the last settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adain_style.client.choices import RegionChoice, StyleChoice
from adain_style.host.settings import SavedSettings, SettingsStore, StylizeSettings
from adain_weights.styles import built_in_styles
from hosts.gimp import Gimp
from support.helpers import PICTURES, RunningServer

pytestmark = pytest.mark.hosts

OK = ("success", "success")
STYLE, OTHER = "hokusai-great-wave", "van-gogh-road"


def _paint(gimp: Gimp, *runs: dict[str, Any]) -> list[tuple[bytes, str]]:
    """Paint the same picture once for each run's arguments; pixels and names of the new layers."""
    results = gimp.run(
        """
        results = []
        for arguments in runs:
            image, layer = picture()
            status = paint(layer, **arguments)
            new = image.get_layers()[0]
            results.append((status, read(new), new.get_name()))
        return results
        """,
        runs=runs,
    )
    assert [status for status, *_rest in results] == [OK] * len(runs)
    return [(pixels, name) for _status, pixels, name in results]


@pytest.fixture
def coffee(gimp: Gimp) -> Path:
    """A picture without a colour profile, where GIMP sees it, under a name with signs that mean something."""
    path = gimp.folder / "cup+tea @2:3 ä.png"
    with Image.open(PICTURES / "coffee.jpg") as opened:
        opened.convert("RGB").resize((300, 200)).save(path)
    return path


def test_saved_styles_file_is_that_style(gimp: Gimp) -> None:
    """The file of a built-in style paints as its name does, also for a server that does not see the file."""
    file = shutil.copy(built_in_styles()[STYLE], gimp.folder / "mine.safetensors")
    by_name, by_file, other = _paint(gimp, {"styles": STYLE}, {"styles": str(file)}, {"styles": OTHER})
    assert by_file[0] == by_name[0] != other[0]
    assert by_name[1].startswith("The Great Wave") and by_file[1] == "mine"


def test_part_of_a_picture_is_cut_from_it(gimp: Gimp, coffee: Path) -> None:
    """PICTURE[LEFT,TOP,WIDTH,HEIGHT] paints as a file with only that part; names may have any sign."""
    with Image.open(coffee) as opened:
        opened.crop((40, 30, 190, 130)).save(gimp.folder / "part.png")
    whole, cut, part = _paint(
        gimp,
        {"styles": str(coffee)},
        {"styles": f"{gimp.folder}/part.png"},
        {"styles": f"{_plain_copy(coffee)}[40,30,150,100]"},
    )
    assert part[0] == cut[0] != whole[0]
    assert whole[1] == coffee.stem


def _plain_copy(path: Path) -> Path:
    """A file with a part behind it is told from a list of styles only when its own name has no + and no colon."""
    return Path(shutil.copy(path, path.parent / "cup.png"))


def test_layer_of_any_open_image_is_a_style(gimp: Gimp, coffee: Path) -> None:
    """layer:ID paints as a file with the same pixels, and gives its name to the result."""
    by_layer, by_weight, by_file = gimp.run(
        """
        results = []
        style_image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(coffee))
        style_layer = style_image.get_layers()[0]
        style_layer.set_name("My cup")
        number = style_layer.get_id()
        for style in (f"layer:{number}", f"layer:{number}:0.5", coffee):
            image, layer = picture()
            results.append((paint(layer, styles=style), read(image.get_layers()[0]), image.get_layers()[0].get_name()))
        return results
        """,
        coffee=str(coffee),
    )
    assert by_layer == by_weight == (OK, by_file[1], "My cup")


def test_layer_can_be_its_own_style(gimp: Gimp) -> None:
    """A picture in its own style is still painted."""
    status, count = gimp.run(
        """
        image, layer = picture()
        return paint(layer, styles=f"layer:{layer.get_id()}", output="in-place"), len(image.get_layers())
        """
    )
    assert (status, count) == (OK, 1)


def test_weights_are_relative_and_mix_styles(gimp: Gimp) -> None:
    """Equal weights are equal whatever they are; 0 leaves a style out; the result's name names what is in it."""
    one, left_out, half, also_half, quarter = _paint(
        gimp,
        {"styles": STYLE},
        {"styles": f"{STYLE}:3+{OTHER}:0"},
        {"styles": f"{STYLE}+{OTHER}"},
        {"styles": f"{STYLE}:2.5+{OTHER}:2.5"},
        {"styles": f"{STYLE}:1+{OTHER}:3"},
    )
    assert left_out == one
    assert also_half == half
    assert len({one[0], half[0], quarter[0]}) == 3
    assert half[1].startswith("The Great Wave") and " + " in half[1]


SETTINGS: list[dict[str, Any]] = [
    {"alpha": 0.4},
    {"preserve_color": "match"},
    {"preserve_color": "luminance"},
    {"stroke_size": 3.0},
    {"stroke_size": 3.0, "detail": 0.0},
]


def test_every_setting_has_an_effect(gimp: Gimp) -> None:
    """Strength, both ways to keep colours, stroke size and detail: each gives another picture."""
    painted = _paint(gimp, {}, *SETTINGS)
    assert len({pixels for pixels, _name in painted}) == len(SETTINGS) + 1


def test_stroke_sizes_below_the_finest_are_the_finest(gimp: Gimp) -> None:
    """1 is the network's own; 0 fits a picture this small as well."""
    finest, fitting, between = _paint(gimp, {"stroke_size": 1.0}, {"stroke_size": 0.0}, {"stroke_size": 0.5})
    assert finest == fitting == between


def test_users_own_picture_has_a_name(gimp: Gimp, coffee: Path) -> None:
    """A file in the user's styles folder is a style, also of a server that looks into another folder."""
    gimp.styles.mkdir(parents=True)
    shutil.copy(coffee, gimp.styles / "Morning Cup.png")
    by_name, by_file = _paint(gimp, {"styles": "morning-cup"}, {"styles": str(coffee)})
    assert by_name[0] == by_file[0]


@pytest.fixture
def listing_server(gimp: Gimp) -> Iterator[RunningServer]:
    """A server that lists the styles which the plug-in saves."""
    with RunningServer("--styles", str(gimp.styles)) as running:
        gimp.use(running)
        yield running


SAVE = """
    image, layer = picture(canvas=(150, 100), at=(10, 10))
    if select:
        image.select_rectangle(Gimp.ChannelOps.REPLACE, 40, 5, 200, 47)
    image.clean_all()
    before = state(image)
    return call("plug-in-adain-style-save", [layer], {"name": name}), before == state(image), read(layer)
"""


def test_saved_style_is_listed_and_painted_with(gimp: Gimp, listing_server: RunningServer) -> None:
    """It lies in the user's folder, is what was selected, and the server has it at once as the user's."""
    with listing_server.client() as client:
        assert not any(style.own for style in client.styles())
        whole, part = (gimp.run(SAVE, name=name, select=name == "A Part") for name in ("Évening Sky", "A Part"))
        own = {style.name: style.title for style in client.styles() if style.own}
    assert whole[:2] == part[:2] == (OK, True)
    assert own == {"vening-sky": "Évening Sky", "a-part": "A Part"}
    pixels = np.frombuffer(whole[2], np.uint8).reshape(72, 96, 3)
    for name, expected in {"Évening Sky": pixels, "A Part": pixels[:42, 30:]}.items():
        with Image.open(gimp.styles / f"{name}.png") as opened:
            assert np.array_equal(np.asarray(opened.convert("RGB")), expected)
    assert sorted(path.name for path in gimp.styles.iterdir()) == ["A Part.png", "Évening Sky.png"]
    by_name, by_file = _paint(gimp, {"styles": "a-part"}, {"styles": str(gimp.styles / "A Part.png")})
    assert by_name == by_file and by_name[1] == "A Part"


def test_style_is_not_saved_under_a_name_that_is_none_or_taken(gimp: Gimp) -> None:
    """One sentence, and no file."""
    gimp.styles.mkdir(parents=True)
    (gimp.styles / "Sky.png").write_bytes(b"mine")
    sentences = {name: gimp.run(SAVE, name=name, select=False)[0] for name in ("sky", "", "a/b", "..", ".hidden", "!?")}
    assert sentences.pop("sky") == ("execution-error", "You have a style 'sky' already; choose another name.")
    assert set(sentences.values()) == {
        ("execution-error", "A style's name has letters or digits, and no signs such as / or :.")
    }
    assert [path.name for path in gimp.styles.iterdir()] == ["Sky.png"]
    assert (gimp.styles / "Sky.png").read_bytes() == b"mine"


def test_style_that_cannot_be_written_is_a_sentence(gimp: Gimp) -> None:
    """Something else lies where the folder should be."""
    gimp.styles.parent.mkdir(parents=True, exist_ok=True)
    gimp.styles.write_text("a file")
    status, unchanged, _pixels = gimp.run(SAVE, name="sky", select=False)
    gimp.styles.unlink()
    assert status[0] == "execution-error" and status[1].startswith("The style cannot be saved: ")
    assert unchanged


REMEMBERED = StylizeSettings(
    (RegionChoice((StyleChoice(STYLE, 1.0), StyleChoice(OTHER, 3.0)), alpha=0.7, preserve_color="match"),),
    stroke_size=2.0,
    detail=0.3,
)


@pytest.mark.parametrize("output", ["new-layer", "in-place"])
def test_repeat_paints_with_the_last_settings(gimp: Gimp, output: str) -> None:
    """As the procedure with the same arguments; and so does the procedure itself with its last values."""
    remembered = StylizeSettings(REMEMBERED.regions, REMEMBERED.stroke_size, REMEMBERED.detail, output)
    SettingsStore(gimp.settings.parent).save(SavedSettings(remembered))
    results = gimp.run(
        """
        results = []
        last_values = {"run-mode": Gimp.RunMode.WITH_LAST_VALS}
        for procedure, given in (
            (STYLIZE, arguments), ("plug-in-adain-style-repeat", {}), (STYLIZE, last_values)
        ):
            image, layer = picture()
            results.append((call(procedure, [layer], given), [read(layer) for layer in image.get_layers()]))
        return results
        """,
        arguments={
            "styles": f"{STYLE}:1+{OTHER}:3",
            "alpha": 0.7,
            "preserve-color": "match",
            "stroke-size": 2.0,
            "detail": 0.3,
            "output": output,
        },
    )
    given, repeated, last = results
    assert given[0] == OK and len(given[1]) == (2 if output == "new-layer" else 1)
    assert repeated == given and last == given


REPEAT = """
    image, layer = picture()
    return call("plug-in-adain-style-repeat", [layer], {}), len(image.get_layers()), image.is_dirty()
"""


@pytest.mark.parametrize("text", [None, "", "{}", "[1, 2]", '{"choices": 5}'], ids=str)
def test_nothing_to_repeat_is_a_sentence(gimp: Gimp, text: str | None) -> None:
    """Before the first time, and when the settings' file is damaged."""
    if text is not None:
        gimp.settings.parent.mkdir(parents=True, exist_ok=True)
        gimp.settings.write_text(text)
    sentence = "Nothing has been painted yet that could be repeated; use Stylize first."
    assert gimp.run(REPEAT) == (("execution-error", sentence), 1, False)
