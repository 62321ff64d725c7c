"""Keys by which both processes identify a model."""

from __future__ import annotations

ModelKey = tuple[str, int]
"""A model's name and its file's modification time: a model that was trained further is a different one."""
OWN_MODEL: ModelKey = ("", 0)
"""The model that the server was started with."""
