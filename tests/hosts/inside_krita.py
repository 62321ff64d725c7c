"""Runs in Krita, as a plug-in of its own: does what tests send, one script after the other; see krita.Krita.run()."""

from __future__ import annotations

import faulthandler
import math
import os
import time
import traceback
from array import array
from collections.abc import Callable, Generator
from contextlib import suppress
from multiprocessing.connection import Client, Connection
from pathlib import Path
from struct import pack
from types import GeneratorType
from typing import Any

from krita import Document, Extension, InfoObject, Krita, Node, Selection, Window  # noqa: F401  # of Krita's Python
from PyQt5.QtCore import QObject, QPoint, QRect, Qt, QTimer  # noqa: F401  # of Krita's Python
from PyQt5.QtWidgets import (  # noqa: F401
    QAction,
    QApplication,
    QCheckBox,
    QDialog,
    QDockWidget,
    QLabel,
    QListWidget,
    QMdiArea,
    QPushButton,
    QToolButton,
    QWidget,
)

POLL_MS = 5
IDLE_S = 0.01
SEEN_S = 0.1
"""What a window needs to do what a key or a click says."""
CLOSE_S = 0.05
"""What Krita's windows need to see that a document is closed."""
HEARD_S = 0.15
"""What Krita's list of layers takes to hear of a change; it collects changes for 0.1 s."""
SAMPLES = {"U8": 1, "U16": 2, "F16": 2, "F32": 4}
"""The bytes of one sample of each depth."""
CHANNELS = {"A": 1, "GRAYA": 2, "RGBA": 4, "CMYKA": 5, "LABA": 4, "XYZA": 4, "YCbCrA": 4}
STYLE = "hokusai-great-wave"
TILE = 256
"""The pattern repeats after as many pixels."""

Steps = Generator[float, None, Any]
"""A script that waits: it yields seconds."""


def pattern(width: int, height: int, model: str = "RGBA", depth: str = "U8") -> bytes:
    """Pixels full of colours, with a hole and soft parts in them, in a model's own order of channels.

    Its corners are opaque, so that a layer that has it ends where the pattern does.
    """
    across, down = min(width, TILE), min(height, TILE)
    count = CHANNELS[model]
    rows = []
    for y in range(down):
        values = []
        for x in range(across):
            colours = (x / across, y / down, (37 * x + 59 * y & 255) / 255, (x + y & 63) / 63)[: count - 1]
            hole = across // 4 <= x < across // 2 and down // 4 <= y < down // 2
            soft = y >= down // 2 and across // 4 <= x < across // 2
            values += [_scaled(value, place, model, depth) for place, value in enumerate(colours)]
            values.append(_unit(0.0 if hole else (x % 16 + 1) / 20 if soft else 1.0, depth))
        row = _stored(values, depth)
        length = count * SAMPLES[depth]
        rows.append((row * math.ceil(width / across))[: width * length])
    return b"".join((rows * math.ceil(height / down))[:height])


def _scaled(value: float, place: int, model: str, depth: str) -> float:
    """A colour's value from 0 to 1 as Krita counts it; its floats of CMYKA and LABA are not of 0 to 1."""
    if depth in ("F16", "F32") and model == "CMYKA":
        return value * 100
    if depth in ("F16", "F32") and model == "LABA":
        return value * 100 if place == 0 else value * 255 - 128
    return _unit(value, depth)


def _unit(value: float, depth: str) -> float:
    return value if depth in ("F16", "F32") else round(value * (1 << 8 * SAMPLES[depth])) - (value > 0.5)


def _stored(values: list[float], depth: str) -> bytes:
    if depth == "F16":
        return pack(f"<{len(values)}e", *values)
    if depth == "F32":
        return array("f", values).tobytes()
    return array("B" if depth == "U8" else "H", map(int, values)).tobytes()


