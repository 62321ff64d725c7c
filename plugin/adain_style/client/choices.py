"""A user's choices as text that can be typed, kept in a file and read again: styles, regions, settings.

The syntax is the same in adain-stylize, in the hosts' script procedures and in presets. Where a name has one of its
signs, an existing file is found first, and a mask or style in double quotes is taken as it is: "a=b.png"="c+d@2.png":2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from adain_style.client import protocol
from adain_style.client.errors import AdainError
from adain_style.client.texts import _

SAVED_STYLE_SUFFIX = ".safetensors"
PICTURE_SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Suffixes of pictures that every server and every host can read."""
_CROP = re.compile(r"(?P<path>.+)\[(\d+),(\d+),(\d+),(\d+)\]")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_ADDRESS = re.compile(r"(?:https?|ftp|file|data|hf):/", re.IGNORECASE)
_QUOTED = re.compile(r"""(?<![^=+])"((?:[^"]|"")*)"(?=[=:+@[]|$)""")
"""A whole mask or style in double quotes; quotes elsewhere belong to a name."""


class ChoiceError(AdainError):
    """The user's request cannot be carried out; the message is one sentence."""


def is_saved_style(path: Path) -> bool:
    """Whether a file is a style with its statistics, by its name, and not a picture."""
    return path.suffix.lower() == SAVED_STYLE_SUFFIX


@dataclass(frozen=True)
class StyleChoice:
    """A style as it was typed or clicked.

    Attributes:
        source: A name, the file of a picture or of a saved style, or anything else that a host gives a meaning to.
        weight: Relative to the region's other styles.
    """

    source: str
    weight: float = 1.0


@dataclass(frozen=True)
class RegionChoice:
    """A part of the picture and what it gets; see adain_style.client.jobs.Region.

    Attributes:
        mask: A file, or a name that a host gives a meaning to; "" for everywhere.
    """

    styles: tuple[StyleChoice, ...] = ()
    alpha: float = 1.0
    preserve_color: str = "none"
    mask: str = ""


def parse_number(text: str, what: str, least: float, most: float = math.inf) -> float:
    """Read a number between two limits, both allowed. Raises ChoiceError, whose message begins with `what`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ChoiceError(_("{what} is a number, not '{text}'.").format(what=what, text=text))
    if value < least and most == math.inf:
        raise ChoiceError(_("{what} is at least {least:g}, not {text}.").format(what=what, least=least, text=text))
    if not least <= value <= most:
        raise ChoiceError(
            _("{what} is between {least:g} and {most:g}, not {text}.").format(
                what=what, least=least, most=most, text=text
            )
        )
    return value


def parse_style(text: str) -> StyleChoice:
    """STYLE or STYLE:WEIGHT; a file whose name has a colon is found first. Raises ChoiceError."""
    if _is_file(text):
        return StyleChoice(text)
    refuse_address(text)
    colon = _bare(text).rfind(":", 2 if _DRIVE.match(text) else 0)
    name = _unquoted(text if colon < 0 else text[:colon])
    if not name:
        raise ChoiceError(_("A style is STYLE or STYLE:WEIGHT, not '{text}'.").format(text=text))
    if colon < 0:
        return StyleChoice(name)
    return StyleChoice(name, parse_number(text[colon + 1 :], _("The weight of style {name}").format(name=name), 0))


def parse_styles(text: str) -> list[StyleChoice]:
    """STYLE[:WEIGHT][+STYLE[:WEIGHT]...]. Raises ChoiceError."""
    if _is_file(text):
        return [parse_style(text)]
    cuts = [-1, *(place for place, sign in enumerate(_bare(text)) if sign == "+"), len(text)]
    return [parse_style(text[before + 1 : after]) for before, after in pairwise(cuts)]


def parse_region(text: str, preserve_color: str = "none") -> RegionChoice:
    """MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR].

    Args:
        text: As above; COLOUR is one of protocol.PRESERVE_COLOR.
        preserve_color: The default for a text that names none.
    Raises:
        ChoiceError: The text does not follow this syntax.
    """
    mask, rest = _mask_and_styles(text)
    if not mask or not rest:
        raise ChoiceError(
            _("A region is MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR], not '{text}'.").format(text=text)
        )
    refuse_address(mask)
    rest, last = _behind_at(rest)
    if last in protocol.PRESERVE_COLOR:
        preserve_color = last
        rest, last = _behind_at(rest)
    alpha = 1.0 if last is None else parse_number(last, _("The alpha of region {mask}").format(mask=mask), 0, 1)
    return RegionChoice(tuple(parse_styles(rest)), alpha, preserve_color, mask)


def _mask_and_styles(text: str) -> tuple[str, str]:
    """A region's two sides; "" where one is missing."""
    signs = [place for place, sign in enumerate(_bare(text)) if sign == "="]
    after_file = (place for place in signs if _is_file(text[:place]))
    place = next(after_file, signs[0] if signs else len(text))
    return _unquoted(text[:place]), text[place + 1 :]


def _behind_at(text: str) -> tuple[str, str | None]:
    """Split the text at the last @ that is part of the syntax; the second part is None when there is none."""
    place = -1 if _is_file(text) or _ADDRESS.match(text) else _bare(text).rfind("@")
    return (text, None) if place < 0 else (text[:place], text[place + 1 :])


def refuse_address(text: str) -> None:
    """Raise ChoiceError when the text is a network address, or a file's address instead of its path."""
    if not _ADDRESS.match(text) or _is_file(text):
        return
    if text.lower().startswith("file:"):
        raise ChoiceError(_("'{text}' is an address; name the file by its path instead.").format(text=text))
    raise ChoiceError(_("'{text}' is an address, not a file; download it first and name the file.").format(text=text))


def _bare(text: str) -> str:
    """Blank everything between double quotes, so that the signs left are syntax; the text keeps its length."""
    return _QUOTED.sub(lambda match: '"' * len(match[0]), text)


def _unquoted(text: str) -> str:
    """A mask or style without the quotes around it; two of them inside stand for one."""
    return _QUOTED.sub(lambda match: match[1].replace('""', '"'), text)


def picture_and_crop(text: str) -> tuple[Path, tuple[int, int, int, int] | None]:
    """PICTURE or PICTURE[LEFT,TOP,WIDTH,HEIGHT]; a file whose name ends in brackets is found first."""
    match = None if _is_file(text) else _CROP.fullmatch(text)
    if match is None:
        return Path(text), None
    # A number of ten digits lies outside of every picture; Python refuses to read one of thousands.
    left, top, width, height = (int(number.lstrip("0")[:10] or "0") for number in match.groups()[1:])
    return Path(match["path"]), (left, top, width, height)


def style_name(text: str) -> str:
    """A file's name as a style's name: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64]


def style_files(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The styles of a user's folder, by name.

    Args:
        folder: It need not exist, nor be open to this user.
        suffixes: The suffixes of pictures that can be read. Saved styles are found as well; hidden files, files whose
            names are not printable, and others are not.
    """
    wanted = {*suffixes, SAVED_STYLE_SUFFIX}
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in wanted and path.is_file())
    except OSError:
        return {}
    # A name that cannot be displayed is of no use to people, and a message cannot hold it.
    shown = [path for path in files if not path.name.startswith(".") and path.name.isprintable()]
    named = {style_name(path.stem): path for path in shown}
    return {name: named[name] for name in sorted(named) if name}


def _is_file(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long for a file's name, in a folder that may not be entered
        return False
