"""A user's choices in a window so far, and how each click changes them. It has no widgets: they show these choices."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from adain_style.client.choices import ChoiceError, RegionChoice, StyleChoice
from adain_style.client.texts import _
from adain_style.host.settings import MAX_CHOSEN_STYLES, StylizeSettings
from adain_style.host.styles import LAYER_STYLE


class SettingsEditor:
    """The settings, and the region that the widgets show.

    Attributes:
        settings: The choices. region: The index of the region that is shown.
    """

    def __init__(self, settings: StylizeSettings) -> None:
        self.settings = settings
        self.region = 0

    @property
    def current(self) -> RegionChoice:
        """The region that is shown."""
        return self.settings.regions[self.region]

    @property
    def is_complete(self) -> bool:
        """Whether every region has a style."""
        return all(any(style.weight > 0 for style in region.styles) for region in self.settings.regions)

    def use(self, settings: StylizeSettings) -> None:
        """Replace all choices, and show the first region."""
        self.settings, self.region = settings, 0

    def change(self, **changes: Any) -> None:
        """Change settings that are the same for all regions."""
        self.settings = replace(self.settings, **changes)

    def change_region(self, **changes: Any) -> None:
        """Change the region that is shown."""
        regions = list(self.settings.regions)
        regions[self.region] = replace(self.current, **changes)
        self.settings = replace(self.settings, regions=tuple(regions))

    def pick(self, source: str, *, adds: bool) -> None:
        """Choose a style that was clicked.

        Args:
            source: The style's source.
            adds: Whether to add it to the mix, or take it out when it is there; False to choose it alone.
        Raises:
            ChoiceError: The mix is full.
        """
        chosen = [style.source for style in self.current.styles]
        if not adds:
            self.change_region(styles=(StyleChoice(source),))
        elif source in chosen:
            self.choose([other for other in chosen if other != source])
        else:
            self.choose([*chosen, source])

    def choose(self, sources: Collection[str]) -> None:
        """Reduce or extend the mix to exactly these styles; those already in it keep their places and weights.

        Raises:
            ChoiceError: There are too many.
        """
        if len(sources) > MAX_CHOSEN_STYLES:
            raise ChoiceError(_("A mix has at most {n} styles; take one out first.").format(n=MAX_CHOSEN_STYLES))
        kept = [style for style in self.current.styles if style.source in sources]
        known = {style.source for style in kept}
        self.change_region(styles=(*kept, *(StyleChoice(source) for source in sources if source not in known)))

    def change_regions(self, masks: Sequence[str], shown: int) -> None:
        """Add or remove regions; a new one begins as a copy of the one that was shown.

        Args:
            masks: The masks of all regions from now on.
            shown: The index of the region that is shown from now on.
        """
        old = {region.mask: region for region in self.settings.regions}
        regions = tuple(replace(old.get(mask, self.current), mask=mask) for mask in masks)
        self.settings, self.region = replace(self.settings, regions=regions), shown


def usable(settings: StylizeSettings, masks: Collection[str]) -> StylizeSettings:
    """Remembered settings without layers, which may be closed by now, and without regions that the document lacks.

    Args:
        settings: As they were remembered.
        masks: The names of the masks that there are now.
    """
    regions = tuple(
        replace(region, styles=tuple(s for s in region.styles if not s.source.startswith(LAYER_STYLE)))
        for region in _known_regions(settings, masks)
    )
    return replace(settings, regions=regions or StylizeSettings().regions)


def repeatable(settings: StylizeSettings, masks: Collection[str]) -> StylizeSettings:
    """The settings that were painted with last, without regions that the document, maybe another one, lacks.

    Args:
        settings: As they were remembered.
        masks: The names of the masks that there are now.
    Raises:
        ChoiceError: Nothing is left, or nothing has been painted yet.
    """
    if not any(region.styles for region in settings.regions):
        raise ChoiceError(_("Nothing has been painted yet that could be repeated; use Stylize first."))
    regions = _known_regions(settings, masks)
    if not any(region.styles for region in regions):
        raise ChoiceError(_("This picture has none of the regions that were painted last; use Stylize."))
    return replace(settings, regions=regions)


def _known_regions(settings: StylizeSettings, masks: Collection[str]) -> tuple[RegionChoice, ...]:
    return tuple(region for region in settings.regions if region.mask == "" or region.mask in masks)
