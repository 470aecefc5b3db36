"""Threads that the daemon can rely on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from agent import parts
from agent.parts import Alive, Bell, Nudge, Part
from tests.clocks import HandClock

PATIENCE = 20.0
"""Seconds for what another thread does at once."""


@pytest.fixture(autouse=True)
def no_pause_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "RESTART_AFTER", 0.01)


class Job:
    """A part's body: counts its beginnings, and does what the test says at each."""

    def __init__(self, *then: Callable[[threading.Event], None]) -> None:
        self._then = list(then)
        self.beginnings = 0
        self.at_rest = threading.Event()

    def __call__(self, stop: threading.Event, alive: Alive) -> None:
        self.beginnings += 1
        alive(60.0)
        if self._then:
            self._then.pop(0)(stop)
            return
        self.at_rest.set()
        stop.wait(PATIENCE)


def fails(_: threading.Event) -> None:
    raise RuntimeError("the disk is on fire")


def ends(_: threading.Event) -> None:
    return


def end(part: Part) -> None:
    part.ask_to_stop()
    assert part.ended(PATIENCE)


def test_a_part_lives_until_it_is_asked_to_stop() -> None:
    job = Job()
    part = Part("recordings", job, HandClock())
    assert not part.view().alive, "not begun"
    part.start()
    assert job.at_rest.wait(PATIENCE)
    view = part.view()
    assert (view.name, view.alive, view.failures, view.last_failure) == ("recordings", True, 0, "")
    assert not view.failing
    assert not part.ended(0)
    end(part)
    assert not part.view().alive
    assert job.beginnings == 1


@pytest.mark.parametrize(
    ("then", "words"),
    [(fails, "RuntimeError: the disk is on fire"), (ends, "ended without being asked")],
)
def test_a_job_that_fails_or_ends_early_begins_anew(
    then: Callable[[threading.Event], None], words: str
) -> None:
    job = Job(then, then)
    part = Part("uploads 1", job, HandClock())
    part.start()
    assert job.at_rest.wait(PATIENCE)
    assert (part.view().alive, part.view().failures, part.view().last_failure) == (True, 2, words)
    assert part.view().failing
    end(part)
    assert job.beginnings == 3


def test_a_job_that_fails_as_it_is_stopped_ends() -> None:
    def fails_at_the_end(stop: threading.Event) -> None:
        stop.wait(PATIENCE)
        raise RuntimeError("too late")

    part = Part("polls", Job(fails_at_the_end), HandClock())
    part.start()
    end(part)


def test_a_job_that_is_late_with_its_sign_of_life_is_not_alive() -> None:
    clock, job = HandClock(), Job()
    part = Part("reports", job, clock)
    part.start()
    assert job.at_rest.wait(PATIENCE)
    clock.turn(60.0)
    assert part.view().alive
    clock.turn(0.1)
    assert not part.view().alive
    part.beat(10.0)
    assert part.view().alive
    end(part)


def test_a_part_that_sleeps_elsewhere_is_woken_to_stop() -> None:
    bell = Bell()
    sleeping = threading.Event()

    def sleeps(_: threading.Event) -> None:
        heard = bell.rings
        sleeping.set()
        bell.wait(heard, PATIENCE * 10)

    part = Part("polls", Job(sleeps), HandClock(), wake=bell.ring)
    part.start()
    assert sleeping.wait(PATIENCE)
    end(part)


# The bell


def test_a_ring_wakes_all_who_wait() -> None:
    bell = Bell()
    heard = bell.rings
    sleepers = [threading.Thread(target=bell.wait, args=(heard, PATIENCE)) for _ in range(3)]
    for sleeper in sleepers:
        sleeper.start()
    bell.ring()
    for sleeper in sleepers:
        sleeper.join(PATIENCE / 2)
        assert not sleeper.is_alive()


def test_a_ring_that_came_before_the_wait_is_not_lost() -> None:
    bell = Bell()
    heard = bell.rings
    bell.ring()
    bell.wait(heard, PATIENCE * 10)
    assert bell.rings == heard + 1


@pytest.mark.parametrize("seconds", [0.0, -5.0, 0.01])
def test_a_wait_ends_without_a_ring(seconds: float) -> None:
    bell = Bell()
    bell.wait(bell.rings, seconds)
    assert bell.rings == 0


def test_a_bell_that_nobody_came_to_in_time_rings_for_the_next() -> None:
    bell = Bell()
    for _ in range(3):
        bell.wait(bell.rings, 0.01)
    heard = bell.rings
    sleeper = threading.Thread(target=bell.wait, args=(heard, PATIENCE))
    sleeper.start()
    bell.ring()
    sleeper.join(PATIENCE / 2)
    assert not sleeper.is_alive()


def test_a_nudge_is_kept_for_the_next_wait_and_can_be_forgotten() -> None:
    nudge = Nudge()
    for _ in range(3):
        nudge.set()
    nudge.wait(20)
    nudge.set()
    nudge.clear()
    begun = time.monotonic()
    nudge.wait(0.05)
    assert time.monotonic() - begun >= 0.04


STORM = """
import signal, time
from agent.parts import Nudge
nudge = Nudge()
signal.signal(signal.SIGALRM, lambda *_: nudge.set())
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
end = time.monotonic() + 1
while time.monotonic() < end:
    nudge.wait(0)
    nudge.clear()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_signals_may_nudge_at_any_instruction() -> None:
    # The same with an Event stands still for ever: its lock is not for handlers.
    subprocess.run([sys.executable, "-c", STORM], check=True, timeout=20)
