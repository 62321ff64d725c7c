"""Reading and writing the pixels of Krita's layers, without losing bits and without blocking Krita.

Everything that takes long is in steps, see cooperative.py. A layer is read from a duplicate, which shares its pixels
until one of the two changes, so it is read as it was, whatever the user paints in that time. Layers without pixels of
their own, which are groups and vector layers, and layers with masks are read as they are displayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adain_style.client.choices import ChoiceError
from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.krita.cooperative import TaskSteps
from adain_style.krita.qt import QtCore, QtGui, samples_of, scaled
from adain_style.krita.spaces import SCREEN, Space, convert

STEP_PIXELS = 1 << 19
"""Pixels that are read or written at a time, which takes about a millisecond."""
CONVERTED_PIXELS = 1 << 15
"""Pixels that are converted at a time, which takes about 8 ms."""
MASK_TYPES = frozenset({"transparencymask", "filtermask", "transformmask", "selectionmask", "colorizemask"})

ReadRows = Callable[[int, int], bytes]
"""Called with the first row and the number of rows; returns whole rows of a rectangle."""


class LayerError(ChoiceError):
    """This layer cannot be painted, or not now; the message is one sentence."""


@dataclass(frozen=True)
class Rectangle:
    """The position and size of pixels in a document."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, rectangle: QtCore.QRect) -> Rectangle:
        """Convert Qt's rectangle."""
        return cls(rectangle.x(), rectangle.y(), rectangle.width(), rectangle.height())

    def shared(self, other: Rectangle) -> Rectangle | None:
        """The intersection with another rectangle; None when it is empty."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.width, other.left + other.width)
        bottom = min(self.top + self.height, other.top + other.height)
        return Rectangle(left, top, right - left, bottom - top) if left < right and top < bottom else None

    def reduced(self, side: int) -> tuple[int, int]:
        """Width and height, with the longer side reduced to at most that many pixels."""
        scale = min(1.0, side / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))


@dataclass(frozen=True)
class Target:
    """A layer that is to be painted, as it was when it was chosen.

    Attributes:
        document: Krita's document. node: The layer in it. number: The layer's unique name in all documents.
        title: The name that the user gave it. rectangle: The bounds of its pixels. space: Its colour space.
        canvas: The document's width, height and resolution, to see whether it was resized.
        is_seen: Whether it is read as it is displayed, because it has no pixels of its own, or masks.
    """

    document: Any
    node: Any
    number: str
    title: str
    rectangle: Rectangle
    space: Space
    canvas: tuple[int, int, int]
    is_seen: bool

    @classmethod
    def of(cls, document: Any, node: Any) -> Target:
        """Make the target of a layer, or of a mask's layer. Raises LayerError when it cannot be painted."""
        if node is None:
            raise LayerError(_("Choose a layer first."))
        node = layer_of(node)
        kind, title = node.type(), node.name()
        if kind == "grouplayer" and node.passThroughMode():
            raise LayerError(
                _("The group '{name}' passes through, so it has no picture of its own; switch that off.").format(
                    name=title
                )
            )
        rectangle = Rectangle.of(node.bounds())
        space = Space.of(node)
        if not space.is_known:
            raise LayerError(_("The layer '{name}' has no colours that could be painted.").format(name=title))
        if rectangle.width < 1 or rectangle.height < 1:
            raise LayerError(_("The layer '{name}' is empty.").format(name=title))
        masked = any(child.type() in MASK_TYPES and child.visible() for child in node.childNodes())
        is_seen = kind != "paintlayer" or (masked and not node.animated())
        return cls(document, node, number_of(node), title, rectangle, space, canvas_of(document), is_seen)

    def reader(self) -> ReadRows:
        """Return a reader of the layer as it is now; later painting does not change its rows, unless is_seen."""
        bounds = self.rectangle
        read = self.node.projectionPixelData if self.is_seen else self.node.duplicate().pixelData
        return lambda row, rows: bytes(read(bounds.left, bounds.top + row, bounds.width, rows))


def layer_of(node: Any) -> Any:
    """A layer itself, or the layer that a mask belongs to."""
    while node.type() in MASK_TYPES and node.parentNode() is not None and node.parentNode().parentNode() is not None:
        node = node.parentNode()
    return node


def number_of(node: Any) -> str:
    """A node's unique name, without braces."""
    return str(node.uniqueId().toString()).strip("{}")


def canvas_of(document: Any) -> tuple[int, int, int]:
    """A document's width and height in pixels, and its resolution."""
    return document.width(), document.height(), document.resolution()


def all_nodes(document: Any) -> Iterator[Any]:
    """The layers and masks of a document from the bottom, each before its children."""
    pending = list(reversed(document.topLevelNodes()))
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(node.childNodes()))


def all_layers(document: Any) -> Iterator[Any]:
    """The same without masks."""
    return (node for node in all_nodes(document) if node.type() not in MASK_TYPES)


def find_node(document: Any, number: str) -> Any:
    """A document's node by its unique name; None when it is gone."""
    return next((node for node in all_nodes(document) if number_of(node) == number), None)


_results: dict[str, set[str]] = {}
"""For a layer's unique name, the names of the layers that were painted from it since Krita was started."""


def remember_result(source: Any, result: Any) -> None:
    """Remember that a layer was painted from another one."""
    _results.setdefault(number_of(source), set()).add(number_of(result))


