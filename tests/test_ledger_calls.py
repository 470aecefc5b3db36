"""The book of calls: each call as the board told it, ended once, found again for a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.calls import Call, Direction
from agent.clock import Stamp
from agent.ledger import Ledger
from agent.ledger.calls import MOST_CANDIDATES
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    LONG,
    a_call,
    a_missed_call,
    add_call,
    begin_call,
    end_call,
    ledger_in,
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    with ledger_in(tmp_path, clock) as opened:
        yield opened


def numbers(ledger: Ledger, start: float, end: float) -> list[int]:
    return [stored.id for stored in ledger.calls.around(start, end)]


@pytest.mark.parametrize("hours", [0.9, 1.0, 1.1, 30.0])
def test_a_call_of_any_length_is_found_by_a_recording_of_its_beginning(
    ledger: Ledger, hours: float
) -> None:
    number = add_call(ledger, a_call(lasts=hours * 3600))
    begun = ledger.calls.get(number)
    assert begun is not None
    start = begun.call.started.wall
    assert numbers(ledger, start, start + 1) == [number]
    assert numbers(ledger, start - 10, start - 1) == []


@pytest.mark.parametrize("call", [a_call(), a_missed_call(), a_call(phone="", lasts=0.0)])
def test_a_call_is_read_as_it_was_written(ledger: Ledger, call: Call) -> None:
    number = add_call(ledger, call, trusted=False)
    stored = ledger.calls.get(number)
    assert stored is not None
    assert (stored.call, stored.boot, stored.source) == (call, "first boot", "board")
    assert (stored.clock_trusted, stored.clock_offset, stored.end_uncertain) == (False, 0.0, False)


def test_an_unknown_number_is_no_call(ledger: Ledger) -> None:
    assert ledger.calls.get(1) is None


def test_a_call_that_goes_on_is_open_across_a_restart(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        add_call(ledger)
        number = begin_call(ledger, a_call(channel=2))
    with ledger_in(tmp_path, clock) as ledger:
        (open_call,) = ledger.calls.open_calls()
        assert (open_call.id, open_call.call.channel, open_call.call.ended) == (number, 2, None)


def test_what_becomes_known_of_a_call_is_written(ledger: Ledger) -> None:
    number = begin_call(ledger, a_missed_call(phone=""))
    known = replace(a_call(phone="110", direction=Direction.IN), ended=None)
    assert ledger.calls.change(number, known)
    stored = ledger.calls.get(number)
    assert stored is not None
    assert stored.call == known


def test_an_open_call_has_no_record_to_send(ledger: Ledger) -> None:
    begin_call(ledger)
    assert ledger.deliveries.next_record() is None


def test_a_call_ends_once(ledger: Ledger) -> None:
    """Whoever tells of the end again, after a failure in between, changes nothing."""
    number = add_call(ledger)
    later = a_call(lasts=LONG + 100)
    end_call(ledger, number, later)
    assert not ledger.calls.change(number, later)
    stored = ledger.calls.get(number)
    assert stored is not None
    assert stored.call == a_call()
    assert len(ledger.queue.find(number)) == 1


def test_an_end_that_nobody_saw_is_marked(ledger: Ledger) -> None:
    stored = ledger.calls.get(add_call(ledger, uncertain=True))
    assert stored is not None
    assert stored.end_uncertain


def test_a_call_of_an_earlier_boot_that_ends_in_this_one_belongs_to_this_one(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        number = begin_call(ledger)
    clock.start_anew()
    with ledger_in(tmp_path, clock) as ledger:
        end_call(ledger, number)
        stored = ledger.calls.get(number)
        assert stored is not None
        assert stored.boot == "second boot"


# Found for a recording


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (NOON - LONG, NOON, True),
        (NOON - 30, NOON - 20, True),
        (NOON - 100, NOON - LONG, True),
        (NOON, NOON + 30, True),
        (NOON - 100, NOON - LONG - 0.5, False),
        (NOON + 0.5, NOON + 30, False),
    ],
)
def test_a_call_is_found_where_any_part_of_it_lies_within(
    ledger: Ledger, start: float, end: float, found: bool
) -> None:
    number = add_call(ledger)
    assert numbers(ledger, start, end) == ([number] if found else [])


def test_a_call_that_goes_on_is_found_whenever_it_began(ledger: Ledger) -> None:
    number = begin_call(ledger)
    assert numbers(ledger, NOON + 5000, NOON + 6000) == [number]
    assert numbers(ledger, NOON - 5000, NOON - 4000) == [number], "its clock may be set meanwhile"


@pytest.mark.parametrize("jump", [56 * 365 * 86_400.0, -3600.0])
def test_a_call_during_which_the_clock_was_set_is_found_by_both_clocks(
    ledger: Ledger, jump: float
) -> None:
    """And only there: it did not last as long as its clock makes believe."""
    call = a_call(start=NOON - LONG)
    assert call.ended is not None
    ended = replace(call.ended, wall=call.ended.wall + jump)
    number = add_call(ledger, replace(call, ended=ended, last_heard=ended))
    for moment in (NOON - 30, NOON - 30 + jump):
        assert numbers(ledger, moment, moment + 1) == [number]
    for moment in (NOON - 30 + jump / 2, NOON - 1800 + jump, NOON + 1800):
        assert numbers(ledger, moment, moment + 1) == []


def test_a_corrected_call_is_found_by_its_times_before_and_after(ledger: Ledger) -> None:
    """Its recording may be named by the clock before the correction."""
    number = add_call(ledger, a_call(start=1000.0), trusted=False)
    ledger.calls.correct(number, NOON)
    assert numbers(ledger, 1000.0, 1000.0 + LONG) == [number]
    assert numbers(ledger, NOON + 1000.0, NOON + 1000.0 + LONG) == [number]
    assert numbers(ledger, NOON - 1000.0, NOON) == []


def test_a_corrected_call_is_found_once_where_both_times_fit(ledger: Ledger) -> None:
    number = add_call(ledger, trusted=False)
    ledger.calls.correct(number, 10.0)
    assert numbers(ledger, NOON - LONG, NOON + 10) == [number]


def test_the_latest_calls_come_first_and_no_more_than_can_matter(ledger: Ledger) -> None:
    with ledger.transaction():
        calls = [add_call(ledger, a_call(start=NOON + n)) for n in range(MOST_CANDIDATES + 5)]
    assert numbers(ledger, 0, NOON * 2) == calls[: -MOST_CANDIDATES - 1 : -1]


def test_where_the_port_is_known_the_calls_of_others_are_not_looked_at(ledger: Ledger) -> None:
    on_port = {port: add_call(ledger, a_call(channel=port)) for port in (1, 2, 3)}
    going_on = begin_call(ledger, a_call(channel=2, start=NOON))
    found = ledger.calls.around(NOON - LONG, NOON + LONG, channel=2)
    assert [stored.id for stored in found] == [going_on, on_port[2]]


def test_calls_of_a_clock_that_was_never_set_are_found_where_they_are_asked_for(
    ledger: Ledger, clock: HandClock
) -> None:
    unset = add_call(ledger, a_call(start=1000.0), trusted=False)
    assert numbers(ledger, NOON, NOON + 1) == []
    for boot, expected in ((clock.boot, [unset]), ("another boot", [])):
        found = ledger.calls.around(NOON, NOON + 1, unset_in=boot)
        assert [stored.id for stored in found] == expected


def test_two_boxes_that_ring_on_one_port_in_one_second_tell_two_seconds(ledger: Ledger) -> None:
    one, other, third = (add_call(ledger, a_call(board=board)) for board in (1, 2, 3))
    assert ledger.calls.tell_start(one, 1, "in", 100) == 100
    assert ledger.calls.tell_start(other, 1, "in", 100) == 99
    assert ledger.calls.tell_start(third, 1, "in", 100) == 98
    assert ledger.calls.tell_start(one, 1, "in", 100) == 100


@pytest.mark.parametrize(("channel", "direction"), [(2, "in"), (1, "out")])
def test_calls_that_differ_otherwise_tell_their_own_second(
    ledger: Ledger, channel: int, direction: str
) -> None:
    one, other = (add_call(ledger, a_call(board=board)) for board in (1, 2))
    ledger.calls.tell_start(one, 1, "in", 100)
    assert ledger.calls.tell_start(other, channel, direction, 100) == 100


def test_a_correction_moves_the_wall_clock_only(ledger: Ledger) -> None:
    number = add_call(ledger, trusted=False)
    ledger.calls.correct(number, 100.0)
    ledger.calls.correct(number, 1.0)
    stored = ledger.calls.get(number)
    assert stored is not None
    assert stored.call.started == Stamp(NOON - LONG + 101.0, 1000.0 - LONG)
    assert stored.call.ended == Stamp(NOON + 101.0, 1000.0)
    assert (stored.clock_offset, stored.clock_trusted) == (101.0, True)


def test_a_missed_call_has_no_answer_to_correct(ledger: Ledger) -> None:
    number = add_call(ledger, a_missed_call(), trusted=False)
    ledger.calls.correct(number, 100.0)
    stored = ledger.calls.get(number)
    assert stored is not None
    assert stored.call.answered is None


@settings(deadline=None)  # each example is a file, on whatever disk
@given(phone=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_number_that_a_board_can_say_is_kept(phone: str, tmp_path_factory: object) -> None:
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    with ledger_in(tmp_path_factory.mktemp("ledger"), HandClock()) as ledger:
        stored = ledger.calls.get(add_call(ledger, a_call(phone=phone)))
        assert stored is not None
        assert stored.call.phone == phone
