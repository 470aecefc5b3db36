"""Reports of disk and ports, over real HTTP, by a clock that the test turns."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.boards.events import ChannelState, LineState, Peer
from agent.clock import Clock, SystemClock, TrustedClock
from agent.delivery.gate import Gate, Shut
from agent.ledger import Ledger, open_ledger
from agent.periods import FIRST_WITHIN, JITTER
from agent.platform.client import PlatformClient
from agent.recordings.disk import Disk, DiskStatus
from agent.reports import SHORTEST_GAP, Reporter
from agent.settings import Platform, Reports, Retry
from agent.simulation.platform import SimulatedPlatform
from agent.switchboard import Switchboard
from tests.clocks import NOON, HandClock
from tests.rooms import SOUND_DISK, TurningBell, TurningStop

SATELLITE = "02:00:00:00:00:01"
INTERVAL = 30.0


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[SimulatedPlatform]:
    with SimulatedPlatform(tmp_path / "platform") as running:
        yield running


class Box:
    """A reporter with all that it needs."""

    def __init__(self, folder: Path, platform: SimulatedPlatform, clock: Clock) -> None:
        self.clock = clock
        state = folder / "state"
        state.mkdir()
        self.ledger: Ledger = open_ledger(state, clock)
        self.platform = platform
        self.disk = SOUND_DISK
        self.drawn = 0.0
        """The jitter, from 0 to 1: none."""
        self.gate = Gate(Retry(), clock, lambda: None, lambda: 0.5)
        time = TrustedClock(clock, lambda: True)
        self.switchboard = Switchboard(
            {1: 2, 7: 1},
            self.ledger,
            clock,
            time,
            15.0,
            # Its bell is another one in some tests.
            on_change=lambda: self.reporter.changed(),  # noqa: PLW0108
            on_calls=lambda: None,
            on_dial_answer=lambda board, answer: None,
        )
        self.reporter = Reporter(
            Reports(interval=INTERVAL),
            self.switchboard,
            self.gate,
            clock,
            time,
            lambda: self.drawn,
            disk=lambda: self.disk,
            lan_address=lambda: "192.0.2.7",
            read_identity=lambda: None,
        )
        for board in (1, 7):
            self.switchboard.link(board, True, clock.stamp())
        self.client = PlatformClient(Platform(url=platform.url), lambda: SATELLITE, clock)

    def say(self, channel: int, state: LineState, phone: str = "", **more: Any) -> None:
        event = ChannelState(channel, state, phone=phone, **more)
        self.switchboard.hear(1, [event], self.clock.stamp())

    def told(self) -> dict[str, Any]:
        """The field `status` of a report, as the platform reads it."""
        status: dict[str, Any] = json.loads(self.reporter.status())
        return status

    def run(self, rounds: int, between: list[Callable[[], None]] | None = None) -> list[float]:
        """Report until so many waits are over, in the test's thread; return the waits."""
        assert isinstance(self.clock, HandClock)
        stop = TurningStop(self.clock)
        bell = TurningBell(self.clock, stop, rounds)
        bell.between = between or []
        self.reporter.bell = bell
        self.reporter.run(self.client, 100.0, stop, lambda seconds: None)
        return bell.waits

    def close(self) -> None:
        self.client.close()
        self.ledger.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def box(tmp_path: Path, platform: SimulatedPlatform, clock: HandClock) -> Iterator[Box]:
    made = Box(tmp_path, platform, clock)
    yield made
    made.close()


# What a report says (PROTOCOL.md 2.1).


def test_a_report_is_as_the_protocol_shows_it(box: Box, clock: HandClock) -> None:
    box.say(1, LineState.RINGING, "13800138000")
    clock.turn(4)
    box.say(1, LineState.IN_CALL, "13800138000", peer=Peer.INCOMING)
    clock.turn(35.9)
    assert box.reporter.report(box.client)
    (report,) = box.platform.reports
    assert report["satellite"] == SATELLITE
    assert report["id"] == 1
    assert report["time"] == int((NOON + 39.9) * 1000)
    assert report["status"] == {
        "diskUsagePercent": "20",
        "diskSize": "100",
        "diskSurplusSize": "80",
        "diskStatus": 0,
        "ip": "192.0.2.7",
        "channels": [
            {
                "ch": "1",
                "state": "2",
                "phone": "13800138000",
                "timelen": "35",
                "peer": "2",
                "serial": "1",
            },
            {"ch": "2", "state": "0", "phone": "", "timelen": "0", "peer": "0", "serial": "1"},
            {"ch": "1", "state": "0", "phone": "", "timelen": "0", "peer": "0", "serial": "7"},
        ],
    }
    assert box.platform.violations == []


