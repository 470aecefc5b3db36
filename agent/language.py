"""What a technician reads, in his language: English stands in the code, the rest in catalogues.

A `Language` is handed to whoever writes for people. A room that finds something out and writes
for nobody in particular gives it as a `Said`: a template and what belongs in it, put into words at
the edge. The log reads `str()` of it, which is English.

Catalogues are gettext's, in `agent/locale/`; `scripts/translate` collects what they must hold from
calls of `say`, `count`, `marked`, `said` and `counted`, so the messages in these are literals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gettext import NullTranslations

ENGLISH = "en"
CHINESE = "zh_CN"
AUTO = "auto"
DOMAIN = "smarttel-agent"
CATALOGUES = Path(__file__).with_name("locale")

_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""Of these the first that is set names the locale (`man 7 locale`)."""
_NO_LOCALE = frozenset({"C", "POSIX"})


@dataclass(frozen=True, slots=True)
class Language:
    """One language to write in."""

    code: str = ENGLISH
    """`en` or `zh_CN`."""
    catalogue: NullTranslations | None = field(default=None, repr=False, compare=False)
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

    def _first_that_fits(self, forms: tuple[str, str], values: Mapping[str, object]) -> str:
        translated, english = forms
        try:
            return self._filled(translated, values)
        except (LookupError, ValueError, AttributeError, TypeError):
            return self._filled(english, values)

    def _filled(self, message: str, values: Mapping[str, object]) -> str:
        return message.format(
            **{
                name: value.within(self) if isinstance(value, Said) else value
                for name, value in values.items()
            }
        )


@dataclass(frozen=True, slots=True)
class Said:
    """Something to tell, not yet in words: a message of the code and what fills it."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    """By the names of the template's placeholders; another `Said` may be one of them."""
    plural: str = ""
    """The form for all numbers but one, which is then among the values; empty: there is none."""

    def within(self, language: Language) -> str:
        """Put it into words."""
        if not self.plural:
            return language.say(self.template, **self.values)
        values = dict(self.values)
        number = values.pop("number", 0)
        count = number if isinstance(number, int) else 0
        return language.count(self.template, self.plural, count, **values)

    def __str__(self) -> str:
        return self.within(Language())

    def __bool__(self) -> bool:
        return bool(self.template)


def said(message: str, /, **values: object) -> Said:
    """Return a message that is put into words later."""
    return Said(message, values)


def counted(singular: str, plural: str, number: int, /, **values: object) -> Said:
    """Return a message with a number, put into words later."""
    return Said(singular, {"number": number, **values}, plural)


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
    return Language()


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
        return Language()
