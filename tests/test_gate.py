"""The gate: a dead platform costs one probe at a time, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.delivery.gate import LATER, SHORTEST_WAIT, Gate, Shut, full_jitter
from agent.settings import Retry
from tests.clocks import NOON, HandClock

RETRY = Retry(first=2.0, longest=900.0, configuration_probe=180.0)


class Watched:
    """A gate, its clock, and how often it told of a change."""

    def __init__(self, draw: Callable[[], float] = lambda: 1.0) -> None:
        self.clock = HandClock()
        self.changes = 0
        self.gate = Gate(RETRY, self.clock, self._changed, draw)

    def _changed(self) -> None:
        self.changes += 1

    def outage(self, retry_after: float | None = None) -> None:
        self.gate.failed(Shut.OUTAGE, "no route", retry_after)

    def probe_fails(self) -> None:
        assert self.gate.admit() == 0
        self.outage()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def from_another_thread(action: Callable[[], object]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


def test_an_open_gate_admits_everybody(watched: Watched) -> None:
    assert [watched.gate.admit() for _ in range(5)] == [0.0] * 5
    view = watched.gate.view()
    assert (view.shut, view.since, view.reason, view.last_good) == (None, 0.0, "", None)


def test_an_outage_shuts_it_and_tells_so_once(watched: Watched) -> None:
    watched.outage()
    view = watched.gate.view()
    assert (view.shut, view.since, view.reason) == (Shut.OUTAGE, NOON, "no route")
    assert watched.gate.admit() == RETRY.first
    watched.clock.turn(RETRY.first)
    watched.probe_fails()
    assert watched.changes == 1


def test_the_first_moment_of_an_outage_is_remembered(watched: Watched) -> None:
    watched.outage()
    watched.clock.turn(100)
    watched.probe_fails()
    assert watched.gate.view().since == NOON


def test_one_probe_at_a_time(watched: Watched) -> None:
    watched.outage()
    watched.clock.turn(RETRY.first)
    assert watched.gate.admit() == 0
    assert [watched.gate.admit() for _ in range(3)] == [RETRY.first] * 3
    watched.clock.turn(1000)
    assert watched.gate.admit() > 0, "however long the probe takes"


def test_waits_double_up_to_the_longest(watched: Watched) -> None:
    watched.outage()
    waits = []
    for _ in range(12):
        waits.append(watched.gate.admit())
        watched.clock.turn(waits[-1])
        watched.probe_fails()
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


def test_an_answer_opens_it_and_tells_so(watched: Watched) -> None:
    watched.outage()
    watched.clock.turn(RETRY.first)
    assert watched.gate.admit() == 0
    watched.gate.answered()
    assert watched.changes == 2
    assert watched.gate.admit() == 0
    assert watched.gate.view().shut is None
    assert watched.gate.view().last_good == NOON + RETRY.first


def test_answers_while_it_is_open_tell_nothing_new(watched: Watched) -> None:
    watched.gate.answered()
    watched.gate.answered()
    assert watched.changes == 0


def test_after_an_answer_waits_begin_anew(watched: Watched) -> None:
    watched.outage()
    for _ in range(5):
        watched.clock.turn(1000)
        watched.probe_fails()
    watched.gate.answered()
    watched.outage()
    assert watched.gate.admit() == RETRY.first


def test_uploads_that_fail_together_are_one_failure(watched: Watched) -> None:
    """A blink of the network under sixteen uploads must not cost minutes."""
    for _ in range(16):
        watched.outage()
    assert watched.gate.admit() == RETRY.first


def test_an_upload_of_before_the_outage_does_not_end_the_probe(watched: Watched) -> None:
    watched.outage()
    watched.clock.turn(RETRY.first)
    assert watched.gate.admit() == 0
    for say in (watched.outage, watched.gate.gave_up):
        from_another_thread(say)
        watched.clock.turn(100)
        assert watched.gate.admit() > 0, "the probe is still under way"


def test_reports_do_not_put_the_probe_off(watched: Watched) -> None:
    watched.outage()
    for _ in range(4):
        watched.clock.turn(0.5)
        from_another_thread(watched.outage)
    assert watched.gate.admit() == 0


def test_reports_go_on_through_an_outage_but_not_with_a_refused_configuration(
    watched: Watched,
) -> None:
    assert watched.gate.allows_report()
    watched.outage()
    assert watched.gate.allows_report()
    watched.gate.failed(Shut.CONFIGURATION, "401", None)
    assert not watched.gate.allows_report()


def test_a_pause_that_the_platform_asked_for_binds_reports_too(watched: Watched) -> None:
    watched.outage(retry_after=120.0)
    watched.clock.turn(120.0)
    assert not watched.gate.allows_report()
    watched.clock.turn(120.0 * LATER)
    assert watched.gate.allows_report()


def test_a_pause_that_a_report_was_asked_for_binds_all(watched: Watched) -> None:
    watched.outage()
    from_another_thread(lambda: watched.outage(retry_after=120.0))
    assert watched.gate.admit() == pytest.approx(120.0 * (1 + LATER))


def test_an_upload_under_way_does_not_end_the_pause_that_another_was_asked_for(
    watched: Watched,
) -> None:
    watched.outage(retry_after=120.0)
    from_another_thread(watched.gate.answered)
    assert watched.gate.view().shut is Shut.OUTAGE
    pause = watched.gate.admit()
    assert pause == pytest.approx(120.0 * (1 + LATER))
    watched.clock.turn(pause)
    assert watched.gate.admit() == 0
    watched.gate.answered()
    assert watched.gate.view().shut is None


def test_the_latest_reason_is_shown(watched: Watched) -> None:
    watched.outage()
    watched.gate.failed(Shut.OUTAGE, "no such host", None)
    assert watched.gate.view().reason == "no such host"


def test_a_probe_that_was_given_up_leaves_the_next_one_its_turn(watched: Watched) -> None:
    watched.outage()
    watched.clock.turn(RETRY.first)
    assert watched.gate.admit() == 0
    watched.gate.gave_up()
    assert watched.gate.admit() == 0
    assert watched.gate.view().shut is Shut.OUTAGE


@pytest.mark.parametrize("shut", list(Shut))
@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
def test_retry_after_is_obeyed_and_a_fleet_told_at_once_comes_back_one_by_one(
    shut: Shut, draw: float
) -> None:
    watched = Watched(lambda: draw)
    watched.gate.failed(shut, "later", 3600.0)
    assert watched.gate.admit() == pytest.approx(3600.0 * (1 + LATER * draw))


def test_it_tells_for_how_long_it_was_shut_as_it_opens() -> None:
    clock, told = HandClock(), list[float]()
    gate = Gate(RETRY, clock, lambda: None, lambda: 1.0, reopened=told.append)
    gate.answered()
    gate.failed(Shut.OUTAGE, "no route", None)
    clock.turn(300.0)
    gate.failed(Shut.CONFIGURATION, "401", None)
    clock.turn(300.0)
    assert told == []
    gate.answered()
    gate.answered()
    assert told == [600.0]


def test_a_short_retry_after_does_not_shorten_the_wait(watched: Watched) -> None:
    watched.outage(retry_after=0.0)
    assert watched.gate.admit() == RETRY.first


@given(draw=st.floats(0, 1))
def test_a_refused_configuration_is_probed_every_few_minutes(draw: float) -> None:
    watched = Watched(lambda: draw)
    for _ in range(5):
        watched.gate.failed(Shut.CONFIGURATION, "401", None)
        wait = watched.gate.admit()
        assert 0.9 * RETRY.configuration_probe <= wait <= 1.1 * RETRY.configuration_probe + 1e-9
        watched.clock.turn(wait + 1e-6)
        assert watched.gate.admit() == 0


def test_an_outage_may_turn_out_to_be_a_refused_configuration(watched: Watched) -> None:
    watched.outage()
    watched.clock.turn(10)
    assert watched.gate.admit() == 0
    watched.gate.failed(Shut.CONFIGURATION, "401", None)
    assert watched.gate.view().shut is Shut.CONFIGURATION
    assert watched.changes == 2


def test_what_was_changed_by_hand_is_tried_at_once(watched: Watched) -> None:
    watched.gate.failed(Shut.CONFIGURATION, "401", 86_400.0)
    watched.gate.probe_now()
    assert watched.changes == 2
    assert watched.gate.admit() == 0
    assert watched.gate.admit() > 0


@given(
    first=st.floats(0.001, 86_400),
    more=st.floats(0, 86_400),
    failures=st.integers(1, 10**9),
    draw=st.floats(0, 1),
)
def test_a_wait_lies_between_the_shortest_and_what_doubling_allows(
    first: float, more: float, failures: int, draw: float
) -> None:
    retry = Retry(first=first, longest=min(86_400.0, first + more))
    most = min(retry.longest, first * 2.0 ** min(failures - 1, 100))
    assert min(SHORTEST_WAIT, most) <= full_jitter(retry, failures, lambda: draw) <= most


def test_the_whole_range_is_drawn_from() -> None:
    parts = iter(range(11))
    draws = [full_jitter(RETRY, 5, lambda: next(parts) / 10) for _ in range(11)]
    assert draws == pytest.approx([SHORTEST_WAIT, *(3.2 * part for part in range(1, 11))])
