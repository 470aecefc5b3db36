"""The course of a simulated fleet: quiet, then an outage or a common start, till all is out."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from agent.simulation.fleet_agenda import Agenda
from agent.simulation.fleet_gateway import FleetGateway, Habits
from agent.simulation.fleet_platform import FleetPlatform, Outage

QUIET = 180.0
"""Seconds that tell the steady rate."""
WARM_UP = 60.0
"""Seconds before them, in which the gateways begin one by one."""
MOST_AFTERWARDS = 4 * 3600.0
"""Seconds after which a fleet that is not drained is given up."""
STEP = 10.0
"""Seconds in a line of the table."""
AFTERWARDS = 120.0
"""Seconds for which a fleet is watched at least: who is in step again shows then."""
TIMES_STEADY = 2.0
TIMES_LEAST = 2.0
"""What is promised: the peak rate against the steady one, and the time to drain against the least
possible."""


class Scenario(StrEnum):
    """What happens to the fleet."""

    OUTAGE = "outage"
    """The platform is gone for a while."""
    POWER_CUT = "power-cut"
    """All gateways start in the same second."""


class Plan(Struct, frozen=True):
    """A fleet and its misfortune."""

    gateways: int
    habits: Habits
    scenario: Scenario
    outage: Outage
    outage_seconds: float
    connect_timeout: float
    capacity: float
    seed: int


class Step(Struct, frozen=True):
    """A line of the table: a few seconds of the fleet's life."""

    begin: float
    """Seconds since the platform is back, or since the common start; negative before."""
    mean: float
    """Requests a second."""
    peak: int
    """Requests in the busiest second."""
    waiting: int
    """Items of the outage that are not delivered, at the end of the step."""


class Account(Struct, frozen=True):
    """What came of it."""

    steady: float
    """Requests a second of the quiet fleet."""
    peak: int
    """Requests in the busiest second from the outage's end, or the common start, on."""
    peak_in_outage: int
    backlog: int
    """Requests that the outage left to be made: a record or a recording each."""
    drained_after: float | None
    """Seconds from the outage's end until the last of them was taken; None: not within hours."""
    least: float
    """Seconds: what no fleet can beat, see `least_time`."""
    steps: tuple[Step, ...]

    @property
    def peak_ratio(self) -> float:
        """The busiest second against the steady rate."""
        return self.peak / self.steady

    @property
    def drain_ratio(self) -> float:
        """The time to drain against the least possible; infinite where it did not."""
        return float("inf") if self.drained_after is None else self.drained_after / self.least

    @property
    def kept(self) -> bool:
        """Whether both promises were kept."""
        return self.peak_ratio <= TIMES_STEADY and self.drain_ratio <= TIMES_LEAST


def least_time(backlog: int, steady: float, report_interval: float, capacity: float) -> float:
    """Seconds that draining takes at least.

    The backlog gets what the peak allows beside the steady rate, or less where the platform's
    `capacity` (0: none) allows less; and the last gateway can't know before its next report that
    the platform is back. All rates in requests a second.
    """
    spare = (TIMES_STEADY - 1) * steady
    if capacity:
        spare = max(min(spare, capacity - steady), 1e-9)
    return max(backlog / spare, report_interval)


class Course:
    """Runs a plan from begin to end."""

    def __init__(self, plan: Plan, tell: Callable[[Step], None] = lambda step: None) -> None:
        """`tell` hears of each step as it is over."""
        self._plan = plan
        self._tell = tell
        self._agenda = Agenda()
        self._platform = FleetPlatform(
            self._agenda, plan.outage, plan.connect_timeout, plan.capacity
        )
        self._draw = random.Random(plan.seed)
        self._border = float("-inf")
        """What ended before it, and is not delivered at it, is the backlog."""
        self._left = 0
        self._last = 0.0
        self._steps: list[Step] = []
        self._fleet = [
            FleetGateway(self._agenda, self._platform, plan.habits, self._draw, self._delivered)
            for _ in range(plan.gateways)
        ]

    def run(self) -> Account:
        """Live it."""
        if self._plan.scenario is Scenario.POWER_CUT:
            return self._start_together()
        for gateway in self._fleet:
            self._agenda.after(self._draw.uniform(0, WARM_UP), gateway.start)
        self._agenda.run(WARM_UP)
        begin = WARM_UP + QUIET
        self._agenda.run(begin)
        steady = self._rate(WARM_UP, begin)
        self._platform.down = True
        over = begin + self._plan.outage_seconds
        self._live(begin, over, over)
        self._platform.down = False
        self._border, self._last = over, over
        self._left = backlog = sum(gateway.waiting for gateway in self._fleet)
        drained = self._drain(over)
        return self._account(steady, begin, over, backlog, drained)

    def _start_together(self) -> Account:
        for gateway in self._fleet:
            gateway.start()
        quiet = WARM_UP * 2
        self._live(0.0, quiet, 0.0)
        self._agenda.run(quiet + QUIET)
        return self._account(self._rate(quiet, quiet + QUIET), 0.0, 0.0, 0, 0.0)

    def _drain(self, over: float) -> float | None:
        now = over
        while now < over + AFTERWARDS or (self._left > 0 and now < over + MOST_AFTERWARDS):
            self._live(now, now + STEP, over)
            now += STEP
        return None if self._left > 0 else self._last - over

    def _live(self, begin: float, end: float, zero: float) -> None:
        while begin < end:
            until = min(begin + STEP, end)
            self._agenda.run(until)
            peak = max(self._platform.asked[second] for second in range(int(begin), int(until)))
            step = Step(begin - zero, self._rate(begin, until), peak, self._left)
            self._steps.append(step)
            self._tell(step)
            begin = until

    def _delivered(self, ended: float) -> None:
        if self._left and ended < self._border:
            self._left -= 1
            self._last = self._agenda.monotonic()

    def _rate(self, begin: float, end: float) -> float:
        asked = self._platform.asked
        return sum(asked[second] for second in range(int(begin), int(end))) / (end - begin)

    def _account(
        self, steady: float, begin: float, over: float, backlog: int, drained: float | None
    ) -> Account:
        asked = self._platform.asked
        end = int(self._agenda.monotonic())
        return Account(
            steady=steady,
            peak=max(asked[second] for second in range(int(over), end)),
            peak_in_outage=max(
                (asked[second] for second in range(int(begin), int(over))), default=0
            ),
            backlog=backlog,
            drained_after=drained,
            least=least_time(
                backlog, steady, self._plan.habits.reports.interval, self._plan.capacity
            ),
            steps=tuple(self._steps),
        )
