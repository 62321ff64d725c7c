"""The row of regions, which chooses the part of the layer that the controls apply to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adain_style.client import protocol
from adain_style.client.texts import _
from adain_style.host import labels
from adain_style.krita.masks import MaskSource
from adain_style.krita.qt import QtGui, QtWidgets, button, label, plain


class Regions(QtWidgets.QWidget):
    """A list of regions with buttons to add and remove one."""

    def __init__(
        self,
        icons: tuple[QtGui.QIcon, QtGui.QIcon],
        sources: Callable[[], list[MaskSource]],
        changed: Callable[[list[str], int], None],
    ) -> None:
        """Make the widget; show_regions() fills it.

        Args:
            icons: The icons for adding and removing.
            sources: Returns the document's current masks to choose from.
            changed: Called with the regions' masks and the index to show, after the user has changed either.
        """
        super().__init__()
        self._sources, self._changed = sources, changed
        self._masks: list[str] = [""]
        self._list = QtWidgets.QComboBox()
        self._list.setToolTip(labels.REGION_TIP)
        self._list.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._list.activated.connect(lambda index: changed(self._masks, index))
        self._add = button(
            icons[0],
            _("Paint another part in styles of its own: where a mask is, or layers of a colour label"),
            self._fill_menu,
        )
        self._add.setMenu(QtWidgets.QMenu(self._add))
        self._add.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self._add.menu().aboutToShow.connect(self._fill_menu)
        self._remove = button(icons[1], _("Remove this region"), self._remove_shown)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label(plain(_("Re_gion")), self._list))
        layout.addWidget(self._list, 1)
        layout.addWidget(self._add)
        layout.addWidget(self._remove)

    def show_regions(self, masks: Sequence[str], index: int) -> None:
        """Show these regions, by their masks, without reporting a change."""
        self._masks = list(masks)
        titles = {"": labels.WHOLE_REGION} | {source.name: source.label for source in self._sources()}
        self._list.clear()
        for mask in self._masks:
            self._list.addItem(titles.get(mask, mask))
        self._list.setCurrentIndex(index)
        self._remove.setEnabled(len(self._masks) > 1)
        self._add.setEnabled(len(self._masks) < protocol.MAX_REGIONS)

    def _fill_menu(self) -> None:
        menu = self._add.menu()
        menu.clear()
        left = [source for source in self._sources() if source.name not in self._masks]
        if "" not in self._masks:
            left.insert(0, MaskSource("", labels.WHOLE_REGION))
        for source in left:
            action = menu.addAction(source.label)
            action.triggered.connect(lambda _checked, name=source.name: self._add_region(name))
        if not left:
            hint = _("Add a selection mask or a transparency mask, or label layers with a colour, to have more regions")
            menu.addAction(hint).setEnabled(False)

    def _add_region(self, name: str) -> None:
        self._changed([*self._masks, name], len(self._masks))

    def _remove_shown(self) -> None:
        index = self._list.currentIndex()
        self._changed([mask for other, mask in enumerate(self._masks) if other != index], max(0, index - 1))
