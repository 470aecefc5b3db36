"""Whether a delivery costs the same, however many others wait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.simulation.bench.backlog import SMALL, fill, shut_window
from agent.simulation.bench.daemon import daemon
from agent.simulation.bench.figures import Bench, Figure, Row, Unmeasurable
from agent.simulation.bench.sending import wait_for_files, wait_for_scan
from agent.simulation.bench.sink import sink
from agent.simulation.bench.stock import Stock, gateway_settings

BACKLOGS = (1_000, 10_000, 100_000)
SMALL_BACKLOGS = (1_000, 2_000)
WARM_UP, SAMPLE = 100, 800
"""Deliveries before the sample, and at least in it."""
SHORT_SAMPLE = 50
FLAT = 1.2


def measure(bench: Bench) -> Sequence[Figure]:
    """Deliver a sample out of each backlog, smallest first."""
    costs = {count: _cost(bench, count) for count in backlogs(bench)}
    least, most = min(costs), max(costs)
    return [
        Figure(
            f"CPU for each delivered file, {most:,} waiting",
            costs[most] / costs[least],
            f"x that with {least:,}",
            most=FLAT,
        ),
        *(
            Figure(f"with {count:,} waiting", cost * 1000, "ms CPU a file")
            for count, cost in costs.items()
        ),
    ]


def backlogs(bench: Bench) -> tuple[int, ...]:
    """How many wait, one after another."""
    return SMALL_BACKLOGS if bench.short else BACKLOGS


def _cost(bench: Bench, count: int) -> float:
    """Seconds of processor time for each delivered file."""
    folder = bench.folder / str(count)
    folder.mkdir()
    sample = SHORT_SAMPLE if bench.short else SAMPLE
    bench.say(f"{count} recordings wait")
    _fill(folder, count)
    closed = {"window": shut_window()}
    with (
        sink() as server,
        gateway_settings(folder, server.url, uploads=closed) as settings,
        daemon(folder, settings) as running,
    ):
        wait_for_scan(running)
        running.reload({**settings, "uploads": {}})
        wait_for_files(server, WARM_UP)
        before, first = running.use().processor, server.counts().files
        # A busy machine may look late: there are no more than all of them.
        wait_for_files(server, min(first + sample, count))
        after, last = running.use().processor, server.counts().files
    if last == first:
        raise Unmeasurable("all were sent before the first look; try again on a quieter machine")
    return (after - before) / (last - first)


def _fill(folder: Path, count: int) -> None:
    stock = Stock(folder)
    stock.put(stock.make(count, SMALL))
    fill(folder / "state", sorted(stock.directory.iterdir()))


ROW = Row("growth", "CPU for each delivered file, by the size of the backlog", measure)
