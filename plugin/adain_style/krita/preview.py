"""The preview: the newest painted picture, or the unpainted layer while the preview is pressed."""

from __future__ import annotations

from adain_style.client.texts import _
from adain_style.krita.qt import QtCore, QtGui, QtWidgets

LINES = 7
"""The least height, in lines of text."""
CHECK_SIDE = 8
"""The side of the squares that show through where the picture is transparent, in pixels."""


class Preview(QtWidgets.QFrame):
    """A picture that fits its space; pressing it, or a key while it has the focus, shows the layer before."""

    def __init__(self) -> None:
        super().__init__()
        self._before: QtGui.QImage | None = None
        self._after: QtGui.QImage | None = None
        self._forming: QtGui.QImage | None = None
        self._compares = False
        self._hint = ""
        self._note = ""
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.setMinimumHeight(LINES * self.fontMetrics().height())
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setToolTip(_("Press to see the layer as it is"))
        self.setAccessibleName(_("Preview"))

    def show_before(self, image: QtGui.QImage | None, hint: str = "") -> None:
        """Show the unpainted layer, or a hint why there is none, and drop earlier painted pictures."""
        self._before, self._after, self._forming, self._hint = image, None, None, hint
        self.show_note("")

    def show_after(self, image: QtGui.QImage | None, note: str = "") -> None:
        """Show the painted picture, None for none, with a note."""
        self._after = image
        self.show_note(note)

    def show_note(self, note: str) -> None:
        """Show a note at the bottom of the picture; "" for none."""
        self._note = note
        self.setAccessibleDescription(note)
        self.update()

    def show_forming(self, image: QtGui.QImage | None) -> None:
        """Show the picture as it forms; None to show what was painted before again."""
        self._forming = image
        self.update()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802  # Qt's name
        """Draw the preview."""
        super().paintEvent(event)
        painter = QtGui.QPainter(self)
        room = self.contentsRect()
        if self._before is None:
            painter.setPen(self.palette().color(QtGui.QPalette.ColorRole.PlaceholderText))
            flags = QtCore.Qt.AlignmentFlag.AlignCenter | QtCore.Qt.TextFlag.TextWordWrap
            painter.drawText(QtCore.QRectF(room), flags, self._hint)
            return
        shown = self._before if self._compares else self._forming or self._after or self._before
        # Both pictures fill the layer's rectangle, although drafts are smaller.
        size = self._before.size().scaled(room.size(), QtCore.Qt.AspectRatioMode.KeepAspectRatio)
        area = QtCore.QRect(QtCore.QPoint(0, 0), size)
        area.moveCenter(room.center())
        if shown.hasAlphaChannel():
            painter.fillRect(area, _checks())
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(area, shown)
        if self._note:
            self._draw_note(painter, room)
        if self.hasFocus():
            option = QtWidgets.QStyleOptionFocusRect()
            option.initFrom(self)
            self.style().drawPrimitive(QtWidgets.QStyle.PrimitiveElement.PE_FrameFocusRect, option, painter, self)

    def _draw_note(self, painter: QtGui.QPainter, room: QtCore.QRect) -> None:
        # Drawn over the picture: a line of its own would move everything below whenever it appears or disappears.
        flags = QtCore.Qt.AlignmentFlag.AlignCenter | QtCore.Qt.TextFlag.TextWordWrap
        foot = self.fontMetrics().boundingRect(room, flags, self._note)
        foot = QtCore.QRect(room.left(), room.bottom() + 1 - foot.height(), room.width(), foot.height())
        painter.fillRect(foot, self.palette().color(QtGui.QPalette.ColorRole.ToolTipBase))
        painter.setPen(self.palette().color(QtGui.QPalette.ColorRole.ToolTipText))
        painter.drawText(QtCore.QRectF(foot), flags, self._note)

    def mousePressEvent(self, _event: QtGui.QMouseEvent) -> None:  # noqa: N802
        """Start comparing."""
        self._compare(True)

    def mouseReleaseEvent(self, _event: QtGui.QMouseEvent) -> None:  # noqa: N802
        """Stop comparing."""
        self._compare(False)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: N802
        """Start comparing with the space bar as well."""
        if event.key() == QtCore.Qt.Key.Key_Space:
            self._compare(True)
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: N802
        """Stop comparing."""
        if event.key() == QtCore.Qt.Key.Key_Space and not event.isAutoRepeat():
            self._compare(False)
        else:
            super().keyReleaseEvent(event)

    def _compare(self, compares: bool) -> None:
        self._compares = compares
        self.update()


def _checks() -> QtGui.QBrush:
    squares = QtGui.QPixmap(2 * CHECK_SIDE, 2 * CHECK_SIDE)
    squares.fill(QtGui.QColor(0x9A, 0x9A, 0x9A))
    painter = QtGui.QPainter(squares)
    for corner in (0, CHECK_SIDE):
        painter.fillRect(corner, corner, CHECK_SIDE, CHECK_SIDE, QtGui.QColor(0x66, 0x66, 0x66))
    painter.end()
    return QtGui.QBrush(squares)
