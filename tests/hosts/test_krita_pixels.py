"""Layers of every colour space, shape and kind, painted in a real Krita: pixels, places, transparency, undo."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adain_style.client.client import Client
from adain_style.client.jobs import Pixels
from hosts.krita import Krita, Look, as_array, samples
from support.helpers import pixels_array, request

pytestmark = pytest.mark.hosts

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]
STYLE = "hokusai-great-wave"
CURVED = {"RGBA": "sRGB-elle-V2-srgbtrc.icc", "GRAYA": "Gray-D50-elle-V2-srgbtrc.icc"}
LINEAR = {"RGBA": "sRGB-elle-V2-g10.icc", "GRAYA": "Gray-D50-elle-V2-g10.icc"}
SIZE = (96, 72)
AT: dict[str, Any] = {"at": (3, 2), "canvas": (110, 80)}


def _wire(pixels: bytes, box: Box, model: str, depth: str) -> Pixels:
    """A layer's pixels as the protocol counts them; Krita's integers begin with blue."""
    layout = "YA" if model == "GRAYA" else "BGRA" if depth.startswith("U") else "RGBA"
    return Pixels(pixels, box[3], box[2], layout, depth.lower())


def _expected(client: Client, source: Look, mask: bytes | None = None, *, alpha: float = 1.0) -> Array:
    """What the server makes of a layer, without Krita."""
    box = source["bounds"]
    content = _wire(source["pixels"], box, source["model"], source["depth"])
    where = None if mask is None else Pixels(mask, box[3], box[2], "Y", "u8")
    transfer = "linear" if source["profile"] in LINEAR.values() else "srgb"
    asked = request(content, [(STYLE, 1.0)], alpha=alpha, mask=where, compose="cutout", transfer=transfer)
    return pixels_array(client.stylize(asked).pixels)


def _share(selection: tuple[Box, bytes], box: Box) -> Array:
    """What of a selection is over a rectangle, 0 to 255, (height, width)."""
    (left, top, width, height), values = selection
    whole = np.zeros((2000, 2000), np.uint8)
    whole[500 + top :, 500 + left :][:height, :width] = np.frombuffer(values, np.uint8).reshape(height, width)
    return whole[500 + box[1] :, 500 + box[0] :][: box[3], : box[2]]


def _steps(values: Array, expected: Array) -> float:
    """The largest difference: in steps of integers, in ten-thousandths of floats; 1 is close enough."""
    difference = float(np.abs(values.astype(float) - expected.astype(float)).max())
    if values.dtype == np.float16:
        return difference / 1e-3  # a step of its own near white
    return difference / 1e-4 if values.dtype == np.float32 else difference


PAINT = """
    def screen(node, box):
        copy = document.createNode("copy", "paintlayer")
        copy.setColorSpace(node.colorModel(), node.colorDepth(), node.colorProfile())
        copy.setPixelData(node.pixelData(*box), *box)
        copy.setColorSpace("RGBA", "U16", "sRGB-elle-V2-srgbtrc.icc")
        return bytes(copy.pixelData(*box))

    def painted(layer, alpha):
        document.setActiveNode(layer)
        yield from settle(document)
        source = look(layer)
        sentence = yield from paint(document, alpha=alpha)
        names = [node.uniqueId() for node in document.topLevelNodes()]
        new = document.topLevelNodes()[names.index(layer.uniqueId()) + 1]
        box = source["bounds"]
        return {"sentence": sentence, "source": source, "new": look(new), "after": look(layer),
                "active": document.activeNode().uniqueId().toString(),
                "screen": screen(layer, box), "new screen": screen(new, box)}

    document, first = picture(model=model, depth=depth, at=(3, 2), canvas=(110, 80))
    layers = [first]
    for space in spaces:
        layers.append(document.createNode("Other", "paintlayer"))
        layers[-1].setColorSpace(*space)
        layers[-1].setPixelData(pattern(96, 72, *space[:2]), 3, 2, 96, 72)
        document.rootNode().addChildNode(layers[-1], None)
    yield from settle(document)
    results = []
    for layer in layers:
        results.append((yield from painted(layer, 1.0)))
    if gradient:
        layers.append(document.createNode("Gradient", "paintlayer"))
        layers[-1].setPixelData(gradient, 3, 2, 96, 72)
        document.rootNode().addChildNode(layers[-1], None)
        yield from settle(document)
        results.append((yield from painted(layers[-1], 0.0)))
    title = next(style.title for style in panel().controller.styles.known if style.name == STYLE)
    return title, results
