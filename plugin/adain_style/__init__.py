"""The plug-in: its client of the server (also for scripts and notebooks), what hosts share, GIMP's part and Krita's.

The hosts get this whole folder. GIMP runs adain_style.py in it; Krita imports this package, which begins the plug-in.
"""

import sys

if "krita" in sys.modules:  # which only Krita has loaded before its plug-ins
    from adain_style.krita import plugin  # noqa: F401
