"""Who is woken by what boards say: each thread by what makes something due for it, and no other.

A wake-up too many costs a busy gateway most of what a change of a port costs; one that is missing
leaves a call unsent until its lane looks by itself, a minute later.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.boards.events import ChannelState, LineState
from agent.gateway import Gateway
from agent.ledger import Ledger
from agent.logs import Phones
from agent.settings import Board, Platform, Recordings, Settings
from tests.clocks import HandClock
from tests.gateway import PATIENCE, Box, box, wait_until
from tests.ledgers import add_recording, ledger_in, state_of
from tests.rooms import unwritable

ON_HOOK, RINGING, IN_CALL = LineState.ON_HOOK, LineState.RINGING, LineState.IN_CALL
PHONE = "13800138000"


class Desk:
    """A whole gateway whose threads don't run: what they would be woken for is counted."""

    def __init__(self, folder: Path, clock: HandClock, ledger: Ledger) -> None:
        recordings = folder / "recordings"
        recordings.mkdir()
        settings = Settings(
            platform=Platform(url="http://127.0.0.1:9/nobody"),
            boards=(Board(port=str(folder / "board1")),),
            recordings=Recordings(directory=str(recordings)),
            state_directory=str(folder / "state"),
        )
        self.clock = clock
        self.ledger = ledger
        self.gateway = Gateway(settings, ledger, clock, Phones(False), on_change=lambda: None)
        self.say(ON_HOOK)

    def say(self, state: LineState, phone: str = "") -> dict[str, int]:
        """The board says port 1; return what was rung for, and how often."""
        before = self.rings()
        event = ChannelState(1, state, phone=phone)
        self.gateway._lines.switchboard.hear(1, [event], self.clock.stamp())
        self.clock.turn(1)
        return {who: rings - before[who] for who, rings in self.rings().items()}

    def rings(self) -> dict[str, int]:
        uplink = self.gateway._uplink
        return {
            "records": uplink.bells.records.rings,
            "recordings": uplink.bells.recordings.rings,
            "reports": uplink.reporter.bell.rings,
        }


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def desk(tmp_path: Path, clock: HandClock) -> Iterator[Desk]:
    (tmp_path / "state").mkdir()
    with ledger_in(tmp_path / "state", clock) as ledger:
        yield Desk(tmp_path, clock, ledger)


def test_what_becomes_known_during_a_call_wakes_no_lane(desk: Desk) -> None:
    for said in ((RINGING, ""), (RINGING, PHONE), (IN_CALL, PHONE)):
        rung = desk.say(*said)
        assert (rung["records"], rung["recordings"]) == (0, 0)


@pytest.mark.parametrize("begin", [RINGING, IN_CALL])
def test_the_end_of_a_call_wakes_who_sends_records_be_its_own_due_now_or_later(
    desk: Desk, begin: LineState
) -> None:
    desk.say(begin)
    rung = desk.say(ON_HOOK)
    assert (rung["records"], rung["recordings"]) == (1, 0)


def test_an_end_that_the_ledger_takes_later_wakes_who_sends_records_then(
    desk: Desk, tmp_path: Path
) -> None:
    desk.say(RINGING)
    with unwritable(tmp_path / "state"):
        assert desk.say(ON_HOOK)["records"] == 0
    before = desk.rings()["records"]
    desk.gateway.keep_house()
    assert desk.rings()["records"] > before


def test_a_recording_that_waited_wakes_who_sends_its_record_as_its_call_is_known(
    desk: Desk,
) -> None:
    began = time.strftime("%Y%m%d-%H%M%S", time.localtime(desk.clock.wall()))
    recording = add_recording(desk.ledger, None, f"{began}_1_in_{PHONE}.wav")
    assert state_of(desk.ledger, recording) == "waiting for its call"
    assert desk.say(RINGING, PHONE)["records"] == 1
    assert state_of(desk.ledger, recording) == "waiting for its record"


def test_changes_ask_for_one_report_until_it_is_made(desk: Desk) -> None:
    desk.gateway._uplink.reporter._wanted = False
    rung = [desk.say(state)["reports"] for state in (RINGING, IN_CALL, ON_HOOK)]
    assert rung == [1, 0, 0]


# The whole daemon, which would look by itself a minute later.


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made
        assert made.platform.violations == []


def test_the_record_of_a_call_that_ended_goes_at_once(gateway: Box) -> None:
    gateway.start(reports={"interval": 300}, polls={"messages": 300, "calls": 300})
    for count in (1, 2):
        gateway.board.ring(2, "075512345678")
        gateway.board.hang_up(2)
        gateway.wait_for_records(count)


def test_a_recording_that_waits_for_its_call_goes_with_it_at_once(gateway: Box) -> None:
    gateway.start(recordings={"attach_window": PATIENCE * 10})
    audio = gateway.record(3, "in", PHONE, seconds=30.0, ago=0.0)
    wait_until(lambda: "waits for its call" in gateway.log, "the recording is found")
    gateway.board.ring(3, PHONE)
    gateway.board.answer(3)
    gateway.board.hang_up(3)
    gateway.wait_for_files(1)
    (file,) = gateway.platform.files
    assert file.sha256 == hashlib.sha256(audio).hexdigest()
