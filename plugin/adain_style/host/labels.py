"""The texts of both hosts' windows for the settings and the server. An underscore precedes a label's access key."""

from __future__ import annotations

from adain_style.client.client import ServerInfo
from adain_style.client.errors import RequestError
from adain_style.client.progress import finish_seconds
from adain_style.client.texts import IS_ENGLISH, _, ngettext
from adain_style.host.requests import Content, painted_size
from adain_style.host.settings import ServerSettings, StylizeSettings

STRENGTH, STRENGTH_TIP = _("S_trength"), _("0 = the layer as it is, 100 = the full style")
COLOURS, COLOURS_TIP = _("C_olours"), _("Whose colours the result has")
COLOUR_NAMES = {
    "none": _("The styles' colours"),
    "match": _("The layer's palette"),
    "luminance": _("The layer's own colours"),
}
"""The names of protocol.PRESERVE_COLOR."""
FIT, FIT_TIP = (
    _("Strokes that _fit the layer's size"),
    _("Large layers get broader strokes, and are painted sooner"),
)
STROKES, STROKES_TIP = _("Stroke si_ze"), _("How broad strokes are: 1 = the finest, 8 = eight times broader")
DETAIL, DETAIL_TIP = _("_Detail"), _("How much of the layer's fine detail stays where strokes are broad")
QUALITY, QUALITY_ABOUT = _("_Quality"), _("How much work goes into the picture")
QUALITY_NAMES = {"fast": _("Quick"), "fine": _("Fine"), "best": _("Finished")}
"""The names of protocol.QUALITY."""
QUALITY_MEANINGS = {
    "fast": _("Painted in one pass"),
    "fine": _("Then the brush strokes are refined"),
    "best": _("Then worked over step by step, until it is as like the styles as it gets; this takes long"),
}
QUALITY_TIP = "\n".join(
    (QUALITY_ABOUT, *(f"{name}: {QUALITY_MEANINGS[quality]}" for quality, name in QUALITY_NAMES.items()))
)
KEEP, KEEP_TIP = _("_Keep this"), _("Ends the finish; the picture as it is now becomes the result")
KEEPING = _("Keeping the picture as it is now…")
MODEL, MODEL_TIP = _("_Model"), _("The model that paints; your own ones are listed here, too")
WHOLE_REGION = _("The selection, or the whole layer")
REGION_TIP = _("The part of the layer that the styles and sliders below are about")
SERVER_ERRORS = {
    "BAD_DIGEST": _("The pixels were damaged on their way; try again."),
    "BAD_MODEL": _("The server cannot use this model; choose another one."),
    "BAD_PIXELS": _("A style has no visible pixel; choose another layer or picture."),
    "BAD_STYLE": _("The server cannot read one of the styles; choose another one, or save it again."),
    "BUSY": _("The server is busy; try again in a few seconds."),
    "EXPIRED": _("The picture waited too long and was given up; try again."),
    "INTERNAL": _("The server made a mistake; its log says more."),
    "OUT_OF_MEMORY": _("The server has too little memory for this; choose broader strokes, or scale the layer down."),
    "SHUTTING_DOWN": _("The server is ending; try again."),
    "TOO_LARGE": _("This is too large for the server; scale the layer down, or use fewer regions."),
    "UNKNOWN_MODEL": _("The server no longer has this model; choose another one."),
    "UNKNOWN_STYLE": _("The server does not have one of the styles; choose another one."),
    "WORKER_LOST": _("The process that was painting died; it is started again, so try again."),
}
"""Sentences for those of protocol.ERRORS that a user can meet; the others are a program's mistakes."""


def worded(error: RequestError, *, is_english: bool = IS_ENGLISH) -> RequestError:
    """Word a server's error in the user's language.

    The server's own English sentence may name sizes and styles, so it is kept where English is the user's language, and
    for codes that only a program's mistake can cause.
    """
    if is_english or error.code not in SERVER_ERRORS:
        return error
    sentence = SERVER_ERRORS[error.code]
    return RequestError(error.code, sentence, retryable=error.retryable, retry_after_s=error.retry_after_s)


def finish_forecast(
    info: ServerInfo | None,
    server: ServerSettings,
    settings: StylizeSettings,
    content: Content | None,
    *,
    pictures: int = 1,
) -> str:
    """Tell how long the finish will take, before it begins.

    Args:
        info: The server's description of itself; None without a server.
        server: Which server that is.
        settings: The settings that will be painted with.
        content: The layer, reduced; None when no layer could be painted.
        pictures: How many of this size are painted one after the other.
    Returns:
        A sentence; "" when nothing is to be finished, or the time is not known.
    """
    if info is None or content is None or settings.quality != "best":
        return ""
    strokes = settings.strokes_for(content.height, content.width)
    seconds = finish_seconds(info, *painted_size(content, settings), strokes)
    if seconds is None:
        return ""
    here, there = _("The finish takes {time} on this machine."), _("The finish takes {time} on the server.")
    return (there if server.remote else here).format(time=_about(pictures * seconds))


def _about(seconds: float) -> str:
    """Word a length of time, no more exactly than it can be known."""
    if seconds < 90:
        n = max(1, round(seconds)) if seconds < 10 else 5 * round(seconds / 5)
        return ngettext("about {n} second", "about {n} seconds", n).format(n=n)
    if seconds < 90 * 60:
        n = round(seconds / 60)
        return ngettext("about {n} minute", "about {n} minutes", n).format(n=n)
    n = round(seconds / 3600)
    return ngettext("about {n} hour", "about {n} hours", n).format(n=n)


def server_state(info: ServerInfo) -> str:
    """The server's state as a line at the bottom of the window."""
    return _("Server ready on {device}, model {model}").format(device=info.device, model=info.model)


def server_described(info: ServerInfo) -> str:
    """The server's state as some lines for the server's own window."""
    state = _("Ready on {device}, model {model}.") if info.ready else _("Loading: {device}, model {model}.")
    jobs = ngettext("{n} picture in work.", "{n} pictures in work.", info.jobs).format(n=info.jobs)
    lines = [state.format(device=info.device, model=info.model), f"{jobs} " + _("Version {v}.").format(v=info.server)]
    if info.idle_timeout_s:
        minutes = round(info.idle_timeout_s / 60)
        lines.append(
            ngettext("Ends after {n} minute without work.", "Ends after {n} minutes without work.", minutes).format(
                n=minutes
            )
        )
    return "\n".join(lines)
