"""Every text that the plug-in shows is translated into every language there is; make texts does what a test wants."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po

from adain_style.client.texts import DOMAIN, LOCALE_FOLDER

KEYWORDS = {"_": None, "ngettext": (1, 2)}
LANGUAGES = sorted(path.parent.parent.name for path in LOCALE_FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))

each_language = pytest.mark.parametrize("language", LANGUAGES)


def _file(language: str, suffix: str) -> Path:
    return LOCALE_FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}{suffix}"


def _catalogue(language: str) -> Catalog:
    with _file(language, ".po").open("rb") as file:
        return read_po(file, locale=language)


def _messages(catalogue: Catalog) -> list[Message]:
    """All but the header."""
    return [message for message in catalogue if message.id]


def _forms(texts: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    """The singular and the plurals, or the only form."""
    return (texts,) if isinstance(texts, str) else tuple(texts or ())


def _translations(catalogue: Catalog) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {_forms(message.id): _forms(message.string) for message in _messages(catalogue)}


def _placeholders(text: str) -> set[tuple[str, str | None]]:
    return {(name, form) for _text, name, form, _conversion in string.Formatter().parse(text) if name is not None}


@each_language
def test_every_marked_text_is_translated(language: str) -> None:
    """The catalogue has the texts that the sources mark and no others; each has all its forms, and none is a guess."""
    found = extract_from_dir(LOCALE_FOLDER.parent, [("**.py", "python")], keywords=KEYWORDS)
    marked = {message for _file, _line, message, _comments, _context in found}
    catalogue = _catalogue(language)
    messages = _messages(catalogue)
    assert {message.id for message in messages} == marked
    assert not catalogue.obsolete
    assert [message.id for message in messages if message.fuzzy] == []
    for message in messages:
        forms = _forms(message.string)
        assert len(forms) == (catalogue.num_plurals if message.pluralizable else 1), message.id
        assert all(forms), message.id


@each_language
def test_compiled_catalogue_is_that_of_the_texts(language: str) -> None:
    """The .mo file says what the .po file compiles to, whichever version of Babel made it."""
    compiled = BytesIO()
    write_mo(compiled, _catalogue(language))
    compiled.seek(0)
    wanted = read_mo(compiled)
    with _file(language, ".mo").open("rb") as file:
        committed = read_mo(file)
    assert _translations(committed) == _translations(wanted)
    assert (committed.charset, committed.plural_forms) == (wanted.charset, wanted.plural_forms)


@each_language
def test_placeholders_are_the_original_s(language: str) -> None:
    """A translation has the placeholders of the original, written the same way, in all its forms."""
    for message in _messages(_catalogue(language)):
        wanted = {frozenset(_placeholders(text)) for text in _forms(message.id)}
        assert {frozenset(_placeholders(text)) for text in _forms(message.string)} == wanted, message.id


@each_language
def test_mnemonics_are_where_the_original_has_one(language: str) -> None:
    """A translation underlines one letter if the original does, and none if it does not."""
    for message in _messages(_catalogue(language)):
        wanted = {text.count("_") for text in _forms(message.id)}
        assert {text.count("_") for text in _forms(message.string)} == wanted, message.id


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("de", ["Wählen Sie mindestens einen Stil.", "noch {n} Minute", "noch {n} Minuten"]),
        ("xx", ["Choose at least one style.", "{n} minute left", "{n} minutes left"]),
    ],
)
def test_texts_are_in_the_user_s_language(language: str, sentences: list[str]) -> None:
    """LANGUAGE decides when the plug-in starts; where there is no catalogue, the texts are the English ones."""
    program = (
        "from adain_style.client.texts import _, ngettext; print(_('Choose at least one style.'),"
        " *(ngettext('{n} minute left', '{n} minutes left', n) for n in (1, 2)), sep='\\n')"
    )
    environment = os.environ | {"LANGUAGE": language, "PYTHONUTF8": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, encoding="utf-8", env=environment
    )
    assert run.stdout.splitlines() == sentences
