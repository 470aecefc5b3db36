"""One gateway of a simulated fleet: the agent's own timing, with nothing else of a gateway.

The gate, the pace of each lane, the spread after an outage and the periods are the agent's own
objects; what is simulated is what they wait for.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from agent.delivery.gate import Gate, Shut
from agent.delivery.pace import Pace
from agent.delivery.spread import LOOK_BACK, Spread, Usual
from agent.delivery.turns import Turns
from agent.periods import Period
from agent.reports import SETTLE, SHORTEST_GAP
from agent.settings import Polls, Reports, Retry, Uploads
from agent.simulation.fleet_agenda import EPOCH, Agenda
from agent.simulation.fleet_platform import FleetPlatform

RINGS_FOR = 8.0
"""Seconds, on average, until somebody answers."""
TALKS_FOR = 90.0
"""Seconds, on average."""
REMEMBERED = 4096
"""Ends of calls that a gateway remembers for `Usual.calls_since`: days of a busy one."""


class Habits(Struct, frozen=True):
    """How the gateways of a fleet are configured and used."""

    reports: Reports
    polls: Polls
    retry: Retry
    uploads: Uploads
    calls_an_hour: float
    upload_seconds: float
    """Seconds for which one recording keeps the gateway's line busy."""


class Worker:
    """One of a gateway's threads: it sends what its queue holds, as its turns allow."""

    def __init__(self, gateway: FleetGateway, turns: Turns, queue: deque[float], name: int) -> None:
        self._gateway = gateway
        self._turns = turns
        self._queue = queue
        self._name = name
        self._busy = False
        self._wake = 0

    def wake(self) -> None:
        """Look whether something may go, as a rung bell makes a lane do."""
        if self._busy or not self._queue:
            return
        gateway = self._gateway
        gateway.asker = self._name
        newest = self._turns.newest_only
        ended = self._queue[-1] if newest else self._queue[0]
        wait = self._turns.admit(EPOCH + ended)
        self._wake += 1
        if wait > 0:
            gateway.agenda.after(wait, partial(self._wake_again, self._wake))
            return
        if newest:
            self._queue.pop()
        else:
            self._queue.popleft()
        self._busy = True
        gateway.ask(self._name, partial(self._answered, ended), gateway.busy_for(self._name))

    def _wake_again(self, wake: int) -> None:
        if wake == self._wake:
            self.wake()

    def _answered(self, ended: float, good: bool) -> None:
        self._busy = False
        if good:
            self._gateway.sent(self._name, ended)
        else:
            self._queue.appendleft(ended)
        self.wake()


