"""The ledger against a plain model of it, whatever happens, in whatever order."""

from __future__ import annotations

import copy
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

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

from agent.ledger import FILE_NAME, open_ledger
from agent.ledger.recordings import FileKey
from tests.clocks import NOON, HandClock
from tests.ledgers import ATTACH_WINDOW, a_call, a_recording, begin_call, end_call

ATTENTION = 3
DAY = 86_400.0
DONE = frozenset({"record sent", "delivered"})
SENDABLE = frozenset({"waiting for its recording", "record to be sent", "recording to be sent"})
WAITS_FOR_A_TIME = frozenset({"waiting for its recording", "waiting for its call"})


@dataclass
class Item:
    """A call's record or a recording."""

    kind: str
    state: str
    due: float = 0.0
    refusals: int = 0
    size: int = 0
    call: int | None = None
    """Of a recording."""
    key: FileKey = ("", 0, 0)
    """Of a recording."""
    body: bytes | None = None
    """Of a record."""
    callid: str | None = None
    """Of a record."""
    removed: bool = False
    """Of a recording: its file was deleted."""
    ended: float = 0.0
    """Of a record: when its call ended."""


@dataclass
class Model:
    """What the ledger should know, in the plainest words."""

    items: dict[int, Item] = field(default_factory=dict)
    going_on: list[int] = field(default_factory=list)
    delivered: int = 0
    delivered_bytes: int = 0
    boot: str = ""

    def numbers(self, kind: str, *states: str) -> list[int]:
        """Items of a kind, in all states or those named."""
        return [
            number
            for number, item in self.items.items()
            if item.kind == kind and (not states or item.state in states)
        ]

    def waiting(self, kind: str) -> list[Item]:
        return [
            item
            for item in self.items.values()
            if item.kind == kind and item.state not in DONE and item.state != "kept, not sent"
        ]

    def due(self, kind: str, now: float) -> list[int]:
        """What may be sent, in order; what was refused gives way to what was not."""
        ready = [
            (item.refusals > 0, item.due, number)
            for number, item in self.items.items()
            if item.kind == kind and item.state in SENDABLE and item.due <= now
        ]
        return [number for _, _, number in sorted(ready)]

    def recordings_of(self, call: int) -> list[Item]:
        return [item for item in self.items.values() if item.call == call]

    def attach(self, number: int, call: int) -> None:
        record, item = self.items.get(call), self.items[number]
        item.call = call
        if item.state == "kept, not sent":
            return
        sent = record is not None and record.state == "record sent"
        item.state, item.due = "recording to be sent" if sent else "waiting for its record", 0.0
        if record is not None and record.state == "waiting for its recording":
            record.state, record.due = "record to be sent", 0.0

    def forget(self, before: float) -> None:
        """Drop the calls that are long done, with their recordings."""
        for number in self.numbers("record", "record sent"):
            if self.items[number].ended < before and all(
                item.removed for item in self.recordings_of(number)
            ):
                for one in [n for n, item in self.items.items() if item.call == number]:
                    del self.items[one]
                del self.items[number]


