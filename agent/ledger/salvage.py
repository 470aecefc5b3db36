"""What can be read of a damaged ledger, saved into the one that takes its place.

Each row is read by itself, so that one bad page costs only what stood on it. A row that is not
whole is left. Pages have no check sums, so a row counts as whole where each of its values is of the
kind that is written there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import msgspec

from agent.calls import Direction
from agent.ledger.rows import PLATFORM, SENDABLE, State
from agent.ledger.store import IDS_PER_SECOND, LATEST_TRUE_TIME, Store

MOST_ROWS = 200_000
"""Rows of one table that are saved, the latest first: years of a busy gateway."""

_Id = Annotated[int, msgspec.Meta(gt=0, lt=int(LATEST_TRUE_TIME) * IDS_PER_SECOND)]
_Port = Annotated[int, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Flag = Annotated[int, msgspec.Meta(ge=0, le=1)]
_Time = Annotated[float, msgspec.Meta(gt=-1e12, lt=1e12)]
_Blob = bytes


class _Call(msgspec.Struct, array_like=True):
    """A whole row of `calls`: each field is a column."""

    id: _Id
    board: _Port
    channel: _Port
    direction: Direction
    phone: str
    started: _Time
    started_monotonic: _Time
    answered: _Time | None
    answered_monotonic: _Time | None
    ended: _Time | None
    ended_monotonic: _Time | None
    heard: _Time
    heard_monotonic: _Time
    boot: str
    clock_trusted: _Flag
    clock_offset: _Time
    found_over: _Time | None
    source: str
    told_start: int | None


class _Recording(msgspec.Struct, array_like=True):
    """A whole row of `recordings`."""

    id: _Id
    path: bytes
    size: _Count
    modified_ns: int
    verdict: str
    reason: str
    container: Literal["wav", "mp3"] | None
    duration: _Time | None
    call_id: _Id | None
    digest: str | None
    found: _Time
    removed: _Time | None


class _Delivery(msgspec.Struct, array_like=True):
    """A whole row of `deliveries`, but for what follows from it."""

    item_id: _Id
    kind: Literal["record", "recording"]
    state: State
    bytes: _Count
    refusals: _Count
    trouble: str
    body: _Blob | None
    callid: str | None
    since: _Time
    done: _Time | None


_Whole = TypeVar("_Whole", _Call, _Recording, _Delivery)
_NAMES: Mapping[type, str] = {
    _Call: "calls",
    _Recording: "recordings",
    _Delivery: "deliveries",
}
_BESIDES_ID: Mapping[type, tuple[str, ...]] = {_Call: ("ended",), _Recording: ("path",)}
"""Other orders in which a table can be walked, by an index: a walk ends at a bad page."""
_OLDER_NAMES: Mapping[str, str] = {"digest": "sha256"}
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged ledger raises; the latter where SQLite's own words quote garbage."""
_COUNTERS = ("delivered", "delivered_bytes", "dial placed", "dial expired", "dial failed")
_LISTED = "listed by "


def salvage(damaged: Path, store: Store) -> None:
    """Save what can be read of the ledger at `damaged` into a new, empty one.

    The damaged file stays as it is, and whatever is in it raises nothing. Raises LedgerError where
    the new one can't be written. To be called in a transaction.
    """
    address = f"file:{quote(str(damaged))}?mode=ro"
    # With its write-ahead log; or without, where the log is damaged or another database's.
    for option in ("", "&immutable=1"):
        with (
            suppress(*_UNREADABLE),
            closing(sqlite3.connect(address + option, uri=True)) as source,
        ):
            source.execute("SELECT id FROM calls LIMIT 0")
            _save(source, store)
            return


def _save(source: sqlite3.Connection, store: Store) -> None:
    calls = {row.id: row for row in _rows(source, _Call)}
    recordings = {row.id: row for row in _rows(source, _Recording)}
    deliveries = {row.item_id: row for row in _rows(source, _Delivery, {*calls, *recordings})}
    for call in calls.values():
        _insert(store, call)
        if call.ended is not None:
            # Where it is not known whether its record was sent, it is: under the same number.
            _deliver(store, deliveries.setdefault(call.id, _to_send(call)))
    for recording in recordings.values():
        if recording.call_id not in calls:
            recording.call_id = None
        delivery = deliveries.get(recording.id) or _by_digest(recording)
        # One that is neither delivered nor of a known call is found by the scan anew.
        if delivery and (delivery.done is not None or recording.call_id is not None):
            if delivery.done is None and delivery.state not in {State.KEPT, State.MISSING}:
                delivery.state = _state_behind(deliveries.get(recording.call_id or 0))
            _insert(store, recording)
            _deliver(store, delivery)
    numbers = [*calls, *recordings, _meta(source, "last_id", _Id) or 0]
    store.set_meta("last_id", max(numbers + [store.meta("last_id", 0)]))
    _save_meta(source, store)


