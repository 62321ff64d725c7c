"""Regions: masks and colour labels that say where which style goes, painted in a real Krita."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adain_style.client.client import Client
from adain_style.client.jobs import Pixels, Region, StylizeRequest
from hosts.krita import Krita, Look, as_array, samples
from support.helpers import pixels_array

pytestmark = pytest.mark.hosts

Array = npt.NDArray[Any]
STYLE, OTHER = "hokusai-great-wave", "van-gogh-road"
SIZE = (96, 72)
SOFT = bytes(255 * x // 95 for y in range(72) for x in range(96))
"""Grows from left to right."""
LEFT, RIGHT = (
    bytes(255 * (20 * side <= y < 20 * side + 50 and x // 48 == side) for y in range(72) for x in range(96))
    for side in (0, 1)
)
"""Two rectangles side by side."""

MASKS = """
    def add_selection_mask(name, values, parent):
        selection = Selection()
        selection.select(0, 0, 96, 72, 255)
        selection.setPixelData(values, 0, 0, 96, 72)
        mask = document.createSelectionMask(name)
        mask.setSelection(selection)
        parent.addChildNode(mask, None)
        yield from settle(document)

    def add_transparency_mask(name, values, layer):
        document.setActiveNode(layer)
        yield from settle(document)
        action("add_new_transparency_mask")
        yield from settle(document)
        (mask,) = layer.childNodes()
        mask.setName(name)
        mask.setPixelData(values, 0, 0, 96, 72)
        document.refreshProjection()
        yield from settle(document)

    def add_labelled(name, values, label):
        layer = add_layer(document, name)
        layer.setPixelData(b"".join(bytes([0, 200, 90, value]) for value in values), 0, 0, 96, 72)
        layer.setColorLabel(label)
        yield from settle(document)
        return layer

    def painted(layer, styles, alpha=1.0):
        document.setActiveNode(layer)
        yield from settle(document)
        before, count = state(document), len(document.topLevelNodes())
        sentence = yield from paint(document, styles, alpha=alpha)
        new = document.topLevelNodes()[1] if len(document.topLevelNodes()) > count else None
        pixels = new and bytes(new.pixelData(0, 0, 96, 72))
        name = new and new.name()
        if new:
            new.remove()
        yield from settle(document)
        return sentence, before, name, pixels

    document, layer = picture(model=model, depth=depth)
"""
"""Helpers of the scripts below, and their document."""


def _expected(client: Client, source: Look, *masks: tuple[bytes, str]) -> Array:
    """What the server makes of a layer of 8 bit with a style for each mask, without Krita."""
    content = Pixels(source["pixels"], SIZE[1], SIZE[0], "BGRA")
    regions = [Region([(style, 1.0)], mask=Pixels(mask, SIZE[1], SIZE[0], "Y")) for mask, style in masks]
    return pixels_array(client.stylize(StylizeRequest(content, regions, compose="cutout")).pixels)


def _check(client: Client, outcome: Any, *masks: tuple[bytes, str]) -> Array:
    """The new layer has the server's alpha everywhere, and its colours where that is not 0."""
    sentence, before, _name, pixels = outcome
    assert sentence == ""
    new, expected = as_array(pixels, (0, 0, *SIZE), "U8"), _expected(client, before["layers"][0], *masks)
    assert np.array_equal(new[..., 3], expected[..., 3])
    union = np.minimum(sum(np.frombuffer(mask, np.uint8).astype(int) for mask, _style in masks), 255).reshape(72, 96)
    assert np.abs(new[..., 3] - samples(before["layers"][0])[..., 3] * (union / 255)).max() <= 1
    seen = new[..., 3] > 0
    assert seen.any() and np.abs(new[seen].astype(int) - expected[seen]).max() <= 1
    return new


KINDS: dict[str, tuple[str, str]] = {
    "selection mask of the document": (
        "yield from add_selection_mask('Sky', values, document.rootNode())",
        "mask:Sky",
    ),
    "selection mask of another layer": (
        "yield from add_selection_mask('Sky', values, add_layer(document, 'More'))",
        "mask:Sky",
    ),
    "transparency mask of another layer": (
        "yield from add_transparency_mask('Sky', values, add_layer(document, 'More'))",
        "mask:Sky",
    ),
    "colour label": ("yield from add_labelled('Sky', values, 3)", "label:3"),
}


