"""The ledger's book of errands: what the platform asked for, and what became of it."""

from __future__ import annotations

import json

from msgspec import Struct

from agent.clock import Clock, Stamp
from agent.ledger.rows import DialCounts, Errand, ErrandState
from agent.ledger.store import Row, Store

DIAL = "dial"
FUNCTION = "function"
MOST_FINISHED = 1000
"""Finished errands kept for people to look at; older ones make room."""
MOST_FUNCTIONS_WAITING = 20
"""Functions that may wait for their turn: a quarter of an hour of them at their usual limit."""
MOST_WAITING = 200
"""Calls to place that may wait at once; a platform that lists more is not obeyed further."""

_COLUMNS = (
    "id, kind, entry, source, board, channel, phone, name, parameters, state, outcome, created,"
    " expires"
)


class Order(Struct, frozen=True):
    """What an entry of the platform's lists asks for."""

    kind: str
    entry: str
    source: str
    board: int | None = None
    channel: int | None = None
    phone: str = ""
    name: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    expires: float = 0.0
    """Monotonic seconds."""


class ErrandBook:
    """Calls to place and functions to run; each is written down before it is obeyed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def add(self, order: Order, state: ErrandState, outcome: str = "") -> int:
        """Write down what was asked for; return its number."""
        now = self._clock.stamp()
        with self._store.transaction():
            number = self._store.next_id()
            self._store.write(
                f"INSERT INTO errands ({_COLUMNS}, changed, created_monotonic, boot)"
                f" VALUES ({', '.join('?' * 16)})",
                (number, order.kind, order.entry, order.source, order.board, order.channel)
                + (order.phone, order.name, json.dumps(order.parameters, ensure_ascii=False))
                + (state, outcome, now.wall, order.expires, now.wall)
                + (now.monotonic, self._clock.boot),
            )
            # Some are finished as they come, such as messages of an unknown function.
            self._make_room()
            return number

    def move(self, number: int, state: ErrandState, outcome: str = "") -> None:
        """Write down what became of an errand."""
        with self._store.transaction():
            kind = self._store.row("SELECT kind FROM errands WHERE id = ?", (number,))
            self._store.write(
                "UPDATE errands SET state = ?, outcome = ?, changed = ? WHERE id = ?",
                (state, outcome, self._clock.wall(), number),
            )
            if kind == (DIAL,) and state in _COUNTED:
                self._store.count({f"dial {state}": 1})
            self._make_room()

    def unfinished(self, kind: str) -> list[Errand]:
        """Errands that wait or were ordered, the oldest first."""
        return self._select(
            "kind = ? AND state IN (?, ?) ORDER BY id LIMIT ?",
            kind,
            *_UNFINISHED,
            MOST_WAITING + 1,
        )

    def recent(self, limit: int) -> list[Errand]:
        """The latest errands, the newest first."""
        return self._select("1 ORDER BY id DESC LIMIT ?", limit)

    def counts(self) -> DialCounts:
        """Calls to place in figures, since the ledger began."""
        waiting = self._store.row(
            "SELECT COUNT(*) FROM errands WHERE kind = ? AND state IN (?, ?)",
            (DIAL, *_UNFINISHED),
        )
        return DialCounts(
            waiting=waiting[0] if waiting else 0,
            placed=self._store.meta(f"dial {ErrandState.PLACED}", 0),
            expired=self._store.meta(f"dial {ErrandState.EXPIRED}", 0),
            failed=self._store.meta(f"dial {ErrandState.FAILED}", 0),
        )

    def same_as_recent(self, entry: str, source: str, seconds: float) -> bool:
        """Tell whether an entry is one that waits, or that another list brought a moment ago.

        `seconds`: for how long another list's entries count, by the clock that never jumps; the
        wall clock tells of those of an earlier boot.
        """
        now, boot = self._clock.stamp(), self._clock.boot
        return bool(
            self._store.row(
                "SELECT 1 FROM errands WHERE entry = ? AND (state IN (?, ?) OR source != ?"
                " AND CASE boot WHEN ? THEN created_monotonic >= ? ELSE created >= ? END) LIMIT 1",
                (entry, *_UNFINISHED, source) + (boot, now.monotonic - seconds, now.wall - seconds),
            )
        )

    def listed(self, source: str) -> frozenset[str]:
        """Keys of the entries that a list held when last read."""
        return frozenset(json.loads(self._store.meta(f"listed by {source}", "[]")))

    def set_listed(self, source: str, keys: frozenset[str]) -> None:
        """Remember the entries that a list holds, so that each is obeyed once."""
        if keys != self.listed(source):
            self._store.set_meta(f"listed by {source}", json.dumps(sorted(keys)))

    def last_reboot(self) -> tuple[Stamp, str] | None:
        """When a message last had the gateway rebooted, and in which boot it was asked for."""
        wall, monotonic, boot = json.loads(self._store.meta(_REBOOT, "[null, null, null]"))
        return None if boot is None else (Stamp(wall, monotonic), boot)

    def mark_reboot(self) -> None:
        """Remember that the gateway is rebooted at this moment, by a message."""
        now = self._clock.stamp()
        told = json.dumps([now.wall, now.monotonic, self._clock.boot])
        self._store.set_meta(_REBOOT, told)

    def _make_room(self) -> None:
        self._store.write(
            "DELETE FROM errands WHERE id <= (SELECT id FROM errands"
            " WHERE state NOT IN (?, ?) ORDER BY id DESC LIMIT 1 OFFSET ?)"
            " AND state NOT IN (?, ?)",
            (*_UNFINISHED, MOST_FINISHED, *_UNFINISHED),
        )

    def _select(self, condition: str, *parameters: object) -> list[Errand]:
        return [
            _errand(row)
            for row in self._store.rows(
                f"SELECT {_COLUMNS} FROM errands WHERE {condition}", parameters
            )
        ]


_REBOOT = "rebooted by a message"
_UNFINISHED = (ErrandState.WAITING, ErrandState.ORDERED)
_COUNTED = frozenset({ErrandState.PLACED, ErrandState.EXPIRED, ErrandState.FAILED})


def _errand(row: Row) -> Errand:
    number, kind, entry, source, board, channel, phone, name, parameters, state, *rest = row
    return Errand(
        id=number,
        kind=kind,
        entry=entry,
        source=source,
        board=board,
        channel=channel,
        phone=phone,
        name=name,
        parameters=tuple((key, value) for key, value in json.loads(parameters)),
        state=ErrandState(state),
        outcome=rest[0],
        created=rest[1],
        expires=rest[2],
    )
