"""What busy serial lines cost: eight boards of eight ports on which something changes all the time.

"20 changes a second each" may be read as for each board or for each port; both are measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agent.simulation.bench.daemon import STOPS_WITHIN, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.sink import SinkProcess, sink
from agent.simulation.bench.surroundings import settings_of

BOARDS, PORTS = 8, 8
CHANGES = 20.0
"""A second."""
LONG, SHORT = 60.0, 8.0
MOST_PROCESSOR = 10.0
"""Percent of a core."""
BOOKED_WITHIN = 120.0
"""Seconds after the last call for all records to be at the platform: an answered one waits
`recordings.attach_window` for its recording."""


def measure(bench: Bench) -> Sequence[Figure]:
    """Let boards chatter; count what of their calls arrives, and what the daemon used meanwhile."""
    seconds = SHORT if bench.short else LONG
    figures: list[Figure] = []
    for each, rate, most in (
        ("board", BOARDS * CHANGES, MOST_PROCESSOR),
        ("port", BOARDS * PORTS * CHANGES, None),
    ):
        bench.say(f"{CHANGES:g} changes a second on each {each} for {seconds:g} s")
        folder = bench.folder / each
        folder.mkdir()
        figures += _measure(folder, each, rate, seconds, most)
    return figures


def _measure(
    folder: Path, each: str, rate: float, seconds: float, most: float | None
) -> list[Figure]:
    boards = {serial: (folder / f"board{serial}", PORTS) for serial in range(1, BOARDS + 1)}
    with (
        sink() as server,
        _exchange(folder, rate, seconds) as exchange,
        daemon(folder, settings_of(folder, server.url, boards)) as running,
    ):
        began, before = time.monotonic(), running.use().processor
        assert exchange.stdout is not None
        told: dict[str, Any] = json.loads(exchange.stdout.readline())
        used = (running.use().processor - before) / (time.monotonic() - began)
        lost, doubled = _account(server, told["calls"])
    return [
        Figure(f"{CHANGES:g} a second for each {each}: CPU", used * 100, "% of a core", most=most),
        Figure(f"their {told['calls']} calls: lost", lost, "calls", most=0, structural=True),
        Figure("doubled", doubled, "calls", most=0, structural=True),
    ]


def _account(server: SinkProcess, calls: int) -> tuple[int, int]:
    """Calls of which no record arrived, and of which more than one did."""
    with suppress(TimeoutError):  # what is missing is counted below
        wait_until(
            lambda: server.counts().records >= calls,
            "the records are there",
            BOOKED_WITHIN,
            look_again=0.5,
        )
    numbers = Counter(fields["id"] for _, fields in server.arrivals().records)
    return calls - len(numbers), sum(count > 1 for count in numbers.values())


@contextmanager
def _exchange(folder: Path, rate: float, seconds: float) -> Iterator[subprocess.Popen[str]]:
    words = [str(folder), str(BOARDS), str(PORTS), str(rate), str(seconds)]
    command = [sys.executable, "-m", "agent.simulation.bench.exchange", *words]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.terminate()
            process.wait(STOPS_WITHIN)


ROW = Row("serial", f"{BOARDS} boards of {PORTS} ports, all busy", measure)
