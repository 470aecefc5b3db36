"""Things done at intervals: never later than the interval, never in step with the fleet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.periods import FIRST_WITHIN, JITTER, Period

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
