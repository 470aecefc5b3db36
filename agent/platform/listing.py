"""The entries of `getMessageList` and `getCallList` (PROTOCOL.md 2.3, 2.4).

An entry is acted on by what it says, whichever list brought it, and only where all that it says
is understood. Nothing here raises: what cannot be understood is counted.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from agent.platform.answers import integer
from agent.text import printable

MOST_ENTRIES = 100
"""Entries acted on in one answer: more calls than a gateway could place between two polls."""
MOST_CHANNEL = 99
"""RJ11 ports of one box."""
MOST_SERIAL = 9999
"""Numbers of boxes."""
MOST_PARAMETERS = 64
"""Parameters of one function; the protocol's example has three."""
MOST_PARAMETER_TEXT = 4096
"""Characters of all parameters of one function together, as they stand on the wire."""

_CALL, _FUNCTION = 0, 51
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PHONE = re.compile(r"[0-9*#]{1,32}")
_PUNCTUATION = str.maketrans("", "", " \t-.()")
_MOST_WRITTEN_PHONE = 64
"""Characters of a phone number with its spaces and dashes."""


class CallToPlace(Struct, frozen=True):
    """Status 0: dial `phone` on port `channel`."""

    channel: int
    serial: int | None
    """Number of the box; None: not said."""
    phone: str
    """1 to 32 of `0-9*#`."""

    @property
    def key(self) -> str:
        """The same for the same order, fetched again."""
        return _key("call", self.channel, self.serial, self.phone)


class FunctionMessage(Struct, frozen=True):
    """Status 51: a function to run, by name."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    """Decoded, in their order; a name may come twice. No control characters but tab, CR and LF."""
    channel: int | None
    serial: int | None
    phone: str
    """As in `CallToPlace`, or empty."""

    @property
    def key(self) -> str:
        """The same for the same message, fetched again."""
        where = (self.channel, self.serial, self.phone)
        return _key("function", self.name, self.parameters, *where)


class OtherEntry(Struct, frozen=True):
    """A status whose meaning is not known (1, 2, …): listed, not acted on."""

    status: int
    text: str
    """The entry as JSON, fit for a log line, cut."""
    digest: str
    """Of the whole entry."""

    @property
    def key(self) -> str:
        """The same for the same entry, fetched again."""
        return _key("other", self.status, self.digest)


Entry = CallToPlace | FunctionMessage | OtherEntry


class Listing(Struct, frozen=True):
    """What one answer listed."""

    entries: tuple[Entry, ...] = ()
    """At most MOST_ENTRIES."""
    malformed: int = 0
    reason: str = ""
    """What is wrong with the first malformed entry; empty where there was none."""
    dropped: int = 0
    """Entries beyond MOST_ENTRIES, not looked at."""


class _MalformedEntry(Exception):
    """Why, in words."""


def read_listing(data: object) -> Listing:
    """Read an answer's `data`; None, no list at all, is an empty one. Never raises."""
    if data is None:
        return Listing()
    if not isinstance(data, list):
        return Listing(malformed=1, reason="data is not a list")
    entries: list[Entry] = []
    reasons: list[str] = []
    for item in data[:MOST_ENTRIES]:
        try:
            entries.append(_entry(item))
        except _MalformedEntry as error:
            reasons.append(printable(str(error)))
    return Listing(
        tuple(entries),
        malformed=len(reasons),
        reason=reasons[0] if reasons else "",
        dropped=max(0, len(data) - MOST_ENTRIES),
    )


def _entry(item: object) -> Entry:
    if not isinstance(item, dict):
        raise _MalformedEntry("an entry is not an object")
    status = integer(item.get("status"))
    if status is None:
        raise _MalformedEntry("an entry has no usable status")
    return _READERS.get(status, _other)(item)


