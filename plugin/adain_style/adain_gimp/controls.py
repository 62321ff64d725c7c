"""The sliders and lists that say how a region is painted, and the whole picture."""

from __future__ import annotations

from collections.abc import Callable

from adain_client.choices import RegionChoice
from adain_client.texts import _
from adain_gimp.ui import GimpUi, Gtk
from adain_host.settings import MAX_STROKE_SIZE, Choices


class Controls:
    """Strength, colours, strokes, detail and output."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """changed: Called after the user has changed a value."""
        self._changed = changed
        self._is_showing = False
        self._alpha = _slider(_("S_trength"), 100.0, 0.0, 100.0, 0)
        self._alpha.set_tooltip_text(_("0 = the layer as it is, 100 = the full style"))
        self._colours = _list(
            {
                "none": _("The styles' colours"),
                "match": _("The layer's palette"),
                "luminance": _("The layer's own colours"),
            },
            _("Whose colours the result has"),
        )
        self._fits = Gtk.CheckButton.new_with_mnemonic(_("Strokes that _fit the layer's size"))
        self._fits.set_tooltip_text(_("Large layers get broader strokes, and are painted sooner"))
        self._strokes = _slider(_("Stroke si_ze"), 1.0, 1.0, MAX_STROKE_SIZE, 1)
        self._strokes.set_tooltip_text(_("How broad strokes are: 1 = the finest, 8 = eight times broader"))
        self._detail = _slider(_("_Detail"), 70.0, 0.0, 100.0, 0)
        self._detail.set_tooltip_text(_("How much of the layer's fine detail stays where strokes are broad"))
        self._output = _list(
            {"new-layer": _("A new layer above"), "in-place": _("This layer")}, _("Where the result goes")
        )
        self.widget = Gtk.Grid()
        self.widget.set_column_spacing(6)
        self.widget.set_row_spacing(6)
        self._place()
        for slider in (self._alpha, self._strokes, self._detail):
            slider.connect("value-changed", lambda _slider: self._tell())
        for chooser in (self._colours, self._output):
            chooser.connect("changed", lambda _list: self._tell())
        self._fits.connect("toggled", lambda _check: self._tell())

    def _place(self) -> None:
        labels = Gtk.SizeGroup.new(Gtk.SizeGroupMode.HORIZONTAL)
        for row, slider in ((0, self._alpha), (3, self._strokes), (4, self._detail)):
            slider.set_hexpand(True)
            labels.add_widget(slider.get_label())
            self.widget.attach(slider, 0, row, 2, 1)
        for row, text, chooser in ((1, _("C_olours"), self._colours), (5, _("Res_ult"), self._output)):
            label = Gtk.Label.new_with_mnemonic(text)
            label.set_mnemonic_widget(chooser)
            label.set_xalign(0.0)
            labels.add_widget(label)
            chooser.set_hexpand(True)
            self.widget.attach(label, 0, row, 1, 1)
            self.widget.attach(chooser, 1, row, 1, 1)
        self._fits.get_style_context().add_class("adain-plain")  # GIMP's theme takes it for a frame's title
        self.widget.attach(self._fits, 1, 2, 1, 1)

    @property
    def alpha(self) -> float:
        """0..1."""
        return float(self._alpha.get_value()) / 100

    @property
    def preserve_color(self) -> str:
        """One of protocol.PRESERVE_COLOR."""
        return str(self._colours.get_active_id())

    @property
    def stroke_size(self) -> float:
        """As Choices has it: 0 fits the layer."""
        return 0.0 if self._fits.get_active() else float(self._strokes.get_value())

    @property
    def detail(self) -> float:
        """0..1."""
        return float(self._detail.get_value()) / 100

    @property
    def output(self) -> str:
        """One of OUTPUTS."""
        return str(self._output.get_active_id())

    def show(self, choices: Choices, region: RegionChoice, fitting: float) -> None:
        """Show what is chosen; nothing is told. fitting: The stroke size that fits the layer."""
        self._is_showing = True
        self._alpha.set_value(100 * region.alpha)
        self._colours.set_active_id(region.preserve_color)
        self._fits.set_active(choices.stroke_size == 0)
        self._strokes.set_value(choices.stroke_size or fitting)
        self._detail.set_value(100 * choices.detail)
        self._output.set_active_id(choices.output)
        self._is_showing = False
        self._strokes.set_sensitive(not self._fits.get_active())

    def _tell(self) -> None:
        if not self._is_showing:
            self._strokes.set_sensitive(not self._fits.get_active())
            self._changed()


def _slider(text: str, value: float, lower: float, upper: float, digits: int) -> GimpUi.ScaleEntry:
    return GimpUi.ScaleEntry.new(text, value, lower, upper, digits)


def _list(texts: dict[str, str], tooltip: str) -> Gtk.ComboBoxText:
    chooser = Gtk.ComboBoxText()
    for identifier, text in texts.items():
        chooser.append(identifier, text)
    chooser.set_tooltip_text(tooltip)
    return chooser
