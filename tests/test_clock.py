"""Two clocks: one that only goes forward, one that may be wrong and is judged."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import (
    AGREEMENT,
    EARLIEST_TRUE_TIME,
    PATIENCE,
    Stamp,
    SystemClock,
    TrustedClock,
    synchronised,
)
from tests.clocks import NOON, HandClock

UNSET = 100.0
"""A wall clock that began with the power."""


def judged(clock: HandClock, *, ntp: bool = False) -> TrustedClock:
    return TrustedClock(clock, lambda: ntp)


def test_the_system_clock_reads_the_machines_clocks() -> None:
    clock = SystemClock()
    before = time.monotonic()
    stamp = clock.stamp()
    assert before <= stamp.monotonic <= clock.monotonic() <= time.monotonic()
    assert abs(stamp.wall - clock.wall()) < 60


def test_one_boot_has_one_name_for_all_processes() -> None:
    assert SystemClock().boot == SystemClock().boot != ""


def test_the_kernel_says_whether_its_clock_is_held() -> None:
    assert synchronised() in {True, False}


# Trusted


def test_a_clock_held_by_ntp_is_trusted() -> None:
    time = judged(HandClock(), ntp=True)
    assert time.trusted
    assert time.ready_in() == 0
    assert time.view().platform_ahead is None


def test_a_clock_that_shows_a_time_before_this_software_is_never_trusted() -> None:
    clock = HandClock(wall_time=EARLIEST_TRUE_TIME - 1)
    time = judged(clock, ntp=True)
    assert not time.trusted
    assert time.view().unset
    clock.turn(1)
    assert time.trusted


@pytest.mark.parametrize(
    ("ahead", "trusted"),
    [(0, True), (AGREEMENT, True), (-AGREEMENT, True), (AGREEMENT + 0.1, False), (-3600, False)],
)
def test_a_clock_that_agrees_with_the_platform_is_trusted(ahead: float, trusted: bool) -> None:
    clock = HandClock()
    time = judged(clock)
    time.hear(NOON + ahead)
    clock.turn(1000)
    assert time.trusted == trusted
    assert time.view().platform_ahead == pytest.approx(ahead)


def test_the_kernel_is_not_asked_while_the_platform_agrees() -> None:
    clock = HandClock()
    asked: list[float] = []

    def synchronised() -> bool:
        asked.append(clock.wall())
        return False

    time = TrustedClock(clock, synchronised)
    time.hear(NOON)
    assert (time.trusted, len(asked)) == (True, 0)
    clock.jump(3600)
    assert (time.trusted, len(asked)) == (False, 1)


def test_a_clock_that_jumps_away_from_the_platforms_is_trusted_no_more() -> None:
    clock = HandClock()
    time = judged(clock)
    time.hear(NOON)
    clock.jump(-3600)
    assert not time.trusted
    assert time.now() == NOON - 3600, "a likely clock is kept: the fault may be at the other end"


def test_a_platform_in_1970_is_not_listened_to() -> None:
    time = judged(HandClock())
    time.hear(0.0)
    assert time.view().platform_ahead is None


# The best time there is


def test_an_unset_clock_is_replaced_by_the_platforms() -> None:
    clock = HandClock(wall_time=UNSET)
    time = judged(clock)
    assert time.now() == UNSET
    time.hear(NOON)
    clock.turn(50)
    assert time.now() == NOON + 50
    assert not time.view().unset


def test_a_clock_that_is_set_later_takes_over() -> None:
    clock = HandClock(wall_time=UNSET)
    time = judged(clock)
    time.hear(NOON)
    clock.jump(NOON + 3 - UNSET)
    assert time.now() == NOON + 3


# Waiting for it


def test_a_likely_clock_waits_a_little_for_a_second_opinion() -> None:
    clock = HandClock()
    time = judged(clock)
    assert time.ready_in() == PATIENCE
    clock.turn(PATIENCE - 1)
    assert time.ready_in() == 1
    clock.turn(1)
    assert time.ready_in() == 0


def test_an_unset_clock_waits_for_the_platform_however_long() -> None:
    clock = HandClock(wall_time=UNSET)
    time = judged(clock)
    clock.turn(100_000)
    assert time.ready_in() > 0
    time.hear(NOON)
    assert time.ready_in() == 0


# Correction


def test_a_stamp_of_an_unset_clock_is_corrected_once_the_time_is_known() -> None:
    clock = HandClock(wall_time=UNSET)
    time = judged(clock)
    stamp = clock.stamp()
    clock.turn(600)
    time.hear(NOON)
    assert stamp.wall + time.correction(stamp) == NOON - 600


@given(
    wrong=st.floats(0, 4e9),
    age=st.floats(0, 1e7),
    jump=st.floats(-1e9, 1e9),
)
def test_a_corrected_stamp_is_as_old_as_the_monotonic_clock_says(
    wrong: float, age: float, jump: float
) -> None:
    clock = HandClock(wall_time=wrong)
    time = judged(clock)
    stamp = clock.stamp()
    clock.turn(age)
    clock.jump(jump)
    assert stamp.wall + time.correction(stamp) == pytest.approx(time.now() - age, abs=1e-3)


def test_a_true_stamp_needs_no_correction() -> None:
    clock = HandClock()
    time = judged(clock)
    stamp = Stamp(NOON - 10, clock.monotonic() - 10)
    assert time.correction(stamp) == 0


def test_a_stamp_of_before_the_clock_was_set_is_not_vouched_for() -> None:
    clock = HandClock(wall_time=30.0)
    time = TrustedClock(clock, lambda: clock.wall() > EARLIEST_TRUE_TIME)
    before = clock.stamp()
    assert not time.vouches_for(before)
    clock.turn(100)
    clock.jump(NOON)
    assert time.vouches_for(clock.stamp())
    assert not time.vouches_for(before)
    clock.turn(100)
    clock.jump(1.0)
    assert time.vouches_for(clock.stamp())


def test_what_an_unset_clock_began_from_is_known_while_it_was_seen() -> None:
    assert TrustedClock(HandClock(wall_time=90.0, monotonic_time=60.0)).unset_began == 30.0
    assert TrustedClock(HandClock()).unset_began is None


# Where a sandbox refuses adjtimex(2)


class RefusingKernel:
    """The C library where a system call filter stands in between."""

    def adjtimex(self, _timex: object) -> int:
        return -1


@pytest.mark.parametrize(
    ("age", "held"), [(0.0, True), (9 * 3600.0, False), (None, False)], ids=str
)
def test_where_the_kernel_may_not_be_asked_timesyncds_mark_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float | None, held: bool
) -> None:
    monkeypatch.setattr("agent.clock._library", RefusingKernel)
    mark = tmp_path / "synchronized"
    if age is not None:
        mark.touch()
        moment = time.time() - age
        os.utime(mark, (moment, moment))
    assert synchronised(mark) is held
