"""Over each driver's own wire: the real daemon on a simulated board gets every call right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.gateway import PATIENCE, SATELLITE, Box, box, wait_until

PHONE = "8002404637"
DIALLED = "18004444444"
TOLERANCE = 2.0
"""Seconds: both ends round to whole ones."""
LISTENERS = ("whozz", "yes4")
"""Boards that cannot dial."""
DRIVERS = ("native", "modem", *LISTENERS)

Step = tuple[Callable[[], None], str]
"""What happens on a line, and the state by which the daemon shows that it heard."""


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_answered_a_missed_and_an_outgoing_call_are_booked_as_they_were(
    tmp_path: Path, driver: str
) -> None:
    with box(tmp_path, driver=driver) as gateway:
        gateway.start()
        # A modem tells of its handset in voice mode only, the last thing that it is told.
        wait_until(lambda: "firmware" in gateway.log, "the board is set up")
        audio: list[bytes] = []
        ports = (1, 2, 3) if gateway.board.channels > 2 else (1, 1, 1)
        answered, outgoing, missed = ports
        calls = [
            (answered, answered_call(gateway, answered, audio)),
            (outgoing, outgoing_call(gateway, outgoing)),
            (missed, missed_call(gateway, missed)),
        ]
        if len(set(ports)) == len(ports):
            at_the_same_time(gateway, calls)
        else:
            one_after_the_other(gateway, calls)
        gateway.wait_for_records(3)
        gateway.wait_for_files(1)
        booked = {
            (record.direction, record.channel): (record.phone, record.recorded)
            for record in gateway.platform.records
        }
        assert booked == {
            ("in", answered): (PHONE, 1),
            ("unkown", missed): (PHONE, 0),
            ("out", outgoing): (DIALLED, 0),
        }
        truth = {(call.direction, call.channel): call for call in gateway.board.calls}
        for record in gateway.platform.records:
            call = truth[record.direction, record.channel]
            assert abs(record.started - call.started) <= TOLERANCE
            assert abs(record.duration - call.duration) <= TOLERANCE
        assert [file.sha256 for file in gateway.platform.files] == [
            hashlib.sha256(data).hexdigest() for data in audio
        ]
        assert gateway.status["boards"][0]["bad_frames"] == 0
        assert gateway.platform.violations == []


def answered_call(gateway: Box, channel: int, audio: list[bytes]) -> list[Step]:
    board = gateway.board

    def rings() -> None:
        board.ring(channel)
        board.number(channel, PHONE)

    def hangs_up() -> None:
        audio.append(gateway.record(channel, "in", PHONE))
        board.hang_up(channel)

    return [(rings, "ringing"), (lambda: board.answer(channel), "in call"), (hangs_up, "idle")]


def missed_call(gateway: Box, channel: int) -> list[Step]:
    board = gateway.board
    return [(lambda: board.ring(channel, PHONE), "ringing"), (lambda: board.hang_up(channel), "")]


def outgoing_call(gateway: Box, channel: int) -> list[Step]:
    board = gateway.board

    def dials() -> None:
        board.off_hook(channel)
        for digit in DIALLED:
            board.digits(channel, digit)

    return [(dials, "in call"), (lambda: board.hang_up(channel), "idle")]


def at_the_same_time(gateway: Box, calls: list[tuple[int, list[Step]]]) -> None:
    for row in zip_longest(*(steps for _, steps in calls)):
        happening = [(channel, step) for (channel, _), step in zip(calls, row, strict=True) if step]
        for _, (happens, _state) in happening:
            happens()
        for channel, (_, state) in happening:
            if state:
                gateway.wait_for_state(channel, state)


def one_after_the_other(gateway: Box, calls: list[tuple[int, list[Step]]]) -> None:
    for channel, steps in calls:
        for happens, state in steps:
            happens()
            if state:
                gateway.wait_for_state(channel, state)


@pytest.mark.parametrize("driver", LISTENERS)
def test_a_call_asked_of_a_board_that_cannot_dial_fails_at_once_with_the_reason(
    tmp_path: Path, driver: str
) -> None:
    with box(tmp_path, driver=driver) as gateway:
        gateway.start()
        assert gateway.board.wait_for_sync(PATIENCE)
        gateway.board.ring(1, PHONE)
        gateway.wait_for_state(1, "ringing")
        gateway.platform.send_call(SATELLITE, 1, DIALLED)
        wait_until(lambda: gateway.status["dial"]["failed"] == 1, "the call failed")
        (errand,) = gateway.status["errands"]
        assert errand["outcome"] == f"board 1 cannot dial: its driver is {driver}"


def test_a_call_over_a_power_cut_is_one_call_though_the_box_cannot_be_asked(
    tmp_path: Path,
) -> None:
    with box(tmp_path, driver="whozz") as gateway:
        gateway.start()
        assert gateway.board.wait_for_sync(PATIENCE)
        gateway.board.ring(1, PHONE)
        gateway.board.answer(1)
        gateway.wait_for_state(1, "in call")
        gateway.kill()
        gateway.start()
        gateway.board.hang_up(1)
        gateway.wait_for_records(1)
        (call,) = gateway.board.calls
        (record,) = gateway.platform.records
        assert (record.direction, record.phone) == ("in", PHONE)
        assert abs(record.started - call.started) <= TOLERANCE
        assert abs(record.duration - call.duration) <= TOLERANCE
