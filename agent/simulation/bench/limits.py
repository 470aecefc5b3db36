"""Whether the speed limit and the hours for recordings hold, and that waiting costs nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from agent.simulation.bench.backlog import shut_window
from agent.simulation.bench.daemon import Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.sending import wait_for_scan
from agent.simulation.bench.sink import SinkProcess, sink
from agent.simulation.bench.stock import Stock, gateway_settings

KIBIBYTE = 1024
LIMIT = 2048
"""KiB a second."""
LARGE = 256 * KIBIBYTE * KIBIBYTE
"""Bytes of a recording that is still on its way when the measuring ends."""
WITHIN = 0.05
"""Part by which the limit may be missed."""
SECONDS, FEW_SECONDS = 30.0, 5.0
SETTLES = 5.0
"""Seconds in which the first allowance, the first scan, and the first questions are over."""
MOST_LATE = 1.0
"""Seconds after the hours begin."""
AHEAD = 5.0
"""Seconds before the hours begin, at least, in which nothing may be sent."""
MOST_WAKEUPS_LIMITED = 60.0
"""A second: two workers send a block eight times a second, and each block takes a wait, a read
and a write that may wait as well."""
MOST_WAKEUPS_CLOSED = 10.0
"""A second: what an idle gateway has, with some to spare."""


def measure(bench: Bench) -> Sequence[Figure]:
    """Limit the speed, then the hours."""
    return [*_rate(bench), *_closed(bench), *([] if bench.short else _opening(bench))]


def _rate(bench: Bench) -> list[Figure]:
    folder = bench.folder / "rate"
    folder.mkdir()
    stock = Stock(folder)
    files = [stock.make_empty(LARGE) for _ in range(2)]
    with (
        sink() as server,
        gateway_settings(folder, server.url, uploads={"rate_limit": LIMIT}) as settings,
        daemon(folder, settings) as running,
    ):
        wait_for_scan(running)
        stock.put(files)
        wait_until(lambda: server.counts().file_bytes > 0, "the first block")
        time.sleep(SETTLES)
        seconds = FEW_SECONDS if bench.short else SECONDS
        bench.say(f"two recordings at {LIMIT} KiB/s, for {seconds:.0f} s")
        sent, spent, woken = _over(running, server, seconds)
    return [
        Figure(
            "speed under uploads.rate_limit",
            sent / KIBIBYTE / LIMIT,
            "x the limit",
            most=1 + WITHIN,
            least=1 - WITHIN,
        ),
        Figure("wake-ups under it", woken, "a second", most=MOST_WAKEUPS_LIMITED, structural=True),
        Figure("CPU under it", spent * 100, "% of a core"),
    ]


def _closed(bench: Bench) -> list[Figure]:
    folder = bench.folder / "closed"
    folder.mkdir()
    stock = Stock(folder)
    stock.put(stock.make(100))
    seconds = FEW_SECONDS if bench.short else SECONDS
    with (
        sink() as server,
        gateway_settings(folder, server.url, uploads={"window": shut_window()}) as settings,
        daemon(folder, settings) as running,
    ):
        wait_until(lambda: server.counts().records == 100, "the records")
        time.sleep(SETTLES)
        bench.say(f"100 recordings wait for their hours, for {seconds:.0f} s")
        sent, spent, woken = _over(running, server, seconds)
    return [
        Figure("recordings sent out of hours", sent, "bytes", most=0, structural=True),
        Figure(
            "wake-ups out of hours", woken, "a second", most=MOST_WAKEUPS_CLOSED, structural=True
        ),
        Figure("CPU out of hours", spent * 100, "% of a core"),
    ]


def _opening(bench: Bench) -> list[Figure]:
    folder = bench.folder / "opening"
    folder.mkdir()
    stock = Stock(folder)
    stock.put(stock.make(1))
    opens = (datetime.now().astimezone() + timedelta(minutes=1)).replace(second=0, microsecond=0)
    if opens.timestamp() - time.time() < AHEAD:
        opens += timedelta(minutes=1)
    hours = f"{opens:%H:%M}-{opens + timedelta(minutes=30):%H:%M}"
    with (
        sink() as server,
        gateway_settings(folder, server.url, uploads={"window": hours}) as settings,
        daemon(folder, settings),
    ):
        bench.say(f"a recording waits for {opens:%H:%M}")
        wait_until(lambda: server.counts().files > 0, "the recording", seconds=150.0)
        late = server.counts().latest_began - opens.astimezone(UTC).timestamp()
    return [
        Figure("first recording after its hours begin", late, "s", most=MOST_LATE, least=0.0),
    ]


def _over(running: Daemon, server: SinkProcess, seconds: float) -> tuple[float, float, float]:
    """Bytes of recordings, CPU seconds and wake-ups, a second each, over so many seconds."""
    began, before, had = time.monotonic(), running.use(), server.counts().file_bytes
    time.sleep(seconds)
    has, after, took = server.counts().file_bytes, running.use(), time.monotonic() - began
    return (
        (has - had) / took,
        (after.processor - before.processor) / took,
        (after.wakeups - before.wakeups) / took,
    )


ROW = Row("rate", "uploads.rate_limit and uploads.window", measure)
