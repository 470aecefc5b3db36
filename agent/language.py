"""What a technician reads, in his language: English stands in the code, the rest in catalogues.

A `Language` is handed to whoever writes for people. A room that finds something out and writes
for nobody in particular makes it a `Said`: an English text, as the log has it, that remembers its
template and what fills it, so that it can be told in another language at the edge.

Catalogues are gettext's, in `agent/locale/`; `scripts/translate` collects what they must hold from
calls of `say`, `count`, `marked`, `said` and `counted`, so the messages in these are literals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from agent.text import printable

if TYPE_CHECKING:
    from gettext import NullTranslations

CHINESE = "zh_CN"
AUTO = "auto"
DOMAIN = "smarttel-agent"
CATALOGUES = Path(__file__).with_name("locale")

_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""Of these the first that is set names the locale (`man 7 locale`)."""
MOST_VALUE = 400
"""Characters of a text that fills a message: a path, a list of keys, what a platform says."""
_NO_LOCALE = frozenset({"C", "POSIX"})


class Language(Struct, frozen=True, eq=False):
    """One language to write in."""

    code: str = "en"
    """`en` or `zh_CN`."""
    catalogue: NullTranslations | None = None
    """None: messages stay as they stand in the code."""

    def say(self, message: str, /, **values: object) -> str:
        """Return the message in this language, its named placeholders filled in.

        A translation whose placeholders the values don't fit is not used: the English one is. A
        value that is a `Said` is put into this language as well.
        """
        if self.catalogue is None or not message:
            return self._filled(message, values)
        return self._first_that_fits((self.catalogue.gettext(message), message), values)

    def count(self, singular: str, plural: str, number: int, /, **values: object) -> str:
        """Return the form that goes with a number, which fills `{number}`."""
        english = singular if number == 1 else plural
        values = {"number": number, **values}
        if self.catalogue is None:
            return self._filled(english, values)
        translated = self.catalogue.ngettext(singular, plural, number)
        return self._first_that_fits((translated, english), values)

    def tell(self, text: str) -> str:
        """Return a `Said` in this language, and any other text as it is."""
        if not isinstance(text, Said) or self.catalogue is None:
            return str(text)
        if not text.plural:
            return self.say(text.template, **text.values)
        values = dict(text.values)
        number = values.pop("number", 0)
        return self.count(text.template, text.plural, int(number), **values)

    def _first_that_fits(self, forms: tuple[str, str], values: Mapping[str, object]) -> str:
        translated, english = forms
        try:
            return self._filled(translated, values)
        except (LookupError, ValueError, AttributeError, TypeError):
            return self._filled(english, values)

    def _filled(self, message: str, values: Mapping[str, object]) -> str:
        told = {
            name: self.tell(value) if isinstance(value, Said) else value
            for name, value in values.items()
        }
        return message.format(**told)


ENGLISH = Language()
"""As messages stand in the code."""

Value = str | int | float
"""What may fill a template; a `Said` is a str too."""


class Said(str):
    """An English text that can be told in another language.

    The texts that fill it may be anybody's: they are made printable, and cut.
    """

    __slots__ = ("plural", "template", "values")

    template: str
    values: Mapping[str, Value]
    """By the names of the template's placeholders; another `Said` may be one of them."""
    plural: str
    """The form for all numbers but one; `number` is then among the values. Empty: there is none."""

    def __new__(cls, template: str, values: Mapping[str, Value], plural: str = "") -> Said:
        """Fill the template in. Raises LookupError or ValueError where the values don't fit it."""
        clean = {name: _clean(value) for name, value in values.items()}
        form = plural if plural and clean.get("number") != 1 else template
        new = super().__new__(cls, form.format(**clean))
        new.template, new.values, new.plural = template, clean, plural
        return new


def said(message: str, /, **values: Value) -> Said:
    """Return an English text that can be told in another language."""
    return Said(message, values)


def counted(singular: str, plural: str, number: int, /, **values: Value) -> Said:
    """The same, in the form that goes with a number, which fills `{number}`."""
    return Said(singular, {"number": number, **values}, plural)


def text_of(error: BaseException) -> str:
    """Return what an exception was raised with, where it is a `Said`, else its `str()`."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, Said) else str(error)


def joined(parts: Iterable[str]) -> str:
    """Return one text of several; empty ones are left out."""
    told = [part for part in parts if part]
    if not told:
        return ""
    return reduce(lambda first, second: said("{first}; {second}", first=first, second=second), told)


def marked(message: str) -> str:
    """Return the message as it is: it stands in a table and is translated where it is shown."""
    return message


def language(wanted: str, environment: Mapping[str, str]) -> Language:
    """Return the language of the configuration's key `language`.

    `auto` goes by the environment as GNU gettext does: a list in LANGUAGE before LC_ALL,
    LC_MESSAGES and LANG, unless the locale is C. The first language of which there is a catalogue
    is taken, else English. Whoever reads any Chinese reads the one that there is.
    """
    codes = _environment_codes(environment) if wanted == AUTO else (wanted,)
    for code in codes:
        kind = code.replace("-", "_").partition(".")[0].partition("@")[0].partition("_")[0].lower()
        if kind == "zh":
            return _chinese()
        if kind in {"en", "c", "posix"}:
            break
    return ENGLISH


def _environment_codes(environment: Mapping[str, str]) -> Iterator[str]:
    locale = next((environment[name] for name in _VARIABLES if environment.get(name)), "")
    if locale not in _NO_LOCALE:
        yield from environment.get("LANGUAGE", "").split(":")
    yield locale


def _chinese() -> Language:
    # Imported only where it is wanted: a daemon that speaks English carries no catalogue.
    from gettext import GNUTranslations  # noqa: PLC0415
    from struct import error as TooShort  # noqa: N812, PLC0415

    path = CATALOGUES / CHINESE / "LC_MESSAGES" / f"{DOMAIN}.mo"
    try:
        with path.open("rb") as file:
            return Language(CHINESE, GNUTranslations(file))
    except (OSError, ValueError, TooShort):
        # A damaged installation still tells what is wrong, in English.
        return ENGLISH


def _clean(value: Value) -> Value:
    foreign = isinstance(value, str) and not isinstance(value, Said)
    return printable(str(value), MOST_VALUE) if foreign else value
