"""Keeps a small copy of the layer that the user works on, for previews: Krita does not report when a user paints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import krita

from adain_style.client.errors import AdainError
from adain_style.client.texts import _
from adain_style.host.requests import PREVIEW_CONTENT_SIDE, Content
from adain_style.host.session import for_people
from adain_style.host.settings import StylizeSettings
from adain_style.krita.cooperative import CooperativeTask, TaskSteps
from adain_style.krita.jobs import key_frames
from adain_style.krita.layers import LayerError, Target, reduced_steps
from adain_style.krita.masks import glance_at_masks, mask_steps
from adain_style.krita.qt import QtCore, QtWidgets, samples_of

LOOK_EVERY_MS = 700
GLANCE_SIDE = 64
"""The side, in pixels, of the thumbnail that shows whether the layer has changed; Krita caches it until then."""


@dataclass(frozen=True)
class LayerSnapshot:
    """The layer that the user works on, as it was last seen.

    Attributes:
        target: The layer; None when no layer could be painted; problem says why.
        content: The layer, reduced; None until it has been read.
        frames: Its key frames.
    """

    target: Target | None = None
    content: Content | None = None
    frames: tuple[int, ...] = ()
    problem: str = ""


class LayerMonitor(QtCore.QObject):
    """Looks at the layer from time to time while it is awake, but not while a mouse button or the pen is down."""

    def __init__(self, settings: Callable[[], StylizeSettings], changed: Callable[[LayerSnapshot], None]) -> None:
        """Start asleep.

        Args:
            settings: Returns the current settings, whose regions' masks are read as well.
            changed: Called with a new snapshot.
        """
        super().__init__()
        self._settings, self._changed = settings, changed
        self._seen: object = None
        self._task: CooperativeTask[Content] | None = None
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(LOOK_EVERY_MS)
        self._timer.timeout.connect(self.look)

    def wake(self, awake: bool) -> None:
        """Start looking, or stop."""
        if awake:
            self._timer.start()
            self.look()
        else:
            self._timer.stop()
            self._stop()
            self._seen = None

    def look(self) -> None:
        """Check whether anything has changed, and read the layer if so."""
        if not self._timer.isActive() or QtWidgets.QApplication.mouseButtons() != QtCore.Qt.MouseButton.NoButton:
            return
        document = krita.Krita.instance().activeDocument()
        try:
            target = find_target(document)
        except LayerError as error:
            self._show((str(error),), LayerSnapshot(problem=str(error)))
            return
        glance = target.node.thumbnail(GLANCE_SIDE, GLANCE_SIDE)
        samples = b"" if glance.isNull() else samples_of(glance, glance.format())
        settings, frames = self._settings(), key_frames(document, target.node)
        layer = (target.number, target.rectangle, target.space, target.is_seen, samples)
        seen = (layer, tuple(glance_at_masks(document, settings)), frames)
        if seen != self._seen:
            self._seen = seen
            self._read(target, settings, frames)

    def _show(self, key: object, snapshot: LayerSnapshot) -> None:
        if key != self._seen:
            self._stop()
            self._seen = key
            self._changed(snapshot)

    def _read(self, target: Target, settings: StylizeSettings, frames: tuple[int, ...]) -> None:
        self._stop()
        self._task = CooperativeTask(
            _content_steps(target, settings),
            lambda content: self._changed(LayerSnapshot(target, content, frames)),
            lambda error: self._fail(target, frames, for_people(error)),
        )

    def _fail(self, target: Target, frames: tuple[int, ...], error: AdainError) -> None:
        self._changed(LayerSnapshot(target, None, frames, str(error)))

    def _stop(self) -> None:
        if self._task is not None:
            self._task.stop()
            self._task = None


def find_target(document: Any) -> Target:
    """Return the layer that the user works on. Raises LayerError when there is none that can be painted."""
    if document is None:
        raise LayerError(_("Open a document first."))
    return Target.of(document, document.activeNode())


def _content_steps(target: Target, settings: StylizeSettings) -> TaskSteps[Content]:
    pixels = yield from reduced_steps(target, PREVIEW_CONTENT_SIDE)
    selection, masks = yield from mask_steps(target.document, settings, target.rectangle, preview=True)
    return Content(pixels, selection, masks, target.rectangle.height, target.rectangle.width)
