"""Things done at intervals: never later than the interval, never in step with the fleet."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.periods import FIRST_WITHIN, JITTER, Period, Together

intervals = st.floats(0.1, 86_400)
draws = st.floats(0, 1)


@given(interval=intervals, drawn=draws)
def test_the_next_time_is_at_most_the_interval_away_and_little_less(
    interval: float, drawn: float
) -> None:
    seconds = Period(interval, lambda: drawn).next()
    assert interval * (1 - JITTER) <= seconds * (1 + 1e-9)
    assert seconds <= interval


@given(interval=intervals, drawn=draws)
def test_the_first_time_is_within_seconds_of_the_start_and_within_the_interval(
    interval: float, drawn: float
) -> None:
    assert 0 <= Period(interval, lambda: drawn).first() <= min(interval, FIRST_WITHIN)


def test_each_time_is_drawn_anew() -> None:
    drawn = iter([0.0, 1.0, 0.5])
    period = Period(10.0, lambda: next(drawn))
    assert [period.next() for _ in range(3)] == [10.0, 8.0, 9.0]


def turns(intervals: Mapping[str, float], count: int, seed: int) -> dict[str, list[float]]:
    """Let so many turns pass, each as it comes due; return when each thing was done."""
    now, done = 0.0, dict[str, list[float]]()
    together = Together(intervals, now, random.Random(seed).random)
    for _ in range(count):
        now = together.next_turn
        for name in together.ripe(now):
            together.done(name, now)
            done.setdefault(name, []).append(now)
    return done


@given(intervals=st.tuples(intervals, intervals), seed=st.integers(0, 1000))
def test_things_done_together_are_never_later_nor_much_earlier_than_alone(
    intervals: tuple[float, float], seed: int
) -> None:
    done = turns(dict(zip("ab", intervals, strict=True)), 50, seed)
    for name, interval in zip("ab", intervals, strict=True):
        for earlier, later in pairwise(done.get(name, [])):
            assert interval * (1 - JITTER) <= (later - earlier) * (1 + 1e-6)
            assert later - earlier <= interval * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_what_comes_half_as_often_soon_makes_no_turn_of_its_own(seed: int) -> None:
    done = turns({"calls": 5, "messages": 10}, 200, seed)
    alone = set(done["messages"][20:]) - set(done["calls"])
    assert len(done["messages"]) > 80
    assert not alone


def test_what_is_seldom_done_keeps_its_own_time_where_nothing_else_is_near() -> None:
    done = turns({"often": 7, "seldom": 10}, 500, seed=1)
    gaps = {round(later - earlier, 3) for earlier, later in pairwise(done["seldom"])}
    assert len(gaps) > 20, "each time is drawn anew"


def test_a_thing_with_no_interval_is_not_done() -> None:
    assert set(turns({"calls": 5, "messages": 0}, 10, seed=1)) == {"calls"}
    assert Together({"calls": 0}, 0.0).next_turn == float("inf")
