"""The sliders and lists for the settings of a region, and of the whole picture."""

from __future__ import annotations

from collections.abc import Callable

from adain_style.client.choices import RegionChoice
from adain_style.host import labels
from adain_style.host.models import ModelEntry
from adain_style.host.settings import MAX_STROKE_SIZE, StylizeSettings
from adain_style.krita.qt import QtCore, QtWidgets, label, plain


class Slider(QtWidgets.QWidget):
    """A slider with a field for its number, which takes the keyboard focus."""

    def __init__(self, tooltip: str, lower: float, upper: float, decimals: int, changed: Callable[[], None]) -> None:
        """changed: Called after the user has changed the value."""
        super().__init__()
        self._scale = 10**decimals
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(round(lower * self._scale), round(upper * self._scale))
        self._slider.setFocusPolicy(QtCore.Qt.FocusPolicy.ClickFocus)
        self.field = QtWidgets.QDoubleSpinBox()
        self.field.setDecimals(decimals)
        self.field.setRange(lower, upper)
        self.field.setSingleStep(1 / self._scale if decimals else 5)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self.field)
        for widget in (self._slider, self.field):
            widget.setToolTip(tooltip)
        self.setFocusProxy(self.field)
        self._slider.valueChanged.connect(lambda value: self.field.setValue(value / self._scale))
        self.field.valueChanged.connect(self._follow)
        self.field.valueChanged.connect(lambda _value: changed())

    @property
    def value(self) -> float:
        """The value that is shown."""
        return float(self.field.value())

    def show_value(self, value: float) -> None:
        """Show a value without reporting a change."""
        with QtCore.QSignalBlocker(self.field):
            self.field.setValue(value)
        self._follow(value)

    def _follow(self, value: float) -> None:
        with QtCore.QSignalBlocker(self._slider):
            self._slider.setValue(round(value * self._scale))


class Controls(QtWidgets.QWidget):
    """Strength, colours, strokes, detail, quality and model."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """changed: Called after the user has changed a value."""
        super().__init__()
        self._changed = changed
        self._alpha = Slider(labels.STRENGTH_TIP, 0, 100, 0, changed)
        self._colours = _list(labels.COLOURS_TIP)
        for name, text in labels.COLOUR_NAMES.items():
            self._colours.addItem(text, name)
        self._model = _list(labels.MODEL_TIP)
        self._models: list[ModelEntry] = []
        self._fits = QtWidgets.QCheckBox(plain(labels.FIT))
        self._fits.setToolTip(labels.FIT_TIP)
        self._strokes = Slider(labels.STROKES_TIP, 1, MAX_STROKE_SIZE, 1, changed)
        self._detail = Slider(labels.DETAIL_TIP, 0, 100, 0, changed)
        self._quality = _list(labels.QUALITY_TIP)
        for name, text in labels.QUALITY_NAMES.items():
            self._quality.addItem(text, name)
        self._forecast = QtWidgets.QLabel()
        self._forecast.setWordWrap(True)
        self._forecast.hide()
        form = QtWidgets.QGridLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setColumnStretch(1, 1)
        rows = (
            (labels.STRENGTH, self._alpha),
            (labels.COLOURS, self._colours),
            ("", self._fits),
            (labels.STROKES, self._strokes),
            (labels.DETAIL, self._detail),
            (labels.QUALITY, self._quality),
            ("", self._forecast),
        )
        for row, (text, widget) in enumerate(rows):
            if text:
                form.addWidget(label(plain(text), widget.field if isinstance(widget, Slider) else widget), row, 0)
            form.addWidget(widget, row, 1 if text else 0, 1, 1 if text else 2)
        self._model_label = label(plain(labels.MODEL), self._model)
        form.addWidget(self._model_label, len(rows), 0)
        form.addWidget(self._model, len(rows), 1)
        self._colours.activated.connect(lambda _index: changed())
        self._quality.activated.connect(lambda _index: changed())
        self._model.activated.connect(lambda _index: changed())
        self._fits.clicked.connect(lambda _checked: self._fit())

    @property
    def alpha(self) -> float:
        """The strength, 0..1."""
        return self._alpha.value / 100

    @property
    def preserve_color(self) -> str:
        """The colours that are kept, one of protocol.PRESERVE_COLOR."""
        return str(self._colours.currentData())

    @property
    def stroke_size(self) -> float:
        """The stroke size, as in StylizeSettings: 0 fits the layer."""
        return 0.0 if self._fits.isChecked() else self._strokes.value

    @property
    def detail(self) -> float:
        """How much detail comes back, 0..1."""
        return self._detail.value / 100

    @property
    def quality(self) -> str:
        """The quality, one of protocol.QUALITY."""
        return str(self._quality.currentData())

    @property
    def model(self) -> str:
        """The name of the model; "" for the server's own."""
        return str(self._model.currentData() or "")

    def show_models(self, entries: list[ModelEntry], chosen: str) -> None:
        """Show the models to choose from; the list is hidden while there is only one."""
        if entries != self._models:
            self._models = entries
            self._model.clear()
            for index, entry in enumerate(entries):
                self._model.addItem(entry.title, entry.name)
                self._model.setItemData(index, entry.about, QtCore.Qt.ItemDataRole.ToolTipRole)
        self._model.setCurrentIndex(max(0, self._model.findData(chosen)))
        for widget in (self._model, self._model_label):
            widget.setVisible(len(entries) > 1)

    def show_settings(self, settings: StylizeSettings, region: RegionChoice, fitting: float) -> None:
        """Show the chosen settings without reporting a change. fitting: The stroke size that fits the layer."""
        self._alpha.show_value(100 * region.alpha)
        self._colours.setCurrentIndex(max(0, self._colours.findData(region.preserve_color)))
        self._fits.setChecked(settings.stroke_size == 0)
        self._strokes.show_value(settings.stroke_size or fitting)
        self._strokes.setEnabled(settings.stroke_size != 0)
        self._detail.show_value(100 * settings.detail)
        self._quality.setCurrentIndex(max(0, self._quality.findData(settings.quality)))

    def show_forecast(self, sentence: str) -> None:
        """Show how long the finish will take; "" for nothing."""
        self._forecast.setText(sentence)
        self._forecast.setVisible(bool(sentence))

    def _fit(self) -> None:
        self._strokes.setEnabled(not self._fits.isChecked())
        self._changed()


def _list(tooltip: str) -> QtWidgets.QComboBox:
    chooser = QtWidgets.QComboBox()
    chooser.setToolTip(tooltip)
    chooser.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return chooser
