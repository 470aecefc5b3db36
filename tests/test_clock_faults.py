"""Clocks that are unset, jump, repeat an hour or differ: records carry true times all the same."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from agent.boards.events import ChannelState, LineState
from agent.clock import Stamp, SystemClock, TrustedClock
from agent.delivery.bells import Bells
from agent.delivery.gate import Gate
from agent.delivery.lane import Surroundings
from agent.delivery.rate import RateLimit
from agent.delivery.recordings import RecordingLane
from agent.delivery.records import RecordLane
from agent.delivery.window import UploadWindow
from agent.gateway import Gateway
from agent.intake import Intake
from agent.ledger import Ledger, open_ledger
from agent.logs import Phones
from agent.platform.client import PlatformClient
from agent.platform.failures import PlatformFailure
from agent.platform.wire import Answer
from agent.recordings.names import RecordingNames
from agent.settings import Board, Identity, Platform, Recordings, Reports, Settings
from agent.simulation.board import SimulatedBoard
from agent.simulation.booking import BookedRecord
from agent.simulation.platform import SimulatedPlatform
from agent.switchboard import Switchboard
from tests.audio_files import pcm
from tests.clocks import NOON, HandClock
from tests.gateway import Box, box, wait_until
from tests.lanes import MOST_STEPS, RETRY, SATELLITE
from tests.rooms import finished, unspread

ATTACH_WINDOW = 15.0
PHONE = "13800138000"
IN_1970 = 60.0
"""What a clock shows a minute after it began from nothing."""
YEARS = NOON - IN_1970
HOUR = 3600.0
DAY = 86_400.0


class Box1970:
    """The parts of a gateway in one process, on a clock turned by hand; a true one beside it."""

    def __init__(self, folder: Path, wall: float, zone: str = "UTC") -> None:
        self.clock = HandClock(wall_time=wall, monotonic_time=60.0)
        self.truth = NOON
        """True UNIX seconds now."""
        self.ntp = False
        self.state, self.directory = folder / "state", folder / "recordings"
        self.state.mkdir()
        self.directory.mkdir()
        self.zone = ZoneInfo(zone)
        self.names = RecordingNames(Recordings(directory="").patterns, self.zone)
        self.platform = SimulatedPlatform(folder / "platform")
        self.platform.start()
        self.boots = 0
        self.start()

    def start(self) -> None:
        self.ledger: Ledger = open_ledger(self.state, self.clock)
        self.time = TrustedClock(self.clock, lambda: self.ntp)
        self.ledger.deliveries.begin_waiting(ATTACH_WINDOW, new_boot=self.ledger.new_boot)
        self.switchboard = Switchboard(
            {1: 8},
            self.ledger,
            self.clock,
            self.time,
            ATTACH_WINDOW,
            on_change=lambda: None,
            on_calls=lambda: None,
            on_dial_answer=lambda board, answer: None,
        )
        self.switchboard.link(1, True, self.clock.stamp())
        self.intake = Intake(
            Recordings(directory=str(self.directory), attach_window=ATTACH_WINDOW),
            self.names,
            self.ledger,
            self.clock,
            self.time,
            [1],
            shown=str,
            on_new=lambda: None,
        )
        settings = Platform(url=self.platform.url, connect_timeout=5.0, read_timeout=10.0)
        self.client = PlatformClient(settings, lambda: SATELLITE, SystemClock(), self.hear_answer)
        around = Surroundings(
            ledger=self.ledger,
            clock=self.clock,
            gate=Gate(RETRY, self.clock, lambda: None),
            spread=unspread(self.clock),
            retry=RETRY,
            bells=Bells(),
            duplicate_status=frozenset(),
            read_identity=lambda: SATELLITE,
            longest_request=60.0,
        )
        self.lanes = (
            RecordLane(
                around, self.time, lambda: SATELLITE, lambda _: False, self.intake.recordings_of
            ),
            RecordingLane(
                around,
                self.directory,
                UploadWindow(None, lambda: datetime.fromtimestamp(self.clock.wall(), UTC)),
                RateLimit(0, self.clock),
                threading.Event(),
                sound=lambda: True,
                shown=str,
                look_again=lambda: None,
                after=lambda item: None,
            ),
        )

    def hear_answer(self, answer: Answer) -> None:
        self.time.hear(self.truth if answer.time is not None else None)

    def end(self) -> None:
        self.client.close()
        self.ledger.close()

    def close(self) -> None:
        self.end()
        self.platform.stop()

    def restart(self) -> None:
        """The agent alone is started anew."""
        self.end()
        self.start()

    def power_cut(self, off: float, wall: float | None = None) -> None:
        """The power fails for `off` seconds; the clock then shows `wall`, else the truth."""
        self.end()
        self.truth += off + 20.0
        self.boots += 1
        self.clock.start_anew(f"boot {self.boots}", up=20.0)
        self.clock.wall_time = self.truth if wall is None else wall
        self.start()

    def turn(self, seconds: float) -> None:
        self.clock.turn(seconds)
        self.truth += seconds

    def set_clock(self) -> None:
        """NTP sets the clock to the truth."""
        self.clock.wall_time = self.truth
        self.ntp = True

    def hear(self, channel: int, state: LineState, phone: str = "", **more: int | bool) -> None:
        event = ChannelState(channel, state, phone=phone, **more)  # type: ignore[arg-type]
        self.switchboard.hear(1, [event], self.clock.stamp())

    def call(self, channel: int, phone: str = PHONE, talks: float = 60.0) -> float:
        """A whole incoming call, its ring 5 s long; returns when it truly began."""
        began = self.begin_call(channel, phone)
        self.turn(talks)
        self.hear(channel, LineState.ON_HOOK)
        return began

    def begin_call(self, channel: int, phone: str = PHONE) -> float:
        """An incoming call that is answered after 5 s and goes on."""
        self.hear(channel, LineState.ON_HOOK)
        began = self.truth
        self.hear(channel, LineState.RINGING, phone)
        self.turn(5.0)
        self.hear(channel, LineState.IN_CALL, phone)
        return began

    def record(
        self,
        named: float,
        channel: int,
        seconds: float = 60.0,
        phone: str = PHONE,
        modified: float | None = None,
    ) -> str:
        """A finished recording whose name says when it began; changed last now, unless told."""
        moment = datetime.fromtimestamp(named, self.zone)
        name = f"{moment:%Y%m%d-%H%M%S}_{channel}_in_{phone}.wav"
        path = self.directory / name
        path.write_bytes(pcm(seconds))
        changed = self.clock.wall() if modified is None else modified
        os.utime(path, (changed, changed))
        self.intake.take([finished(self.directory, name, self.names)])
        return name

    def report(self) -> None:
        """The platform answers, and so tells its time, even where it refuses one of 1970."""
        with suppress(PlatformFailure):
            self.client.report(1, int(self.time.now() * 1000), "{}")

    def send(self) -> None:
        """All that is due now goes."""
        self.intake.match_waiting()
        for lane in self.lanes:
            for _ in range(MOST_STEPS):
                if lane.step(self.client, threading.Event(), lambda _: None) > 0:
                    break

    def settle(self) -> None:
        """What waits for anything has waited long enough."""
        self.send()
        self.turn(ATTACH_WINDOW + 1)
        self.send()

    def only_record(self) -> BookedRecord:
        (record,) = self.platform.records
        return record

    def files_of(self, record: BookedRecord) -> int:
        return sum(file.callid == record.callid for file in self.platform.files)


@pytest.fixture
def unset(tmp_path: Path) -> Iterator[Box1970]:
    """A gateway that woke up in 1970."""
    made = Box1970(tmp_path, IN_1970)
    yield made
    made.close()


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[Box1970]:
    """A gateway whose clock is right and held by NTP."""
    made = Box1970(tmp_path, NOON)
    made.ntp = True
    yield made
    made.close()


def true(record: BookedRecord, began: float, talked: float = 60.0) -> bool:
    """Tell whether a record says when a call truly was: rung for 5 s, then talked."""
    return (
        abs(record.started - began) <= 1
        and abs(record.ended - (began + 5 + talked)) <= 1
        and abs(record.duration - talked) <= 1
    )


# A clock that was never set.


def test_a_call_in_1970_waits_for_a_true_time_and_carries_it(unset: Box1970) -> None:
    began = unset.call(1)
    unset.turn(3 * HOUR)
    unset.settle()
    assert unset.platform.records == []
    unset.report()
    unset.settle()
    assert true(unset.only_record(), began)


@pytest.mark.parametrize("named_by", ["the gateway", "a recorder with a clock of its own"])
@pytest.mark.parametrize("told_by", ["the platform", "NTP"])
@pytest.mark.parametrize("late", [False, True])
def test_a_recording_of_1970_goes_with_its_call(
    unset: Box1970, named_by: str, told_by: str, late: bool
) -> None:
    """Also one that was looked at long before the time was known, or only after that."""
    began = unset.call(1)
    shown = began - unset.truth + unset.clock.wall() + 5
    named = shown if named_by == "the gateway" else began + 5
    modified = unset.clock.wall()
    if not late:
        unset.record(named, 1)
    unset.turn(HOUR)
    unset.settle()
    if told_by == "NTP":
        unset.set_clock()
    else:
        unset.report()
    unset.send()
    if late:
        unset.record(named, 1, modified=modified)
    unset.settle()
    record = unset.only_record()
    assert true(record, began)
    assert unset.files_of(record) == 1


def test_calls_of_1970_keep_their_distances(unset: Box1970) -> None:
    began = []
    for channel in (1, 2, 1):
        began.append(unset.call(channel, talks=10.0 * channel))
        unset.turn(100.0)
    unset.set_clock()
    unset.settle()
    assert [record.started for record in unset.platform.records] == pytest.approx(began, abs=1)


def test_a_call_that_ended_unheard_before_the_clock_was_set_is_corrected(unset: Box1970) -> None:
    """It ends as it was last heard, which was in 1970, and is known to be over only later."""
    began = unset.begin_call(1)
    unset.turn(60.0)
    unset.switchboard.heard(1, unset.clock.stamp())
    unset.switchboard.link(1, False, unset.clock.stamp())
    unset.turn(100.0)
    unset.set_clock()
    unset.turn(100.0)
    unset.switchboard.link(1, True, unset.clock.stamp())
    unset.hear(1, LineState.ON_HOOK, asked=True)
    unset.settle()
    assert true(unset.only_record(), began)


@pytest.mark.parametrize("set_before", [False, True])
def test_a_call_that_an_agent_started_anew_finds_over_is_corrected(
    unset: Box1970, set_before: bool
) -> None:
    began = unset.begin_call(1)
    unset.turn(60.0)
    unset.switchboard.heard(1, unset.clock.stamp())
    unset.switchboard.save()
    if set_before:
        unset.set_clock()
    unset.restart()
    unset.turn(100.0)
    unset.set_clock()
    unset.hear(1, LineState.ON_HOOK, asked=True)
    unset.settle()
    assert true(unset.only_record(), began)


# A recording of 1970 that belongs to no call.


@pytest.mark.parametrize("set_before", [False, True])
def test_a_recording_of_1970_that_belongs_to_no_call_gets_its_true_time(
    unset: Box1970, set_before: bool
) -> None:
    """Whether the clock is set before it is given up to find its call, or after."""
    began, shown = unset.truth, unset.clock.wall()
    unset.turn(60.0)
    unset.record(shown, 3)
    unset.turn(HOUR)
    if set_before:
        unset.set_clock()
    else:
        unset.report()
    unset.settle()
    record = unset.only_record()
    assert (record.channel, record.duration) == (3, 60)
    assert abs(record.started - began) <= 1
    assert unset.files_of(record) == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_a_recording_named_in_1970_and_finished_after_that_has_its_true_time(
    unset: Box1970, restarted: bool
) -> None:
    """Also where this agent never saw the clock unset."""
    began, shown = unset.truth, unset.clock.wall()
    unset.turn(30.0)
    unset.set_clock()
    if restarted:
        unset.restart()
    unset.turn(30.0)
    unset.record(shown, 3)
    unset.settle()
    assert abs(unset.only_record().started - began) <= 1


def test_recordings_of_an_unknown_boot_in_1970_are_put_before_this_one(sound: Box1970) -> None:
    """Nobody knows when they were: plausible, apart, and never in 1970."""
    for minute in range(3):
        shown = 1000.0 + 100.0 * minute
        sound.record(shown, 3, modified=shown + 60)
    sound.settle()
    began = NOON - 60.0
    starts = sorted(record.started for record in sound.platform.records)
    assert [b - a for a, b in pairwise(starts)] == [100, 100]
    assert starts[-1] + 60 == pytest.approx(began, abs=1)


# The power fails before the clock was ever set.


def test_calls_of_a_boot_whose_clock_was_never_set_are_put_before_the_next_one(
    unset: Box1970,
) -> None:
    unset.call(1, talks=30.0)
    unset.record(unset.clock.wall() - 30.0, 1, seconds=30.0)
    unset.turn(100.0)
    unset.call(2, talks=30.0)
    unset.power_cut(off=HOUR)
    unset.ntp = True
    unset.settle()
    first, second = unset.platform.records
    assert second.started - first.started == 135
    assert second.ended == pytest.approx(unset.truth - unset.clock.monotonic(), abs=1)
    assert unset.files_of(first) == 1


def test_a_call_that_the_power_cut_ended_in_1970_ends_before_the_next_boot(unset: Box1970) -> None:
    unset.begin_call(1)
    unset.turn(60.0)
    unset.switchboard.heard(1, unset.clock.stamp())
    unset.switchboard.save()
    unset.power_cut(off=HOUR)
    unset.ntp = True
    began = unset.truth - unset.clock.monotonic()
    unset.hear(1, LineState.ON_HOOK, asked=True)
    unset.settle()
    record = unset.only_record()
    assert true(record, began - 65.0)


def test_two_boots_in_1970_and_then_a_true_time(unset: Box1970) -> None:
    """The second begins in the same hour of 1970 as the first: its recordings are its own."""
    unset.call(1)
    unset.record(unset.clock.wall() - 60.0, 1)
    unset.begin_call(2)
    unset.switchboard.save()
    unset.power_cut(off=HOUR, wall=20.0)
    unset.hear(2, LineState.ON_HOOK, asked=True)
    unset.turn(IN_1970 - 22.0)
    began = unset.call(1)
    unset.record(unset.clock.wall() - 60.0, 1)
    unset.turn(HOUR)
    unset.set_clock()
    unset.settle()
    assert len(unset.platform.records) == 3
    assert all(record.started > NOON for record in unset.platform.records)
    first, last = sorted(
        (record for record in unset.platform.records if record.channel == 1),
        key=lambda record: record.started,
    )
    assert true(last, began)
    assert (unset.files_of(first), unset.files_of(last)) == (1, 1)


def test_a_true_call_that_a_power_cut_ended_stays_true_under_a_clock_of_1970(
    sound: Box1970,
) -> None:
    """What a likely clock said is believed, whatever the next boot's clock shows."""
    began = sound.begin_call(1)
    sound.turn(60.0)
    sound.switchboard.heard(1, sound.clock.stamp())
    sound.switchboard.save()
    sound.ntp = False
    sound.power_cut(off=HOUR, wall=20.0)
    sound.hear(1, LineState.ON_HOOK, asked=True)
    sound.report()
    sound.settle()
    assert true(sound.only_record(), began)


