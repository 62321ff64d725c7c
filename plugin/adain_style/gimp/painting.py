"""Painting a layer: the part that scripts and the window share, and the run of a script itself."""

from __future__ import annotations

import logging

from adain_style.client.jobs import Progress, StylizeResult
from adain_style.client.progress import TimeLeft, fraction
from adain_style.client.texts import _
from adain_style.gimp.layers import LayerError, check_unchanged, one_layer, read_layer, write_in_place, write_new_layer
from adain_style.gimp.requests import LayerContent, compose_for, read_content
from adain_style.gimp.styles import GimpStyleReader
from adain_style.gimp.typelibs import Gimp
from adain_style.host.requests import make_request
from adain_style.host.servers import open_server
from adain_style.host.settings import ServerSettings, StylizeSettings
from adain_style.host.styles import StyleResolver

log = logging.getLogger(__name__)

CLIENT_NAME = "GIMP"


def apply_result(content: LayerContent, settings: StylizeSettings, result: StylizeResult, name: str) -> str:
    """Put a result into the image, in one undo step.

    Returns:
        A sentence for the user, or "".
    Raises:
        LayerError: The layer was changed after it was read, or is locked; nothing has been changed.
    """
    layer = content.layer
    check_unchanged(layer, content.bounds)
    if settings.in_place:
        one_layer([layer])  # GIMP would silently write nothing into a layer that was locked during painting
        if read_layer(layer, alpha=False).digest != content.pixels.digest:
            raise LayerError(_("The layer was painted on meanwhile, so the result was dropped; try again."))
        write_in_place(layer, result.pixels)
    else:
        write_new_layer(layer, result.pixels, name)
    notices = [result.notice]
    if layer.is_indexed():
        notices.append(
            _("The image has a palette, so the result has only its colours; Image → Mode → RGB gives all of them.")
        )
    return " ".join(filter(None, notices))


def paint_layer(layer: Gimp.Layer, settings: StylizeSettings, server: ServerSettings) -> str:
    """Paint a layer and wait for the result, with GIMP's own progress bar.

    The bar's Cancel ends this process at once; the image is not touched before the result is there.

    Returns:
        A sentence for the user, or "".
    Raises:
        AdainError: It could not be painted; nothing has been changed.
    """
    log.debug("begun")
    Gimp.progress_init(_("AdaIN Style"))
    content = read_content(layer, settings)
    log.debug("read")
    left, styles = TimeLeft(), StyleResolver(GimpStyleReader())

    def show(progress: Progress) -> None:
        log.debug("painting %s %d/%d", progress.stage, progress.step, progress.steps)
        Gimp.progress_set_text(left.text(progress))
        Gimp.progress_update(fraction(progress))

    with open_server(server, name=CLIENT_NAME, on_start=Gimp.progress_set_text) as client:
        styles.known = client.styles()
        request = make_request(content, settings, styles.load(settings), compose=compose_for(settings))
        log.debug("opened")
        result = client.stylize(request, on_progress=show)
        log.debug("received")
    notice = apply_result(content, settings, result, styles.result_name(settings))
    log.debug("layer painted")
    Gimp.progress_end()
    Gimp.displays_flush()
    return notice
