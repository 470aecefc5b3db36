"""What a call costs the flash: bytes written and synchronisations, from its ring to its delivery.

The daemon runs under strace, with a board, a recorder and a platform that are simulated, on a
ledger that holds a history already. Counted is all that it writes into the state directory: the
ledger's log, its checkpoints, and the last one as it ends, so that nothing is left for later. Not
counted are the status file, which lies in memory on a gateway, the log, and the recorder's audio.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent.calls import Call, Direction
from agent.clock import Stamp, SystemClock
from agent.ledger import Ledger, open_ledger
from agent.ledger.recordings import NewRecording
from agent.simulation.bench.daemon import KIBIBYTE, Daemon, daemon, wait_until
from agent.simulation.bench.figures import Bench, Figure, Row, Unmeasurable
from agent.simulation.board import SimulatedBoard
from agent.simulation.platform import SimulatedPlatform
from agent.simulation.recorder import SimulatedRecorder
from agent.simulation.traffic import GAP, Traffic

MOST_KIBIBYTES = 24.0
"""For each call."""
MOST_SYNCHRONISATIONS = 4.0
"""For each call."""
SECONDS, FEW_SECONDS = 120.0, 30.0
"""For which calls begin, in the whole form and in the short one."""
CALLS_PER_MINUTE = 60.0
LONGEST_TALK = 6.0
"""Seconds."""
HISTORY, SHORT_HISTORY = 20_000, 2_000
"""Calls that the ledger has booked already: a busy month, so that its trees are as deep as that."""
AT_ONCE, APART = 500, 100.0
"""Calls of the history in one transaction, and seconds between two of them."""
BODY = (
    b"cmd=upload&satellite=02%3A00%3A00%3A00%3A00%3A01&channel=1&start_time_secs=1563957071"
    b"&start_time_hangup=1563957126&direction=in&callid_dialed=13800138000&duration_secs=55"
    b"&id=1563957071000000&recorded=1"
)
PHONE = "13800138000"
RINGS, TALKS = 1.0, 2.0
"""Seconds of a call that is made alone."""
DRAIN_WITHIN = 60.0
"""Seconds for the last call's recording to be delivered; it takes one."""

_TRACED = "write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,msync"
_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\(\d+<(?P<path>[^>]*)>")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. \w+ resumed>")
_RESULT = re.compile(r" = (?P<bytes>\d+)$")


class Written(Struct, frozen=True):
    """What a process gave to the files below one folder."""

    writes: int = 0
    size: int = 0
    """Bytes."""
    synchronisations: int = 0

    def less(self, earlier: Written) -> Written:
        """What came after `earlier`."""
        return Written(
            self.writes - earlier.writes,
            self.size - earlier.size,
            self.synchronisations - earlier.synchronisations,
        )


def read_trace(lines: Iterable[str], folder: Path) -> Written:
    """Sum up what strace -f -y wrote down; what failed counts nothing."""
    below, writes, size, synchronisations = f"{folder}/", 0, 0, 0
    begun: dict[str, re.Match[str]] = {}
    for line in lines:
        found = _CALL.match(line)
        if found is None:
            resumed = _RESUMED.match(line)
            found = begun.pop(resumed["thread"], None) if resumed else None
        elif line.rstrip().endswith("<unfinished ...>"):
            begun[found["thread"]] = found
            continue
        result = _RESULT.search(line)
        if found is None or result is None or not f"{found['path']}/".startswith(below):
            continue
        if "sync" in found["name"]:
            synchronisations += 1
        else:
            writes += 1
            size += int(result["bytes"])
    return Written(writes, size, synchronisations)