def picture(
    width: int = 96,
    height: int = 72,
    *,
    model: str = "RGBA",
    depth: str = "U8",
    profile: str = "",
    at: tuple[int, int] = (0, 0),
    canvas: tuple[int, int] | None = None,
) -> tuple[Document, Node]:
    """A document in Krita's window without undo steps, and its only layer, Photograph, which has the pattern.

    Args:
        width, height: Of the layer.
        model: RGBA, GRAYA, CMYKA, LABA, XYZA, YCbCrA or A. depth: U8, U16, F16 or F32.
        profile: Its name; Krita's own choice when that is empty, which is linear for everything but U8.
        at: The layer's place in the document. canvas: The document's width and height; None for the layer's.
    """
    size = canvas or (width, height)
    document = Krita.instance().openDocument(_empty(*size, model, depth, profile))
    document.setBatchmode(True)
    Krita.instance().activeWindow().addView(document)
    (layer,) = document.topLevelNodes()
    layer.setPixelData(pattern(width, height, model, depth), *at, width, height)
    document.refreshProjection()
    document.setModified(False)
    return document, layer


def _empty(width: int, height: int, model: str, depth: str, profile: str) -> str:
    """A file with an empty layer: the one that Krita gives new documents is white, and everywhere."""
    path = Path.home() / f"{model}-{depth}-{profile}-{width}-{height}.kra"
    if not path.exists():
        document = Krita.instance().createDocument(width, height, "Test", model, depth, profile, 72.0)
        document.setBatchmode(True)
        (background,) = document.topLevelNodes()
        document.rootNode().addChildNode(document.createNode("Photograph", "paintlayer"), None)
        background.remove()
        document.waitForDone()
        document.saveAs(str(path))
        document.waitForDone()
        document.setModified(False)
        document.close()
    return str(path)


def add_layer(
    document: Document,
    name: str,
    width: int = 96,
    height: int = 72,
    *,
    at: tuple[int, int] = (0, 0),
    inside: Node | None = None,
) -> Node:
    """A layer as picture() has it, at the top of a document or of a group; one undo step."""
    layer = document.createNode(name, "paintlayer")
    pixels = pattern(width, height, document.colorModel(), document.colorDepth())
    layer.setPixelData(pixels, *at, width, height)
    (inside or document.rootNode()).addChildNode(layer, None)
    return layer


def look(node: Node) -> dict[str, Any]:
    """What a test can know of a layer or mask; masks have a model and depth too, and bytes of their own."""
    bounds = _box(node.bounds())
    return {
        "id": node.uniqueId().toString(),
        "name": node.name(),
        "type": node.type(),
        "bounds": bounds,
        "model": node.colorModel(),
        "depth": node.colorDepth(),
        "profile": node.colorProfile(),
        "pixels": bytes(node.pixelData(*bounds)) if bounds[2] > 0 and bounds[3] > 0 else b"",
        "opacity": node.opacity(),
        "visible": node.visible(),
        "locked": node.locked(),
        "alpha_locked": node.alphaLocked(),
        "blending": node.blendingMode(),
        "animated": node.animated(),
        "children": [look(child) for child in node.childNodes()],
    }


def _box(rectangle: QRect) -> tuple[int, int, int, int]:
    return rectangle.x(), rectangle.y(), rectangle.width(), rectangle.height()


def state(document: Document) -> dict[str, Any]:
    """What must not change when something is refused."""
    active = document.activeNode()
    return {
        "layers": [look(node) for node in document.topLevelNodes()],
        "selection": selected(document),
        "active": active.uniqueId().toString() if active is not None else None,
        "modified": document.modified(),
        "time": document.currentTime(),
    }


def selected(document: Document) -> tuple[tuple[int, int, int, int], bytes] | None:
    """A document's selection: the rectangle and its bytes; None without one."""
    selection = document.selection()
    if selection is None:
        return None
    box = selection.x(), selection.y(), selection.width(), selection.height()
    return box, bytes(selection.pixelData(*box))


