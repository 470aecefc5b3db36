"""The records of a Whozz Calling box (BOARDS.md 1): text in, what it says out.

A call record in the comprehensive format, 62 columns::

    01 I S 0276 G B3 09/26 11:28 AM 800-240-4637   CallerID.com
    |  | | |    | |  |     |        |              `-- 47: name; outgoing: digits after a pause
    |  | | |    | |  |     |        `-- 32: number, 14 columns
    |  | | |    | |  |     `-- 23: time, and AM or PM
    |  | | |    | |  `-- 17: date; both are the call's start, and without a year
    |  | | |    | `-- 14: a ring letter and the count of rings
    |  | | |    `-- 12: G, or B for a doubtful caller ID
    |  | | `-- 7: seconds from off hook to on hook; 0000 at the start
    |  | `-- 5: S start of the call, E its end
    |  `-- 3: I in, O out
    `-- 0: line; `$` may stand before it

Fields are found by runs of spaces, as records may be cut short or shifted in the field; the columns
decide where an empty number leaves a gap. Nothing is dated by a record: the gateway's clock counts.
"""

from __future__ import annotations

import re

from msgspec import Struct

from agent.boards.events import Peer

MOST_PHONE = 32
"""Digits of a number kept: twice what E.164 allows."""
NUMBER_ENDS = 46
"""Column behind the number of a call record (BOARDS.md 1)."""

_CALL = re.compile(
    r"(?P<line>\d\d) +(?P<direction>[IO]) +(?P<kind>[SE])(?![^ ])"
    r"(?: +(?P<duration>\d{1,4})(?![^ ]))?"
    r"(?: +(?P<check>[GB])(?![^ ]))?"
    r"(?: +(?P<ring>[A-Z]\d)(?![^ ]))?"
    r"(?: +(?P<date>\d\d/\d\d)(?![^ ]))?"
    r"(?: +(?P<time>\d\d:\d\d)(?![^ ]))?"
    r"(?: +(?P<half>[AP]M)(?![^ ]))?"
    r"(?: +(?P<rest>.*))?"
)
_DETAIL = re.compile(
    r"(?P<line>\d\d) +(?P<kind>[RFNH])(?![^ ])"
    r"(?: +(?P<date>\d\d/\d\d)(?![^ ]))?(?: +(?P<time>\d\d:\d\d:\d\d)(?![^ ]))?"
)
_VERSION = re.compile(
    r"V(?P<firmware>\d[\d.]*) +(?P<options>[A-Za-z]{1,16})(?: +L=(?P<first>\d\d))?"
)
_WHOLE_NUMBER = re.compile(r"[^/:]{3,}")
"""In a damaged record: what is neither a piece of the date nor one of the time."""
_NO_NUMBER = frozenset({"nocallerid", "private", "outofarea"})
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]")
_NOT_PHONE = re.compile(r"[^0-9*#+]")
_DIALLED = re.compile(r"[0-9*#]+")
_PEERS = {"I": Peer.INCOMING, "O": Peer.OUTGOING}


class CallRecord(Struct, frozen=True):
    """A call begins or ends."""

    line: int
    peer: Peer
    is_end: bool
    duration: int
    """Seconds from off hook to on hook; 0 where that is cut off, too."""
    phone: str
    """Digits; empty where there is none. A doubtful one is a number still."""
    when: str
    """Date and time as the box has them, to tell a doubled record from a new one."""
    whole: bool
    """False: cut short, or with more bytes than it should have."""


class Detail(Struct, frozen=True):
    """R first ring, F off hook, N on hook, H hook flash."""

    line: int
    kind: str
    when: str
    whole: bool


class Version(Struct, frozen=True):
    """The answer to `V`: firmware, each option's letter as it is set, number of the first line."""

    firmware: str
    options: str
    first_line: int


Record = CallRecord | Detail | Version


def parse(text: str) -> Record | None:
    """Read one line without its end; None for what is no record at all."""
    bare = text.removeprefix("$")
    for pattern, build in ((_CALL, _call), (_DETAIL, _detail)):
        found = pattern.search(bare)
        if found is not None:
            return build(found, bare)
    version = _VERSION.search(bare)
    if version is None:
        return None
    return Version(version["firmware"], version["options"], int(version["first"] or 1))


def _call(found: re.Match[str], text: str) -> CallRecord:
    number, name = _number_and_name(found, text)
    phone = _phone(number)
    if found["direction"] == "O" and _DIALLED.fullmatch(name):
        phone += name
    fields = (found[key] for key in ("duration", "check", "ring", "date", "time", "half"))
    has_number = bool(found["rest"]) or len(text) >= NUMBER_ENDS
    return CallRecord(
        line=int(found["line"]),
        peer=_PEERS[found["direction"]],
        is_end=found["kind"] == "E",
        duration=int(found["duration"] or 0),
        phone=phone[:MOST_PHONE],
        when=f"{found['date']} {found['time']} {found['half']}",
        whole=all(fields) and has_number and found.start() == 0,
    )


def _number_and_name(found: re.Match[str], text: str) -> tuple[str, str]:
    rest = found["rest"] or ""
    whole = found["half"] is not None and found.start() == 0
    if whole and len(text) > NUMBER_ENDS and not text[:NUMBER_ENDS][found.end("half") :].strip():
        return "", rest.strip()
    number, _, name = rest.partition(" ")
    if not whole and not _WHOLE_NUMBER.fullmatch(number):
        return "", ""
    return number, name.strip()


def _phone(number: str) -> str:
    if _NOT_ALPHANUMERIC.sub("", number.lower()) in _NO_NUMBER:
        return ""
    return _NOT_PHONE.sub("", number)


def _detail(found: re.Match[str], text: str) -> Detail:
    return Detail(
        line=int(found["line"]),
        kind=found["kind"],
        when=f"{found['date']} {found['time']}",
        whole=found["date"] is not None
        and found["time"] is not None
        and found.start() == 0
        and found.end() == len(text.rstrip()),
    )
