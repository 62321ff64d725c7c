"""The window of Stylize: gallery, mix, sliders, regions, presets, live preview, progress.

The session talks to the server in its own thread; everything here runs in GTK's, the only one that may call GIMP. The
logic behind the user's choices is in adain_style.host.controller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from adain_style.client.choices import ChoiceError
from adain_style.client.errors import AdainError, CancelledError
from adain_style.client.jobs import Draft, Pixels, Progress, StylizeResult
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
from adain_style.gimp.ui import Gdk, GdkPixbuf, GimpUi, Gtk, pixbuf_of, pixbuf_of_file
from adain_style.host import labels
from adain_style.host.controller import StylizeController
from adain_style.host.requests import make_request
from adain_style.host.settings import MAX_CHOSEN_STYLES, StylizeSettings
from adain_style.host.styles import LAYER_STYLE

log = logging.getLogger(__name__)

BORDER = 12
"""The space around the window's parts, in pixels."""
KEEP = 1
"""The answer of the button that ends the finish; GTK's own ones are below 0."""


def run_dialog(image: Gimp.Image, layer: Gimp.Layer) -> bool:
    """Let the user choose, and paint. Returns whether the layer was painted."""
    GimpUi.init("adain-style")
    dialog = StylizeDialog(image, layer)
    Gtk.main()
    return dialog.painted_layer


