#!/usr/bin/env python3
"""Runs in GIMP, as a plug-in of its own: does what tests send while another one works; see gimp.Gimp.meanwhile()."""

from __future__ import annotations

import os
import sys
import time  # noqa: F401  # scripts use it
import traceback
from multiprocessing.connection import Client
from typing import Any

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")

from gi.repository import Gegl, Gimp  # noqa: E402  # of GIMP's Python

NAME = "adain-tests-meanwhile"


def look(image: Gimp.Image) -> list[tuple[tuple[int, ...], tuple[int, int], bytes]]:
    """Place, size and stored pixels of every layer."""
    found = []
    for layer in image.get_layers():
        size = layer.get_width(), layer.get_height()
        pixels = layer.get_buffer().get(Gegl.Rectangle.new(0, 0, *size), 1.0, None, Gegl.AbyssPolicy.NONE)
        found.append((tuple(layer.get_offsets()[1:]), size, bytes(pixels)))
    return found


class Meanwhile(Gimp.PlugIn):  # type: ignore[misc]  # GIMP has no types here
    """One procedure, which GIMP runs at its start, because it takes nothing; it ends with the test's connection."""

    def do_query_procedures(self) -> list[str]:
        """What there is."""
        return [NAME]

    def do_create_procedure(self, name: str) -> Gimp.Procedure:
        """One that goes on while GIMP does."""
        return Gimp.Procedure.new(self, name, Gimp.PDBProcType.PERSISTENT, self._serve, None)

    def _serve(self, procedure: Gimp.Procedure, _config: Any, _data: Any) -> Gimp.ValueArray:
        Gegl.init(None)
        with Client(os.environ["ADAIN_TEST_MEANWHILE"]) as connection:
            procedure.persistent_ready()
            while True:
                try:
                    source, values = connection.recv()
                except EOFError:
                    return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)
                try:
                    scope = dict(globals())
                    exec(source, scope)  # noqa: S102  # that is what it is for
                    connection.send((scope["script"](**values), ""))
                except Exception:
                    connection.send((None, traceback.format_exc()))


Gimp.main(Meanwhile.__gtype__, sys.argv)
