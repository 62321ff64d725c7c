"""The small windows: a name, a picture, a layer; a style from a layer; the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from adain_style.client.choices import ChoiceError
from adain_style.client.client import ServerInfo
from adain_style.client.texts import _
from adain_style.gimp.layers import all_layers, read_reduced
from adain_style.gimp.painting import CLIENT_NAME
from adain_style.gimp.styles import save_style
from adain_style.gimp.typelibs import Gimp, GLib
from adain_style.gimp.ui import GimpUi, Gtk, pixbuf_of, thumbnail
from adain_style.host.servers import ServerControl
from adain_style.host.settings import ServerSettings, SettingsStore

BORDER, GAP = 12, 6
"""Spaces, in pixels."""
LIST_THUMBNAIL_SIDE = 40
STYLE_PREVIEW_SIDE = 160
LOOK_EVERY_MS = 2000
LONGEST_IDLE_MINUTES = 24 * 60


def ask_name(parent: Gtk.Window | None, title: str, label: str, name: str, action: str) -> str | None:
    """Ask for a name; None when the user cancels."""
    dialog, area = _dialog(parent, title, action)
    entry = Gtk.Entry(text=name)
    entry.set_activates_default(True)
    area.attach(_label(label, entry), 0, 0, 1, 1)
    area.attach(entry, 1, 0, 1, 1)
    dialog.show_all()
    answer = dialog.run()
    text: str = entry.get_text()
    dialog.destroy()
    return text if answer == Gtk.ResponseType.OK else None


def choose_picture(parent: Gtk.Window, folder: str) -> Path | None:
    """Ask for a picture's file; None when the user cancels. folder: Shown first, unless ""."""
    dialog = Gtk.FileChooserNative.new(_("Add picture"), parent, Gtk.FileChooserAction.OPEN, _("_Add"), _("_Cancel"))
    pictures, everything = Gtk.FileFilter(), Gtk.FileFilter()
    pictures.set_name(_("Pictures"))
    pictures.add_mime_type("image/*")
    everything.set_name(_("All files"))
    everything.add_pattern("*")
    for choice in (pictures, everything):
        dialog.add_filter(choice)
    if folder and Path(folder).is_dir():
        dialog.set_current_folder(folder)
    answer = dialog.run()
    name = dialog.get_filename()
    dialog.destroy()
    return Path(name) if answer == Gtk.ResponseType.ACCEPT and name else None


def choose_layer(parent: Gtk.Window) -> Gimp.Layer | None:
    """Ask for a layer of any open image; None when the user cancels."""
    dialog, area = _dialog(parent, _("Use a layer as a style"), _("_Use"))
    listed = Gtk.ListBox()
    listed.set_activate_on_single_click(False)
    listed.connect("row-activated", lambda *_: dialog.response(Gtk.ResponseType.OK))
    for layer in (layer for image in Gimp.get_images() for layer in all_layers(image.get_layers())):
        if layer.is_group():
            continue
        row = Gtk.Box(spacing=GAP)
        picture = thumbnail(pixbuf_of(read_reduced(layer, 2 * LIST_THUMBNAIL_SIDE)), LIST_THUMBNAIL_SIDE)
        row.pack_start(Gtk.Image.new_from_pixbuf(picture), False, False, 0)
        row.pack_start(Gtk.Label(label=f"{layer.get_name()} ({layer.get_image().get_name()})"), False, False, 0)
        listed.add(row)
        row.get_parent().layer = layer
    listed.select_row(listed.get_row_at_index(0))
    scrolled = Gtk.ScrolledWindow()
    scrolled.set_policy(Gtk.PolicyType.NEVER, Gtk.PolicyType.AUTOMATIC)
    scrolled.set_min_content_height(6 * LIST_THUMBNAIL_SIDE)
    scrolled.set_min_content_width(8 * LIST_THUMBNAIL_SIDE)
    scrolled.add(listed)
    scrolled.set_vexpand(True)
    area.attach(scrolled, 0, 0, 2, 1)
    dialog.show_all()
    answer = dialog.run()
    row = listed.get_selected_row()
    layer = row.layer if row is not None and answer == Gtk.ResponseType.OK else None
    dialog.destroy()
    return layer


def run_save_style_dialog(layer: Gimp.Layer) -> bool:
    """Ask for a style's name and save a layer as that style; returns whether it was saved."""
    GimpUi.init("adain-style")
    dialog, area = _dialog(None, _("Style from this layer"), _("_Save"))
    picture = Gtk.Image.new_from_pixbuf(pixbuf_of(read_reduced(layer, STYLE_PREVIEW_SIDE)))
    entry = Gtk.Entry(text=layer.get_name())
    entry.set_activates_default(True)
    entry.set_width_chars(28)
    error_label = Gtk.Label()
    error_label.set_line_wrap(True)
    error_label.set_max_width_chars(40)
    area.attach(picture, 0, 0, 2, 1)
    area.attach(_label(_("_Name"), entry), 0, 1, 1, 1)
    area.attach(entry, 1, 1, 1, 1)
    area.attach(error_label, 0, 2, 2, 1)
    dialog.show_all()
    saved = False
    while not saved and dialog.run() == Gtk.ResponseType.OK:
        try:
            save_style(layer, entry.get_text().strip())
            saved = True
        except ChoiceError as error:
            error_label.set_text(str(error))
    dialog.destroy()
    return saved


def run_server_dialog(parent: Gtk.Window | None = None) -> ServerSettings | None:
    """Show and change the server that paints; returns the new choice, or None when nothing was changed."""
    if parent is None:
        GimpUi.init("adain-style")
    store = SettingsStore()
    window = _ServerWindow(parent, store.load().server)
    chosen = window.run()
    if chosen is not None:
        store.save(replace(store.load(), server=chosen))
    return chosen


