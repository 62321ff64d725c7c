"""The logic that every host's window shares, for the user's choices and the server's answers; hosts keep widgets.

A host has a view: widgets, and the pixels of its layers. The view passes the user's choices to the controller, which
keeps them in a SettingsEditor and asks for a preview; what the session reports is shown by the view's widgets. All of
this happens in the window's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from adain_style.client.choices import ChoiceError, RegionChoice, StyleChoice
from adain_style.client.client import ServerInfo
from adain_style.client.errors import AdainError
from adain_style.client.jobs import Draft, ModelInfo, Pixels, Progress, StyleInfo, StyleSource, StylizeResult
from adain_style.host import labels
from adain_style.host.models import ModelEntry, model_entries
from adain_style.host.previews import preview_note
from adain_style.host.requests import Content, make_request
from adain_style.host.session import Session
from adain_style.host.settings import ServerSettings, SettingsStore, StylizeSettings
from adain_style.host.settings_editor import SettingsEditor, usable
from adain_style.host.styles import GalleryEntry, StyleReader, StyleResolver

log = logging.getLogger(__name__)


class GalleryView(Protocol):
    """The styles that can be chosen."""

    def entry(self, source: str) -> GalleryEntry | None:
        """The entry of a source; None when there is none."""

    def show_entries(self, entries: Iterable[GalleryEntry]) -> None:
        """Replace all entries by these; thumbnails that are there already are kept."""

    def add(self, entry: GalleryEntry, *, first: bool = False) -> None:
        """Add an entry, or give one its thumbnail."""

    def mark(self, sources: Iterable[str]) -> None:
        """Mark the chosen styles."""


class MixView(Protocol):
    """The styles of the region that is shown, with their shares."""

    def show_mix(self, styles: Sequence[StyleChoice], entries: Callable[[str], GalleryEntry | None]) -> None:
        """Show a mix. entries: Returns a style's entry, for its title and thumbnail."""


class ControlsView(Protocol):
    """The sliders and lists."""

    @property
    def alpha(self) -> float:
        """The strength, 0..1."""

    @property
    def preserve_color(self) -> str:
        """One of protocol.PRESERVE_COLOR."""

    @property
    def stroke_size(self) -> float:
        """The stroke size; 0 fits it to the layer."""

    @property
    def detail(self) -> float:
        """The detail, 0..1."""

    @property
    def model(self) -> str:
        """The model's name; "" for the server's own."""

    @property
    def quality(self) -> str:
        """One of protocol.QUALITY."""

    def show_settings(self, settings: StylizeSettings, region: RegionChoice, fitting: float) -> None:
        """Show the chosen settings without reporting a change. fitting: The stroke size that fits the layer."""

    def show_models(self, entries: list[ModelEntry], chosen: str) -> None:
        """Show the models to choose from."""


class RegionsView(Protocol):
    """The list of regions."""

    def show_regions(self, masks: Sequence[str], index: int) -> None:
        """Show these regions, by their masks, without reporting a change."""


class PreviewView(Protocol):
    """The picture before and after."""

    def show_after(self, image: Any, note: str = "") -> None:
        """Show a preview in the host's own form; None for none."""

    def show_note(self, note: str) -> None:
        """Show a line under the preview."""


