"""The gallery: every style that can be chosen, with its thumbnail; a click chooses one, Ctrl+click mixes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from adain_style.client.texts import _
from adain_style.host.styles import GalleryEntry
from adain_style.krita.qt import QtCore, QtGui, QtWidgets, square

LINES = 4
"""A thumbnail's side in lines of text, so that it grows with the font."""
SOURCE = QtCore.Qt.ItemDataRole.UserRole


class Gallery(QtWidgets.QWidget):
    """A grid of thumbnails, with a field that filters them by their titles."""

    def __init__(self, chosen: Callable[[list[str]], None]) -> None:
        """chosen: Called with the sources of all chosen styles, after the user has changed them."""
        super().__init__()
        self._chosen = chosen
        self._entries: dict[str, GalleryEntry] = {}
        self._items: dict[str, QtWidgets.QListWidgetItem] = {}
        self._is_mixing = False
        self.search = QtWidgets.QLineEdit()
        self.search.setPlaceholderText(_("Search styles"))
        self.search.setAccessibleName(_("Search styles"))
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip(
            _("Shows only the styles in whose title or description these letters occur; Enter chooses the first")
        )
        self.search.textChanged.connect(lambda _text: self._filter())
        self.search.returnPressed.connect(self._choose_first)
        self._side = LINES * self.fontMetrics().height()
        self._list = QtWidgets.QListWidget()
        self._list.setViewMode(QtWidgets.QListView.ViewMode.IconMode)
        self._list.setResizeMode(QtWidgets.QListView.ResizeMode.Adjust)
        self._list.setMovement(QtWidgets.QListView.Movement.Static)
        self._list.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.ExtendedSelection)
        self._list.setUniformItemSizes(True)
        self._list.setWordWrap(False)
        self._list.setTextElideMode(QtCore.Qt.TextElideMode.ElideRight)
        self._list.setIconSize(QtCore.QSize(self._side, self._side))
        cell = self._side + self.fontMetrics().height() // 2
        self._list.setGridSize(QtCore.QSize(cell, cell + self.fontMetrics().height()))
        self._list.setMinimumHeight(2 * cell)
        self._list.setAccessibleName(_("Styles"))
        self._list.itemSelectionChanged.connect(self._tell)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.search)
        layout.addWidget(self._list)

    def entry(self, source: str) -> GalleryEntry | None:
        """The entry of a source; None when there is none."""
        return self._entries.get(source)

    def set_mixing(self, mixes: bool) -> None:
        """Set whether every click, and Enter in the field, adds to the mix, for users without a Ctrl key at hand."""
        self._is_mixing = mixes
        modes = QtWidgets.QAbstractItemView.SelectionMode
        self._list.setSelectionMode(modes.MultiSelection if mixes else modes.ExtendedSelection)

    def show_entries(self, entries: Iterable[GalleryEntry]) -> None:
        """Replace all entries by these; thumbnails that are there already are kept."""
        before = self._entries
        with QtCore.QSignalBlocker(self._list):
            self._list.clear()
            self._entries, self._items = {}, {}
            for entry in entries:
                old = before.get(entry.source)
                self.add(entry if old is None or old.thumbnail is None else entry.with_thumbnail(old.thumbnail))
        self._filter()

    def add(self, entry: GalleryEntry, *, first: bool = False) -> None:
        """Add an entry, or give one its thumbnail."""
        item = self._items.get(entry.source)
        if item is None:
            item = QtWidgets.QListWidgetItem(entry.title)
            item.setData(SOURCE, entry.source)
            item.setToolTip("\n".join(filter(None, (entry.title, entry.about))))
            self._items[entry.source] = item
            self._list.insertItem(0 if first else self._list.count(), item)
        self._entries[entry.source] = entry
        item.setIcon(self._icon(entry.thumbnail))

    def mark(self, sources: Iterable[str]) -> None:
        """Mark the chosen styles without reporting a change."""
        wanted = set(sources)
        with QtCore.QSignalBlocker(self._list):
            for source, item in self._items.items():
                item.setSelected(source in wanted)
        first = next((item for source, item in self._items.items() if source in wanted), None)
        if first is not None and not self._list.hasFocus():
            self._list.scrollToItem(first)  # a style that was chosen elsewhere, as by a preset, becomes visible

    def _icon(self, image: QtGui.QImage | None) -> QtGui.QIcon:
        if image is None:
            empty = QtGui.QPixmap(self._side, self._side)
            empty.fill(self.palette().color(QtGui.QPalette.ColorRole.AlternateBase))
            return QtGui.QIcon(empty)
        # Chosen styles must not be tinted, because the user chooses them for their colours.
        icon, picture = QtGui.QIcon(), QtGui.QPixmap.fromImage(square(image, self._side))
        for mode in (QtGui.QIcon.Mode.Normal, QtGui.QIcon.Mode.Selected):
            icon.addPixmap(picture, mode)
        return icon

    def _filter(self) -> None:
        for source, item in self._items.items():
            item.setHidden(not self._entries[source].matches(self.search.text()))

    def _choose_first(self) -> None:
        for row in range(self._list.count()):
            item = self._list.item(row)
            if not item.isHidden():
                flags = QtCore.QItemSelectionModel.SelectionFlag
                self._list.setCurrentItem(item, flags.Select if self._is_mixing else flags.ClearAndSelect)
                return

    def _tell(self) -> None:
        self._chosen([str(item.data(SOURCE)) for item in self._list.selectedItems()])
