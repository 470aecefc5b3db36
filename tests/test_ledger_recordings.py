"""The book of recordings: which files are known, which call they belong to, when they go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ledger import Ledger, LedgerError
from agent.ledger.recordings import FileKey
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    a_recording,
    add_call,
    add_recording,
    begin_call,
    booked_call,
    ledger_in,
    next_recording,
    state_of,
)

MODIFIED = int(NOON * 1e9)
KEY: FileKey = ("call.wav", 1000, MODIFIED)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    with ledger_in(tmp_path, clock) as opened:
        yield opened


def deliver(ledger: Ledger, digest: str = "digest") -> int:
    item = next_recording(ledger)
    assert ledger.deliveries.delivered(item, digest)
    return item.id


# Known by path, size and modification time


def test_a_file_is_known_by_path_size_and_modification_time(ledger: Ledger) -> None:
    add_recording(ledger, None)
    path, size, modified = KEY
    others: list[FileKey] = [
        ("other.wav", size, modified),
        (path, size + 1, modified),
        (path, size, modified + 1),
    ]
    assert ledger.recordings.known([*others, KEY]) == {KEY}


def test_no_files_are_known_where_none_are_asked_for(ledger: Ledger) -> None:
    assert ledger.recordings.known([]) == set()


def test_a_file_that_is_kept_needs_no_further_look(ledger: Ledger) -> None:
    add_recording(ledger, None, kept="it is empty")
    assert ledger.recordings.known([KEY]) == {KEY}


def test_a_missing_file_is_not_known_so_that_it_is_offered_again(ledger: Ledger) -> None:
    number = add_recording(ledger, None)
    ledger.deliveries.missing(number, "No such file")
    assert ledger.recordings.known([KEY]) == set()


@pytest.mark.parametrize(
    "name",
    [
        "2026/09/21 call.wav",
        "电话录音.wav",
        "line\nbreak'; DROP TABLE recordings; --.wav",
        b"latin \xe9\xff.wav".decode("utf-8", "surrogateescape"),
    ],
)
def test_any_name_that_a_file_can_have_is_kept(ledger: Ledger, name: str) -> None:
    number, recording = booked_call(ledger, name)
    assert ledger.recordings.known([(name, 1000, MODIFIED)])
    assert next_recording(ledger).relative == name
    assert [file.relative for file in ledger.recordings.find(name)] == [name]
    assert {item.relative for item in ledger.queue.find(recording)} == {name}
    assert ledger.queue.find(number)


@pytest.mark.parametrize(
    "modified_ns",
    [0, -1, -(10**18), 2**63 - 1, 2**63, 15_000_000_000 * 10**9],
    ids=["1970", "just before", "1938", "2262", "just after", "2445"],
)
def test_any_time_that_a_file_can_have_is_kept(ledger: Ledger, modified_ns: int) -> None:
    """One file dated 2400 must not hold up those beside it."""
    call_id, _ = booked_call(ledger)[0], None
    number = add_recording(ledger, call_id, modified_ns=modified_ns)
    assert ledger.recordings.known([("call.wav", 1000, modified_ns)])
    assert next_recording(ledger).modified_ns == modified_ns
    assert deliver(ledger) == number
    assert [file.modified_ns for file in ledger.recordings.delivered(10)] == [modified_ns]
    assert [file.modified_ns for file in ledger.recordings.find("call.wav")] == [modified_ns]
    ledger.recordings.touch(number, modified_ns - 1)
    assert ledger.recordings.known([("call.wav", 1000, modified_ns - 1)])


def test_the_same_file_is_not_written_down_twice(ledger: Ledger) -> None:
    add_recording(ledger, None)
    with pytest.raises(LedgerError):
        add_recording(ledger, None)
    assert len(ledger.recordings.find("call.wav")) == 1


def test_all_that_was_ever_at_a_path_is_found_the_newest_first(ledger: Ledger) -> None:
    first = add_recording(ledger, None, size=1)
    second = add_recording(ledger, None, size=2)
    assert [file.id for file in ledger.recordings.find("call.wav")] == [second, first]


# Changes


def test_a_file_that_grew_before_its_delivery_is_one_recording(ledger: Ledger) -> None:
    call_id, number = booked_call(ledger, "call.wav")
    ledger.deliveries.refused(number, "no", 10_000.0)
    ledger.recordings.replace(number, a_recording(size=2000), call_id, call_due=0.0)
    item = next_recording(ledger)
    assert (item.id, item.size, item.call_id, item.refusals) == (number, 2000, call_id, 0)
    assert ledger.queue.counts(10).bytes_waiting == 2000


def test_a_file_that_became_good_is_sent(ledger: Ledger) -> None:
    call_id = booked_call(ledger)[0]
    number = add_recording(ledger, call_id, kept="it is empty")
    ledger.recordings.replace(number, a_recording(size=2000), call_id, call_due=0.0)
    assert next_recording(ledger).id == number


def test_a_delivered_file_with_a_new_time_is_the_same_recording(ledger: Ledger) -> None:
    _, number = booked_call(ledger, "call.wav")
    deliver(ledger)
    ledger.recordings.touch(number, MODIFIED + 5)
    assert ledger.recordings.known([("call.wav", 1000, MODIFIED + 5)])
    assert state_of(ledger, number) == "delivered"


# Its call


def test_recordings_without_a_call_come_in_the_order_in_which_their_time_ends(
    ledger: Ledger,
) -> None:
    late = add_recording(ledger, None, "late.wav", call_due=2000.0, duration=None)
    early = add_recording(ledger, None, "early.wav", call_due=1010.0)
    add_recording(ledger, None, "kept.wav", kept="it is empty")
    add_recording(ledger, begin_call(ledger), "with a call.wav")
    waiting = ledger.recordings.without_call(10)
    assert [(file.id, due, duration) for file, due, duration in waiting] == [
        (early, 1010.0, 30.0),
        (late, 2000.0, None),
    ]
    assert [file.id for file, _, _ in ledger.recordings.without_call(1)] == [early]


def test_a_recording_that_found_its_call_looks_no_further(ledger: Ledger) -> None:
    number = add_recording(ledger, None)
    call_id = add_call(ledger)
    ledger.recordings.attach(number, call_id)
    assert ledger.recordings.without_call(10) == []
    (file,) = ledger.recordings.find("call.wav")
    assert (file.call_id, file.state) == (call_id, "waiting for its record")


def test_a_calls_recordings_come_with_their_length_where_it_is_known(ledger: Ledger) -> None:
    call_id = add_call(ledger)
    add_recording(ledger, call_id, "a.wav", modified_ns=int(NOON * 1e9), duration=30.0)
    add_recording(ledger, call_id, "b.wav", modified_ns=int(NOON * 1e9) + 10**9, duration=1.0)
    add_recording(ledger, call_id, "c.wav", duration=None)
    add_recording(ledger, call_id, "d.wav", duration=0.0)
    found = [(file.relative, length) for file, length in ledger.recordings.of_call(call_id)]
    assert sorted(found) == [("a.wav", 30.0), ("b.wav", 1.0)]


# Delivered, and then let go


def test_delivered_recordings_come_page_by_page_the_oldest_first(
    ledger: Ledger, clock: HandClock
) -> None:
    expected = []
    for number in range(5):
        booked_call(ledger, f"{number}.wav")
        expected.append(deliver(ledger))
        clock.turn(number % 2)
    pages, after = [], (0.0, 0)
    while page := ledger.recordings.delivered(2, after):
        pages.append([file.id for file in page])
        after = (page[-1].delivered, page[-1].id)
    assert pages == [expected[:2], expected[2:4], expected[4:]]


def test_a_file_that_was_removed_is_not_offered_for_removal_again(ledger: Ledger) -> None:
    booked_call(ledger, "call.wav")
    number = deliver(ledger)
    ledger.recordings.removed([number])
    assert ledger.recordings.delivered(10) == []


def test_what_was_not_delivered_is_never_offered_for_removal(ledger: Ledger) -> None:
    number, first, second = booked_call(ledger, "a.wav", "b.wav")
    add_recording(ledger, number, "kept.wav", kept="it is empty")
    ledger.deliveries.missing(first, "No such file")
    ledger.deliveries.refused(second, "no", 0.0)
    assert ledger.recordings.delivered(10) == []


def test_a_call_is_forgotten_with_all_that_was_its(ledger: Ledger) -> None:
    call_id, _ = booked_call(ledger, "call.wav")
    number = deliver(ledger)
    ledger.recordings.removed([number])
    assert ledger.recordings.forget(NOON + 1, 10) == 1
    assert ledger.calls.get(call_id) is None
    assert ledger.recordings.find("call.wav") == []
    assert ledger.queue.find(call_id) == []
    assert ledger.queue.counts(10).delivered == 1, "what was counted stays counted"


def test_nothing_is_forgotten_that_waits_or_whose_file_is_still_here(ledger: Ledger) -> None:
    add_call(ledger)  # its record waits
    booked_call(ledger, "here.wav")
    deliver(ledger)
    _, waiting = booked_call(ledger, "waiting.wav")
    _, missing = booked_call(ledger, "missing.wav")
    ledger.deliveries.missing(missing, "No such file")
    kept = add_recording(ledger, booked_call(ledger)[0], "kept.wav", kept="it is empty")
    begin_call(ledger)
    assert ledger.recordings.forget(NOON * 2, 100) == 0
    for number in (waiting, missing, kept):
        assert state_of(ledger, number)


def test_a_call_is_remembered_until_its_time(ledger: Ledger) -> None:
    booked_call(ledger)
    assert ledger.recordings.forget(NOON, 10) == 0
    assert ledger.recordings.forget(NOON + 0.1, 10) == 1


def test_no_more_is_forgotten_at_once_than_asked_for(ledger: Ledger) -> None:
    for _ in range(3):
        booked_call(ledger)
    assert [ledger.recordings.forget(NOON + 1, 2) for _ in range(3)] == [2, 1, 0]
