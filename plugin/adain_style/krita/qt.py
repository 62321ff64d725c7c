"""Qt, imported here and nowhere else, so that another PyQt is one change; and helpers for all its windows.

Enumerations are always written in full, as PyQt6 requires.
"""

from __future__ import annotations

from collections.abc import Callable

from PyQt5 import QtCore, QtGui, QtWidgets

from adain_style.client.jobs import Pixels
from adain_style.client.protocol import LAYOUTS

__all__ = [
    "Column",
    "Post",
    "QtCore",
    "QtGui",
    "QtWidgets",
    "button",
    "elided",
    "fitted",
    "image_of",
    "label",
    "mnemonic",
    "plain",
    "samples_of",
    "scaled",
    "square",
]

_FORMATS = {"RGBA": QtGui.QImage.Format.Format_RGBA8888, "RGB": QtGui.QImage.Format.Format_RGB888}


class Post(QtCore.QObject):
    """Schedules functions from any thread to be called in Qt's thread."""

    _posted = QtCore.pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self._posted.connect(self._call, QtCore.Qt.ConnectionType.QueuedConnection)

    def __call__(self, function: Callable[[], None]) -> None:
        """Have a function called soon."""
        self._posted.emit(function)

    def _call(self, function: Callable[[], None]) -> None:
        function()


class Column(QtWidgets.QScrollArea):
    """Scrolls a widget vertically, and is never narrower than the widget."""

    def __init__(self, inside: QtWidgets.QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        self.setWidget(inside)

    def minimumSizeHint(self) -> QtCore.QSize:  # noqa: N802  # Qt's name
        """The widget's least width plus that of a scroll bar."""
        width = self.widget().minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()
        return QtCore.QSize(width, super().minimumSizeHint().height())


def mnemonic(text: str) -> str:
    """Convert a label whose access key follows an underscore, as in the catalogues, to Qt's form."""
    return text.replace("&", "&&").replace("_", "&", 1)


def plain(text: str) -> str:
    """Remove the access key: in a panel it would clash with one of Krita's menus, and Qt would activate neither."""
    return text.replace("&", "&&").replace("_", "", 1)


def label(text: str, buddy: QtWidgets.QWidget) -> QtWidgets.QLabel:
    """Make a widget's label. text: From mnemonic() or plain()."""
    made = QtWidgets.QLabel(text)
    made.setBuddy(buddy)
    return made


class _Elided(QtWidgets.QLabel):
    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:  # noqa: N802  # Qt's name
        painter = QtGui.QPainter(self)
        room = self.contentsRect()
        shown = self.fontMetrics().elidedText(self.text(), QtCore.Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft, shown)


def elided(text: str) -> QtWidgets.QLabel:
    """A line of text that is shortened when there is too little room; its tooltip has the whole text."""
    made = _Elided(text)
    made.setToolTip(text)
    made.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred)
    return made


def button(icon: QtGui.QIcon, tooltip: str, clicked: Callable[[], None]) -> QtWidgets.QToolButton:
    """A small button with an icon; screen readers read its tooltip, too."""
    made = QtWidgets.QToolButton()
    made.setIcon(icon)
    made.setAutoRaise(True)
    made.setToolTip(tooltip)
    made.setAccessibleName(tooltip)
    made.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
    made.clicked.connect(lambda _checked: clicked())
    return made


def image_of(pixels: Pixels) -> QtGui.QImage:
    """Convert a picture of layout RGBA or RGB and depth u8 for the screen."""
    assert pixels.layout in _FORMATS and pixels.depth == "u8"
    line_bytes = pixels.width * LAYOUTS[pixels.layout]
    image = QtGui.QImage(bytes(pixels.data), pixels.width, pixels.height, line_bytes, _FORMATS[pixels.layout])
    return image.copy()  # Qt only refers to the data


def square(image: QtGui.QImage, side: int) -> QtGui.QImage:
    """The middle of a picture as a square of that many pixels a side."""
    shorter = min(image.width(), image.height())
    middle = image.copy((image.width() - shorter) // 2, (image.height() - shorter) // 2, shorter, shorter)
    return scaled(middle, side, side)


def scaled(image: QtGui.QImage, width: int, height: int) -> QtGui.QImage:
    """Scale a picture smoothly to another size, whose aspect ratio may differ."""
    if (image.width(), image.height()) == (width, height):
        return image
    return image.scaled(
        width,
        height,
        QtCore.Qt.AspectRatioMode.IgnoreAspectRatio,
        QtCore.Qt.TransformationMode.SmoothTransformation,
    )


def fitted(image: QtGui.QImage, side: int) -> QtGui.QImage:
    """Scale a picture so that its longer side has that many pixels."""
    return image.scaled(
        side, side, QtCore.Qt.AspectRatioMode.KeepAspectRatio, QtCore.Qt.TransformationMode.SmoothTransformation
    )


def samples_of(image: QtGui.QImage, image_format: QtGui.QImage.Format) -> bytes:
    """A picture's samples in a format, row after row without gaps."""
    image = image.convertToFormat(image_format)
    row_bytes, line_bytes = image.width() * (image.depth() // 8), image.bytesPerLine()
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    data = bytes(bits)
    if line_bytes == row_bytes:
        return data
    # Qt's rows begin at multiples of four bytes.
    return b"".join(data[row * line_bytes :][:row_bytes] for row in range(image.height()))
