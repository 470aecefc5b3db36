"""What an idle gateway costs: processor time and wake-ups with eight ports on hook.

Beside it, in the same minutes and on the same machine, the barest Python that keeps the same
appointments (`agent.simulation.bench.bare_idle`): the colder a machine's caches are after seconds
of sleep, the more the same work costs, by a factor of two and more from one machine to another.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from agent.simulation.bench.daemon import Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.surroundings import (
    SATELLITE,
    quiet_board,
    settings_of,
    simulated_platform,
)

PORTS = 8
SETTLES = 15.0
"""Seconds after the start that belong to it: the first scan, the first polls, the first report."""
LONG, SHORT = 600.0, 30.0
"""Seconds of idleness that are measured."""
MOST_PROCESSOR = 0.3
"""Seconds of processor time in LONG."""
MOST_WAKEUPS = 3.0
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
"""A tmpfs that everybody may write to, on every Linux."""


class Spent(Struct, frozen=True):
    """What a process used while it rested."""

    processor: float
    """Seconds of processor time in LONG."""
    wakeups: float
    """A second."""


def measure(bench: Bench) -> Sequence[Figure]:
    """Let the daemon run with nothing to do, and the barest Python beside it."""
    seconds = SHORT if bench.short else LONG
    ours, theirs = bench.folder / "board", bench.folder / "board of the barest"
    with (
        _status_in_memory(bench.folder),
        simulated_platform(bench.folder / "platform") as url,
        quiet_board(ours, PORTS),
        quiet_board(theirs, PORTS),
        daemon(bench.folder, settings_of(bench.folder, url, {1: (ours, PORTS)})) as agent,
        barest(bench.folder, url, theirs) as bare,
        sleeper(bench.folder) as sleeping,
    ):
        wait_until(lambda: _all_well(agent), "the daemon hears its board")
        time.sleep(SETTLES)
        bench.say(f"nothing happens for {seconds:g} s")
        return figures(*_spent((agent, bare, sleeping), seconds))


def figures(agent: Spent, bare: Spent, sleeping: Spent) -> list[Figure]:
    """What is told of them."""
    one = sleeping.processor / LONG / sleeping.wakeups
    return [
        Figure("CPU in 10 minutes", agent.processor, "s CPU", most=MOST_PROCESSOR),
        Figure("wake-ups", agent.wakeups, "a second", most=MOST_WAKEUPS, structural=True),
        Figure("the barest Python in 10 minutes", bare.processor, "s CPU"),
        Figure("the barest Python's wake-ups", bare.wakeups, "a second"),
        Figure("the agent", agent.processor / bare.processor, "x the barest Python"),
        Figure("one wake-up of a Python that does nothing", one * 1000, "ms CPU"),
        Figure("as many as the agent has, in 10 minutes", one * agent.wakeups * LONG, "s CPU"),
    ]


@contextmanager
def barest(folder: Path, url: str, board: Path) -> Iterator[Daemon]:
    """Run the barest Python on a board's line; it writes its status below `folder`.

    Raises RuntimeError at the end where it ended before.
    """
    status = folder / "run" / "barest.json"
    program = (sys.executable, "-m", "agent.simulation.bench.bare_idle")
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*program, url, SATELLITE, str(board), str(status)]
    )
    running = Daemon(process, 0.0, folder)
    try:
        wait_until(lambda: status.exists() or process.poll() is not None, "the barest Python")
        yield running
        if process.poll() is not None:
            raise RuntimeError(f"the barest Python ended with status {process.returncode}")
    finally:
        running.stop()


@contextmanager
def sleeper(folder: Path) -> Iterator[Daemon]:
    """Run a Python that wakes up every second, and does nothing then."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time\nwhile True:\n    time.sleep(1)"]
    )
    running = Daemon(process, 0.0, folder)
    try:
        yield running
    finally:
        running.stop()


def _spent(processes: Sequence[Daemon], seconds: float) -> list[Spent]:
    """Let all of them rest for so many seconds, the same ones."""
    before, began = [each.use() for each in processes], time.monotonic()
    time.sleep(seconds)
    after, took = [each.use() for each in processes], time.monotonic() - began
    return [
        Spent(
            (late.processor - early.processor) / took * LONG,
            (late.wakeups - early.wakeups) / took,
        )
        for early, late in zip(before, after, strict=True)
    ]


def _all_well(running: Daemon) -> bool:
    status = running.status
    boards = status.get("boards", [])
    return status.get("health") == "ok" and all(
        board["link"] == "up" and all(port["state"] == 1 for port in board["channels"])
        for board in boards
    )


@contextmanager
def _status_in_memory(folder: Path) -> Iterator[None]:
    """Have the status file where it lies on a box: /run is no disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as memory:
        (folder / "run").symlink_to(memory)
        yield


ROW = Row("idle", f"Idle, {PORTS} ports on hook, default intervals", measure)
