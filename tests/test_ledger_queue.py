"""The queue as people see it: figures that are right, items with their reason, read fast."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.ledger import Ledger
from agent.ledger.rows import CALL_COLUMNS, QueueCounts
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    a_call,
    add_call,
    add_recording,
    booked_call,
    ledger_in,
    next_recording,
    store_of,
)

ATTENTION = 3


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    with ledger_in(tmp_path, clock) as opened:
        yield opened


# Figures


def test_an_empty_queue(ledger: Ledger) -> None:
    assert ledger.queue.counts(10) == QueueCounts(0, 0, 0, None, 0, 0, 0, 0, 0)
    assert ledger.queue.items(10) == []


def test_the_oldest_is_the_one_that_has_waited_longest(ledger: Ledger, clock: HandClock) -> None:
    add_call(ledger)
    clock.turn(5)
    booked_call(ledger, "a.wav")
    assert ledger.queue.counts(10).oldest_waiting == NOON
    ledger.deliveries.booked(ledger.queue.items(1)[0].id, "77")
    assert ledger.queue.counts(10).oldest_waiting == NOON + 5


@pytest.mark.parametrize(("refusals", "attention"), [(0, 0), (2, 0), (3, 1), (4, 1)])
def test_an_item_needs_attention_after_so_many_refusals(
    ledger: Ledger, refusals: int, attention: int
) -> None:
    number = add_call(ledger)
    for _ in range(refusals):
        ledger.deliveries.refused(number, "no", 0.0)
    assert ledger.queue.counts(ATTENTION).attention == attention
    assert [item.id for item in ledger.queue.troubled(ATTENTION, 10)] == [number] * attention


def test_what_was_sent_at_last_needs_no_attention_any_more(ledger: Ledger) -> None:
    number = add_call(ledger)
    for _ in range(5):
        ledger.deliveries.refused(number, "no", 0.0)
    ledger.deliveries.booked(number, "77")
    assert ledger.queue.counts(ATTENTION).attention == 0
    assert ledger.queue.troubled(ATTENTION, 10) == []


def test_the_most_refused_come_first(ledger: Ledger) -> None:
    numbers = [add_call(ledger) for _ in range(3)]
    for number, times in zip(numbers, (3, 9, 6), strict=True):
        for _ in range(times):
            ledger.deliveries.refused(number, "no", 0.0)
    assert [item.refusals for item in ledger.queue.troubled(ATTENTION, 2)] == [9, 6]


def test_files_that_are_kept_or_missing_are_counted_since_a_time(
    ledger: Ledger, clock: HandClock
) -> None:
    add_recording(ledger, None, "old.wav", kept="it is empty", verdict="empty")
    clock.turn(100)
    kept = add_recording(ledger, None, "new.wav", kept="it is text", verdict="not audio")
    add_recording(ledger, None, "short.wav", kept="shorter than 5 s")
    _, missing = booked_call(ledger, "gone.wav")
    ledger.deliveries.missing(missing, "No such file")
    counts = ledger.queue.counts(10)
    assert (counts.kept, counts.missing) == (3, 1)
    assert ledger.queue.kept_since(NOON + 1) == 1, "a short one is as configured"
    assert ledger.queue.missing_since(NOON + 1) == 1
    assert ledger.queue.missing_since(NOON + 101) == 0
    assert kept in {item.id for item in ledger.queue.kept(10)}


# Items


def test_an_item_says_what_it_is_and_why_it_waits(ledger: Ledger) -> None:
    number = add_call(ledger, a_call(channel=3, phone="110"))
    recording = add_recording(ledger, number, "day/a.wav", size=5)
    ledger.deliveries.refused(number, "the platform refuses it", 1010.0)
    record, file = ledger.queue.items(10)
    assert (record.id, record.kind, record.channel, record.phone) == (number, "record", 3, "110")
    assert (record.refusals, record.trouble, record.due) == (1, "the platform refuses it", 1010.0)
    assert (file.id, file.kind, file.relative, file.size) == (
        recording,
        "recording",
        "day/a.wav",
        5,
    )
    assert (file.channel, file.phone, file.started) == (3, "110", record.started)


def test_items_come_page_by_page(ledger: Ledger) -> None:
    numbers = [add_call(ledger) for _ in range(5)]
    pages, after = [], 0
    while page := ledger.queue.items(2, after):
        pages.append([item.id for item in page])
        after = page[-1].id
    assert pages == [numbers[:2], numbers[2:4], numbers[4:]]


def test_what_is_done_is_no_longer_listed_and_still_found(ledger: Ledger) -> None:
    number, recording = booked_call(ledger, "a.wav", callid="7687658987667780097")
    assert ledger.deliveries.delivered(next_recording(ledger), "digest")
    assert ledger.queue.items(10) == []
    for found in (ledger.queue.find(number), ledger.queue.find_callid("7687658987667780097")):
        assert [item.id for item in found] == [number, recording]
        assert {item.callid for item in found} == {"7687658987667780097"}
    assert [item.digest for item in ledger.queue.find(recording)] == ["digest"]


def test_a_number_that_is_none_is_not_found(ledger: Ledger) -> None:
    assert ledger.queue.find(5) == []
    assert ledger.queue.find_callid("5") == []


# Read fast, however much has gathered


HEAP = 100_000
"""Calls, with a recording each; every tenth of both still waits."""
NUMBERED = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {HEAP})"
FILE_COLUMNS = "id, path, size, modified_ns, verdict, reason, container, duration, call_id, found"
DELIVERY_COLUMNS = "item_id, target, kind, state, waiting, sendable, bytes, callid, since, done"
FILLING = (
    f"{NUMBERED} INSERT INTO calls ({CALL_COLUMNS})"
    f" SELECT i, 1, i % 8 + 1, 'in', '110', {NOON} + i, i, {NOON} + i,"
    f" i, {NOON} + i + 60, i + 60, {NOON} + i + 60, i + 60, 'first boot', 1,"
    " CASE i % 100 WHEN 0 THEN 5.0 ELSE 0 END, 0, 'board' FROM n",
    f"{NUMBERED} INSERT INTO recordings ({FILE_COLUMNS})"
    f" SELECT i + {HEAP}, CAST('f' || i AS BLOB), 9, i, 'good',"
    " '', 'wav', 1.0, i, 0 FROM n",
    f"{NUMBERED} INSERT INTO deliveries ({DELIVERY_COLUMNS}) SELECT i, 'platform', 'record',"
    " CASE WHEN i % 10 THEN 'record sent' ELSE 'record to be sent' END,"
    " i % 10 = 0, i % 10 = 0, 9, '77', 0, CASE WHEN i % 10 THEN 5.0 END FROM n",
    f"{NUMBERED} INSERT INTO deliveries ({DELIVERY_COLUMNS})"
    f" SELECT i + {HEAP}, 'platform', 'recording',"
    " CASE WHEN i % 10 THEN 'delivered' ELSE 'recording to be sent' END,"
    " i % 10 = 0, i % 10 = 0, 9, NULL, 0, CASE WHEN i % 10 THEN 5.0 END FROM n",
)


@pytest.fixture(scope="module")
def heap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with ledger_in(tmp_path_factory.mktemp("heap"), HandClock()) as ledger:
        with ledger.transaction():
            for statement in FILLING:
                store_of(ledger).write(statement)
        yield ledger


MAY_BE_WALKED = re.compile("SCAN (few|.* USING INDEX deliveries_without_call)")
"""What a part of the statement chose before by an index, and an index that holds what waits alone.
"""
READS: dict[str, Callable[[Ledger], object]] = {
    "next_record": lambda ledger: ledger.deliveries.next_record([10, 20]),
    "next_recording": lambda ledger: ledger.deliveries.next_recording([100_010]),
    "next_due": lambda ledger: ledger.deliveries.next_due("record", [10]),
    "counts": lambda ledger: ledger.queue.counts(10),
    "kept_since": lambda ledger: ledger.queue.kept_since(NOON),
    "missing_since": lambda ledger: ledger.queue.missing_since(NOON),
    "known": lambda ledger: ledger.recordings.known([("f5", 9, 5)]),
    "find": lambda ledger: ledger.recordings.find("f5"),
    "around": lambda ledger: ledger.calls.around(NOON + 99_000, NOON + 99_010),
    "around, of one port": lambda ledger: ledger.calls.around(
        NOON + 99_000, NOON + 99_010, channel=2, unset_in="first boot"
    ),
    "open_calls": lambda ledger: ledger.calls.open_calls(),
    "without_call": lambda ledger: ledger.recordings.without_call(10),
    "last_unset_end": lambda ledger: ledger.calls.last_unset_end("first boot"),
    "of_call": lambda ledger: ledger.recordings.of_call(5),
    "delivered": lambda ledger: ledger.recordings.delivered(10),
    "booked": lambda ledger: ledger.deliveries.booked(10, "77"),
    "attach": lambda ledger: ledger.recordings.attach(100_010, 10),
    "book_anew": lambda ledger: ledger.deliveries.book_anew(100_010, 10, "", 0.0),
    "retry": lambda ledger: ledger.deliveries.retry(100_010),
}


@pytest.mark.parametrize("name", READS)
def test_no_step_of_the_work_walks_through_all_that_has_gathered(
    heap: Ledger, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(heap)
    asked: list[tuple[str, tuple[object, ...]]] = []
    connection = store._connection

    class Listening:
        """Passes statements on and remembers them."""

        def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> object:
            asked.append((sql, tuple(parameters)))
            return connection.execute(sql, parameters)

        def __getattr__(self, attribute: str) -> object:
            return getattr(connection, attribute)

    monkeypatch.setattr(store, "_connection", Listening())
    READS[name](heap)
    monkeypatch.undo()
    plans = [
        (sql, row[3])
        for sql, parameters in asked
        if re.match("SELECT|UPDATE|DELETE", sql)
        for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
    ]
    assert plans
    for sql, step in plans:
        assert not step.startswith("SCAN") or MAY_BE_WALKED.fullmatch(step), f"{step}: {sql}"
        assert "AUTOMATIC" not in step, f"{step}: {sql}"


@pytest.mark.parametrize("name", READS)
def test_no_step_of_the_work_has_its_statements_prepared_anew_each_time(
    heap: Ledger, name: str
) -> None:
    """As SQLite does unasked, where a bound value might decide whether a partial index serves."""
    connection = store_of(heap)._connection
    prepared = 0

    def note(*_what: object) -> int:
        nonlocal prepared
        prepared += 1
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)  # it is asked while a statement is prepared, and only then
    try:
        READS[name](heap)
        assert prepared, "each was prepared once"
        prepared = 0
        READS[name](heap)
        assert not prepared
    finally:
        connection.set_authorizer(None)


@pytest.mark.parametrize("name", ["next_record", "next_recording", "next_due"])
def test_what_is_next_is_found_without_a_walk_through_all_that_waits(
    heap: Ledger, name: str
) -> None:
    """SQLite would also search by an index and walk through all that it finds there."""
    connection = store_of(heap)._connection
    instructions = 0

    def count() -> None:
        nonlocal instructions
        instructions += 1

    READS[name](heap)  # now all statements are prepared
    connection.set_progress_handler(count, 1)
    try:
        READS[name](heap)
    finally:
        connection.set_progress_handler(None, 1)
    assert 0 < instructions < 500


def test_the_figures_of_the_status_file_come_from_a_narrow_index(heap: Ledger) -> None:
    figures = "SELECT COUNT(*), SUM(bytes), MIN(since) FROM deliveries"
    plan = store_of(heap).rows(
        f"EXPLAIN QUERY PLAN {figures} WHERE kind = 'record' AND target = '' AND waiting = 1"
    )
    assert "USING COVERING INDEX deliveries_waiting" in plan[0][3]


def test_the_heap_is_read_right(heap: Ledger) -> None:
    record = heap.deliveries.next_record()
    assert record is not None
    assert record.stored.id == 10
    assert heap.queue.counts(10).records_waiting >= 9_999
    around = heap.calls.around(NOON + 50_000, NOON + 50_010)
    assert {stored.id for stored in around} >= set(range(49_940, 50_011))


def test_the_calls_around_a_moment_long_ago_are_found_as_soon_as_those_of_later(
    heap: Ledger,
) -> None:
    connection = store_of(heap)._connection

    def steps(moment: float) -> int:
        taken: list[None] = []
        connection.set_progress_handler(lambda: taken.append(None), 100)
        heap.calls.around(moment, moment + 10)
        connection.set_progress_handler(None, 0)
        return len(taken)

    assert steps(NOON + 100) < 1.5 * steps(NOON + 50_000)
