"""The plug-in: its client of the server (also for scripts and notebooks), the hosts' shared part, and one for each.

The hosts get this whole folder. GIMP runs adain_style.py in it; Krita imports this package, which starts the plug-in.
"""

import sys

if "krita" in sys.modules:  # only Krita has this module, loaded before its plug-ins
    from adain_style.krita import plugin  # noqa: F401
