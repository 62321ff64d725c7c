"""Pictures that are being painted: reading the layer, and putting the result into Krita's document.

A job does its own part in steps, see cooperative.py; queue.py decides when.
"""

from __future__ import annotations

import enum
import os
import time
from dataclasses import dataclass, field
from typing import Any

import krita

from adain_style.client.jobs import Pixels, Progress, StylizeRequest
from adain_style.client.progress import TimeLeft, fraction
from adain_style.client.texts import _, ngettext
from adain_style.host.requests import Content, make_request
from adain_style.host.settings import StylizeSettings
from adain_style.host.styles import LAYER_STYLE, MAX_STYLE_SIDE, StyleResolver
from adain_style.krita.cooperative import WAIT, TaskSteps
from adain_style.krita.layers import (
    LayerError,
    Target,
    all_layers,
    canvas_of,
    find_node,
    is_unchanged_steps,
    new_layer,
    number_of,
    read_steps,
    reduced_steps,
    remember_result,
    topmost_result,
    write_steps,
)
from adain_style.krita.masks import mask_steps

ACTIVATION_S = 2.0
"""How long to wait until Krita has made a new layer the active one, in seconds."""
LONGEST_STROKE_S = 10.0
"""How long a new layer waits for the user to lift the pen, in seconds."""
FRAME_SMOOTHING = 0.5
"""How much of the previous key frame's statistics a key frame keeps, so that colours do not jump."""


class Stage(enum.Enum):
    """A job's stages, in this order; READING to WRITING for each key frame.

    Any may lead to FAILED; FAILED and CHANGED go back to WAITING when the user decides so.
    """

    WAITING = "waiting"
    READING = "reading"
    PAINTING = "painting"
    WRITING = "writing"
    CHANGED = "changed"
    FAILED = "failed"
    DONE = "done"


