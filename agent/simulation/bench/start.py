"""How long the daemon takes until it is ready: with nothing to do, and with a huge backlog."""

from __future__ import annotations

import compileall
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

import agent
from agent.simulation.bench.backlog import SMALL, fill, shut_window
from agent.simulation.bench.daemon import daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.sink import sink
from agent.simulation.bench.stock import Stock, gateway_settings

MANY, FEW = 100_000, 2_000
ROUNDS = 7
"""Starts of each kind; the median counts."""
MOST_EMPTY = 0.6
"""Seconds."""
MOST_WAITING = 2.0
"""Times the empty one."""
SCANNED_WITHIN = 600.0


def measure(bench: Bench) -> Sequence[Figure]:
    """Start the daemon again and again."""
    # As it is installed; where bytecode is not kept, each start would compile all of it.
    compileall.compile_dir(Path(agent.__file__).parent, quiet=2)
    count = FEW if bench.short else MANY
    rounds = 3 if bench.short else ROUNDS
    with sink() as server:
        with gateway_settings(bench.folder, server.url) as settings:
            (bench.folder / "recordings").mkdir()
            bench.say(f"{rounds} starts with nothing to do")
            empty = [_start(bench.folder, settings) for _ in range(rounds)]
        folder = bench.folder / "waiting"
        folder.mkdir()
        bench.say(f"{count} recordings are made and written down")
        stock = Stock(folder)
        stock.put(stock.make(count, SMALL))
        fill(folder / "state", sorted(stock.directory.iterdir()))
        closed = {"window": shut_window()}
        with gateway_settings(folder, server.url, uploads=closed) as settings:
            bench.say(f"{rounds} starts with {count} recordings waiting")
            waiting = [_start(folder, settings) for _ in range(rounds)]
            scan = _scan(folder, settings, count)
    return [
        Figure("start to READY=1, empty", _ready(empty), "s", most=MOST_EMPTY),
        Figure(
            f"the same with {count:,} recordings waiting",
            _ready(waiting) / _ready(empty),
            "x empty",
            most=MOST_WAITING,
        ),
        Figure("CPU until then, empty", median(one.processor for one in empty), "s CPU"),
        Figure("their scan ends after READY=1 by", scan, "s"),
    ]


def _ready(starts: Sequence[_Start]) -> float:
    return median(one.ready_after for one in starts)


class _Start(Struct, frozen=True):
    ready_after: float
    processor: float
    """Both in seconds."""


def _start(folder: Path, settings: Mapping[str, Any]) -> _Start:
    with daemon(folder, settings) as running:
        return _Start(running.ready_after, running.use().processor)


def _scan(folder: Path, settings: Mapping[str, Any], count: int) -> float:
    """Seconds from READY=1 to the end of the scan, which must have seen all."""
    with daemon(folder, settings) as running:
        ready = time.time()

        def over() -> bool:
            return int(running.status.get("recordings", {}).get("files_seen", 0)) >= count

        wait_until(over, "the scan is over", SCANNED_WITHIN)
        return float(running.status["recordings"]["last_scan"]) - ready


ROW = Row("start", "From the start to READY=1", measure)
