"""Asks the platform for messages and for calls to place, at intervals of their own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from agent.clock import Clock
from agent.delivery.gate import Gate
from agent.delivery.outcomes import learn_from
from agent.errands import Errands
from agent.ledger import LedgerError
from agent.parts import Alive, Bell
from agent.periods import Period
from agent.platform.client import PlatformClient
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.listing import Listing
from agent.settings import Polls

TOGETHER = 0.1
"""Part of the interval by which a poll is taken along where the other one is due: one time that the
gateway wakes up instead of two, and the second request costs a third of the first."""

log = logging.getLogger(__name__)


@dataclass
class _Poll:
    source: str
    period: Period
    ask: Callable[[], Listing]
    due: float


class Poller:
    """Polls in one thread; while the platform is known to be out of reach it does not."""

    def __init__(
        self,
        settings: Polls,
        message_command: str,
        errands: Errands,
        gate: Gate,
        clock: Clock,
        draw: Callable[[], float] = random.random,
        *,
        read_identity: Callable[[], object],
    ) -> None:
        """`read_identity` is called where the platform misses the gateway's MAC address."""
        self._settings = settings
        self._message_command = message_command
        self._errands = errands
        self._gate = gate
        self._clock = clock
        self._draw = draw
        self._read_identity = read_identity
        self.bell = Bell()
        """Rung to end a wait, when the agent stops."""

    def run(
        self, client: PlatformClient, longest_request: float, stop: threading.Event, alive: Alive
    ) -> None:
        """Poll until told to stop."""
        now = self._clock.monotonic()
        wanted = (
            ("getCallList", self._settings.calls, client.calls),
            (self._message_command, self._settings.messages, client.messages),
        )
        polls = [
            _Poll(source, period, ask, now + period.first())
            for source, interval, ask in wanted
            if interval > 0
            for period in (Period(interval, self._draw),)
        ]
        while not stop.is_set():
            heard = self.bell.rings
            now = self._clock.monotonic()
            early = TOGETHER if any(now >= poll.due for poll in polls) else 0.0
            for poll in polls:
                if now >= poll.due - early * poll.period.interval and not stop.is_set():
                    alive(longest_request)
                    self._ask(poll)
                    poll.due = self._clock.monotonic() + poll.period.next()
            wait = min((poll.due for poll in polls), default=float("inf"))
            wait = min(max(wait - self._clock.monotonic(), 0.0), 3600.0)
            alive(wait + longest_request)
            self.bell.wait(heard, wait)

    def _ask(self, poll: _Poll) -> None:
        if self._gate.view().shut is not None:
            return
        try:
            listing = poll.ask()
        except PlatformFailure as failure:
            learn_from(failure, self._gate, poll.source, self._read_identity)
            log.warning("%s gave no list: %s", poll.source, failure.message)
            if failure.kind is FailureKind.UNUSABLE:
                self._errands.counts.malformed += 1
            return
        self._gate.answered()
        try:
            self._errands.take(poll.source, listing)
        except LedgerError as error:
            # What can't be written down is not obeyed: it might be obeyed twice.
            log.error("%s: what it lists can't be taken: %s", poll.source, error)