@dataclass
class Job:
    """A picture to paint: a layer, or all its key frames, with the settings.

    Attributes:
        target: The layer. settings: The user's choices. name: The new layer's name.
        styles: The known styles.
        frames: The key frames' numbers, for a new animated layer; empty for the layer as it is now.
        stage: The current stage. sentence: Why it failed, or what was changed during the painting.
        notice: A sentence for the user at the end.
        text, share: The bar's text, and the share of the whole that is done, 0..1.
        can_be_accepted: Whether its picture is being finished, so that the finish may end with the picture as it is.
    """

    target: Target
    settings: StylizeSettings
    name: str
    styles: StyleResolver
    frames: tuple[int, ...] = ()
    stage: Stage = Stage.WAITING
    sentence: str = ""
    notice: str = ""
    text: str = ""
    share: float = 0.0
    can_be_accepted: bool = False
    is_kept: bool = False  # the user wants the result although something has changed
    _data: bytearray = field(default_factory=bytearray, repr=False)
    _selection: Pixels | None = field(default=None, repr=False)
    _masks: dict[str, Pixels] = field(default_factory=dict, repr=False)
    _new: Any = field(default=None, repr=False)
    _left: TimeLeft = field(default_factory=TimeLeft, repr=False)
    _frame: int = 0  # the index of the key frame that is being painted
    _film: bytes = field(default_factory=lambda: os.urandom(16), repr=False)
    _stage_set: Any = None  # a copy of the document, whose time can be changed without the user noticing
    _shelter: Any = None  # a document that replaces one that was closed
    _frame_target: Target | None = None

    @property
    def title(self) -> str:
        """The job's title in the list of jobs."""
        return f"{self.target.title}: {self.name}"

    @property
    def keep_text(self) -> str:
        """The text of the button that keeps a result although something has changed."""
        return _("_Insert all the same") if is_open(self.target.document) else _("_Open as a new document")

    @property
    def is_over(self) -> bool:
        """Whether nothing more is done unless the user decides so."""
        return self.stage in (Stage.DONE, Stage.FAILED, Stage.CHANGED)

    @property
    def will_be_finished(self) -> bool:
        """Whether a picture of this job is being, or will be, finished step by step."""
        return self.settings.quality == "best" and not self.is_over and not self.is_kept

    @property
    def has_more_frames(self) -> bool:
        """Whether another key frame is to be painted."""
        return self._frame + 1 < len(self.frames)

    def next_frame(self) -> None:
        """Go on with the next key frame."""
        self._frame += 1

    def show(self, progress: Progress) -> None:
        """Take the progress of the picture that is being painted."""
        self.text = self._left.text(progress)
        if self.frames:
            self.text = _("Key frame {n} of {total}: {what}").format(
                n=self._frame + 1, total=len(self.frames), what=self.text
            )
        self.share = (self._frame + fraction(progress)) / max(1, len(self.frames))

    def read_steps(self) -> TaskSteps[bool]:
        """Read everything that is needed.

        Returns:
            False when there is nothing to paint, because the key frame is empty.
        Raises:
            ChoiceError: The layer cannot be painted with these settings.
        """
        check_open(self.target)
        target = self.target
        if self.frames:
            found = yield from self._frame_steps()
            if found is None:
                return False
            target = found
        else:
            self._left = TimeLeft()
        self._frame_target = target
        self._data = yield from read_steps(target)
        self._selection, self._masks = yield from mask_steps(self.target.document, self.settings, target.rectangle)
        yield from layer_style_steps(self.settings, self.styles)
        return True

    def request(self) -> StylizeRequest:
        """Make the request to the server; called in the session's thread. Raises ChoiceError."""
        assert self._frame_target is not None
        bounds, space = self._frame_target.rectangle, self.target.space.wired
        pixels = Pixels(self._data, bounds.height, bounds.width, space.layout, space.wire_depth)
        return make_request(
            Content(pixels, self._selection, self._masks, bounds.height, bounds.width),
            self.settings,
            self.styles.load(self.settings),
            transfer=space.transfer,
            sequence=self._film if self.frames else b"",
            smoothing=FRAME_SMOOTHING if self.frames else 0.0,
        )

    def write_steps(self, result: Pixels) -> TaskSteps[None]:
        """Write the picture into the new layer, which is in no document yet."""
        assert self._frame_target is not None
        document = self._stage_set or self._open_document()
        if self._new is None:
            self._new = new_layer(document, self.target, self.name)
        yield from write_steps(document, self._new, self._frame_target, result)

    def insert_steps(self) -> TaskSteps[str]:
        """Insert the new layer above its source, in one undo step.

        Returns:
            "" when it is in the document; otherwise what has changed, for the user to decide.
        """
        target = self.target
        if not self.is_kept and (problem := (yield from self._change_steps())):
            return problem
        if self._new is None:
            raise LayerError(_("Every key frame of the layer '{name}' is empty.").format(name=target.title))
        self._new.setName(self.name)
        if not is_open(target.document):
            document = self._open_document()
            background = document.topLevelNodes()
            document.rootNode().addChildNode(self._new, None)
            for node in background:
                node.remove()
            self._shelter = None
            krita.Krita.instance().activeWindow().addView(document)
            return ""
        source = find_node(target.document, target.number)
        parent = source.parentNode() if source is not None else target.document.rootNode()
        if source is not None and source.inheritAlpha():
            self._new.setInheritAlpha(True)
        yield from _idle_steps(target.document)  # otherwise Krita would block until the document is idle
        if not is_open(target.document):
            return (yield from self._change_steps())
        active = target.document.activeNode()
        # Above earlier results of the same layer, which would hide it.
        parent.addChildNode(self._new, None if source is None else topmost_result(source))
        if source is not None:
            remember_result(source, self._new)
        inserted = number_of(self._new)
        # Krita soon makes the new layer the active one, although the user is painting on another.
        deadline = time.monotonic() + ACTIVATION_S
        while active is not None and time.monotonic() < deadline:
            yield WAIT
            now = target.document.activeNode()
            if now is not None and number_of(now) == inserted:
                target.document.setActiveNode(active)
                break
        return ""

    def release(self) -> None:
        """Free the memory."""
        self._data, self._selection, self._masks = bytearray(), None, {}
        self._new = self._frame_target = None
        for document in (self._stage_set, self._shelter):
            if document is not None:
                document.setBatchmode(True)
                document.setModified(False)
                document.close()
        self._stage_set = self._shelter = None

    def again(self) -> None:
        """Reset the job to its state before it began."""
        self.release()
        self.stage, self.sentence, self.text, self.share, self._frame = Stage.WAITING, "", "", 0.0, 0

    def _frame_steps(self) -> TaskSteps[Target | None]:
        """The layer at the current key frame's time, in a copy of the document; None when it is empty."""
        if self._stage_set is None:
            self._left = TimeLeft()
            self._stage_set = self.target.document.clone()
            self._stage_set.setBatchmode(True)
            source = find_node(self._stage_set, self.target.number)
            self._new = source.duplicate()
            self._new.setOpacity(255)
            self._new.setBlendingMode("normal")
        frame = self.frames[self._frame]
        self._stage_set.setCurrentTime(frame)
        while not self._is_at(frame):
            yield WAIT
        try:
            return Target.of(self._stage_set, find_node(self._stage_set, self.target.number))
        except LayerError:
            return None

    def _is_at(self, frame: int) -> bool:
        return _is_idle(self._stage_set) and bool(self._stage_set.currentTime() == frame)

    def _change_steps(self) -> TaskSteps[str]:
        target = self.target
        if not is_open(target.document):
            return _("The document was closed meanwhile. The painted layer can be opened as a new document.")
        if canvas_of(target.document) != target.canvas:
            return _("The document was resized meanwhile, so the painted layer may not fit any more.")
        node = find_node(target.document, target.number)
        if node is None:
            return _("The layer '{name}' was deleted meanwhile.").format(name=target.title)
        if self.frames:
            return ""
        try:
            now = Target.of(target.document, node)
        except LayerError:
            return _("The layer '{name}' was changed meanwhile.").format(name=target.title)
        if (now.rectangle, now.space, now.is_seen) != (target.rectangle, target.space, target.is_seen) or not (
            yield from is_unchanged_steps(now, self._data)
        ):
            return _("The layer '{name}' was changed meanwhile.").format(name=target.title)
        return ""

    def _open_document(self) -> Any:
        """A document to make layers in: the target's, or a new one like it when the user has closed that."""
        target = self.target
        if is_open(target.document):
            return target.document
        if self._shelter is None:
            width, height, resolution = target.canvas
            space = target.space
            self._shelter = krita.Krita.instance().createDocument(
                width, height, self.name, space.model, space.depth, space.profile, float(resolution)
            )
        return self._shelter


