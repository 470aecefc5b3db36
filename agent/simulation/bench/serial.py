"""What busy serial lines cost: eight boards of eight ports on which something changes all the time.

"20 changes a second each" may be read as for each board or for each port; both are measured. Beside
the first, on the same machine, what the barest Python takes for it
(`agent.simulation.bench.bare_serial`): percents of a core say little of the agent alone.
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

from agent.simulation.bench.daemon import STOPS_WITHIN, Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.sink import SinkProcess, sink
from agent.simulation.bench.surroundings import SATELLITE, settings_of

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
        found = _measure(folder, each, rate, seconds, most)
        figures += found
        if most is not None:
            bench.say("the same by the barest Python")
            figures += _beside(found[0], _measure_barest(bench.folder / "barest", rate, seconds))
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
        used, calls = _used_meanwhile(running, exchange)
        lost, doubled = _account(server, calls)
    return [
        Figure(f"{CHANGES:g} a second for each {each}: CPU", used, "% of a core", most=most),
        Figure(f"their {calls} calls: lost", lost, "calls", most=0, structural=True),
        Figure("doubled", doubled, "calls", most=0, structural=True),
    ]


def _measure_barest(folder: Path, rate: float, seconds: float) -> float:
    """Percents of a core that the barest Python takes. Raises RuntimeError where it lost a call."""
    folder.mkdir()
    lines = [str(folder / f"board{serial}") for serial in range(1, BOARDS + 1)]
    with (
        sink() as server,
        _exchange(folder, rate, seconds) as exchange,
        barest(folder, server.url, lines) as running,
    ):
        used, calls = _used_meanwhile(running, exchange)
        lost, doubled = _account(server, calls)
    if lost or doubled:
        raise RuntimeError(f"the barest Python lost {lost} calls and doubled {doubled}")
    return used


def _used_meanwhile(running: Daemon, exchange: subprocess.Popen[str]) -> tuple[float, int]:
    """Percents of a core until the exchange has ended, and how many calls it had."""
    began, before = time.monotonic(), running.use().processor
    assert exchange.stdout is not None
    told: dict[str, Any] = json.loads(exchange.stdout.readline())
    used = (running.use().processor - before) / (time.monotonic() - began)
    return used * 100, told["calls"]


@contextmanager
def barest(folder: Path, url: str, lines: Sequence[str]) -> Iterator[Daemon]:
    """Run the barest Python on boards' lines; it has opened them, and asks them now."""
    program = (sys.executable, "-m", "agent.simulation.bench.bare_serial")
    with subprocess.Popen(  # noqa: S603 - our own program
        [*program, url, SATELLITE, str(folder / "calls.db"), *lines],
        stdout=subprocess.PIPE,
    ) as process:
        running = Daemon(process, 0.0, folder)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield running
        finally:
            running.stop()


def _beside(agent: Figure, bare: float) -> list[Figure]:
    return [
        Figure("the barest Python", bare, "% of a core"),
        Figure("the agent", agent.measured / bare, "x the barest Python"),
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