# A clock that is set during a call, or between calls.


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS])
@pytest.mark.parametrize("named_by", ["before", "after"])
@pytest.mark.parametrize("found", ["during", "after"])
def test_a_clock_that_is_set_during_a_call_gives_it_its_true_time(
    sound: Box1970, jump: float, named_by: str, found: str
) -> None:
    """Its recording, named by either clock, goes with it and not on its own."""
    sound.clock.wall_time -= jump
    sound.ntp = False
    began = sound.begin_call(1)
    named = sound.clock.wall()
    sound.turn(30.0)
    sound.set_clock()
    if named_by == "after":
        named = began + 5.0
    if found == "during":
        sound.record(named, 1, seconds=30.0)
    sound.turn(30.0)
    if found == "during":
        sound.intake.match_waiting()
    sound.hear(1, LineState.ON_HOOK)
    if found == "after":
        sound.record(named, 1)
    sound.settle()
    record = sound.only_record()
    assert true(record, began)
    assert (record.recorded, sound.files_of(record)) == (1, 1)


def test_a_call_during_which_the_clock_was_set_takes_no_recording_of_the_years_between(
    unset: Box1970,
) -> None:
    began = unset.begin_call(1)
    unset.turn(30.0)
    unset.set_clock()
    unset.turn(30.0)
    unset.hear(1, LineState.ON_HOOK)
    unset.record(NOON - 100 * DAY, 1, phone="10086", modified=NOON - 100 * DAY + 60)
    unset.settle()
    assert len(unset.platform.records) == 2
    own = next(record for record in unset.platform.records if abs(record.started - began) > DAY)
    assert own.started == NOON - 100 * DAY
    assert unset.files_of(own) == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS])
