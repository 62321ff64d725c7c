"""What a user has chosen so far in a window, and what each click makes of it. No widget: those show what is here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from adain_style.client.choices import ChoiceError, RegionChoice, StyleChoice
from adain_style.client.texts import _
from adain_style.host.settings import MAX_CHOSEN_STYLES, StylizeSettings
from adain_style.host.styles import LAYER_STYLE


class SettingsEditor:
    """The settings, and the region that the widgets are about.

    Attributes:
        settings: What is chosen. region: The index of the region that is shown.
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
        """Every region has a style."""
        return all(any(style.weight > 0 for style in region.styles) for region in self.settings.regions)

    def use(self, settings: StylizeSettings) -> None:
        """Choose all of this instead."""
        self.settings, self.region = settings, 0

    def change(self, **changes: Any) -> None:
        """Change what is the same for all regions."""
        self.settings = replace(self.settings, **changes)

    def change_region(self, **changes: Any) -> None:
        """Change the region that is shown."""
        regions = list(self.settings.regions)
        regions[self.region] = replace(self.current, **changes)
        self.settings = replace(self.settings, regions=tuple(regions))

    def pick(self, source: str, *, adds: bool) -> None:
        """A style was clicked.

        Args:
            source: The style's.
            adds: It goes into the mix, or out of it when it is there; False to have it alone.
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
        """Have these styles in the mix and no others; those that are in it keep their places and weights.

        Raises:
            ChoiceError: They are too many.
        """
        if len(sources) > MAX_CHOSEN_STYLES:
            raise ChoiceError(_("A mix has at most {n} styles; take one out first.").format(n=MAX_CHOSEN_STYLES))
        kept = [style for style in self.current.styles if style.source in sources]
        known = {style.source for style in kept}
        self.change_region(styles=(*kept, *(StyleChoice(source) for source in sources if source not in known)))

    def change_regions(self, masks: Sequence[str], shown: int) -> None:
        """Regions were added or removed; a new one begins as the one that was shown.

        Args:
            masks: Of all regions that there are to be.
            shown: The index of the one that is shown from now on.
        """
        old = {region.mask: region for region in self.settings.regions}
        regions = tuple(replace(old.get(mask, self.current), mask=mask) for mask in masks)
        self.settings, self.region = replace(self.settings, regions=regions), shown


def usable(settings: StylizeSettings, masks: Collection[str]) -> StylizeSettings:
    """Settings of another time, without layers that may be closed by now and regions that a document has not.

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
    """What was painted with last, for a document that may be another one: without regions that it has not.

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
