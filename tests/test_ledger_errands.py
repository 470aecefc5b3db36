"""The book of errands: each is written before it is obeyed, obeyed once, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.ledger import Ledger
from agent.ledger.errands import DIAL, FUNCTION, MOST_FINISHED, MOST_WAITING, Order
from agent.ledger.rows import DialCounts, ErrandState
from tests.clocks import NOON, HandClock
from tests.ledgers import ledger_in

CALL = Order(DIAL, "key 1", "getCallList", 1, 3, "13800138000", expires=1060.0)
MESSAGE = Order(
    FUNCTION, "key 2", "getMessageList", name="report", parameters=(("a", "b"), ("a", "电话"))
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    with ledger_in(tmp_path, clock) as opened:
        yield opened


@pytest.mark.parametrize("order", [CALL, MESSAGE])
def test_an_errand_is_read_as_it_was_written_across_a_restart(
    tmp_path: Path, clock: HandClock, order: Order
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        number = ledger.errands.add(order, ErrandState.WAITING)
    with ledger_in(tmp_path, clock) as ledger:
        (errand,) = ledger.errands.unfinished(order.kind)
        assert errand.id == number
        for name in Order.__struct_fields__:
            assert getattr(errand, name) == getattr(order, name)
        assert (errand.state, errand.outcome, errand.created) == (
            "waiting for its channel",
            "",
            NOON,
        )


def test_what_waits_or_was_ordered_is_unfinished_the_oldest_first(ledger: Ledger) -> None:
    numbers = [ledger.errands.add(CALL, ErrandState.WAITING) for _ in range(7)]
    ledger.errands.move(numbers[0], ErrandState.ORDERED)
    ends = [ErrandState.PLACED, ErrandState.EXPIRED, ErrandState.FAILED, ErrandState.DONE]
    for number, state in zip(numbers[1:], ends, strict=False):
        ledger.errands.move(number, state)
    left = [numbers[0], *numbers[len(ends) + 1 :]]
    assert [errand.id for errand in ledger.errands.unfinished(DIAL)] == left
    assert ledger.errands.unfinished(FUNCTION) == []


def test_one_more_than_may_wait_is_read_so_that_too_many_are_noticed(ledger: Ledger) -> None:
    with ledger.transaction():
        for _ in range(MOST_WAITING + 5):
            ledger.errands.add(CALL, ErrandState.WAITING)
    assert len(ledger.errands.unfinished(DIAL)) == MOST_WAITING + 1


def test_the_latest_errands_are_shown_with_their_outcome(ledger: Ledger) -> None:
    for outcome in ("first", "second", "third"):
        number = ledger.errands.add(CALL, ErrandState.WAITING)
        ledger.errands.move(number, ErrandState.FAILED, outcome)
    assert [errand.outcome for errand in ledger.errands.recent(2)] == ["third", "second"]


def test_calls_to_place_are_counted_by_their_end_and_functions_are_not(ledger: Ledger) -> None:
    for state in (ErrandState.PLACED, ErrandState.PLACED, ErrandState.EXPIRED, ErrandState.FAILED):
        ledger.errands.move(ledger.errands.add(CALL, ErrandState.WAITING), state)
        ledger.errands.move(ledger.errands.add(MESSAGE, ErrandState.ORDERED), state)
    ledger.errands.add(CALL, ErrandState.WAITING)
    ledger.errands.add(CALL, ErrandState.ORDERED)
    assert ledger.errands.counts() == DialCounts(waiting=2, placed=2, expired=1, failed=1)


def test_finished_errands_make_room_and_unfinished_ones_stay(ledger: Ledger) -> None:
    with ledger.transaction():
        waiting = ledger.errands.add(CALL, ErrandState.WAITING)
        for _ in range(MOST_FINISHED + 20):
            ledger.errands.move(ledger.errands.add(CALL, ErrandState.WAITING), ErrandState.EXPIRED)
    kept = ledger.errands.recent(MOST_FINISHED * 2)
    assert len(kept) == MOST_FINISHED + 1
    assert kept[-1].id == waiting
    assert ledger.errands.counts().expired == MOST_FINISHED + 20


def test_an_entry_is_the_same_while_it_waits(ledger: Ledger) -> None:
    number = ledger.errands.add(CALL, ErrandState.WAITING)
    assert ledger.errands.same_as_recent("key 1", "getCallList", 60.0)
    assert not ledger.errands.same_as_recent("key 9", "getCallList", 60.0)
    ledger.errands.move(number, ErrandState.PLACED)
    assert not ledger.errands.same_as_recent("key 1", "getCallList", 60.0)


@pytest.mark.parametrize("jump", [0.0, 56 * 365 * 86_400.0, -3600.0])
def test_an_entry_that_another_list_brought_a_moment_ago_is_the_same(
    ledger: Ledger, clock: HandClock, jump: float
) -> None:
    """Whatever the wall clock does meanwhile: a call is not placed twice, and none is left out."""
    ledger.errands.move(ledger.errands.add(CALL, ErrandState.WAITING), ErrandState.PLACED)
    clock.turn(10)
    clock.jump(jump)
    assert ledger.errands.same_as_recent("key 1", "getMessageList", 60.0)
    assert not ledger.errands.same_as_recent("key 1", "getCallList", 60.0)
    clock.turn(51)
    assert not ledger.errands.same_as_recent("key 1", "getMessageList", 60.0)


def test_after_a_reboot_the_wall_clock_tells_what_was_a_moment_ago(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        ledger.errands.move(ledger.errands.add(CALL, ErrandState.WAITING), ErrandState.PLACED)
    clock.turn(30)
    clock.start_anew()
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.errands.same_as_recent("key 1", "getMessageList", 60.0)
        clock.turn(31)
        assert not ledger.errands.same_as_recent("key 1", "getMessageList", 60.0)


def test_what_a_list_held_is_remembered_across_a_restart(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.errands.listed("getCallList") == frozenset()
        ledger.errands.set_listed("getCallList", frozenset({"one", "two"}))
        ledger.errands.set_listed("getMessageList", frozenset({"three"}))
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.errands.listed("getCallList") == {"one", "two"}
        ledger.errands.set_listed("getCallList", frozenset())
        assert ledger.errands.listed("getCallList") == frozenset()
        assert ledger.errands.listed("getMessageList") == {"three"}


def test_a_list_that_did_not_change_is_not_written_again(ledger: Ledger) -> None:
    ledger.errands.set_listed("getCallList", frozenset({"one"}))
    before = ledger.commits
    ledger.errands.set_listed("getCallList", frozenset({"one"}))
    assert ledger.commits == before


def test_errands_share_the_numbers_of_calls_and_recordings(ledger: Ledger) -> None:
    first = ledger.errands.add(CALL, ErrandState.WAITING)
    second = ledger.errands.add(replace(CALL, entry="other"), ErrandState.WAITING)
    assert second == first + 1


def test_messages_of_unknown_functions_make_room_too(ledger: Ledger) -> None:
    with ledger.transaction():
        for _ in range(MOST_FINISHED + 20):
            ledger.errands.add(MESSAGE, ErrandState.UNKNOWN)
    assert len(ledger.errands.recent(MOST_FINISHED * 2)) == MOST_FINISHED
