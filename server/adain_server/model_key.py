"""How both processes name a model."""

from __future__ import annotations

ModelKey = tuple[str, int]
"""A model's name, and the time of its file: one that was trained further is another one."""
OWN_MODEL: ModelKey = ("", 0)
"""The one that the server was started with."""
