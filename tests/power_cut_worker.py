"""Ledger work for `tests.power_cut`: each step is told on standard output once it is durable.

Some steps are soft, as what is found anew may be: these are told as such, and as durable with the
next one that is not.
First it holds the ledger against what earlier lives told, given as JSON on standard input:
`{"seed": 1, "synchronous": "FULL", "told": {"NUMBER": STAGE}}`.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from agent.calls import Call, Direction
from agent.clock import Stamp, SystemClock
from agent.ledger import FILE_NAME, Ledger, LedgerError, open_ledger
from agent.ledger.errands import DIAL, Order
from agent.ledger.recordings import NewRecording
from agent.ledger.rows import ErrandState

MOST_UNFINISHED = 20
"""Items that are at work at once: more of them and none would come to its end."""
SOFT = 0.5
"""Part of the steps that wait for no disk."""
MANY = 40
"""Calls that now and then begin in one transaction, so that one commit is many pages."""

STAGES = {
    "call": ("begun", "ended", "frozen", "booked"),
    "recording": ("known", "attached", "delivered"),
    "errand": ("waiting", "ordered", "placed"),
}
"""What each kind of item goes through, one durable step after the other."""

STAGES_IN_LEDGER = """
SELECT c.id, CASE WHEN c.ended IS NULL THEN 1 WHEN d.item_id IS NULL THEN -1
    WHEN d.body IS NULL THEN 2 WHEN d.callid IS NULL THEN 3 ELSE 4 END
  FROM calls AS c LEFT JOIN deliveries AS d ON d.item_id = c.id
UNION ALL
SELECT r.id, CASE WHEN d.item_id IS NULL THEN -1 WHEN d.done IS NOT NULL THEN 3
    WHEN r.call_id IS NOT NULL THEN 2 ELSE 1 END
  FROM recordings AS r LEFT JOIN deliveries AS d ON d.item_id = r.id
UNION ALL
SELECT id, CASE state WHEN 'waiting for its channel' THEN 1 WHEN 'ordered' THEN 2 ELSE 3 END
  FROM errands
