"""The hours in which recordings may be sent."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

_TIMES = re.compile(r"\s*(\d{1,2})(?::(\d{2}))?\s*-\s*(\d{1,2})(?::(\d{2}))?\s*")
DAY = 24 * 60


class Hours(Struct, frozen=True):
    """A part of the day in local minutes, over midnight where it begins after it ends."""

    begin: int
    end: int

    def hold(self, minute: float) -> bool:
        """Tell whether a minute of the day lies within."""
        if self.begin == self.end % DAY:
            return True
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


def parse_hours(text: str) -> Hours | None:
    """Read "22:00-06:00", or the platform's "16-17" (PROTOCOL.md 2.2); None: not readable."""
    found = _TIMES.fullmatch(text)
    if found is None:
        return None
    hours = (int(found[1]), int(found[3]))
    minutes = (int(found[2] or 0), int(found[4] or 0))
    begin, end = (hour * 60 + minute for hour, minute in zip(hours, minutes, strict=True))
    if begin >= DAY or end > DAY or max(minutes) > 59:
        return None
    return Hours(begin, end)


class UploadWindow:
    """The configured hours, narrowed by those that the platform's last answer named."""

    def __init__(self, configured: str | None, local_time: Callable[[], datetime]) -> None:
        self._configured = parse_hours(configured) if configured else None
        self._local_time = local_time
        self._lock = threading.Lock()
        self._period: Hours | None = None

    def hear(self, period: str | None) -> bool:
        """Take an answer's `period`, or that it had none; tell whether that changed something."""
        hours = parse_hours(period) if period else None
        with self._lock:
            changed = hours != self._period
            self._period = hours
        return changed

    def opens_in(self) -> float:
        """Seconds until recordings may be sent; 0: they may now.

        Where summer time begins or ends in between, asking again then puts it right.
        """
        if not self._hours():
            return 0.0
        minute = _minute(self._local_time())
        if self._open(minute):
            return 0.0
        opening = [hours.begin for hours in self._hours() if self._open(hours.begin)]
        if opening:
            wait = min((border - minute) % DAY for border in opening)
            return timedelta(minutes=wait).total_seconds()
        # The two have no hour in common; a new answer may change that, so look in now and then.
        return 3600.0

    @property
    def period(self) -> Hours | None:
        """The hours that the platform asked for."""
        return self._period

    def _hours(self) -> list[Hours]:
        with self._lock:
            return [hours for hours in (self._configured, self._period) if hours is not None]

    def _open(self, minute: float) -> bool:
        return all(hours.hold(minute) for hours in self._hours())


def _minute(moment: datetime) -> float:
    return moment.hour * 60 + moment.minute + (moment.second + moment.microsecond / 1e6) / 60
