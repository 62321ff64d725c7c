"""Taking out of a text what belongs to its user only: the home folder, the user's name, keys and passwords."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from adain_plugin.machine import Machine

USER_VARIABLES = ("USER", "LOGNAME", "USERNAME")
USER, SECRET = "USER", "SECRET"
"""What stands in the place of a name, and of a key."""
PASSWORD_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
"""Of the Hugging Face Hub."""
BEGINS = r"(?:(?<![^\W_])|(?<=\\[nrt]))"
"""No letter and no digit comes before; a line's end in JSON, which has a letter, is none."""


class Privacy:
    """Hides what one machine's user would not show to strangers."""

    def __init__(self, machine: Machine, secrets: Collection[str] = ()) -> None:
        """secrets: Keys that must not be seen, wherever they stand."""
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        homes = {machine.home, machine.home.resolve()}
        names = {machine.environment.get(variable, "") for variable in USER_VARIABLES} | {home.name for home in homes}
        # Where the home is the file system's root, as in containers, there is nothing to hide in it.
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
    """Finds a word as it is, and as a log's JSON has it: letters beyond ASCII and backslashes are escaped there."""
    forms = {word, json.dumps(word)[1:-1]}
    either = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(f"{BEGINS}(?:{either}){ends}", re.IGNORECASE)
