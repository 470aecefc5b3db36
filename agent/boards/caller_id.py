"""Caller ID as modems tell it: lines of `TAG = value`, or the packet itself in hexadecimal digits.

Formatted (BOARDS.md 2), in any order, with or without spaces::

    DATE = 0504
    TIME = 2149
    NMBR = 4075551212      also NBR, DDN_NMBR, +CLIP: "4075551212",129
    NAME = Chmielewski Joh

Raw, one line of hexadecimal digits; the sum of all bytes is 0 modulo 256::

    04 LENGTH MMDDhhmm number … CHECK                       SDMF
    80 LENGTH (TAG LENGTH data …)… CHECK                    MDMF, tag 02 number, 03 dialable number

No input or output, and no clock: the moment is handed in.
"""

from __future__ import annotations

import re
from enum import Enum, auto

SILENCE = 1.0
"""Seconds without a further line after which a burst that has a number is taken to be whole."""
MOST_PHONE = 32
"""Characters of a number kept: twice what E.164 allows."""
SDMF, MDMF = 0x04, 0x80
NUMBER_TAG, DIALABLE_NUMBER_TAG = 0x02, 0x03
TIME_LENGTH = 8
"""Bytes of month, day, hour and minute at the beginning of an SDMF packet's data."""

_NOT_PHONE = re.compile(r"[^0-9*#+]")
_TAGGED = re.compile(r"(\+CLIP|[A-Z_]{3,9})\s*[=:]\s*(.*)")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2}){3,}")


class Item(Enum):
    """What a formatted line tells; a burst is whole with one of each of the first four."""

    DATE = auto()
    TIME = auto()
    NUMBER = auto()
    NAME = auto()
    OTHER = auto()


TAGS = {
    "DATE": Item.DATE,
    "TIME": Item.TIME,
    "NMBR": Item.NUMBER,
    "NBR": Item.NUMBER,
    "+CLIP": Item.NUMBER,
    "DDN_NMBR": Item.NUMBER,
    "NAME": Item.NAME,
    "MESG": Item.OTHER,
    "NDID": Item.OTHER,
}
"""Tags seen in the field; NDID is the number that was dialled, MESG an item in hexadecimal."""
SECOND_BEST = "DDN_NMBR"
"""A number that counts only where no other tag gives one."""
STALE = 10.0
"""Seconds after which what there is of a burst belongs to another call than a new line does."""
_WHOLE = frozenset({Item.DATE, Item.TIME, Item.NUMBER, Item.NAME})


class BadPacket(ValueError):
    """A raw packet is damaged; the message says how."""


def is_packet(line: str) -> bool:
    """Tell whether a line is a raw packet, sound or not, and nothing else a modem says."""
    return bool(_HEXADECIMAL.fullmatch(line)) and int(line[:2], 16) in {SDMF, MDMF}


def packet_number(line: str) -> str:
    """Return a raw packet's number, "" where it is withheld or not known. Raises BadPacket."""
    data = bytes.fromhex(line)
    length = data[1]
    packet = data[: length + 3]
    if len(packet) < length + 3:
        raise BadPacket(f"a caller ID packet of {len(data)} bytes that should have {length + 3}")
    if sum(packet) % 256:
        raise BadPacket("a caller ID packet whose bytes do not add up to 0")
    payload = packet[2:-1]
    if packet[0] == SDMF:
        return _phone(payload[TIME_LENGTH:].decode("ascii", "replace"))
    items = _items(payload)
    best = items.get(NUMBER_TAG) or items.get(DIALABLE_NUMBER_TAG) or b""
    return _phone(best.decode("ascii", "replace"))


class CallerId:
    """Gathers one burst of formatted lines until it is whole."""

    def __init__(self) -> None:
        self._seen: set[Item] = set()
        self._number: str | None = None
        self._second_best: str | None = None
        self._last_at = 0.0

    def take(self, line: str, now: float) -> bool:
        """Take a line heard at monotonic time `now`; tell whether it belongs to a caller ID."""
        found = _TAGGED.fullmatch(line.strip())
        if found is None or found[1] not in TAGS:
            return False
        tag, value = found[1], found[2]
        if now - self._last_at > STALE:
            self.finish()
        self._last_at = now
        self._seen.add(TAGS[tag])
        if tag == SECOND_BEST:
            self._second_best = self._second_best or _phone(value)
        elif TAGS[tag] is Item.NUMBER and self._number is None:
            # +CLIP has the kind of number after a comma.
            self._number = _phone(value.partition(",")[0] if tag == "+CLIP" else value)
        return True

    @property
    def begun(self) -> bool:
        """Whether there is anything of a burst."""
        return bool(self._seen)

    def whole_at(self) -> float | None:
        """Monotonic time at which the burst counts as whole though more could come; None: never."""
        if not self._phone_so_far:
            return None
        return self._last_at + SILENCE

    def is_whole(self, now: float) -> bool:
        """Tell whether nothing more is to be waited for: all four items, or a long silence."""
        silent = self.whole_at()
        return self._seen >= _WHOLE or (silent is not None and silent <= now)

    def finish(self) -> str:
        """Return the number, "" where it is withheld or was not told, and begin anew."""
        number = self._phone_so_far
        self._seen.clear()
        self._number = self._second_best = None
        return number

    @property
    def _phone_so_far(self) -> str:
        return self._number or self._second_best or ""


def _items(payload: bytes) -> dict[int, bytes]:
    """Return an MDMF packet's items; of two with one tag the first counts."""
    items: dict[int, bytes] = {}
    at = 0
    while at + 2 <= len(payload):
        tag, length = payload[at], payload[at + 1]
        data = payload[at + 2 : at + 2 + length]
        if len(data) < length:
            raise BadPacket("a caller ID packet whose last item is cut short")
        items.setdefault(tag, data)
        at += 2 + length
    return items


def _phone(text: str) -> str:
    """Keep what a number may hold: `P` (private) and `O` (out of area) leave nothing."""
    return _NOT_PHONE.sub("", text)[:MOST_PHONE]
