"""The progress of a job, for a bar and in words."""

from __future__ import annotations

import time
from collections.abc import Callable

from adain_style.client.client import ServerInfo
from adain_style.client.jobs import Progress
from adain_style.client.texts import _, ngettext

STAGES = {
    "fast": {
        "upload": (0.0, 0.05),
        "queued": (0.05, 0.05),
        "loading": (0.05, 0.05),
        "style": (0.05, 0.3),
        "encode": (0.3, 0.6),
        "decode": (0.6, 0.9),
        "enlarge": (0.9, 0.95),
        "download": (0.95, 1.0),
    },
    "fine": {
        "upload": (0.0, 0.05),
        "queued": (0.05, 0.05),
        "loading": (0.05, 0.05),
        "style": (0.05, 0.2),
        "encode": (0.2, 0.47),
        "decode": (0.47, 0.74),
        "refine-encode": (0.74, 0.83),
        "refine-decode": (0.83, 0.9),
        "enlarge": (0.9, 0.95),
        "download": (0.95, 1.0),
    },
    "best": {
        "upload": (0.0, 0.02),
        "queued": (0.02, 0.02),
        "loading": (0.02, 0.02),
        "style": (0.02, 0.04),
        "encode": (0.04, 0.06),
        "decode": (0.06, 0.08),
        "refine-encode": (0.08, 0.09),
        "refine-decode": (0.09, 0.1),
        "finish": (0.1, 0.97),
        "enlarge": (0.97, 0.98),
        "download": (0.98, 1.0),
    },
}
"""For each quality, where each stage begins and ends on a bar."""
STEADY_FROM = {"fast": 0.0, "fine": 0.0, "best": STAGES["best"]["finish"][0]}
"""The fraction from which progress is steady; how the finish compares with earlier stages depends on the device."""
STEADY_AFTER_S = 2.0
"""How long progress is observed before the time left is estimated, in seconds."""


def fraction(progress: Progress) -> float:
    """Return the fraction of the job that is done, 0..1."""
    begin, end = STAGES[progress.quality].get(progress.stage, (0.0, 1.0))
    # A host's bar raises errors for values beyond its end.
    return begin + (end - begin) * min(1.0, progress.step / max(progress.steps, 1))


def stage_text(stage: str) -> str:
    """Return a stage in words, for a bar."""
    texts = {
        "upload": _("Sending the layer"),
        "queued": _("Waiting for the server"),
        "loading": _("The server is loading its model"),
        "style": _("Looking at the styles"),
        "encode": _("Looking at the picture"),
        "decode": _("Painting"),
        "refine-encode": _("Looking at the brush strokes"),
        "refine-decode": _("Refining the brush strokes"),
        "finish": _("Finishing the picture"),
        "enlarge": _("Bringing back detail"),
        "download": _("Fetching the result"),
    }
    return texts.get(stage, stage)


def finish_seconds(info: ServerInfo, height: int, width: int, stroke_size: float) -> float | None:
    """Estimate how long a picture's whole finish takes, so that a user can decide whether to wait for it.

    Args:
        info: The server's; one that is not ready does not know yet, so ask it again.
        height, width: The layer's, in pixels.
        stroke_size: As in StylizeRequest: the picture is painted smaller by this factor.
    Returns:
        Seconds; None when the server does not know.
    """
    if info.finish_s_per_megapixel <= 0:
        return None
    pixels = max(1, round(height / stroke_size)) * max(1, round(width / stroke_size))
    return info.finish_s_per_megapixel * pixels / 1e6


class TimeLeft:
    """Estimates the time left from the progress since the first stage that computes, or since the finish began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: tuple[float, float] | None = None

    def seconds(self, progress: Progress) -> float | None:
        """Return the time left in seconds; None while it cannot be estimated."""
        now, done = self._clock(), fraction(progress)
        if progress.stage in ("upload", "queued", "loading") or done < STEADY_FROM[progress.quality]:
            return None
        if self._begun is None:
            self._begun = now, done
        since, at = self._begun
        if now - since < STEADY_AFTER_S or done <= at:
            return None
        return (now - since) * (1 - done) / (done - at)

    def text(self, progress: Progress) -> str:
        """Return the stage and the time left for the whole job, for a bar."""
        left = self.seconds(progress)
        stage = stage_text(progress.stage)
        if left is None:
            return _("{stage}…").format(stage=stage)
        if left >= 90:
            minutes = round(left / 60)
            rest = ngettext("{n} minute left", "{n} minutes left", minutes).format(n=minutes)
        else:
            seconds = max(1, round(left))
            rest = ngettext("{n} second left", "{n} seconds left", seconds).format(n=seconds)
        return f"{stage}, {rest}"
