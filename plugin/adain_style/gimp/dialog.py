"""The window of Stylize: gallery, mix, sliders, regions, presets, live preview, progress.

The session talks to the server in its own thread; everything here runs in GTK's, the only one that may call GIMP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from adain_style.client.choices import ChoiceError, StyleChoice
from adain_style.client.client import ServerInfo
from adain_style.client.errors import AdainError, CancelledError
from adain_style.client.jobs import Draft, ModelInfo, Pixels, Progress, StyleInfo, StyleSource, StylizeResult
from adain_style.client.progress import TimeLeft, fraction
from adain_style.client.texts import _
from adain_style.gimp.controls import Controls
from adain_style.gimp.gallery import Gallery
from adain_style.gimp.mix import Mix
from adain_style.gimp.painting import CLIENT_NAME, apply_result
from adain_style.gimp.presets import Presets
from adain_style.gimp.preview import Preview
from adain_style.gimp.regions import Regions
from adain_style.gimp.requests import LayerContent, MaskSource, compose_for, mask_sources, read_content
from adain_style.gimp.small_dialogs import choose_layer, choose_picture, run_server_dialog
from adain_style.gimp.styles import GimpStyleReader
from adain_style.gimp.typelibs import Gimp, GLib
from adain_style.gimp.ui import Gdk, GimpUi, Gtk, pixbuf_of, pixbuf_of_file
from adain_style.host import labels
from adain_style.host.models import model_entries
from adain_style.host.previews import preview_note
from adain_style.host.requests import make_request
from adain_style.host.session import Session
from adain_style.host.settings import MAX_CHOSEN_STYLES, SettingsStore, StylizeSettings
from adain_style.host.settings_editor import SettingsEditor, usable
from adain_style.host.styles import LAYER_STYLE, GalleryEntry, StyleResolver

log = logging.getLogger(__name__)

BORDER = 12
"""Around the window's parts, in pixels."""
KEEP = 1
"""The answer of the button that ends the finish; GTK's own ones are below 0."""


def run_dialog(image: Gimp.Image, layer: Gimp.Layer) -> bool:
    """Let the user choose, and paint. Returns whether the layer was painted."""
    GimpUi.init("adain-style")
    dialog = StylizeDialog(image, layer)
    Gtk.main()
    return dialog.painted_layer


