"""What GIMP's procedure browser and menus say of the plug-in."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adain_style.client import protocol
from hosts.gimp import Gimp, Installation
from hosts.host import as_function
from support.helpers import PICTURES, REPOSITORY, RunningServer

pytestmark = pytest.mark.hosts


def test_every_procedure_is_documented_and_in_the_menu(gimp: Gimp) -> None:
    """Blurb, help, attribution, label and path; image procedures need a drawable."""
    procedures = gimp.run(
        """
        pdb = Gimp.get_pdb()
        found = {}
        for name in pdb.query_procedures(*["^plug-in-adain"] + [".*"] * 7):
            procedure = pdb.lookup_procedure(name)
            found[name] = (
                procedure.get_blurb(), procedure.get_help(), procedure.get_authors(),
                procedure.get_menu_label(), procedure.get_menu_paths(), procedure.get_image_types(),
            )
        return found
        """
    )
    assert sorted(procedures) == [
        "plug-in-adain-style",
        "plug-in-adain-style-repeat",
        "plug-in-adain-style-save",
        "plug-in-adain-style-server",
    ]
    for name, (blurb, long, authors, label, paths, types) in procedures.items():
        assert blurb and long and authors and label, name
        assert paths == ["<Image>/Filters/AdaIN Style/"]
        assert types == (None if name.endswith("-server") else "*")


ARGUMENTS: dict[str, dict[str, Any]] = {
    "styles": {"default": ""},
    "alpha": {"default": 1.0, "range": (0.0, 1.0)},
    "preserve-color": {"default": "none", "choices": list(protocol.PRESERVE_COLOR)},
    "stroke-size": {"default": 0.0, "range": (0.0, protocol.MAX_STROKE_SIZE)},
    "detail": {"default": 0.7, "range": (0.0, 1.0)},
    "output": {"default": "new-layer", "choices": ["new-layer", "in-place"]},
    "model": {"default": ""},
    "regions": {},
    "quality": {"default": "fine", "choices": list(protocol.QUALITY)},
}
"""After run-mode, image and drawables; ranges are the protocol's."""


def test_arguments_have_names_texts_and_ranges(gimp: Gimp) -> None:
    """As scripts rely on them."""
    found = gimp.run(
        """
        described = {}
        for argument in Gimp.get_pdb().lookup_procedure(STYLIZE).get_arguments():
            facts = {"texts": [argument.nick, argument.blurb]}
            if argument.__gtype__.name in ("GParamString", "GParamDouble", "GimpParamChoice"):
                facts["default"] = argument.get_default_value()
            if argument.__gtype__.name == "GParamDouble":
                facts["range"] = argument.minimum, argument.maximum
            if argument.__gtype__.name == "GimpParamChoice":
                facts["choices"] = Gimp.param_spec_choice_get_choice(argument).list_nicks()
            described[argument.name] = facts
        return described
        """
    )
    assert list(found) == ["run-mode", "image", "drawables", *ARGUMENTS]
    for name, expected in ARGUMENTS.items():
        texts = found[name].pop("texts")
        assert all(texts), name
        assert found[name] == expected, name


def test_model_of_the_users_own_paints(gimp: Gimp, own_model: str) -> None:
    """By its name; the one of the tests paints inverted. A name that the server has not is a sentence."""
    results = gimp.run(
        """
        results = []
        for model in ("", own_model, "gone"):
            image, layer = picture()
            given = {"styles": STYLE, "model": model, "output": "in-place", "quality": "fast"}
            results.append((call(STYLIZE, [layer], given), read(layer, "R'G'B'A u8")))
        return results
        """,
        own_model=own_model,
    )
    (plain, before), (other, after), (gone, _unchanged) = results
    assert plain == other == ("success", "success")
    colours, inverted = (np.frombuffer(pixels, np.uint8).reshape(-1, 4).astype(int) for pixels in (before, after))
    seen = colours[:, 3] > 0
    assert np.abs(inverted - (255 - colours))[seen, :3].max() <= 2
    assert gone[0] == "execution-error" and "no model 'gone'" in gone[1]


