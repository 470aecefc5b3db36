"""The book of deliveries: what waits for what, what is due, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ledger import Ledger
from agent.ledger.due import RECORD, RECORDING
from tests.clocks import HandClock
from tests.ledgers import (
    ATTACH_WINDOW,
    a_call,
    a_missed_call,
    a_recording,
    add_call,
    add_recording,
    begin_call,
    booked_call,
    end_call,
    ledger_in,
    next_recording,
    state_of,
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    with ledger_in(tmp_path, clock) as opened:
        yield opened


def record_due(ledger: Ledger, *busy: int) -> int | None:
    found = ledger.deliveries.next_record(busy)
    return None if found is None else found.stored.id


def recording_due(ledger: Ledger, *busy: int) -> int | None:
    found = ledger.deliveries.next_recording(busy)
    return None if found is None else found.id


def deliver(ledger: Ledger, number: int) -> None:
    item = next_recording(ledger)
    assert item.id == number
    assert ledger.deliveries.delivered(item, "digest")


# A record and its recording


def test_a_record_waits_for_its_recording_and_goes_when_its_time_is_over(
    ledger: Ledger, clock: HandClock
) -> None:
    number = add_call(ledger, wait=ATTACH_WINDOW)
    assert state_of(ledger, number) == "waiting for its recording"
    assert record_due(ledger) is None
    assert ledger.deliveries.next_due(RECORD) == clock.monotonic() + ATTACH_WINDOW
    clock.turn(ATTACH_WINDOW)
    assert record_due(ledger) == number


def test_the_record_of_a_missed_call_waits_for_nothing(ledger: Ledger) -> None:
    number = begin_call(ledger, a_missed_call())
    end_call(ledger, number, a_missed_call(), wait=0.0)
    assert state_of(ledger, number) == "record to be sent"
    assert record_due(ledger) == number


def test_a_record_goes_at_once_when_its_recording_comes(ledger: Ledger) -> None:
    number = add_call(ledger, wait=ATTACH_WINDOW)
    add_recording(ledger, number)
    assert record_due(ledger) == number
    assert state_of(ledger, number) == "record to be sent"


def test_a_record_goes_at_once_when_a_recording_finds_its_call_later(ledger: Ledger) -> None:
    recording = add_recording(ledger, None)
    number = add_call(ledger, wait=ATTACH_WINDOW)
    assert record_due(ledger) is None
    ledger.recordings.attach(recording, number)
    assert record_due(ledger) == number


def test_a_record_does_not_wait_where_its_recording_was_here_before_the_hang_up(
    ledger: Ledger,
) -> None:
    number = begin_call(ledger)
    recording = add_recording(ledger, number)
    assert state_of(ledger, recording) == "waiting for its record"
    end_call(ledger, number, wait=ATTACH_WINDOW)
    assert record_due(ledger) == number


def test_the_record_of_a_call_found_over_waits_for_the_last_of_its_recordings(
    ledger: Ledger, clock: HandClock
) -> None:
    number = begin_call(ledger)
    add_recording(ledger, number, "first.wav")
    end_call(ledger, number, uncertain=True)
    add_recording(ledger, number, "second.wav")
    assert record_due(ledger) is None
    clock.turn(ATTACH_WINDOW)
    assert record_due(ledger) == number


def test_a_file_that_is_kept_is_not_the_recording_that_a_record_waits_for(ledger: Ledger) -> None:
    number = begin_call(ledger)
    kept = add_recording(ledger, number, kept="it is empty")
    end_call(ledger, number, wait=ATTACH_WINDOW)
    assert record_due(ledger) is None
    assert state_of(ledger, kept) == "kept, not sent"


def test_a_record_says_whether_there_is_a_recording(ledger: Ledger) -> None:
    without = add_call(ledger)
    record = ledger.deliveries.next_record()
    assert record is not None
    assert not record.has_recording
    add_recording(ledger, without)
    record = ledger.deliveries.next_record()
    assert record is not None
    assert record.has_recording


def test_a_booked_record_lets_all_its_recordings_go_under_its_callid(ledger: Ledger) -> None:
    number = add_call(ledger)
    recordings = {add_recording(ledger, number, name) for name in ("a.wav", "b.wav")}
    other = add_recording(ledger, add_call(ledger), "other.wav")
    assert recording_due(ledger) is None
    ledger.deliveries.booked(number, "7687658987667780097")
    assert state_of(ledger, number) == "record sent"
    sent: set[int] = set()
    while (item := ledger.deliveries.next_recording(sent)) is not None:
        assert item.callid == "7687658987667780097"
        sent.add(item.id)
    assert sent == recordings
    assert state_of(ledger, other) == "waiting for its record"


def test_a_recording_that_comes_after_its_record_was_booked_still_goes(ledger: Ledger) -> None:
    number, *_ = booked_call(ledger)
    late = add_recording(ledger, number)
    assert recording_due(ledger) == late


def test_a_frozen_record_waits_for_no_recording_any_more(ledger: Ledger) -> None:
    number = add_call(ledger, wait=ATTACH_WINDOW)
    ledger.deliveries.freeze(number, b"as first sent")
    assert state_of(ledger, number) == "record to be sent"
    found = ledger.deliveries.next_record()
    assert found is not None, "it is due at once"
    assert found.body == b"as first sent"


def test_a_record_keeps_the_bytes_that_were_frozen(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        number = add_call(ledger)
        ledger.deliveries.freeze(number, bytes(range(256)))
        ledger.deliveries.refused(number, "no", 0.0)
    with ledger_in(tmp_path, clock) as ledger:
        record = ledger.deliveries.next_record()
        assert record is not None
        assert (record.body, record.refusals) == (bytes(range(256)), 1)


def test_a_duplicates_answer_without_a_callid_keeps_the_earlier_one(ledger: Ledger) -> None:
    number, recording = booked_call(ledger, "a.wav", callid="77")
    ledger.deliveries.book_anew(recording, number, "not found", 0.0)
    ledger.deliveries.booked(number, None)
    assert next_recording(ledger).callid == "77"


# 3003 on a file


def test_a_record_that_the_platform_lost_goes_first_once_more(
    ledger: Ledger, clock: HandClock
) -> None:
    number, first, second = booked_call(ledger, "a.wav", "b.wav", callid="old")
    ledger.deliveries.book_anew(first, number, "not found", clock.monotonic() + 5)
    assert recording_due(ledger) is None, "both would go under a dead callid"
    assert state_of(ledger, second) == "waiting for its record"
    assert record_due(ledger) is None, "a platform that never finds it is not asked without end"
    clock.turn(5)
    record = ledger.deliveries.next_record()
    assert record is not None
    assert (record.stored.id, record.body) == (number, b"as first sent")
    ledger.deliveries.booked(number, "new")
    assert next_recording(ledger).callid == "new"


def test_booking_anew_blames_the_recording_and_not_the_record(ledger: Ledger) -> None:
    number, first, second = booked_call(ledger, "a.wav", "b.wav")
    ledger.deliveries.book_anew(first, number, "not found", 0.0)
    refusals = {item.id: item.refusals for item in ledger.queue.find(number)}
    assert refusals == {number: 0, first: 1, second: 0}


def test_a_delivered_recording_does_not_go_again_with_its_record(ledger: Ledger) -> None:
    number, first, second = booked_call(ledger, "a.wav", "b.wav")
    deliver(ledger, first)
    ledger.deliveries.book_anew(second, number, "not found", 0.0)
    ledger.deliveries.booked(number, "new")
    assert recording_due(ledger) == second
    assert state_of(ledger, first) == "delivered"


def test_two_recordings_that_find_their_record_lost_book_it_once(
    ledger: Ledger, clock: HandClock
) -> None:
    number, first, second = booked_call(ledger, "a.wav", "b.wav")
    ledger.deliveries.book_anew(first, number, "not found", clock.monotonic() + 5)
    ledger.deliveries.book_anew(second, number, "not found", clock.monotonic() + 500)
    clock.turn(5)
    assert record_due(ledger) == number


# Delivered


def test_a_delivery_counts_once(ledger: Ledger) -> None:
    _, recording = booked_call(ledger, "a.wav")
    item = next_recording(ledger)
    assert ledger.deliveries.delivered(item, "digest")
    assert not ledger.deliveries.delivered(item, "digest")
    counts = ledger.queue.counts(10)
    assert (counts.delivered, counts.delivered_bytes) == (1, item.size)
    assert recording_due(ledger) is None
    (found,) = ledger.recordings.find("a.wav")
    assert (found.id, found.digest, found.state) == (recording, "digest", "delivered")


def test_a_file_that_changed_as_it_was_sent_is_not_delivered(ledger: Ledger) -> None:
    call_id, recording = booked_call(ledger, "a.wav")
    sent = next_recording(ledger)
    ledger.recordings.replace(recording, a_recording("a.wav", size=2000), call_id, call_due=0.0)
    assert not ledger.deliveries.delivered(sent, "digest of what it was")
    assert next_recording(ledger).size == 2000
    assert ledger.queue.counts(10).delivered == 0


def test_a_file_that_became_worthless_as_it_was_sent_stays_kept(ledger: Ledger) -> None:
    number, recording = booked_call(ledger, "a.wav")
    sent = next_recording(ledger)
    worthless = a_recording("a.wav", size=0, kept="it is empty")
    ledger.recordings.replace(recording, worthless, number, call_due=0.0)
    ledger.deliveries.book_anew(sent.id, number, "not found", 0.0)
    ledger.deliveries.missing(sent.id, "gone")
    ledger.deliveries.booked(number, "new")
    assert state_of(ledger, recording) == "kept, not sent"
    assert recording_due(ledger) is None


# Refused and postponed


def test_a_refused_item_leaves_the_way_free_for_all_others(
    ledger: Ledger, clock: HandClock
) -> None:
    with ledger.transaction():
        calls = [add_call(ledger) for _ in range(1000)]
        later = calls[::10]
        for number in later:
            ledger.deliveries.refused(number, "no", clock.monotonic() + 60)
    for expected in [number for number in calls if number not in set(later)]:
        assert record_due(ledger) == expected
        with ledger.transaction():
            ledger.deliveries.booked(expected, "1")
    assert record_due(ledger) is None
    clock.turn(60)
    assert record_due(ledger) == later[0]


def test_the_one_that_has_waited_longest_goes_first(ledger: Ledger, clock: HandClock) -> None:
    first, second, third = (add_call(ledger) for _ in range(3))
    ledger.deliveries.refused(first, "no", clock.monotonic() + 2)
    ledger.deliveries.refused(second, "no", clock.monotonic() + 1)
    assert record_due(ledger) == third
    clock.turn(5)
    assert record_due(ledger, third) == second
    assert record_due(ledger, third, second) == first


@pytest.mark.parametrize("kind", [RECORD, RECORDING])
def test_what_is_in_work_is_left_out(ledger: Ledger, clock: HandClock, kind: str) -> None:
    first, second = (booked_call(ledger, f"{n}.wav") for n in range(2))
    if kind == RECORD:
        for number, recording in (first, second):
            ledger.deliveries.book_anew(recording, number, "not found", 0.0)
    due = record_due if kind == RECORD else recording_due
    index = 0 if kind == RECORD else 1
    assert due(ledger) == first[index]
    assert due(ledger, first[index]) == second[index]
    assert due(ledger, first[index], second[index]) is None
    assert ledger.deliveries.next_due(kind, [first[index], second[index]]) is None
    ledger.deliveries.postponed(second[index], "", clock.monotonic() + 9)
    assert ledger.deliveries.next_due(kind, [first[index]]) == clock.monotonic() + 9


def test_an_item_tells_how_often_and_why_it_was_refused(ledger: Ledger) -> None:
    number = add_call(ledger)
    ledger.deliveries.refused(number, "first", 0.0)
    ledger.deliveries.postponed(number, "not its fault", 0.0)
    ledger.deliveries.refused(number, "last", 0.0)
    (item,) = ledger.queue.find(number)
    assert (item.refusals, item.trouble) == (2, "last")


def test_trouble_is_over_when_the_item_went(ledger: Ledger) -> None:
    number = add_call(ledger)
    ledger.deliveries.refused(number, "no", 0.0)
    ledger.deliveries.booked(number, "77")
    (item,) = ledger.queue.find(number)
    assert (item.trouble, item.callid) == ("", "77")


# Retry by hand


def test_retry_makes_one_item_due(ledger: Ledger, clock: HandClock) -> None:
    first, second = add_call(ledger), add_call(ledger)
    for number in (first, second):
        ledger.deliveries.refused(number, "no", clock.monotonic() + 900)
    assert ledger.deliveries.retry(second) == 1
    assert record_due(ledger) == second
    assert record_due(ledger, second) is None


def test_retry_makes_everything_due(ledger: Ledger, clock: HandClock) -> None:
    numbers = [add_call(ledger) for _ in range(3)]
    for number in numbers:
        ledger.deliveries.refused(number, "no", clock.monotonic() + 900)
    assert ledger.deliveries.retry(None) == 3
    assert record_due(ledger, *numbers[:2]) == numbers[2]


def test_retry_of_a_recording_that_waits_for_its_record_tries_the_record(
    ledger: Ledger, clock: HandClock
) -> None:
    number = add_call(ledger)
    recording = add_recording(ledger, number)
    ledger.deliveries.refused(number, "no", clock.monotonic() + 900)
    assert ledger.deliveries.retry(recording) == 1
    assert record_due(ledger) == number


def test_retry_sends_nothing_that_is_delivered_or_kept(ledger: Ledger) -> None:
    _, recording = booked_call(ledger, "a.wav")
    deliver(ledger, recording)
    kept = add_recording(ledger, None, "b.wav", kept="it is empty")
    assert ledger.deliveries.retry(recording) == 0
    assert ledger.deliveries.retry(kept) == 0
    assert ledger.deliveries.retry(None) == 0


# Start-up


def test_a_new_boot_makes_everything_due(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        number = add_call(ledger)
        ledger.deliveries.refused(number, "no", clock.monotonic() + 900)
    clock.start_anew()
    with ledger_in(tmp_path, clock) as ledger:
        ledger.deliveries.begin_waiting(ATTACH_WINDOW, new_boot=ledger.new_boot)
        assert record_due(ledger) == number


def test_a_restart_alone_leaves_a_refused_item_its_wait(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        number = add_call(ledger)
        ledger.deliveries.refused(number, "no", clock.monotonic() + 900)
    with ledger_in(tmp_path, clock) as ledger:
        ledger.deliveries.begin_waiting(ATTACH_WINDOW, new_boot=ledger.new_boot)
        assert record_due(ledger) is None


@pytest.mark.parametrize("new_boot", [False, True])
def test_at_start_up_all_get_time_for_files_not_looked_at_yet(
    tmp_path: Path, clock: HandClock, new_boot: bool
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        number = add_call(ledger, wait=ATTACH_WINDOW)
        recording = add_recording(ledger, None)
    clock.turn(ATTACH_WINDOW * 10)
    if new_boot:
        clock.start_anew()
    with ledger_in(tmp_path, clock) as ledger:
        ledger.deliveries.begin_waiting(ATTACH_WINDOW, new_boot=ledger.new_boot)
        assert record_due(ledger) is None
        ((file, until, _),) = ledger.recordings.without_call(10)
        assert (file.id, until) == (recording, clock.monotonic() + ATTACH_WINDOW)
        clock.turn(ATTACH_WINDOW)
        assert record_due(ledger) == number


# A file that is gone


def test_a_missing_file_waits_until_it_is_back(ledger: Ledger) -> None:
    _, recording = booked_call(ledger, "a.wav")
    ledger.deliveries.missing(recording, "No such file")
    assert state_of(ledger, recording) == "its file is missing"
    assert recording_due(ledger) is None
    assert ledger.deliveries.retry(recording) == 0
    (item,) = ledger.recordings.find("a.wav")
    ledger.deliveries.restored(recording, item.call_id, 0.0)
    assert recording_due(ledger) == recording
    assert {found.trouble for found in ledger.queue.find(recording)} == {""}


def test_a_file_that_comes_back_before_its_record_is_booked_waits_for_it(ledger: Ledger) -> None:
    number = add_call(ledger)
    recording = add_recording(ledger, number)
    ledger.deliveries.missing(recording, "No such file")
    ledger.deliveries.booked(number, "77")
    assert recording_due(ledger) is None
    ledger.deliveries.restored(recording, number, 0.0)
    assert recording_due(ledger) == recording


def test_a_file_that_comes_back_without_a_call_looks_for_one_again(
    ledger: Ledger, clock: HandClock
) -> None:
    recording = add_recording(ledger, None)
    ledger.deliveries.missing(recording, "No such file")
    assert ledger.recordings.without_call(10) == []
    until = clock.monotonic() + ATTACH_WINDOW
    ledger.deliveries.restored(recording, None, until)
    ((file, due, _),) = ledger.recordings.without_call(10)
    assert (file.id, due) == (recording, until)


def test_nothing_due_at_all_is_told_so(ledger: Ledger) -> None:
    add_call(ledger, a_call())
    assert ledger.deliveries.next_due(RECORD) == 0.0
    assert ledger.deliveries.next_due(RECORDING) is None
