"""What messages may name: functions that are built in, and what waits its turn to be run.

A name is looked up in the configured aliases, then among the built-in functions, then in
`functions.directory`. Built-in ones are quick and run at once; programs and a reboot are queued.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from agent.clock import Clock
from agent.function_queue import FunctionQueue
from agent.journal import Journal
from agent.ledger import Ledger
from agent.ledger.errands import FUNCTION, MOST_FUNCTIONS_WAITING, Order
from agent.ledger.rows import ErrandState
from agent.platform.listing import FunctionMessage

STALE_AFTER = 3600.0
"""Seconds for which a function may wait for its turn; what is late by more is hardly wanted."""

BUILT_IN = ("report", "rescan", "retry")
"""Names of the functions that are built in, beside `reboot`, which has to be switched on."""
ALL = "all"
"""What `retry` is told for everything that waits."""

BuiltIn = Callable[[Mapping[str, str]], str]
"""Takes a message's parameters, returns the outcome in words; may raise."""

log = logging.getLogger(__name__)


class FunctionRefused(Exception):
    """A built-in function does nothing; the message says why, and is the outcome."""


class Functions:
    """Takes messages that name functions; each is written down before it is obeyed, and once."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        built_in: Mapping[str, BuiltIn],
        aliases: Mapping[str, str],
        queue: FunctionQueue | None = None,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`queue` runs what is not built in; `on_change` tells of something new to show."""
        self._ledger = ledger
        self._clock = clock
        self._built_in = built_in
        self._aliases = aliases
        self._queue = queue
        self._on_change = on_change
        self._journal = Journal(ledger)

    def take(self, source: str, message: FunctionMessage) -> Callable[[], None]:
        """Write a message down, within its list's transaction; return what is to be done after."""
        name = self._aliases.get(message.name, message.name)
        built_in = self._built_in.get(name)
        if built_in is not None:
            number = self._add(source, message, ErrandState.ORDERED)
            return lambda: self._run(number, message, built_in)
        state, outcome = ErrandState.UNKNOWN, "there is no such function"
        if self._queue is not None:
            state, outcome = self._queue.place(name)
        if state is ErrandState.WAITING and self._waiting() >= MOST_FUNCTIONS_WAITING:
            state = ErrandState.FAILED
            outcome = f"{MOST_FUNCTIONS_WAITING} functions wait already"
        number = self._add(source, message, state, outcome)
        if self._queue is None or state is not ErrandState.WAITING:
            return lambda: self._say(message, number, state, outcome)
        return self._queue.bell.ring

    def recover(self, *, new_boot: bool) -> None:
        """At start-up and after a reload: nothing runs, and what ran is not repeated.

        `new_boot`: what stands in the ledger is of an earlier boot.
        """
        for errand in self._ledger.errands.unfinished(FUNCTION):
            if errand.state is ErrandState.ORDERED:
                state, outcome = ErrandState.FAILED, "interrupted as the agent ended; not repeated"
                if new_boot and self._is_reboot(errand.name):
                    state, outcome = ErrandState.DONE, "the gateway was started anew"
            elif new_boot:
                state, outcome = ErrandState.EXPIRED, "the gateway was started anew meanwhile"
            elif self._queue is None or not self._queue.needed:
                state, outcome = ErrandState.FAILED, "the configuration has no programs"
            else:
                continue
            self._journal.move(errand.id, state, outcome)

    def write(self) -> None:
        """Write down outcomes that the ledger did not take before. Raises LedgerError."""
        self._journal.write()

    def _is_reboot(self, name: str) -> bool:
        return self._queue is not None and self._queue.is_reboot(name)

    def _waiting(self) -> int:
        unfinished = self._ledger.errands.unfinished(FUNCTION)
        return sum(errand.state is ErrandState.WAITING for errand in unfinished)

    def _add(
        self, source: str, message: FunctionMessage, state: ErrandState, outcome: str = ""
    ) -> int:
        order = Order(
            FUNCTION,
            message.key,
            source,
            board=message.serial,
            channel=message.channel,
            phone=message.phone,
            name=message.name,
            parameters=message.parameters,
            expires=self._clock.monotonic() + STALE_AFTER,
        )
        return self._ledger.errands.add(order, state, outcome)

    def _run(self, number: int, message: FunctionMessage, function: BuiltIn) -> None:
        try:
            state, outcome = ErrandState.DONE, function(dict(message.parameters))
        except FunctionRefused as refusal:
            state, outcome = ErrandState.FAILED, str(refusal)
        except Exception as error:  # a function may fail as it likes
            state, outcome = ErrandState.FAILED, f"{type(error).__name__}: {error}"
        self._journal.move(number, state, outcome)
        self._say(message, number, state, outcome)

    def _say(self, message: FunctionMessage, number: int, state: ErrandState, outcome: str) -> None:
        self._on_change()
        level = logging.INFO if state is ErrandState.DONE else logging.WARNING
        log.log(level, "function %s (%d): %s, %s", message.name, number, state, outcome)


def retried(parameters: Mapping[str, str]) -> str:
    """What a message has tried again: `item=…`, or alone without a name. Raises FunctionRefused."""
    named = [parameters[key].strip() for key in ("item", "callid", "id") if key in parameters]
    named += [key.strip() for key, value in parameters.items() if not value.strip()]
    found = next(filter(None, named), "")
    if not found:
        raise FunctionRefused("what is to be tried again: item=, and a number, a callid or all")
    return found
