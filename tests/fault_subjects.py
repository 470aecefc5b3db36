"""What meets the faults of the matrix: a record, a file, a report, a list, each for real."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod

from msgspec.structs import replace

from agent.boards.events import ChannelState, LineState
from agent.delivery.recordings import RecordingLane
from agent.delivery.records import RecordLane
from agent.errands import Errands
from agent.functions import Functions
from agent.parts import Bell
from agent.platform.client import PlatformClient
from agent.polls import Poller
from agent.reports import Reporter
from agent.settings import Polls, Reports
from agent.switchboard import Switchboard
from tests.fault_table import Command
from tests.lanes import SATELLITE, Bench, Stop
from tests.ledgers import add_call
from tests.rooms import SOUND_DISK

PHONE = "10086"


class OneRound(Bell):
    """Ends a part at its first wait, which takes no time."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def wait(self, heard: int, seconds: float) -> None:
        self._stop.set()


class Subject(ABC):
    """One command with all that it needs."""

    kept = False
    """True: an item of the ledger, which has refusals and a wait of its own."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.identity_read = 0
        bench.around = replace(bench.around, read_identity=self.read_identity)
        self.prepare()

    def read_identity(self) -> str:
        self.identity_read += 1
        return SATELLITE

    @abstractmethod
    def prepare(self) -> None:
        """Have something to say."""

    @abstractmethod
    def attempt(self, client: PlatformClient) -> None:
        """Say it once, if this is the time."""

    @abstractmethod
    def done(self) -> bool:
        """Whether the gateway holds it to be done."""

    @abstractmethod
    def check(self, *, twice: bool) -> None:
        """That the platform has it once; `twice`: that it was sent twice, for good reason."""

    @property
    def refusals(self) -> int:
        return 0


class Item(Subject):
    kept = True
    number: int
    lane: RecordLane | RecordingLane

    def attempt(self, client: PlatformClient) -> None:
        self.lane.step(client, self.bench.stop, lambda _: None)

    @property
    def refusals(self) -> int:
        return self.bench.item(self.number).refusals


class Record(Item):
    def prepare(self) -> None:
        self.number = add_call(self.bench.ledger)
        self.lane = self.bench.records()

    def done(self) -> bool:
        return self.bench.item(self.number).state == "record sent"

    def check(self, *, twice: bool) -> None:
        (record,) = self.bench.platform.records
        assert record.id == self.number
        assert record.callid == self.bench.item(self.number).callid
        assert len(set(self.bench.platform.bodies)) == 1, "every attempt sent the same bytes"
        assert self.bench.platform.repeats == twice


class File(Item):
    def prepare(self) -> None:
        self.call = add_call(self.bench.ledger)
        self.records = self.bench.records()
        self.bench.drain(self.records)
        self.number = self.bench.file(self.call)
        self.lane = self.bench.recordings()

    def attempt(self, client: PlatformClient) -> None:
        self.records.step(client, self.bench.stop, lambda _: None)
        super().attempt(client)

    def done(self) -> bool:
        return self.bench.item(self.number).state == "delivered"

    def check(self, *, twice: bool) -> None:
        (file,) = self.bench.platform.files
        sent = (self.bench.directory / "call.wav").read_bytes()
        assert self.bench.platform.file_path(file).read_bytes() == sent
        assert file.sha256 == hashlib.sha256(sent).hexdigest()
        assert self.bench.platform.repeated_files == twice
        assert self.bench.ledger.queue.counts(1).delivered == 1
        assert len(self.bench.platform.records) == 1
        assert len(set(self.bench.platform.bodies)) == 1


class Report(Subject):
    def prepare(self) -> None:
        bench = self.bench
        self.reporter = Reporter(
            Reports(),
            a_switchboard(bench),
            bench.gate,
            bench.clock,
            bench.time,
            disk=lambda: SOUND_DISK,
            lan_address=lambda: "192.0.2.7",
            read_identity=self.read_identity,
        )
        self.taken = 0

    def attempt(self, client: PlatformClient) -> None:
        stop = Stop()
        self.reporter.bell = OneRound(stop)
        report = self.reporter.report

        def counted(client: PlatformClient) -> bool:
            taken = report(client)
            self.taken += taken
            return taken

        self.reporter.report = counted  # type: ignore[method-assign]
        self.reporter.run(client, 100.0, stop, lambda _: None)
        self.reporter.report = report  # type: ignore[method-assign]

    def done(self) -> bool:
        return self.taken > 0

    def check(self, *, twice: bool) -> None:
        numbers = [report["id"] for report in self.bench.platform.reports]
        assert numbers == ([1, 2] if twice else numbers[-1:]), "each report is a new one"
        assert self.taken == 1


class Listed(Subject):
    """A list of the platform, with one entry."""

    def prepare(self) -> None:
        bench = self.bench
        self.obeyed: list[str] = []
        self.errands = Errands(
            bench.ledger,
            a_switchboard(bench),
            bench.clock,
            60.0,
            Functions(bench.ledger, bench.clock, {"report": self.function}, {}),
            dial=lambda board, channel, phone: self.obeyed.append(phone),
            shown=lambda phone: "***",
        )
        self.poller = Poller(
            self.polls(),
            "getMessageList",
            self.errands,
            bench.gate,
            bench.clock,
            lambda: 0.0,
            read_identity=self.read_identity,
        )
        self.list_it()

    def function(self, _parameters: object) -> str:
        self.obeyed.append("report")
        return "done"

    @abstractmethod
    def polls(self) -> Polls:
        """The one list that is asked for."""

    @abstractmethod
    def list_it(self) -> None:
        """Put the entry into the platform's list."""

    def attempt(self, client: PlatformClient) -> None:
        stop = Stop()
        self.poller.bell = OneRound(stop)
        self.poller.run(client, 100.0, stop, lambda _: None)

    def done(self) -> bool:
        return bool(self.obeyed)

    def check(self, *, twice: bool) -> None:
        assert len(self.obeyed) == 1
        assert len(self.bench.ledger.errands.recent(10)) == 1


class Messages(Listed):
    def polls(self) -> Polls:
        return Polls(messages=10, calls=0)

    def list_it(self) -> None:
        entry = {"status": "51", "memo": {"functionname": "report", "paramvalue": ""}}
        self.bench.platform.send_message(SATELLITE, entry)


class Calls(Listed):
    def polls(self) -> Polls:
        return Polls(messages=0, calls=5)

    def list_it(self) -> None:
        self.bench.platform.send_call(SATELLITE, 1, PHONE)


def a_switchboard(bench: Bench) -> Switchboard:
    """One box with one idle port."""
    made = Switchboard(
        {1: 1},
        bench.ledger,
        bench.clock,
        bench.time,
        15.0,
        on_change=lambda: None,
        on_calls=lambda: None,
        on_dial_answer=lambda board, answer: None,
    )
    made.link(1, True, bench.clock.stamp())
    made.hear(1, [ChannelState(1, LineState.ON_HOOK)], bench.clock.stamp())
    return made


SUBJECTS: dict[Command, type[Subject]] = {
    Command.REPORT: Report,
    Command.RECORD: Record,
    Command.FILE: File,
    Command.MESSAGES: Messages,
    Command.CALLS: Calls,
}
