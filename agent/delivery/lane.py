"""The way of one item: chosen, admitted, sent, and its outcome written down.

Any number of workers share a lane, each with a connection of its own.
"""

from __future__ import annotations

import logging
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from agent.clock import Clock
from agent.delivery.bells import Bells
from agent.delivery.gate import Gate, Shut, full_jitter
from agent.delivery.outcomes import Blame, Meaning, meaning
from agent.delivery.pace import SLOW_AFTER, Pace
from agent.delivery.spread import Spread
from agent.delivery.turns import Turns
from agent.language import marked, said
from agent.ledger import Ledger, LedgerError
from agent.ledger.rows import Pick
from agent.parts import Alive, Bell
from agent.platform.client import PlatformClient
from agent.platform.failures import PlatformFailure
from agent.settings import Retry

LONGEST_SLEEP = 60.0
"""Seconds after which a worker looks even if nobody rang: `queue retry` may have written."""
LONGEST_REST = 300.0
"""The same where nothing waits: whatever comes rings."""
NEWEST_SHARE = 0.5
"""Part of the probes that goes to the newest item."""
WRITE_AGAIN_AFTER = 5.0
"""Seconds between attempts to write an outcome into a ledger that is full or read-only."""

_SLOW = {
    "record": marked("the platform refused the last {number} records, one after another: {reason}"),
    "recording": marked(
        "the platform refused the last {number} recordings, one after another: {reason}"
    ),
}
"""By kind of item."""

Outcome = Callable[[], bool]
"""Writes down what became of an item; True: others may have something to do now."""

log = logging.getLogger(__name__)


class Item(Protocol):
    """What a lane carries."""

    @property
    def refusals(self) -> int:
        """How often the platform refused it."""

    @property
    def since(self) -> float:
        """Wall time at which it began to wait."""


ItemType = TypeVar("ItemType", bound=Item)


class Surroundings(Struct, frozen=True):
    """What all lanes have in common."""

    ledger: Ledger
    clock: Clock
    gate: Gate
    spread: Spread
    retry: Retry
    bells: Bells
    duplicate_status: frozenset[int]
    read_identity: Callable[[], str | None]
    longest_request: float
    """Seconds that one request may take between two signs of life."""
    draw: Callable[[], float] = random.random


