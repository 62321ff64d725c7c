"""Removing private data from a text: the home folder, the user's name, keys and passwords."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from adain_plugin.machine import Machine

USER_VARIABLES = ("USER", "LOGNAME", "USERNAME")
USER, SECRET = "USER", "SECRET"
"""The replacements for a name, and for a key."""
PASSWORD_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
"""An access token of the Hugging Face Hub."""
BEGINS = r"(?:(?<![^\W_])|(?<=\\[nrt]))"
"""No letter or digit comes before, except for the letter of an escaped line end or tab in JSON."""


class Privacy:
    """Hides the private data of one machine's user."""

    def __init__(self, machine: Machine, secrets: Collection[str] = ()) -> None:
        """secrets: Keys that must not be seen anywhere."""
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        homes = {machine.home, machine.home.resolve()}
        names = {machine.environment.get(variable, "") for variable in USER_VARIABLES} | {home.name for home in homes}
        # A home that is the file system's root, as in containers, has nothing to hide.
        self._homes = [_pattern(str(home), r"(?![\w-])") for home in homes if home != home.parent]
        self._names = [_pattern(name, r"(?![^\W_])") for name in names if name]

    def hide(self, text: str) -> str:
        """The text, with ~ for the home folder, USER for the user's name and SECRET for keys and passwords."""
        for secret in self._secrets:
            text = text.replace(secret, SECRET)
        text = TOKEN.sub(SECRET, PASSWORD_IN_ADDRESS.sub(SECRET, text))
        for home in self._homes:
            text = home.sub("~", text)
        for name in self._names:
            text = name.sub(USER, text)
        return text


def _pattern(word: str, ends: str) -> re.Pattern[str]:
    """A pattern for a word as it is, and as in a log's JSON, with escaped backslashes and non-ASCII letters."""
    forms = {word, json.dumps(word)[1:-1]}
    either = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(f"{BEGINS}(?:{either}){ends}", re.IGNORECASE)