def test_a_clock_that_is_set_between_calls_moves_none_of_them(sound: Box1970, jump: float) -> None:
    sound.clock.wall_time -= jump
    sound.ntp = False
    first = sound.call(1)
    sound.turn(100.0)
    sound.set_clock()
    sound.turn(100.0)
    second = sound.call(1)
    sound.settle()
    records = sorted(sound.platform.records, key=lambda record: record.started)
    assert true(records[-1], second)
    assert len(records) == 2
    assert true(records[0], first)


@pytest.mark.parametrize("jump", [YEARS, -HOUR, 10 * DAY])
def test_no_wait_ends_sooner_or_later_because_a_clock_is_set(sound: Box1970, jump: float) -> None:
    sound.record(NOON - 10 * HOUR, 5, modified=NOON - 10 * HOUR + 60)
    sound.call(1)
    sound.clock.jump(jump)
    for lane in sound.lanes:
        assert lane.around.ledger.deliveries.next_due("record") == pytest.approx(
            sound.clock.monotonic() + ATTACH_WINDOW
        )
    sound.turn(ATTACH_WINDOW - 1)
    sound.send()
    assert [record.channel for record in sound.platform.records] == [5]
    sound.turn(2)
    sound.send()
    assert len(sound.platform.records) == 2


# Summer time in the names of files.