"""
SPACES = [
    (model, depth)
    for model in ("RGBA", "GRAYA", "CMYKA", "LABA")
    for depth in ("U8", "U16", "F16", "F32")
    if depth != "F16" or model in LINEAR  # Krita has no others
]


def _check_new_layer(title: str, result: dict[str, Any]) -> None:
    """It is like its source, which is not touched, but for its name and colours."""
    source, new = result["source"], result["new"]
    assert result["sentence"] == "" and result["after"] == source and result["active"] == source["id"]
    same = ("bounds", "model", "depth", "profile", "type")
    assert {name: new[name] for name in same} == {name: source[name] for name in same}
    assert new["name"] == title
    assert (new["opacity"], new["visible"], new["blending"], new["animated"]) == (255, True, "normal", False)
    old_alpha, new_alpha = samples(source)[..., -1], samples(new)[..., -1]
    assert np.array_equal(old_alpha, new_alpha) or (old_alpha.dtype.kind == "f" and _steps(new_alpha, old_alpha) < 0.1)


def _check_colours(client: Client, result: dict[str, Any], *, alpha: float = 1.0) -> None:
    """The server's own, where they go over the wire as they are; otherwise those of what Krita shows, about."""
    source, new = result["source"], result["new"]
    seen = samples(source)[..., -1] > 0
    if source["profile"] in (*CURVED.values(), *LINEAR.values()):
        assert _steps(samples(new)[seen], _expected(client, source, alpha=alpha)[seen]) <= 1
        return
    shown: Look = {**source, "model": "RGBA", "depth": "U16", "profile": CURVED["RGBA"], "pixels": result["screen"]}
    colours = as_array(result["new screen"], source["bounds"], "U16")[..., :3] / 65535
    expected = _expected(client, shown, alpha=alpha)[..., :3] / 65535
    difference = np.abs(colours - expected)[seen].mean()
    # Inks cannot show every colour, and Krita's own conversions of 16 bit of LABA are not exact. Colours beyond sRGB's
    # gamut have numbers above white, so that their paint is brighter than that of what the screen shows.
    assert difference < {"CMYKA": 0.06, "LABA": 0.06}.get(source["model"], 0.01)


def _gradient(model: str, depth: str) -> bytes:
    """From dark to light gray, opaque, a value of its own in nearly every pixel."""
    rows, columns = np.mgrid[:72, :96]
    level = 0.1 + 0.8 * (columns + rows + rows / 72) / 170
    whole = 1.0 if depth.startswith("F") else 255 if depth == "U8" else 65535
    values = np.repeat(level[..., None] * whole, {"GRAYA": 2, "CMYKA": 5}.get(model, 4), axis=2)
    if model in ("CMYKA", "LABA") and depth == "F32":
        values *= 100
    if model == "LABA":
        values[..., 1:3] = 0 if depth == "F32" else (whole + 1) // 2
    if model == "CMYKA":
        values[..., 3] = 0
    values[..., -1] = whole
    return values.astype({"U8": np.uint8, "U16": np.uint16, "F16": np.float16, "F32": np.float32}[depth]).tobytes()


@pytest.mark.fault(97)
@pytest.mark.parametrize(("model", "depth"), SPACES)
def test_new_layer_has_the_servers_colours_and_its_layers_space(
    krita: Krita, client: Client, model: str, depth: str
) -> None:
    """With Krita's own profile and with the other curve; no step has 8 bit; at strength 0 a gradient is the content."""
    other = LINEAR if depth == "U8" else CURVED
    spaces = [(model, depth, other[model])] if model in other else []
    title, results = krita.run(PAINT, model=model, depth=depth, spaces=spaces, gradient=_gradient(model, depth))
    assert {result["source"]["profile"] for result in results} >= {*CURVED.values(), *LINEAR.values()} & {
        profiles.get(model) for profiles in (CURVED, LINEAR)
    }
    for result in results:
        _check_new_layer(title, result)
        _check_colours(client, result, alpha=float(result is not results[-1]))
        assert depth == "U8" or len(np.unique(samples(result["new"])[..., 0])) > (300 if depth == "F16" else 2000)
    old, new = (as_array(results[-1][name], (0, 0, *SIZE), "U16") / 65535 for name in ("screen", "new screen"))
    assert np.abs(new - old).mean() < 0.05


