"""What an idle gateway costs: processor time and wake-ups with eight ports on hook."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.simulation.bench.daemon import Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.surroundings import quiet_board, settings_of, simulated_platform

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


def measure(bench: Bench) -> Sequence[Figure]:
    """Let the daemon run with nothing to do."""
    seconds = SHORT if bench.short else LONG
    link = bench.folder / "board"
    with (
        _status_in_memory(bench.folder),
        simulated_platform(bench.folder / "platform") as url,
        quiet_board(link, PORTS),
    ):
        settings = settings_of(bench.folder, url, {1: (link, PORTS)})
        with daemon(bench.folder, settings) as running:
            wait_until(lambda: _all_well(running), "the daemon hears its board")
            time.sleep(SETTLES)
            bench.say(f"nothing happens for {seconds:g} s")
            before, began = running.use(), time.monotonic()
            time.sleep(seconds)
            after, took = running.use(), time.monotonic() - began
    used = (after.processor - before.processor) / took * LONG
    wakeups = (after.wakeups - before.wakeups) / took
    return [
        Figure("CPU in 10 minutes", used, "s CPU", most=MOST_PROCESSOR),
        Figure("wake-ups", wakeups, "a second", most=MOST_WAKEUPS, structural=True),
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
