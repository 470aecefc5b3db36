"""The storm's account finds what is lost, doubled or altered, and forgives only the unknowable."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from agent.simulation.booking import BookedFile, BookedRecord
from agent.simulation.demo_account import HeldFile, MadeRecording
from agent.simulation.torture_account import StormAccount, judge
from agent.simulation.torture_hearing import WRITING, listen
from agent.simulation.truth import TrueCall, call_line

PHONE = "13800138000"
CALL = TrueCall(3, "in", PHONE, 1000.4, 1003.2, 1010.9)
MISSED = TrueCall(4, "unkown", "10086", 1001.0, None, 1009.0)
RECORD = BookedRecord("71", "M", 3, "in", PHONE, 1000, 1010, 7, 1, 1, "body")
MISSED_RECORD = BookedRecord("72", "M", 4, "unkown", "10086", 1001, 1009, 0, 2, 0, "body")
RECORDING = MadeRecording("a.wav", 3, 1003.2, 7.7, "aa")
FILE = HeldFile(BookedFile("71", "a.wav", 100, "aa", "71_1_a.wav"), "aa")


def state(at: float, channel: int, phone: str, state: int = 3) -> dict[str, Any]:
    return {
        "event": "state",
        "at": at,
        "channel": channel,
        "state": state,
        "peer": 2,
        "phone": phone,
    }


def sync(at: float) -> dict[str, Any]:
    return {"event": "sync", "at": at}


def damaged(at: float, channel: int | None) -> dict[str, Any]:
    return {"event": "damaged", "at": at, "channel": channel}


LINES = [
    sync(990.0),
    state(1000.4, 3, ""),
    state(1001.0, 4, ""),
    state(1001.4, 3, PHONE),
    state(1002.0, 4, "10086"),
    state(1003.2, 3, PHONE, 2),
    state(1009.0, 4, "", 1),
    state(1010.9, 3, "", 1),
]


def account(
    records: list[BookedRecord],
    *lines: dict[str, Any],
    kills: tuple[float, ...] = (),
    files: tuple[HeldFile, ...] = (FILE,),
) -> StormAccount:
    """Judge CALL and MISSED by their records, with more lines in the board's journal."""
    calls = [CALL, MISSED]
    journal = [*LINES, *lines, *map(call_line, calls)]
    return judge(listen(journal, kills, calls), [RECORDING], records, files)


def test_all_agrees_where_every_call_and_byte_arrived_once() -> None:
    found = account([RECORD, MISSED_RECORD])
    assert found.differences == []
    assert (found.calls, found.records, found.files, found.unheard) == (2, 2, 1, 0)


@pytest.mark.parametrize(
    ("records", "files", "expected"),
    [
        ([RECORD], (FILE,), "lost: no record of the unkown call"),
        ([RECORD, MISSED_RECORD], (), "lost: recording of port 3"),
        ([RECORD, replace(RECORD, callid="73"), MISSED_RECORD], (FILE,), "doubled: 2 records"),
        (
            [RECORD, replace(RECORD, callid="73", started=1020), MISSED_RECORD],
            (FILE,),
            "belongs to no call",
        ),
        (
            [RECORD, MISSED_RECORD],
            (FILE, replace(FILE, booked=replace(FILE.booked, callid="72"))),
            "doubled: recording of port 3 came 2 times",
        ),
        ([RECORD, MISSED_RECORD], (replace(FILE, sha256="bb"),), "its bytes are no recording's"),
        ([replace(RECORD, phone=PHONE[:-1]), MISSED_RECORD], (FILE,), "altered: number"),
        ([replace(RECORD, direction="out"), MISSED_RECORD], (FILE,), "altered: direction"),
        ([replace(RECORD, duration=3), MISSED_RECORD], (FILE,), "altered: duration 3"),
        ([replace(RECORD, ended=1016), MISSED_RECORD], (FILE,), "altered: hang-up 1016"),
        ([RECORD, replace(MISSED_RECORD, ended=1003)], (FILE,), "altered: hang-up 1003"),
        ([RECORD, replace(MISSED_RECORD, duration=8)], (FILE,), "altered: duration 8"),
        ([replace(RECORD, recorded=0), MISSED_RECORD], (FILE,), "altered: record 71"),
    ],
)
def test_each_difference_is_named(
    records: list[BookedRecord], files: tuple[HeldFile, ...], expected: str
) -> None:
    found = account(records, files=files)
    assert not found.agrees
    assert any(expected in line for line in found.differences), found.differences


def test_a_call_missed_while_the_daemon_was_dead_is_unheard_and_not_lost() -> None:
    found = account([RECORD], sync(1009.5), kills=(1000.7,))
    assert found.unheard == 1
    assert found.lost == []


def test_a_call_missed_while_the_daemon_was_dead_must_still_not_be_booked_twice() -> None:
    twice = [RECORD, MISSED_RECORD, replace(MISSED_RECORD, callid="73")]
    assert "2 records" in account(twice, sync(1009.5), kills=(1000.7,)).doubled[0]


def test_a_missed_call_of_which_any_line_got_through_must_be_booked() -> None:
    assert account([RECORD], sync(1008.9), kills=(1000.7,)).lost
    assert account([RECORD], sync(1009.5), kills=(1001.0 + WRITING + 0.1,)).lost


def test_a_call_answered_while_the_daemon_was_dead_must_be_booked_by_its_recording() -> None:
    own = replace(RECORD, started=1003, ended=1010)
    dead = sync(1012.0)
    assert account([own, MISSED_RECORD], dead, kills=(1000.0,)).differences == []
    assert account([MISSED_RECORD], dead, kills=(1000.0,)).lost
    late = account([own, MISSED_RECORD], sync(1005.0), kills=(999.0,))
    assert "no record of the in call" in late.lost[0]


