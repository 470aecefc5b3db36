"""The table of rows."""

from __future__ import annotations

from agent.simulation.bench import (
    drain,
    flash,
    fleet,
    growth,
    idle,
    latency,
    limits,
    memory,
    sending,
    serial,
    start,
)
from agent.simulation.bench.figures import Row

ROWS: tuple[Row, ...] = (
    *sending.ROWS,
    memory.ROW,
    start.ROW,
    idle.ROW,
    *latency.ROWS,
    serial.ROW,
    flash.ROW,
    drain.ROW,
    fleet.ROW,
    growth.ROW,
    limits.ROW,
)
"""In the order in which they are measured and printed."""