@pytest.mark.parametrize(("prepare", "mask"), KINDS.values(), ids=KINDS.keys())
def test_mask_or_label_is_a_region(krita: Krita, client: Client, prepare: str, mask: str) -> None:
    """The new layer's alpha is the mask's, soft ones too; what is found in the document is offered."""
    outcome, offered = krita.run(
        MASKS
        + f"""
    {prepare}
    outcome = yield from painted(layer, {{mask: STYLE}})
    yield from until(lambda: panel()._snapshot.target and panel()._snapshot.target.document == document)
    return outcome, [source.name for source in panel()._mask_sources()]
""",
        model="RGBA",
        depth="U8",
        values=SOFT,
        mask=mask,
    )
    _check(client, outcome, (SOFT, STYLE))
    assert offered == [mask]


def test_layers_of_one_label_are_one_region(krita: Krita, client: Client) -> None:
    """Their union, wherever they are and however deep; other labels do not count."""
    outcome = krita.run(
        MASKS
        + """
    group = document.createGroupLayer("Group")
    document.rootNode().addChildNode(group, None)
    yield from settle(document)
    first = yield from add_labelled("First", left, 5)
    other = yield from add_labelled("Other", bytes([255]) * (96 * 72), 6)
    second = yield from add_labelled("Second", right, 5)
    second.remove()
    group.addChildNode(second, None)
    yield from settle(document)
    return (yield from painted(layer, {"label:5": STYLE}))
""",
        model="RGBA",
        depth="U8",
        left=LEFT,
        right=RIGHT,
    )
    union = bytes(map(max, LEFT, RIGHT))
    _check(client, outcome, (union, STYLE))


def test_each_region_has_its_own_style_in_one_pass(krita: Krita, client: Client) -> None:
    """A mask and a label: each as when it were alone, beyond both the new layer is clear; its name has both styles."""
    both, left, right = krita.run(
        MASKS
        + """
    yield from add_selection_mask("Left", left, document.rootNode())
    yield from add_labelled("Right", right, 2)
    results = []
    for styles in ({"mask:Left": STYLE, "label:2": other}, {"mask:Left": STYLE}, {"label:2": other}):
        results.append((yield from painted(layer, styles)))
    return results
""",
        model="RGBA",
        depth="U8",
        left=LEFT,
        right=RIGHT,
        other=OTHER,
    )
    new = _check(client, both, (LEFT, STYLE), (RIGHT, OTHER))
    alone = [_check(client, left, (LEFT, STYLE)), _check(client, right, (RIGHT, OTHER))]
    assert both[2].split(" + ") == [left[2], right[2]]
    assert (
        new[..., 3][(np.frombuffer(LEFT, np.uint8) | np.frombuffer(RIGHT, np.uint8)).reshape(72, 96) == 0] == 0
    ).all()
    assert np.array_equal(new[..., 3], np.maximum(alone[0][..., 3], alone[1][..., 3]))
    # The network sees across the border, but each style fills its own side.
    for side, picture in zip((slice(0, 30), slice(66, 96)), alone, strict=True):
        seen = new[:, side, 3] > 0
        difference = np.abs(new[:, side].astype(int) - picture[:, side])[seen]
        assert difference.mean() < 3


def test_regions_beside_the_whole_layer(krita: Krita, client: Client) -> None:
    """The first region has no mask, so all is painted; in the second one both styles are mixed, as the server does."""
    outcome = krita.run(
        MASKS
        + """
    yield from add_selection_mask("Right", right, document.rootNode())
    return (yield from painted(layer, {"": STYLE, "mask:Right": other}))
""",
        model="RGBA",
        depth="U8",
        right=RIGHT,
        other=OTHER,
    )
    _check(client, outcome, (bytes([255]) * len(RIGHT), STYLE), (RIGHT, OTHER))