class StylizeDialog:
    """The window and what it does; see adain_style.host.session.SessionListener for what the session tells it.

    Attributes:
        painted_layer: The result is in the image.
    """

    def __init__(self, image: Gimp.Image, layer: Gimp.Layer) -> None:
        """Show the window. layer: As one_layer() gave it."""
        self.painted_layer = False
        self._image, self._layer = image, layer
        self._store = SettingsStore()
        self._saved = self._store.load()
        masks = mask_sources(image)
        self._editor = SettingsEditor(usable(self._saved.stylize, [source.name for source in masks]))
        self._styles = StyleResolver(GimpStyleReader())
        self._content: LayerContent | None = None
        self._painting: LayerContent | None = None
        self._retry: Callable[[], None] = self._reconnect
        self._changed_at = 0.0
        self._models: list[ModelInfo] = []
        self._own_model = ""
        self._server_info: ServerInfo | None = None
        self._build(masks)
        # What it tells comes through GTK's loop, which does not run yet.
        self._session = Session(self, self._saved.server, name=CLIENT_NAME, post=GLib.idle_add)
        self._show_settings()
        self._read_preview_content()
        self._window.show_all()
        self._bar_box.hide()
        self._info.hide()
        self._gallery.search.grab_focus()

    # Building

    def _build(self, masks: list[MaskSource]) -> None:
        self._window = GimpUi.Dialog(title=_("AdaIN Style"), role="adain-style")
        GimpUi.window_set_transient(self._window)
        self._reset = self._window.add_button(_("_Reset"), Gtk.ResponseType.REJECT)
        self._reset.set_tooltip_text(_("Everything as it was when this window was first opened"))
        self._keep = self._window.add_button(labels.KEEP, KEEP)
        self._keep.set_tooltip_text(labels.KEEP_TIP)
        self._keep.set_no_show_all(True)
        self._keep.hide()  # GTK shows what it adds
        self._window.add_button(_("_Cancel"), Gtk.ResponseType.CANCEL)
        self._ok = self._window.add_button(_("_Stylize"), Gtk.ResponseType.OK)
        self._ok.get_style_context().add_class("suggested-action")
        self._window.set_default_response(Gtk.ResponseType.OK)
        self._window.connect("response", self._respond)
        self._window.connect("close", self._escaped)
        self._window.connect("delete-event", self._closed_by_its_frame)
        self._window.connect("focus-in-event", lambda *_: self._look_again())
        self._preview = Preview()
        self._gallery = Gallery(self._choose_style)
        self._mix = Mix(self._weigh, self._take_out)
        self._controls = Controls(self._control_changed)
        self._regions = Regions(masks, self._show_region, self._change_regions)
        self._presets = Presets(self._store, lambda: self._editor.settings, self._use_preset, self._show_error)
        keys = Gtk.AccelGroup()
        keys.connect(Gdk.KEY_f, Gdk.ModifierType.CONTROL_MASK, 0, lambda *_: self._gallery.search.grab_focus() or True)
        self._window.add_accel_group(keys)
        area = self._window.get_content_area()
        area.pack_start(self._build_info(), False, False, 0)
        columns = Gtk.Box(spacing=BORDER)
        columns.set_border_width(BORDER)
        columns.pack_start(self._build_left(), True, True, 0)
        self._right = self._build_right()
        columns.pack_start(self._right, False, True, 0)
        area.pack_start(columns, True, True, 0)
        self._forecast = Gtk.Label()
        buttons = self._ok.get_parent()
        buttons.pack_start(self._forecast, False, False, 0)
        buttons.set_child_secondary(self._forecast, True)
        buttons.set_child_non_homogeneous(self._forecast, True)

    def _build_info(self) -> Gtk.Widget:
        self._info = Gtk.InfoBar()
        self._info.set_message_type(Gtk.MessageType.WARNING)
        self._info.set_show_close_button(True)
        self._info_text = Gtk.Label()
        self._info_text.set_line_wrap(True)
        self._info_text.set_xalign(0.0)
        self._info_text.set_selectable(True)
        self._info.get_content_area().pack_start(self._info_text, True, True, 0)
        self._info_retry = self._info.add_button(_("Try _again"), Gtk.ResponseType.OK)
        self._info.connect("response", self._info_answered)
        self._info.set_no_show_all(True)
        self._info.get_content_area().show_all()
        return self._info

    def _build_left(self) -> Gtk.Widget:
        self._state = Gtk.Label()
        self._state.set_xalign(0.0)
        self._state.set_line_wrap(True)
        self._spinner = Gtk.Spinner()
        self._spinner.set_no_show_all(True)
        server = Gtk.Button.new_with_mnemonic(_("Ser_ver…"))
        server.set_tooltip_text(_("The server that paints: start and stop it, or choose another one"))
        server.connect("clicked", lambda _button: self._choose_server())
        row = Gtk.Box(spacing=6)
        row.pack_start(self._spinner, False, False, 0)
        row.pack_start(self._state, True, True, 0)
        row.pack_end(server, False, False, 0)
        self._bar = Gtk.ProgressBar()
        self._bar.set_show_text(True)
        self._bar_box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL)
        self._bar_box.pack_start(self._bar, False, False, 0)
        left = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        left.pack_start(self._preview.widget, True, True, 0)
        left.pack_start(self._bar_box, False, False, 0)
        left.pack_start(row, False, False, 0)
        return left

    def _build_right(self) -> Gtk.Widget:
        add_picture = Gtk.Button.new_with_mnemonic(_("Add _picture…"))
        add_picture.set_tooltip_text(_("Use any picture as a style"))
        add_picture.connect("clicked", lambda _button: self._add_picture())
        use_layer = Gtk.Button.new_with_mnemonic(_("Use a _layer…"))
        use_layer.set_tooltip_text(_("Use a layer of any open image as a style"))
        use_layer.connect("clicked", lambda _button: self._use_layer())
        self._mixes = Gtk.CheckButton.new_with_mnemonic(_("Mi_x several"))
        self._mixes.set_tooltip_text(
            _("A click adds a style to the mix or takes it out, up to {n}; so does Ctrl+click").format(
                n=MAX_CHOSEN_STYLES
            )
        )
        buttons = Gtk.Box(spacing=6)
        buttons.pack_start(add_picture, False, False, 0)
        buttons.pack_start(use_layer, False, False, 0)
        buttons.pack_end(self._mixes, False, False, 0)
        right = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=8)
        for widget, grows in (
            (self._presets.widget, False),
            (self._regions.widget, False),
            (self._gallery.search, False),
            (self._gallery.widget, True),
            (buttons, False),
            (self._mix.widget, False),
            (self._controls.widget, False),
        ):
            right.pack_start(widget, grows, grows, 0)
        return right

    # What the user chooses

    def _choose_style(self, source: str, adds: bool) -> None:
        try:
            self._editor.pick(source, adds=adds or self._mixes.get_active())
        except ChoiceError as error:
            self._show_error(error)
            return
        self._show_mix()
        self._refresh()

    def _weigh(self, styles: list[StyleChoice]) -> None:
        self._editor.change_region(styles=tuple(styles))
        self._refresh()

    def _take_out(self, styles: list[StyleChoice]) -> None:
        self._weigh(styles)
        self._show_mix()

    def _control_changed(self) -> None:
        controls = self._controls
        self._editor.change(
            stroke_size=controls.stroke_size,
            detail=controls.detail,
            output=controls.output,
            model=controls.model,
            quality=controls.quality,
        )
        self._editor.change_region(alpha=controls.alpha, preserve_color=controls.preserve_color)
        self._refresh()

    def _show_region(self, index: int) -> None:
        self._editor.region = index
        self._show_current()

    def _change_regions(self, masks: list[str], index: int) -> None:
        """Regions were added or removed."""
        self._editor.change_regions(masks, index)
        self._show_current()
        self._read_preview_content()
        self._refresh()

    def _use_preset(self, settings: StylizeSettings) -> None:
        self._editor.use(settings)
        self._show_settings()
        self._read_preview_content()
        self._refresh()

    def _show_settings(self) -> None:
        """The widgets show what is chosen."""
        self._regions.show([region.mask for region in self._editor.settings.regions], self._editor.region)
        self._show_current()

    def _show_current(self) -> None:
        fitting = StylizeSettings().strokes_for(self._layer.get_height(), self._layer.get_width())
        self._controls.show(self._editor.settings, self._editor.current, fitting)
        self._show_models()
        self._show_mix()

    def _show_models(self) -> None:
        chosen = self._editor.settings.model
        self._controls.show_models(model_entries(self._models, self._own_model, chosen), chosen)

    def _show_mix(self) -> None:
        styles = self._editor.current.styles
        self._mix.show(styles, self._gallery.entry)
        self._gallery.mark(style.source for style in styles)

    def _add_picture(self) -> None:
        path = choose_picture(self._window, self._saved.picture_folder)
        if path is None:
            return
        self._saved = replace(self._saved, picture_folder=str(path.parent))
        self._add_style(str(path), path.stem, str(path))

    def _use_layer(self) -> None:
        layer = choose_layer(self._window)
        if layer is not None:
            about = _("A layer of {image}").format(image=layer.get_image().get_name())
            self._add_style(f"{LAYER_STYLE}{layer.get_id()}", layer.get_name(), about)

    def _add_style(self, source: str, title: str, about: str) -> None:
        try:
            style = self._styles.load_one(source, again=True)  # it may have been painted on since
        except ChoiceError as error:
            self._show_error(error)
            return
        self._gallery.add(_with_picture(GalleryEntry(source, title, about), style), first=True)
        self._choose_style(source, False)

    def _choose_server(self) -> None:
        chosen = run_server_dialog(self._window)
        if chosen is not None:
            self._saved = replace(self._saved, server=chosen)
            self._reconnect()

    def _reconnect(self) -> None:
        self._session.reconnect(self._saved.server)

    # The preview

    def _look_again(self) -> None:
        """The user was elsewhere, and may have changed the image, or added a style or a model."""
        self._read_preview_content()
        self._session.look_again()

    def _read_preview_content(self) -> None:
        """Look at the layer and the selection again: the user may have changed them since."""
        if self._painting is not None:
            return
        try:
            content = read_content(self._layer, self._editor.settings, preview=True)
        except ChoiceError as error:
            self._content = None
            self._show_error(error)
            return
        before = self._content
        self._content = content
        if before is None or before.pixels.digest != content.pixels.digest:
            self._preview.show_before(pixbuf_of(content.pixels))
        if before is None or (before.pixels, before.selection, before.masks) != (
            content.pixels,
            content.selection,
            content.masks,
        ):
            self._refresh()

    def _refresh(self) -> None:
        """Ask for a preview of what is chosen now."""
        self._show_forecast()
        self._ok.set_sensitive(self._editor.is_complete)
        if self._content is None or not self._editor.is_complete:
            self._session.preview(None)
            self._preview.show_after(None)
            return
        content, settings = self._content, self._editor.settings
        try:
            styles = self._styles.load(settings)
        except ChoiceError as error:
            self._show_error(error)
            return
        self._changed_at = time.monotonic()
        self._session.preview(lambda side: make_request(content, settings, styles, preview=side))

    def _show_forecast(self) -> None:
        sentence = labels.finish_forecast(self._server_info, self._saved.server, self._editor.settings, self._content)
        if sentence != self._forecast.get_text():
            log.debug("forecast: %s", sentence)
            self._forecast.set_text(sentence)

    # Painting

    def _respond(self, _window: Gtk.Dialog, response: int) -> None:
        if response == Gtk.ResponseType.OK:
            self._paint()
        elif response == Gtk.ResponseType.REJECT:
            self._reset_all()
        elif response == KEEP:
            self._keep.set_sensitive(False)
            self._bar.set_text(labels.KEEPING)
            self._session.accept()
        elif self._painting is not None and response == Gtk.ResponseType.CANCEL:
            self._bar.set_text(_("Cancelling…"))
            self._session.cancel()
        else:
            self._close()

    def _paint(self) -> None:
        self._info.hide()
        self._set_busy(True)
        self._bar.set_text(_("Reading the layer…"))
        self._preview.show_note("")
        # The bar is shown before a large layer is read.
        GLib.idle_add(self._read_and_paint, priority=GLib.PRIORITY_LOW)

    def _read_and_paint(self) -> None:
        settings = self._editor.settings
        try:
            content = read_content(self._layer, settings)
            styles = self._styles.load(settings)
        except ChoiceError as error:
            self._set_busy(False)
            self._show_error(error)
            return
        self._painting, self._left = content, TimeLeft()
        self._session.paint(lambda: make_request(content, settings, styles, compose=compose_for(settings)))

    def _set_busy(self, busy: bool) -> None:
        self._right.set_sensitive(not busy)
        self._reset.set_sensitive(not busy)
        self._ok.set_sensitive(not busy and self._editor.is_complete)
        self._keep.set_visible(busy and self._editor.settings.quality == "best")
        self._keep.set_sensitive(False)
        self._bar_box.set_visible(busy)
        self._bar.show()
        self._bar.set_fraction(0.0)
        if not busy:
            self._painting = None
            self._preview.show_forming(None)

    def _reset_all(self) -> None:
        self._presets.forget()
        self._mixes.set_active(False)
        self._use_preset(StylizeSettings())

    def _escaped(self, window: Gtk.Dialog) -> None:
        """Escape ends what is being painted, as Cancel does; only then it closes the window."""
        if self._painting is not None:
            window.stop_emission_by_name("close")
            self._respond(window, Gtk.ResponseType.CANCEL)

    def _closed_by_its_frame(self, *_event: Any) -> bool:
        self._close()
        return True  # it is destroyed already

    def _close(self) -> None:
        self._session.close()
        self._window.destroy()
        Gtk.main_quit()

    # What the session tells

    def connecting(self, sentence: str) -> None:
        """Looking for the server."""
        self._state.set_text(sentence)
        self._spinner.show()
        self._spinner.start()
        if self._retry == self._reconnect:  # a picture that failed can still be tried again
            self._info.hide()

    def connected(self, info: ServerInfo) -> None:
        """The server is there."""
        self._spinner.hide()
        self._state.set_text(labels.server_state(info))
        self._server_info, self._own_model = info, info.model
        self._show_models()
        log.debug("connected")
        self._refresh()

    def listed(self, styles: list[StyleInfo], models: list[ModelInfo]) -> None:
        """The server's styles fill the gallery; its models are there to choose from."""
        self._models = models
        self._show_models()
        if styles == self._styles.known:
            return
        self._styles.known = styles
        self._fill_gallery()
        self._show_current()
        self._session.fetch_swatches([style.name for style in styles])
        self._refresh()

    def disconnected(self, error: AdainError) -> None:
        """No server: what to do is in the error's sentence."""
        self._spinner.hide()
        self._state.set_text(_("No server"))
        self._server_info = None
        self._show_forecast()
        self._show_error(error, retry=self._reconnect)

    def swatch(self, name: str, jpeg: bytes) -> None:
        """A thumbnail has come."""
        entry, pixbuf = self._gallery.entry(name), pixbuf_of_file(jpeg)
        if entry is not None and pixbuf is not None:
            self._gallery.add(entry.with_thumbnail(pixbuf))
            if any(style.source == name for style in self._editor.current.styles):
                self._show_mix()

    def previewed(self, result: StylizeResult) -> None:
        """Show it."""
        if self._painting is None:
            note = preview_note(result.pixels, self._content, self._editor.settings)
            self._preview.show_after(pixbuf_of(result.pixels), note)
            side = max(result.pixels.height, result.pixels.width)
            log.debug("previewed %d after %.3f s", side, time.monotonic() - self._changed_at)

    def preview_failed(self, error: AdainError) -> None:
        """Say why."""
        self._preview.show_note("")
        self._show_error(error)

    def progressed(self, progress: Progress) -> None:
        """Move the bar."""
        if self._painting is None:
            return
        log.debug("painting %s %d/%d", progress.stage, progress.step, progress.steps)
        is_finishing = progress.stage == "finish"
        if is_finishing and self._session.is_accepted:
            return  # it ends after the step that it is in
        self._bar.set_fraction(fraction(progress))
        self._bar.set_text(self._left.text(progress))
        self._keep.set_sensitive(is_finishing)

    def drafted(self, draft: Draft) -> None:
        """Show the picture as it forms."""
        if self._painting is not None:
            log.debug("drafted %d/%d", draft.step, draft.steps)
            self._preview.show_forming(pixbuf_of(draft.pixels))

    def painted(self, result: StylizeResult) -> None:
        """Put it into the image and close."""
        content = self._painting
        if content is None:
            return
        settings = self._editor.settings
        try:
            notice = apply_result(content, settings, result, self._styles.result_name(settings))
        except ChoiceError as error:
            self._set_busy(False)
            self._show_error(error)
            return
        Gimp.displays_flush()
        self.painted_layer = True
        self._store.save(replace(self._saved, stylize=settings))
        log.debug("layer painted")
        if notice:
            Gimp.message(notice)
        self._close()

    def paint_failed(self, error: AdainError) -> None:
        """Nothing of the image has been touched; let the user try again."""
        self._set_busy(False)
        if isinstance(error, CancelledError):
            log.debug("cancelled")
            self._refresh()
        else:
            self._show_error(error, retry=self._paint)

    # Showing

    def _fill_gallery(self) -> None:
        settings = self._editor.settings
        chosen = {style.source for region in settings.regions for style in region.styles}
        entries = self._styles.gallery(settings)
        self._gallery.show([self._chosen_entry(entry) if entry.source in chosen else entry for entry in entries])

    def _chosen_entry(self, entry: GalleryEntry) -> GalleryEntry:
        """With its picture, where a preset or the last time names a file that the server does not have."""
        try:
            return _with_picture(entry, self._styles.load_one(entry.source))
        except ChoiceError as error:
            self._show_error(error)
            return entry

    def _show_error(self, error: AdainError, *, retry: Callable[[], None] | None = None) -> None:
        log.debug("error: %s", error)
        self._info_text.set_text(str(error))
        self._info_retry.set_visible(retry is not None)
        self._retry = retry or self._reconnect
        self._info.show()

    def _info_answered(self, _info: Gtk.InfoBar, response: int) -> None:
        self._info.hide()
        if response == Gtk.ResponseType.OK:
            self._retry()


def _with_picture(entry: GalleryEntry, style: StyleSource) -> GalleryEntry:
    return entry.with_thumbnail(pixbuf_of(style)) if isinstance(style, Pixels) else entry