AUTUMN = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
"""02:30 in Berlin, for the first time that night; an hour later it is 02:30 again."""
SPRING = datetime(2027, 3, 28, 1, 30, tzinfo=UTC).timestamp()
"""03:30 in Berlin, an hour and a half after 01:59:59 was followed by 03:00."""


@pytest.fixture
def berlin(tmp_path: Path) -> Iterator[Box1970]:
    made = Box1970(tmp_path, AUTUMN, zone="Europe/Berlin")
    made.truth, made.ntp = AUTUMN, True
    yield made
    made.close()


@pytest.mark.parametrize("later", [0.0, HOUR])
def test_a_recording_of_the_hour_that_comes_twice_goes_with_its_own_call(
    berlin: Box1970, later: float
) -> None:
    """Two calls at half past two, an hour apart: its file's last change tells which is meant."""
    berlin.call(1)
    berlin.turn(HOUR - 65.0)
    berlin.call(1)
    berlin.record(AUTUMN + later, 1, modified=AUTUMN + later + 65.0)
    berlin.settle()
    by_start = sorted(berlin.platform.records, key=lambda record: record.started)
    assert [berlin.files_of(record) for record in by_start] == [int(not later), int(bool(later))]


@pytest.mark.parametrize("later", [0.0, HOUR])
def test_a_recording_of_the_hour_that_comes_twice_and_of_no_call_has_its_true_time(
    berlin: Box1970, later: float
) -> None:
    berlin.turn(later + 60.0)
    berlin.record(AUTUMN + later, 1)
    berlin.settle()
    assert berlin.only_record().started == AUTUMN + later