def topmost_result(source: Any) -> Any:
    """The uppermost sibling of a layer that was painted from it; the layer itself when there is none."""
    results = _results.get(number_of(source), set())
    beside = source.parentNode().childNodes()
    return next((node for node in reversed(beside) if number_of(node) in results), source)


def strips(height: int, width: int, pixels: int) -> Iterator[tuple[int, int]]:
    """The first row and the number of rows of strips of about that many pixels."""
    rows = max(1, pixels // width)
    return ((top, min(rows, height - top)) for top in range(0, height, rows))


def read_steps(target: Target) -> TaskSteps[bytearray]:
    """Read a layer's pixels at full size, in its space's wired space."""
    data = bytearray()
    for part in _wired_parts(target):
        data += part
        yield
    return data


def is_unchanged_steps(target: Target, before: bytearray) -> TaskSteps[bool]:
    """Whether a layer still has the pixels that read_steps() gave."""
    seen = memoryview(before)
    for now in _wired_parts(target):
        if now != seen[: len(now)]:
            return False
        seen = seen[len(now) :]
        yield
    return True


def write_steps(document: Any, node: Any, target: Target, result: Pixels) -> TaskSteps[None]:
    """Put a result, of a layer's rectangle and wired space, into another node that is in no document yet."""
    bounds, space = target.rectangle, target.space
    row_bytes = space.wired.pixel_bytes * bounds.width
    data = memoryview(result.data)
    for top, rows in _strips_of(target):
        part = bytes(data[top * row_bytes : (top + rows) * row_bytes])
        part = convert(document, part, bounds.width, rows, space.wired, space)
        node.setPixelData(part, bounds.left, bounds.top + top, bounds.width, rows)
        yield


def new_layer(document: Any, target: Target, name: str) -> Any:
    """An empty layer of a target's space that is in no document yet."""
    node = document.createNode(name, "paintlayer")
    if Space.of(node) != target.space:
        node.setColorSpace(target.space.model, target.space.depth, target.space.profile)
    return node


def _wired_parts(target: Target) -> Iterator[bytes]:
    """A layer's pixels in its space's wired space, strip by strip."""
    width, space = target.rectangle.width, target.space
    read = target.reader()
    for top, rows in _strips_of(target):
        yield convert(target.document, read(top, rows), width, rows, space, space.wired)


def _strips_of(target: Target) -> Iterator[tuple[int, int]]:
    bounds, space = target.rectangle, target.space
    return strips(bounds.height, bounds.width, STEP_PIXELS if space == space.wired else CONVERTED_PIXELS)


def reduced_steps(target: Target, side: int) -> TaskSteps[Pixels]:
    """Read a layer for the screen, RGBA u8, the longer side reduced to at most that many pixels."""
    bounds, space = target.rectangle, target.space
    width, height = bounds.reduced(side)
    read = target.reader()
    step = 1
    if not space.is_screen:
        # Converting takes long, so only every step-th pixel is converted.
        step = max(1, min(bounds.width // width, bounds.height // height))
    data = bytearray()
    for rows, top, lines in _reduced_strips(bounds, width, height):
        part, columns = read(top, lines), bounds.width
        if not space.is_screen:
            part, columns, lines = _sampled(part, columns, lines, space.pixel_bytes, step)
            part = convert(target.document, part, columns, lines, space, SCREEN)
        image = QtGui.QImage(part, columns, lines, 4 * columns, QtGui.QImage.Format.Format_ARGB32)
        data += samples_of(scaled(image, width, rows), QtGui.QImage.Format.Format_RGBA8888)
        yield
    return Pixels(data, height, width, "RGBA", "u8")


def reduced_mask_steps(read: ReadRows, bounds: Rectangle, side: int) -> TaskSteps[Pixels]:
    """Read a mask of one byte a pixel as layout Y, reduced as in reduced_steps(). read: Returns its rows."""
    width, height = bounds.reduced(side)
    data = bytearray()
    for rows, top, lines in _reduced_strips(bounds, width, height):
        image = QtGui.QImage(read(top, lines), bounds.width, lines, bounds.width, QtGui.QImage.Format.Format_Grayscale8)
        data += samples_of(scaled(image, width, rows), QtGui.QImage.Format.Format_Grayscale8)
        yield
    return Pixels(data, height, width, "Y", "u8")


def _reduced_strips(bounds: Rectangle, width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Strips of a reduced rectangle: each strip's number of rows, and the first and number of the original rows."""
    for first, rows in strips(height, width, CONVERTED_PIXELS // 2):
        top, bottom = (round(row * bounds.height / height) for row in (first, first + rows))
        yield rows, top, bottom - top


def _sampled(data: bytes, width: int, height: int, pixel_bytes: int, step: int) -> tuple[bytes, int, int]:
    """Every step-th pixel of every step-th row, with the new width and height."""
    if step == 1:
        return data, width, height
    columns, lines = -(-width // step), -(-height // step)
    sampled = bytearray(columns * lines * pixel_bytes)
    row_bytes, new_row_bytes = width * pixel_bytes, columns * pixel_bytes
    for line in range(lines):
        row = data[line * step * row_bytes :][:row_bytes]
        begin = line * new_row_bytes
        for byte in range(pixel_bytes):
            sampled[begin + byte : begin + new_row_bytes : pixel_bytes] = row[byte :: step * pixel_bytes]
    return bytes(sampled), columns, lines