class StylizeView(Protocol):
    """A host's window."""

    @property
    def gallery(self) -> GalleryView:
        """The styles."""

    @property
    def mix(self) -> MixView:
        """The shares."""

    @property
    def controls(self) -> ControlsView:
        """The sliders."""

    @property
    def regions(self) -> RegionsView:
        """The regions."""

    @property
    def preview(self) -> PreviewView:
        """The preview."""

    @property
    def pictures(self) -> int:
        """The number of pictures that *Stylize* would paint."""

    def layer_size(self) -> tuple[int, int]:
        """Height and width of the layer that would be painted, in pixels; 1, 1 when there is none."""

    def content(self) -> Content | None:
        """The layer as it was last read for previews; None when no layer could be painted."""

    def is_painting(self) -> bool:
        """Whether the preview shows the picture that is being painted, so that no preview is shown."""

    def look_at_layer(self) -> None:
        """Read the layer and its masks again, because other regions are wanted; refresh() when they have changed."""

    def image_of(self, pixels: Pixels) -> Any:
        """Convert pixels to a picture of the host's toolkit."""

    def image_of_file(self, data: bytes) -> Any | None:
        """Convert a picture's file likewise; None when it cannot be read."""

    def show_connecting(self, sentence: str) -> None:
        """Show that the server is being looked for, started, or loading."""

    def show_connected(self, sentence: str) -> None:
        """Show that the server is ready."""

    def show_disconnected(self, error: AdainError) -> None:
        """Show that there is no server."""

    def show_error(self, error: AdainError) -> None:
        """Show what is wrong."""

    def show_forecast(self, sentence: str) -> None:
        """Show how long the finish will take; "" for nothing."""

    def allow_painting(self, is_complete: bool) -> None:
        """Allow painting, or not. is_complete: Whether every region has a style."""

    def progressed(self, progress: Progress) -> None:
        """Show the picture's progress."""

    def drafted(self, draft: Draft) -> None:
        """Show the picture as it forms."""

    def painted(self, result: StylizeResult) -> None:
        """Put the finished picture into the document."""

    def paint_failed(self, error: AdainError) -> None:
        """Handle that there is no picture; CancelledError when the user cancelled it."""