def key_frames(document: Any, node: Any) -> tuple[int, ...]:
    """The numbers of a layer's key frames; empty when it is not animated."""
    if not node.animated():
        return ()
    last = max(document.animationLength(), document.fullClipRangeEndTime() + 1)
    return tuple(frame for frame in range(last) if node.hasKeyframeAtTime(frame))


def frames_text(count: int) -> str:
    """The label of the switch that paints all key frames, with their number."""
    return ngettext(
        "All {n} key _frame, as a new animated layer", "All {n} key _frames, as a new animated layer", count
    ).format(n=count)


def _is_idle(document: Any) -> bool:
    """Whether the user is not drawing, and Krita has shown everything that was drawn."""
    if not document.tryBarrierLock():
        return False
    document.unlock()
    return True


def _idle_steps(document: Any) -> TaskSteps[None]:
    deadline = time.monotonic() + LONGEST_STROKE_S
    while not _is_idle(document) and time.monotonic() < deadline:
        yield WAIT


def is_open(document: Any) -> bool:
    """Whether a document is still open."""
    return any(document == other for other in krita.Krita.instance().documents())


def check_open(target: Target) -> None:
    """Raise LayerError when a layer is gone."""
    if not is_open(target.document) or find_node(target.document, target.number) is None:
        raise LayerError(_("The layer was closed or deleted meanwhile; nothing was painted."))


def layer_style_steps(settings: StylizeSettings, styles: StyleResolver) -> TaskSteps[None]:
    """Read the layers that are used as styles again."""
    for source in {style.source for region in settings.regions for style in region.styles}:
        if source.startswith(LAYER_STYLE):
            found = find_layer(source.removeprefix(LAYER_STYLE))
            if found is not None:
                styles.put(source, (yield from reduced_steps(found, MAX_STYLE_SIDE)))


def find_layer(number: str) -> Target | None:
    """A layer of any open document, by its unique name; None when it is gone or empty."""
    for document in krita.Krita.instance().documents():
        for node in all_layers(document):
            if number_of(node) == number:
                try:
                    return Target.of(document, node)
                except LayerError:
                    return None
    return None
