"""The panel AdaIN Style: gallery, mix, sliders, regions, presets, live preview, queue, and the server's state.

The session talks to the server in its own thread; everything here runs in Qt's, the only one that may call Krita.
Whatever takes long there is in steps, see cooperative.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import krita

from adain_style.client.choices import ChoiceError, StyleChoice
from adain_style.client.client import ServerInfo
from adain_style.client.errors import AdainError
from adain_style.client.jobs import Draft, ModelInfo, Progress, StyleInfo, StylizeResult
from adain_style.client.texts import _
from adain_style.host import labels
from adain_style.host.models import model_entries
from adain_style.host.previews import preview_note
from adain_style.host.requests import make_request
from adain_style.host.session import Session, for_people
from adain_style.host.settings import MAX_CHOSEN_STYLES, SettingsStore, StylizeSettings
from adain_style.host.settings_editor import SettingsEditor, usable
from adain_style.host.styles import LAYER_STYLE, MAX_STYLE_SIDE, GalleryEntry, StyleResolver
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
"""How long Krita's end may wait for the session."""
MESSAGE_MS = 4000


class Panel(krita.DockWidget):
    """The panel and what it does; see adain_style.host.session.SessionListener for what the session tells it."""

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle(_("AdaIN Style"))
        self._store = SettingsStore()
        self._saved = self._store.load()
        self._editor = SettingsEditor(usable(self._saved.stylize, ()))
        self._styles = StyleResolver(KritaStyles())
        self._snapshot = LayerSnapshot()
        self._session: Session | None = None
        self._retry: Callable[[], None] = self.start_server
        self._task: CooperativeTask[Any] | None = None
        self._changed_at = 0.0
        self._is_closed = False
        self._wants_server = False  # the user has asked for one, and it is not there yet
        self._models: list[ModelInfo] = []
        self._own_model = ""
        self._server_info: ServerInfo | None = None
        self._post = Post()
        self._queue = Queue(self.session, self._show_queue, self._done)
        self._monitor = LayerMonitor(lambda: self._editor.settings, self._see)
        self._build()
        self._show_settings()
        self._see(self._snapshot)
        self.visibilityChanged.connect(self._shown)
        QtWidgets.QApplication.instance().applicationStateChanged.connect(self._look_again)

    def canvasChanged(self, _canvas: Any) -> None:  # noqa: N802  # Krita's name
        """The user went to another document."""
        self._monitor.look()

    def close_session(self) -> None:
        """Krita ends."""
        self._is_closed = True
        self._monitor.wake(False)
        self._queue.close()
        if self._session is not None:
            self._session.close(wait_s=CLOSE_S)

    # Building

    def _build(self) -> None:
        plus, minus = _icon("list-add", "addlayer"), _icon("edit-delete", "deletelayer")
        save, delete = _icon("document-save", "list-add"), _icon("edit-delete", "deletelayer")
        self._preview = Preview()
        self._gallery = Gallery(self._choose_styles)
        self._mix = Mix(minus, self._weigh, self._show_mix)
        self._controls = Controls(self._control_changed)
        self._regions = Regions((plus, minus), self._mask_sources, self._change_regions)
        self._presets = Presets(
            (save, delete), self._store, lambda: self._editor.settings, self._use_preset, self._show_error
        )
        self._queue_view = QueueView(_icon("dialog-cancel", "window-close"))
        self._frames = QtWidgets.QCheckBox()
        self._frames.toggled.connect(lambda _checked: self._show_forecast())
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
        # Krita says that it closes when its windows are gone; nothing may be told to a panel by then.
        whole.destroyed.connect(lambda _whole: self.close_session())

    def _build_settings(self) -> QtWidgets.QWidget:
        picture = QtWidgets.QPushButton(plain(_("Add _picture…")))
        picture.setToolTip(_("Use any picture as a style"))
        picture.clicked.connect(lambda _checked: self._add_picture())
        layer = QtWidgets.QPushButton(plain(_("Use a _layer…")))
        layer.setToolTip(_("Use a layer of any open document as a style"))
        layer.clicked.connect(lambda _checked: self._use_layer())
        mixes = QtWidgets.QCheckBox(plain(_("Mi_x several")))
        mixes.setToolTip(
            _("A click adds a style to the mix or takes it out, up to {n}; so does Ctrl+click").format(
                n=MAX_CHOSEN_STYLES
            )
        )
        mixes.toggled.connect(self._gallery.set_mixing)
        row = QtWidgets.QGridLayout()
        row.addWidget(picture, 0, 0)
        row.addWidget(layer, 0, 1)
        row.addWidget(mixes, 1, 0, 1, 2)
        inside = QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(inside)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._preview, 2)
        layout.addWidget(self._gallery, 3)
        layout.addLayout(row)
        for widget in (self._mix, self._controls, self._regions, self._presets):
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

    # What the menu does, too

    def session(self) -> Session:
        """The connection to the server; no server is started for it."""
        if self._session is None:
            self._session = Session(self, self._saved.server, name=CLIENT_NAME, post=self._post, start=False)
        return self._session

    def present(self) -> None:
        """Show the panel, with a server."""
        self.setVisible(True)
        self.raise_()
        self._make_room()
        self.activateWindow()  # a floating one does not hear the keyboard otherwise
        self.start_server()
        self._gallery.search.setFocus()

    def _make_room(self) -> None:
        """Krita gives a new panel what its others leave."""
        wanted = self.sizeHint().height()
        if not self.isFloating() and self.height() < wanted and isinstance(self.parent(), QtWidgets.QMainWindow):
            self.parent().resizeDocks([self], [wanted], QtCore.Qt.Orientation.Vertical)
        self._column.verticalScrollBar().setValue(0)

    def start_server(self) -> None:
        """Look for the server, and start this machine's when none runs."""
        self._wants_server = True
        self.session().reconnect(self._saved.server)

    def stylize(self) -> None:
        """Paint the layer that the user works on."""
        self._add_job(self._editor.settings, all_frames=self._paints_all_frames())

    def _paints_all_frames(self) -> bool:
        return bool(self._frames.isVisible() and self._frames.isChecked())

    def repeat(self) -> None:
        """Paint the layer that the user works on as the last one."""
        settings = self._store.load().stylize
        if any(region.styles for region in settings.regions):
            self._add_job(settings, all_frames=False)
        else:
            self._show_error(ChoiceError(_("Nothing has been painted yet that could be repeated; use Stylize first.")))

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
        chosen = run_server_dialog(self, self._saved.server)
        if chosen is not None:
            self._saved = replace(self._saved, server=chosen)
            self._store.save(replace(self._store.load(), server=chosen))
            self.start_server()

    def _name_style(self, title: str, pixels: Any) -> None:
        if run_save_style_dialog(self, title, pixels):
            self._fill_gallery()

    def _add_job(self, settings: StylizeSettings, *, all_frames: bool) -> None:
        self._message.hide()
        try:
            target = find_target(krita.Krita.instance().activeDocument())
        except ChoiceError as error:
            self._show_error(error)
            return
        self._saved = replace(self._saved, stylize=settings)
        self._store.save(replace(self._store.load(), stylize=settings, picture_folder=self._saved.picture_folder))
        self._styles.forget()
        # Of now: what the panel has seen may be older than the user's last key frame.
        frames = key_frames(target.document, target.node) if all_frames else ()
        self._queue.add(Job(target, settings, self._styles.result_name(settings), self._styles, frames))

    # What the user chooses

    def _choose_styles(self, sources: list[str]) -> None:
        try:
            self._editor.choose(sources)
        except ChoiceError as error:
            self._show_error(error)
        self._show_current()
        self._refresh()

    def _weigh(self, styles: list[StyleChoice]) -> None:
        self._editor.change_region(styles=tuple(styles))
        self._refresh()

    def _show_mix(self, styles: list[StyleChoice]) -> None:
        self._editor.change_region(styles=tuple(styles))
        self._show_current()
        self._refresh()

    def _control_changed(self) -> None:
        controls = self._controls
        self._editor.change(
            stroke_size=controls.stroke_size,
            detail=controls.detail,
            model=controls.model,
            quality=controls.quality,
        )
        self._editor.change_region(alpha=self._controls.alpha, preserve_color=self._controls.preserve_color)
        self._refresh()

    def _change_regions(self, masks: list[str], index: int) -> None:
        self._editor.change_regions(masks, index)
        self._show_settings()
        self._monitor.look()
        self._refresh()

    def _reset_all(self) -> None:
        self._presets.forget()
        self._use_preset(StylizeSettings())

    def _use_preset(self, settings: StylizeSettings) -> None:
        self._editor.use(settings)
        self._fill_gallery()
        self._show_settings()
        self._monitor.look()
        self._refresh()

    def _show_settings(self) -> None:
        masks = [region.mask for region in self._editor.settings.regions]
        self._regions.show_regions(masks, self._editor.region)
        self._show_current()

    def _show_current(self) -> None:
        region, target = self._editor.current, self._snapshot.target
        height, width = (1, 1) if target is None else (target.rectangle.height, target.rectangle.width)
        self._controls.show_settings(self._editor.settings, region, StylizeSettings().strokes_for(height, width))
        self._show_models()
        self._mix.show_mix(region.styles, self._gallery.entry)
        self._gallery.mark(style.source for style in region.styles)

    def _show_models(self) -> None:
        chosen = self._editor.settings.model
        self._controls.show_models(model_entries(self._models, self._own_model, chosen), chosen)

    def _mask_sources(self) -> list[MaskSource]:
        target = self._snapshot.target
        return [] if target is None else mask_sources(target.document)

    def _add_picture(self) -> None:
        path = choose_picture(self, self._saved.picture_folder)
        if path is None:
            return
        self._saved = replace(self._saved, picture_folder=str(path.parent))

        def load() -> None:  # in a thread of its own: a large picture takes long
            try:
                self._styles.load_one(str(path), again=True)
            except Exception as error:
                problem = for_people(error)
                self._post(lambda: self._show_error(problem))
            else:
                self._post(lambda: self._add_style(str(path), path.stem, str(path)))

        threading.Thread(target=load, daemon=True).start()

    def _use_layer(self) -> None:
        number = choose_layer(self)
        target = None if number is None else find_layer(number)
        if target is None:
            return
        source = f"{LAYER_STYLE}{number}"

        def use(pixels: Any) -> None:
            self._styles.put(source, pixels)
            self._add_style(source, target.title, _("A layer"))

        self._do(reduced_steps(target, MAX_STYLE_SIDE), use)

    def _add_style(self, source: str, title: str, about: str) -> None:
        self._gallery.add(GalleryEntry(source, title, about, self._picture_of(source)), first=True)
        self._editor.pick(source, adds=False)
        self._show_current()
        self._refresh()

    def _picture_of(self, source: str) -> QtGui.QImage | None:
        pixels = self._styles.picture(source)
        return None if pixels is None else image_of(pixels)

    # The preview

    def _see(self, snapshot: LayerSnapshot) -> None:
        if self._is_closed:
            return
        before, self._snapshot = self._snapshot, snapshot
        self._frames.setVisible(len(snapshot.frames) > 1)
        self._frames.setText(plain(frames_text(len(snapshot.frames))))
        if snapshot.content is None:
            self._preview.show_before(None, snapshot.problem)
        else:
            self._preview.show_before(image_of(snapshot.content.pixels))
        if before.target is None or snapshot.target is None or before.target.rectangle != snapshot.target.rectangle:
            self._show_settings()
        self._refresh()

    def _refresh(self) -> None:
        """Ask for a preview of what is chosen now."""
        content, settings, styles = self._snapshot.content, self._editor.settings, self._styles
        self._show_forecast()
        self._stylize.setEnabled(self._editor.is_complete and self._snapshot.target is not None)
        wanted = {region.mask for region in settings.regions if region.mask}
        # A region that was added a moment ago has a mask that is still being read; what is seen then comes here again.
        if content is None or not wanted <= content.masks.keys() or not self._editor.is_complete:
            if self._session is not None:
                self._session.preview(None)
            self._preview.show_after(None)
            return
        self._changed_at = time.monotonic()
        self.session().preview(lambda side: make_request(content, settings, styles.load(settings), preview=side))

    def _show_forecast(self) -> None:
        pictures = len(self._snapshot.frames) if self._paints_all_frames() else 1
        settings, content = self._editor.settings, self._snapshot.content
        self._controls.show_forecast(
            labels.finish_forecast(self._server_info, self._saved.server, settings, content, pictures=pictures)
        )

    # What the session tells

    def connecting(self, sentence: str) -> None:
        """Looking for the server."""
        self._state.setText(sentence)
        self._start.hide()

    def connected(self, info: ServerInfo) -> None:
        """The server is there."""
        log.debug("connected")
        self._wants_server = False
        self._state.setText(labels.server_state(info))
        self._start.hide()
        self._message.hide()
        self._server_info, self._own_model = info, info.model
        self._show_models()
        self._refresh()

    def listed(self, styles: list[StyleInfo], models: list[ModelInfo]) -> None:
        """The server's styles fill the gallery; its models are there to choose from."""
        self._models = models
        self._show_models()
        if styles == self._styles.known:
            return
        self._styles.known = styles
        self._fill_gallery()
        missing = [style.name for style in styles if self._has_no_thumbnail(style.name)]
        self.session().fetch_swatches(missing)
        self._refresh()

    def disconnected(self, error: AdainError) -> None:
        """No server: what to do is in the error's sentence."""
        log.debug("disconnected: %s", error)
        self._state.setText(_("No server"))
        self._start.show()
        self._server_info = None
        self._show_forecast()
        if self._wants_server:
            self._show_error(error, retry=self.start_server)

    def swatch(self, name: str, jpeg: bytes) -> None:
        """A thumbnail has come."""
        entry, image = self._gallery.entry(name), QtGui.QImage.fromData(jpeg)
        if entry is not None and not image.isNull():
            self._gallery.add(entry.with_thumbnail(image))
            if any(style.source == name for style in self._editor.current.styles):
                self._mix.show_mix(self._editor.current.styles, self._gallery.entry)

    def previewed(self, result: StylizeResult) -> None:
        """Show it."""
        note = preview_note(result.pixels, self._snapshot.content, self._editor.settings)
        self._preview.show_after(image_of(result.pixels), note)
        side = max(result.pixels.height, result.pixels.width)
        log.debug("previewed %d after %.3f s", side, time.monotonic() - self._changed_at)

    def preview_failed(self, error: AdainError) -> None:
        """Say why."""
        self._preview.show_note("")
        self._show_error(error)

    def progressed(self, progress: Progress) -> None:
        """Move the bar."""
        self._queue.progressed(progress)

    def drafted(self, draft: Draft) -> None:
        """Show the picture as it forms, as long as its layer is the one that is seen."""
        job, seen = self._queue.painted_job, self._snapshot.target
        if job is not None and seen is not None and seen.number == job.target.number:
            log.debug("drafted %d/%d", draft.step, draft.steps)
            self._preview.show_forming(image_of(draft.pixels))

    def painted(self, result: StylizeResult) -> None:
        """A picture has come."""
        self._queue.painted(result)

    def paint_failed(self, error: AdainError) -> None:
        """There is no picture; nothing of the document has been touched."""
        self._queue.paint_failed(error)
        self._refresh()

    # Showing

    def _show_queue(self) -> None:
        self._queue_view.show_queue(self._queue)
        if self._queue.painted_job is None:
            self._preview.show_forming(None)
        else:
            self._preview.show_note("")  # a picture takes the place of a preview

    def _done(self, job: Job) -> None:
        if job.notice:
            self._show_error(ChoiceError(job.notice))
        _tell(_("{layer} was painted; the new layer is {name}").format(layer=job.target.title, name=job.name))
        self._monitor.look()
        self._refresh()

    def _fill_gallery(self) -> None:
        settings = self._editor.settings
        self._gallery.show_entries(self._styles.gallery(settings))
        for source in {style.source for region in settings.regions for style in region.styles}:
            entry = self._gallery.entry(source)
            if entry is not None and entry.thumbnail is None and (image := self._picture_of(source)) is not None:
                self._gallery.add(entry.with_thumbnail(image))
        self._show_current()

    def _has_no_thumbnail(self, source: str) -> bool:
        entry = self._gallery.entry(source)
        return entry is None or entry.thumbnail is None

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
            self.session()

    def _look_again(self, state: Any) -> None:
        """The user was elsewhere, and may have added a style or a model."""
        is_back = state == QtCore.Qt.ApplicationState.ApplicationActive
        if not self._is_closed and is_back and self._session is not None:
            self._session.look_again()

    def _do(self, steps: Any, done: Callable[[Any], None]) -> None:
        self._task = CooperativeTask(steps, done, lambda error: self._show_error(for_people(error)))


def _icon(*names: str) -> QtGui.QIcon:
    """The first of Krita's icons that there is; they are light in dark themes."""
    icons = (krita.Krita.instance().icon(name) for name in names)
    return next((icon for icon in icons if not icon.isNull()), QtGui.QIcon())


def _tell(sentence: str) -> None:
    """Say something over the canvas, for whoever does not look at the panel."""
    window = krita.Krita.instance().activeWindow()
    view = None if window is None else window.activeView()
    if view is not None and view.document() is not None:
        view.showFloatingMessage(sentence, QtGui.QIcon(), MESSAGE_MS, 1)
