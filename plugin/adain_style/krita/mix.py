"""The mix: the chosen styles of a region, each with a slider for its share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adain_style.client.choices import StyleChoice
from adain_style.client.texts import _
from adain_style.host.styles import GalleryEntry
from adain_style.krita.qt import QtCore, QtGui, QtWidgets, button, elided, square


class Mix(QtWidgets.QWidget):
    """One row for each chosen style; the sliders appear when there are several."""

    def __init__(
        self,
        icon: QtGui.QIcon,
        weighed: Callable[[list[StyleChoice]], None],
        removed: Callable[[list[StyleChoice]], None],
    ) -> None:
        """Make the widget, without styles.

        Args:
            icon: The icon of the button that takes a style out.
            weighed: Called with the new mix when a slider was moved; the rows stay.
            removed: Called with the new mix when a style was taken out; it has to be shown again.
        """
        super().__init__()
        self._icon, self._weighed, self._removed = icon, weighed, removed
        self._styles: list[StyleChoice] = []
        self._grid = QtWidgets.QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        for column in (1, 2):
            self._grid.setColumnStretch(column, 1)

    def show_mix(self, styles: Sequence[StyleChoice], entries: Callable[[str], GalleryEntry | None]) -> None:
        """Show a mix. entries: Returns a style's entry, for its title and thumbnail."""
        self._styles = list(styles)
        while (item := self._grid.takeAt(0)) is not None:
            item.widget().hide()
            item.widget().deleteLater()
        for row, style in enumerate(self._styles):
            self._add_row(row, style, entries(style.source))
        if not self._styles:
            hint = QtWidgets.QLabel(_("Click a style above. Ctrl+click adds another one to the mix."))
            hint.setWordWrap(True)
            self._grid.addWidget(hint, 0, 0, 1, 4)
        self._order()

    def _order(self) -> None:
        """Put the rows into the Tab order where they are seen; otherwise new widgets come last in the window."""
        none = QtCore.Qt.FocusPolicy.NoFocus
        before = self.previousInFocusChain()
        while before.focusPolicy() == none and before is not self:
            before = before.previousInFocusChain()
        for index in range(self._grid.count()):
            widget = self._grid.itemAt(index).widget()
            if widget.focusPolicy() != none:
                self.setTabOrder(before, widget)
                before = widget

    def _add_row(self, row: int, style: StyleChoice, entry: GalleryEntry | None) -> None:
        title = entry.title if entry is not None else style.source
        side = round(1.5 * self.fontMetrics().height())
        picture = QtWidgets.QLabel()
        if entry is not None and entry.thumbnail is not None:
            picture.setPixmap(QtGui.QPixmap.fromImage(square(entry.thumbnail, side)))
        self._grid.addWidget(picture, row, 0)
        several = len(self._styles) > 1
        self._grid.addWidget(elided(title), row, 1, 1, 1 if several else 2)
        if several:
            slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
            slider.setRange(0, 100)
            slider.setValue(round(100 * style.weight / max(1.0, max(other.weight for other in self._styles))))
            slider.setToolTip(_("How much of this style, beside the others"))
            slider.setAccessibleName(_("Share of {title}").format(title=title))
            slider.valueChanged.connect(lambda value: self._weigh(row, value / 100))
            self._grid.addWidget(slider, row, 2)
        remove = button(self._icon, _("Take this style out of the mix"), lambda: self._remove(row))
        self._grid.addWidget(remove, row, 3)

    def _weigh(self, index: int, weight: float) -> None:
        self._styles[index] = StyleChoice(self._styles[index].source, weight)
        self._weighed(list(self._styles))

    def _remove(self, index: int) -> None:
        self._removed([style for other, style in enumerate(self._styles) if other != index])
