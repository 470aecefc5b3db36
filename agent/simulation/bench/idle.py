"""What an idle gateway costs: processor time and wake-ups with eight ports on hook."""

from __future__ import annotations

import time
from collections.abc import Sequence
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


def measure(bench: Bench) -> Sequence[Figure]:
    """Let the daemon run with nothing to do."""
    seconds = SHORT if bench.short else LONG
    link = bench.folder / "board"
    with simulated_platform(bench.folder / "platform") as url, quiet_board(link, PORTS):
        settings = settings_of(bench.folder, url, {1: (link, PORTS)})
        with daemon(bench.folder, settings) as running:
            wait_until(lambda: _all_well(running), "the daemon hears its board")
            time.sleep(SETTLES)
            bench.say(f"nothing happens for {seconds:g} s")
            before, used_before, began = running.use(), _processor(running.pid), time.monotonic()
            time.sleep(seconds)
            after, used_after = running.use(), _processor(running.pid)
            took = time.monotonic() - began
    used = (used_after - used_before) / took * LONG
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


def _processor(pid: int) -> float:
    """Seconds of processor time of all threads that live, to the microsecond: half a minute of
    idleness uses less than the hundredth that the usual accounts count in."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text("ascii").split()[0]) for task in tasks) / 1e9


ROW = Row("idle", f"Idle, {PORTS} ports on hook, default intervals", measure)
