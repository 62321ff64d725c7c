#!/usr/bin/env python3
"""The plug-in's entry point in GIMP 3: registers its procedures, or a message in GIMP about a missing library."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# The package is this file's own folder, which the file would hide because it has the same name.
sys.path[0] = str(FOLDER.parent)
from adain_style.host.libraries import add_libraries  # noqa: E402

del sys.path[0]
add_libraries(FOLDER)

# A log of the windows' actions, with times, for debugging.
if log_file := os.environ.get("ADAIN_STYLE_LOG"):
    logging.basicConfig(filename=log_file, level=logging.DEBUG, format="%(relativeCreated)d %(message)s")

from adain_style.gimp.typelibs import Gimp, GLib  # noqa: E402  # after the path

try:
    from adain_style.gimp import procedures

    MISSING = ""
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"zmq", "msgpack"}:
        raise
    MISSING = error.name


class AdainStyle(Gimp.PlugIn):
    """The plug-in. Its menu entries and arguments are in adain_style.gimp.procedures."""

    def do_set_i18n(self, _name: str) -> bool:
        """Tell GIMP that the plug-in translates its texts itself, with the catalogues beside it."""
        return False

    def do_query_procedures(self) -> list[str]:
        """The names of all procedures."""
        return [INSTRUCTION] if MISSING else list(procedures.PROCEDURES)

    def do_create_procedure(self, name: str) -> Gimp.Procedure:
        """Create one of the procedures."""
        return _instruction(self, name) if MISSING else procedures.create(self, name)


INSTRUCTION = "plug-in-adain-style"


def _instruction(plug_in: Gimp.PlugIn, name: str) -> Gimp.Procedure:
    """Create the menu entry that explains what to do when this Python lacks a library."""
    from adain_style.client.texts import _

    sentence = _(
        "AdaIN Style needs the Python libraries zmq and msgpack, and GIMP's Python ({version}) has no {missing}. "
        "Run 'adain-plugin install gimp' once more, or on Debian and Ubuntu 'sudo apt install python3-zmq "
        "python3-msgpack'; then start GIMP again."
    ).format(version=sys.version.split()[0], missing=MISSING)

    def run(procedure: Gimp.Procedure, *_arguments: object) -> Gimp.ValueArray:
        return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(sentence))

    procedure = Gimp.ImageProcedure.new(plug_in, name, Gimp.PDBProcType.PLUGIN, run, None)
    procedure.set_image_types("*")
    procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE | Gimp.ProcedureSensitivityMask.NO_IMAGE)
    procedure.set_menu_label(_("_Stylize…"))
    procedure.add_menu_path("<Image>/Filters/AdaIN Style/")
    procedure.set_documentation(_("Paint a layer in the style of other pictures"), sentence, name)
    return procedure


Gimp.main(AdainStyle.__gtype__, sys.argv)