class _GimpWithProfile(Gimp):
    """One whose settings, with what it knows of its plug-ins, outlast it."""

    def __init__(self, installation: Installation, profile: Path) -> None:
        """Start it. profile: Their folder, made by the first one."""
        self._profile = profile
        super().__init__(installation)

    def _install(self) -> None:
        super()._install()
        if not self._profile.exists():
            shutil.move(self.folder / "gimp", self._profile)
        self._environment["GIMP3_DIRECTORY"] = str(self._profile)

    def _keep(self) -> None:
        """Nothing more: the profile stays where it is."""


EVERY_PROCEDURE = """
    image, layer = picture()
    add_channel(image, "Sky", bytes([255]) * (96 * 72))
    trees = add_layer(image, "Trees")
    trees.add_mask(trees.create_mask(Gimp.AddMaskType.WHITE))
    server = Gimp.get_pdb().lookup_procedure(f"{STYLIZE}-server")
    config = server.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    example(image, layer)
    return {
        "the documented example": [layer.get_name() for layer in image.get_layers()][1:],
        "a style": call(STYLIZE, [layer], {"styles": STYLE}),
        "a region": call(STYLIZE, [layer], {"regions": [f"Sky={STYLE}"]}),
        "nothing": call(STYLIZE, [layer], {}),
        "repeat": call(f"{STYLIZE}-repeat", [layer], {}),
        "save": call(f"{STYLIZE}-save", [layer], {"name": "Cat"}),
        "save nothing": call(f"{STYLIZE}-save", [layer], {}),
        "server": (server.run(config).index(0).value_nick, Gimp.get_pdb().get_last_error().partition(";")[0]),
    }
"""
OK = ("success", "success")
FROM_EVERY_PROCEDURE = {
    "the documented example": [
        "The Great Wave off Kanagawa, about 1831 + painting + The Langlois Bridge at Arles, 1888 + leaves",
        "Photograph",
    ],
    "a style": OK,
    "a region": OK,
    "nothing": ("execution-error", "Choose at least one style."),
    "repeat": ("execution-error", "Nothing has been painted yet that could be repeated; use Stylize first."),
    "save": OK,
    "save nothing": ("execution-error", "A style's name has letters or digits, and no signs such as / or :."),
    "server": ("execution-error", "The server's window needs a display"),
}


def _documented_example(home: Path) -> str:
    """The script of docs/GIMP.md, as a function, with its user's pictures in a folder that there is."""
    for name in ("painting.jpg", "leaves.png"):
        with Image.open(PICTURES / "chelsea.jpg") as picture:
            picture.resize((96, 64)).save(home / name)
    code = (REPOSITORY / "docs" / "GIMP.md").read_text().partition("```python\n")[2].partition("```")[0]
    return as_function(code.replace("/home/me", str(home)), ["image", "layer"]).replace("script", "example", 1)


def test_every_procedure_works_from_the_second_start_on(
    gimp_installation: Installation, server: RunningServer, tmp_path: Path
) -> None:
    """GIMP reads the declarations from its own notes then, and has None for what a script leaves out."""
    for _start in range(2):
        with _GimpWithProfile(gimp_installation, tmp_path / "profile") as gimp:
            gimp.use(server)
            script = _documented_example(gimp.folder) + textwrap.dedent(EVERY_PROCEDURE)
            assert gimp.run(script) == FROM_EVERY_PROCEDURE


def test_save_and_server_have_their_arguments(gimp: Gimp) -> None:
    """A style's name to save it; a run mode for the server's window."""
    save, server = gimp.run(
        """
        return [
            [argument.name for argument in Gimp.get_pdb().lookup_procedure(f"{STYLIZE}-{name}").get_arguments()]
            for name in ("save", "server")
        ]
        """
    )
    assert save == ["run-mode", "image", "drawables", "name"]
    assert server == ["run-mode"]


def test_server_window_needs_a_display(gimp: Gimp) -> None:
    """Without one there is a sentence that names what a terminal can do."""
    status, sentence = gimp.run(
        """
        procedure = Gimp.get_pdb().lookup_procedure("plug-in-adain-style-server")
        config = procedure.create_config()
        config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
        return procedure.run(config).index(0).value_nick, Gimp.get_pdb().get_last_error()
        """
    )
    assert status == "execution-error" and "'adain-server --help'" in sentence
