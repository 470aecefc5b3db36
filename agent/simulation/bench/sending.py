"""Rows that send recordings: how much of the processor, beside what others need for the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

from agent.simulation.bench.backlog import book_calls
from agent.simulation.bench.daemon import Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.peers import bare_python, curl_all, curl_one, shell_loop
from agent.simulation.bench.sink import SinkProcess, sink
from agent.simulation.bench.stock import A_MINUTE, Stock, gateway_settings

MEBIBYTE = 1024 * 1024
LARGE, SMALLER = 200 * MEBIBYTE, 32 * MEBIBYTE
"""Bytes of the one recording, in the whole form and in the short one."""
ROUNDS = 5
"""Times that each sends the large recording, in turn; the median counts."""
MANY, FEW = 2000, 100
TIMES = 3
"""Times that a peer sends all of them; the median counts."""
AFTERWARDS = 0.5
"""Seconds after the platform had the last file in which the agent writes that down."""
LOOK_AGAIN = 0.1
"""Seconds between questions to the server, which has other things to do."""
PATIENCE = 300.0


class _Cost(Struct, frozen=True):
    """Seconds of processor time."""

    processor: float
    kernel: float
    """Of these, in the kernel."""


def measure_one(bench: Bench) -> Sequence[Figure]:
    """Send one large recording several times, each time by curl too."""
    size, rounds = (SMALLER, 1) if bench.short else (LARGE, ROUNDS)
    stock = Stock(bench.folder)
    with sink() as server, gateway_settings(bench.folder, server.url) as settings:
        files = stock.make(rounds + 1, size)
        theirs, ours = [], []
        with daemon(bench.folder, settings) as running:
            wait_for_scan(running)
            for number, file in enumerate(files[:-1], start=1):
                bench.say(f"{size // MEBIBYTE} MiB, {number} of {rounds}: curl, the agent")
                theirs.append(curl_one(files[-1], server).processor)
                ours.append(_cost_of(running, server, stock, [file]).processor)
    return [
        Figure(
            f"CPU for one recording of {size // MEBIBYTE} MiB",
            median(ours) / median(theirs),
            "x curl -F",
            most=1.0,
        ),
        Figure("the agent", median(ours), "s CPU"),
        Figure("curl -F", median(theirs), "s CPU"),
    ]


def measure_many(bench: Bench) -> Sequence[Figure]:
    """Send many recordings, as they come, by the agent, by a shell loop and by one curl."""
    count = FEW if bench.short else MANY
    with sink() as server:
        loop = _by_loop(bench, server, count)
        one = _by_one_curl(bench, server, count)
        bare = _by_bare_python(bench, server, count)
        ours = _by_agent(bench, server, count, booked=True)
        alone = _by_agent(bench, server, count, booked=False)
    what = f"CPU for {count} recordings of {A_MINUTE // 1000} kB"
    return [
        Figure(what, ours.processor / loop, "x inotifywait and curl", most=0.25),
        Figure(what, ours.processor / one.processor, "x one curl", most=2.0),
        Figure("the agent, for each", ours.processor * 1000, "ms CPU"),
        Figure("the kernel's part of the agent's", ours.kernel * 1000, "ms CPU"),
        Figure("with a record of its own for each", alone.processor * 1000, "ms CPU"),
        Figure("inotifywait and curl, for each", loop * 1000, "ms CPU"),
        Figure("one curl, for each", one.processor * 1000, "ms CPU"),
        Figure("the kernel's part of one curl's", one.kernel * 1000, "ms CPU"),
        Figure("the barest Python, for each", bare * 1000, "ms CPU"),
        Figure("the barest Python", bare / one.processor, "x one curl"),
        Figure("the agent", ours.processor / bare, "x the barest Python"),
    ]


def _by_loop(bench: Bench, server: SinkProcess, count: int) -> float:
    """Seconds of processor time for each recording, as in the two below."""
    bench.say(f"{count} recordings by inotifywait and curl")
    stock = Stock(_folder(bench, "loop"))
    files = stock.make(count)
    arrived = server.counts().files
    with shell_loop(stock.directory, server, bench.folder) as end:
        stock.put(files)
        wait_for_files(server, arrived + count)
        return end().processor / count


def _by_one_curl(bench: Bench, server: SinkProcess, count: int) -> _Cost:
    bench.say(f"{count} recordings by one curl")
    files = Stock(_folder(bench, "curl")).make(count)
    rounds = [curl_all(files, server, bench.folder) for _ in range(TIMES)]
    return _Cost(
        median(each.processor for each in rounds) / count,
        median(each.kernel for each in rounds) / count,
    )


def _by_bare_python(bench: Bench, server: SinkProcess, count: int) -> float:
    bench.say(f"{count} recordings by the barest Python")
    folder = _folder(bench, "bare")
    files = Stock(folder).make(count)
    # A daemon has started long before.
    to_start, to_send = (
        median(bare_python(some, server, folder, workers=1).processor for _ in range(TIMES))
        for some in ([], files)
    )
    return (to_send - to_start) / count


def _by_agent(bench: Bench, server: SinkProcess, count: int, *, booked: bool) -> _Cost:
    """`booked`: the board told of their calls, and their records are booked already."""
    bench.say(f"{count} recordings by the agent{'' if booked else ', each with its record'}")
    folder = _folder(bench, "booked" if booked else "alone")
    stock = Stock(folder)
    files = stock.make(count)
    if booked:
        book_calls(folder / "state", files)
    with (
        gateway_settings(folder, server.url) as settings,
        daemon(folder, settings) as running,
    ):
        wait_for_scan(running)
        cost = _cost_of(running, server, stock, files)
    return _Cost(cost.processor / count, cost.kernel / count)


def _folder(bench: Bench, name: str) -> Path:
    folder = bench.folder / name
    folder.mkdir()
    return folder


def _cost_of(running: Daemon, server: SinkProcess, stock: Stock, files: list[Path]) -> _Cost:
    """What recordings took from their arrival to the last one's delivery."""
    arrived = server.counts().files
    before = running.use()
    stock.put(files)
    wait_for_files(server, arrived + len(files))
    time.sleep(AFTERWARDS)
    after = running.use()
    return _Cost(after.processor - before.processor, after.kernel - before.kernel)


def wait_for_files(server: SinkProcess, count: int) -> None:
    """Wait until the server has had so many files."""
    wait_until(
        lambda: server.counts().files >= count, f"{count} files", PATIENCE, look_again=LOOK_AGAIN
    )


def wait_for_scan(running: Daemon) -> None:
    """Wait until the daemon has looked through its directory, and its board is up."""
    wait_until(
        lambda: (
            bool(running.status.get("recordings", {}).get("last_scan"))
            and all(board["link"] == "up" for board in running.status["boards"])
        ),
        "the first scan and the board",
    )


ROWS = (
    Row("one-recording", "CPU to send one 200 MiB recording", measure_one),
    Row("recordings", "CPU to send 2,000 recordings of 480 kB", measure_many),
)
