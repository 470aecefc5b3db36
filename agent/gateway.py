"""The whole gateway: its three sides joined, its housekeeping, its state for people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from agent.boards.events import DialAnswer
from agent.call_writing import Unwritten
from agent.clock import Clock, TrustedClock, synchronised
from agent.collection import Collection
from agent.figures import Figures, LedgerFigures, StateDirectory
from agent.health import ProblemBook, Situation, assess
from agent.housekeeping import Housekeeping
from agent.ledger import Ledger, LedgerError
from agent.lines import Lines
from agent.logs import Phones
from agent.parts import Part
from agent.problems import health_of
from agent.recordings.watcher import WatcherView
from agent.settings import Settings
from agent.status import Status
from agent.switchboard import CallCounts
from agent.uplink import Uplink

GRACE = 2.5
"""Seconds that requests under way may take to end by themselves when the agent stops."""
LAST_GRACE = 1.0
"""Seconds for the threads to end after their requests were cut off."""

log = logging.getLogger(__name__)


class Gateway:
    """One gateway as configured, from `start` to `stop`."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        clock: Clock,
        phones: Phones,
        *,
        on_change: Callable[[], None],
        synchronised: Callable[[], bool] = synchronised,
        inherited: Sequence[Unwritten] = (),
    ) -> None:
        """`on_change` is called, from any thread, when there is something new for the status.

        `synchronised` tells whether the wall clock is held by NTP; `inherited` is what a gateway on
        another ledger handed over.
        """
        self._settings = settings
        self._state = StateDirectory(Path(settings.state_directory), clock)
        self._ledger = ledger
        self._clock = clock
        self._phones = phones
        self._on_change = on_change
        self._time = TrustedClock(clock, synchronised)
        self._started = clock.wall()
        self._problems = ProblemBook()
        self._figures = LedgerFigures(ledger, clock)
        self._housekeeping = Housekeeping(
            ledger, lambda: self._lines, lambda: self._collection, lambda: self._uplink
        )
        ledger.deliveries.begin_waiting(settings.recordings.attach_window, new_boot=ledger.new_boot)
        self._lines = self._make_lines(inherited)
        self._collection = self._make_collection()
        self._uplink = self._make_uplink()
        self._uplink.errands.recover()

    def start(self) -> None:
        """Start every part."""
        for part in self._parts():
            part.start()

    def stop(self) -> bool:
        """Stop every part within GRACE and LAST_GRACE seconds; tell whether all ended."""
        ended = self._end(self._parts(), self._uplink)
        self._lines.switchboard.save()
        return ended

    def handover(self) -> list[Unwritten]:
        """What a gateway on another ledger must know, where this one's failed; after `stop`."""
        return self._lines.switchboard.handover()

    def reload(self, settings: Settings, phones: Phones) -> None:
        """Go on as newly configured; what the change does not touch is left alone."""
        old, self._settings = self._settings, settings
        new_phones, self._phones = phones != self._phones, phones
        new_lines = _lines_needs(old) != _lines_needs(settings)
        new_collection = new_lines or new_phones or old.recordings != settings.recordings
        new_uplink = new_collection or _uplink_needs(old) != _uplink_needs(settings)
        if new_uplink:
            self._end(self._uplink.parts, self._uplink)
        if new_collection:
            self._end(self._collection.parts)
        if new_lines:
            self._end(self._lines.parts)
            self._lines.switchboard.save()
            self._lines = self._make_lines()
        if new_collection:
            self._collection = self._make_collection()
        if new_uplink:
            uplink = self._make_uplink()
            # First: the links' threads go on, and would order a second call on the same port.
            uplink.errands.take_over()
            self._uplink = uplink
        parts = [
            *(self._lines.parts if new_lines else ()),
            *(self._collection.parts if new_collection else ()),
            *(self._uplink.parts if new_uplink else ()),
        ]
        for part in parts:
            part.start()
        log.info("the configuration was read anew; %d parts were started anew", len(parts))

    def look_at_queue(self) -> None:
        """Something was changed from outside: try at once what may be tried."""
        self._figures.forget()
        self._housekeeping.look_again()
        self._uplink.send_at_once()
        self._uplink.bells.ring()

    def keep_house(self) -> float:
        """Do what is due by the clock; return the seconds until the next round."""
        return self._housekeeping.keep()

    @property
    def holds_calls(self) -> bool:
        """Tell whether there are calls in memory that the ledger has not taken yet."""
        return self._lines.switchboard.unwritten > 0

    @property
    def alive(self) -> bool:
        """Tell whether every part is: the watchdog is fed only then."""
        return all(part.view().alive for part in self._parts())

    def status(self) -> Status:
        """All that the status file tells."""
        figures = self._figures.now(self._settings.retry.attention_after)
        watcher = self._collection.view()
        calls = self._lines.switchboard.counts()
        situation = self._situation(figures, watcher, calls)
        wall = self._time.now()
        problems = self._problems.update(assess(situation), wall)
        return Status(
            url=self._settings.platform.url,
            satellite=situation.satellite,
            started=self._started,
            updated=self._clock.wall(),
            health=health_of(problems),
            problems=problems,
            gate=situation.gate,
            clock=situation.clock,
            links=situation.links,
            channels=situation.channels,
            disk=situation.disk,
            queue=situation.queue,
            dial=figures.dial,
            errands=figures.errands,
            malformed=self._uplink.errands.counts.malformed,
            watcher=watcher,
            calls=calls,
        )

    def _situation(self, figures: Figures, watcher: WatcherView, calls: CallCounts) -> Situation:
        switchboard = self._lines.switchboard
        state = self._state.view()
        return Situation(
            links=self._lines.views(),
            channels={board: switchboard.channels(board) for board in switchboard.boards},
            gate=self._uplink.gate.view(),
            queue=figures.queue,
            unusable=figures.unusable,
            lost=figures.lost,
            disk=self._collection.disk(),
            keep_free_percent=self._settings.recordings.keep_free_percent,
            clock=self._time.view(),
            satellite=self._uplink.identity.satellite(),
            recordings_trouble=watcher.trouble,
            damaged=state.damaged,
            unwritten=calls.unwritten,
            dropped=calls.dropped,
            state_trouble=self._ledger.trouble or state.trouble,
            parts=tuple([part.view() for part in self._parts()]),
        )

    def _parts(self) -> list[Part]:
        return [*self._lines.parts, *self._collection.parts, *self._uplink.parts]

    def _end(self, parts: Iterable[Part], uplink: Uplink | None = None) -> bool:
        waiting = list(parts)
        if uplink is not None:
            uplink.ask_to_stop()
        for part in waiting:
            part.ask_to_stop()
        waiting = self._still_running(waiting, GRACE)
        if waiting and uplink is not None:
            uplink.abandon()
        waiting = self._still_running(waiting, LAST_GRACE)
        for part in waiting:
            log.warning("the part %s did not end in time", part.name)
        return not waiting

    def _still_running(self, parts: list[Part], seconds: float) -> list[Part]:
        deadline = self._clock.monotonic() + seconds
        return [part for part in parts if not part.ended(deadline - self._clock.monotonic())]

    def _make_lines(self, inherited: Sequence[Unwritten] = ()) -> Lines:
        return Lines(
            self._settings.boards,
            self._settings.recordings.attach_window,
            self._ledger,
            self._clock,
            self._time,
            on_change=self._ports_changed,
            on_calls=self._calls_changed,
            on_dial_answer=self._dial_answered,
            on_link=self._link_changed,
            on_end=self._call_ended,
            on_record=self._record_written,
            inherited=inherited,
        )

    def _make_collection(self) -> Collection:
        return Collection(
            self._settings.recordings,
            self._lines.switchboard.boards,
            self._ledger,
            self._clock,
            self._time,
            masked=not self._phones.full,
            on_new=self._recordings_changed,
        )

    def _make_uplink(self) -> Uplink:
        return Uplink(
            self._settings,
            lambda: self._lines,
            lambda: self._collection,
            self._ledger,
            self._clock,
            self._time,
            self._phones,
            on_change=self._on_change,
        )

    def _ports_changed(self) -> None:
        uplink = self._uplink
        uplink.reporter.changed()
        uplink.errands.port_changed()
        if self._ledger.trouble:
            # A call in memory is to be seen at once.
            self._on_change()

    def _calls_changed(self) -> None:
        # In the thread of a board, which the ledger's troubles must not end.
        try:
            self._collection.intake.calls_changed()
        except LedgerError as error:
            log.error("recordings wait for their calls, the ledger can't be used: %s", error)

    def _call_ended(self, number: int) -> None:
        self._uplink.call_ended(number)

    def _record_written(self) -> None:
        self._uplink.bells.records.ring()

    def _recordings_changed(self) -> None:
        self._uplink.bells.ring()
        # One that waits for its call has a time of its own, which housekeeping must learn.
        self._on_change()

    def _dial_answered(self, board: int, answer: DialAnswer) -> None:
        self._uplink.errands.answered(board, answer)

    def _link_changed(self, board: int, channels: Sequence[int], up: bool) -> None:
        if not up:
            self._uplink.errands.link_lost(board, channels)
        self._on_change()


def _lines_needs(settings: Settings) -> tuple[object, ...]:
    return (settings.boards, settings.recordings.attach_window)


def _uplink_needs(settings: Settings) -> tuple[object, ...]:
    return (
        settings.platform,
        settings.identity,
        settings.reports,
        settings.polls,
        settings.uploads,
        settings.retry,
        settings.dial,
        settings.functions,
    )
