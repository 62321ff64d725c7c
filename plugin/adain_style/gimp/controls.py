"""The sliders and lists for the settings of a region, and of the whole picture."""

from __future__ import annotations

from collections.abc import Callable

from adain_style.client.choices import RegionChoice
from adain_style.client.texts import _
from adain_style.gimp.ui import GimpUi, Gtk
from adain_style.host import labels
from adain_style.host.models import ModelEntry
from adain_style.host.settings import MAX_STROKE_SIZE, StylizeSettings


class Controls:
    """Strength, colours, strokes, detail, output, quality and model."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """changed: Called after the user has changed a value."""
        self._changed = changed
        self._is_showing = False
        self._alpha = _slider(labels.STRENGTH, 100.0, 0.0, 100.0, 0)
        self._alpha.set_tooltip_text(labels.STRENGTH_TIP)
        self._colours = _list(labels.COLOUR_NAMES, labels.COLOURS_TIP)
        self._fits = Gtk.CheckButton.new_with_mnemonic(labels.FIT)
        self._fits.set_tooltip_text(labels.FIT_TIP)
        self._strokes = _slider(labels.STROKES, 1.0, 1.0, MAX_STROKE_SIZE, 1)
        self._strokes.set_tooltip_text(labels.STROKES_TIP)
        self._detail = _slider(labels.DETAIL, 70.0, 0.0, 100.0, 0)
        self._detail.set_tooltip_text(labels.DETAIL_TIP)
        self._output = _list(
            {"new-layer": _("A new layer above"), "in-place": _("This layer")}, _("Where the result goes")
        )
        self._quality = _list(labels.QUALITY_NAMES, labels.QUALITY_TIP)
        self._model = _list({"": ""}, labels.MODEL_TIP)
        self._models: list[ModelEntry] = []
        self.widget = Gtk.Grid()
        self.widget.set_column_spacing(6)
        self.widget.set_row_spacing(6)
        self._place()
        for slider in (self._alpha, self._strokes, self._detail):
            slider.connect("value-changed", lambda _slider: self._tell())
        for chooser in (self._colours, self._output, self._quality, self._model):
            chooser.connect("changed", lambda _list: self._tell())
        self._fits.connect("toggled", lambda _check: self._tell())

    def _place(self) -> None:
        same_width = Gtk.SizeGroup.new(Gtk.SizeGroupMode.HORIZONTAL)
        for row, slider in ((0, self._alpha), (3, self._strokes), (4, self._detail)):
            slider.set_hexpand(True)
            same_width.add_widget(slider.get_label())
            self.widget.attach(slider, 0, row, 2, 1)
        output = Gtk.Box(spacing=6)
        output.pack_start(self._output, True, True, 0)
        # Quality shares a row with the output, because the window just fits a small screen.
        output.pack_start(_label(labels.QUALITY, self._quality), False, False, 0)
        output.pack_start(self._quality, True, True, 0)
        model_label = _label(labels.MODEL, self._model)
        for row, label, chosen in (
            (1, _label(labels.COLOURS, self._colours), self._colours),
            (5, _label(_("Res_ult"), self._output), output),
            (6, model_label, self._model),
        ):
            same_width.add_widget(label)
            chosen.set_hexpand(True)
            self.widget.attach(label, 0, row, 1, 1)
            self.widget.attach(chosen, 1, row, 1, 1)
        self._model_widgets = (model_label, self._model)
        for widget in self._model_widgets:
            widget.set_no_show_all(True)  # there is nothing to choose from yet
        self._fits.get_style_context().add_class("adain-plain")  # GIMP's theme takes it for a frame's title
        self.widget.attach(self._fits, 1, 2, 1, 1)

    @property
    def alpha(self) -> float:
        """The strength, 0..1."""
        return float(self._alpha.get_value()) / 100

    @property
    def preserve_color(self) -> str:
        """The colours that are kept, one of protocol.PRESERVE_COLOR."""
        return str(self._colours.get_active_id())

    @property
    def stroke_size(self) -> float:
        """The stroke size, as in StylizeSettings: 0 fits the layer."""
        return 0.0 if self._fits.get_active() else float(self._strokes.get_value())

    @property
    def detail(self) -> float:
        """How much detail comes back, 0..1."""
        return float(self._detail.get_value()) / 100

    @property
    def output(self) -> str:
        """The output, one of OUTPUTS."""
        return str(self._output.get_active_id())

    @property
    def quality(self) -> str:
        """The quality, one of protocol.QUALITY."""
        return str(self._quality.get_active_id())

    @property
    def model(self) -> str:
        """The name of the model; "" for the server's own."""
        return str(self._model.get_active_id() or "")

    def show_models(self, entries: list[ModelEntry], chosen: str) -> None:
        """Show the models to choose from; the list is hidden while there is only one."""
        self._is_showing = True
        if entries != self._models:
            self._models = entries
            self._model.remove_all()
            for entry in entries:
                self._model.append(entry.name, entry.title)
        self._model.set_active_id(chosen)
        about = next((entry.about for entry in entries if entry.name == chosen), "")
        self._model.set_tooltip_text("\n".join(filter(None, (labels.MODEL_TIP, about))))
        for widget in self._model_widgets:
            widget.set_visible(len(entries) > 1)
        self._is_showing = False

    def show_settings(self, settings: StylizeSettings, region: RegionChoice, fitting: float) -> None:
        """Show the chosen settings without reporting a change. fitting: The stroke size that fits the layer."""
        self._is_showing = True
        self._alpha.set_value(100 * region.alpha)
        self._colours.set_active_id(region.preserve_color)
        self._fits.set_active(settings.stroke_size == 0)
        self._strokes.set_value(settings.stroke_size or fitting)
        self._detail.set_value(100 * settings.detail)
        self._output.set_active_id(settings.output)
        self._quality.set_active_id(settings.quality)
        self._is_showing = False
        self._strokes.set_sensitive(not self._fits.get_active())

    def _tell(self) -> None:
        if not self._is_showing:
            self._strokes.set_sensitive(not self._fits.get_active())
            self._changed()


def _label(text: str, widget: Gtk.Widget) -> Gtk.Label:
    label = Gtk.Label.new_with_mnemonic(text)
    label.set_mnemonic_widget(widget)
    label.set_xalign(0.0)
    return label


def _slider(text: str, value: float, lower: float, upper: float, digits: int) -> GimpUi.ScaleEntry:
    return GimpUi.ScaleEntry.new(text, value, lower, upper, digits)


def _list(texts: dict[str, str], tooltip: str) -> Gtk.ComboBoxText:
    chooser = Gtk.ComboBoxText()
    for identifier, text in texts.items():
        chooser.append(identifier, text)
    chooser.set_tooltip_text(tooltip)
    return chooser