class LedgerMachine(RuleBasedStateMachine):
    """Calls and files come, are sent, refused, lost, found; the agent is started anew; old copies
    are put back; damage shows itself. The platform, the disk and the people do all that they can.
    """

    @initialize()
    def begin(self) -> None:
        self.clock = HandClock()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.directory = self.folder / "state"
        self.directory.mkdir()
        self.ledger = open_ledger(self.directory, self.clock)
        self.model = Model(boot=self.clock.boot)
        self.copied: Model | None = None
        self.given: set[int] = set()
        """Every number that was ever given out, also by what was forgotten or put back since."""
        self.files = 0

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.folder)

    def give(self, number: int) -> int:
        assert number not in self.given, "no number is given out twice"
        self.given.add(number)
        return number

    def pick(self, data: st.DataObject, numbers: list[int]) -> int:
        return data.draw(st.sampled_from(numbers))

    # Time, and what people do.

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0, 1000.0, 40 * DAY]))
    def time_passes(self, seconds: float) -> None:
        self.clock.turn(seconds)

    @rule()
    def somebody_retries(self) -> None:
        self.ledger.deliveries.retry(None)
        for item in self.model.items.values():
            if item.state in SENDABLE:
                item.due = 0.0

    # Calls.

    @rule()
    def call_begins(self) -> None:
        self.model.going_on.append(self.give(begin_call(self.ledger)))

    @precondition(lambda self: self.model.going_on)
    @rule(data=st.data(), wait=st.sampled_from([0.0, ATTACH_WINDOW]))
    def call_ends(self, data: st.DataObject, wait: float) -> None:
        number = self.pick(data, self.model.going_on)
        self.model.going_on.remove(number)
        end_call(self.ledger, number, a_call(start=self.clock.wall() - 60), wait=wait)
        good = [item for item in self.model.recordings_of(number) if item.state != "kept, not sent"]
        waits = wait > 0 and not good
        self.model.items[number] = Item(
            "record",
            "waiting for its recording" if waits else "record to be sent",
            self.clock.monotonic() + wait if waits else 0.0,
            ended=self.clock.wall(),
        )

    # Files.

    @rule(data=st.data(), size=st.integers(1, 1000), kept=st.sampled_from(["", "", "", "empty"]))
    def file_comes(self, data: st.DataObject, size: int, kept: str) -> None:
        calls = [*self.model.going_on, *self.model.numbers("record")]
        call = None if kept else data.draw(st.sampled_from([None, *calls]))
        self.files += 1
        new = a_recording(f"{self.files}.wav", size=size, kept=kept)
        due = self.clock.monotonic() + ATTACH_WINDOW
        number = self.give(self.ledger.recordings.add(new, call, call_due=due))
        self.model.items[number] = Item(
            "recording",
            "kept, not sent" if kept else "waiting for its call",
            0.0 if kept else due,
            size=size,
            key=(new.relative, size, new.modified_ns),
        )
        if call is not None:
            self.model.attach(number, call)

    @precondition(lambda self: self.model.numbers("recording", "waiting for its call"))
    @rule(data=st.data())
    def file_finds_its_call(self, data: st.DataObject) -> None:
        calls = [*self.model.going_on, *self.model.numbers("record")]
        if not calls:
            return
        ((file, *_), *_) = self.ledger.recordings.without_call(1)
        call = self.pick(data, calls)
        self.ledger.recordings.attach(file.id, call)
        self.model.attach(file.id, call)

    @precondition(lambda self: self.model.numbers("recording", "its file is missing"))
    @rule(data=st.data())
    def file_comes_back(self, data: st.DataObject) -> None:
        number = self.pick(data, self.model.numbers("recording", "its file is missing"))
        call = self.model.items[number].call
        assert call is not None
        self.ledger.deliveries.restored(number, call, 0.0)
        self.model.attach(number, call)

    @precondition(lambda self: self.model.numbers("recording", "delivered"))
    @rule(data=st.data())
    def delivered_file_is_deleted(self, data: st.DataObject) -> None:
        number = self.pick(data, self.model.numbers("recording", "delivered"))
        self.ledger.recordings.removed([number])
        self.model.items[number].removed = True

    @rule(days=st.sampled_from([0.0, 30.0]))
    def what_is_long_done_is_forgotten(self, days: float) -> None:
        before = self.clock.wall() - days * DAY
        self.ledger.recordings.forget(before, 1000)
        self.model.forget(before)

    # The platform.

    @rule(outcome=st.sampled_from(["booked", "booked", "known", "refused", "postponed", "cut"]))
    def record_is_sent(self, outcome: str) -> None:
        found = self.ledger.deliveries.next_record()
        expected = self.model.due("record", self.clock.monotonic())
        assert (found.stored.id if found else None) == (expected[0] if expected else None)
        if found is None:
            return
        number = found.stored.id
        item = self.model.items[number]
        assert (found.body, found.callid, found.refusals) == (item.body, item.callid, item.refusals)
        if item.body is None:
            item.body = b"what record %d says" % number
            self.ledger.deliveries.freeze(number, item.body)
        if item.state == "waiting for its recording":
            item.state = "record to be sent"
        if outcome in {"booked", "known"}:
            callid = f"callid of {number}" if outcome == "booked" else None
            self.ledger.deliveries.booked(number, callid)
            item.state, item.callid = "record sent", callid or item.callid
            for recording in self.model.recordings_of(number):
                if recording.state == "waiting for its record":
                    recording.state = "recording to be sent"
        elif outcome != "cut":
            self.fail(number, outcome)

    @rule(outcome=st.sampled_from(["delivered", "delivered", "refused", "lost", "missing", "cut"]))
    def recording_is_sent(self, outcome: str) -> None:
        found = self.ledger.deliveries.next_recording()
        expected = self.model.due("recording", self.clock.monotonic())
        assert (found.id if found else None) == (expected[0] if expected else None)
        if found is None:
            return
        item = self.model.items[found.id]
        assert item.call == found.call_id
        assert (self.model.items[found.call_id].callid or "") == found.callid
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
        elif outcome != "cut":
            self.fail(found.id, outcome)

    @rule()
    def platform_takes_all(self) -> None:
        while self.model.due("record", self.clock.monotonic()):
            self.record_is_sent("booked")
        while self.model.due("recording", self.clock.monotonic()):
            self.recording_is_sent("delivered")

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

    # The agent.

    def open_anew(self) -> None:
        """Open the ledger as the agent does, and let the model follow."""
        self.ledger = open_ledger(self.directory, self.clock)
        boot = self.model.boot != self.clock.boot
        assert self.ledger.new_boot == boot
        self.ledger.deliveries.begin_waiting(ATTACH_WINDOW, new_boot=boot)
        self.model.boot = self.clock.boot
        for item in self.model.items.values():
            if boot:
                item.due = 0.0
            if item.state in WAITS_FOR_A_TIME:
                item.due = self.clock.monotonic() + ATTACH_WINDOW

    @rule(boot=st.booleans())
    def agent_starts_anew(self, boot: bool) -> None:
        self.ledger.close()
        if boot:
            self.clock.start_anew(self.clock.boot + "'")
        self.open_anew()

    @rule()
    def power_is_cut(self) -> None:
        """What was committed is there, in the file or in its log."""
        cut = self.folder / "cut"
        shutil.copytree(self.directory, cut)
        self.ledger.close()
        shutil.rmtree(self.directory)
        cut.rename(self.directory)
        self.clock.start_anew(self.clock.boot + "'")
        self.open_anew()
        assert self.ledger.set_aside is None

    @rule()
    def copy_is_made(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder / "copy", ignore_errors=True)
        shutil.copytree(self.directory, self.folder / "copy")
        self.copied = copy.deepcopy(self.model)
        self.open_anew()

    @precondition(lambda self: self.copied is not None)
    @rule()
    def copy_is_put_back(self) -> None:
        """All is as it was, but for the numbers: none is given out a second time."""
        assert self.copied is not None
        self.ledger.close()
        shutil.rmtree(self.directory)
        shutil.copytree(self.folder / "copy", self.directory)
        self.model = copy.deepcopy(self.copied)
        self.clock.turn(1.0)
        self.open_anew()

    @rule()
    def damage_shows_itself(self) -> None:
        """The ledger is set aside, and all that can be read is saved into a new one."""
        self.ledger.close()
        with closing(sqlite3.connect(self.directory / FILE_NAME)) as connection:
            connection.execute("PRAGMA application_id = 5")
        for number in self.model.numbers("recording"):
            # One of no known call is found by the scan anew.
            if self.model.items[number].call is None:
                del self.model.items[number]
        for item in self.model.items.values():
            item.due = 0.0
        self.open_anew()
        assert self.ledger.set_aside is not None

    # What must hold.

    @invariant()
    def figures_agree(self) -> None:
        counts = self.ledger.queue.counts(ATTENTION)
        records, files = self.model.waiting("record"), self.model.waiting("recording")
        assert counts.records_waiting == len(records)
        assert counts.files_waiting == len(files)
        assert counts.bytes_waiting == sum(item.size for item in files)
        assert counts.missing == len(self.model.numbers("recording", "its file is missing"))
        assert counts.kept == len(self.model.numbers("recording", "kept, not sent"))
        assert counts.attention == sum(item.refusals >= ATTENTION for item in records + files)
        assert (counts.delivered, counts.delivered_bytes) == (
            self.model.delivered,
            self.model.delivered_bytes,
        )

    @invariant()
    def states_agree(self) -> None:
        listed = {item.id: str(item.state) for item in self.ledger.queue.items(1000)}
        assert listed == {
            number: item.state
            for number, item in self.model.items.items()
            if item.state not in DONE
        }

    @invariant()
    def calls_and_bytes_agree(self) -> None:
        open_calls = {stored.id for stored in self.ledger.calls.open_calls()}
        assert open_calls == set(self.model.going_on)
        for number in self.model.numbers("record"):
            assert self.ledger.deliveries.frozen(number) == self.model.items[number].body

    @invariant()
    def waits_agree(self) -> None:
        for kind in ("record", "recording"):
            due = self.ledger.deliveries.next_due(kind)
            sendable = [
                item.due
                for item in self.model.items.values()
                if item.kind == kind and item.state in SENDABLE
            ]
            assert due == min(sendable, default=None)

    @invariant()
    def known_files_agree(self) -> None:
        files = [item for item in self.model.items.values() if item.kind == "recording"]
        asked = [*(item.key for item in files), ("never seen.wav", 1, int(NOON))]
        assert self.ledger.recordings.known(asked) == {
            item.key for item in files if item.state != "its file is missing" and not item.removed
        }

    @invariant()
    def only_delivered_files_may_be_deleted(self) -> None:
        assert {one.id for one in self.ledger.recordings.delivered(1000)} == {
            number
            for number in self.model.numbers("recording", "delivered")
            if not self.model.items[number].removed
        }


def test_the_ledger_agrees_with_a_plain_model_whatever_happens() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