def select(
    document: Document,
    left: int,
    top: int,
    width: int,
    height: int,
    *,
    feather: int = 0,
    values: bytes | None = None,
) -> None:
    """Select a rectangle; one undo step.

    Args:
        left, top, width, height: The rectangle.
        feather: The radius of a soft edge. values: A byte a pixel instead, 255 for wholly selected.
    """
    selection = Selection()
    selection.select(left, top, width, height, 255)
    if values is not None:
        selection.setPixelData(values, left, top, width, height)
    if feather:
        selection.feather(feather)
    document.setSelection(selection)


def action(name: str) -> None:
    """Trigger an action of Krita's menus; it may go on while the script yields."""
    Krita.instance().action(name).trigger()


def undo(document: Document) -> Steps:
    """Undo a step as the menu does, and wait until that is done."""
    yield from settle(document)
    action("edit_undo")
    yield from settle(document)


def redo(document: Document) -> Steps:
    """Redo a step as the menu does, and wait until that is done."""
    yield from settle(document)
    action("edit_redo")
    yield from settle(document)


def settle(document: Document, timeout_s: float = 30.0) -> Steps:
    """Wait, in the event loop, until nothing changes the image any more."""
    deadline = time.monotonic() + timeout_s
    idle = 0
    while idle < 3:  # an action may begin its work in the event loop's next turn
        yield IDLE_S
        if document.tryBarrierLock():
            document.unlock()
            idle += 1
        else:
            idle = 0
        if time.monotonic() > deadline:
            raise TimeoutError("the image does not come to rest")


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Steps:
    """Wait, in the event loop, until a condition is met; what it then says."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("the condition was not met")
        yield IDLE_S
    return found


class Gaps:
    """The longest times between two turns of the event loop: how long windows did not answer.

    Attributes:
        started: When, of time.perf_counter().
        worst: Seconds since the start, and milliseconds, of the longest ones, the longest first.
    """

    def __init__(self, step_ms: int = 1, keep: int = 5) -> None:
        """Begin. step_ms: How often to look. keep: How many to remember."""
        self.worst: list[tuple[float, float]] = []
        self._keep = keep
        self.started = self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.PreciseTimer)
        self._timer.timeout.connect(self._look)
        self._timer.start(step_ms)

    def _look(self) -> None:
        now = time.perf_counter()
        self.worst.append((self._last - self.started, 1000 * (now - self._last)))
        self.worst.sort(key=lambda gap: -gap[1])
        del self.worst[self._keep :]
        self._last = now

    def stop(self) -> float:
        """End; the longest, in milliseconds."""
        self._timer.stop()
        self._look()
        return self.worst[0][1]


def canvas() -> QWidget:
    """The widget that shows the active document."""
    names = ("KisOpenGLCanvas2", "KisQPainterCanvas")
    area = Krita.instance().activeWindow().qwindow().findChild(QMdiArea)
    for widget in area.currentSubWindow().findChildren(QWidget):
        if widget.metaObject().className() in names and widget.isVisible():
            return widget
    raise AssertionError("there is no canvas")


def canvas_on_screen() -> tuple[int, int, int, int]:
    """Left, top, width and height of what shows the active document, in the screen's pixels."""
    widget = canvas()
    corner = widget.mapToGlobal(QPoint(0, 0))
    return corner.x(), corner.y(), widget.width(), widget.height()


def _ask(wish: list[Any], timeout_s: float) -> Steps:
    """Have the test do something while the script waits; see krita.Krita._do()."""
    Tests.connection.send((wish, None))
    Tests.is_asking = True
    try:
        yield from until(Tests.connection.poll, timeout_s)
        Tests.connection.recv()
    finally:
        Tests.is_asking = False


def draw(*points: tuple[float, float], timeout_s: float = 30.0) -> Steps:
    """Draw a stroke through the canvas with the test's mouse and the tool that is chosen: the brush, at first.

    Args:
        points: Each from 0 to 1 across and down what shows the active document; the picture is in the middle.
        timeout_s: How long to wait for the mouse.
    """
    left, top, width, height = canvas_on_screen()
    places = [(round(left + x * width), round(top + y * height)) for x, y in points]
    yield from _ask(places, timeout_s)
    yield from settle(Krita.instance().activeDocument())