class _ServerWindow:
    """State, start and stop of this machine's server; address and key file of a server on another machine."""

    def __init__(self, parent: Gtk.Window | None, server: ServerSettings) -> None:
        self._server = server
        self._control = ServerControl(name=CLIENT_NAME, post=GLib.idle_add, show=self._show_state)
        self._dialog, area = _dialog(parent, _("AdaIN server"), _("_Use"))
        self._build(area)
        self._show_kind()
        self._dialog.show_all()

    def _build(self, area: Gtk.Grid) -> None:
        server = self._server
        self._here = Gtk.RadioButton.new_with_mnemonic(None, _("On _this machine"))
        self._there = Gtk.RadioButton.new_with_mnemonic_from_widget(self._here, _("On anot_her machine"))
        (self._there if server.remote else self._here).set_active(True)
        self._here.connect("toggled", lambda _button: self._show_kind())
        self._idle = Gtk.SpinButton.new_with_range(1, LONGEST_IDLE_MINUTES, 1)
        self._idle.set_value(server.idle_minutes)
        self._idle.set_tooltip_text(_("A server that was started from here ends by itself after so long without work"))
        self._address = Gtk.Entry(text=server.address)
        self._address.set_placeholder_text("studio.example:5571")
        self._key_file = Gtk.FileChooserButton.new(_("The server's key file"), Gtk.FileChooserAction.OPEN)
        if server.key_file:
            self._key_file.set_filename(server.key_file)
        self._key_file.set_tooltip_text(
            _("Made on that server's machine with 'adain-server keys new', and copied to this one")
        )
        self._state = Gtk.Label()
        self._state.set_xalign(0.0)
        self._state.set_line_wrap(True)
        self._state.set_width_chars(44)
        self._state.set_max_width_chars(44)
        self._state.set_selectable(True)
        self._start = Gtk.Button.new_with_mnemonic(_("_Start"))
        self._start.connect("clicked", lambda _button: self._change(self._control.start, _("Starting…")))
        self._stop = Gtk.Button.new_with_mnemonic(_("Sto_p"))
        self._stop.connect("clicked", lambda _button: self._change(self._control.stop, _("Stopping…")))
        buttons = Gtk.Box(spacing=GAP)
        for made in (self._start, self._stop):
            buttons.pack_start(made, False, False, 0)
        area.attach(self._here, 0, 0, 2, 1)
        area.attach(_label(_("_Ends after, in minutes"), self._idle), 0, 1, 1, 1)
        area.attach(self._idle, 1, 1, 1, 1)
        area.attach(self._there, 0, 2, 2, 1)
        area.attach(_label(_("_Address"), self._address), 0, 3, 1, 1)
        area.attach(self._address, 1, 3, 1, 1)
        area.attach(_label(_("_Key file"), self._key_file), 0, 4, 1, 1)
        area.attach(self._key_file, 1, 4, 1, 1)
        area.attach(Gtk.Separator(), 0, 5, 2, 1)
        area.attach(self._state, 0, 6, 2, 1)
        area.attach(buttons, 0, 7, 2, 1)

    def run(self) -> ServerSettings | None:
        """Show the window until it is answered."""
        timer = GLib.timeout_add(LOOK_EVERY_MS, self._look)
        self._look()
        answer = self._dialog.run()
        self._control.close()
        GLib.source_remove(timer)
        chosen = self._choice()
        self._dialog.destroy()
        return chosen if answer == Gtk.ResponseType.OK and chosen != self._server else None

    def _choice(self) -> ServerSettings:
        return ServerSettings(
            remote=self._there.get_active(),
            address=self._address.get_text().strip(),
            key_file=self._key_file.get_filename() or "",
            idle_minutes=self._idle.get_value_as_int(),
        )

    def _show_kind(self) -> None:
        remote = self._there.get_active()
        self._idle.set_sensitive(not remote)
        self._address.set_sensitive(remote)
        self._key_file.set_sensitive(remote)

    def _look(self) -> bool:
        """Ask for the server's state; called again and again while the window is open."""
        self._control.look(self._choice())
        return True

    def _change(self, work: Callable[[ServerSettings], None], state: str) -> None:
        """Start or stop the server and show that; both buttons are disabled until it is done."""
        self._state.set_text(state)
        self._start.set_sensitive(False)
        self._stop.set_sensitive(False)
        work(self._choice())

    def _show_state(self, info: ServerInfo | None, state: str) -> None:
        self._state.set_text(state)
        self._start.set_sensitive(info is None and not self._there.get_active())
        self._stop.set_sensitive(info is not None)


def _dialog(parent: Gtk.Window | None, title: str, action: str) -> tuple[Gtk.Dialog, Gtk.Grid]:
    """A window with Cancel and one action, and a grid to fill."""
    dialog = GimpUi.Dialog(title=title, role="adain-style-small")
    if parent is None:
        GimpUi.window_set_transient(dialog)
    else:
        dialog.set_transient_for(parent)
        dialog.set_modal(True)
    dialog.add_button(_("_Cancel"), Gtk.ResponseType.CANCEL)
    dialog.add_button(action, Gtk.ResponseType.OK)
    dialog.set_default_response(Gtk.ResponseType.OK)
    grid = Gtk.Grid()
    grid.set_column_spacing(GAP)
    grid.set_row_spacing(GAP)
    grid.set_border_width(BORDER)
    dialog.get_content_area().pack_start(grid, True, True, 0)
    return dialog, grid


def _label(text: str, widget: Any) -> Gtk.Label:
    label = Gtk.Label.new_with_mnemonic(text)
    label.set_mnemonic_widget(widget)
    label.set_xalign(0.0)
    return label