def test_layer_has_another_space_than_its_document(krita: Krita, client: Client) -> None:
    """The layer's own counts, wider primaries too."""
    spaces = [
        ("RGBA", "F32", "Rec2020-elle-V4-g10.icc"),
        ("GRAYA", "U16", CURVED["GRAYA"]),
        ("LABA", "U16", "Lab identity built-in"),
        ("RGBA", "F16", LINEAR["RGBA"]),
    ]
    title, results = krita.run(PAINT, model="RGBA", depth="U8", spaces=spaces, gradient=b"")
    for result, space in zip(results[1:], spaces, strict=True):
        assert tuple(result["source"][name] for name in ("model", "depth", "profile")) == space
        _check_new_layer(title, result)
        _check_colours(client, result)


@pytest.mark.parametrize(
    ("depth", "profile"), [("F16", CURVED["RGBA"]), ("F32", LINEAR["RGBA"])], ids=["half-curved", "float-linear"]
)
def test_values_beyond_white(krita: Krita, depth: str, profile: str) -> None:
    """Paint is as bright as the layer; beyond the selection the new layer has the old values, all transparent."""
    sentence, before, after, pixels = krita.run(
        """
        document, layer = picture(depth=depth, profile=profile)
        values = [value for place in range(96 * 72) for value in (4.0, place / 6912, -0.1, 1.0)]
        layer.setPixelData(_stored(values, depth), 0, 0, 96, 72)
        document.refreshProjection()
        select(document, 0, 0, 48, 72)
        yield from settle(document)
        before = state(document)
        sentence = yield from paint(document)
        new = document.topLevelNodes()[1]
        return sentence, before, state(document), bytes(new.pixelData(0, 0, 96, 72))
        """,
        depth=depth,
        profile=profile,
    )
    assert sentence == ""
    assert after["layers"][0] == before["layers"][0]
    old, new = samples(before["layers"][0]), as_array(pixels, (0, 0, *SIZE), depth)
    assert old.max() == 4 and old.min() < -0.09
    assert np.array_equal(new[:, 48:, :3], old[:, 48:, :3]) and (new[:, 48:, 3] == 0).all()
    assert new[:, :48].min() >= 0 and 1 < new[:, :48].max() <= 4.01 and (new[:, :48, 3] == 1).all()


PLACES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "as the canvas": ((0, 0), (96, 72)),
    "inside the canvas": ((20, 10), (200, 150)),
    "over two edges": ((-13, -7), (70, 60)),
    "larger than the canvas": ((-20, -10), (60, 50)),
}
"""A layer's place in the document, and the canvas' size."""
SELECT = """
    document, layer = picture(model=model, depth=depth, at=at, canvas=canvas)
    results = []
    for how in ways:
        select(document, 15, 5, 40, 30, **how)
        yield from settle(document)
        before = state(document)
        sentence = yield from paint(document)
        new = layer.parentNode().childNodes()[1]
        results.append((sentence, before, state(document), bytes(new.pixelData(*before["layers"][0]["bounds"]))))
        new.remove()
        yield from settle(document)
    return results
"""
HARD: dict[str, Any] = {}
SOFT = {"feather": 6}
BYTES = {"values": bytes(np.random.default_rng(0).integers(0, 256, 40 * 30, dtype=np.uint8))}
"""A value of its own for each pixel."""