@pytest.mark.parametrize("switched", [False, True])
def test_a_recorder_that_names_the_hour_that_is_left_out_is_understood(
    berlin: Box1970, switched: bool
) -> None:
    """02:30 does not exist that night; to a recorder that was not told yet it does."""
    berlin.clock.wall_time = berlin.truth = SPRING
    berlin.call(1)
    name = "20270328-033000_1_in_13800138000.wav" if switched else "20270328-023000_1_in_x.wav"
    path = berlin.directory / name
    path.write_bytes(pcm(60.0))
    os.utime(path, (berlin.truth, berlin.truth))
    berlin.intake.take([finished(berlin.directory, name, berlin.names)])
    berlin.settle()
    record = berlin.only_record()
    assert record.started == SPRING
    assert berlin.files_of(record) == 1


# The whole gateway.


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made
        assert made.platform.violations == []


def test_a_platform_whose_clock_is_ahead_by_a_day_is_shown_and_not_followed(gateway: Box) -> None:
    gateway.platform.faults.set("time", DAY)
    gateway.start()
    wait_until(lambda: "clock-differs" in gateway.problems(), "it is shown")
    assert gateway.status["health"] == "degraded"
    assert gateway.status["platform"]["clock_offset"] == pytest.approx(DAY, abs=5)
    gateway.board.ring(1, PHONE)
    gateway.wait_for_state(1, "ringing")
    gateway.board.hang_up(1)
    gateway.wait_for_records(1)
    (record,) = gateway.platform.records
    assert abs(record.started - gateway.board.calls[0].started) <= 2


