"""Errands: what the platform's messages and calls ask for: dialling, functions.

Dial at most once: an order is marked in the ledger before it goes to the board; if power fails
between, it is not repeated. Entries carry no id (PROTOCOL.md 2.4), so one that a list goes on
showing is the same one, and one that comes again after the list was without it is new.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from msgspec import Struct

from agent.boards.driver import DialRefused
from agent.boards.events import DialAnswer
from agent.call_writing import Port
from agent.clock import Clock
from agent.functions import Functions
from agent.journal import Journal
from agent.ledger import Ledger, LedgerError
from agent.ledger.errands import DIAL, MOST_WAITING, Order
from agent.ledger.rows import Errand, ErrandState
from agent.platform.listing import CallToPlace, Entry, Listing, OtherEntry
from agent.switchboard import Switchboard
from agent.text import masked_numbers

AFTER_PLACED = 3.0
"""Seconds for which a port that took an order is left alone, until it shows that it is in use."""
AFTER_BUSY = 2.0
"""Seconds before a port that said it is busy is asked again."""
SAME_ORDER = 60.0
"""Seconds for which an entry in the other list is the same order: either is read several times."""
MOST_LISTED = 1000
"""Entries of one list that are remembered: ten times what is looked at in one answer."""

log = logging.getLogger(__name__)


class ListingCounts(Struct):
    """What the lists brought, since the start."""

    malformed: int = 0
    ignored: int = 0
    """Entries of unknown status, and those beyond the limits."""


class Errands:
    """Takes the platform's lists, orders what can be ordered, and journals what became of it."""

    def __init__(
        self,
        ledger: Ledger,
        switchboard: Switchboard,
        clock: Clock,
        expire: float,
        functions: Functions,
        *,
        dial: Callable[[int, int, str], None],
        shown: Callable[[str], str],
        cannot_dial: Callable[[int], str] = lambda board: "",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`expire`: seconds that a call to place may wait for its port.

        `dial(board, channel, phone)` hands an order to the board; `shown` masks a number;
        `cannot_dial` tells why a board never dials, "" where it does; `on_change` is called when
        there is something new to show.
        """
        self._ledger = ledger
        self._switchboard = switchboard
        self._clock = clock
        self._expire = expire
        self._functions = functions
        self._dial = dial
        self._shown = shown
        self._cannot_dial = cannot_dial
        self._on_change = on_change
        self._lock = threading.RLock()
        self._ordered: dict[Port, int] = {}
        self._rest: dict[Port, float] = {}
        self._outcomes = Journal(ledger)
        self._none_open = False
        """True: no call waits to be placed or for its board, so a port that changes sets nothing
        going; on a busy gateway they change all the time."""
        self._empty: set[str] = set()
        """Sources whose list was empty when last read, durably; there are two sources."""
        self.counts = ListingCounts()

    def recover(self) -> None:
        """At start-up: what was ordered when the agent ended is not repeated."""
        for errand in self._ledger.errands.unfinished(DIAL):
            if errand.state is ErrandState.ORDERED:
                self._ledger.errands.move(
                    errand.id,
                    ErrandState.FAILED,
                    "the agent ended before the answer; not repeated",
                )
            elif self._ledger.new_boot:
                self._ledger.errands.move(
                    errand.id, ErrandState.EXPIRED, "the gateway was started anew meanwhile"
                )
        self._functions.recover(new_boot=self._ledger.new_boot)

    def take_over(self) -> None:
        """In the place of other Errands, on the same boards: their open orders are answered yet."""
        with self._lock:
            for errand in self._ledger.errands.unfinished(DIAL):
                if errand.state is ErrandState.ORDERED:
                    assert errand.board is not None
                    assert errand.channel is not None
                    self._ordered[errand.board, errand.channel] = errand.id
        self._functions.recover(new_boot=False)

    def take(self, source: str, listing: Listing) -> None:
        """Take one answer's entries; `source` is the command that brought them.

        Raises LedgerError; then nothing was taken, and nothing is obeyed.
        """
        self._count(source, listing)
        empty = not (listing.entries or listing.dropped)
        if empty and source in self._empty:
            return
        keys = frozenset(entry.key for entry in listing.entries)
        then: list[Callable[[], None]] = []
        with self._lock, self._ledger.transaction():
            known = self._ledger.errands.listed(source)
            seen: set[str] = set()
            for entry in listing.entries:
                if entry.key in known or entry.key in seen:
                    continue
                seen.add(entry.key)
                self._journal(source, entry, then)
            if listing.dropped:
                # What was not looked at may still be listed, and would come again as if new.
                keys |= frozenset(sorted(known - keys)[: MOST_LISTED - len(keys)])
            self._ledger.errands.set_listed(source, keys)
        # One thread takes the lists. Where a list is remembered as empty, one more says nothing.
        (self._empty.add if empty else self._empty.discard)(source)
        for act in then:
            act()
        if seen:
            self.pump()

    def port_changed(self) -> None:
        """A port changed, and may be idle now: `pump`, where a call waits. From any thread."""
        # Without the lock: who lets a call wait looks at the ports after that.
        if not self._none_open:
            self.pump()

    def pump(self) -> None:
        """Order the calls whose port is idle; let those go that waited too long."""
        with self._lock:
            try:
                self._outcomes.write()
                self._functions.write()
                if self._none_open:
                    return
                unfinished = self._ledger.errands.unfinished(DIAL)
                self._none_open = not unfinished
                for errand in unfinished:
                    if errand.state is ErrandState.WAITING:
                        self._order(errand)
            except LedgerError as error:
                log.error("calls to place wait, the ledger can't be used: %s", error)

    def due(self) -> float | None:
        """Seconds until `pump` has something to do by the clock; None: nothing waits."""
        with self._lock:
            if self._none_open:
                return None
            waiting = [
                errand
                for errand in self._ledger.errands.unfinished(DIAL)
                if errand.state is ErrandState.WAITING
            ]
            now = self._clock.monotonic()
            moments = [errand.expires for errand in waiting]
            rests = [self._rest.get((one.board or 0, one.channel or 0), 0.0) for one in waiting]
            moments += [rest for rest in rests if rest > now]
        return max(0.0, min(moments) - now) if moments else None

    def answered(self, board: int, answer: DialAnswer) -> None:
        """Take what the board says about an order."""
        port = (board, answer.channel)
        with self._lock:
            number = self._ordered.pop(port, None)
            if number is None:
                return
            now = self._clock.monotonic()
            if answer.accepted:
                self._rest[port] = now + AFTER_PLACED
                self._move(number, ErrandState.PLACED, "the board dials")
            elif answer.busy:
                # The board dialled nothing, so this is no second time.
                self._rest[port] = now + AFTER_BUSY
                self._move(number, ErrandState.WAITING, answer.reason or "the port was busy")
            else:
                self._move(number, ErrandState.FAILED, answer.reason)

    def link_lost(self, board: int, channels: Collection[int] | None = None) -> None:
        """Ports of a board are gone, all where `channels` is None.

        Their open orders may have been obeyed or not, and are not repeated.
        """
        with self._lock:
            lost = [
                port
                for port in self._ordered
                if port[0] == board and (channels is None or port[1] in channels)
            ]
            for port in lost:
                self._move(
                    self._ordered.pop(port), ErrandState.FAILED, "the board was lost; not repeated"
                )

    def _count(self, source: str, listing: Listing) -> None:
        if listing.malformed:
            self.counts.malformed += listing.malformed
            log.warning("%s: entries that can't be understood: %s", source, listing.reason)
            self._on_change()
        if listing.dropped:
            self.counts.ignored += listing.dropped
            log.warning("%s lists more entries than are looked at; the rest is left", source)

    def _journal(self, source: str, entry: Entry, then: list[Callable[[], None]]) -> None:
        if isinstance(entry, OtherEntry):
            self.counts.ignored += 1
            words = masked_numbers(entry.text)
            log.info("%s: an entry of status %d is left: %s", source, entry.status, words)
        elif isinstance(entry, CallToPlace):
            self._journal_call(source, entry)
        elif not self._ledger.errands.same_as_recent(entry.key, source, SAME_ORDER):
            then.append(self._functions.take(source, entry))

    def _journal_call(self, source: str, entry: CallToPlace) -> None:
        seconds = max(self._expire, SAME_ORDER)
        if self._ledger.errands.same_as_recent(entry.key, source, seconds):
            return
        board = self._board(entry.serial)
        order = Order(
            DIAL,
            entry.key,
            source,
            board=board,
            channel=entry.channel,
            phone=entry.phone,
            expires=self._clock.monotonic() + self._expire,
        )
        fault = ""
        if board is None:
            fault = "no such box here" if entry.serial else "it names no box, and there are several"
        elif not self._switchboard.has_port(board, entry.channel):
            fault = "the box has no such port"
        elif len(self._ledger.errands.unfinished(DIAL)) >= MOST_WAITING:
            fault = f"over {MOST_WAITING} calls wait already"
        self._none_open = False
        number = self._ledger.errands.add(order, ErrandState.WAITING)
        shown = self._shown(entry.phone)
        log.info("call to place %d: asked to call %s on port %d", number, shown, entry.channel)
        if fault:
            self._ledger.errands.move(number, ErrandState.FAILED, fault)
            self._say(number, ErrandState.FAILED, fault)

    def _board(self, serial: int | None) -> int | None:
        boards = self._switchboard.boards
        if serial is None:
            return boards[0] if len(boards) == 1 else None
        return serial if serial in boards else None

    def _order(self, errand: Errand) -> None:
        assert errand.board is not None
        assert errand.channel is not None
        port = (errand.board, errand.channel)
        now = self._clock.monotonic()
        never = self._cannot_dial(errand.board)
        if never:
            self._move(errand.id, ErrandState.FAILED, never)
        elif now >= errand.expires:
            words = f"its port was not free within {self._expire:g} s"
            self._move(errand.id, ErrandState.EXPIRED, words)
        elif (
            port not in self._ordered
            and self._rest.get(port, 0.0) <= now
            and self._switchboard.idle(*port)
        ):
            self._ledger.errands.move(errand.id, ErrandState.ORDERED)
            self._ordered[port] = errand.id
            try:
                self._dial(errand.board, errand.channel, errand.phone)
            except DialRefused as refusal:
                del self._ordered[port]
                self._move(errand.id, ErrandState.FAILED, str(refusal))

    def _move(self, number: int, state: ErrandState, outcome: str) -> None:
        """Write an outcome down, later where the ledger can't be written: it comes only once."""
        self._outcomes.move(number, state, outcome)
        self._say(number, state, outcome)

    def _say(self, number: int, state: ErrandState, outcome: str) -> None:
        self._on_change()
        level = logging.WARNING if state is ErrandState.FAILED else logging.INFO
        log.log(level, "call to place %d: %s, %s", number, state, outcome)
