"""How soon something reaches the platform: a call's record, and a recording's first byte."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

from agent.simulation.bench.backlog import fill
from agent.simulation.bench.daemon import Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.sink import SinkProcess, sink
from agent.simulation.bench.stock import PORTS, SATELLITE, Stock
from agent.simulation.board import SimulatedBoard
from agent.simulation.sound import find_format

MOST = 100.0
"""Milliseconds, of 99 in 100."""
MANY, FEW = 100_000, 2_000
"""Recordings of a minute that are on their way meanwhile."""
CALLS, FEW_CALLS = 200, 16
FILES, FEW_FILES = 100, 8
RINGS, TALKS = 0.3, 1.5
"""Seconds."""
APART = 0.3
"""Seconds between two hang-ups, on one port after the other."""
CLOSED_BEFORE = 0.7
"""Seconds from the recording's end to the hang-up."""
SOUND = 8_000
"""Bytes of audio: a second."""
ARRIVES_WITHIN = 60.0
SETTLES = 3.0


def measure_hang_up(bench: Bench) -> Sequence[Figure]:
    """Let eight ports talk while a backlog goes out, and hang up one after the other."""
    count, calls = (FEW, FEW_CALLS) if bench.short else (MANY, CALLS)
    stock = Stock(bench.folder)
    bench.say(f"{count} recordings are made and written down")
    stock.put(stock.make(count))
    fill(bench.folder / "state", sorted(stock.directory.iterdir()))
    with sink() as server, _talking(bench.folder, server) as board:
        wait_until(lambda: server.counts().files > 0, "the backlog goes out", ARRIVES_WITHIN)
        bench.say(f"{calls} calls meanwhile")
        hung_up = _talk(board, stock.directory, calls)
        going = server.counts().files
        wait_until(
            lambda: server.counts().records >= calls,
            "the records are there",
            ARRIVES_WITHIN,
            look_again=0.5,
        )
        arrived = {
            fields["callid_dialed"]: (moment, fields["recorded"])
            for moment, fields in server.arrivals().records
        }
        waits = [(arrived[phone][0] - moment) * 1000 for phone, moment in hung_up.items()]
        without = sum(recorded != "1" for _, recorded in arrived.values())
    return [
        Figure("hang-up to record, 99 of 100", _late(waits), "ms", most=MOST),
        Figure("half of them", _middle(waits), "ms"),
        Figure("records that miss their recording", without, "records", most=0, structural=True),
        Figure("recordings sent meanwhile", going, "files"),
    ]


def measure_first_byte(bench: Bench) -> Sequence[Figure]:
    """Close recordings, one at a time, of calls whose records are booked."""
    files = FEW_FILES if bench.short else FILES
    stock = Stock(bench.folder)
    waits: list[float] = []
    with sink() as server, _talking(bench.folder, server) as board:
        bench.say(f"{files} recordings, one after the other")
        for number in range(files):
            waits.append(_first_byte(board, stock.directory, server, number) * 1000)
    return [
        Figure("file closed to first byte, 99 of 100", _late(waits), "ms", most=MOST),
        Figure("half of them", _middle(waits), "ms"),
    ]


@contextmanager
def _talking(folder: Path, server: SinkProcess) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(folder / "board", PORTS) as board:
        settings: Mapping[str, Any] = {
            "identity": {"satellite": SATELLITE},
            "platform": {"url": server.url},
            "recordings": {
                "directory": str(folder / "recordings"),
                "timezone": "UTC",
                "keep_free_percent": 0,
            },
            "boards": [{"port": board.port, "channels": PORTS}],
        }
        with daemon(folder, settings) as running:
            wait_until(lambda: _hears(running), "the daemon hears its board and has looked around")
            time.sleep(SETTLES)
            yield board


def _hears(running: Daemon) -> bool:
    status = running.status
    return (
        bool(status)
        and status["recordings"]["last_scan"] is not None
        and all(board["link"] == "up" for board in status["boards"])
    )


def _talk(board: SimulatedBoard, directory: Path, calls: int) -> dict[str, float]:
    """Have calls on all ports in turn; when each was hung up, by its telephone number."""
    hung_up: dict[str, float] = {}
    steps: list[tuple[float, int, int]] = []
    for number in range(calls):
        end = time.monotonic() + RINGS + TALKS + number * APART
        begin = end - RINGS - TALKS
        steps += [
            (begin, number, 0),
            (begin + RINGS, number, 1),
            (end - CLOSED_BEFORE, number, 2),
            (end, number, 3),
        ]
    answered: dict[int, datetime] = {}
    for moment, number, step in sorted(steps):
        time.sleep(max(0.0, moment - time.monotonic()))
        channel, phone = number % PORTS + 1, _phone(number)
        if step == 0:
            board.ring(channel, phone)
        elif step == 1:
            board.answer(channel)
            answered[number] = datetime.now(UTC)
        elif step == 2:
            _record(directory, answered[number], channel, phone)
        else:
            board.hang_up(channel)
            hung_up[phone] = time.monotonic()
    return hung_up


def _first_byte(board: SimulatedBoard, directory: Path, server: SinkProcess, number: int) -> float:
    channel, phone = number % PORTS + 1, _phone(number)
    board.ring(channel, phone)
    time.sleep(RINGS)
    board.answer(channel)
    path = directory / _name(datetime.now(UTC), channel, phone)
    with path.open("wb") as file:
        file.write(find_format("mulaw").header(SOUND) + bytes(SOUND))
        file.flush()
        time.sleep(TALKS)
        board.hang_up(channel)
        wait_until(lambda: server.counts().records > number, "the record is there", ARRIVES_WITHIN)
        # Whatever the record set going is over.
        time.sleep(RINGS)
        closed = time.monotonic()
    wait_until(
        lambda: server.counts().files > number, "the recording is there", ARRIVES_WITHIN, 0.2
    )
    return server.arrivals().files[-1] - closed


def _record(directory: Path, begun: datetime, channel: int, phone: str) -> None:
    path = directory / _name(begun, channel, phone)
    path.write_bytes(find_format("mulaw").header(SOUND) + bytes(SOUND))


def _name(begun: datetime, channel: int, phone: str) -> str:
    return f"{begun:%Y%m%d-%H%M%S}_{channel}_in_{phone}.wav"


def _phone(number: int) -> str:
    return f"139{number:08}"


def _late(waits: Sequence[float]) -> float:
    return quantiles(waits, n=100, method="inclusive")[98]


def _middle(waits: Sequence[float]) -> float:
    return quantiles(waits, n=2, method="inclusive")[0]


ROWS = (
    Row("hang-up", "From the hang-up to its record, a backlog going out", measure_hang_up),
    Row("first-byte", "From a recording's end to its first byte, idle", measure_first_byte),
)