"""
"""Number and stage of each item; -1 where half of a transaction is missing."""


def tell(what: str, *more: object) -> None:
    """One line for the supervisor, which counts only lines that came whole."""
    print(json.dumps([what, *more]), flush=True)


def main(directory: Path) -> None:
    """Open, judge, work until power is cut."""
    orders = json.loads(sys.stdin.readline())
    try:
        ledger = open_ledger(directory, SystemClock())
    except LedgerError as error:
        tell("unopened", str(error))
        return
    if ledger.set_aside is not None:
        tell("damaged", ledger.damage)
    told = {int(number): stage for number, stage in orders["told"].items()}
    found = look(directory / FILE_NAME)
    for fault in differences(told, found):
        tell("lost", fault)
    tell("opened", found)
    Work(directory, ledger, random.Random(orders["seed"]), orders["synchronous"]).go_on()


def look(path: Path) -> dict[int, int]:
    """The stage of each item that the ledger holds."""
    with closing(sqlite3.connect(path)) as connection:
        finding = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if finding != ("ok",):
            tell("damaged", finding[0])
        return dict(connection.execute(STAGES_IN_LEDGER).fetchall())


def differences(told: dict[int, int], found: dict[int, int]) -> list[str]:
    """What was told as durable and is not there.

    More may be: power failed before it was told.
    """
    wrong = [f"{number} is half written" for number, stage in found.items() if stage < 0]
    for number, stage in told.items():
        if found.get(number, 0) < stage:
            wrong.append(f"{number} was at stage {stage} and is at {found.get(number)}")
    return wrong


class Work:
    """Items that begin and go on, in an order drawn by lot."""

    def __init__(
        self, directory: Path, ledger: Ledger, chance: random.Random, synchronous: str
    ) -> None:
        self._directory = directory
        self._chance = chance
        self._synchronous = synchronous
        self._clock = SystemClock()
        self._items: dict[int, tuple[str, int]] = {}
        self._soft: list[tuple[int, int]] = []
        """Number and stage of the steps that are not durable yet."""
        self._steps: dict[str, tuple[Callable[[int], list[tuple[int, int]]], ...]] = {
            "call": (self._end, self._freeze, self._book),
            "recording": (self._attach, self._deliver),
            "errand": (self._order, self._place),
        }
        self._use(ledger)

    def go_on(self) -> None:
        """Work for ever."""
        while True:
            lot = self._chance.random()
            if lot < 0.01:
                self._ledger.close()
                self._tell_soft()
                self._use(open_ledger(self._directory, self._clock))
            elif lot < 0.03:
                with self._ledger.transaction():
                    begun = [self._begin() for _ in range(MANY)]
                self._tell_soft()
                for number in begun:
                    tell("step", number, 1)
            elif lot < 0.05:
                with self._ledger.transaction():
                    """Of nothing: it waits for what was soft."""
                self._tell_soft()
            elif len(self._items) < MOST_UNFINISHED:
                self._begin_an_item()
            else:
                self._go_on_with_an_item()

    def _step(self, work: Callable[[], list[tuple[int, int]]]) -> None:
        """Take one step, and tell the items' numbers and stages when they are durable."""
        soft = self._chance.random() < SOFT
        with self._ledger.transaction(soft=soft):
            done = work()
        if soft:
            for number, stage in done:
                tell("soft", number, stage)
            self._soft += done
            return
        self._tell_soft()
        for number, stage in done:
            tell("step", number, stage)

    def _tell_soft(self) -> None:
        for number, stage in self._soft:
            tell("step", number, stage)
        self._soft.clear()

    def _use(self, ledger: Ledger) -> None:
        self._ledger = ledger
        if self._synchronous != "FULL":
            ledger._store._wait_for_disk = lambda wait: None  # type: ignore[method-assign]
            ledger._store._connection.execute(f"PRAGMA synchronous = {self._synchronous}")

    def _begin_an_item(self) -> None:
        kind = self._chance.choice(list(STAGES))
        begin = {"call": self._begin, "recording": self._find, "errand": self._ask}[kind]

        def work() -> list[tuple[int, int]]:
            number = begin()
            self._items[number] = (kind, 1)
            return [(number, 1)]

        self._step(work)

    def _go_on_with_an_item(self) -> None:
        number = self._chance.choice(list(self._items))
        kind, stage = self._items.pop(number)
        self._step(lambda: [*self._steps[kind][stage - 1](number), (number, stage + 1)])
        if stage + 1 < len(STAGES[kind]):
            self._items[number] = (kind, stage + 1)

    def _call(self) -> Call:
        at = Stamp(self._clock.wall(), self._clock.monotonic())
        phone = "".join(self._chance.choices("0123456789", k=11))
        return Call(1, self._chance.randint(1, 8), Direction.OUT, phone, at, at, None, at)

    def _begin(self) -> int:
        return self._ledger.calls.begin(self._call(), clock_trusted=True)

    def _end(self, number: int) -> list[tuple[int, int]]:
        stored = self._ledger.calls.get(number)
        assert stored is not None
        call = replace(stored.call, ended=self._clock.stamp())
        self._ledger.calls.end(number, call, clock_trusted=True, wait_for_recording=60.0)
        return []

    def _freeze(self, number: int) -> list[tuple[int, int]]:
        self._ledger.deliveries.freeze(number, f"id={number}".encode() * 20)
        return []

    def _book(self, number: int) -> list[tuple[int, int]]:
        self._ledger.deliveries.booked(number, f"76876{number}")
        return []

    def _find(self) -> int:
        name = f"{self._chance.random()}.wav"
        new = NewRecording(name, 1000, self._chance.randint(1, 2**60), "good", "", "wav", 30.0, "")
        return self._ledger.recordings.add(new, None, call_due=self._clock.monotonic() + 60)

    def _attach(self, number: int) -> list[tuple[int, int]]:
        with self._ledger.transaction():
            call_id = self._begin()
            self._end(call_id)
            self._ledger.recordings.attach(number, call_id)
        return [(call_id, 2)]

    def _deliver(self, number: int) -> list[tuple[int, int]]:
        with self._ledger.transaction():
            row = self._ledger._store.row("SELECT call_id FROM recordings WHERE id = ?", (number,))
            assert row is not None
            self._ledger.deliveries.freeze(row[0], b"frozen")
            self._ledger.deliveries.booked(row[0], "1")
            item = self._ledger.deliveries.next_recording()
            assert item is not None
            assert item.id == number
            self._ledger.deliveries.delivered(item, "0" * 64)
        return [(row[0], 4)]

    def _ask(self) -> int:
        entry = f"call-{self._chance.random()}"
        order = Order(DIAL, entry, "getCallList", board=1, channel=1, phone="10086")
        return self._ledger.errands.add(order, ErrandState.WAITING)

    def _order(self, number: int) -> list[tuple[int, int]]:
        self._ledger.errands.move(number, ErrandState.ORDERED)
        return []

    def _place(self, number: int) -> list[tuple[int, int]]:
        self._ledger.errands.move(number, ErrandState.PLACED, "the board dials")
        return []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
