"""What every part of the page is written with: escaped text, moments, sizes, icons."""

from __future__ import annotations

import time
from html import escape

from agent.language import Language, marked

SINCE = marked("since {time}")
_PLACE = "\x00"
"""Stands where an element belongs while the text around it is escaped."""
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Pen:
    """Writes for one rendering: in one language, by the local time of one moment."""

    def __init__(self, language: Language, now: float, words: dict[str, str] | None = None) -> None:
        """`now` is UNIX seconds: a moment of the same day is told by its time alone.

        `words`: messages without values as they were said before, for pens of one language.
        """
        self.language = language
        self._words = {} if words is None else words
        self.now = now
        self.today = _local(now)[:10]
        """The date by which a moment of another day is told with its own."""
        self._times: dict[tuple[int, bool], str] = {}

    def say(self, message: str, /, **values: object) -> str:
        """Return a message in the language, as text for the page."""
        if values:
            return escape(self.language.say(message, **values))
        known = self._words.get(message)
        if known is None:
            known = self._words[message] = escape(self.language.say(message))
        return known

    def count(self, singular: str, plural: str, number: int, /, **values: object) -> str:
        """Return the form of a message that goes with a number, as text for the page."""
        return escape(self.language.count(singular, plural, number, **values))

    def timed(self, message: str, moment: float | None, seconds: bool = False) -> str:
        """Return a message whose placeholder `{time}` is a moment, as text for the page."""
        return self.say(message, time=_PLACE).replace(_PLACE, self.time(moment, seconds))

    def time(self, moment: float | None, seconds: bool = False) -> str:
        """Return a moment in the gateway's local time, as an element; "never" for none."""
        if not moment:
            return self.say("never")
        key = (int(moment) if abs(moment) < 1e15 else 0, seconds)
        known = self._times.get(key)
        if known is None:
            known = self._times[key] = self._time(moment, seconds)
        return known

    def _time(self, moment: float, seconds: bool) -> str:
        local = _local(moment)
        if not local:
            return self.say("at an unknown time")
        shown = local[11:19] if seconds else local[11:16]
        if local[:10] != self.today:
            # The year only where it is another one.
            day = local[5:10] if local[:4] == self.today[:4] else local[:10]
            shown = f"{day} {shown}"
        return f'<time datetime="{local}">{shown}</time>'

    def zone(self) -> str:
        """Return the offset of the gateway's local time, such as UTC+08:00."""
        offset = _local(self.now)[19:]
        return f"UTC{offset[:3]}:{offset[3:]}" if offset else "UTC"


def icon(name: str, style: str = "icon", label: str = "") -> str:
    """Return one of the page's drawings; `label` is text for the page, empty: mere decoration."""
    told = f'role="img" aria-label="{label}"' if label else 'aria-hidden="true"'
    return f'<svg class="{style}" {told}><use href="#{name}"/></svg>'


def grouped(number: int) -> str:
    """Return a number with its thousands apart: 100,000."""
    return f"{number:,}"


def size_words(count: float) -> str:
    """Return a number of bytes by a unit that leaves up to four digits."""
    for unit in _SIZES[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.0f} {_SIZES[-1]}"


def _local(moment: float) -> str:
    """ISO 8601 with the offset, such as 2026-09-21T20:13:20+0800; empty: no calendar has it."""
    try:
        local = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return ""
    return local if len(local) == 24 else ""
