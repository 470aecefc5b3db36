"""The support bundle's scrubber: neither a secret nor a telephone number passes it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from agent.text import masked_numbers, masked_phone, printable

REMOVED = "[removed]"
SHORTEST = 4
"""Characters of a value that is looked for everywhere. A shorter one, such as the 8 of ${PORTS},
stands in every second line by chance; it is removed from the configuration all the same."""
MOST_SECRETS = 1000
"""Values that are looked for; a configuration has a handful."""
MOST_LENGTH = 4096
"""Characters of one that are looked for."""
LONG = 40
"""Characters from which on a value is known by its beginning as well: a line may cut it short."""
_BEGINNING = 24

_KEYS = r"sa_user|sa_password|pass(?:word|wd|phrase)?\w*|secret|token|api_?key|authorization|cookie"
_KEYED = (
    rf"\b({_KEYS})([\"']?\s*[=:]\s*[\"']?)(?!\$\{{|file:)"
    r"(?:(?:basic|bearer)\s+)?[^\s\"',;&}]+"
)
_GENERAL = (
    # An account in a URL, a URL's query, a key with its value (but not where the value stands),
    # 32 digits as an MD5 has them.
    (re.compile(r"://[^/@\s]+@"), f"://{REMOVED}@"),
    (re.compile(r"\?[^\s?=\"']*=[^\s\"']*"), f"?{REMOVED}"),
    (re.compile(_KEYED, re.I), rf"\1\2{REMOVED}"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", re.I), REMOVED),
)
"""What is removed whatever the configuration says: it may be damaged, or not the one in use."""
_GROUPED = re.compile(r"(?<!\d)\+?\d{2,4}(?:[- ]\d{3,4}){2,3}(?!\d)")
"""A number as people write it, in groups."""
_OTHER_DIGITS = re.compile(r"\d{7,}")
"""Digits of any script."""


class Scrubber:
    """Takes secrets out of text and data, and the middle out of telephone numbers."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """`secrets`: as they are; how they may be spelt on the way is known here."""
        chosen = sorted(_long_enough(secrets), key=len, reverse=True)[:MOST_SECRETS]
        spelt = {each for secret in chosen for each in _spellings(secret[:MOST_LENGTH])}
        # The longest first: one may be part of another.
        alternatives = [
            re.escape(each) if len(each) < LONG else _known_by_its_beginning(each)
            for each in sorted(spelt, key=len, reverse=True)
        ]
        self._secrets = {secret.casefold() for secret in chosen}
        self._pattern = re.compile("|".join(alternatives), re.I) if alternatives else None

    def text(self, text: str) -> str:
        """Scrub text of any number of lines; control characters become visible, too."""
        if self._pattern is not None:
            text = self._pattern.sub(REMOVED, text)
        for pattern, instead in _GENERAL:
            text = pattern.sub(instead, text)
        text = masked_numbers(text)
        for pattern in (_GROUPED, _OTHER_DIGITS):
            text = pattern.sub(lambda found: masked_phone(found[0]), text)
        return "\n".join(map(_visible, text.split("\n")))

    def data(self, value: object) -> object:
        """Scrub what JSON can hold: its texts. Figures stay, but for one that is a secret."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.data(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(each) for each in value]
        if value is None or isinstance(value, bool):
            return value
        return REMOVED if str(value).casefold() in self._secrets else value


def _long_enough(secrets: Iterable[str]) -> set[str]:
    parts = {part.strip() for secret in secrets for part in (secret, *secret.splitlines())}
    return {part for part in parts if len(part) >= SHORTEST}


def _spellings(secret: str) -> Iterator[str]:
    """A secret as it is, and as URLs, JSON, headers, our log and our masks have it."""
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield printable(secret, MOST_LENGTH)
    yield masked_numbers(secret)
    yield b64encode(secret.encode("utf-8", "surrogateescape")).decode("ascii").rstrip("=")


def _known_by_its_beginning(secret: str) -> str:
    return f"{re.escape(secret)}|{re.escape(secret[:_BEGINNING])}[^\\s\"']*"


def _visible(line: str) -> str:
    return line if line.isprintable() else printable(line, len(line))
