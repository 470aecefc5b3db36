"""The lane of call records, against a platform over real HTTP."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.calls import Call, Direction
from agent.clock import Stamp
from agent.delivery.freezing import CLOCK_TOLERANCE, completed, record_fields
from agent.delivery.gate import OUTAGE_AFTER, Shut
from agent.delivery.lane import LONGEST_REST, LONGEST_SLEEP, WRITE_AGAIN_AFTER
from agent.delivery.records import RecordLane
from agent.ledger import FILE_NAME
from agent.ledger.rows import StoredCall
from agent.platform.wire import Answer
from tests.clocks import NOON
from tests.lanes import DUPLICATE, RETRY, SATELLITE, Bench, bench_in
from tests.ledgers import (
    LONG,
    a_call,
    a_missed_call,
    add_call,
    add_calls,
    add_recording,
    begin_call,
    end_call,
    store_of,
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made
        assert made.platform.violations == [], "the platform saw nothing that is forbidden"


def fields(body: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(body, keep_blank_values=True).items()}


# Booked


def test_a_record_says_what_the_protocol_names(bench: Bench) -> None:
    number = add_call(bench.ledger, a_call(channel=3, phone="*110#"))
    assert bench.step(bench.records()) == 0
    assert fields(bench.platform.bodies[0]) == {
        "cmd": "upload",
        "satellite": SATELLITE,
        "channel": "3",
        "start_time_secs": str(int(NOON - LONG)),
        "start_time_hangup": str(int(NOON)),
        "direction": "in",
        "callid_dialed": "*110#",
        "duration_secs": str(int(LONG - 5)),
        "id": str(number),
        "recorded": "0",
    }
    (booked,) = bench.platform.records
    assert bench.item(number).callid == booked.callid
    assert bench.item(number).state == "record sent"


def test_a_missed_call_lasted_no_time_and_its_direction_is_spelt_as_the_platform_does(
    bench: Bench,
) -> None:
    add_call(bench.ledger, a_missed_call())
    bench.drain(bench.records())
    (booked,) = bench.platform.records
    assert (booked.duration, booked.direction, booked.recorded) == (0, "unkown", 0)


def test_a_record_says_that_there_is_a_recording(bench: Bench) -> None:
    number = add_call(bench.ledger)
    add_recording(bench.ledger, number)
    bench.drain(bench.records())
    assert bench.platform.records[0].recorded == 1


def test_a_record_says_so_too_of_a_recording_still_being_written(bench: Bench) -> None:
    add_call(bench.ledger)
    bench.drain(bench.records(growing=True))
    assert bench.platform.records[0].recorded == 1


def test_a_record_that_waits_for_its_recording_is_not_sent(bench: Bench) -> None:
    add_call(bench.ledger, wait=15.0)
    lane = bench.records()
    assert bench.drain(lane) == 15.0
    bench.clock.turn(15)
    bench.drain(lane)
    assert len(bench.platform.records) == 1


# Fixed with the end of its call


def ended(bench: Bench, lane: RecordLane, call: Call | None = None, wait: float = 15.0) -> int:
    """A call that ends, as the switchboard writes it."""
    number = begin_call(bench.ledger, call)
    with bench.ledger.transaction():
        end_call(bench.ledger, number, call, wait=wait)
        lane.call_ended(number)
    return number


def test_what_a_record_says_is_fixed_with_the_end_of_a_call_that_is_being_recorded(
    bench: Bench,
) -> None:
    lane = bench.records(growing=True)
    number = ended(bench, lane)
    fixed = bench.ledger.deliveries.frozen(number)
    assert fixed is not None
    commits = bench.ledger.commits
    bench.drain(lane)
    assert bench.platform.bodies == [fixed.decode()]
    assert bench.platform.records[0].recorded == 1
    assert bench.ledger.commits == commits + 1, "only the answer"


def test_what_a_record_says_is_fixed_with_the_end_of_a_call_that_nobody_answered(
    bench: Bench,
) -> None:
    lane = bench.records()
    number = ended(bench, lane, a_missed_call(), wait=0.0)
    assert bench.ledger.deliveries.frozen(number) is not None
    bench.drain(lane)
    assert bench.platform.records[0].recorded == 0


def test_a_record_that_has_to_wait_for_its_recording_is_not_fixed(bench: Bench) -> None:
    lane = bench.records()
    number = ended(bench, lane)
    assert bench.ledger.deliveries.frozen(number) is None
    assert bench.item(number).state == "waiting for its recording"
    add_recording(bench.ledger, number)
    bench.drain(lane)
    assert bench.platform.records[0].recorded == 1


def test_while_the_platform_is_away_a_record_may_come_to_know_more(bench: Bench) -> None:
    bench.gate.failed(Shut.OUTAGE, "it does not answer", None)
    number = ended(bench, bench.records(), a_missed_call(), wait=0.0)
    assert bench.ledger.deliveries.frozen(number) is None


def test_a_record_is_not_fixed_before_its_times_are_sure(bench: Bench) -> None:
    lane = bench.records()
    number = begin_call(bench.ledger, trusted=False)
    with bench.ledger.transaction():
        end_call(bench.ledger, number, trusted=False, wait=0.0)
        lane.call_ended(number)
    uncertain = begin_call(bench.ledger)
    with bench.ledger.transaction():
        end_call(bench.ledger, uncertain, wait=0.0, uncertain=True)
        lane.call_ended(uncertain)
    bench.identity[0] = None
    unknown = ended(bench, lane, wait=0.0)
    for one in (number, uncertain, unknown):
        assert bench.ledger.deliveries.frozen(one) is None


def test_a_fault_in_the_matching_keeps_no_end_of_a_call_from_being_written(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: StoredCall) -> bool:
        raise ValueError("a name that nobody thought of")

    lane = RecordLane(bench.around, bench.time, lambda: SATELLITE, broken, lambda _: [])
    number = ended(bench, lane)
    assert bench.item(number).state == "waiting for its recording"
    assert "is fixed later" in caplog.text


def test_an_empty_queue_lets_the_lane_rest(bench: Bench) -> None:
    assert bench.drain(bench.records()) >= 60
    assert bench.platform.requests == {}


# Refused: the same bytes for ever


@pytest.mark.parametrize("code", [3001, 3002, 3003, 4000, -1])
def test_a_refused_record_goes_again_with_the_same_bytes(bench: Bench, code: int) -> None:
    number = add_call(bench.ledger)
    lane = bench.records()
    bench.platform.faults.set("record:status", code, times=2)
    assert bench.drain(lane) == RETRY.first
    assert (bench.item(number).refusals, bench.item(number).state) == (1, "record to be sent")
    assert str(code) in bench.item(number).trouble
    bench.clock.turn(RETRY.first)
    assert bench.drain(lane) == RETRY.first * 2, "slower each time"
    bench.clock.turn(RETRY.first * 2)
    bench.drain(lane)
    assert len(bench.platform.bodies) == 3
    assert len(set(bench.platform.bodies)) == 1
    assert len(bench.platform.records) == 1
    assert bench.gate.view().shut is None


@pytest.mark.parametrize("fault", ["reset-after", "cut", "no-callid", "wrong-types"])
def test_a_record_whose_answer_was_lost_is_booked_once(bench: Bench, fault: str) -> None:
    number = add_call(bench.ledger)
    lane = bench.records()
    bench.platform.faults.set(f"record:{fault}", times=1)
    bench.drain(lane)
    assert bench.item(number).callid is None
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    (booked,) = bench.platform.records
    assert bench.item(number).callid == booked.callid
    assert bench.platform.repeats == 1
    assert len(set(bench.platform.bodies)) == 1


@pytest.mark.parametrize("fault", ["html", "empty", "array", "huge", "answer={}", "http=404"])
def test_what_is_no_answer_of_the_platform_books_nothing(bench: Bench, fault: str) -> None:
    number = add_call(bench.ledger)
    kind, _, value = fault.partition("=")
    bench.platform.faults.set(f"record:{kind}", value, times=1)
    bench.drain(bench.records())
    assert bench.item(number).state == "record to be sent"
    bench.clock.turn(RETRY.first)
    bench.drain(bench.records())
    assert bench.item(number).state == "record sent"


@pytest.mark.parametrize("retry_after", [1, 500])
def test_a_refused_record_waits_as_long_as_it_was_asked_to(bench: Bench, retry_after: int) -> None:
    add_call(bench.ledger)
    bench.platform.faults.set("record:http", f"422;retry-after={retry_after}", times=1)
    lane = bench.records()
    bench.step(lane)
    due = bench.ledger.deliveries.next_due("record")
    assert due == bench.clock.monotonic() + max(RETRY.first, retry_after)


# Already there


def test_a_duplicates_callid_is_used(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.platform.faults.set("record:reset-after", times=1)
    bench.platform.faults.set("duplicate", DUPLICATE)
    lane = bench.records()
    bench.drain(lane)
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert bench.item(number).callid == bench.platform.records[0].callid
    assert bench.item(number).state == "record sent"


def test_a_duplicate_without_a_callid_is_booked_all_the_same(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.platform.faults.set("record:reset-after", times=1)
    bench.platform.faults.set("duplicate", f"{DUPLICATE};silent")
    lane = bench.records()
    bench.drain(lane)
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert (bench.item(number).state, bench.item(number).callid) == ("record sent", None)


def test_a_code_that_is_not_configured_is_no_duplicate(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.platform.faults.set("record:status", DUPLICATE + 1)
    bench.drain(bench.records())
    assert bench.item(number).state == "record to be sent"


def test_a_worker_looks_each_minute_at_what_waits_and_each_five_minutes_where_nothing_does(
    bench: Bench,
) -> None:
    lane = bench.records()
    assert bench.step(lane) == LONGEST_REST
    number = add_call(bench.ledger)
    bench.ledger.deliveries.postponed(number, "later", bench.clock.monotonic() + 1000)
    assert bench.step(lane) == LONGEST_SLEEP
    assert bench.platform.bodies == []


# The platform as a whole


@pytest.mark.parametrize("fault", ["http=401", "http=403", "status=-2"])
def test_a_refused_account_pauses_everything_and_blames_nothing(bench: Bench, fault: str) -> None:
    numbers = add_calls(bench.ledger, 3)
    kind, _, code = fault.partition("=")
    bench.platform.faults.set(kind, code)
    lane = bench.records()
    bench.step(lane)
    assert bench.gate.view().shut is Shut.CONFIGURATION
    assert bench.step(lane) == 60, "it looks in now and then, and sends nothing"
    assert len(bench.platform.bodies) == 1
    assert [bench.item(number).refusals for number in numbers] == [0, 0, 0]
    bench.platform.faults.clear()
    bench.clock.turn(RETRY.configuration_probe * 1.1)
    bench.drain(lane)
    assert len(bench.platform.records) == 3


def test_a_platform_that_is_down_costs_one_probe_and_blames_nothing(bench: Bench) -> None:
    numbers = add_calls(bench.ledger, 3)
    lane = bench.records()
    bench.platform.stop()
    assert bench.drain(lane) == RETRY.first
    assert bench.gate.view().shut is Shut.OUTAGE
    commits = bench.ledger.commits
    bench.clock.turn(RETRY.first)
    assert bench.drain(lane) == RETRY.first * 2
    assert bench.ledger.commits == commits, "an outage does not wear the flash"
    assert [bench.item(number).refusals for number in numbers] == [0, 0, 0]
    bench.platform.start()
    bench.clock.turn(RETRY.first * 2)
    bench.drain(lane)
    assert len(bench.platform.records) == 3


def test_several_different_records_that_fail_in_a_row_are_an_outage(bench: Bench) -> None:
    numbers = add_calls(bench.ledger, OUTAGE_AFTER + 3)
    bench.platform.faults.set("http", 500)
    lane = bench.records()
    assert bench.drain(lane) > 0
    assert bench.gate.view().shut is Shut.OUTAGE
    assert len(bench.platform.bodies) == OUTAGE_AFTER
    blamed = [bench.item(number).refusals for number in numbers]
    assert blamed == [1, 1, 0, 0, 0, 0], "the one that gave it away is not to blame"
    bench.platform.faults.clear()
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert len(bench.platform.records) == len(numbers)


def test_one_record_that_fails_again_and_again_is_no_outage(bench: Bench) -> None:
    add_call(bench.ledger)
    bench.platform.faults.set("http", 500)
    lane = bench.records()
    for _ in range(OUTAGE_AFTER * 2):
        bench.clock.turn(1000)
        bench.drain(lane)
    assert bench.gate.view().shut is None


def test_failures_with_good_answers_between_are_no_outage(bench: Bench) -> None:
    """A report that the platform took counts as well as a record."""
    add_calls(bench.ledger, OUTAGE_AFTER * 2)
    bench.platform.faults.set("record:http", 500)
    lane = bench.records()
    for _ in range(OUTAGE_AFTER * 2):
        bench.step(lane)
        assert bench.gate.view().shut is None
        bench.gate.answered()
    assert len(bench.platform.bodies) == OUTAGE_AFTER * 2


@pytest.mark.parametrize("fault", ["reset-before", "http=500", "http=503"])
def test_the_next_probe_takes_another_record(bench: Bench, fault: str) -> None:
    """What spoils a probe may be the record itself: it must not hold up all others."""
    numbers = add_calls(bench.ledger, 2)
    bench.gate.failed(Shut.OUTAGE, "no route", None)
    kind, _, value = fault.partition("=")
    bench.platform.faults.set(kind, value, times=1)
    lane = bench.records()
    bench.clock.turn(RETRY.first)
    bench.step(lane)
    assert [bench.item(number).refusals for number in numbers] == [0, 0]
    bench.clock.turn(RETRY.first * 2)
    bench.step(lane)
    sent = [fields(body)["id"] for body in bench.platform.bodies]
    assert sorted(sent) == [str(number) for number in numbers]


def test_a_record_that_is_always_refused_never_blocks_the_others(tmp_path: Path) -> None:
    with bench_in(tmp_path) as bench:
        poison = add_call(bench.ledger, a_call(channel=0))
        others = add_calls(bench.ledger, 5)
        lane = bench.records()
        for _ in range(5):
            bench.drain(lane)
            bench.clock.turn(1000)
        assert {record.id for record in bench.platform.records} == set(others)
        assert bench.item(poison).refusals == 5
        assert bench.gate.view().shut is None


def test_a_stopped_request_leaves_all_as_it_was(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.client.abandon()
    bench.step(bench.records())
    item = bench.item(number)
    assert (item.refusals, item.trouble, item.due, item.state) == (0, "", 0.0, "record to be sent")
    assert bench.gate.view().shut is None
    assert bench.platform.requests == {}


def test_a_stopped_probe_leaves_the_next_one_its_turn(bench: Bench) -> None:
    add_call(bench.ledger)
    bench.gate.failed(Shut.OUTAGE, "no route", None)
    bench.clock.turn(RETRY.first)
    bench.client.abandon()
    bench.step(bench.records())
    assert bench.gate.view().shut is Shut.OUTAGE
    assert bench.gate.admit() == 0


# Who the gateway is


def test_without_an_identity_nothing_is_sent_and_nothing_blamed(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.identity[0] = None
    lane = bench.records()
    bench.step(lane)
    assert bench.gate.view().shut is Shut.OUTAGE
    assert bench.platform.requests == {}
    assert bench.item(number).refusals == 0
    bench.identity[0] = SATELLITE
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert bench.platform.records[0].satellite == SATELLITE


def test_an_identity_that_changed_goes_into_the_record_when_it_was_missed(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.platform.faults.set("record:status", 3002, times=1)
    lane = bench.records()
    bench.platform.on_request = lambda: bench.identity.__setitem__(0, "02:00:00:00:00:09")
    bench.drain(lane)
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    before, after = (fields(body) for body in bench.platform.bodies)
    assert after == {**before, "satellite": "02:00:00:00:00:09"}
    assert after["id"] == str(number)


def test_an_identity_that_changed_alone_changes_no_record(bench: Bench) -> None:
    add_call(bench.ledger)
    bench.platform.faults.set("record:status", 3001, times=1)
    lane = bench.records()
    bench.drain(lane)
    bench.identity[0] = "02:00:00:00:00:09"
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert len(set(bench.platform.bodies)) == 1


# Times made true, once


def test_records_wait_for_a_clock(bench: Bench) -> None:
    bench.clock.wall_time = 100.0
    add_call(bench.ledger, a_call(start=40.0), trusted=False)
    lane = bench.records()
    assert bench.step(lane) > 0
    assert bench.platform.requests == {}
    bench.time.hear(NOON)
    bench.drain(lane)
    (booked,) = bench.platform.records
    assert (booked.started, booked.ended) == (int(NOON - LONG), int(NOON))


def test_a_clock_set_between_the_call_and_the_first_sending_corrects_the_record(
    bench: Bench,
) -> None:
    number = add_call(bench.ledger, a_call(start=NOON - 7200 - LONG), trusted=False)
    bench.clock.turn(10)
    bench.drain(bench.records())
    (booked,) = bench.platform.records
    assert (booked.started, booked.ended) == (int(NOON - LONG), int(NOON))
    stored = bench.ledger.calls.get(number)
    assert stored is not None
    assert (stored.clock_trusted, stored.clock_offset) == (True, 7200.0)


def test_a_clock_set_after_the_first_sending_changes_nothing(bench: Bench) -> None:
    add_call(bench.ledger, trusted=False)
    bench.platform.faults.set("record:status", 3001, times=1)
    lane = bench.records()
    bench.drain(lane)
    bench.clock.jump(7200)
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert len(set(bench.platform.bodies)) == 1
    assert bench.platform.records[0].ended == int(NOON)


def test_a_trusted_call_is_not_corrected(bench: Bench) -> None:
    add_call(bench.ledger)
    bench.clock.jump(7200)
    bench.drain(bench.records())
    assert bench.platform.records[0].ended == int(NOON)


def test_drift_is_not_corrected(bench: Bench) -> None:
    number = add_call(bench.ledger, trusted=False)
    bench.clock.jump(CLOCK_TOLERANCE)
    bench.drain(bench.records())
    stored = bench.ledger.calls.get(number)
    assert stored is not None
    assert stored.clock_offset == 0
    assert bench.platform.records[0].ended == int(NOON)


def test_a_call_of_an_earlier_boot_with_an_unset_clock_ended_as_this_boot_began(
    bench: Bench,
) -> None:
    add_call(bench.ledger, a_call(start=300.0), trusted=False)
    bench.clock.start_anew(up=20.0)
    bench.drain(bench.records())
    (booked,) = bench.platform.records
    assert (booked.started, booked.ended) == (int(NOON - 20 - LONG), int(NOON - 20))


def test_calls_of_an_earlier_boot_with_an_unset_clock_keep_their_distance(bench: Bench) -> None:
    """Two short ones that were put at one moment would be one to the platform."""
    for start in (300.0, 1000.0):
        add_call(bench.ledger, a_call(start=start, lasts=10.0), trusted=False)
    bench.clock.start_anew(up=20.0)
    bench.platform.faults.set("record:status", 3001, times=1)
    lane = bench.records()
    for _ in range(2):
        bench.drain(lane)
        bench.clock.turn(RETRY.first)
    booked = sorted(record.started for record in bench.platform.records)
    assert booked == [int(NOON - 30 - 700), int(NOON - 30)]


def test_a_call_of_an_earlier_boot_with_a_likely_clock_keeps_its_times(bench: Bench) -> None:
    add_call(bench.ledger, trusted=False)
    bench.clock.start_anew()
    bench.clock.jump(7200)
    bench.drain(bench.records())
    assert bench.platform.records[0].ended == int(NOON)


def test_a_call_that_ended_unseen_lasted_as_long_as_its_recording(bench: Bench) -> None:
    number = add_call(bench.ledger, a_missed_call(lasts=2.0), uncertain=True)
    ended = NOON - LONG + 50
    add_recording(bench.ledger, number, modified_ns=int(ended * 1e9), duration=40.0)
    bench.drain(bench.records())
    (booked,) = bench.platform.records
    assert (booked.ended, booked.duration, booked.direction) == (int(ended), 40, "in")


def test_a_recording_left_long_after_its_call_tells_by_its_name_when_that_ended(
    bench: Bench,
) -> None:
    number = add_call(bench.ledger, a_call(phone="138", lasts=10.0), uncertain=True)
    begin, minutes_later = NOON - LONG + 5, int((NOON + 300) * 1e9)
    name = f"{datetime.fromtimestamp(begin, UTC):%Y%m%d-%H%M%S}_13800138000.wav"
    add_recording(bench.ledger, number, name, modified_ns=minutes_later, duration=40.0)
    bench.drain(bench.records())
    (booked,) = bench.platform.records
    assert (booked.ended, booked.duration) == (int(begin + 40), 40)
    assert booked.phone == "13800138000"


# Whole seconds

SECONDS = st.floats(0, 10_000)


@given(
    start=st.floats(1e9, 4e9),
    rings=st.one_of(st.just(0.0), SECONDS),
    talks=SECONDS,
    jump=st.one_of(st.just(0.0), st.floats(-5, 5), st.floats(-1e8, 1e8)),
    answered=st.booleans(),
)
@example(start=1e9, rings=0.0, talks=60.0, jump=-1.5, answered=True)
def test_the_hang_up_less_the_duration_is_never_before_the_start(
    start: float, rings: float, talks: float, jump: float, answered: bool
) -> None:
    begin, end = Stamp(start, 50.0), Stamp(start + rings + talks + jump, 50.0 + rings + talks)
    picked_up = Stamp(start + rings, 50.0 + rings) if answered else None
    call = Call(1, 1, Direction.IN, "1", begin, picked_up, end, end)
    said = record_fields(7, call, SATELLITE, recorded=False)
    assert said.hang_up - said.duration >= said.start
    assert said.duration == (math.floor(call.duration) if answered else 0)
    assert abs(said.hang_up - end.wall) <= CLOCK_TOLERANCE + 1
    if abs(jump) < 0.001:
        assert said.start == math.floor(start)


@pytest.mark.parametrize("jump", [7200.0, -7200.0, NOON])
def test_where_the_clock_jumped_in_a_call_its_later_reading_counts(jump: float) -> None:
    call = a_call()
    assert call.ended is not None
    jumped = replace(call, ended=Stamp(call.ended.wall + jump, call.ended.monotonic))
    said = record_fields(7, jumped, SATELLITE, recorded=False)
    assert (said.start, said.hang_up) == (int(NOON + jump - LONG), int(NOON + jump))


def test_a_call_is_completed_by_recordings_that_lasted_longer() -> None:
    call = a_missed_call(lasts=2.0)
    begin, end = NOON - LONG + 5, NOON
    whole = completed(call, [(begin + 20, end), (begin, begin + 10)])
    assert whole.answered == Stamp(begin, call.started.monotonic + 5)
    assert whole.ended == Stamp(end, call.started.monotonic + LONG)
    assert whole.direction is Direction.IN


def test_recordings_make_no_call_shorter_nor_begin_before_it() -> None:
    call = a_call()
    assert completed(call, [(NOON - 1000, NOON - 30)]) == call
    missed = a_missed_call()
    begun_before = completed(missed, [(NOON - 1000, NOON - 30)])
    assert (begun_before.answered, begun_before.ended) == (missed.started, missed.ended)
    assert completed(call, []) is call


# Workers and a ledger that can't be written


def test_two_workers_never_send_the_same_record(bench: Bench) -> None:
    numbers = add_calls(bench.ledger, 2)
    lane = bench.records()
    under_way, go_on = threading.Event(), threading.Event()

    def hold_the_first() -> None:
        if len(bench.platform.bodies) == 1:
            under_way.set()
            assert go_on.wait(20)

    bench.platform.on_request = hold_the_first
    with closing(bench.client_of_its_own()) as client:
        worker = threading.Thread(target=lane.step, args=(client, bench.stop, lambda _: None))
        worker.start()
        try:
            assert under_way.wait(20)
            assert bench.step(lane) == 0
            assert bench.step(lane) > 0, "the other one is in work, and nothing else is due"
        finally:
            go_on.set()
            worker.join()
    sent = [fields(body)["id"] for body in bench.platform.bodies]
    assert sorted(sent) == sorted(map(str, numbers))


@pytest.fixture
def locked(bench: Bench) -> Iterator[sqlite3.Connection]:
    """Another connection that takes the right to write with BEGIN, and gives it back."""
    store_of(bench.ledger).row("PRAGMA busy_timeout = 0")
    path = bench.directory.parent / "state" / FILE_NAME
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        yield other


def lock(other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")


def test_an_answer_that_cannot_be_written_is_written_later_and_nothing_is_sent_meanwhile(
    bench: Bench, locked: sqlite3.Connection
) -> None:
    first, second = add_calls(bench.ledger, 2)

    def room_again() -> None:
        if len(bench.stop.waits) == 3:
            assert bench.item(first).state == "record to be sent"
            assert len(bench.platform.bodies) == 1
            locked.execute("ROLLBACK")

    bench.platform.on_request = lambda: lock(locked)
    bench.stop.on_wait = room_again
    lane = bench.records()
    bench.step(lane)
    assert bench.stop.waits == [WRITE_AGAIN_AFTER] * 3
    assert bench.item(first).state == "record sent"
    assert bench.item(second).state == "record to be sent"


def test_an_answer_that_could_not_be_written_before_the_end_is_asked_for_again(
    bench: Bench, locked: sqlite3.Connection
) -> None:
    number = add_call(bench.ledger)
    bench.platform.on_request = lambda: lock(locked)
    bench.stop.on_wait = bench.stop.set
    lane = bench.records()
    bench.step(lane)
    locked.execute("ROLLBACK")
    bench.platform.on_request = lambda: None
    bench.stop.clear()
    bench.drain(lane)
    assert bench.item(number).state == "record sent"
    assert (len(bench.platform.records), bench.platform.repeats) == (1, 1)
    assert len(set(bench.platform.bodies)) == 1


def test_a_record_that_cannot_be_frozen_is_not_sent(
    bench: Bench, locked: sqlite3.Connection
) -> None:
    """The worker lives on, and goes on when there is room again."""
    number = add_call(bench.ledger)
    locked.execute("BEGIN IMMEDIATE")

    def room_again() -> None:
        assert bench.platform.requests == {}
        locked.execute("ROLLBACK")

    def rests(_: float) -> None:
        if bench.item(number).state == "record sent":
            bench.stop.set()
            bench.bells.ring()

    bench.stop.on_wait = room_again
    bench.records().run(bench.client, bench.stop, rests)
    assert bench.stop.waits == [WRITE_AGAIN_AFTER]
    assert len(bench.platform.records) == 1


def test_a_call_that_ends_wakes_the_lane_that_sleeps(bench: Bench) -> None:
    number = begin_call(bench.ledger)
    lane = bench.records()
    sleeping = threading.Event()
    worker = threading.Thread(
        target=lane.run, args=(bench.client, bench.stop, lambda _: sleeping.set())
    )
    worker.start()
    try:
        assert sleeping.wait(20)
        end_call(bench.ledger, number, wait=0.0)
        bench.bells.ring()
        assert bench.platform.wait_for(lambda: len(bench.platform.records) == 1, 20)
    finally:
        bench.stop.set()
        bench.bells.ring()
        worker.join()


def test_a_booked_record_wakes_those_who_carry_recordings_where_one_waited(bench: Bench) -> None:
    alone, accompanied = add_calls(bench.ledger, 2)
    lane = bench.records()
    rings = bench.bells.recordings.rings
    assert not bench.step(lane)
    assert bench.item(alone).state == "record sent"
    assert bench.bells.recordings.rings == rings
    bench.file(accompanied)
    assert not bench.step(lane)
    assert bench.item(accompanied).state == "record sent"
    assert bench.bells.recordings.rings > rings


def test_a_repeated_record_wakes_them_too(bench: Bench) -> None:
    number = add_call(bench.ledger)
    bench.file(number)
    bench.platform.faults.set("record:reset-after", times=1)
    lane = bench.records()
    bench.drain(lane)
    rings = bench.bells.recordings.rings
    bench.clock.turn(RETRY.first)
    bench.drain(lane)
    assert bench.item(number).state == "record sent"
    assert bench.bells.recordings.rings > rings


# Our own faults


def test_a_record_that_the_agent_itself_fails_on_holds_up_no_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bad = add_call(bench.ledger)
    bench.ledger.deliveries.freeze(bad, b"cmd=upload")
    good = add_call(bench.ledger, a_call(channel=2))
    lane, send = bench.records(), bench.client.record

    def record(body: bytes) -> Answer:
        if body == b"cmd=upload":
            raise ValueError("nobody thought of this")
        return send(body)

    bench.client.record = record  # type: ignore[method-assign]
    assert bench.drain(lane) > 0
    assert bench.item(good).state == "record sent"
    item = bench.item(bad)
    assert (item.refusals, item.trouble) == (1, "the agent itself failed on it: ValueError")
    assert "nobody thought of this" in caplog.text
    assert bench.gate.view().shut is None
