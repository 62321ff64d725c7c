"""Reading styles in Krita: picture files, and layers of open documents."""

from __future__ import annotations

from pathlib import Path

from adain_style.client.choices import ChoiceError
from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.host.styles import MAX_STYLE_SIDE
from adain_style.krita.cooperative import run_now
from adain_style.krita.jobs import find_layer
from adain_style.krita.layers import reduced_steps
from adain_style.krita.qt import QtCore, QtGui, fitted, samples_of

MAX_PICTURE_SIDE = 30_000
"""The longest side of a picture that is opened as a style, in pixels: a small file may hold any size."""


class KritaStyles:
    """See adain_style.host.styles.StyleReader. Pictures may be read in any thread, layers only in Qt's."""

    def read_picture(self, path: Path, crop: tuple[int, int, int, int] | None) -> Pixels:
        """Read a picture's file with Qt."""
        reader = QtGui.QImageReader(str(path))
        reader.setAutoTransform(True)
        reader.setDecideFormatFromContent(True)
        size = reader.size()
        if max(size.width(), size.height()) > MAX_PICTURE_SIDE:
            raise ChoiceError(_("{path} is too large for a style; save it smaller.").format(path=path))
        if crop is None and size.isValid() and max(size.width(), size.height()) > MAX_STYLE_SIDE:
            # The decoder may skip what is not needed.
            bound = QtCore.QSize(2 * MAX_STYLE_SIDE, 2 * MAX_STYLE_SIDE)
            smaller = size.scaled(bound, QtCore.Qt.AspectRatioMode.KeepAspectRatio)
            if smaller.width() < size.width():
                reader.setScaledSize(smaller)
        image = reader.read()
        if image.isNull():
            raise ChoiceError(_("{path} cannot be opened: {reason}").format(path=path, reason=reader.errorString()))
        if image.colorSpace().isValid():
            image.convertToColorSpace(QtGui.QColorSpace(QtGui.QColorSpace.NamedColorSpace.SRgb))
        if crop is not None:
            left, top, width, height = crop
            if left + width > image.width() or top + height > image.height() or not width or not height:
                raise ChoiceError(_("The part of {path} lies outside of the picture.").format(path=path))
            image = image.copy(left, top, width, height)
        return _pixels(image)

    def read_layer(self, name: str) -> Pixels | None:
        """Read a layer, by its unique name; None in threads other than Qt's, where it has to be known already."""
        if QtCore.QThread.currentThread() != QtCore.QCoreApplication.instance().thread():
            return None
        target = find_layer(name)
        return None if target is None else run_now(reduced_steps(target, MAX_STYLE_SIDE))

    def layer_title(self, name: str) -> str | None:
        """The name that the user gave the layer; None when it is gone or empty."""
        target = find_layer(name)
        return None if target is None else target.title


def _pixels(image: QtGui.QImage) -> Pixels:
    if max(image.width(), image.height()) > MAX_STYLE_SIDE:
        image = fitted(image, MAX_STYLE_SIDE)
    samples = samples_of(image, QtGui.QImage.Format.Format_RGBA8888)
    return Pixels(samples, image.height(), image.width(), "RGBA", "u8")
