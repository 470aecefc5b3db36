"""The demo's account finds whatever is lost, doubled or altered on the way."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.simulation.booking import BookedFile, BookedRecord
from agent.simulation.demo_account import Account, HeldFile, MadeRecording, settle
from agent.simulation.demo_story import Story
from agent.simulation.truth import TrueCall

CALL = TrueCall(3, "in", "13800138000", 1000.4, 1003.2, 1010.9)
MISSED = TrueCall(4, "unkown", "10086", 1001.0, None, 1009.0)
RECORD = BookedRecord("71", "M", 3, "in", "13800138000", 1000, 1010, 7, 1, 1, "body")
MISSED_RECORD = BookedRecord("72", "M", 4, "unkown", "10086", 1001, 1009, 0, 2, 0, "body")
RECORDING = MadeRecording("a.wav", 3, 1003.2, 7.7, "aa")
FILE = HeldFile(BookedFile("71", "a.wav", 100, "aa", "71_1_a.wav"), "aa")


def account(
    records: list[BookedRecord], files: list[HeldFile], recordings: list[MadeRecording]
) -> Account:
    return settle([CALL, MISSED], recordings, records, files)


def test_all_agrees_where_every_call_and_byte_arrived_once() -> None:
    found = account([RECORD, MISSED_RECORD], [FILE], [RECORDING])
    assert found.differences == []
    assert found.agrees
    assert (found.calls, found.records, found.recordings, found.files, found.equal) == (
        2,
        2,
        1,
        1,
        1,
    )
    assert "| digests equal at both ends   |      1 |" in found.table()


def test_no_calls_at_all_is_no_success() -> None:
    assert not settle([], [], [], []).agrees


@pytest.mark.parametrize(
    ("records", "files", "expected"),
    [
        ([RECORD], [FILE], "lost: no record"),
        ([RECORD, MISSED_RECORD], [], "lost: recording of port 3"),
        ([RECORD, replace(RECORD, callid="73"), MISSED_RECORD], [FILE], "doubled: 2 records"),
        ([RECORD, MISSED_RECORD, replace(RECORD, callid="73", channel=5)], [FILE], "no call"),
        ([RECORD, MISSED_RECORD], [FILE, FILE], "doubled: recording of port 3"),
        ([replace(RECORD, phone="1380013800"), MISSED_RECORD], [FILE], "altered: number"),
        ([replace(RECORD, direction="out"), MISSED_RECORD], [FILE], "altered: direction"),
        ([replace(RECORD, duration=4), MISSED_RECORD], [FILE], "altered: duration"),
        ([replace(RECORD, started=1003), MISSED_RECORD], [FILE], "lost: no record"),
        ([replace(RECORD, recorded=0), MISSED_RECORD], [FILE], "altered: record 71"),
        ([RECORD, MISSED_RECORD], [replace(FILE, sha256="bb")], "lost: recording of port 3"),
        ([RECORD, MISSED_RECORD], [replace(FILE, sha256="bb")], "altered: file 71_1_a.wav"),
        (
            [RECORD, replace(MISSED_RECORD, recorded=1)],
            [replace(FILE, booked=replace(FILE.booked, callid="72"))],
            "another call's record",
        ),
    ],
)
def test_each_difference_is_named(
    records: list[BookedRecord], files: list[HeldFile], expected: str
) -> None:
    found = account(records, files, [RECORDING])
    assert not found.agrees
    assert any(expected in line for line in found.differences), found.differences


def test_no_number_is_shown_whole() -> None:
    story = Story()
    lines = [
        {"event": "state", "channel": 1, "state": 3, "peer": 2, "phone": ""},
        {"event": "state", "channel": 1, "state": 3, "peer": 2, "phone": "13800138000"},
        {"event": "state", "channel": 1, "state": 2, "peer": 2, "phone": "13800138000"},
        {
            "event": "call",
            "channel": 1,
            "phone": "13800138000",
            "answered": 10.0,
            "ended": 15.5,
        },
    ]
    assert [story.tell(line) for line in lines] == [
        "port 1  rings",
        "port 1  the number is 138****8000",
        "port 1  answered, 138****8000",
        "port 1  hung up after 5.5 s with 138****8000",
    ]
