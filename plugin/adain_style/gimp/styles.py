"""Reading and saving styles with GIMP: pictures in every format that it opens, and layers of open images."""

from __future__ import annotations

from pathlib import Path

from adain_style.client.choices import ChoiceError
from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.gimp.layers import read_reduced, write_pixels
from adain_style.gimp.typelibs import Gimp, Gio
from adain_style.host import styles
from adain_style.host.styles import MAX_STYLE_SIDE


class GimpStyleReader:
    """See adain_style.host.styles.StyleReader; a layer's name is its number in GIMP."""

    def read_picture(self, path: Path, crop: tuple[int, int, int, int] | None) -> Pixels:
        """Read a picture's file. Raises ChoiceError when GIMP cannot open it, or the part lies outside."""
        image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(str(path)))
        if image is None:  # GIMP raises no exception
            reason = Gimp.get_pdb().get_last_error()
            raise ChoiceError(_("{path} cannot be opened: {reason}").format(path=path, reason=reason))
        try:
            if crop is not None:
                left, top, width, height = crop
                if left + width > image.get_width() or top + height > image.get_height() or not width or not height:
                    raise ChoiceError(_("The part of {path} lies outside of the picture.").format(path=path))
                image.crop(width, height, left, top)
            layer = image.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
            if layer is None:
                raise ChoiceError(_("{path} has no visible layer.").format(path=path))
            return read_reduced(layer, MAX_STYLE_SIDE)
        finally:
            image.delete()

    def read_layer(self, name: str) -> Pixels | None:
        """Read a layer's pixels; None when it is gone."""
        layer = _layer(name)
        return None if layer is None else read_reduced(layer, MAX_STYLE_SIDE)

    def layer_title(self, name: str) -> str | None:
        """The layer's name; None when it is gone."""
        layer = _layer(name)
        return None if layer is None else str(layer.get_name())


def _layer(number: str) -> Gimp.Layer | None:
    return Gimp.Layer.get_by_id(int(number)) if number.isdigit() else None


def save_style(layer: Gimp.Layer, title: str) -> Path:
    """Save the selected part of a layer, or all of it, as a picture in the user's own styles folder.

    Returns:
        The file; a server on this machine knows it by name at once.
    Raises:
        ChoiceError: Nothing of the layer is selected; or as adain_style.host.styles.save_style().
    """
    touches, left, top, width, height = layer.mask_intersect()
    if not touches:
        raise ChoiceError(_("The selection does not touch the layer '{name}'.").format(name=layer.get_name()))

    def write_png(path: Path) -> str:
        pixels = read_reduced(layer, MAX_STYLE_SIDE, part=(left, top, width, height))
        image = Gimp.Image.new(pixels.width, pixels.height, Gimp.ImageBaseType.RGB)
        try:
            picture = Gimp.Layer.new(
                image, title, pixels.width, pixels.height, Gimp.ImageType.RGBA_IMAGE, 100.0, Gimp.LayerMode.NORMAL
            )
            write_pixels(picture.get_buffer(), pixels)
            image.insert_layer(picture, None, 0)
            is_saved = Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(path)), None)
            return "" if is_saved else str(Gimp.get_pdb().get_last_error())
        finally:
            image.delete()

    return styles.save_style(title, write_png)
