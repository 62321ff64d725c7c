"""The hosts' list of models."""

from __future__ import annotations

from adain_style.client.jobs import ModelInfo
from adain_style.host.models import ModelEntry, model_entries

FIRST = ModelInfo("first", "First Light", "the first one", "trained here", "MIT", own=False)
MINE = ModelInfo("mine", "", "", "", "", own=True)


def test_servers_own_comes_first_and_needs_no_name() -> None:
    """Whatever the server's order; what is known of a model is said."""
    assert model_entries([MINE, FIRST], "first", "") == [
        ModelEntry("", "First Light", "the first one\ntrained here, MIT"),
        ModelEntry("mine", "mine"),
    ]


def test_servers_own_may_be_a_folder_that_is_not_listed() -> None:
    """It is called what the server calls it, and the others can still be chosen."""
    assert [entry.name for entry in model_entries([FIRST], "elsewhere", "")] == ["", "first"]
    assert model_entries([FIRST], "elsewhere", "")[0].title == "elsewhere"


def test_chosen_model_is_listed_even_when_it_is_gone() -> None:
    """A preset's model is not replaced in silence."""
    assert model_entries([FIRST], "first", "gone")[-1] == ModelEntry("gone", "gone")
    assert [entry.name for entry in model_entries([FIRST, MINE], "first", "mine")] == ["", "mine"]


def test_servers_own_may_be_chosen_by_its_name() -> None:
    """It stands in the list once."""
    assert [entry.name for entry in model_entries([FIRST, MINE], "mine", "mine")] == ["mine", "first"]


def test_without_a_server_there_is_nothing_to_choose() -> None:
    """One entry, which windows do not show."""
    assert len(model_entries([], "", "")) == 1