def panel() -> QDockWidget:
    """The plug-in's panel, of the window that is active."""
    window = Krita.instance().activeWindow().qwindow()
    (found,) = window.findChildren(QDockWidget, "adain_style_docker")
    return found


def paint(
    document: Document,
    styles: dict[str, str] | None = None,
    *,
    alpha: float = 1.0,
    all_frames: bool = False,
    timeout_s: float = 30.0,
) -> Steps:
    """Paint what the user works on in one pass, with the panel; the sentence that says why that failed, or "".

    Args:
        document: The active one.
        styles: Of each region, by its mask; a built-in one for everything unless that says something else.
        alpha: The strength, 0 to 1.
        all_frames: All key frames, which only a panel that is seen knows of.
        timeout_s: How long it may take.
    """
    from adain_style.client.choices import (  # the plug-in's, which Krita may load after this one
        RegionChoice,
        StyleChoice,
    )
    from adain_style.host.settings import StylizeSettings

    shown = panel()
    if not shown.controller.styles.known:
        shown.start_server()
        yield from until(lambda: shown.controller.styles.known, timeout_s)
    regions = [RegionChoice((StyleChoice(style),), alpha, mask=mask) for mask, style in (styles or {"": STYLE}).items()]
    shown.controller.use(StylizeSettings(tuple(regions), quality="fast"))
    if all_frames:
        shown.setVisible(True)
        yield from until(
            lambda: (
                shown._snapshot.frames and shown._snapshot.target.document == document and shown._frames.isVisible()
            ),
            timeout_s,
        )
    shown._frames.setChecked(all_frames)
    shown._sentence.setText("")
    shown.stylize()
    job = shown._queue.jobs[-1] if shown._queue.jobs else None
    yield from until(lambda: job is None or job.is_over, timeout_s)
    sentence = shown._sentence.text()
    if job is not None:
        sentence = job.sentence or job.notice
        shown._queue.cancel(job)
    yield from settle(document)
    return sentence


def quit_as_a_user() -> None:
    """Choose Quit in the menu, as soon as the event loop turns."""
    QTimer.singleShot(0, lambda: action("file_quit"))


def close_documents() -> Steps:
    """Close everything that a script has opened, without questions."""
    for document in Krita.instance().documents():
        document.setBatchmode(True)
        # What is closed while Krita's windows still hear of its last change takes Krita with it, now and then.
        with suppress(TimeoutError):
            yield from settle(document, 5.0)
        yield HEARD_S  # a document that a script has just made or cleaned is not modified, and yet its list changes
        document.setModified(False)
        document.close()
        yield CLOSE_S


class Tests(Extension):  # type: ignore[misc]  # Krita has no types here
    """Waits for Krita's window, then serves the test until that closes the connection."""

    connection: Connection
    is_asking = False
    """A script waits for the test."""

    def setup(self) -> None:
        """Nothing: there is no window yet."""
        notifier = Krita.instance().notifier()
        notifier.setActive(True)
        notifier.windowCreated.connect(self._connect)

    def createActions(self, window: Window) -> None:  # noqa: N802  # Krita's name
        """None."""

    def _connect(self) -> None:
        Krita.instance().notifier().windowCreated.disconnect(self._connect)
        QTimer.singleShot(0, self._serve)

    def _serve(self) -> None:
        Tests.connection = Client(os.environ["ADAIN_TEST_SOCKET"])
        self._steps: Steps | None = None
        self._busy = False
        self._timer = QTimer()
        self._timer.timeout.connect(self._turn)
        self._timer.start(POLL_MS)

    def _turn(self) -> None:
        # A script that opens a dialog turns the event loop itself; the next one waits for its end.
        if self._busy:
            return
        self._busy = True
        pause = 0.0
        try:
            if self._steps is None:
                if self.connection.poll():
                    self._steps = self._do(*self.connection.recv())
            elif self.connection.poll() and not self.is_asking:
                self._steps.close()  # the test has given up waiting for that one
                self._steps = None
            else:
                pause = next(self._steps)
        except StopIteration:
            self._steps = None
        except EOFError:
            os._exit(0)  # the test has ended; an orderly end takes seconds
        finally:
            self._busy = False
        self._timer.start(max(POLL_MS, round(1000 * pause)))

    def _do(self, source: str, values: dict[str, Any]) -> Steps:
        result, trace = None, ""
        try:
            scope = dict(globals())
            exec(source, scope)  # noqa: S102  # that is what it is for
            result = scope["script"](**values)
            if isinstance(result, GeneratorType):
                steps = result
                result = None
                while True:
                    pause = next(steps)
                    yield float(pause)
        except StopIteration as end:
            result = end.value
        except Exception:
            trace = traceback.format_exc()
        yield from close_documents()
        self.connection.send((result, trace))


