"""What the plug-in refuses in a real GIMP: with a sentence, and with nothing changed, not even by an undo step."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

import pytest

from hosts.gimp import Gimp
from support.helpers import PICTURES

pytestmark = pytest.mark.hosts

WHAT_CANNOT_BE_PAINTED = {
    "group": (
        """
        group = Gimp.GroupLayer.new(image, "Holiday")
        image.insert_layer(group, None, 0)
        add_layer(image, "child", inside=group)
        chosen = [group]
        """,
        "'Holiday' is a layer group; choose a layer in it, or merge the group.",
    ),
    "locked layer": (
        "layer.set_lock_content(True); chosen = [layer]",
        "The pixels of 'Photograph' are locked; unlock them in the Layers dialog.",
    ),
    "layer of a locked group": (
        """
        group = Gimp.GroupLayer.new(image, "Holiday")
        image.insert_layer(group, None, 0)
        chosen = [add_layer(image, "child", inside=group)]
        group.set_lock_content(True)
        """,
        "The pixels of 'Holiday' are locked; unlock them in the Layers dialog.",
    ),
    "layer mask": (
        "layer.add_mask(layer.create_mask(Gimp.AddMaskType.WHITE)); chosen = [layer.get_mask()]",
        "A layer mask is chosen; choose the layer itself.",
    ),
    "channel": (
        "chosen = [add_channel(image, 'sky', bytes(96 * 72))]",
        "A channel is chosen; choose a layer.",
    ),
    "selection": (
        "chosen = [image.get_selection()]",
        "A channel is chosen; choose a layer.",
    ),
    "several layers": (
        "chosen = [layer, add_layer(image, 'other'), add_layer(image, 'third')]",
        "Choose one layer; 3 are chosen.",
    ),
    "floating selection": (
        "Gimp.edit_copy([layer]); chosen = Gimp.edit_paste(layer, False)",
        "There is a floating selection; anchor it, or make it a new layer.",
    ),
    "selection beside the layer": (
        "image.select_rectangle(Gimp.ChannelOps.REPLACE, 120, 0, 20, 20); chosen = [layer]",
        "The selection does not touch the layer 'Photograph'.",
    ),
    "values that are no numbers": (
        """
        image.convert_precision(Gimp.Precision.FLOAT_LINEAR)
        write(layer, "RGB float", array("f", [float("nan")] * 96 * 72 * 3).tobytes())
        chosen = [layer]
        """,
        "The layer holds values that are not numbers (NaN or infinite); paint over them, or convert it to 16-bit "
        "integers first.",
    ),
}


def _refusal(gimp: Gimp, prepare: str = "", *, output: str = "new-layer", **arguments: Any) -> str:
    """Prepare a picture and try to paint it, which must be refused and change nothing; the sentence."""
    status, sentence, before, after = gimp.run(
        """
        image, layer = picture(canvas=(150, 100))
        names = dict(globals(), image=image, layer=layer, chosen=[layer])
        exec(prepare, names)
        image.clean_all()
        before = state(image)
        return *paint(*names["chosen"], output=output, **arguments), before, state(image)
        """,
        prepare=textwrap.dedent(prepare),
        output=output,
        arguments=arguments,
    )
    assert status == "execution-error"
    assert after == before and after["clean"]
    return str(sentence)


@pytest.mark.fault(39, 96)
@pytest.mark.parametrize("output", ["new-layer", "in-place"])
@pytest.mark.parametrize(("prepare", "sentence"), WHAT_CANNOT_BE_PAINTED.values(), ids=WHAT_CANNOT_BE_PAINTED.keys())
def test_what_cannot_be_painted_is_refused(gimp: Gimp, prepare: str, sentence: str, output: str) -> None:
    """Pixels, layers, choice of layers and undo steps are those of before; the sentence says what to do."""
    assert _refusal(gimp, prepare, output=output) == sentence


WRONG_ARGUMENTS = {
    "no style": ({"styles": ""}, "Choose at least one style."),
    "only weights of 0": ({"styles": "hokusai-great-wave:0+van-gogh-road:0"}, "Choose at least one style."),
    "only weights of 0 in a region": (
        {"styles": "", "regions": ["layer:Photograph=van-gogh-road:0"]},
        "Choose at least one style.",
    ),
    "unknown style": (
        {"styles": "hokusai-sunny-day"},
        "There is no style 'hokusai-sunny-day'; 'adain-stylize --list-styles' names them.",
    ),
    "missing picture": ({"styles": "/no/such.png"}, "There is no style or picture '/no/such.png'."),
    "missing layer": (
        {"styles": "layer:987654"},
        "The layer that was chosen as a style is not open any more; choose another style.",
    ),
    "weight that is no number": (
        {"styles": "van-gogh-road:much"},
        "The weight of style van-gogh-road is a number, not 'much'.",
    ),
    "negative weight": ({"styles": "van-gogh-road:-1"}, "The weight of style van-gogh-road is at least 0, not -1."),
    "region without a style": (
        {"regions": ["sky"]},
        "A region is MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR], not 'sky'.",
    ),
    "strength of a region above 1": (
        {"regions": ["layer:Photograph=van-gogh-road@1.5"]},
        "The alpha of region layer:Photograph is between 0 and 1, not 1.5.",
    ),
    "too many styles": (
        {"styles": "+".join(["van-gogh-road"] * 17)},
        "There may be 16 regions of 16 styles each.",
    ),
    "too many regions": (
        {"regions": ["layer:Photograph=van-gogh-road"] * 16},
        "There may be 16 regions of 16 styles each.",
    ),
}


@pytest.mark.fault(96)
@pytest.mark.parametrize(("arguments", "sentence"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS.keys())
def test_wrong_arguments_are_refused(gimp: Gimp, arguments: dict[str, Any], sentence: str) -> None:
    """The sentence says which one is wrong; nothing changes."""
    assert _refusal(gimp, **arguments) == sentence


def test_files_that_are_no_styles_are_refused(gimp: Gimp) -> None:
    """Damaged pictures and saved styles, a text, a folder, a part that lies outside: sentences say which."""
    for name, content in {"damaged.png": b"\x89PNG\r\n\x1a\n" + b"junk" * 50, "notes.txt": b"no picture"}.items():
        (gimp.folder / name).write_bytes(content)
        sentence = _refusal(gimp, styles=str(gimp.folder / name))
        assert sentence.startswith(f"{gimp.folder / name} cannot be opened: ")
    (gimp.folder / "damaged.safetensors").write_bytes(b"\x10" * 300)
    assert "damaged" in _refusal(gimp, styles=str(gimp.folder / "damaged.safetensors"))
    (gimp.folder / "folder.png").mkdir(exist_ok=True)
    assert _refusal(gimp, styles=f"{gimp.folder}/folder.png").startswith("There is no style or picture ")
    shutil.copy(PICTURES / "coffee.jpg", gimp.folder)
    outside = _refusal(gimp, styles=f"{gimp.folder}/coffee.jpg[0,0,50,100000]")
    assert outside == f"The part of {gimp.folder}/coffee.jpg lies outside of the picture."


def test_invisible_styles_are_refused(gimp: Gimp) -> None:
    """A layer without a visible pixel, or a picture whose layers are all hidden, has no colours to give."""
    hidden = gimp.folder / "hidden.xcf"
    layer_sentence, file_sentence, before, after = gimp.run(
        """
        image, layer = picture()
        layer.set_visible(False)
        Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(hidden), None)
        layer.set_visible(True)
        empty = add_layer(image, "empty", alpha=True)
        write(empty, "R'G'B'A u8", bytes(96 * 72 * 4))
        image.clean_all()
        before = state(image)
        return *(paint(layer, styles=style)[1] for style in (f"layer:{empty.get_id()}", hidden)), before, state(image)
        """,
        hidden=str(hidden),
    )
    assert "visible pixel" in layer_sentence
    assert file_sentence == f"{hidden} has no visible layer."
    assert after == before and after["clean"]
