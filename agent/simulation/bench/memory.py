"""How much memory the daemon takes at most: idle, with a huge recording, with a huge backlog."""

from __future__ import annotations

import time
from collections.abc import Sequence

from agent.simulation.bench.backlog import SMALL, shut_window
from agent.simulation.bench.daemon import Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.sending import wait_for_files, wait_for_scan
from agent.simulation.bench.sink import sink
from agent.simulation.bench.stock import Stock, gateway_settings

MEBIBYTE = 1024 * 1024
HUGE, LARGE = 2048 * MEBIBYTE, 64 * MEBIBYTE
"""Bytes of the recording in flight, in the whole form and in the short one."""
MANY, FEW = 100_000, 2_000
RESTS = 8.0
"""Seconds in which all that happens now and then has happened once."""
TAKEN_IN_WITHIN = 900.0
"""Seconds for the backlog to be found, judged and written down."""
SENT = 200
"""Recordings of the backlog that are delivered before memory is read."""
IDLE, IN_FLIGHT, BACKLOG = 40.0, 3.0, 8.0
"""MiB that are allowed."""


def measure(bench: Bench) -> Sequence[Figure]:
    """Read the daemon's peak (VmHWM) where it should be highest."""
    idle, in_flight = _one(bench)
    backlog = _many(bench)
    size = (LARGE if bench.short else HUGE) // MEBIBYTE
    count = FEW if bench.short else MANY
    return [
        Figure("peak memory, idle", idle, "MiB", most=IDLE, structural=True),
        Figure(
            f"more with {size} MiB in flight",
            in_flight - idle,
            "MiB",
            most=IN_FLIGHT,
            structural=True,
        ),
        Figure(
            f"more with a backlog of {count:,}",
            backlog - idle,
            "MiB",
            most=BACKLOG,
            structural=True,
        ),
    ]


def _one(bench: Bench) -> tuple[float, float]:
    stock = Stock(bench.folder)
    with sink() as server, gateway_settings(bench.folder, server.url) as settings:
        # A hole in the file is read as zero bytes, and takes no disk.
        file = stock.make_empty(LARGE if bench.short else HUGE)
        with daemon(bench.folder, settings) as running:
            wait_for_scan(running)
            bench.say("idle")
            time.sleep(RESTS)
            idle = _peak(running)
            bench.say("one huge recording")
            stock.put([file])
            wait_for_files(server, 1)
            return idle, _peak(running)


def _many(bench: Bench) -> float:
    folder = bench.folder / "backlog"
    folder.mkdir()
    count = FEW if bench.short else MANY
    stock = Stock(folder)
    stock.put(stock.make(count, SMALL))
    closed = {"window": shut_window()}
    with (
        sink() as server,
        gateway_settings(folder, server.url, uploads=closed) as settings,
        daemon(folder, settings) as running,
    ):
        bench.say(f"{count} recordings are found; their records begin to be sent")
        wait_until(
            lambda: running.status.get("queue", {}).get("files_waiting") == count,
            "the backlog is taken in",
            TAKEN_IN_WITHIN,
            look_again=1.0,
        )
        running.reload({**settings, "uploads": {}})
        wait_for_files(server, SENT)
        return _peak(running)


def _peak(running: Daemon) -> float:
    return running.use().peak / MEBIBYTE


ROW = Row("memory", "Peak memory of the daemon", measure)
