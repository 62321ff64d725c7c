"""The line under a preview, which says what the preview cannot show."""

from __future__ import annotations

from adain_style.client.jobs import Pixels
from adain_style.client.texts import _
from adain_style.host.requests import DRAFT_SIDE, Content, shows_finer_strokes
from adain_style.host.settings import StylizeSettings


def preview_note(shown: Pixels, content: Content | None, settings: StylizeSettings) -> str:
    """The line under a preview.

    Args:
        shown: The preview.
        content: The layer that it was painted from; None when that is gone.
        settings: The user's choices.
    Returns:
        A sentence; "" where the preview shows what will be painted.
    """
    if content is None:
        return ""
    if max(shown.height, shown.width) == DRAFT_SIDE < max(content.pixels.height, content.pixels.width):
        return _("The preview is being painted…")
    return _("The strokes will be finer than shown here.") if shows_finer_strokes(content, settings) else ""