def test_reports_are_numbered(box: Box) -> None:
    for _ in range(3):
        box.reporter.report(box.client)
    assert [report["id"] for report in box.platform.reports] == [1, 2, 3]


@pytest.mark.parametrize("state", list(LineState))
def test_each_state_of_a_port_is_reported_as_its_number(box: Box, state: LineState) -> None:
    box.say(1, state)
    assert box.told()["channels"][0]["state"] == str(int(state))


def test_a_report_is_written_anew_only_where_it_tells_something_else(box: Box) -> None:
    first = box.reporter.status()
    assert box.reporter.status() is first
    box.say(1, LineState.RINGING)
    assert box.reporter.status() != first


def test_the_length_of_a_call_counts_from_its_answer(box: Box, clock: HandClock) -> None:
    box.say(2, LineState.RINGING)
    clock.turn(20)
    assert box.told()["channels"][1]["timelen"] == "0"
    box.say(2, LineState.IN_CALL)
    clock.jump(5000)
    clock.turn(7)
    assert box.told()["channels"][1]["timelen"] == "7"
    box.say(2, LineState.ON_HOOK)
    assert box.told()["channels"][1]["timelen"] == "0"


def test_the_ports_of_a_board_whose_link_is_down_are_not_connected(
    box: Box, clock: HandClock
) -> None:
    box.say(1, LineState.ON_HOOK)
    box.switchboard.link(1, False, clock.stamp())
    assert [channel["state"] for channel in box.told()["channels"]] == ["0", "0", "0"]
    box.switchboard.link(1, True, clock.stamp())
    assert box.told()["channels"][0]["state"] == "1"


def test_of_a_pool_only_the_port_whose_own_link_is_down_is_not_connected(
    box: Box, clock: HandClock
) -> None:
    box.say(1, LineState.ON_HOOK)
    box.say(2, LineState.ON_HOOK)
    box.switchboard.link(1, False, clock.stamp(), (2,))
    assert [channel["state"] for channel in box.told()["channels"]] == ["1", "0", "0"]


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (DiskStatus.NORMAL, 0),
        (DiskStatus.NO_DISK, -1),
        (DiskStatus.NOT_MOUNTED, -2),
        (DiskStatus.NOT_WRITABLE, -3),
        (DiskStatus.FULL, -4),
    ],
)
def test_each_fault_of_the_disk_has_its_number(box: Box, status: DiskStatus, number: int) -> None:
    box.disk = Disk(0, 0, 0, status, "why")
    box.reporter.report(box.client)
    told = box.platform.reports[0]["status"]
    assert told["diskStatus"] == number
    assert (told["diskUsagePercent"], told["diskSize"]) == ("0", "0")
    assert box.platform.violations == []


@pytest.mark.parametrize(
    ("unit", "size"), [("B", 104_857_600), ("KiB", 102_400), ("MiB", 100), ("GiB", 0)]
)
def test_the_unit_of_the_disks_size_is_the_configured_one(box: Box, unit: Any, size: int) -> None:
    box.reporter._settings = Reports(disk_unit=unit)
    assert box.told()["diskSize"] == str(size)


def test_a_clock_that_was_never_set_reports_the_platforms_time(
    tmp_path: Path, platform: SimulatedPlatform
) -> None:
    clock = HandClock(wall_time=1000.0)
    box = Box(tmp_path, platform, clock)
    box.reporter._time.hear(NOON)
    clock.turn(2)
    box.reporter.report(box.client)
    assert platform.reports[0]["time"] == int((NOON + 2) * 1000)
    box.close()


# When it is sent.


def test_reports_go_at_the_interval(box: Box) -> None:
    box.run(rounds=5)
    times = [report["time"] / 1000 for report in box.platform.reports]
    assert len(times) == 5
    for earlier, later in pairwise(times):
        assert later - earlier == pytest.approx(INTERVAL, abs=0.002)


def test_gateways_started_together_do_not_report_together_and_fall_out_of_step(box: Box) -> None:
    box.drawn = 0.5
    box.run(rounds=2)
    first, second = (report["time"] / 1000 for report in box.platform.reports)
    assert first - NOON == pytest.approx(FIRST_WITHIN * 0.5, abs=0.002)
    assert second - first == pytest.approx(INTERVAL * (1 - JITTER * 0.5), abs=0.002)