class Office:
    """The parts around the daemon, and the calls that are made one at a time."""

    def __init__(
        self,
        board: SimulatedBoard,
        recorder: SimulatedRecorder,
        platform: SimulatedPlatform,
    ) -> None:
        self._board = board
        self._recorder = recorder
        self._platform = platform

    @property
    def calls(self) -> int:
        """Calls that are over."""
        return len(self._board.calls)

    def all_arrived(self) -> bool:
        """Tell whether all that was made is at the platform, and no call goes on."""
        board = self._board
        recorded = sum(call.answered is not None for call in list(board.calls))
        return (
            all(board.idle(channel) for channel in range(1, board.channels + 1))
            and len(self._platform.records) == len(board.calls)
            and len(self._platform.files) == len(self._recorder.finished) == recorded
        )

    def missed(self) -> None:
        """It rings, its number comes between the first ring and the second, nobody answers."""
        self._ring()
        self._board.hang_up(1)

    def answered(self) -> None:
        """It rings and is answered; its recording has its name and is closed after the end."""
        self._ring()
        self._board.answer(1)
        time.sleep(TALKS)
        self._board.hang_up(1)

    def outgoing(self) -> None:
        """A number is dialled; its recording gets its name after the end."""
        self._board.off_hook(2)
        for digit in PHONE:
            time.sleep(0.1)
            self._board.digits(2, digit)
        time.sleep(TALKS)
        self._board.hang_up(2)

    def _ring(self) -> None:
        self._board.ring(1)
        time.sleep(RINGS / 2)
        self._board.number(1, PHONE)
        time.sleep(RINGS / 2)


class Tracer:
    """strace around the daemon, and the disk as the kernel counts it."""

    def __init__(self, folder: Path) -> None:
        self._trace = folder / "trace"
        self._state = folder / "state"
        options = ("-D", "-f", "--seccomp-bpf", "-y", "-s", "0", "-o", str(self._trace))
        self.words = ("strace", *options, "-e", f"trace={_TRACED}", "--")

    def so_far(self) -> Written:
        """What was written since the daemon began."""
        with self._trace.open(encoding="utf-8", errors="replace") as lines:
            return read_trace(lines, self._state)

    def ended(self) -> bool:
        """Tell whether the daemon has ended and all that it did is in the trace."""
        return "+++ exited with" in self._trace.read_text("utf-8", "replace")[-200:]


def measure(bench: Bench) -> Sequence[Figure]:
    """Let an office make calls; divide what was written by their number. Raises Unmeasurable."""
    if shutil.which("strace") is None:
        raise Unmeasurable("strace is missing: apt-get install strace")
    folder = bench.folder
    bench.say("a ledger with a history is made")
    fill(folder / "state", SHORT_HISTORY if bench.short else HISTORY)
    (folder / "recordings").mkdir()
    tracer = Tracer(folder)
    seconds = FEW_SECONDS if bench.short else SECONDS
    with (
        SimulatedPlatform(folder / "platform") as platform,
        SimulatedBoard(
            folder / "ttyRJ11",
            journal=folder / "board.jsonl",
            traffic=lambda board, now: Traffic(
                board,
                board.channels,
                calls_per_minute=CALLS_PER_MINUTE,
                seed=1,
                now=now,
                seconds=seconds,
                longest=LONGEST_TALK,
            ),
        ) as board,
        SimulatedRecorder(folder / "board.jsonl", folder / "recordings") as recorder,
        daemon(folder, settings(folder, platform.url, board), tracer.words) as running,
    ):
        office = Office(board, recorder, platform)
        before, disk = tracer.so_far(), _disk_bytes(running)
        bench.say(f"calls are made for {seconds:.0f} s")
        time.sleep(seconds)
        wait_until(office.all_arrived, "all calls at the platform", DRAIN_WITHIN)
        alone = [] if bench.short else _alone(bench, office, tracer)
        disk = _disk_bytes(running) - disk
        running.stop()
        wait_until(tracer.ended, "the end of strace")
        written = tracer.so_far().less(before)
        if not written.synchronisations:
            raise Unmeasurable("strace saw no synchronisation: it may not trace here")
        return [*_shares(written, disk, office.calls), *alone]


