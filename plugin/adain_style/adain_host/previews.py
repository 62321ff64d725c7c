"""Previews as the windows want them: a newer choice ends one that takes long, and a line says what one cannot show."""

from __future__ import annotations

from collections.abc import Callable

from adain_client.jobs import Pixels, StylizeRequest
from adain_client.texts import _
from adain_host.requests import DRAFT_SIDE, Content, shows_finer_strokes
from adain_host.session import Session
from adain_host.settings import StylizeSettings

MakeRequest = Callable[[int], StylizeRequest]


class PreviewSession(Session):
    """A session in which a preview at rest ends as soon as there is a newer choice; a draft is always finished."""

    _newest: MakeRequest | None = None
    _running: tuple[MakeRequest | None, int] = (None, DRAFT_SIDE)

    def preview(self, make_request: MakeRequest | None) -> None:
        """Show this soon, in place of every preview that waits or is painted for longer than a draft takes."""
        self._newest = make_request
        super().preview(None if make_request is None else self._noting(make_request))

    def _noting(self, make_request: MakeRequest) -> MakeRequest:
        """The same, but what it is asked for is known as long as that is painted."""

        def noting(side: int) -> StylizeRequest:
            self._running = make_request, side
            return make_request(side)

        return noting

    def _is_preview_unwanted(self) -> bool:
        running, side = self._running
        return super()._is_preview_unwanted() or (side > DRAFT_SIDE and running is not self._newest)


def preview_note(shown: Pixels, content: Content | None, settings: StylizeSettings) -> str:
    """What is said under a preview.

    Args:
        shown: The preview.
        content: What it was painted from; None when that is gone.
        settings: What the user has chosen.
    Returns:
        A sentence; "" where the preview shows what will be painted.
    """
    if content is None:
        return ""
    if max(shown.height, shown.width) == DRAFT_SIDE < max(content.pixels.height, content.pixels.width):
        return _("The preview is being painted…")
    return _("The strokes will be finer than shown here.") if shows_finer_strokes(content, settings) else ""
