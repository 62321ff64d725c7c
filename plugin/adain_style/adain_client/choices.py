"""What a user chose, as text that can be typed, kept in a file and read again: styles, regions, settings.

The syntax is the same in adain-stylize, in the hosts' script procedures and in presets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from adain_client import protocol
from adain_client.errors import AdainError
from adain_client.texts import _

SAVED_STYLE_SUFFIX = ".safetensors"
PICTURE_SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Of pictures that every server and every host can read."""
_CROP = re.compile(r"(?P<path>.+)\[(\d+),(\d+),(\d+),(\d+)\]")


class ChoiceError(AdainError):
    """What the user asked for cannot be done; the message is one sentence."""


@dataclass(frozen=True)
class StyleChoice:
    """A style as it was typed or clicked.

    Attributes:
        source: A name, a picture's or a saved style's file, or what else a host gives a meaning to.
        weight: Relative to the region's other styles.
    """

    source: str
    weight: float = 1.0


@dataclass(frozen=True)
class RegionChoice:
    """A part of the picture and what it gets; see adain_client.jobs.Region.

    Attributes:
        mask: What says where: a file, or a name that a host gives a meaning to; "" for everywhere.
    """

    styles: tuple[StyleChoice, ...] = ()
    alpha: float = 1.0
    preserve_color: str = "none"
    mask: str = ""


def parse_number(text: str, what: str, least: float, most: float = math.inf) -> float:
    """A number between two limits, both allowed. Raises ChoiceError, which says what it is the number of."""
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
    name, colon, weight = text.rpartition(":") if ":" in text else (text, "", "")
    if not name:
        raise ChoiceError(_("A style is STYLE or STYLE:WEIGHT, not '{text}'.").format(text=text))
    if not colon:
        return StyleChoice(name)
    return StyleChoice(name, parse_number(weight, _("The weight of style {name}").format(name=name), 0))


def parse_styles(text: str) -> list[StyleChoice]:
    """STYLE[:WEIGHT][+STYLE[:WEIGHT]...]. Raises ChoiceError."""
    names = [text] if _is_file(text) else text.split("+")
    return [parse_style(name) for name in names]


def parse_region(text: str, preserve_color: str = "none") -> RegionChoice:
    """MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR].

    Args:
        text: As above; COLOUR is one of protocol.PRESERVE_COLOR.
        preserve_color: When the text names none.
    Raises:
        ChoiceError: The text is not like that.
    """
    mask, separator, rest = text.partition("=")
    if not separator or not mask or not rest:
        raise ChoiceError(
            _("A region is MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR], not '{text}'.").format(text=text)
        )
    if not _is_file(rest) and rest.rpartition("@")[2] in protocol.PRESERVE_COLOR:
        rest, _at, preserve_color = rest.rpartition("@")
    alpha = 1.0
    if "@" in rest and not _is_file(rest):
        rest, _at, alpha_text = rest.rpartition("@")
        alpha = parse_number(alpha_text, _("The alpha of region {mask}").format(mask=mask), 0, 1)
    return RegionChoice(tuple(parse_styles(rest)), alpha, preserve_color, mask)


def picture_and_crop(text: str) -> tuple[Path, tuple[int, int, int, int] | None]:
    """PICTURE or PICTURE[LEFT,TOP,WIDTH,HEIGHT]; a file whose name ends in brackets is found first."""
    match = None if _is_file(text) else _CROP.fullmatch(text)
    if match is None:
        return Path(text), None
    left, top, width, height = (int(number) for number in match.groups()[1:])
    return Path(match["path"]), (left, top, width, height)


def style_name(text: str) -> str:
    """A file's name as a style's name: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64]


def style_files(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The styles of a user's folder, by name.

    Args:
        folder: It need not exist.
        suffixes: Those of pictures that can be read; saved styles are found as well, hidden files and others are not.
    """
    if not folder.is_dir():
        return {}
    wanted = {*suffixes, SAVED_STYLE_SUFFIX}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in wanted and path.is_file())
    named = {style_name(path.stem): path for path in files if not path.name.startswith(".")}
    return {name: named[name] for name in sorted(named) if name}


def _is_file(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long for a file's name, in a folder that may not be entered
        return False