def hand(*words: str, timeout_s: float = 30.0) -> Steps:
    """Have the test's xdotool do something, as a user's hand does."""
    yield from _ask(list(words), timeout_s)
    yield SEEN_S


def press(*keys: str) -> Steps:
    """Press keys, one after the other, as xdotool names them."""
    yield from hand("key", "--delay", "60", *keys)


def click(widget: QWidget, place: QPoint | None = None, *, holding: str = "") -> Steps:
    """Click on a widget, in its middle or elsewhere, while a key such as ctrl is held."""
    corner = widget.mapToGlobal(place if place is not None else widget.rect().center())
    words = ["mousemove", str(corner.x()), str(corner.y()), "sleep", "0.05", "click", "1"]
    yield from hand(*(["keydown", holding, *words, "keyup", holding] if holding else words))


def dialog() -> Steps:
    """The dialog that is open, once it has the keyboard."""
    return (yield from until(lambda: (found := QApplication.activeModalWidget()) and found.isActiveWindow() and found))


def open_panel(*, floating: bool = True) -> Steps:
    """Choose Stylize… in the menu; the panel with nothing chosen, in front and large, once it is connected."""
    window, shown = Krita.instance().activeWindow().qwindow(), panel()
    window.showMaximized()
    shown.gallery.search.clear()
    shown._reset.click()
    shown.setFloating(floating)
    if floating:
        shown.setGeometry(10, 30, 330, 900)
    action("adain_style_stylize")
    yield from until(lambda: shown.controller.styles.known and shown._snapshot.content and shown.isActiveWindow())
    yield SEEN_S  # what is hidden now has moved the rest
    return shown


def previewed(side: int, before: bytes = b"") -> Steps:
    """Wait for a preview of that longer side, of other pixels than before; its pixels."""
    return (yield from until(lambda: _previewed(side, before)))


def _previewed(side: int, before: bytes) -> bytes:
    image = panel().preview._after
    if image is None or max(image.width(), image.height()) != side:
        return b""
    pixels = bytes(image.constBits().asarray(image.sizeInBytes()))
    return b"" if pixels == before else pixels


def click_style(number: int, *, holding: str = "") -> Steps:
    """Click on a style of the gallery, by its place."""
    styles = panel().gallery._list
    styles.scrollToItem(styles.item(number))
    yield SEEN_S
    yield from click(styles.viewport(), styles.visualItemRect(styles.item(number)).center(), holding=holding)


def screenshot(path: str, widget: QWidget | None = None) -> None:
    """Save a picture of the screen, or of what is there of a widget."""
    screen = Krita.instance().activeWindow().qwindow().screen()
    whole = screen.grabWindow(0)
    corner = QPoint(0, 0) if widget is None else widget.mapToGlobal(QPoint(0, 0))
    (whole if widget is None else whole.copy(QRect(corner, widget.size()))).save(path)


faulthandler.enable()  # a crash says which line of a script it was
Krita.instance().addExtension(Tests(Krita.instance()))
