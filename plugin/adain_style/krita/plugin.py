"""The plug-in's entry in Krita: registers the menu and the panel; says in Krita what is missing when it cannot run."""

from __future__ import annotations

import logging
import os

from adain_style.client.folders import plugin_folder
from adain_style.host.libraries import add_libraries

add_libraries(plugin_folder())

# What the panel does, with times, for whoever looks for a fault; other plug-ins share this Python.
if log_file := os.environ.get("ADAIN_STYLE_LOG"):
    handler = logging.FileHandler(log_file)
    handler.setFormatter(logging.Formatter("%(relativeCreated)d %(message)s"))
    logging.getLogger("adain_style").addHandler(handler)
    logging.getLogger("adain_style").setLevel(logging.DEBUG)

try:
    from adain_style.krita.extension import register
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"zmq", "msgpack"}:
        raise
    from adain_style.krita.instruction import register_instruction

    register_instruction(error.name)
else:
    register()
