"""What both hosts' windows say of the settings, and of the server. An underscore is before a label's key."""

from __future__ import annotations

from adain_client.client import ServerInfo
from adain_client.texts import _, ngettext

STRENGTH, STRENGTH_TIP = _("S_trength"), _("0 = the layer as it is, 100 = the full style")
COLOURS, COLOURS_TIP = _("C_olours"), _("Whose colours the result has")
COLOUR_NAMES = {
    "none": _("The styles' colours"),
    "match": _("The layer's palette"),
    "luminance": _("The layer's own colours"),
}
"""For each of protocol.PRESERVE_COLOR."""
FIT, FIT_TIP = (
    _("Strokes that _fit the layer's size"),
    _("Large layers get broader strokes, and are painted sooner"),
)
STROKES, STROKES_TIP = _("Stroke si_ze"), _("How broad strokes are: 1 = the finest, 8 = eight times broader")
DETAIL, DETAIL_TIP = _("_Detail"), _("How much of the layer's fine detail stays where strokes are broad")
MODEL, MODEL_TIP = _("Painted _with"), _("The model that paints; your own ones are listed here, too")
WHOLE_REGION = _("The selection, or the whole layer")
REGION_TIP = _("The part of the layer that the styles and sliders below are about")


def server_state(info: ServerInfo) -> str:
    """A line for the window's foot."""
    return _("Server ready on {device}, model {model}").format(device=info.device, model=info.model)


def server_described(info: ServerInfo) -> str:
    """Some lines for the server's own window."""
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
