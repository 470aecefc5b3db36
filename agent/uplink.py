"""The side of the platform: delivery, reports and polls, each thread with a connection."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from agent.clock import Clock, TrustedClock
from agent.collection import Collection
from agent.delivery.gate import Gate
from agent.delivery.lane import LONGEST_SLEEP, Surroundings
from agent.delivery.rate import RateLimit
from agent.delivery.recordings import RecordingLane
from agent.delivery.records import RecordLane
from agent.delivery.window import UploadWindow
from agent.errands import Errands
from agent.identity import IdentitySource
from agent.ledger import Ledger
from agent.lines import Lines
from agent.logs import Phones
from agent.parts import Alive, Bell, Part
from agent.platform.client import PlatformClient
from agent.platform.wire import Answer
from agent.polls import Poller
from agent.reports import Reporter
from agent.settings import Settings

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
        self.bell = Bell()
        self.gate = Gate(settings.retry, clock, self._gate_changed)
        self.identity = IdentitySource(settings.identity)
        self._window = UploadWindow(settings.uploads.window, self._local_time)
        self._longest_request = (
            settings.platform.connect_timeout + settings.platform.read_timeout * 2 + MARGIN
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
            {"report": self._report_now, "rescan": self._rescan},
            settings.functions.aliases,
            dial=lambda board, channel, phone: lines().dial(board, channel, phone),
            shown=phones.shown,
            cannot_dial=lambda board: lines().cannot_dial(board),
            on_change=on_change,
        )
        self.parts = [*self._delivery_parts(ledger), *self._talking_parts()]

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

    def _delivery_parts(self, ledger: Ledger) -> list[Part]:
        settings = self._settings
        around = Surroundings(
            ledger=ledger,
            clock=self._clock,
            gate=self.gate,
            retry=settings.retry,
            bell=self.bell,
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

        return Part(name, work, self._clock, wake=self.bell.ring)

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
            self.bell.ring()

    def _gate_changed(self) -> None:
        self.bell.ring()
        self._on_change()

    def _local_time(self) -> datetime:
        return datetime.fromtimestamp(self._time.now()).astimezone()

    def _report_now(self, _parameters: object) -> str:
        self.reporter.bell.ring()
        return "a report is on its way"

    def _rescan(self, _parameters: object) -> str:
        self._collection().rescan()
        return "the recording directory is looked at anew"
