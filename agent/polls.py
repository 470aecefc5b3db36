"""Asks the platform for messages and for calls to place, at intervals of their own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from agent.clock import Clock
from agent.delivery.gate import Gate
from agent.delivery.outcomes import learn_from
from agent.errands import Errands
from agent.ledger import LedgerError
from agent.parts import Alive, Bell
from agent.periods import Together
from agent.platform.client import PlatformClient
from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.listing import Listing
from agent.settings import Polls

LONGEST_WAIT = 3600.0
"""Seconds of one wait at most, where both polls are off."""

log = logging.getLogger(__name__)


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
        lists: dict[str, tuple[str, Callable[[], Listing]]] = {
            "calls": ("getCallList", client.calls),
            "messages": (self._message_command, client.messages),
        }
        intervals = {"calls": self._settings.calls, "messages": self._settings.messages}
        polls = Together(intervals, self._clock.monotonic(), self._draw)
        while not stop.is_set():
            heard = self.bell.rings
            for name in polls.ripe(self._clock.monotonic()):
                if not stop.is_set():
                    alive(longest_request)
                    self._ask(*lists[name])
                    polls.done(name, self._clock.monotonic())
            wait = polls.next_turn - self._clock.monotonic()
            wait = min(max(wait, 0.0), LONGEST_WAIT)
            alive(wait + longest_request)
            self.bell.wait(heard, wait)

    def _ask(self, source: str, ask: Callable[[], Listing]) -> None:
        if self._gate.is_shut:
            return
        try:
            listing = ask()
        except PlatformFailure as failure:
            learn_from(failure, self._gate, source, self._read_identity)
            log.warning("%s gave no list: %s", source, failure.message)
            if failure.kind is FailureKind.UNUSABLE:
                self._errands.counts.malformed += 1
            return
        self._gate.answered()
        try:
            self._errands.take(source, listing)
        except LedgerError as error:
            # What can't be written down is not obeyed: it might be obeyed twice.
            log.error("%s: what it lists can't be taken: %s", source, error)