@pytest.mark.parametrize(("at", "canvas"), PLACES.values(), ids=PLACES.keys())
def test_new_layers_alpha_is_the_selections(
    krita: Krita, client: Client, at: tuple[int, int], canvas: tuple[int, int]
) -> None:
    """Times the layer's own, hard or soft; the paint is whole even at a soft edge."""
    results = krita.run(SELECT, model="RGBA", depth="U8", at=at, canvas=canvas, ways=[HARD, SOFT])
    for result, levels in zip(results, ((2, 2), (9, 256)), strict=True):
        _check_cut_out(client, result, levels)


@pytest.mark.parametrize(("model", "depth"), [("GRAYA", "U16"), ("RGBA", "F32"), ("CMYKA", "U8")])
def test_deep_layers_are_cut_out_in_their_own_depth(krita: Krita, client: Client, model: str, depth: str) -> None:
    """Alpha times the selection is not rounded to 8 bit; the selection may have a value of its own for each pixel."""
    (result,) = krita.run(SELECT, model=model, depth=depth, at=(3, 2), canvas=(110, 80), ways=[BYTES])
    _check_cut_out(client, result, (200, 256))


def _check_cut_out(client: Client, result: Any, levels: tuple[int, int]) -> None:
    sentence, before, after, pixels = result
    assert sentence == ""
    source = before["layers"][0]
    assert after["layers"][0] == source and after["active"] == before["active"]
    assert after["selection"] == before["selection"]
    share = _share(before["selection"], source["bounds"])
    assert levels[0] <= len(np.unique(share)) <= levels[1]
    old, new = samples(source), as_array(pixels, source["bounds"], source["depth"])
    assert _steps(new[..., -1], old[..., -1] * (share / 255)) <= 1
    painted = (share > 0) & (old[..., -1] > 0)
    if source["model"] != "CMYKA":
        assert _steps(new[painted], _expected(client, source, share.tobytes())[painted]) <= 1
    change = np.abs(new.astype(float) - old)[..., :-1].mean(axis=-1)
    faint, strong = painted & (share < 100), painted & (share > 155)
    assert not faint.any() or change[faint].mean() > 0.4 * change[strong].mean()


REFUSED: dict[str, tuple[str, str]] = {
    "selection beside the layer": (
        "select(document, 60, 50, 20, 20)",
        "The selection does not touch the layer.",
    ),
    "empty layer": (
        "document.rootNode().addChildNode(document.createNode('Nothing', 'paintlayer'), None)\n"
        "yield from settle(document)\n"
        "document.setActiveNode(document.topLevelNodes()[1])",
        "The layer 'Nothing' is empty.",
    ),
    "empty group": (
        "document.rootNode().addChildNode(document.createGroupLayer('Group'), None)\n"
        "yield from settle(document)\n"
        "document.setActiveNode(document.topLevelNodes()[1])",
        "The layer 'Group' is empty.",
    ),
    "passing through": (
        "group = document.createGroupLayer('Group')\n"
        "document.rootNode().addChildNode(group, None)\n"
        "add_layer(document, 'Inside', inside=group)\n"
        "group.setPassThroughMode(True)\n"
        "yield from settle(document)\n"
        "document.setActiveNode(group)",
        "The group 'Group' passes through, so it has no picture of its own; switch that off.",
    ),
}


