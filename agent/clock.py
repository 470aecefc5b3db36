"""The two clocks: one that only goes forward, one that people read.

Durations, waits and retries use the monotonic clock. Wall time may jump: a gateway without a
battery wakes in 1970 and learns the time minutes later. So a moment is always read from both
clocks at once, as a `Stamp`.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class Stamp(Struct, frozen=True):
    """One moment, read from both clocks."""

    wall: float
    """UNIX seconds, as the system's clock said then, right or wrong."""
    monotonic: float
    """Seconds of the monotonic clock of this boot."""


EARLIEST_TRUE_TIME = 1_704_067_200.0
"""2024-01-01: no gateway with this software ran before, so an earlier clock was never set."""


class Clock(Protocol):
    """Where every part takes its time from; tests hand in one that they turn by hand."""

    @property
    def boot(self) -> str:
        """Name of this boot: monotonic readings are comparable within one boot only."""

    def wall(self) -> float:
        """UNIX seconds."""

    def monotonic(self) -> float:
        """Seconds since some moment of this boot; never goes back, the same in all processes."""

    def stamp(self) -> Stamp:
        """Both clocks at one moment."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._boot = _boot_id()

    @property
    def boot(self) -> str:
        """The kernel's name of this boot."""
        return self._boot

    # As they are, for they are read several times at every line that a board says.
    wall = staticmethod(time.time)
    """UNIX seconds, as the system says."""
    monotonic = staticmethod(time.monotonic)
    """CLOCK_MONOTONIC: one for all processes of this boot."""

    def stamp(self) -> Stamp:
        """Both clocks, read one straight after the other."""
        return Stamp(time.time(), time.monotonic())


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        # Without it each start counts as a boot of its own: retries start at once, nothing is lost.
        return f"started-{time.time_ns()}"


AGREEMENT = 10.0
"""Seconds by which the platform's clock and ours may differ and still agree: its answer travels."""
JUMP = 2.0
"""Seconds by which the wall clock may come apart from the monotonic one without having jumped: it
drifts, and NTP draws it right."""
PATIENCE = 10.0
"""Seconds after the start for which a likely but unconfirmed clock waits for a second opinion."""
_REFUSED = -1
_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised to a reliable server."""


_TIMESYNC_MARK = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd(8): touched each time that the clock was synchronised."""
_MARK_HOLDS = 32_000.0
"""Seconds after which the kernel too takes a clock for unsynchronised: it reckons with an error of
500 millionths, and gives up at 16 seconds."""


def synchronised(mark: Path = _TIMESYNC_MARK) -> bool:
    """Tell whether the kernel's clock is held by NTP, as adjtimex(2) says.

    Where a sandbox refuses that call, even to read, the mark of systemd-timesyncd tells.
    """
    timex = ctypes.create_string_buffer(512)
    try:
        state = _library().adjtimex(timex)
    except (OSError, AttributeError):
        state = _REFUSED
    return _is_fresh(mark) if state == _REFUSED else state != _TIME_ERROR


def _is_fresh(mark: Path) -> bool:
    try:
        return abs(time.time() - mark.stat().st_mtime) <= _MARK_HOLDS
    except OSError:
        return False


@functools.cache
def _library() -> ctypes.CDLL:
    """The C library; to open it costs more than to ask it."""
    return ctypes.CDLL(None, use_errno=True)


class ClockView(Struct, frozen=True):
    """The wall clock, as it is judged."""

    trusted: bool
    unset: bool
    """True: it shows a time before this software was made, and nobody has told a better one."""
    platform_ahead: float | None
    """Seconds by which the platform's clock is ahead of ours; None: not heard yet."""


class TrustedClock:
    """Wall time, with a judgement: held by NTP, or in agreement with the platform.

    A clock that was never set (it shows a time before `EARLIEST_TRUE_TIME`) is replaced by the
    platform's. A likely one that differs from the platform's is kept, for the fault may be at the
    other end, and the difference is shown.
    """

    def __init__(self, clock: Clock, synchronised: Callable[[], bool] = synchronised) -> None:
        self._clock = clock
        self._synchronised = synchronised
        started = clock.stamp()
        self._started = started.monotonic
        self.unset_began = None if started.wall >= EARLIEST_TRUE_TIME else _origin(started)
        """What a clock that was never set showed as this boot began; None: it was set already."""
        self._platform: Stamp | None = None
        self._answered = False

    def hear(self, platform_time: float | None) -> None:
        """Take the platform's clock from an answer that has just come; UNIX seconds.

        None: the answer told no time, and so there is no second opinion to wait for.
        """
        self._answered = True
        if platform_time is not None and platform_time >= EARLIEST_TRUE_TIME:
            self._platform = Stamp(platform_time, self._clock.monotonic())

    def now(self) -> float:
        """The best wall time there is; UNIX seconds."""
        wall = self._clock.wall()
        if wall < EARLIEST_TRUE_TIME and self._platform is not None:
            return self._platform_now(self._platform)
        return wall

    @property
    def trusted(self) -> bool:
        """True: what is stamped now by the system's clock needs no correction later."""
        wall = self._clock.wall()
        if wall < EARLIEST_TRUE_TIME:
            return False
        platform = self._platform
        if platform is not None and abs(self._platform_now(platform) - wall) <= AGREEMENT:
            return True
        # Last: to ask the kernel costs more than the rest of an idle gateway's status.
        return self._synchronised()

    def vouches_for(self, stamp: Stamp) -> bool:
        """Tell whether a stamp of this boot, of now or earlier, needs no correction later."""
        return self.trusted and abs(self.correction(stamp)) <= JUMP

    def ready_in(self) -> float:
        """Seconds until records may carry times; 0: now. To be asked again after that."""
        if self._platform is not None or self.trusted:
            return 0.0
        if self._clock.wall() < EARLIEST_TRUE_TIME:
            return PATIENCE
        if self._answered:
            return 0.0
        return max(0.0, self._started + PATIENCE - self._clock.monotonic())

    def correction(self, stamp: Stamp) -> float:
        """Seconds to add to the wall time of a stamp of this boot to make it true."""
        age = self._clock.monotonic() - stamp.monotonic
        return self.now() - age - stamp.wall

    def view(self) -> ClockView:
        """The judgement, for the status file."""
        wall, platform = self._clock.wall(), self._platform
        return ClockView(
            trusted=self.trusted,
            unset=wall < EARLIEST_TRUE_TIME and platform is None,
            platform_ahead=None if platform is None else self._platform_now(platform) - wall,
        )

    def _platform_now(self, platform: Stamp) -> float:
        return platform.wall + self._clock.monotonic() - platform.monotonic


def _origin(stamp: Stamp) -> float:
    return stamp.wall - stamp.monotonic