class Lane(ABC, Generic[ItemType]):
    """One kind of item on its way to the platform."""

    kind: str

    def __init__(self, surroundings: Surroundings, bell: Bell) -> None:
        """`bell` is rung when there may be something of this kind to send."""
        self.around = surroundings
        self._bell = bell
        self.pace = Pace(surroundings.retry, surroundings.clock, bell.ring, surroundings.draw)
        self._turns = Turns(surroundings.gate, self.pace, surroundings.spread)
        self._in_doubt = False
        """True: what failed last may have failed by its own fault."""
        self._claims = threading.Lock()
        self._busy: set[int] = set()

    @abstractmethod
    def choose(self, busy: set[int]) -> ItemType | None:
        """The next item that is due, other than those in work, as `pick` tells."""

    @abstractmethod
    def number(self, item: ItemType) -> int:
        """Its number in the ledger."""

    @abstractmethod
    def name(self, item: ItemType) -> str:
        """What to call it in the log."""

    @abstractmethod
    def send(self, item: ItemType, client: PlatformClient, alive: Alive) -> Outcome:
        """Send it; return what writes the acceptance down. Raises PlatformFailure."""

    @abstractmethod
    def accept_duplicate(self, item: ItemType, callid: str | None) -> bool:
        """Write down that the platform has had it before, as an `Outcome` does."""

    @abstractmethod
    def remedy(self, item: ItemType, failure: PlatformFailure, found: Meaning) -> bool:
        """Do what the failure asks for besides waiting; True: the item's wait is arranged."""

    def pick(self) -> Pick:
        """Which item is next: the oldest. Where one at a time is let through and what failed may be
        at fault itself, now the newest, now one drawn by lot: so a run of items that the platform
        does not take hides none that it would.
        """
        if self._turns.newest_only:
            return Pick.NEWEST
        outage = self._in_doubt and self.around.gate.is_shut
        if not self.pace.slow and not outage:
            return Pick.OLDEST
        return Pick.NEWEST if self.around.draw() < NEWEST_SHARE else Pick.LOT

    def closed_for(self) -> float:
        """Seconds for which this lane rests altogether, whatever is due; 0: it does not."""
        return 0.0

    def run(self, client: PlatformClient, stop: threading.Event, alive: Alive) -> None:
        """Be one worker until told to stop."""
        while not stop.is_set():
            heard = self._bell.rings
            try:
                wait = self.step(client, stop, alive)
            except LedgerError as error:
                log.error("nothing is sent, for the ledger can't be used just now: %s", error)
                stop.wait(WRITE_AGAIN_AFTER)
                continue
            if wait > 0:
                alive(wait + LONGEST_SLEEP)
                self._bell.wait(heard, wait)

    def step(self, client: PlatformClient, stop: threading.Event, alive: Alive) -> float:
        """Send one item, if one is due; return the seconds until there may be another."""
        rest = self.closed_for()
        if rest > 0:
            return min(rest, LONGEST_SLEEP)
        with self._claims:
            item = self.choose(self._busy)
            if item is None:
                return self._sleep()
            wait = self._turns.admit(item.since)
            if wait > 0:
                return min(wait, LONGEST_SLEEP)
            number = self.number(item)
            self._busy.add(number)
        try:
            self._attempt(item, client, stop, alive)
        except BaseException:
            self.around.gate.gave_up()
            raise
        finally:
            self.pace.learnt_nothing()
            with self._claims:
                self._busy.discard(number)
        return 0.0

    def _sleep(self) -> float:
        due = self.around.ledger.deliveries.next_due(self.kind, self._busy)
        if due is None:
            return LONGEST_REST
        return min(max(due - self.around.clock.monotonic(), 0.01), LONGEST_SLEEP)

    def _attempt(
        self, item: ItemType, client: PlatformClient, stop: threading.Event, alive: Alive
    ) -> None:
        number = self.number(item)
        try:
            write = self.send(item, client, alive)
        except PlatformFailure as failure:
            if failure.status is not None and failure.status in self.around.duplicate_status:
                callid = failure.answer.callid if failure.answer else None
                log.info("%s was at the platform already", self.name(item))
                write = self._accepted(lambda: self.accept_duplicate(item, callid))
            else:
                write = self._failed(item, number, failure)
        except LedgerError:
            raise
        except Exception as error:  # a fault of ours must not hold up the items behind this one
            write = self._stumbled(item, number, error)
        else:
            write = self._accepted(write)
        if self._write_down(write, stop, alive):
            self.around.bells.ring()

    def _accepted(self, write: Outcome) -> Outcome:
        self.around.gate.answered()
        self._in_doubt = False
        if self.pace.accepted():
            self.around.gate.refuses(self.kind, "")
            log.info("the platform takes %ss again", self.kind)
        return write

    def _failed(self, item: ItemType, number: int, failure: PlatformFailure) -> Outcome:
        found = meaning(failure)
        words = failure.message
        blamed = self._tell_gate(number, found, words, failure.retry_after)
        in_doubt = found.blame is Blame.EITHER or (
            found.blame is Blame.PLATFORM and failure.http_status is not None
        )
        self._in_doubt = in_doubt
        name = self.name(item)
        if found.blame is Blame.CONFIGURATION:
            log.error("all sending is paused, until the configuration is mended: %s", words)
        elif not blamed and found.blame is not Blame.NOBODY:
            log.warning("everything waits and is tried again: %s", words)
        else:
            log.warning("%s: %s; it is tried again", name, words)

        def write() -> bool:
            if self.remedy(item, failure, found):
                return True
            wait = full_jitter(self.around.retry, item.refusals + 1, self.around.draw)
            due = self.around.clock.monotonic() + max(wait, failure.retry_after or 0.0)
            if blamed:
                self.around.ledger.deliveries.refused(number, words, due)
            elif in_doubt:
                # It may be this item after all: the next probe takes another.
                self.around.ledger.deliveries.postponed(number, words, due)
            return True

        return write

    def _stumbled(self, item: ItemType, number: int, error: Exception) -> Outcome:
        self.around.gate.gave_up()
        words = f"the agent itself failed on it: {type(error).__name__}"
        log.error("%s: %s; it is tried again", self.name(item), words, exc_info=error)
        wait = full_jitter(self.around.retry, item.refusals + 1, self.around.draw)
        due = self.around.clock.monotonic() + wait

        def write() -> bool:
            self.around.ledger.deliveries.refused(number, words, due)
            return True

        return write

    def _tell_gate(
        self, number: int, found: Meaning, words: str, retry_after: float | None
    ) -> bool:
        """Tell the gate what became of a request; return whether the item itself is to blame."""
        gate = self.around.gate
        if found.blame in {Blame.NOBODY, Blame.FILE}:
            gate.gave_up()
        elif found.blame is Blame.ITEM:
            gate.answered()
            self._tell_pace(number, words)
        elif found.blame is Blame.CONFIGURATION:
            gate.failed(Shut.CONFIGURATION, words, retry_after)
        elif found.blame is Blame.PLATFORM:
            gate.failed(Shut.OUTAGE, words, retry_after)
        else:
            return not gate.doubted(f"{self.kind} {number}", words, retry_after)
        return found.blame in {Blame.ITEM, Blame.FILE}

    def _tell_pace(self, number: int, words: str) -> None:
        if self.pace.refused(number, words):
            slow = said(_SLOW[self.kind], number=SLOW_AFTER, reason=words)
            self.around.gate.refuses(self.kind, slow)
            log.warning("%s; they go one at a time until one is taken", slow)

    def _write_down(self, write: Outcome, stop: threading.Event, alive: Alive) -> bool:
        # An outcome that is not durable must not be followed by another request: it waits here,
        # one for each worker, until the ledger can be written again.
        while True:
            try:
                return write()
            except LedgerError as error:
                log.error("an answer can't be written down, sending waits: %s", error)
                alive(WRITE_AGAIN_AFTER * 2)
                if stop.wait(WRITE_AGAIN_AFTER):
                    return False
