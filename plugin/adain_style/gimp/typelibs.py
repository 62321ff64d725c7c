"""GIMP's libraries in the required versions; these need no display."""

from __future__ import annotations

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")
gi.require_version("Babl", "0.1")

from gi.repository import Gegl, Gimp, Gio, GLib, GObject  # noqa: E402  # only after the versions have been chosen

__all__ = ["GLib", "GObject", "Gegl", "Gimp", "Gio"]
