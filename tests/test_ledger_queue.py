"""The queue as people see it: figures that are right, items with their reason, read fast."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.ledger import Ledger, open_ledger
from agent.ledger.rows import QueueCounts
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    ATTACH_WINDOW,
    a_call,
    add_call,
    add_recording,
    begin_call,
    booked_call,
    end_call,
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
    assert [item.sha256 for item in ledger.queue.find(recording)] == ["digest"]


def test_a_number_that_is_none_is_not_found(ledger: Ledger) -> None:
    assert ledger.queue.find(5) == []
    assert ledger.queue.find_callid("5") == []


# Read fast, however much has gathered


HEAP = 100_000
"""Calls, with a recording each; every tenth of both still waits."""
NUMBERED = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {HEAP})"
FILLING = (
    f"{NUMBERED} INSERT INTO calls SELECT i, 1, i % 8 + 1, 'in', '110', {NOON} + i, i, {NOON} + i,"
    f" i, {NOON} + i + 60, i + 60, {NOON} + i + 60, i + 60, 'first boot', 1,"
    " CASE i % 100 WHEN 0 THEN 5.0 ELSE 0 END, 0, 'board' FROM n",
    f"{NUMBERED} INSERT INTO recordings SELECT i + {HEAP}, CAST('f' || i AS BLOB), 9, i, 'good',"
    " '', 'wav', 1.0, i, NULL, 0, NULL FROM n",
    f"{NUMBERED} INSERT INTO deliveries SELECT i, 'platform', 'record',"
    " CASE WHEN i % 10 THEN 'record sent' ELSE 'record to be sent' END,"
    " i % 10 = 0, i % 10 = 0, 0, 9, 0, '', NULL, '77', 0, CASE WHEN i % 10 THEN 5.0 END FROM n",
    f"{NUMBERED} INSERT INTO deliveries SELECT i + {HEAP}, 'platform', 'recording',"
    " CASE WHEN i % 10 THEN 'delivered' ELSE 'recording to be sent' END,"
    " i % 10 = 0, i % 10 = 0, 0, 9, 0, '', NULL, NULL, 0, CASE WHEN i % 10 THEN 5.0 END FROM n",
)


@pytest.fixture(scope="module")
def heap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with ledger_in(tmp_path_factory.mktemp("heap"), HandClock()) as ledger:
        with ledger.transaction():
            for statement in FILLING:
                store_of(ledger).write(statement)
        yield ledger


ONLY_WHAT_WAITS = "USING INDEX deliveries_without_call"
"""An index that holds nothing else may be walked."""
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
    "open_calls": lambda ledger: ledger.calls.open_calls(),
    "without_call": lambda ledger: ledger.recordings.without_call(10),
    "last_unset_end": lambda ledger: ledger.calls.last_unset_end("first boot"),
    "spans": lambda ledger: ledger.recordings.spans(5),
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
        assert not step.startswith("SCAN") or step.endswith(ONLY_WHAT_WAITS), f"{step}: {sql}"
        assert "AUTOMATIC" not in step, f"{step}: {sql}"


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


# Against a plain model


@dataclass
class ModelItem:
    kind: str
    size: int = 0
    call: int | None = None
    state: str = ""
    due: float = 0.0
    refusals: int = 0


@dataclass
class Model:
    """What the ledger should know, in the plainest words."""

    items: dict[int, ModelItem] = field(default_factory=dict)
    delivered: int = 0
    delivered_bytes: int = 0

    def waiting(self, kind: str) -> list[ModelItem]:
        done = {"record sent", "delivered"}
        return [
            item for item in self.items.values() if item.kind == kind and item.state not in done
        ]

    def due(self, kind: str, now: float) -> list[int]:
        sendable = {"waiting for its recording", "record to be sent", "recording to be sent"}
        ready = [
            (item.due, number)
            for number, item in self.items.items()
            if item.kind == kind and item.state in sendable and item.due <= now
        ]
        return [number for _, number in sorted(ready)]

    def recordings_of(self, call: int) -> list[ModelItem]:
        return [item for item in self.items.values() if item.call == call]

    def attach(self, number: int, call: int) -> None:
        record, item = self.items.get(call), self.items[number]
        item.call, item.due = call, 0.0
        sent = record is not None and record.state == "record sent"
        item.state = "recording to be sent" if sent else "waiting for its record"
        if record is not None and record.state == "waiting for its recording":
            record.state, record.due = "record to be sent", 0.0


class QueueMachine(RuleBasedStateMachine):
    """Calls and files come, are sent, refused, lost, found; the power goes now and then."""

    @initialize()
    def begin(self) -> None:
        self.clock = HandClock()
        self.directory = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.ledger = open_ledger(self.directory, self.clock)
        self.model = Model()
        self.open: list[int] = []
        self.files = 0

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.directory)

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.turn(seconds)

    @rule()
    def call_begins(self) -> None:
        self.open.append(begin_call(self.ledger))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), wait=st.sampled_from([0.0, ATTACH_WINDOW]))
    def call_ends(self, data: st.DataObject, wait: float) -> None:
        number = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        end_call(self.ledger, number, wait=wait)
        waits = wait > 0 and not self.model.recordings_of(number)
        state = "waiting for its recording" if waits else "record to be sent"
        due = self.clock.monotonic() + wait if waits else 0.0
        self.model.items[number] = ModelItem("record", state=state, due=due)

    @rule(data=st.data(), size=st.integers(1, 1000))
    def file_comes(self, data: st.DataObject, size: int) -> None:
        calls = [number for number, item in self.model.items.items() if item.kind == "record"]
        call = data.draw(st.sampled_from([None, *self.open, *calls]))
        self.files += 1
        due = self.clock.monotonic() + ATTACH_WINDOW
        name = f"{self.files}.wav"
        number = add_recording(self.ledger, call, name, size=size, call_due=due)
        item = ModelItem("recording", size, state="waiting for its call", due=due)
        self.model.items[number] = item
        if call is not None:
            self.model.attach(number, call)

    @precondition(lambda self: any(i.state == "waiting for its call" for i in self.all_items()))
    @rule(data=st.data())
    def file_finds_its_call(self, data: st.DataObject) -> None:
        calls = [number for number, item in self.model.items.items() if item.kind == "record"]
        calls += self.open
        if not calls:
            return
        ((file, *_), *_) = self.ledger.recordings.without_call(1)
        call = data.draw(st.sampled_from(calls))
        self.ledger.recordings.attach(file.id, call)
        self.model.attach(file.id, call)

    @rule(outcome=st.sampled_from(["booked", "booked", "refused", "postponed"]))
    def record_is_sent(self, outcome: str) -> None:
        found = self.ledger.deliveries.next_record()
        expected = self.model.due("record", self.clock.monotonic())
        assert (found.stored.id if found else None) == (expected[0] if expected else None)
        if found is None:
            return
        number = found.stored.id
        if outcome == "booked":
            self.ledger.deliveries.booked(number, "77")
            self.model.items[number].state = "record sent"
            for item in self.model.recordings_of(number):
                if item.state == "waiting for its record":
                    item.state = "recording to be sent"
        else:
            self.fail(number, outcome)

    @rule(outcome=st.sampled_from(["delivered", "delivered", "refused", "lost", "missing"]))
    def recording_is_sent(self, outcome: str) -> None:
        found = self.ledger.deliveries.next_recording()
        expected = self.model.due("recording", self.clock.monotonic())
        assert (found.id if found else None) == (expected[0] if expected else None)
        if found is None:
            return
        item = self.model.items[found.id]
        if outcome == "delivered":
            assert self.ledger.deliveries.delivered(found, "digest")
            item.state = "delivered"
            self.model.delivered += 1
            self.model.delivered_bytes += item.size
        elif outcome == "lost":
            self.record_was_lost(found.id, found.call_id)
        elif outcome == "missing":
            self.ledger.deliveries.missing(found.id, "gone")
            item.state, item.due = "its file is missing", 0.0
        else:
            self.fail(found.id, outcome)

    def record_was_lost(self, number: int, call: int) -> None:
        due = self.clock.monotonic() + 5
        self.ledger.deliveries.book_anew(number, call, "not found", due)
        self.model.items[number].refusals += 1
        self.model.items[number].due = 0.0
        record = self.model.items[call]
        assert record.state == "record sent"
        record.state, record.due = "record to be sent", due
        for item in self.model.recordings_of(call):
            if item.state == "recording to be sent":
                item.state = "waiting for its record"

    def fail(self, number: int, outcome: str) -> None:
        due = self.clock.monotonic() + 30
        getattr(self.ledger.deliveries, outcome)(number, "no", due)
        self.model.items[number].due = due
        self.model.items[number].refusals += outcome == "refused"

    @precondition(lambda self: any(i.state == "its file is missing" for i in self.all_items()))
    @rule(data=st.data())
    def file_comes_back(self, data: st.DataObject) -> None:
        missing = [n for n, i in self.model.items.items() if i.state == "its file is missing"]
        number = data.draw(st.sampled_from(missing))
        call = self.model.items[number].call
        assert call is not None
        self.ledger.deliveries.restored(number, call, 0.0)
        self.model.attach(number, call)

    @rule()
    def somebody_retries(self) -> None:
        self.ledger.deliveries.retry(None)
        for item in self.model.items.values():
            if item.state.endswith("to be sent") or item.state == "waiting for its recording":
                item.due = 0.0

    @rule(boot=st.booleans())
    def agent_starts_anew(self, boot: bool) -> None:
        self.ledger.close()
        if boot:
            self.clock.start_anew(self.clock.boot + "'")
        self.ledger = open_ledger(self.directory, self.clock)
        assert self.ledger.new_boot == boot
        assert {stored.id for stored in self.ledger.calls.open_calls()} == set(self.open)
        self.ledger.deliveries.begin_waiting(ATTACH_WINDOW, new_boot=boot)
        for item in self.model.items.values():
            if boot:
                item.due = 0.0
            if item.state in {"waiting for its recording", "waiting for its call"}:
                item.due = self.clock.monotonic() + ATTACH_WINDOW

    @invariant()
    def figures_agree(self) -> None:
        counts = self.ledger.queue.counts(ATTENTION)
        files = self.model.waiting("recording")
        assert counts.records_waiting == len(self.model.waiting("record"))
        assert counts.files_waiting == len(files)
        assert counts.bytes_waiting == sum(item.size for item in files)
        assert counts.missing == sum(item.state == "its file is missing" for item in files)
        waiting = [*self.model.waiting("record"), *files]
        assert counts.attention == sum(item.refusals >= ATTENTION for item in waiting)
        assert (counts.delivered, counts.delivered_bytes) == (
            self.model.delivered,
            self.model.delivered_bytes,
        )

    @invariant()
    def states_agree(self) -> None:
        listed = {item.id: str(item.state) for item in self.ledger.queue.items(1000)}
        done = {"record sent", "delivered"}
        assert listed == {
            number: item.state
            for number, item in self.model.items.items()
            if item.state not in done
        }

    @invariant()
    def waits_agree(self) -> None:
        for kind in ("record", "recording"):
            due = self.ledger.deliveries.next_due(kind)
            expected = self.model.due(kind, float("inf"))
            assert due == (self.model.items[expected[0]].due if expected else None)

    def all_items(self) -> list[ModelItem]:
        return list(self.model.items.values())


def test_the_ledger_agrees_with_a_plain_model_whatever_happens() -> None:
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