class FleetGateway:
    """Reports, polls, and sends a record and a recording for each call."""

    RECORDS, REPORTS, POLLS, UPLOADS = range(4)
    """Who asks the gate; the upload workers are numbered from the last one on."""

    def __init__(
        self,
        agenda: Agenda,
        platform: FleetPlatform,
        habits: Habits,
        draw: random.Random,
        on_delivered: Callable[[float], None],
    ) -> None:
        """`on_delivered` is told when the call of each delivered item ended."""
        self.agenda = agenda
        self.asker = self.RECORDS
        self._platform = platform
        self._habits = habits
        self._draw = draw
        self._on_delivered = on_delivered
        self._records: deque[float] = deque()
        self._recordings: deque[float] = deque()
        self._ended: deque[float] = deque(maxlen=REMEMBERED)
        self._spread = Spread(self._usual(), agenda, draw.random)
        self._gate = Gate(
            habits.retry,
            agenda,
            self._wake_all,
            draw.random,
            reopened=self._spread.begin,
            asker=lambda: self.asker,
        )
        self._report_period = Period(habits.reports.interval, draw.random)
        self._report_begun = float("-inf")
        self._report_order = 0
        self._reporting = self._rung = False
        self._workers = self._make_workers()

    def start(self) -> None:
        """Begin, as at the agent's start; the ledger knows of the calls before."""
        now = self.agenda.monotonic()
        calls = round(self._habits.calls_an_hour * LOOK_BACK / 3600)
        self._ended.extend(sorted(now - self._draw.uniform(0, LOOK_BACK) for _ in range(calls)))
        self._plan_report(self._report_period.first())
        for interval in (self._habits.polls.calls, self._habits.polls.messages):
            if interval > 0:
                period = Period(interval, self._draw.random)
                self.agenda.after(period.first(), partial(self._poll, period))
        self._plan_call()

    @property
    def waiting(self) -> int:
        """Records and recordings that are not delivered."""
        return len(self._records) * 2 + len(self._recordings)

    def ask(self, who: int, then: Callable[[bool], None], busy_for: float = 0.0) -> None:
        """Send a request; the gate hears what became of it, and then `then` does."""
        reply = self._platform.ask()

        def known() -> None:
            self.asker = who
            if reply.good:
                self._gate.answered()
            else:
                self._gate.failed(Shut.OUTAGE, "simulated", None)
            then(reply.good)

        self.agenda.after(reply.after + (busy_for if reply.good else 0.0), known)

    def busy_for(self, who: int) -> float:
        """Seconds that a request takes beside its answer."""
        return self._habits.upload_seconds if who >= self.UPLOADS else 0.0

    def sent(self, who: int, ended: float) -> None:
        """An item is delivered: after a record goes its recording."""
        self._on_delivered(ended)
        if who == self.RECORDS:
            self._recordings.append(ended)
            self._wake_all()

    def _usual(self) -> Usual:
        polls = (self._habits.polls.calls, self._habits.polls.messages)
        intervals = (self._habits.reports.interval, *filter(None, polls))
        return Usual(
            periodic=sum(1 / interval for interval in intervals),
            learns_within=self._habits.reports.interval,
            calls_since=self._calls_since,
            waiting=lambda: self.waiting,
        )

    def _calls_since(self, seconds: float) -> int:
        begin = self.agenda.monotonic() - seconds
        return sum(ended >= begin for ended in self._ended)

    def _make_workers(self) -> list[Worker]:
        def turns() -> Turns:
            pace = Pace(self._habits.retry, self.agenda, self._wake_all, self._draw.random)
            return Turns(self._gate, pace, self._spread)

        uploads = turns()
        return [Worker(self, turns(), self._records, self.RECORDS)] + [
            Worker(self, uploads, self._recordings, self.UPLOADS + number)
            for number in range(self._habits.uploads.workers)
        ]

    def _wake_all(self) -> None:
        # Not from within the gate, which tells of a change before its caller has gone on.
        self.agenda.after(0.0, self._wake_workers)

    def _wake_workers(self) -> None:
        for worker in self._workers:
            worker.wake()

    def _plan_report(self, seconds: float) -> None:
        self._report_order += 1
        self.agenda.after(seconds, partial(self._report, self._report_order))

    def _report(self, order: int) -> None:
        if order != self._report_order or self._reporting:
            return
        self._rung = False
        self._report_begun = self.agenda.monotonic()
        self.asker = self.REPORTS
        if self._gate.allows_report() or self._gate.admit() == 0:
            self._reporting = True
            self.ask(self.REPORTS, self._reported)
        else:
            self._reported(False)

    def _reported(self, _good: bool) -> None:
        self._reporting = False
        now = self.agenda.monotonic()
        if self._rung:
            self._plan_report(max(SETTLE, self._report_begun + SHORTEST_GAP - now))
        else:
            self._plan_report(max(0.0, self._report_begun + self._report_period.next() - now))

    def _changed(self) -> None:
        """A port changed: a report is wanted at once."""
        self._rung = True
        if not self._reporting:
            gap = self._report_begun + SHORTEST_GAP - self.agenda.monotonic()
            self._plan_report(max(SETTLE, gap))

    def _poll(self, period: Period) -> None:
        def next_one(_good: bool) -> None:
            self.agenda.after(period.next(), partial(self._poll, period))

        if self._gate.is_shut:
            next_one(False)
        else:
            self.ask(self.POLLS, next_one)

    def _plan_call(self) -> None:
        if self._habits.calls_an_hour > 0:
            self.agenda.after(self._draw.expovariate(self._habits.calls_an_hour / 3600), self._call)

    def _call(self) -> None:
        self._changed()
        answered = self._draw.expovariate(1 / RINGS_FOR)
        self.agenda.after(answered, self._changed)
        self.agenda.after(answered + self._draw.expovariate(1 / TALKS_FOR), self._hang_up)
        self._plan_call()

    def _hang_up(self) -> None:
        self._changed()
        now = self.agenda.monotonic()
        self._ended.append(now)
        self._records.append(now)
        self._wake_all()
