"""The row of the fleet: ten thousand gateways after an outage of ten minutes, in simulated time."""

from __future__ import annotations

from collections.abc import Sequence

from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.fleet import habits_of
from agent.simulation.fleet_course import TIMES_LEAST, TIMES_STEADY, Course, Plan, Scenario
from agent.simulation.fleet_platform import Outage

GATEWAYS, FEW = 10_000, 2000
OUTAGE = 600.0
"""Seconds."""
CALLS = 20.0
"""An hour, of each gateway."""
UPLOAD = 0.5
"""Seconds for a recording of a minute on a line of 1 MB/s."""
CONNECT_TIMEOUT = 5.0
"""Seconds."""


def measure(bench: Bench) -> Sequence[Figure]:
    """Simulate the fleet; short: a smaller one."""
    gateways = FEW if bench.short else GATEWAYS
    bench.say(f"{gateways:,} gateways, an outage of {OUTAGE:g} s, in simulated time")
    outage = Course(_plan(gateways, Scenario.OUTAGE)).run()
    start = Course(_plan(gateways, Scenario.POWER_CUT)).run()
    return [
        Figure(
            "busiest second after the outage",
            outage.peak_ratio,
            "x steady",
            most=TIMES_STEADY,
            structural=True,
        ),
        Figure(
            "last item of the outage taken",
            outage.drain_ratio,
            "x least time",
            most=TIMES_LEAST,
            structural=True,
        ),
        Figure(
            "busiest second of a common start",
            start.peak_ratio,
            "x steady",
            most=TIMES_STEADY,
            structural=True,
        ),
    ]


def _plan(gateways: int, scenario: Scenario) -> Plan:
    return Plan(
        gateways=gateways,
        habits=habits_of(None, CALLS, UPLOAD),
        scenario=scenario,
        outage=Outage.REFUSED,
        outage_seconds=OUTAGE,
        connect_timeout=CONNECT_TIMEOUT,
        capacity=0.0,
        seed=1,
    )


ROW = Row("fleet", "the fleet after an outage of ten minutes", measure)