@pytest.mark.parametrize(("model", "depth"), [("RGBA", "U8"), ("RGBA", "F32"), ("CMYKA", "U8")])
def test_selection_limits_the_regions(krita: Krita, client: Client, model: str, depth: str) -> None:
    """The new layer's alpha is the smaller one of the region's mask and the selection, times the layer's own."""
    outcome = krita.run(
        MASKS
        + """
    yield from add_selection_mask("Soft", soft, document.rootNode())
    select(document, 20, 20, 56, 40, feather=6)
    return (yield from painted(layer, {"mask:Soft": STYLE}))
""",
        model=model,
        depth=depth,
        soft=SOFT,
    )
    sentence, before, _name, pixels = outcome
    assert sentence == ""
    (left, top, width, height), values = before["selection"]
    selection = np.zeros((200, 200), np.uint8)
    selection[50 + top :, 50 + left :][:height, :width] = np.frombuffer(values, np.uint8).reshape(height, width)
    smaller = np.minimum(selection[50:122, 50:146], np.frombuffer(SOFT, np.uint8).reshape(72, 96))
    assert len(np.unique(smaller)) > 50
    source = before["layers"][0]
    new = as_array(pixels, (0, 0, *SIZE), depth)
    difference = np.abs(new[..., -1] - samples(source)[..., -1] * (smaller / 255))
    assert difference.max() <= (1e-4 if depth == "F32" else 1)
    if (model, depth) == ("RGBA", "U8"):
        _check(client, outcome, (smaller.tobytes(), STYLE))


def test_mask_of_the_layer_itself(krita: Krita, client: Client) -> None:
    """A layer is painted as its transparency mask lets it be seen, and that mask may be a region, too."""
    outcome, seen = krita.run(
        MASKS
        + """
    yield from add_transparency_mask("Own", soft, layer)
    seen = bytes(layer.projectionPixelData(0, 0, 96, 72))
    return (yield from painted(layer, {"mask:Own": STYLE})), seen
""",
        model="RGBA",
        depth="U8",
        soft=SOFT,
    )
    sentence, before, name, pixels = outcome
    assert sentence == ""
    shown = {**before["layers"][0], "pixels": seen}
    _check(client, (sentence, {"layers": [shown]}, name, pixels), (SOFT, STYLE))


@pytest.mark.parametrize("mask", ["mask:Sky", "label:4", "sky"])
def test_missing_mask_is_said(krita: Krita, mask: str) -> None:
    """A sentence, and nothing has changed."""
    said, before, after = krita.run(
        """
        document, layer = picture()
        document.setActiveNode(layer)
        yield from settle(document)
        before = state(document)
        said = yield from paint(document, {"": STYLE, mask: STYLE})
        return said, before, state(document)
        """,
        mask=mask,
    )
    assert said == f"There is no mask '{mask}' in this document."
    assert after == before


def test_only_regions_that_a_document_has_are_usable(krita: Krita) -> None:
    """Remembered ones of other documents are dropped, the whole layer never is."""
    kept = krita.run(
        MASKS
        + """
    from adain_style.client.choices import RegionChoice, StyleChoice
    from adain_style.host.settings_editor import usable
    from adain_style.host.settings import StylizeSettings
    from adain_style.krita.masks import mask_sources

    yield from add_selection_mask("Sky", left, document.rootNode())
    yield from add_labelled("Right", left, 2)
    masks = [source.name for source in mask_sources(document)]
    styles = (StyleChoice(STYLE),)
    remembered = ["", "mask:Sky", "mask:Sea", "label:2", "label:3"]
    choices = StylizeSettings(tuple(RegionChoice(styles, mask=mask) for mask in remembered))
    only_lost = StylizeSettings((RegionChoice(styles, mask="mask:Sea"),))
    return [[region.mask for region in usable(chosen, masks).regions] for chosen in (choices, only_lost)]
""",
        model="RGBA",
        depth="U8",
        left=LEFT,
    )
    assert kept == [["", "mask:Sky", "label:2"], [""]]