@pytest.mark.fault(96)
@pytest.mark.parametrize(("prepare", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_painted_is_said(krita: Krita, prepare: str, sentence: str) -> None:
    """A sentence, and nothing has changed."""
    script = (
        f"document, layer = picture(40, 30, canvas=(96, 72))\n{prepare}\nyield from settle(document)\n"
        "before = state(document)\nsaid = yield from paint(document)\nreturn said, before, state(document)"
    )
    said, before, after = krita.run(script)
    assert said == sentence
    assert after == before


def test_layer_beyond_the_canvas_is_painted(krita: Krita, client: Client) -> None:
    """Without a selection the whole layer is painted, wherever it is."""
    results = krita.run(
        """
        document, layer = picture(at=(500, 400), canvas=(50, 40))
        found = []

        def above(node):
            nodes = document.topLevelNodes()
            return nodes[[other.uniqueId() for other in nodes].index(node.uniqueId()) + 1]

        for layer in (layer, add_layer(document, "Left", at=(-300, 5))):
            yield from settle(document)
            document.setActiveNode(layer)
            sentence = yield from paint(document)
            found.append((sentence, look(layer), look(above(layer))))
        return found
        """
    )
    for sentence, source, new in results:
        assert sentence == ""
        seen = samples(source)[..., 3] > 0
        assert new["bounds"] == source["bounds"]
        assert _steps(samples(new)[seen], _expected(client, source)[seen]) <= 1
    assert [source["bounds"] for _sentence, source, _new in results] == [(500, 400, *SIZE), (-300, 5, *SIZE)]


@pytest.mark.fault(36)
def test_any_size_comes_back(krita: Krita) -> None:
    """Odd sizes, single rows and a single pixel."""
    sizes = [(1, 1), (1, 5), (7, 1), (97, 73), (3, 200)]
    results = krita.run(
        """
        document, layer = picture(canvas=(100, 220))
        found = []
        for size in sizes:
            layer = document.createNode("Small", "paintlayer")
            layer.setPixelData(bytes([10, 130, 250, 255]) * (size[0] * size[1]), 5, 6, *size)
            document.rootNode().addChildNode(layer, None)
            yield from settle(document)
            document.setActiveNode(layer)
            sentence = yield from paint(document)
            found.append((sentence, *map(look, document.topLevelNodes()[-2:])))
        return found
        """,
        sizes=sizes,
    )
    for (sentence, source, new), size in zip(results, sizes, strict=True):
        assert sentence == ""
        assert new["bounds"] == source["bounds"] == (5, 6, *size)
        assert (samples(new)[..., :3] != samples(source)[..., :3]).any()


SHAPES = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="96px" height="72px" viewBox="0 0 96 72">'
    '<rect x="10" y="12" width="40" height="30" fill="#c04020"/><circle cx="60" cy="40" r="20" fill="#2060c0"/></svg>'
)
SEEN: dict[str, str] = {
    "group": """
        node = document.createGroupLayer("Group")
        document.rootNode().addChildNode(node, None)
        add_layer(document, "Inside", 40, 30, at=(5, 6), inside=node)
        add_layer(document, "Above", 30, 40, at=(30, 20), inside=node).setOpacity(128)
        yield from settle(document)
        document.setActiveNode(node)
    """,
    "vector layer": """
        node = document.createVectorLayer("Shapes")
        document.rootNode().addChildNode(node, None)
        yield from settle(document)
        node.addShapesFromSvg(shapes)
        yield from until(lambda: node.bounds().width() == 70)
        document.setActiveNode(node)
    """,
    "fill layer": """
        colour, part = InfoObject(), Selection()
        colour.setProperty("color", "#ff8000")
        part.select(10, 10, 50, 40, 255)
        part.feather(4)
        node = document.createFillLayer("Fill", "color", colour, part)
        document.rootNode().addChildNode(node, None)
        yield from until(lambda: max(bytes(node.projectionPixelData(30, 30, 1, 1))))
        document.setActiveNode(node)
    """,
    "clone layer": """
        node = document.createCloneLayer("Clone", layer)
        document.rootNode().addChildNode(node, None)
        yield from until(lambda: node.bounds().width() == 96)
        document.setActiveNode(node)
    """,
    "masked layer": """
        node = add_layer(document, "Masked")
        yield from settle(document)
        select(document, 10, 10, 50, 40, feather=4)
        document.setActiveNode(node)
        yield from settle(document)
        action("add_new_transparency_mask")
        yield from settle(document)
        document.setActiveNode(node)
    """,
}
SEEN["chosen mask"] = SEEN["masked layer"] + "    document.setActiveNode(node.childNodes()[0])\n"


@pytest.mark.parametrize("prepare", SEEN.values(), ids=SEEN.keys())
def test_what_has_no_pixels_of_its_own_is_painted_as_it_is_seen(krita: Krita, client: Client, prepare: str) -> None:
    """Groups, vector, fill and clone layers, and masked ones, as they look alone, in a paint layer directly above."""
    script = f"""
        document, layer = picture()
        yield from settle(document)
        {prepare.strip()}
        yield from settle(document)
        before, box = state(document), look(node)["bounds"]
        seen = bytes(node.projectionPixelData(*box))
        sentence = yield from paint(document)
        new = document.topLevelNodes()[-1]
        return sentence, before, state(document), seen, bytes(new.pixelData(*box))
    """
    sentence, before, after, seen, pixels = krita.run(script, shapes=SHAPES)
    assert sentence == ""
    assert after["layers"][:2] == before["layers"] and after["active"] == before["active"]
    source, new = before["layers"][1], after["layers"][2]
    assert new["type"] == "paintlayer"
    shown: Look = {**source, "pixels": seen}
    old, painted = samples(shown), as_array(pixels, source["bounds"], "U8")
    assert {255} < set(np.unique(old[..., 3]))
    assert np.array_equal(old[..., 3], painted[..., 3])
    visible = old[..., 3] > 0
    assert _steps(painted[visible], _expected(client, shown)[visible]) <= 1
    assert new["bounds"][2] <= source["bounds"][2]


def test_result_lies_directly_above_its_layer_in_the_group(krita: Krita) -> None:
    """Of three layers in a group, above the middle one."""
    sentence, before, after = krita.run(
        """
        document, layer = picture()
        group = document.createGroupLayer("Group")
        document.rootNode().addChildNode(group, None)
        layers = [add_layer(document, name, 40, 30, inside=group) for name in ("Low", "Middle", "High")]
        yield from settle(document)
        document.setActiveNode(layers[1])
        yield from settle(document)
        before = state(document)
        sentence = yield from paint(document)
        return sentence, before, state(document)
        """
    )
    assert sentence == ""
    assert after["layers"][0] == before["layers"][0] and len(after["layers"]) == 2
    old, new = before["layers"][1]["children"], after["layers"][1]["children"]
    assert new[:2] == old[:2] and new[3:] == old[2:] and len(new) == 4
    assert after["active"] == before["active"] == old[1]["id"]


@pytest.mark.fault(99)
def test_one_undo_removes_the_layer_and_redo_brings_it_back(krita: Krita) -> None:
    """With all its pixels; the layer that the user had stays the active one."""
    results = krita.run(
        """
        document, layer = picture()
        found = []
        for selects in (False, True):
            if selects:
                select(document, 10, 10, 50, 40, feather=4)
            yield from settle(document)
            before = state(document)
            sentence = yield from paint(document)
            painted = state(document)
            yield from undo(document)
            undone = state(document)
            yield from redo(document)
            found.append((sentence, before, painted, undone, state(document)))
            yield from undo(document)
        return found
        """
    )
    for sentence, before, painted, undone, redone in results:
        assert sentence == ""
        assert len(painted["layers"]) == len(before["layers"]) + 1
        assert undone["layers"] == before["layers"] and undone["selection"] == before["selection"]
        assert redone["layers"] == painted["layers"] and redone["selection"] == painted["selection"]
        assert before["active"] == painted["active"] == undone["active"]


def test_layers_own_settings_are_not_the_new_ones(krita: Krita) -> None:
    """Opacity, blending and locks; but a new layer is clipped where its source is."""
    sentence, before, after, inherits = krita.run(
        """
        document, below = picture()
        layer = add_layer(document, "Clipped")
        layer.setOpacity(100)
        layer.setBlendingMode("multiply")
        layer.setLocked(True)
        layer.setInheritAlpha(True)
        yield from settle(document)
        document.setActiveNode(layer)
        yield from settle(document)
        before = state(document)
        sentence = yield from paint(document)
        return sentence, before, state(document), document.topLevelNodes()[2].inheritAlpha()
        """
    )
    assert sentence == ""
    assert after["layers"][:2] == before["layers"]
    new = after["layers"][2]
    assert (new["opacity"], new["blending"], new["locked"], inherits) == (255, "normal", False, True)


FILM = """
    document, layer = picture(96, 72, canvas=(110, 80))
    document.setActiveNode(layer)
    yield from settle(document)
    layer.enableAnimation()
    yield from settle(document)
    whole = pattern(96, 72)
    for time_of_frame in (3, 6):
        document.setCurrentTime(time_of_frame)
        yield from settle(document)
        action("add_duplicate_frame")
        yield from settle(document)
        layer.setPixelData(bytes(255 - byte if place % 4 == 0 else byte // (1 + (place % 4 == 3 and time_of_frame == 6))
                                 for place, byte in enumerate(whole)), 0, 0, 96, 72)
        document.refreshProjection()
        yield from settle(document)

    def frames(*nodes):
        found = []
        for at in (0, 3, 6):
            document.setCurrentTime(at)
            yield from settle(document)
            found.append([bytes(node.pixelData(0, 0, 96, 72)) for node in nodes])
        return found

    before = yield from frames(layer)
    document.setCurrentTime(3)
    yield from settle(document)
    sentence = yield from paint(document, all_frames=all_frames)
    time_after, layers, active = document.currentTime(), document.topLevelNodes(), document.activeNode().name()
    keys = [[at for at in range(12) if node.hasKeyframeAtTime(at)] for node in layers]
    after = yield from frames(*layers)
"""


def test_animated_layers_current_frame_is_painted(krita: Krita, client: Client) -> None:
    """As a plain layer; the other frames stay."""
    sentence, now, active, keys, before, after, new = krita.run(
        FILM + "\n    return sentence, time_after, active, keys, before, after, look(layers[1])", all_frames=False
    )
    assert (sentence, now, active) == ("", 3, "Photograph")
    assert keys == [[0, 3, 6], []] and not new["animated"]
    assert [[frame[0]] for frame in after] == before
    shown: Look = {**new, "bounds": (0, 0, *SIZE), "pixels": before[1][0]}
    old, painted = samples(shown), samples(new)
    visible = old[..., 3] > 0
    assert _steps(painted[visible], _expected(client, shown)[visible]) <= 1


@pytest.mark.fault(99)
def test_all_key_frames_are_painted(krita: Krita) -> None:
    """A new animated layer with the same key frames, each with paint and its own alpha, in one step of undo."""
    sentence, now, active, keys, before, after, undone = krita.run(
        FILM.replace(
            "after = yield",
            "yield from undo(document)\n    undone = len(document.topLevelNodes())\n"
            "    yield from redo(document)\n    layers = document.topLevelNodes()\n    after = yield",
        )
        + "\n    return sentence, time_after, active, keys, before, after, undone",
        all_frames=True,
    )
    assert (sentence, now, active) == ("", 3, "Photograph")
    assert keys == [[0, 3, 6]] * 2 and undone == 1
    pictures = []
    for (old,), (same, new) in zip(before, after, strict=True):
        assert same == old
        source, painted = (as_array(pixels, (0, 0, *SIZE), "U8") for pixels in (old, new))
        assert np.array_equal(source[..., 3], painted[..., 3])
        assert (source != painted)[source[..., 3] > 0][:, :3].mean() > 0.5
        pictures.append(new)
    assert len(set(pictures)) == 3


def test_empty_key_frame_stays_empty(krita: Krita) -> None:
    """Among others that are painted; alone it is refused with a sentence, as an empty layer is."""
    alone, sentence, keys, bounds = krita.run(
        """
        document, layer = picture()
        document.setActiveNode(layer)
        yield from settle(document)
        layer.enableAnimation()
        yield from settle(document)
        for at, name in ((4, "add_duplicate_frame"), (8, "add_blank_frame")):
            document.setCurrentTime(at)
            yield from settle(document)
            action(name)
            yield from settle(document)
        alone = yield from paint(document)
        document.setCurrentTime(0)
        yield from settle(document)
        sentence = yield from paint(document, all_frames=True)
        new = document.topLevelNodes()[1]
        bounds = []
        for at in (0, 4, 8):
            document.setCurrentTime(at)
            yield from settle(document)
            bounds.append(look(new)["bounds"])
        return alone, sentence, [at for at in range(12) if new.hasKeyframeAtTime(at)], bounds
        """
    )
    assert (alone, sentence) == ("The layer 'Photograph' is empty.", "")
    assert keys == [0, 4, 8]
    assert bounds == [(0, 0, *SIZE), (0, 0, *SIZE), (0, 0, 0, 0)]