def test_an_end_that_nobody_heard_may_be_booked_late_but_no_shorter_than_the_recording() -> None:
    for ended, good in ((1015, True), (1010, True), (1005, False), (1020, False)):
        record = replace(RECORD, ended=ended, duration=ended - 1003)
        found = account([record, MISSED_RECORD], sync(1015.0), kills=(1010.0,))
        assert found.altered == [] if good else found.altered


def test_an_unanswered_number_that_nobody_heard_whole_may_be_cut_but_not_another() -> None:
    dead, killed = sync(1009.5), (1001.9,)
    for phone, good in (("", True), ("100", True), ("86", False)):
        found = account(
            [RECORD, replace(MISSED_RECORD, phone=phone)], dead, kills=killed, files=(FILE,)
        )
        assert found.altered == [] if good else found.altered


def test_a_number_that_was_heard_must_be_booked_whole() -> None:
    cut = replace(MISSED_RECORD, phone="")
    assert account([RECORD, cut], sync(1009.5), kills=(1002.0 + WRITING + 0.1,)).altered


def test_a_line_that_the_cable_damaged_is_not_heard_until_the_ports_next_one() -> None:
    late = replace(MISSED_RECORD, ended=1013)
    assert account([RECORD, late]).altered
    assert account([RECORD, late], damaged(1009.0, 4), sync(1013.0)).altered == []
    assert account([RECORD, late], damaged(1009.0, 3), sync(1013.0)).altered
    assert account([RECORD, late], damaged(1009.0, None), sync(1013.0)).altered


def test_a_line_is_damaged_a_moment_after_what_it_tells_of() -> None:
    late = replace(MISSED_RECORD, ended=1013)
    assert account([RECORD, late], damaged(1009.0004, 4), sync(1013.0)).altered == []


def test_two_calls_in_a_row_are_told_apart_by_the_whole_seconds_of_their_records() -> None:
    ended = TrueCall(4, "unkown", "10086", 1001.6, None, 1002.69)
    begun = TrueCall(4, "unkown", "10010", 1002.7, None, 1006.0)
    lines = [
        *(state(1001.6, 4, "10086"), state(1002.69, 4, "", 1)),
        *(state(1002.7, 4, "10010"), state(1006.0, 4, "", 1)),
    ]
    records = [
        replace(MISSED_RECORD, started=1001, ended=1002),
        replace(MISSED_RECORD, callid="73", started=1002, ended=1006, phone="10010"),
    ]
    assert judge(listen(lines, [], [ended, begun]), [], records, []).differences == []


def test_a_record_is_of_the_call_that_it_tells_though_the_next_one_began_nearer_to_its_second() -> (
    None
):
    missed = TrueCall(3, "unkown", "10086", 1000.7, None, 1001.6)
    dialled = TrueCall(3, "out", PHONE, 1002.1, 1002.1, 1005.5)
    lines = [
        sync(990.0),
        state(1000.7, 3, ""),
        state(1001.0, 3, "10086"),
        state(1001.6, 3, "", 1),
        state(1002.1, 3, PHONE, 2),
        state(1005.5, 3, "", 1),
        call_line(missed),
        call_line(dialled),
    ]
    records = [
        BookedRecord("71", "M", 3, "unkown", "10086", 1001, 1001, 0, 1, 0, "body"),
        BookedRecord("72", "M", 3, "out", PHONE, 1002, 1005, 3, 2, 0, "body"),
    ]
    found = judge(listen(lines, [], [missed, dialled]), [], records, [])
    assert found.differences == []


def test_an_answer_to_a_sync_that_the_cable_damaged_was_no_answer() -> None:
    late = replace(MISSED_RECORD, ended=1016)
    lines = (damaged(1009.0, 4), sync(1010.0), damaged(1010.0, 4), sync(1016.0))
    assert account([RECORD, late], *lines).altered == []
    assert account([RECORD, late], damaged(1009.0, 4), sync(1010.0), sync(1016.0)).altered


def test_what_the_board_says_to_a_dead_daemon_is_not_heard() -> None:
    # Port 4's number is said at 1002.0, with nobody there.
    cut = replace(MISSED_RECORD, phone="")
    assert account([RECORD, cut], sync(1009.5), kills=(1001.9,)).altered == []


SECOND = TrueCall(4, "unkown", "10010", 1012.2, None, 1015.0)
SECOND_LINES = (state(1012.2, 4, ""), state(1012.9, 4, "10010"), state(1015.0, 4, "", 1))
AS_ONE = replace(MISSED_RECORD, phone="10010", ended=1015)


def of_two(records: list[BookedRecord], *lines: dict[str, Any]) -> StormAccount:
    """Judge MISSED and SECOND; the daemon was killed at 1001.5, before the first one's number."""
    calls = [MISSED, SECOND]
    journal = [*LINES, *SECOND_LINES, *lines, *map(call_line, calls)]
    return judge(listen(journal, [1001.5 + WRITING], calls), [], records, [])


def test_two_unanswered_calls_that_look_like_one_may_be_booked_as_one() -> None:
    found = of_two([AS_ONE], sync(1012.8))
    assert (found.differences, found.unheard) == ([], 1)
    both = [replace(MISSED_RECORD, phone=""), replace(AS_ONE, callid="73", started=1012)]
    assert of_two(both, sync(1012.8)).differences == []


def test_two_calls_that_a_second_of_ringing_tells_apart_must_be_booked_apart() -> None:
    assert of_two([AS_ONE], sync(1013.5)).lost
    assert of_two([AS_ONE], sync(1010.0)).lost
