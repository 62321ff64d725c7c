"""Painting a layer: what a script's run and a window's run have in common, and the script's run itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from adain_client.choices import picture_and_crop
from adain_client.jobs import KnownStyle, Progress, StyleSource, StylizeResult
from adain_client.progress import TimeLeft, fraction
from adain_client.texts import _
from adain_gimp.layers import LayerError, check_unchanged, read_layer, write_in_place, write_new_layer
from adain_gimp.requests import LAYER_STYLE, Content, load_style, make_request, read_content
from adain_gimp.typelibs import Gimp
from adain_host.servers import open_server
from adain_host.settings import Choices, ServerChoice

log = logging.getLogger(__name__)

CLIENT_NAME = "GIMP"


def load_styles(choices: Choices, known: Iterable[KnownStyle]) -> dict[str, StyleSource]:
    """What goes over the wire for every style of the choices, by its source. Raises ChoiceError."""
    names = {style.name for style in known}
    return {style.source: load_style(style.source, names) for region in choices.regions for style in region.styles}


def result_name(choices: Choices, known: Iterable[KnownStyle]) -> str:
    """What a new layer is called: its styles."""
    titles = {style.name: style.title or style.name for style in known}
    sources = [style.source for region in choices.regions for style in region.styles if style.weight > 0]
    return " + ".join(dict.fromkeys(_title(source, titles) for source in sources))


def _title(source: str, titles: Mapping[str, str]) -> str:
    if source.startswith(LAYER_STYLE):
        layer = Gimp.Layer.get_by_id(int(source.removeprefix(LAYER_STYLE)))
        return str(layer.get_name()) if layer is not None else _("a layer")
    return titles.get(source) or picture_and_crop(source)[0].stem


def apply_result(content: Content, choices: Choices, result: StylizeResult, name: str) -> str:
    """Put a result into the image, in one undo step.

    Returns:
        A sentence for the user, or "".
    Raises:
        LayerError: The layer is not what it was when it was read; nothing has been changed.
    """
    layer = content.layer
    check_unchanged(layer, content.place)
    if not choices.in_place:
        write_new_layer(layer, result.pixels, name)
    elif read_layer(layer, alpha=False).digest != content.pixels.digest:
        raise LayerError(_("The layer was painted on meanwhile, so the result was dropped; try again."))
    else:
        write_in_place(layer, result.pixels)
    notices = [result.notice]
    if layer.is_indexed():
        notices.append(
            _("The image has a palette, so the result has only its colours; Image → Mode → RGB gives all of them.")
        )
    return " ".join(filter(None, notices))


def paint_layer(layer: Gimp.Layer, choices: Choices, server: ServerChoice) -> str:
    """Paint a layer and wait for it, with GIMP's own progress bar.

    The bar's Cancel ends this process at once; nothing of the image has been touched before the result is there.

    Returns:
        A sentence for the user, or "".
    Raises:
        AdainError: It could not be painted; nothing has been changed.
    """
    log.debug("begun")
    Gimp.progress_init(_("AdaIN Style"))
    content = read_content(layer, choices)
    log.debug("read")
    left = TimeLeft()

    def show(progress: Progress) -> None:
        log.debug("painting %s %d/%d", progress.stage, progress.step, progress.steps)
        Gimp.progress_set_text(left.text(progress))
        Gimp.progress_update(fraction(progress))

    with open_server(server, name=CLIENT_NAME, on_start=Gimp.progress_set_text) as client:
        known = client.styles()
        request = make_request(content, choices, load_styles(choices, known))
        log.debug("opened")
        result = client.stylize(request, on_progress=show)
        log.debug("received")
    notice = apply_result(content, choices, result, result_name(choices, known))
    log.debug("painted")
    Gimp.progress_end()
    Gimp.displays_flush()
    return notice