class FalseClock(SystemClock):
    """The machine's clocks, as if the wall clock were off by some seconds."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self.off = off

    def wall(self) -> float:
        return super().wall() + self.off

    def stamp(self) -> Stamp:
        return Stamp(self.wall(), self.monotonic())


def test_a_whole_gateway_wakes_in_1970_and_learns_the_time_in_a_call(tmp_path: Path) -> None:
    """Threads, a real pty and real HTTP: only the clock is false until it is set."""
    clock = FalseClock(off=IN_1970 - time.time())
    platform = SimulatedPlatform(tmp_path / "platform")
    board = SimulatedBoard(tmp_path / "board1")
    (tmp_path / "recordings").mkdir()
    (tmp_path / "state").mkdir()
    board.start()
    platform.start()
    settings = Settings(
        platform=Platform(url="http://127.0.0.1:9/nobody", connect_timeout=1),
        boards=(Board(port=str(board.port)),),
        recordings=Recordings(directory=str(tmp_path / "recordings"), attach_window=0.5),
        identity=Identity(satellite=SATELLITE),
        reports=Reports(interval=1),
        state_directory=str(tmp_path / "state"),
    )
    ledger = open_ledger(tmp_path / "state", clock)
    held = False
    gateway = Gateway(
        settings, ledger, clock, Phones(False), on_change=lambda: None, synchronised=lambda: held
    )
    gateway.start()
    try:
        switchboard = gateway._lines.switchboard
        wait_until(lambda: switchboard.is_up(1), "the board is heard")
        board.ring(1, PHONE)
        wait_until(lambda: bool(ledger.calls.open_calls()), "the call is known")
        assert "clock-unset" in {problem.code for problem in gateway.status().problems}
        began = time.time()
        board.answer(1)
        board.ring(2, "10086")
        wait_until(lambda: len(ledger.calls.open_calls()) == 2, "the other call is known")
        board.hang_up(2)
        wait_until(lambda: len(ledger.calls.open_calls()) == 1, "it is over, in 1970")
        clock.off, held = 0.0, True
        board.hang_up(1)
        wait_until(lambda: not ledger.calls.open_calls(), "the call is over")
        gateway.keep_house()
        reachable = structs.replace(settings, platform=Platform(url=platform.url))
        gateway.reload(reachable, Phones(False))
        assert platform.wait_for(lambda: len(platform.records) == 2, 20.0)
        assert all(abs(record.started - began) <= 3 for record in platform.records)
    finally:
        gateway.stop()
        ledger.close()
        platform.stop()
        board.stop()
