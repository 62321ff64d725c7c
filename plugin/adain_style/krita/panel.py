"""The panel AdaIN Style: gallery, mix, sliders, regions, presets, live preview, queue, and the server's state.

The session talks to the server in its own thread; everything here runs in Qt's, the only one that may call Krita.
The logic behind the user's choices is in adain_style.host.controller; whatever takes long is in steps, see
cooperative.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import krita

from adain_style.client.choices import ChoiceError
from adain_style.client.errors import AdainError
from adain_style.client.jobs import Draft, Pixels, Progress, StylizeResult
from adain_style.client.texts import _
from adain_style.host.controller import StylizeController
from adain_style.host.requests import Content
from adain_style.host.session import for_people
from adain_style.host.settings import MAX_CHOSEN_STYLES, StylizeSettings
from adain_style.host.settings_editor import repeatable
from adain_style.host.styles import LAYER_STYLE, MAX_STYLE_SIDE
from adain_style.krita.controls import Controls
from adain_style.krita.cooperative import CooperativeTask
from adain_style.krita.gallery import Gallery
from adain_style.krita.jobs import Job, find_layer, frames_text, key_frames
from adain_style.krita.layer_monitor import LayerMonitor, LayerSnapshot, find_target
from adain_style.krita.layers import reduced_steps
from adain_style.krita.masks import MaskSource, mask_sources, selected_part
from adain_style.krita.mix import Mix
from adain_style.krita.presets import Presets
from adain_style.krita.preview import Preview
from adain_style.krita.qt import Column, Post, QtCore, QtGui, QtWidgets, button, image_of, plain
from adain_style.krita.queue import Queue
from adain_style.krita.queue_view import QueueView
from adain_style.krita.regions import Regions
from adain_style.krita.small_dialogs import (
    CLIENT_NAME,
    choose_layer,
    choose_picture,
    run_save_style_dialog,
    run_server_dialog,
)
from adain_style.krita.styles import KritaStyles

log = logging.getLogger(__name__)

PANEL_ID = "adain_style_docker"
CLOSE_S = 0.1
"""How long Krita's end may wait for the session, in seconds."""
MESSAGE_MS = 4000


