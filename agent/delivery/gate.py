"""Whether sending makes sense just now: one shared breaker for the platform's outages.

A dead platform costs one probe at a time, whoever asks. A configuration that the platform
refuses stops all sending, with a probe every few minutes.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from agent.clock import Clock
from agent.language import joined
from agent.settings import Retry

SHORTEST_WAIT = 0.2
"""Seconds: full jitter may draw nothing at all, which would be no wait."""
LATER = 0.1
"""Part of a pause that the platform asked for by which it may last longer."""
OUTAGE_AFTER = 3
"""Different things in a row that fail for reasons of their own or the platform's, with no good
answer between: then it is taken for the platform's."""


class Shut(StrEnum):
    """Why the gate is shut."""

    OUTAGE = "outage"
    CONFIGURATION = "configuration"
    REFUSALS = "refusals"
    """Of one lane (`pace.py`): the platform refuses whatever the lane sends."""


class GateView(Struct, frozen=True):
    """The platform as the gate knows it."""

    shut: Shut | None
    since: float
    """Wall time at which the gate was shut; 0 where it is open."""
    reason: str
    last_good: float | None
    """Wall time of the last answer that was one."""
    refusing: str = ""
    """What the platform refuses altogether though it answers, and why; empty: nothing."""


def full_jitter(retry: Retry, failures: int, draw: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row: up to `first` doubled each time.

    `draw` gives numbers from 0 to 1. The whole range is drawn from, so that gateways which
    failed together do not come back together.
    """
    # 2.0 ** 1024 overflows; long before that the longest wait has been reached.
    most = min(retry.longest, retry.first * 2.0 ** min(failures - 1, 64))
    return max(min(SHORTEST_WAIT, most), most * draw())


class Gate:
    """Shared by all that talk to the platform; safe from any thread."""

    def __init__(
        self,
        retry: Retry,
        clock: Clock,
        on_change: Callable[[], None],
        draw: Callable[[], float] = random.random,
        *,
        reopened: Callable[[float], None] = lambda outage: None,
        asker: Callable[[], int] = threading.get_ident,
    ) -> None:
        """`reopened` is called with the seconds for which it was shut; it must not call back.

        `asker` tells who asks: one that was let through as a probe is known again by it.
        """
        self._reopened = reopened
        self._asker = asker
        self._retry = retry
        self._clock = clock
        self._on_change = on_change
        self._draw = draw
        self._lock = threading.Lock()
        self._shut: Shut | None = None
        self._since = 0.0
        self._shut_at = 0.0
        self._reason = ""
        self._failures = 0
        self._probe_at = 0.0
        self._prober: int | None = None
        self._not_before = 0.0
        """Monotonic seconds until which the platform asked to be left alone."""
        self._doubts: set[str] = set()
        """What failed since the last good answer; at most `OUTAGE_AFTER`."""
        self._refusing: dict[str, str] = {}
        """Reasons by kind of item: two."""
        self._last_good: float | None = None

    def admit(self) -> float:
        """Ask to send: 0 lets the calling thread send one request, and it must say what became
        of it. Otherwise the seconds after which to ask again.
        """
        with self._lock:
            if self._shut is None:
                return 0.0
            wait = max(self._probe_at, self._not_before) - self._clock.monotonic()
            if self._prober is not None:
                return max(wait, self._retry.first)
            if wait > 0:
                return wait
            self._prober = self._asker()
            return 0.0

    @property
    def is_shut(self) -> bool:
        """True: one request at a time is let through, if any."""
        return self._shut is not None

    def allows_report(self) -> bool:
        """Reports go on through an outage, at their own interval: they find out when it ends.

        A refused configuration stops them too, and so does a platform that asked for a pause.
        """
        return self._shut is not Shut.CONFIGURATION and not self._asked_to_wait()

    def answered(self) -> None:
        """The platform answered as the protocol promises, if only to refuse an item."""
        with self._lock:
            self._last_good = self._clock.wall()
            self._doubts.clear()
            if self._asked_to_wait():
                # What was under way as the platform asked for a pause does not end the pause.
                self._end_probe()
                return
            opened = self._shut is not None
            self._shut, self._failures, self._prober = None, 0, None
            self._since, self._reason = 0.0, ""
            if opened:
                self._reopened(self._clock.monotonic() - self._shut_at)
        if opened:
            self._on_change()

    def failed(self, shut: Shut, reason: str, retry_after: float | None) -> None:
        """The platform could not be reached, or refused the configuration.

        While the gate is shut only its probe moves the time of the next one. Reports would put it
        off for ever; and uploads that were under way together when an outage began are one
        failure, not many in a row. `retry_after`: seconds that the platform asks to be left alone,
        which binds all, whoever was told.
        """
        with self._lock:
            now = self._clock.monotonic()
            self._not_before = max(self._not_before, now + self._asked_for(retry_after))
            changed = self._shut is not shut
            probed = self._end_probe()
            if not changed and not probed:
                self._reason = reason
                return
            self._failures = 1 if changed else self._failures + 1
            if shut is Shut.CONFIGURATION:
                wait = self._retry.configuration_probe * (0.9 + 0.2 * self._draw())
            else:
                wait = full_jitter(self._retry, self._failures, self._draw)
            self._probe_at = now + wait
            if self._shut is None:
                self._since, self._shut_at = self._clock.wall(), self._clock.monotonic()
            self._shut, self._reason = shut, reason
        if changed:
            self._on_change()

    def doubted(self, what: str, reason: str, retry_after: float | None) -> bool:
        """Something failed by its own fault or the platform's; tell whether it is an outage.

        `what` names it: the same thing that fails again and again says nothing of the platform.
        """
        with self._lock:
            self._doubts.add(what)
            outage = self._shut is not None or len(self._doubts) >= OUTAGE_AFTER
            if outage:
                self._doubts.clear()
        if outage:
            self.failed(Shut.OUTAGE, reason, retry_after)
        return outage

    def refuses(self, kind: str, reason: str) -> None:
        """The platform refuses every item of a kind, or, with an empty reason, no longer does."""
        with self._lock:
            changed = self._refusing.get(kind, "") != reason
            self._refusing[kind] = reason
        if changed:
            self._on_change()

    def gave_up(self) -> None:
        """A request was abandoned by us: it says nothing of the platform."""
        with self._lock:
            self._end_probe()

    def probe_now(self) -> None:
        """Let the next one who asks try at once: something was changed by hand."""
        with self._lock:
            self._probe_at = self._not_before = 0.0
        self._on_change()

    def view(self) -> GateView:
        """What the status file says of the platform."""
        with self._lock:
            refusing = joined(self._refusing.values()) if self._refusing else ""
            return GateView(self._shut, self._since, self._reason, self._last_good, refusing)

    def _asked_for(self, retry_after: float | None) -> float:
        """A little more than was asked: a whole fleet may have been told the same moment."""
        return (retry_after or 0.0) * (1 + LATER * self._draw())

    def _asked_to_wait(self) -> bool:
        return self._clock.monotonic() < self._not_before

    def _end_probe(self) -> bool:
        """Let another one probe; False: the calling thread is not the one that does."""
        if self._prober != self._asker():
            return False
        self._prober = None
        return True