def settings(folder: Path, url: str, board: SimulatedBoard) -> dict[str, Any]:
    """The agent's configuration, but for what the bench sets."""
    return {
        "identity": {"satellite": "02:00:00:00:00:01"},
        "platform": {"url": url},
        "boards": [
            {"serial": 1, "driver": "native", "port": board.port, "channels": board.channels}
        ],
        "recordings": {"directory": str(folder / "recordings")},
    }


def fill(state: Path, calls: int) -> None:
    """Begin a ledger that has so many calls booked, and their recordings delivered."""
    state.mkdir()
    clock = SystemClock()
    ledger = open_ledger(state, clock)
    began = clock.stamp()
    try:
        for first in range(0, calls, AT_ONCE):
            with ledger.transaction():
                for number in range(first, min(first + AT_ONCE, calls)):
                    _add(ledger, number, (number - calls) * APART, began)
    finally:
        ledger.close()


def _add(ledger: Ledger, number: int, seconds: float, now: Stamp) -> None:
    def at(later: float) -> Stamp:
        return Stamp(now.wall + seconds + later, now.monotonic + seconds + later)

    channel, phone = number % 8 + 1, f"1{number * 7919 % 10**10:010}"
    call = Call(1, channel, Direction.IN, phone, at(0), at(5), None, at(0))
    call_id = ledger.calls.begin(call, clock_trusted=True)
    ended = Call(1, channel, Direction.IN, phone, at(0), at(5), at(60), at(60))
    ledger.calls.end(call_id, ended, clock_trusted=True, wait_for_recording=0.0)
    name = f"{number:08}-120000_{channel}_in_{phone}.wav"
    new = NewRecording(name, 480_000, int(at(60).wall * 1e9), "good", "", "wav", 55.0, "")
    ledger.recordings.add(new, call_id, call_due=0.0)
    ledger.calls.tell_start(call_id, channel, "in", int(at(0).wall))
    ledger.deliveries.freeze(call_id, BODY)
    ledger.deliveries.booked(call_id, f"76876579886677{number:05}")
    sent = ledger.deliveries.next_recording()
    assert sent is not None
    ledger.deliveries.delivered(sent, "0" * 64)


def _shares(written: Written, disk: int, calls: int) -> list[Figure]:
    return [
        Figure(
            "synchronisations for each call",
            written.synchronisations / calls,
            "",
            most=MOST_SYNCHRONISATIONS,
            structural=True,
        ),
        Figure(
            "written for each call",
            written.size / calls / KIBIBYTE,
            "KiB",
            most=MOST_KIBIBYTES,
            structural=True,
        ),
        Figure("of these, writes", written.writes / calls, "a call"),
        Figure("written back by the kernel", disk / calls / KIBIBYTE, "KiB a call"),
        Figure("calls", calls, ""),
    ]


def _alone(bench: Bench, office: Office, tracer: Tracer) -> list[Figure]:
    """Make a call of each kind while nothing else goes on."""
    kinds: dict[str, Callable[[], None]] = {
        "missed": office.missed,
        "answered": office.answered,
        "outgoing": office.outgoing,
    }
    figures = []
    for kind, make in kinds.items():
        bench.say(f"one call is made: {kind}")
        before = tracer.so_far()
        make()
        wait_until(office.all_arrived, f"the call {kind} at the platform")
        time.sleep(GAP)
        written = tracer.so_far().less(before)
        figures += [
            Figure(f"{kind}, alone: synchronisations", written.synchronisations, ""),
            Figure(f"{kind}, alone: written", written.size / KIBIBYTE, "KiB"),
        ]
    return figures


def _disk_bytes(running: Daemon) -> int:
    """Bytes that the process had the kernel write to a disk; 0 where its files are in memory."""
    lines = Path(f"/proc/{running.pid}/io").read_text("ascii").splitlines()
    told = dict(line.split(": ") for line in lines)
    return int(told["write_bytes"])


ROW = Row("flash", "flash: bytes and synchronisations for each call", measure)
