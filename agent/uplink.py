"""The side of the platform: delivery, reports and polls, each thread with a connection."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from agent.clock import Clock, TrustedClock
from agent.collection import Collection
from agent.delivery.bells import Bells
from agent.delivery.by_hand import try_again
from agent.delivery.gate import Gate
from agent.delivery.lane import LONGEST_SLEEP, Surroundings
from agent.delivery.rate import RateLimit
from agent.delivery.recordings import RecordingLane
from agent.delivery.records import RecordLane
from agent.delivery.spread import Spread, Usual
from agent.delivery.window import UploadWindow
from agent.errands import Errands
from agent.function_queue import FunctionQueue
from agent.functions import ALL, BUILT_IN, BuiltIn, FunctionRefused, Functions, retried
from agent.identity import IdentitySource
from agent.ledger import Ledger
from agent.lines import Lines
from agent.logs import Phones
from agent.parts import Alive, Part
from agent.platform.client import PlatformClient
from agent.platform.wire import Answer
from agent.polls import Poller
from agent.reports import Reporter
from agent.settings import Settings
from agent.text import masked_numbers, printable

MARGIN = 60.0
"""Seconds beyond the network's own time-outs before a thread counts as hung."""

log = logging.getLogger(__name__)


class Uplink:
    """All that talks to the platform."""

    def __init__(
        self,
        settings: Settings,
        lines: Callable[[], Lines],
        collection: Callable[[], Collection],
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        phones: Phones,
        *,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when the platform is lost or found again."""
        self._settings = settings
        self._clock = clock
        self._time = time
        self._lines = lines
        self._collection = collection
        self._on_change = on_change
        self.bells = Bells()
        self.spread = Spread(self._usual(ledger), clock)
        self.gate = Gate(settings.retry, clock, self._gate_changed, reopened=self.spread.begin)
        self.identity = IdentitySource(settings.identity, clock)
        self._window = UploadWindow(settings.uploads.window, self._local_time)
        self._longest_request = (
            settings.platform.connect_timeout + settings.platform.read_timeout * 2 + MARGIN
        )
        self._function_queue = FunctionQueue(
            settings.functions,
            ledger,
            clock,
            satellite=self._satellite,
            shown=lambda text: text if phones.full else masked_numbers(text),
            on_change=on_change,
        )
        self._clients: list[PlatformClient] = []
        self._stopping = threading.Event()
        self.reporter = Reporter(
            settings.reports,
            lines().switchboard,
            self.gate,
            clock,
            time,
            disk=collection().disk,
            lan_address=self.identity.lan_address,
            read_identity=self.identity.read_anew,
        )
        self.errands = Errands(
            ledger,
            lines().switchboard,
            clock,
            settings.dial.expire,
            self._functions(ledger),
            dial=lambda board, channel, phone: lines().dial(board, channel, phone),
            shown=phones.shown,
            cannot_dial=lambda board: lines().cannot_dial(board),
            on_change=on_change,
        )
        self.parts = [
            *self._delivery_parts(ledger),
            *self._talking_parts(),
            *self._function_parts(),
        ]

    def ask_to_stop(self) -> None:
        """End uploads at their next block; other requests may finish."""
        self._stopping.set()

    def abandon(self) -> None:
        """End every request under way."""
        for client in self._clients:
            client.abandon()

    def call_ended(self, number: int) -> None:
        """A call has ended: see `RecordLane.call_ended`. Raises LedgerError."""
        self._records.call_ended(number)

    def send_at_once(self) -> None:
        """End all waits that are ours: somebody changed something by hand."""
        self.spread.end()
        self.gate.probe_now()

    def _usual(self, ledger: Ledger) -> Usual:
        polls = (self._settings.polls.messages, self._settings.polls.calls)
        intervals = (self._settings.reports.interval, *filter(None, polls))
        return Usual(
            periodic=sum(1 / interval for interval in intervals),
            learns_within=self._settings.reports.interval,
            calls_since=lambda seconds: ledger.calls.ended_since(self._clock.wall() - seconds),
            waiting=ledger.queue.waiting,
        )

    def _delivery_parts(self, ledger: Ledger) -> list[Part]:
        settings = self._settings
        around = Surroundings(
            ledger=ledger,
            clock=self._clock,
            gate=self.gate,
            spread=self.spread,
            retry=settings.retry,
            bells=self.bells,
            duplicate_status=frozenset(settings.platform.duplicate_status),
            read_identity=self.identity.read_anew,
            longest_request=self._longest_request,
        )
        self._records = records = RecordLane(
            around,
            self._time,
            self.identity.satellite,
            lambda stored: self._collection().being_recorded(stored),
            lambda stored: self._collection().recordings_of(stored),
        )
        recordings = RecordingLane(
            around,
            self._collection().directory,
            self._window,
            RateLimit(settings.uploads.rate_limit * 1024, self._clock),
            self._stopping,
            sound=lambda: self._collection().sound(),
            shown=lambda relative: self._collection().shown(relative),
            look_again=lambda: self._collection().rescan(),
            after=lambda item: self._collection().after_delivery(item),
        )
        workers: list[tuple[str, RecordLane | RecordingLane]] = [("records", records)]
        workers += [(f"uploads {n + 1}", recordings) for n in range(settings.uploads.workers)]
        return [self._worker(name, lane) for name, lane in workers]

    def _worker(self, name: str, lane: RecordLane | RecordingLane) -> Part:
        client = self._client()

        def work(stop: threading.Event, alive: Alive) -> None:
            alive(LONGEST_SLEEP + self._longest_request)
            try:
                lane.run(client, stop, alive)
            finally:
                client.close()

        return Part(name, work, self._clock, wake=self.bells.ring)

    def _functions(self, ledger: Ledger) -> Functions:
        built_in: tuple[BuiltIn, ...] = (
            self._report_now,
            self._rescan,
            lambda parameters: self._retry(ledger, parameters),
        )
        return Functions(
            ledger,
            self._clock,
            dict(zip(BUILT_IN, built_in, strict=True)),
            self._settings.functions.aliases,
            self._function_queue,
            on_change=self._on_change,
        )

    def _function_parts(self) -> list[Part]:
        queue = self._function_queue
        part = Part("functions", queue.run, self._clock, wake=queue.wake)
        return [part] if queue.needed else []

    def _talking_parts(self) -> list[Part]:
        poller = Poller(
            self._settings.polls,
            self._settings.platform.message_command,
            self.errands,
            self.gate,
            self._clock,
            read_identity=self.identity.read_anew,
        )
        talkers: list[tuple[str, Reporter | Poller]] = [
            ("reports", self.reporter),
            ("polls", poller),
        ]
        return [self._talker(name, talker) for name, talker in talkers]

    def _talker(self, name: str, talker: Reporter | Poller) -> Part:
        client = self._client()

        def talk(stop: threading.Event, alive: Alive) -> None:
            try:
                talker.run(client, self._longest_request, stop, alive)
            finally:
                client.close()

        return Part(name, talk, self._clock, wake=talker.bell.ring)

    def _client(self) -> PlatformClient:
        client = PlatformClient(
            self._settings.platform, self._satellite, self._clock, self._hear_answer
        )
        self._clients.append(client)
        return client

    def _satellite(self) -> str:
        return self.identity.satellite() or ""

    def _hear_answer(self, answer: Answer) -> None:
        self._time.hear(answer.time)
        if self._window.hear(answer.period):
            log.info("the platform takes recordings %s", answer.period or "at any time")
            self.bells.recordings.ring()

    def _gate_changed(self) -> None:
        self.bells.ring()
        self._on_change()

    def _local_time(self) -> datetime:
        return datetime.fromtimestamp(self._time.now()).astimezone()

    def _report_now(self, _parameters: object) -> str:
        self.reporter.bell.ring()
        return "a report is on its way"

    def _rescan(self, _parameters: object) -> str:
        self._collection().rescan()
        return "the recording directory is looked at anew"

    def _retry(self, ledger: Ledger, parameters: Mapping[str, str]) -> str:
        name = retried(parameters)
        again = try_again(ledger, None if name == ALL else name)
        if name != ALL and not again.count:
            what = "nothing of it waits for its time" if again.found else "there is no such item"
            raise FunctionRefused(f"{printable(name, 40)}: {what}")
        self.gate.probe_now()
        self.bells.ring()
        return f"{again.words} now"
