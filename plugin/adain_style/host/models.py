"""The models that a user can choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adain_style.client.jobs import ModelInfo
from adain_style.client.texts import _


@dataclass(frozen=True)
class ModelEntry:
    """A model in a window's list.

    Attributes:
        name: As in StylizeSettings.
        title: The title that is shown. about: Everything else that is known of it.
    """

    name: str
    title: str
    about: str = ""


def model_entries(known: Sequence[ModelInfo], own: str, chosen: str) -> list[ModelEntry]:
    """Every model that can be chosen, the server's own first.

    Args:
        known: The server's models.
        own: The name of the model that the server was started with; one given as a folder need not be among them.
        chosen: The chosen model; it is always in the list, even when the server does not have it any more.
    """
    entries = {
        model.name: ModelEntry(
            model.name,
            model.title or model.name,
            "\n".join(filter(None, (model.description, ", ".join(filter(None, (model.origin, model.licence)))))),
        )
        for model in known
    }
    first = entries.pop(own, ModelEntry(own, own or _("The server's own")))
    if chosen not in ("", own, *entries):
        entries[chosen] = ModelEntry(chosen, chosen)
    # The server's own model may have been chosen by its name, at a time when another one was the server's own.
    return [replace(first, name=own if chosen == own else ""), *entries.values()]
