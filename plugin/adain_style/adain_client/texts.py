"""Texts in the user's language: gettext, with the catalogues that lie beside this package in the plug-in's folder."""

from __future__ import annotations

import gettext
from pathlib import Path

DOMAIN = "adain-style"
LOCALE_FOLDER = Path(__file__).parent.parent / "locale"

_catalogue = gettext.translation(DOMAIN, LOCALE_FOLDER, fallback=True)
_ = _catalogue.gettext
ngettext = _catalogue.ngettext