class StylizeController:
    """Connects a view, the settings, and the session with the server, whose listener it is.

    Attributes:
        editor: The user's choices.
        styles: The known styles.
        saved: The settings that are kept between sessions.
        store: The files of these settings, and of presets.
        models: The server's models.
    """

    def __init__(
        self,
        view: StylizeView,
        reader: StyleReader,
        *,
        name: str,
        post: Callable[[Callable[[], None]], object],
        masks: Collection[str] = (),
        starts_server: bool,
        reads_at_once: bool,
    ) -> None:
        """Load the saved settings; nothing is shown, and no server is looked for.

        Args:
            view: The host's window.
            reader: The host's reader of styles.
            name: This client's name, for the server's log.
            post: Schedules a function to be called in the window's thread, soon; safe in any thread.
            masks: The names of the masks that there are now; saved regions with other masks are left out.
            starts_server: Whether the session starts a server by itself; otherwise reconnect() does.
            reads_at_once: Whether styles are read in the window's thread; otherwise in the session's.
        """
        self._view = view
        self._name, self._post = name, post
        self._starts_server, self._reads_at_once = starts_server, reads_at_once
        self._session: Session | None = None
        self._own_model = ""
        self._server_info: ServerInfo | None = None
        self._changed_at = 0.0
        self.store = SettingsStore()
        self.saved = self.store.load()
        self._first_settings = usable(self.saved.chosen or self.saved.stylize, masks)
        self.editor = SettingsEditor(self._first_settings)
        self.styles = StyleResolver(reader)
        self.models: list[ModelInfo] = []

    def session(self) -> Session:
        """Return the connection to the server; the first call starts looking for the server."""
        if self._session is None:
            self._session = Session(
                self, self.saved.server, name=self._name, post=self._post, start=self._starts_server
            )
        return self._session

    @property
    def has_session(self) -> bool:
        """Whether the server has been looked for."""
        return self._session is not None

    def reconnect(self) -> None:
        """Look for the server again, and start this machine's when none runs."""
        self.session().reconnect(self.saved.server)

    # The user's choices

    def pick(self, source: str, *, adds: bool) -> None:
        """Choose a style that was clicked. adds: Add it to the mix, or take it out when it is there."""
        self._change_mix(lambda: self.editor.pick(source, adds=adds))

    def choose(self, sources: Sequence[str]) -> None:
        """Choose these styles, and no others."""
        self._change_mix(lambda: self.editor.choose(sources))

    def _change_mix(self, change: Callable[[], None]) -> None:
        try:
            change()
        except ChoiceError as error:
            self._view.show_error(error)
        else:
            self.refresh()
        self.show_mix()  # also after an error: a host's list may have marked one more

    def weigh(self, styles: Sequence[StyleChoice]) -> None:
        """Change the shares of the mix; its rows stay."""
        self.editor.change_region(styles=tuple(styles))
        self.refresh()

    def take_out(self, styles: Sequence[StyleChoice]) -> None:
        """Reduce the mix to these styles."""
        self.weigh(styles)
        self.show_mix()

    def take_controls(self, **others: Any) -> None:
        """Take the controls' values. others: Fields of StylizeSettings for which only one host has a control."""
        controls = self._view.controls
        self.editor.change(
            stroke_size=controls.stroke_size,
            detail=controls.detail,
            model=controls.model,
            quality=controls.quality,
            **others,
        )
        self.editor.change_region(alpha=controls.alpha, preserve_color=controls.preserve_color)
        self.refresh()

    def show_region(self, index: int) -> None:
        """Show another region."""
        self.editor.region = index
        self.show_current()

    def change_regions(self, masks: Sequence[str], index: int) -> None:
        """Add or remove regions. index: The region that is shown from now on."""
        self.editor.change_regions(masks, index)
        self.show_settings()
        self._view.look_at_layer()
        self.refresh()

    def use(self, settings: StylizeSettings) -> None:
        """Replace all choices, by those of a preset or by the defaults."""
        self.editor.use(settings)
        self.show_gallery()
        self.show_settings()
        self._view.look_at_layer()
        self.refresh()

    def use_server(self, server: ServerSettings) -> None:
        """Use another server from now on."""
        self.saved = replace(self.saved, server=server)
        self.store.save(replace(self.store.load(), server=server))
        self.reconnect()

    def use_folder(self, folder: Path) -> None:
        """Remember the folder in which a picture was chosen."""
        self.saved = replace(self.saved, picture_folder=str(folder))

    def add_style(self, source: str, title: str, about: str) -> None:
        """Choose a style that was read just now, and show it first in the gallery."""
        self._view.gallery.add(GalleryEntry(source, title, about, self._picture_of(source)), first=True)
        self.pick(source, adds=False)

    def remember(self, settings: StylizeSettings) -> None:
        """Save the settings that are or were painted with, so that they can be repeated."""
        self._keep(stylize=settings)

    def keep_choices(self) -> None:
        """Save this window's choices; the next window begins with them."""
        if self.editor.settings != self._first_settings:
            self._keep()

    def _keep(self, **changes: Any) -> None:
        changes["chosen"] = self.editor.settings
        self.saved = replace(self.saved, **changes)
        self.store.save(replace(self.store.load(), picture_folder=self.saved.picture_folder, **changes))

    # Showing the choices

    def show_settings(self) -> None:
        """Show all choices in the widgets."""
        masks = [region.mask for region in self.editor.settings.regions]
        self._view.regions.show_regions(masks, self.editor.region)
        self.show_current()

    def show_current(self) -> None:
        """Show the choices for the current region in the widgets."""
        fitting = StylizeSettings().strokes_for(*self._view.layer_size())
        self._view.controls.show_settings(self.editor.settings, self.editor.current, fitting)
        self._show_models()
        self.show_mix()

    def show_mix(self) -> None:
        """Show the styles of the current region in the mix and the gallery."""
        styles = self.editor.current.styles
        self._view.mix.show_mix(styles, self._view.gallery.entry)
        self._view.gallery.mark(style.source for style in styles)

    def show_gallery(self) -> None:
        """Fill the gallery with all styles that can be chosen; the user's own chosen pictures get their thumbnails."""
        gallery, settings = self._view.gallery, self.editor.settings
        gallery.show_entries(self.styles.gallery(settings))
        for source in {style.source for region in settings.regions for style in region.styles}:
            entry = gallery.entry(source)
            if entry is not None and entry.thumbnail is None and (image := self._picture_of(source)) is not None:
                gallery.add(entry.with_thumbnail(image))

    def _picture_of(self, source: str) -> Any | None:
        pixels = self.styles.picture(source)
        return None if pixels is None else self._view.image_of(pixels)

    def _show_models(self) -> None:
        chosen = self.editor.settings.model
        self._view.controls.show_models(model_entries(self.models, self._own_model, chosen), chosen)

    def show_forecast(self) -> None:
        """Have the view show how long the finish will take."""
        settings, content = self.editor.settings, self._view.content()
        self._view.show_forecast(
            labels.finish_forecast(
                self._server_info, self.saved.server, settings, content, pictures=self._view.pictures
            )
        )

    def refresh(self) -> None:
        """Ask for a preview of the current choices."""
        self.show_forecast()
        settings, content = self.editor.settings, self._view.content()
        self._view.allow_painting(self.editor.is_complete)
        wanted = {region.mask for region in settings.regions if region.mask}
        # A region that was added a moment ago may have a mask that is still being read.
        if content is None or not wanted <= content.masks.keys() or not self.editor.is_complete:
            if self._session is not None:
                self._session.preview(None)
            self._view.preview.show_after(None)
            return
        try:
            load = self._loader(settings)
        except ChoiceError as error:
            self._view.show_error(error)
            return
        self._changed_at = time.monotonic()
        self.session().preview(lambda side: make_request(content, settings, load(), preview=side))

    def _loader(self, settings: StylizeSettings) -> Callable[[], Mapping[str, StyleSource]]:
        """Return a function that loads the styles in the session's thread. Raises ChoiceError if read at once."""
        if not self._reads_at_once:
            return lambda: self.styles.load(settings)
        loaded = self.styles.load(settings)
        return lambda: loaded

    # Reports from the session

    def connecting(self, sentence: str) -> None:
        """Show that the server is being looked for."""
        self._view.show_connecting(sentence)

    def connected(self, info: ServerInfo) -> None:
        """Show that the server is ready."""
        log.debug("connected")
        self._server_info, self._own_model = info, info.model
        self._view.show_connected(labels.server_state(info))
        self._show_models()
        self.refresh()

    def listed(self, styles: list[StyleInfo], models: list[ModelInfo]) -> None:
        """Show the server's styles in the gallery, and its models to choose from."""
        self.models = models
        self._show_models()
        if styles == self.styles.known:
            return
        self.styles.known = styles
        self.show_gallery()
        self.show_current()
        self.session().fetch_swatches([style.name for style in styles if self._has_no_thumbnail(style.name)])
        self.refresh()

    def _has_no_thumbnail(self, source: str) -> bool:
        entry = self._view.gallery.entry(source)
        return entry is None or entry.thumbnail is None

    def disconnected(self, error: AdainError) -> None:
        """Show that there is no server; the error's sentence says what to do."""
        log.debug("disconnected: %s", error)
        self._server_info = None
        self.show_forecast()
        self._view.show_disconnected(error)

    def swatch(self, name: str, jpeg: bytes) -> None:
        """Show a thumbnail that has arrived."""
        entry, image = self._view.gallery.entry(name), self._view.image_of_file(jpeg)
        if entry is not None and image is not None:
            self._view.gallery.add(entry.with_thumbnail(image))
            if any(style.source == name for style in self.editor.current.styles):
                self._view.mix.show_mix(self.editor.current.styles, self._view.gallery.entry)

    def previewed(self, result: StylizeResult) -> None:
        """Show the preview, unless the picture itself is being painted by now."""
        if self._view.is_painting():
            return
        note = preview_note(result.pixels, self._view.content(), self.editor.settings)
        self._view.preview.show_after(self._view.image_of(result.pixels), note)
        side = max(result.pixels.height, result.pixels.width)
        log.debug("previewed %d after %.3f s", side, time.monotonic() - self._changed_at)

    def preview_failed(self, error: AdainError) -> None:
        """Show why there is no preview."""
        self._view.preview.show_note("")
        self._view.show_error(error)

    def progressed(self, progress: Progress) -> None:
        """Have the view move its bar."""
        self._view.progressed(progress)

    def drafted(self, draft: Draft) -> None:
        """Have the view show the picture as it forms."""
        self._view.drafted(draft)

    def painted(self, result: StylizeResult) -> None:
        """Have the view put the picture into the document."""
        self._view.painted(result)

    def paint_failed(self, error: AdainError) -> None:
        """Have the view report the failure and let the user try again."""
        self._view.paint_failed(error)
