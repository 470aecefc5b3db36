"""An answer's bytes to an `Answer`: lenient in types, strict in meaning (PROTOCOL.md 1).

Numbers may come as numbers or as text. `status` decides; only where it is missing or null does
`code` stand in for it: the account errors of PROTOCOL.md 1 come so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

from agent.language import said
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.wire import Answer
from agent.text import printable

__all__ = ["AUTHENTICATION_CODES", "Answer", "number", "parse_answer", "says_authentication_failed"]

AUTHENTICATION_CODES = frozenset({-2, -5, -10, -11, -12, -13, -14})
"""Codes that blame the account (PROTOCOL.md 1)."""

MOST_CALLID = 256
"""Characters of a callid; the examples have 19, and it goes into the ledger and into a header."""
MOST_PERIOD = 32
"""Characters of a period that are kept; `16-17` is what the protocol shows."""
MILLISECONDS_FROM = 1e11
"""As seconds this is the year 5138, as milliseconds 1973: a larger `time` is in milliseconds."""
EARLIEST, LATEST = 1_000_000_000.0, 4_102_444_800.0
"""September 2001 to the end of 2099: a `time` outside is a platform without a clock."""
MOST_EXACT = 2**53
"""Whole numbers below are exact in a double, which is what most writers of JSON have."""

_BOM = b"\xef\xbb\xbf"
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{0,18})?")
_DIGITS = re.compile(rb"-?[0-9]+")


class _Plain(msgspec.Struct):
    """An answer of the usual types, decoded in one go."""

    status: Any = None
    code: Any = None
    time: Any = None
    callid: str | None = None
    message: str | None = None
    period: Any = msgspec.UNSET
    data: Any = None


class _Wire(msgspec.Struct):
    """The keys that are understood, undecoded: a callid of any length keeps its digits."""

    status: msgspec.Raw = msgspec.Raw(b"null")
    code: msgspec.Raw = msgspec.Raw(b"null")
    time: msgspec.Raw = msgspec.Raw(b"null")
    callid: msgspec.Raw = msgspec.Raw(b"null")
    message: msgspec.Raw = msgspec.Raw(b"null")
    period: msgspec.Raw = msgspec.Raw(b"")
    data: msgspec.Raw = msgspec.Raw(b"null")


_plain_decoder = msgspec.json.Decoder(_Plain)
_decoder = msgspec.json.Decoder(_Wire)


def parse_answer(body: bytes, hide: Callable[[str], str] = str) -> Answer:
    """Understand the body of a 2xx answer; raise PlatformFailure UNUSABLE where that fails.

    `hide` takes what must not be shown out of foreign text before that is cut to length.
    An object without a usable status whose message says that authentication failed raises
    AUTHENTICATION instead.
    """
    try:
        text = body.removeprefix(_BOM).decode("utf-8")
        try:
            plain = _plain_decoder.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return _taken_apart(text, hide)
        message = _message(plain.message, hide)
        return Answer(
            status=_status(plain.code if plain.status is None else plain.status, message),
            time=_time(plain.time),
            callid=_callid(plain.callid),
            message=message,
            period=_period(plain.period),
            has_period=plain.period is not msgspec.UNSET,
            data=plain.data,
        )
    except RecursionError:
        raise _unusable(said("is nested too deeply")) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _unusable(_what_it_is(body)) from None


def number(value: object) -> float | None:
    """A JSON number, or text that is one; None for anything else, true and empty text included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _finite(value)
    if isinstance(value, str) and len(value) <= 64 and _DECIMAL.fullmatch(value.strip(" \t")):
        return float(value)
    return None


def integer(value: object) -> int | None:
    """As `number`, where it is a whole one that a double holds exactly."""
    if type(value) is int and -MOST_EXACT < value < MOST_EXACT:
        return value
    found = number(value)
    return (
        int(found) if found is not None and found.is_integer() and abs(found) < MOST_EXACT else None
    )


def says_authentication_failed(message: str) -> bool:
    """True where the words blame the account, whatever the code."""
    return "authentication failed" in message.casefold()


def _finite(value: float) -> float | None:
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def _taken_apart(text: str, hide: Callable[[str], str]) -> Answer:
    """Key by key: what is in one that does not count must not make the answer unusable."""
    wire = _decoder.decode(text)
    message = _message(_decoded(wire.message), hide)
    period = _decoded(wire.period) if wire.period else None
    status = _decoded(wire.status)
    written = bytes(wire.callid)
    return Answer(
        status=_status(_decoded(wire.code) if status is None else status, message),
        time=_time(_decoded(wire.time)),
        # Not by way of a number: what does not fit 64 bits would become a double and lose digits.
        callid=_callid(
            written.decode("ascii") if _DIGITS.fullmatch(written) else _decoded(wire.callid)
        ),
        message=message,
        period=_period(period),
        has_period=bool(wire.period),
        data=_decoded(wire.data),
    )


def _decoded(raw: msgspec.Raw) -> object:
    decoded: object = msgspec.json.decode(raw)
    return decoded


def _status(value: object, message: str) -> int:
    found = integer(value)
    if found is not None:
        return found
    if says_authentication_failed(message):
        raise PlatformFailure(
            FailureKind.AUTHENTICATION,
            said("the platform does not accept the account: {message}", message=message),
        )
    if message:
        raise _unusable(said("has no usable status; its message: {message}", message=message))
    raise _unusable(said("has no usable status"))


def _time(value: object) -> float | None:
    found = number(value)
    if found is None:
        return None
    seconds = found / 1000 if found > MILLISECONDS_FROM else found
    return seconds if EARLIEST <= seconds <= LATEST else None


def _callid(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _unusable(said("has a callid that is {kind} and not text", kind=_kind(value)))
    if len(value) > MOST_CALLID:
        raise _unusable(said("has a callid of more than {number} characters", number=MOST_CALLID))
    if printable(value, MOST_CALLID) != value:
        raise _unusable(said("has a callid with control characters"))
    return value if value.strip() else None


def _message(value: object, hide: Callable[[str], str]) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return printable(hide(value.strip()))
    return "" if number(value) is None else str(value)


def _period(value: object) -> str | None:
    if not isinstance(value, str) or not value.strip() or len(value) > MOST_PERIOD:
        return None
    return printable(value.strip(), MOST_PERIOD)


def _kind(value: object) -> str:
    names = {
        bool: said("true or false"),
        float: said("a fraction"),
        list: said("a list"),
        dict: said("an object"),
    }
    return names.get(type(value), said("something else"))


def _what_it_is(body: bytes) -> str:
    start = body[:64].removeprefix(_BOM).lstrip()
    if not body.strip():
        return said("is empty")
    if start.startswith(b"<"):
        return said(
            "is a web page and not JSON; is the URL right, and does something on the way, such as"
            " a log-in page, answer in the platform's place?"
        )
    return said("is not a JSON object in UTF-8")


def _unusable(what: str) -> PlatformFailure:
    return PlatformFailure(FailureKind.UNUSABLE, said("the platform's answer {what}", what=what))
