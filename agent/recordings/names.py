"""What a recording's name says: when, which port, which way, whose number.

A name is read by the patterns of `recordings.pattern` (see `agent.recordings.patterns`), in their
order; the first that fits the whole name counts. What a name says that can't be (port 0, the year
1907, the 40th of May) counts as not said; a name is never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from posixpath import splitext
from types import MappingProxyType

from msgspec import Struct

from agent.calls import Direction
from agent.recordings.patterns import UNIX_SECONDS, Pattern, compile_pattern
from agent.settings import MOST_CHANNELS
from agent.text import masked_phone, printable

MOST_SERIAL = 9999
EARLIEST = 0.0
LATEST = 4_102_444_800.0
"""UNIX seconds of 1970 and 2100: a time outside is a mistake, not a date."""
MILLISECONDS_FROM = 100_000_000_000
"""A count of this size or more is of milliseconds: as seconds it would be the year 5138."""
LONGEST_DURATION = 7 * 86_400.0
"""Seconds; no call lasts a week."""
MOST_REMEMBERED = 256
"""Names whose reading is kept: those on their way at one time, and some 200 KiB at the most."""
MOST_NAME_SHOWN = 400
"""Characters of a path that are shown: a folder or two and the longest name."""

DIRECTIONS = MappingProxyType(
    {
        "in": Direction.IN,
        "incoming": Direction.IN,
        "inbound": Direction.IN,
        "i": Direction.IN,
        "out": Direction.OUT,
        "outgoing": Direction.OUT,
        "outbound": Direction.OUT,
        "o": Direction.OUT,
        "unkown": Direction.UNKNOWN,
        "unknown": Direction.UNKNOWN,
        "missed": Direction.UNKNOWN,
    }
)
"""Words for a direction, in any case; another word says nothing."""

_NUMBER = re.compile(r"[0-9*#+]{7,}")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:(?:[01][0-9]|2[0-3])[0-5][0-9](?:[0-5][0-9])?)?"
)


class Places(Struct, frozen=True):
    """Where in a path things stand: their first character and the one behind their last."""

    phone: tuple[int, int] | None = None
    """None where the name has no number in it, or no pattern told which it is."""
    times: tuple[tuple[int, int], ...] = ()


NOWHERE = Places()


class NameFacts(Struct, frozen=True):
    """What one name says; None where it says nothing."""

    start: float | None = None
    """UNIX seconds; the first of `starts`."""
    channel: int | None = None
    serial: int | None = None
    direction: Direction | None = None
    phone: str | None = None
    """Digits, `*`, `#`, `+`; empty where the name has a place for it and no number in it."""
    end: float | None = None
    duration: float | None = None
    """Seconds."""
    starts: tuple[float, ...] = ()
    """All readings of the start: two in the hour that summer time repeats or leaves out."""
    places: Places = NOWHERE


NOTHING = NameFacts()


class _Fitted(Struct):
    """A name as a pattern fits it; what it says is read once it is asked for."""

    said: Mapping[str, str | None]
    time_formats: tuple[tuple[str, str], ...]
    places: Places
    facts: NameFacts | None = None


_NONE_FITS = _Fitted({}, (), NOWHERE, NOTHING)


class RecordingNames:
    """Reads names by the configured patterns."""

    def __init__(self, patterns: Sequence[str], timezone: tzinfo | None = None) -> None:
        """Raises ValueError, in a sentence for who wrote the configuration, on a bad pattern."""
        self._patterns = tuple(compile_pattern(pattern) for pattern in patterns)
        self._timezone = timezone
        # A name is asked for with each step and each line of the log on its file's way.
        self._remembered = lru_cache(MOST_REMEMBERED)(self._fit)

    def facts(self, relative: str) -> NameFacts:
        """Read a path relative to the recording directory."""
        fitted = self._remembered(relative)
        if fitted.facts is None:
            fitted.facts = self._read(fitted)
        return fitted.facts

    def places(self, relative: str) -> Places:
        """Tell where things stand in a path, without the times that it says: these take longest."""
        return self._remembered(relative).places

    def _fit(self, relative: str) -> _Fitted:
        bare = splitext(relative)[0]
        components = bare.split("/")
        for pattern in self._patterns:
            if len(components) < pattern.components:
                continue
            tail = "/".join(components[-pattern.components :])
            match = pattern.expression.fullmatch(tail)
            if match is not None:
                return _fitted(pattern, match, len(bare) - len(tail))
        return _NONE_FITS

    def _read(self, fitted: _Fitted) -> NameFacts:
        said = fitted.said
        formats = dict(fitted.time_formats)
        starts = self._moments(said.get("start"), formats.get("start"))
        ends = self._moments(said.get("end"), formats.get("end"))
        return NameFacts(
            start=starts[0] if starts else None,
            channel=_count(said.get("channel"), MOST_CHANNELS),
            serial=_count(said.get("serial"), MOST_SERIAL),
            direction=DIRECTIONS.get((said.get("direction") or "").lower()),
            phone=_phone(said.get("phone")),
            end=_end(starts, ends),
            duration=_duration(said.get("duration")),
            starts=starts,
            places=fitted.places,
        )

    def _moments(self, text: str | None, time_format: str | None) -> tuple[float, ...]:
        if text is None or time_format is None:
            return ()
        if time_format == UNIX_SECONDS:
            count = int(text)
            readings = [count / 1000 if count >= MILLISECONDS_FROM else float(count)]
        else:
            readings = self._readings(text, time_format)
        return tuple(moment for moment in readings if EARLIEST <= moment < LATEST)

    def _readings(self, text: str, time_format: str) -> list[float]:
        try:
            moment = datetime.strptime(text, time_format)
            if moment.tzinfo is not None:
                return [moment.timestamp()]
            zoned = moment.replace(tzinfo=self._timezone)
            readings = [zoned.replace(fold=fold).timestamp() for fold in (0, 1)]
        except (ValueError, OverflowError, OSError):
            return []
        return list(dict.fromkeys(readings))


def display_name(relative: str, places: Places, masked: bool) -> str:
    """Make a path fit for a log line or the status file; `masked` hides telephone numbers.

    Where no pattern told which part is the number, every run of seven or more digits that is no
    date is taken for one.
    """
    return printable(_masked(relative, places) if masked else relative, MOST_NAME_SHOWN)


def _masked(relative: str, places: Places) -> str:
    spans = [match.span() for match in _NUMBER.finditer(relative)]
    spans = [span for span in spans if not _is_time(relative, span, places)]
    if places.phone is not None:
        first, last = places.phone
        spans = [span for span in spans if span[1] <= first or span[0] >= last]
        spans.append(places.phone)
    shown = relative
    for first, last in sorted(spans, reverse=True):
        shown = shown[:first] + masked_phone(shown[first:last]) + shown[last:]
    return shown


def _is_time(relative: str, span: tuple[int, int], places: Places) -> bool:
    first, last = span
    if any(begin < last and first < end for begin, end in places.times):
        return True
    return _DATE.fullmatch(relative, first, last) is not None


def _fitted(pattern: Pattern, match: re.Match[str], offset: int) -> _Fitted:
    """`offset`: characters of the path before those that fit."""
    said = match.groupdict()
    phone = _place(match, "phone", offset) if _phone(said.get("phone")) else None
    times = tuple(_place(match, name, offset) for name, _ in pattern.time_formats)
    return _Fitted(said, pattern.time_formats, Places(phone, times))


def _place(match: re.Match[str], name: str, offset: int) -> tuple[int, int]:
    first, last = match.span(name)
    return first + offset, last + offset


def _count(text: str | None, most: int) -> int | None:
    if text is None:
        return None
    number = int(text)
    return number if 1 <= number <= most else None


def _phone(text: str | None) -> str | None:
    if text is None:
        return None
    return "" if text.isalpha() else text


def _duration(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = float(text)
    return seconds if seconds <= LONGEST_DURATION else None


def _end(starts: tuple[float, ...], ends: tuple[float, ...]) -> float | None:
    """Choose the reading of the end that agrees with the start: an end before it is none."""
    if not starts:
        return ends[0] if ends else None
    return next((end for end in ends if 0 <= end - starts[0] <= LONGEST_DURATION), None)