class Panel(krita.DockWidget):
    """The panel; adain_style.host.controller.StylizeView is the part of it that the controller uses."""

    gallery: Gallery
    mix: Mix
    controls: Controls
    regions: Regions
    preview: Preview

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle(_("AdaIN Style"))
        self._post = Post()
        self.controller = StylizeController(
            self, KritaStyles(), name=CLIENT_NAME, post=self._post, starts_server=False, reads_at_once=False
        )
        self._snapshot = LayerSnapshot()
        self._retry: Callable[[], None] = self.start_server
        self._task: CooperativeTask[Any] | None = None
        self._is_closed = False
        self._wants_server = False  # whether the user has asked for a server that is not there yet
        self._queue = Queue(self.controller.session, self._show_queue, self._done)
        self._monitor = LayerMonitor(lambda: self.controller.editor.settings, self._see)
        self._build()
        self.controller.show_settings()
        self._see(self._snapshot)
        self.visibilityChanged.connect(self._shown)
        QtWidgets.QApplication.instance().applicationStateChanged.connect(self._look_again)

    def canvasChanged(self, _canvas: Any) -> None:  # noqa: N802  # Krita's name
        """Look at the layer when the user has changed to another document."""
        self._monitor.look()

    def close_session(self) -> None:
        """Save the choices and end the session when Krita ends."""
        self._is_closed = True
        self.controller.keep_choices()
        self._monitor.wake(False)
        self._queue.close()
        if self.controller.has_session:
            self.controller.session().close(wait_s=CLOSE_S)

    # For the controller

    @property
    def pictures(self) -> int:
        """The number of pictures; see adain_style.host.controller.StylizeView for this and the methods below."""
        return len(self._snapshot.frames) if self._paints_all_frames() else 1

    def layer_size(self) -> tuple[int, int]:
        """The layer's height and width; 1, 1 when there is none."""
        target = self._snapshot.target
        return (1, 1) if target is None else (target.rectangle.height, target.rectangle.width)

    def content(self) -> Content | None:
        """The layer as it was last read."""
        return self._snapshot.content

    def is_painting(self) -> bool:
        """Return False: previews need not be held back, because a forming picture is shown in their place anyway."""
        return False

    def look_at_layer(self) -> None:
        """Read the layer and its masks again, soon and in steps."""
        self._monitor.look()

    def image_of(self, pixels: Pixels) -> QtGui.QImage:
        """Convert pixels to Qt's picture."""
        return image_of(pixels)

    def image_of_file(self, data: bytes) -> QtGui.QImage | None:
        """Convert a picture's file to Qt's picture; None when it cannot be read."""
        image = QtGui.QImage.fromData(data)
        return None if image.isNull() else image

    # Building

    def _build(self) -> None:
        plus, minus = _icon("list-add", "addlayer"), _icon("edit-delete", "deletelayer")
        save, delete = _icon("document-save", "list-add"), _icon("edit-delete", "deletelayer")
        controller = self.controller
        self.preview = Preview()
        self.gallery = Gallery(controller.choose)
        self.mix = Mix(minus, controller.weigh, controller.take_out)
        self.controls = Controls(controller.take_controls)
        self.regions = Regions((plus, minus), self._mask_sources, controller.change_regions)
        self._presets = Presets(
            (save, delete), controller.store, lambda: controller.editor.settings, controller.use, self.show_error
        )
        self._queue_view = QueueView(_icon("dialog-cancel", "window-close"))
        self._frames = QtWidgets.QCheckBox()
        self._frames.toggled.connect(lambda _checked: controller.show_forecast())
        self._stylize = QtWidgets.QPushButton(plain(_("_Stylize")))
        self._stylize.clicked.connect(lambda _checked: self.stylize())
        self._reset = QtWidgets.QPushButton(plain(_("_Reset")))
        self._reset.setToolTip(_("Everything as it was when this window was first opened"))
        self._reset.clicked.connect(lambda _checked: self._reset_all())
        actions = QtWidgets.QHBoxLayout()
        actions.addWidget(self._stylize, 1)
        actions.addWidget(self._reset)
        whole = QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(whole)
        layout.addWidget(self._build_settings(), 1)
        layout.addWidget(self._frames)
        layout.addWidget(self._build_message())
        layout.addLayout(actions)
        layout.addWidget(self._queue_view)
        layout.addLayout(self._build_server())
        self.setWidget(whole)
        # Krita reports that it closes after its windows are gone; by then a panel must not be called any more.
        whole.destroyed.connect(lambda _whole: self.close_session())

    def _build_settings(self) -> QtWidgets.QWidget:
        picture = QtWidgets.QPushButton(plain(_("Add _picture…")))
        picture.setToolTip(_("Use any picture as a style"))
        picture.clicked.connect(lambda _checked: self._add_picture())
        layer = QtWidgets.QPushButton(plain(_("Use a _layer…")))
        layer.setToolTip(_("Use a layer of any open document as a style"))
        layer.clicked.connect(lambda _checked: self._use_layer())
        self._mixes = QtWidgets.QCheckBox(plain(_("Mi_x several")))
        self._mixes.setToolTip(
            _("A click adds a style to the mix or takes it out, up to {n}; so does Ctrl+click").format(
                n=MAX_CHOSEN_STYLES
            )
        )
        self._mixes.toggled.connect(self.gallery.set_mixing)
        row = QtWidgets.QGridLayout()
        row.addWidget(picture, 0, 0)
        row.addWidget(layer, 0, 1)
        row.addWidget(self._mixes, 1, 0, 1, 2)
        inside = QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(inside)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.preview, 2)
        layout.addWidget(self.gallery, 3)
        layout.addLayout(row)
        for widget in (self.mix, self.controls, self.regions, self._presets):
            layout.addWidget(widget)
        self._column = Column(inside)
        return self._column

    def _build_message(self) -> QtWidgets.QWidget:
        self._message = QtWidgets.QFrame()
        self._message.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self._sentence = QtWidgets.QLabel()
        self._sentence.setWordWrap(True)
        self._try_again = QtWidgets.QPushButton(plain(_("Try _again")))
        self._try_again.clicked.connect(lambda _checked: self._answer_message())
        close = button(_icon("window-close", "dialog-cancel"), _("Close"), self._message.hide)
        layout = QtWidgets.QGridLayout(self._message)
        layout.addWidget(self._sentence, 0, 0)
        layout.addWidget(close, 0, 1)
        layout.addWidget(self._try_again, 1, 0, 1, 2)
        self._message.hide()
        return self._message

    def _build_server(self) -> QtWidgets.QLayout:
        self._state = QtWidgets.QLabel(_("No server"))
        self._state.setWordWrap(True)
        self._start = QtWidgets.QPushButton(plain(_("_Start")))
        self._start.setToolTip(_("Start the AdaIN server, which paints; it ends by itself when it has no work"))
        self._start.clicked.connect(lambda _checked: self.start_server())
        server = QtWidgets.QPushButton(plain(_("Ser_ver…")))
        server.setToolTip(_("The server that paints: start and stop it, or choose another one"))
        server.clicked.connect(lambda _checked: self.choose_server())
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self._state, 1)
        row.addWidget(self._start)
        row.addWidget(server)
        return row

    # Actions that are in the menu, too

    def present(self) -> None:
        """Show the panel, with a server."""
        self.setVisible(True)
        self.raise_()
        self._make_room()
        self.activateWindow()  # otherwise a floating panel gets no keyboard input
        self.start_server()
        self.gallery.search.setFocus()

    def _make_room(self) -> None:
        """Enlarge the panel, because Krita gives a new one only the room that the others leave."""
        wanted = self.sizeHint().height()
        if not self.isFloating() and self.height() < wanted and isinstance(self.parent(), QtWidgets.QMainWindow):
            self.parent().resizeDocks([self], [wanted], QtCore.Qt.Orientation.Vertical)
        self._column.verticalScrollBar().setValue(0)

    def start_server(self) -> None:
        """Look for the server, and start this machine's when none runs."""
        self._wants_server = True
        self.controller.reconnect()

    def stylize(self) -> None:
        """Paint the layer that the user works on."""
        self._add_job(self.controller.editor.settings, all_frames=self._paints_all_frames())

    def _paints_all_frames(self) -> bool:
        return bool(self._frames.isVisible() and self._frames.isChecked())

    def repeat(self) -> None:
        """Paint the layer that the user works on like the last one."""
        document = krita.Krita.instance().activeDocument()
        masks = [] if document is None else [source.name for source in mask_sources(document)]
        try:
            settings = repeatable(self.controller.store.load().stylize, masks)
        except ChoiceError as error:
            self._show_error(error)
        else:
            self._add_job(settings, all_frames=False)

    def save_style(self) -> None:
        """Save the layer that the user works on as a style."""
        try:
            target = find_target(krita.Krita.instance().activeDocument())
            selection = target.document.selection()
            if selection is not None:
                target = replace(target, rectangle=selected_part(selection, target.rectangle))
        except ChoiceError as error:
            self._show_error(error)
            return
        self._do(reduced_steps(target, MAX_STYLE_SIDE), lambda pixels: self._name_style(target.title, pixels))

    def choose_server(self) -> None:
        """Show the server's window."""
        chosen = run_server_dialog(self, self.controller.saved.server)
        if chosen is not None:
            self._wants_server = True
            self.controller.use_server(chosen)

    def _name_style(self, title: str, pixels: Any) -> None:
        if run_save_style_dialog(self, title, pixels):
            self.controller.show_gallery()

    def _add_job(self, settings: StylizeSettings, *, all_frames: bool) -> None:
        self._message.hide()
        try:
            target = find_target(krita.Krita.instance().activeDocument())
        except ChoiceError as error:
            self._show_error(error)
            return
        self.controller.remember(settings)
        self.controller.styles.forget()
        # Read again, because the snapshot may be older than the user's last key frame.
        frames = key_frames(target.document, target.node) if all_frames else ()
        self._queue.add(
            Job(target, settings, self.controller.styles.result_name(settings), self.controller.styles, frames)
        )

    # The user's choices

    def _reset_all(self) -> None:
        self._presets.forget()
        self._mixes.setChecked(False)
        self.controller.use(StylizeSettings())

    def _mask_sources(self) -> list[MaskSource]:
        target = self._snapshot.target
        return [] if target is None else mask_sources(target.document)

    def _add_picture(self) -> None:
        path = choose_picture(self, self.controller.saved.picture_folder)
        if path is None:
            return
        self.controller.use_folder(path.parent)

        def load() -> None:  # in a thread of its own: a large picture takes long
            try:
                self.controller.styles.load_one(str(path), again=True)
            except Exception as error:
                problem = for_people(error)
                self._post(lambda: self.show_error(problem))
            else:
                self._post(lambda: self.controller.add_style(str(path), path.stem, str(path)))

        threading.Thread(target=load, daemon=True).start()

    def _use_layer(self) -> None:
        number = choose_layer(self)
        target = None if number is None else find_layer(number)
        if target is None:
            return
        source = f"{LAYER_STYLE}{number}"

        def use(pixels: Any) -> None:
            self.controller.styles.put(source, pixels)
            self.controller.add_style(source, target.title, _("A layer"))

        self._do(reduced_steps(target, MAX_STYLE_SIDE), use)

    # The preview

    def _see(self, snapshot: LayerSnapshot) -> None:
        if self._is_closed:
            return
        before, self._snapshot = self._snapshot, snapshot
        self._frames.setVisible(len(snapshot.frames) > 1)
        self._frames.setText(plain(frames_text(len(snapshot.frames))))
        if snapshot.content is None:
            self.preview.show_before(None, snapshot.problem)
        else:
            self.preview.show_before(image_of(snapshot.content.pixels))
        if before.target is None or snapshot.target is None or before.target.rectangle != snapshot.target.rectangle:
            self.controller.show_settings()
        self.controller.refresh()

    def show_forecast(self, sentence: str) -> None:
        """Show the sentence below the sliders."""
        self.controls.show_forecast(sentence)

    def allow_painting(self, is_complete: bool) -> None:
        """Make *Stylize* available, if there is a layer, or not."""
        self._stylize.setEnabled(is_complete and self._snapshot.target is not None)

    # Showing the server's state and the picture

    def show_connecting(self, sentence: str) -> None:
        """Show the sentence below everything else."""
        self._state.setText(sentence)
        self._start.hide()

    def show_connected(self, sentence: str) -> None:
        """Show that the server is ready, and hide the last error."""
        self._wants_server = False
        self._state.setText(sentence)
        self._start.hide()
        self._message.hide()

    def show_disconnected(self, error: AdainError) -> None:
        """Show that there is no server; explain what to do only if the user has asked for one."""
        self._state.setText(_("No server"))
        self._start.show()
        if self._wants_server:
            self._show_error(error, retry=self.start_server)

    def progressed(self, progress: Progress) -> None:
        """Move the bar."""
        self._queue.progressed(progress)

    def drafted(self, draft: Draft) -> None:
        """Show the picture as it forms, as long as its layer is the one in the preview."""
        job, seen = self._queue.painted_job, self._snapshot.target
        if job is not None and seen is not None and seen.number == job.target.number:
            log.debug("drafted %d/%d", draft.step, draft.steps)
            self.preview.show_forming(image_of(draft.pixels))

    def painted(self, result: StylizeResult) -> None:
        """Pass the picture to the queue."""
        self._queue.painted(result)

    def paint_failed(self, error: AdainError) -> None:
        """Pass the failure to the queue; the document has not been changed."""
        self._queue.paint_failed(error)
        self.controller.refresh()

    # Showing

    def _show_queue(self) -> None:
        self._queue_view.show_queue(self._queue)
        if self._queue.painted_job is None:
            self.preview.show_forming(None)
        else:
            self.preview.show_note("")  # a picture takes the place of a preview

    def _done(self, job: Job) -> None:
        if job.notice:
            self._show_error(ChoiceError(job.notice))
        _tell(_("{layer} was painted; the new layer is {name}").format(layer=job.target.title, name=job.name))
        self._monitor.look()
        self.controller.refresh()

    def show_error(self, error: AdainError) -> None:
        """Show an error above the buttons, and over the canvas when the panel is hidden."""
        self._show_error(error)

    def _show_error(self, error: AdainError, *, retry: Callable[[], None] | None = None) -> None:
        log.debug("error: %s", error)
        self._sentence.setText(str(error))
        self._try_again.setVisible(retry is not None)
        self._retry = retry or self.start_server
        self._message.show()
        if not self.isVisible():
            _tell(str(error))

    def _answer_message(self) -> None:
        self._message.hide()
        self._retry()

    def _shown(self, visible: bool) -> None:
        if self._is_closed:
            return
        self._monitor.wake(visible)
        if visible:
            self.controller.session()

    def _look_again(self, state: Any) -> None:
        """Look again when the user comes back, maybe from adding a style or a model."""
        is_back = state == QtCore.Qt.ApplicationState.ApplicationActive
        if not self._is_closed and is_back and self.controller.has_session:
            self.controller.session().look_again()

    def _do(self, steps: Any, done: Callable[[Any], None]) -> None:
        self._task = CooperativeTask(steps, done, lambda error: self._show_error(for_people(error)))


def _icon(*names: str) -> QtGui.QIcon:
    """The first of these icons that Krita has; its icons are light in dark themes."""
    icons = (krita.Krita.instance().icon(name) for name in names)
    return next((icon for icon in icons if not icon.isNull()), QtGui.QIcon())


def _tell(sentence: str) -> None:
    """Show a message over the canvas, for users who do not look at the panel."""
    window = krita.Krita.instance().activeWindow()
    view = None if window is None else window.activeView()
    if view is not None and view.document() is not None:
        view.showFloatingMessage(sentence, QtGui.QIcon(), MESSAGE_MS, 1)
