"""The masks that a document offers for regions: its selection, its masks, and layers of a colour label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import krita

from adain_style.client.choices import ChoiceError
from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.host.requests import PREVIEW_CONTENT_SIDE
from adain_style.host.settings import StylizeSettings
from adain_style.krita.cooperative import TaskSteps
from adain_style.krita.layers import (
    CONVERTED_PIXELS,
    STEP_PIXELS,
    ReadRows,
    Rectangle,
    all_layers,
    all_nodes,
    reduced_mask_steps,
    strips,
)
from adain_style.krita.spaces import SCREEN, Space, convert

MASK, LABEL = "mask:", "label:"
"""The prefixes of a mask's name, and of a colour label's number."""
WITH_SELECTION = ("transparencymask", "selectionmask")


@dataclass(frozen=True)
class MaskSource:
    """Something in a document that can be a region's mask. name: For presets. label: For people."""

    name: str
    label: str


def mask_sources(document: Any) -> list[MaskSource]:
    """A document's selection masks and transparency masks, then its colour labels; only the first of each name."""
    found: dict[str, MaskSource] = {}
    labels = set()
    for node in all_nodes(document):
        if node.type() in WITH_SELECTION:
            name, layer = node.name(), node.parentNode()
            title = _("Mask: {name}").format(name=name)
            if node.type() == "transparencymask" and layer is not None:
                title = _("Mask: {name} of {layer}").format(name=name, layer=layer.name())
            found.setdefault(f"{MASK}{name}", MaskSource(f"{MASK}{name}", title))
        elif node.colorLabel():
            labels.add(node.colorLabel())
    for label in sorted(labels):
        found[f"{LABEL}{label}"] = MaskSource(
            f"{LABEL}{label}", _("Layers labelled {colour}").format(colour=_colour(label))
        )
    return list(found.values())


def _colour(label: int) -> str:
    names = (_("blue"), _("green"), _("yellow"), _("orange"), _("brown"), _("red"), _("purple"), _("gray"))
    return names[label - 1] if 0 < label <= len(names) else str(label)


def mask_steps(
    document: Any, settings: StylizeSettings, bounds: Rectangle, *, preview: bool = False
) -> TaskSteps[tuple[Pixels | None, dict[str, Pixels]]]:
    """Read the selection and the masks that the settings name, as masks for the wire.

    Args:
        document: Krita's document.
        settings: Only their regions' masks matter.
        bounds: The layer's bounds.
        preview: Whether to reduce the masks for a preview.
    Returns:
        The selection, None when there is none, and the masks by name, each within the selection.
    Raises:
        ChoiceError: The selection does not touch the layer, or there is no such mask.
    """
    selected = document.selection()
    select = None if selected is None else _selection_rows(selected, bounds)
    selection = None
    if select is not None:
        selected_part(selected, bounds)
        selection = yield from _read(select, bounds, preview)
    masks = {}
    for name in {region.mask for region in settings.regions if region.mask}:
        read = _mask_rows(document, name, bounds)
        masks[name] = yield from _read(read if select is None else _both(read, select, bounds.width), bounds, preview)
    return selection, masks


def selected_part(selection: Any, bounds: Rectangle) -> Rectangle:
    """The part of a layer's rectangle within the one around a selection. Raises ChoiceError when it is empty."""
    around = Rectangle(selection.x(), selection.y(), selection.width(), selection.height())
    shared = bounds.shared(around)
    if shared is None:
        raise ChoiceError(_("The selection does not touch the layer."))
    return shared


def _read(read: ReadRows, bounds: Rectangle, preview: bool) -> TaskSteps[Pixels]:
    if preview:
        return (yield from reduced_mask_steps(read, bounds, PREVIEW_CONTENT_SIDE))
    data = bytearray()
    for top, rows in strips(bounds.height, bounds.width, STEP_PIXELS):
        data += read(top, rows)
        yield
    return Pixels(data, bounds.height, bounds.width, "Y", "u8")


def _selection_rows(selection: Any, bounds: Rectangle) -> ReadRows:
    return lambda row, rows: bytes(selection.pixelData(bounds.left, bounds.top + row, bounds.width, rows))


def _mask_rows(document: Any, name: str, bounds: Rectangle) -> ReadRows:
    if name.startswith(MASK):
        title = name.removeprefix(MASK)
        for node in all_nodes(document):
            if node.type() in WITH_SELECTION and node.name() == title:
                return _node_rows(node, bounds)
    elif name.startswith(LABEL):
        labelled = [node for node in all_layers(document) if f"{LABEL}{node.colorLabel()}" == name]
        if labelled:
            return _union(document, labelled, bounds)
    raise ChoiceError(_("There is no mask '{name}' in this document.").format(name=name))


def _node_rows(node: Any, bounds: Rectangle) -> ReadRows:
    def read(row: int, rows: int) -> bytes:
        data = bytes(node.pixelData(bounds.left, bounds.top + row, bounds.width, rows))
        return data or bytes(bounds.width * rows)  # a mask that a script created may have no pixels at all

    return read


def _union(document: Any, layers: list[Any], bounds: Rectangle) -> ReadRows:
    def read(row: int, rows: int) -> bytes:
        whole = krita.Selection()
        for layer in layers:
            one = krita.Selection()
            one.setPixelData(_alpha(document, layer, bounds, row, rows), 0, 0, bounds.width, rows)
            whole.add(one)
        return bytes(whole.pixelData(0, 0, bounds.width, rows))

    return read


def _alpha(document: Any, layer: Any, bounds: Rectangle, row: int, rows: int) -> bytes:
    space = Space.of(layer)
    data = bytes(layer.projectionPixelData(bounds.left, bounds.top + row, bounds.width, rows))
    if (space.model, space.depth) != (SCREEN.model, SCREEN.depth):
        converted = bytearray()
        row_bytes = bounds.width * space.pixel_bytes
        for top, lines in strips(rows, bounds.width, CONVERTED_PIXELS):
            part = data[top * row_bytes : (top + lines) * row_bytes]
            converted += convert(document, part, bounds.width, lines, space, SCREEN)
        data = bytes(converted)
    return data[3::4]


def _both(mask: ReadRows, selection: ReadRows, width: int) -> ReadRows:
    """Intersect a mask with a selection."""

    def read(row: int, rows: int) -> bytes:
        one, other = krita.Selection(), krita.Selection()
        one.setPixelData(mask(row, rows), 0, 0, width, rows)
        other.setPixelData(selection(row, rows), 0, 0, width, rows)
        one.intersect(other)
        return bytes(one.pixelData(0, 0, width, rows))

    return read


def glance_at_masks(document: Any, settings: StylizeSettings) -> Iterator[object]:
    """Values that tell cheaply whether the selection, or the choice of masks, has changed."""
    selected = document.selection()
    if selected is not None:
        left, top, width, height = selected.x(), selected.y(), selected.width(), selected.height()
        yield left, top, width, height
        for row in range(top, top + height, max(1, height // 16)):
            yield bytes(selected.pixelData(left, row, width, 1))
    yield from sorted({region.mask for region in settings.regions})