class StylizeDialog:
    """The window; adain_style.host.controller.StylizeView is the part of it that the controller uses.

    Attributes:
        painted_layer: Whether the result is in the image.
    """

    gallery: Gallery
    mix: Mix
    controls: Controls
    regions: Regions
    preview: Preview

    def __init__(self, image: Gimp.Image, layer: Gimp.Layer) -> None:
        """Show the window. layer: From one_layer()."""
        self.painted_layer = False
        self._image, self._layer = image, layer
        masks = mask_sources(image)
        self.controller = StylizeController(
            self,
            GimpStyleReader(),
            name=CLIENT_NAME,
            post=GLib.idle_add,
            masks=[source.name for source in masks],
            starts_server=True,
            reads_at_once=True,  # GIMP may be called in this thread only
        )
        self._content: LayerContent | None = None
        self._painting: LayerContent | None = None
        self._retry: Callable[[], None] = self.controller.reconnect
        self._build(masks)
        self.controller.show_settings()
        self._read_preview_content()
        self.controller.session()  # its reports come through GTK's loop, which does not run yet
        self._window.show_all()
        self._bar_box.hide()
        self._info.hide()
        self.gallery.search.grab_focus()

    @property
    def pictures(self) -> int:
        """One; see adain_style.host.controller.StylizeView for this and the methods below."""
        return 1

    def layer_size(self) -> tuple[int, int]:
        """The layer's height and width."""
        return self._layer.get_height(), self._layer.get_width()

    def content(self) -> LayerContent | None:
        """The layer as it was last read."""
        return self._content

    def is_painting(self) -> bool:
        """Whether a picture is being painted: from reading the layer to the result."""
        return self._painting is not None

    def image_of(self, pixels: Pixels) -> GdkPixbuf.Pixbuf:
        """Convert pixels to GTK's picture."""
        return pixbuf_of(pixels)

    def image_of_file(self, data: bytes) -> GdkPixbuf.Pixbuf | None:
        """Convert a picture's file to GTK's picture; None when it is damaged."""
        return pixbuf_of_file(data)

    # Building

    def _build(self, masks: list[MaskSource]) -> None:
        self._window = GimpUi.Dialog(title=_("AdaIN Style"), role="adain-style")
        GimpUi.window_set_transient(self._window)
        self._reset = self._window.add_button(_("_Reset"), Gtk.ResponseType.REJECT)
        self._reset.set_tooltip_text(_("Everything as it was when this window was first opened"))
        self._keep = self._window.add_button(labels.KEEP, KEEP)
        self._keep.set_tooltip_text(labels.KEEP_TIP)
        self._keep.set_no_show_all(True)
        self._keep.hide()  # GTK shows a button when it adds it
        self._window.add_button(_("_Cancel"), Gtk.ResponseType.CANCEL)
        self._ok = self._window.add_button(_("_Stylize"), Gtk.ResponseType.OK)
        self._ok.get_style_context().add_class("suggested-action")
        self._window.set_default_response(Gtk.ResponseType.OK)
        self._window.connect("response", self._respond)
        self._window.connect("close", self._escaped)
        self._window.connect("delete-event", self._closed_by_its_frame)
        self._window.connect("focus-in-event", lambda *_: self._look_again())
        controller = self.controller
        self.preview = Preview()
        self.gallery = Gallery(lambda source, adds: controller.pick(source, adds=adds or self._mixes.get_active()))
        self.mix = Mix(controller.weigh, controller.take_out)
        self.controls = Controls(lambda: controller.take_controls(output=self.controls.output))
        self.regions = Regions(masks, controller.show_region, controller.change_regions)
        self._presets = Presets(controller.store, lambda: controller.editor.settings, controller.use, self.show_error)
        keys = Gtk.AccelGroup()
        keys.connect(Gdk.KEY_f, Gdk.ModifierType.CONTROL_MASK, 0, lambda *_: self.gallery.search.grab_focus() or True)
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
        left.pack_start(self.preview.widget, True, True, 0)
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
            (self.regions.widget, False),
            (self.gallery.search, False),
            (self.gallery.widget, True),
            (buttons, False),
            (self.mix.widget, False),
            (self.controls.widget, False),
        ):
            right.pack_start(widget, grows, grows, 0)
        return right

    # The user's choices

    def _add_picture(self) -> None:
        path = choose_picture(self._window, self.controller.saved.picture_folder)
        if path is not None:
            self.controller.use_folder(path.parent)
            self._add_style(str(path), path.stem, str(path))

    def _use_layer(self) -> None:
        layer = choose_layer(self._window)
        if layer is not None:
            about = _("A layer of {image}").format(image=layer.get_image().get_name())
            self._add_style(f"{LAYER_STYLE}{layer.get_id()}", layer.get_name(), about)

    def _add_style(self, source: str, title: str, about: str) -> None:
        try:
            self.controller.styles.load_one(source, again=True)  # it may have been changed since
        except ChoiceError as error:
            self.show_error(error)
        else:
            self.controller.add_style(source, title, about)

    def _choose_server(self) -> None:
        chosen = run_server_dialog(self._window)
        if chosen is not None:
            self.controller.use_server(chosen)

    # The preview

    def _look_again(self) -> None:
        """Look again when the user comes back, maybe from changing the image or adding a style or a model."""
        self._read_preview_content()
        self.controller.session().look_again()

    def look_at_layer(self) -> None:
        """Read the layer again, with the masks that are used now."""
        self._read_preview_content()

    def _read_preview_content(self) -> None:
        """Read the layer and the selection again, because the user may have changed them."""
        if self._painting is not None:
            return
        try:
            content = read_content(self._layer, self.controller.editor.settings, preview=True)
        except ChoiceError as error:
            self._content = None
            self._show_error(error)
            return
        before = self._content
        self._content = content
        if before is None or before.pixels.digest != content.pixels.digest:
            self.preview.show_before(pixbuf_of(content.pixels))
        if before is None or (before.pixels, before.selection, before.masks) != (
            content.pixels,
            content.selection,
            content.masks,
        ):
            self.controller.refresh()

    def show_forecast(self, sentence: str) -> None:
        """Show the sentence beside the buttons."""
        if sentence != self._forecast.get_text():
            log.debug("forecast: %s", sentence)
            self._forecast.set_text(sentence)

    def allow_painting(self, is_complete: bool) -> None:
        """Make *Stylize* available, or not."""
        self._ok.set_sensitive(is_complete and self._painting is None)

    # Painting

    def _respond(self, _window: Gtk.Dialog, response: int) -> None:
        if response == Gtk.ResponseType.OK:
            self._paint()
        elif response == Gtk.ResponseType.REJECT:
            self._reset_all()
        elif response == KEEP:
            self._keep.set_sensitive(False)
            self._bar.set_text(labels.KEEPING)
            self.controller.session().accept()
        elif self._painting is not None and response == Gtk.ResponseType.CANCEL:
            self._bar.set_text(_("Cancelling…"))
            self.controller.session().cancel()
        else:
            self._close()

    def _paint(self) -> None:
        self._info.hide()
        self._set_busy(True)
        self._bar.set_text(_("Reading the layer…"))
        self.preview.show_note("")
        # Read later, so that the bar is shown before a large layer is read.
        GLib.idle_add(self._read_and_paint, priority=GLib.PRIORITY_LOW)

    def _read_and_paint(self) -> None:
        settings = self.controller.editor.settings
        try:
            content = read_content(self._layer, settings)
            styles = self.controller.styles.load(settings)
        except ChoiceError as error:
            self._set_busy(False)
            self._show_error(error)
            return
        self._painting, self._left = content, TimeLeft()
        self.controller.session().paint(lambda: make_request(content, settings, styles, compose=compose_for(settings)))

    def _set_busy(self, busy: bool) -> None:
        self._right.set_sensitive(not busy)
        self._reset.set_sensitive(not busy)
        self._ok.set_sensitive(not busy and self.controller.editor.is_complete)
        self._keep.set_visible(busy and self.controller.editor.settings.quality == "best")
        self._keep.set_sensitive(False)
        self._bar_box.set_visible(busy)
        self._bar.show()
        self._bar.set_fraction(0.0)
        if not busy:
            self._painting = None
            self.preview.show_forming(None)

    def _reset_all(self) -> None:
        self._presets.forget()
        self._mixes.set_active(False)
        self.controller.use(StylizeSettings())

    def _escaped(self, window: Gtk.Dialog) -> None:
        """Let Escape cancel the painting, as Cancel does; it closes the window only when nothing is being painted."""
        if self._painting is not None:
            window.stop_emission_by_name("close")
            self._respond(window, Gtk.ResponseType.CANCEL)

    def _closed_by_its_frame(self, *_event: Any) -> bool:
        self._close()
        return True  # the window is destroyed already

    def _close(self) -> None:
        self.controller.keep_choices()
        self.controller.session().close()
        self._window.destroy()
        Gtk.main_quit()

    # Showing the server's state and the picture

    def show_connecting(self, sentence: str) -> None:
        """Show the sentence with a turning spinner."""
        self._state.set_text(sentence)
        self._spinner.show()
        self._spinner.start()
        if self._retry == self.controller.reconnect:  # otherwise a picture that failed can still be tried again
            self._info.hide()

    def show_connected(self, sentence: str) -> None:
        """Show the sentence and hide the spinner."""
        self._spinner.hide()
        self._state.set_text(sentence)

    def show_disconnected(self, error: AdainError) -> None:
        """Show that there is no server; the error's sentence says what to do."""
        self._spinner.hide()
        self._state.set_text(_("No server"))
        self._show_error(error, retry=self.controller.reconnect)

    def progressed(self, progress: Progress) -> None:
        """Move the bar."""
        if self._painting is None:
            return
        log.debug("painting %s %d/%d", progress.stage, progress.step, progress.steps)
        is_finishing = progress.stage == "finish"
        if is_finishing and self.controller.session().is_accepted:
            return  # the finish ends after its current step
        self._bar.set_fraction(fraction(progress))
        self._bar.set_text(self._left.text(progress))
        self._keep.set_sensitive(is_finishing)

    def drafted(self, draft: Draft) -> None:
        """Show the picture as it forms."""
        if self._painting is not None:
            log.debug("drafted %d/%d", draft.step, draft.steps)
            self.preview.show_forming(pixbuf_of(draft.pixels))

    def painted(self, result: StylizeResult) -> None:
        """Put the result into the image and close the window."""
        content = self._painting
        if content is None:
            return
        settings = self.controller.editor.settings
        try:
            notice = apply_result(content, settings, result, self.controller.styles.result_name(settings))
        except ChoiceError as error:
            self._set_busy(False)
            self._show_error(error)
            return
        Gimp.displays_flush()
        self.painted_layer = True
        self.controller.remember(settings)
        log.debug("layer painted")
        if notice:
            Gimp.message(notice)
        self._close()

    def paint_failed(self, error: AdainError) -> None:
        """Let the user try again; the image has not been changed."""
        self._set_busy(False)
        if isinstance(error, CancelledError):
            log.debug("cancelled")
            self.controller.refresh()
        else:
            self._show_error(error, retry=self._paint)

    # Showing

    def show_error(self, error: AdainError) -> None:
        """Show an error above everything else."""
        self._show_error(error)

    def _show_error(self, error: AdainError, *, retry: Callable[[], None] | None = None) -> None:
        log.debug("error: %s", error)
        self._info_text.set_text(str(error))
        self._info_retry.set_visible(retry is not None)
        self._retry = retry or self.controller.reconnect
        self._info.show()

    def _info_answered(self, _info: Gtk.InfoBar, response: int) -> None:
        self._info.hide()
        if response == Gtk.ResponseType.OK:
            self._retry()
