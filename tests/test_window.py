"""The hours for recordings: configured, narrowed by the platform's `period`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.delivery.window import DAY, Hours, UploadWindow, parse_hours

MIDNIGHT = datetime(2026, 9, 21, tzinfo=UTC)


def window(configured: str | None, at: str = "12:00", period: str | None = None) -> UploadWindow:
    hour, _, minute = at.partition(":")
    now = MIDNIGHT.replace(hour=int(hour), minute=int(minute))
    made = UploadWindow(configured, lambda: now)
    made.hear(period)
    return made


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("22:00-06:00", Hours(1320, 360)),
        ("16-17", Hours(960, 1020)),
        (" 8 - 9:30 ", Hours(480, 570)),
        ("00:00-24:00", Hours(0, DAY)),
        ("0-24", Hours(0, DAY)),
        ("24-6", None),
        ("16-25", None),
        ("16:60-17:00", None),
        ("16", None),
        ("", None),
        ("-", None),
        ("-16--17", None),
        ("9" * 10_000, None),
        ("16-17\n18-19", None),
    ],
)
def test_hours_are_read_or_refused(text: str, hours: Hours | None) -> None:
    assert parse_hours(text) == hours


@given(st.text(max_size=50))
def test_any_text_of_the_platform_is_hours_or_none(text: str) -> None:
    hours = parse_hours(text)
    assert hours is None or (0 <= hours.begin < DAY and 0 <= hours.end <= DAY)


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("16-17", [960, 1019.99], [959.99, 1020]),
        ("22-6", [1320, 1439, 0, 359.9], [360, 1319]),
        ("22-24", [1320, 1439.9], [0, 1319]),
        ("0-24", [0, 700, 1439.9], []),
        ("7-7", [0, 700], []),
    ],
)
def test_the_end_is_not_part_of_the_hours(
    hours: str, inside: list[float], outside: list[float]
) -> None:
    read = parse_hours(hours)
    assert read is not None
    assert all(read.hold(minute) for minute in inside)
    assert not any(read.hold(minute) for minute in outside)


@pytest.mark.parametrize(
    ("configured", "period", "at", "hours_to_wait"),
    [
        (None, None, "12:00", 0),
        ("22:00-06:00", None, "23:00", 0),
        ("22:00-06:00", None, "05:59", 0),
        ("22:00-06:00", None, "06:00", 16),
        (None, "16-17", "12:00", 4),
        (None, "16-17", "17:00", 23),
        ("16:30-20:00", "16-17", "12:00", 4.5),
        ("16:30-20:00", "16-17", "16:15", 0.25),
        ("16:30-20:00", "16-17", "16:45", 0),
        ("16:30-20:00", "16-17", "18:00", 22.5),
        ("22:00-06:00", "nonsense", "23:00", 0),
    ],
)
def test_recordings_wait_until_both_allow_them(
    configured: str | None, period: str | None, at: str, hours_to_wait: float
) -> None:
    assert window(configured, at, period).opens_in() == pytest.approx(hours_to_wait * 3600)


def test_hours_that_never_meet_are_looked_at_now_and_then() -> None:
    assert window("08:00-09:00", "12:00", "16-17").opens_in() == 3600


def test_a_period_counts_until_an_answer_without_one() -> None:
    made = window(None)
    assert made.hear("16-17")
    assert not made.hear("16-17"), "nothing new"
    assert made.period == Hours(960, 1020)
    assert made.opens_in() > 0
    assert made.hear(None)
    assert made.opens_in() == 0


def test_an_unreadable_period_is_none() -> None:
    made = window(None)
    made.hear("16-17")
    assert made.hear("whenever you like")
    assert made.opens_in() == 0


@given(
    configured=st.tuples(st.integers(0, 1439), st.integers(0, 1439)),
    period=st.tuples(st.integers(0, 23), st.integers(0, 24)),
    microseconds=st.integers(0, 86_400_000_000 - 1),
)
@example(configured=(0, 0), period=(0, 1), microseconds=86_400_000_000 - 1)
def test_after_the_wait_it_is_open_and_not_before(
    configured: tuple[int, int], period: tuple[int, int], microseconds: int
) -> None:
    now = [MIDNIGHT + timedelta(microseconds=microseconds)]
    text = "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in configured)
    made = UploadWindow(text, lambda: now[0])
    made.hear(f"{period[0]}-{period[1]}")
    both = [hours for hours in (parse_hours(text), made.period) if hours is not None]
    common = {minute for minute in range(DAY) if all(hours.hold(minute) for hours in both)}
    wait = made.opens_in()
    if not common:
        assert wait == 3600
    elif microseconds // 60_000_000 in common:
        assert wait == 0
    else:
        arrival = now[0] + timedelta(seconds=wait, microseconds=1)
        assert arrival.hour * 60 + arrival.minute in common
        now[0] = arrival - timedelta(seconds=min(wait, 1), microseconds=1)
        assert made.opens_in() > 0
