"""Ledgers for tests: real files, with calls and recordings put in by a line each."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agent.calls import Call, Direction
from agent.clock import Clock, Stamp
from agent.ledger import FILE_NAME, Ledger, open_ledger
from agent.ledger.recordings import NewRecording
from agent.ledger.rows import RecordingToSend
from agent.ledger.store import Store
from tests.clocks import NOON

ATTACH_WINDOW = 15.0
PAGE = 512
"""Bytes in a page of these ledgers."""
SCHEMA_PAGES = 40
"""Pages at a ledger's beginning among which those of its schema lie."""
LONG = 60.0
"""Seconds that a call of these tests lasts."""


def a_call(
    *,
    channel: int = 1,
    phone: str = "13800138000",
    direction: Direction = Direction.IN,
    start: float = NOON - LONG,
    monotonic: float = 1000.0 - LONG,
    rings: float = 5.0,
    lasts: float = LONG,
    board: int = 1,
) -> Call:
    """A finished call that was answered after `rings` seconds."""
    started = Stamp(start, monotonic)
    ended = Stamp(start + lasts, monotonic + lasts)
    answered = Stamp(start + rings, monotonic + rings)
    return Call(board, channel, direction, phone, started, answered, ended, ended)


def a_missed_call(**changes: Any) -> Call:
    return replace(a_call(direction=Direction.UNKNOWN, **changes), answered=None)


def begin_call(ledger: Ledger, call: Call | None = None, *, trusted: bool = True) -> int:
    """Write a call down that goes on."""
    call = call or a_call()
    return ledger.calls.begin(replace(call, ended=None), clock_trusted=trusted)


def end_call(
    ledger: Ledger,
    number: int,
    call: Call | None = None,
    *,
    trusted: bool = True,
    wait: float = ATTACH_WINDOW,
    uncertain: bool = False,
) -> None:
    ledger.calls.end(
        number,
        call or a_call(),
        clock_trusted=trusted,
        wait_for_recording=wait,
        uncertain=uncertain,
    )


def add_call(
    ledger: Ledger,
    call: Call | None = None,
    *,
    trusted: bool = True,
    wait: float = 0.0,
    uncertain: bool = False,
) -> int:
    """Write a finished call down; its record is due at once unless told to wait."""
    number = begin_call(ledger, call, trusted=trusted)
    end_call(ledger, number, call, trusted=trusted, wait=wait, uncertain=uncertain)
    return number


def add_calls(ledger: Ledger, count: int) -> list[int]:
    """Several calls, each a second later than the one before, so that none looks like another."""
    return [add_call(ledger, a_call(start=NOON - LONG - count + n)) for n in range(count)]


def a_recording(
    name: str = "call.wav",
    *,
    size: int = 1000,
    modified_ns: int = int(NOON * 1e9),
    kept: str = "",
    duration: float | None = 30.0,
    verdict: str = "good",
) -> NewRecording:
    return NewRecording(name, size, modified_ns, verdict, "", "wav", duration, kept)


def add_recording(
    ledger: Ledger,
    call_id: int | None,
    name: str = "call.wav",
    *,
    call_due: float = 1015.0,
    **changes: Any,
) -> int:
    return ledger.recordings.add(a_recording(name, **changes), call_id, call_due=call_due)


def booked_call(ledger: Ledger, *names: str, callid: str = "77", **changes: Any) -> list[int]:
    """A call whose record is booked; returns its number and those of its recordings."""
    number = add_call(ledger, a_call(**changes))
    recordings = [add_recording(ledger, number, name) for name in names]
    ledger.deliveries.freeze(number, b"as first sent")
    ledger.deliveries.booked(number, callid)
    return [number, *recordings]


def next_recording(ledger: Ledger) -> RecordingToSend:
    """The recording that is due; fails where none is."""
    found = ledger.deliveries.next_recording()
    assert found is not None
    return found


def state_of(ledger: Ledger, number: int) -> str:
    """Where an item stands, in words."""
    return next(item.state for item in ledger.queue.find(number) if item.id == number)


@contextmanager
def ledger_in(directory: Path, clock: Clock) -> Iterator[Ledger]:
    """An open ledger, closed at the end."""
    ledger = open_ledger(directory, clock)
    try:
        yield ledger
    finally:
        ledger.close()


def store_of(ledger: Ledger) -> Store:
    """The store behind a ledger's books."""
    return ledger.queue._store


def look_into(directory: Path, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
    """Ask the file itself, past the ledger."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        return connection.execute(sql, parameters).fetchall()


def end_uncleanly(ledger: Ledger, directory: Path) -> None:
    """Leave the files as they are when power fails, the write-ahead log beside them."""
    copy = directory.with_name("at the moment of the power cut")
    shutil.copytree(directory, copy)
    ledger.close()
    for path in directory.glob("*"):
        path.unlink()
    for path in copy.iterdir():
        path.rename(directory / path.name)
    copy.rmdir()


def tear_pages(path: Path, first: int = 1) -> None:
    """Overwrite all pages but the first ones, as a dying flash does."""
    content = bytearray(path.read_bytes())
    assert len(content) > (first + 2) * PAGE
    for start in range(first * PAGE, len(content), PAGE):
        content[start : start + 64] = os.urandom(64)
    path.write_bytes(content)


def filled(directory: Path, clock: Clock) -> None:
    """A ledger of many pages, closed well."""
    with ledger_in(directory, clock) as ledger, ledger.transaction():
        for number in range(200):
            call_id = add_call(ledger, a_call(phone=str(number)))
            add_recording(ledger, call_id, f"{number}.wav")
