"""Texts in the user's language: gettext, with the catalogues in the plug-in's folder."""

from __future__ import annotations

import gettext

from adain_style.client.folders import plugin_folder

DOMAIN = "adain-style"
LOCALE_FOLDER = plugin_folder() / "locale"

_catalogue = gettext.translation(DOMAIN, LOCALE_FOLDER, fallback=True)
IS_ENGLISH = type(_catalogue) is gettext.NullTranslations
"""Whether there is no catalogue in the user's language, so that texts appear as they are in the sources."""
_ = _catalogue.gettext
ngettext = _catalogue.ngettext
