"""What waited through an outage goes out spread over a time; what came after it goes at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.delivery.gate import Gate, Shut
from agent.delivery.pace import Pace
from agent.delivery.spread import LONGEST, LOOK_BACK, MARGIN, REQUESTS_OF_A_CALL, Spread, Usual
from agent.delivery.turns import Turns
from tests.clocks import NOON, HandClock
from tests.lanes import RETRY, Bench, bench_in
from tests.ledgers import a_call, add_call

OUTAGE = 600.0
PERIODIC = 0.4
LEARNS_WITHIN = 30.0
CALLS_AN_HOUR = 120
WAITING = 2 * CALLS_AN_HOUR * int(OUTAGE) // 3600


class Office:
    """A spread over what an office with many calls left."""

    def __init__(self, *, calls_an_hour: float = CALLS_AN_HOUR, waiting: int = WAITING) -> None:
        self.clock = HandClock()
        self.waiting = waiting
        self.usual = Usual(
            PERIODIC,
            LEARNS_WITHIN,
            lambda seconds: round(calls_an_hour * seconds / 3600),
            lambda: self.waiting,
        )
        self.spread = Spread(self.usual, self.clock, lambda: 0.5)

    def go_out(self) -> list[float]:
        """Send all that waited, each in its turn; return the moments, in seconds from the begin."""
        moments = []
        for _ in range(self.waiting):
            self.clock.turn(self.spread.closed_for())
            self.spread.take()
            moments.append(self.clock.wall() - NOON)
        return moments


def least(calls_an_hour: float, outage: float) -> float:
    """Seconds in which the usual traffic makes as many requests as the outage left."""
    calls = calls_an_hour / 3600
    return 2 * calls * outage / (PERIODIC + REQUESTS_OF_A_CALL * calls)


def test_without_an_outage_nothing_waits_for_a_turn() -> None:
    office = Office()
    assert not office.spread.goes_on
    assert office.go_out() == [0.0] * WAITING


def test_a_backlog_takes_the_time_in_which_the_usual_traffic_asks_as_often() -> None:
    office = Office()
    office.spread.begin(OUTAGE)
    assert office.spread.goes_on
    moments = office.go_out()
    whole = MARGIN * least(CALLS_AN_HOUR, OUTAGE)
    assert moments[-1] == pytest.approx(whole * (1 - 0.5 / WAITING))
    assert not office.spread.goes_on


def test_the_turns_are_even() -> None:
    office = Office()
    office.spread.begin(OUTAGE)
    moments = office.go_out()
    gaps = {round(later - earlier, 6) for earlier, later in pairwise(moments)}
    assert len(gaps) == 1


def test_a_turn_that_is_used_late_makes_no_other_late() -> None:
    office = Office()
    office.spread.begin(OUTAGE)
    office.spread.closed_for()
    office.clock.turn(3600.0)
    assert office.go_out() == [3600.0] * WAITING


def test_a_quiet_office_needs_no_turns_for_its_neighbours_learn_at_other_moments() -> None:
    office = Office(calls_an_hour=10, waiting=4)
    assert MARGIN * least(10, OUTAGE) < LEARNS_WITHIN
    office.spread.begin(OUTAGE)
    assert office.go_out() == [0.0] * 4


def test_a_gateway_without_calls_lately_has_no_reason_to_wait() -> None:
    office = Office(calls_an_hour=0, waiting=500)
    office.spread.begin(OUTAGE)
    assert office.spread.closed_for() == 0


def test_a_box_with_more_than_usual_takes_no_longer() -> None:
    usual, more = Office(), Office(waiting=WAITING * 20)
    for office in (usual, more):
        office.spread.begin(OUTAGE)
    assert more.go_out()[-1] == pytest.approx(usual.go_out()[-1], rel=0.05)


def test_after_days_all_is_out_within_the_hour() -> None:
    office = Office(waiting=1000)
    office.spread.begin(7 * 86_400.0)
    assert office.go_out()[-1] == pytest.approx(LONGEST, rel=0.01)


def test_who_asks_for_it_by_hand_has_all_go_at_once() -> None:
    office = Office()
    office.spread.begin(OUTAGE)
    assert office.spread.closed_for() > 0
    office.spread.end()
    assert office.go_out() == [0.0] * WAITING


def test_calls_are_counted_over_hours_so_that_chance_evens_out() -> None:
    office = Office()
    asked: list[float] = []

    def calls_since(seconds: float) -> int:
        asked.append(seconds)
        return 0

    spread = Spread(replace(office.usual, calls_since=calls_since), office.clock)
    spread.begin(OUTAGE)
    spread.closed_for()
    assert asked == [OUTAGE + LOOK_BACK]


@given(
    outage=st.floats(0, 1e7),
    calls=st.integers(0, 100_000),
    waiting=st.integers(0, 1_000_000),
    drawn=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_no_wait_is_longer_than_all_of_it(
    outage: float, calls: int, waiting: int, drawn: list[float]
) -> None:
    clock = HandClock()
    usual = Usual(PERIODIC, LEARNS_WITHIN, lambda seconds: calls, lambda: waiting)
    spread = Spread(usual, clock, lambda: drawn[0])
    spread.begin(outage)
    for _ in drawn:
        wait = spread.closed_for()
        assert 0 <= wait <= LONGEST
        clock.turn(wait)
        spread.take()
    assert clock.wall() - NOON <= LONGEST * len(drawn)


def test_an_item_younger_than_the_outage_needs_no_turn() -> None:
    office = Office()
    gate = Gate(RETRY, office.clock, lambda: None, reopened=office.spread.begin)
    turns = Turns(gate, Pace(RETRY, office.clock, lambda: None), office.spread)
    gate.failed(Shut.OUTAGE, "no route", None)
    office.clock.turn(OUTAGE)
    gate.answered()
    assert turns.newest_only
    assert turns.admit(since=NOON) > 0
    assert turns.admit(since=office.clock.wall()) == 0


def test_a_turn_is_not_used_up_where_the_gate_lets_nothing_through() -> None:
    office = Office()
    gate = Gate(RETRY, office.clock, lambda: None)
    turns = Turns(gate, Pace(RETRY, office.clock, lambda: None), office.spread)
    office.spread.begin(OUTAGE)
    office.clock.turn(office.spread.closed_for())
    gate.failed(Shut.OUTAGE, "no route", None)
    assert turns.admit(since=0.0) > 0
    assert office.spread.closed_for() == 0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def test_a_new_call_s_record_goes_before_the_backlog_of_an_outage(bench: Bench) -> None:
    """A real ledger, a real lane, real HTTP."""
    bench.gate.failed(Shut.OUTAGE, "no route", None)
    old = [add_call(bench.ledger, a_call(start=NOON - 60 * n)) for n in range(1, 200)]
    bench.clock.turn(OUTAGE)
    bench.gate.answered()
    lane = bench.records()
    bench.drain(lane)
    assert len(bench.platform.bodies) == 0, "the backlog waits for its turn"
    new = add_call(bench.ledger, a_call(start=bench.clock.wall() - 60))
    bench.drain(lane)
    (only,) = bench.platform.bodies
    assert f"id={new}" in only
    for _ in range(len(old) * 3):
        bench.clock.turn(max(bench.drain(lane), 0.01))
    assert len(bench.platform.bodies) == 1 + len(old)
