"""The plug-in's entry point in Krita: registers menu and panel, or a message in Krita about a missing library."""

from __future__ import annotations

import logging
import os

from adain_style.client.folders import plugin_folder
from adain_style.host.libraries import add_libraries

add_libraries(plugin_folder())

# A log of the panel's actions, with times, for debugging; only for this plug-in, as others share this Python.
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