def _call(item: dict[Any, Any]) -> CallToPlace:
    channel = _small(item, "mdcWan", MOST_CHANNEL)
    if channel is None:
        raise _MalformedEntry("a call to place has no mdcWan, so no port")
    phone = _phone(item)
    if not phone:
        raise _MalformedEntry("a call to place has no phone number")
    return CallToPlace(channel, _small(item, "mdcCode", MOST_SERIAL), phone)


def _function(item: dict[Any, Any]) -> FunctionMessage:
    name, parameters = _memo(item.get("memo"))
    return FunctionMessage(
        name,
        parameters,
        _small(item, "mdcWan", MOST_CHANNEL),
        _small(item, "mdcCode", MOST_SERIAL),
        _phone(item),
    )


def _other(item: dict[Any, Any]) -> OtherEntry:
    try:
        text = json.dumps(item, sort_keys=True)
    except (RecursionError, TypeError, ValueError):
        raise _MalformedEntry("an entry is nested too deeply or has a number too long") from None
    return OtherEntry(integer(item.get("status")) or 0, printable(text), _hash(text))


_READERS: dict[int, Callable[[dict[Any, Any]], Entry]] = {_CALL: _call, _FUNCTION: _function}


def _small(item: dict[Any, Any], key: str, most: int) -> int | None:
    value = item.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    found = integer(value)
    if found is None or not 1 <= found <= most:
        raise _MalformedEntry(f"{key} is not a number from 1 to {most}: {_shown(value)}")
    return found


def _phone(item: dict[Any, Any]) -> str:
    value: object = item.get("phone")
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**32:
        value = str(value)
    if not isinstance(value, str):
        raise _MalformedEntry("a phone number is not text")
    if len(value) > _MOST_WRITTEN_PHONE:
        raise _MalformedEntry(f"a phone number has {len(value)} characters")
    phone = value.translate(_PUNCTUATION)
    if phone and not _PHONE.fullmatch(phone):
        raise _MalformedEntry("a phone number has other characters than 0-9 * #, or over 32")
    return phone


def _memo(memo: object) -> tuple[str, tuple[tuple[str, str], ...]]:
    if isinstance(memo, str):
        written = memo.strip()
        if written.startswith("{"):
            memo = _decoded(written)
        else:
            function, _, parameters = written.partition("?")
            memo = {"functionname": function, "paramvalue": parameters}
    if not isinstance(memo, dict):
        raise _MalformedEntry("a message names no function: its memo is neither object nor text")
    name: object = memo.get("functionname")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _MalformedEntry(f"a message's functionname is not a name: {_shown(name)}")
    return name, _parameters(memo.get("paramvalue"))


def _decoded(written: str) -> object:
    try:
        decoded: object = msgspec.json.decode(written)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise _MalformedEntry("a message's memo looks like JSON and is not") from None
    return decoded


def _parameters(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, str):
        raise _MalformedEntry("a message's paramvalue is not text")
    if len(value) > MOST_PARAMETER_TEXT:
        raise _MalformedEntry(f"a message's paramvalue has {len(value)} characters")
    try:
        pairs = parse_qsl(value, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise _MalformedEntry(f"a message has more than {MOST_PARAMETERS} parameters") from None
    if any(_has_controls(name) or _has_controls(text) for name, text in pairs):
        raise _MalformedEntry("a message's paramvalue has control characters")
    return tuple(pairs)


def _has_controls(text: str) -> bool:
    # A NUL would end a program's argument early; line breaks are a longer text's own.
    return any(
        unicodedata.category(character) in {"Cc", "Cs"} and character not in "\t\r\n"
        for character in text
    )


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value[:40])
    return {dict: "an object", list: "a list", type(None): "nothing"}.get(
        type(value), type(value).__name__
    )


def _key(kind: str, *parts: object) -> str:
    # What was understood, and no surplus keys: one that changes at each poll must not make an
    # order new and have it dialled again.
    return f"{kind}-{_hash(json.dumps(parts))}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]
