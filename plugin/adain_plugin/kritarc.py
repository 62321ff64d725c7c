"""The one line in Krita's settings that lets it load the plug-in.

The file has KDE's KConfig format: groups in brackets, lines of key=value; the last line with a key counts.
Every other byte is kept, because Krita has all its settings in this file.
"""

from __future__ import annotations

from adain_plugin.question import PLUGIN

GROUP = b"[python]"
KEY = b"enable_" + PLUGIN.encode()
TRUE = {b"true", b"on", b"yes", b"1"}


def is_enabled(text: bytes) -> bool:
    """Whether Krita loads the plug-in."""
    lines = text.splitlines(keepends=True)
    ours = _ours(lines)
    return bool(ours) and lines[ours[-1]].partition(b"=")[2].strip().lower() in TRUE


def enable(text: bytes) -> bytes:
    """Return the file's text with the line."""
    if is_enabled(text):
        return text
    lines = text.splitlines(keepends=True)
    newline = b"\r\n" if b"\r\n" in text else b"\n"
    if lines and not lines[-1].endswith((b"\n", b"\r")):
        lines[-1] += newline
    ours = _ours(lines)
    groups = [number for number, line in enumerate(lines) if line.strip() == GROUP]
    if ours:
        line = lines[ours[-1]]
        end = line[len(line.rstrip(b"\r\n")) :]
        lines[ours[-1]] = line.partition(b"=")[0] + b"=true" + end
    elif groups:
        lines.insert(groups[-1] + 1, KEY + b"=true" + newline)
    else:
        lines += [newline] * bool(lines) + [GROUP + newline, KEY + b"=true" + newline]
    return b"".join(lines)


def disable(text: bytes) -> bytes:
    """Return the file's text without the line."""
    lines = text.splitlines(keepends=True)
    ours = set(_ours(lines))
    return b"".join(line for number, line in enumerate(lines) if number not in ours)


def _ours(lines: list[bytes]) -> list[int]:
    group, found = b"", []
    for number, line in enumerate(lines):
        if line.lstrip().startswith(b"["):
            group = line.strip()
        elif group == GROUP and line.partition(b"=")[0].strip() == KEY:
            found.append(number)
    return found