def test_changes_that_come_together_make_one_report_and_changes_that_go_on_one_a_second(
    tmp_path: Path, platform: SimulatedPlatform
) -> None:
    box = Box(tmp_path, platform, SystemClock())
    stop = threading.Event()
    thread = threading.Thread(
        target=box.reporter.run, args=(box.client, 100.0, stop, lambda seconds: None)
    )
    thread.start()
    try:
        assert platform.desk.wait_for(lambda: len(platform.desk.reports) == 1, 20)
        begun = time.monotonic()
        states = [LineState.RINGING, LineState.ON_HOOK]
        while time.monotonic() < begun + 2.2:
            box.say(1, states[0])
            states.reverse()
            stop.wait(0.01)
        assert platform.desk.wait_for(lambda: len(platform.desk.reports) >= 3, 20)
    finally:
        stop.set()
        box.reporter.bell.ring()
        thread.join()
    received = [report["received"] for report in platform.reports]
    assert all(later - earlier >= SHORTEST_GAP * 0.95 for earlier, later in pairwise(received))
    assert platform.reports[-1]["id"] == len(received)
    box.close()


def test_of_the_changes_before_a_report_the_first_one_alone_asks_for_it(box: Box) -> None:
    for _ in range(2):
        box.run(rounds=1)
        rings = box.reporter.bell.rings
        for state in (LineState.RINGING, LineState.IN_CALL, LineState.ON_HOOK):
            box.say(1, state)
        assert box.reporter.bell.rings == rings + 1


def test_a_change_while_a_report_is_on_its_way_is_reported_after_it(box: Box) -> None:
    box.say(1, LineState.ON_HOOK)
    reported = box.reporter.report

    def report(client: PlatformClient) -> bool:
        taken = reported(client)
        if len(box.platform.reports) == 1:
            box.say(1, LineState.RINGING)
        return taken

    box.reporter.report = report  # type: ignore[method-assign]
    box.run(rounds=2)
    states = [report["status"]["channels"][0]["state"] for report in box.platform.reports]
    assert states == ["1", "3"]
    first, second = (report["time"] for report in box.platform.reports)
    assert second - first == pytest.approx(SHORTEST_GAP * 1000, abs=2)


def test_reports_go_on_through_an_outage_at_their_interval_and_find_its_end(box: Box) -> None:
    box.platform.faults.set("report:http", 503)
    mend: list[Callable[[], None]] = [
        lambda: None,
        lambda: None,
        box.platform.faults.clear,
    ]
    box.run(rounds=4, between=mend)
    assert box.platform.requests["report"] == 4
    assert len(box.platform.reports) == 1
    assert box.gate.view().shut is None


def test_a_report_that_fails_in_an_outage_does_not_put_off_the_next_probe(
    box: Box, clock: HandClock
) -> None:
    box.gate.failed(Shut.OUTAGE, "down", None)
    box.platform.faults.set("report:http", 503)
    box.run(rounds=2)
    assert box.gate.view().shut is Shut.OUTAGE
    assert box.gate.admit() == 0.0


def test_a_report_that_cannot_be_made_does_not_keep_the_probe(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.gate.failed(Shut.CONFIGURATION, "401", None)
    box.gate.probe_now()

    def broken() -> str:
        raise ArithmeticError

    with monkeypatch.context() as patched:
        patched.setattr(box.reporter, "status", broken)
        with pytest.raises(ArithmeticError):
            box.run(rounds=1)
    box.run(rounds=1)
    assert len(box.platform.reports) == 1


def test_reports_stop_where_the_configuration_is_refused_but_for_a_probe(box: Box) -> None:
    box.platform.faults.set("report:http", 401)
    box.run(rounds=10)  # five minutes, with a probe after three of them
    assert box.platform.requests["report"] == 2
    assert box.gate.view().shut is Shut.CONFIGURATION


def test_reports_begin_again_once_a_probe_is_accepted(box: Box) -> None:
    box.platform.faults.set("report:http", "401*1")
    box.run(rounds=9)
    assert box.gate.view().shut is None
    assert box.platform.requests["report"] >= 3


def test_without_an_identity_nothing_is_reported_and_it_is_said(
    tmp_path: Path,
    platform: SimulatedPlatform,
    clock: HandClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    box = Box(tmp_path, platform, clock)
    client = PlatformClient(Platform(url=platform.url), lambda: "", clock)
    assert not box.reporter.report(client)
    assert "MAC address" in caplog.text
    assert not platform.requests
    client.close()
    box.close()