def _rows(
    source: sqlite3.Connection, kind: type[_Whole], keys: Iterable[int] | None = None
) -> list[_Whole]:
    """Every whole row of a table that can be reached."""
    columns = kind.__struct_fields__
    spelt = (_as_it_is_called(source, kind, column) for column in columns)
    select = f"SELECT {', '.join(spelt)} FROM {_NAMES[kind]} WHERE {columns[0]} = ?"
    found = []
    for number in sorted(_keys(source, kind) if keys is None else keys):
        with suppress(*_UNREADABLE, msgspec.ValidationError):
            row = source.execute(select, (number,)).fetchone()
            if row is not None:
                found.append(msgspec.convert(row, kind))
    return found


def _as_it_is_called(source: sqlite3.Connection, kind: type[_Whole], column: str) -> str:
    """A column's name, or the one that it has in an older ledger."""
    older = _OLDER_NAMES.get(column)
    if older is not None:
        with suppress(sqlite3.Error):
            source.execute(f"SELECT {older} FROM {_NAMES[kind]} LIMIT 0")
            return older
    return column


def _keys(source: sqlite3.Connection, kind: type[_Whole]) -> set[int]:
    found: set[int] = set()
    for column in ("id", *_BESIDES_ID[kind]):
        for direction in ("DESC", "ASC"):
            query = f"SELECT id FROM {_NAMES[kind]} ORDER BY {column} {direction} LIMIT {MOST_ROWS}"
            with suppress(*_UNREADABLE):
                found.update(key for (key,) in source.execute(query) if isinstance(key, int))
    return found


def _insert(store: Store, row: _Whole, **more: object) -> None:
    values = {**msgspec.structs.asdict(row), **more}
    marks = ", ".join("?" * len(values))
    store.write(
        f"INSERT OR IGNORE INTO {_NAMES[type(row)]} ({', '.join(values)}) VALUES ({marks})",
        tuple(values.values()),
    )


def _deliver(store: Store, row: _Delivery) -> None:
    waiting = row.done is None and row.state is not State.KEPT
    sendable = waiting and row.state in SENDABLE
    _insert(store, row, target=PLATFORM, waiting=waiting, sendable=sendable)


def _to_send(call: _Call) -> _Delivery:
    since = call.ended or call.heard
    return _Delivery(call.id, "record", State.RECORD_TO_SEND, 0, 0, "", None, None, since, None)


def _by_digest(recording: _Recording) -> _Delivery | None:
    """A file's digest is written with its delivery."""
    if recording.digest is None:
        return None
    size, found = recording.size, recording.found
    return _Delivery(
        recording.id, "recording", State.DELIVERED, size, 0, "", None, None, found, found
    )


def _state_behind(record: _Delivery | None) -> State:
    booked = record is not None and record.state is State.RECORD_SENT
    return State.RECORDING_TO_SEND if booked else State.WAITING_FOR_RECORD


def _save_meta(source: sqlite3.Connection, store: Store) -> None:
    # Another boot's name, or none, and what waits is due at once.
    store.set_meta("boot", _meta(source, "boot", str) or "")
    for name in _COUNTERS:
        store.set_meta(name, _meta(source, name, _Count) or 0)
    # What the platform's lists held: what was obeyed is not obeyed again.
    names: list[Any] = []
    with suppress(*_UNREADABLE):
        names += [name for (name,) in source.execute("SELECT name FROM meta LIMIT 100")]
    for listed in names:
        if isinstance(listed, str) and listed.startswith(_LISTED):
            text = _meta(source, listed, str)
            with suppress(msgspec.DecodeError):
                keys = msgspec.json.decode(text or "[]", type=list[str])
                store.set_meta(listed, msgspec.json.encode(keys).decode())


def _meta(source: sqlite3.Connection, name: str, kind: Any) -> Any:
    """A value that is whole, else None."""
    with suppress(*_UNREADABLE, msgspec.ValidationError):
        row = source.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.convert(row[0], kind)
    return None
