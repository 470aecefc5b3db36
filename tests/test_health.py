"""The table of problems: when each arises, what it says, how grave it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from agent.boards.events import LineState, Peer
from agent.boards.link import LinkView
from agent.clock import ClockView
from agent.delivery.gate import GateView, Shut
from agent.health import ProblemBook, Situation, assess
from agent.language import language
from agent.ledger.rows import QueueCounts
from agent.parts import PartView
from agent.problems import KINDS, Finding, Health, health_of
from agent.recordings.disk import Disk, DiskStatus
from agent.switchboard import ChannelView
from tests.clocks import NOON
from tests.rooms import SOUND_DISK

EMPTY_QUEUE = QueueCounts(0, 0, 0, None, 0, 0, 0, 0, 0)
LINK = LinkView(1, "native", "/dev/ttyS1", up=True, last_heard=NOON)
PORT = ChannelView(1, LineState.ON_HOOK, Peer.UNKNOWN, "", None, None)

WELL = Situation(
    links=(LINK,),
    channels={1: [PORT, replace(PORT, channel=2)]},
    gate=GateView(None, 0.0, "", NOON),
    queue=EMPTY_QUEUE,
    unusable=0,
    lost=0,
    disk=SOUND_DISK,
    keep_free_percent=10.0,
    clock=ClockView(trusted=True, unset=False, platform_ahead=0.3),
    satellite="02:00:00:00:00:01",
    recordings_trouble=None,
    damaged=(),
    unwritten=0,
    dropped=0,
    state_trouble="",
    parts=(PartView("reports", True, 0, ""),),
)


def faulty_port(channel: int) -> ChannelView:
    return replace(PORT, channel=channel, state=LineState.FAULT)


ARISE: list[tuple[str, Mapping[str, Any], str]] = [
    ("board-down", {"links": (replace(LINK, up=False, trouble="no such file"),)}, "no such file"),
    ("board-down", {"links": (replace(LINK, up=False),)}, "nothing is heard"),
    ("channel-fault", {"channels": {1: [PORT, faulty_port(2)]}}, "port 2 of board 1"),
    ("platform-unreachable", {"gate": GateView(Shut.OUTAGE, NOON, "refused", None)}, "refused"),
    ("platform-refuses", {"gate": GateView(Shut.CONFIGURATION, NOON, "401", None)}, "401"),
    ("platform-refuses", {"gate": GateView(None, 0.0, "", NOON, "the last 20 records")}, "last 20"),
    ("queue-attention", {"queue": replace(EMPTY_QUEUE, attention=1)}, "1 item refused"),
    ("queue-attention", {"queue": replace(EMPTY_QUEUE, attention=3)}, "3 items refused"),
    ("recording-unusable", {"unusable": 2}, "2 files found"),
    ("recording-missing", {"lost": 1}, "1 recording gone"),
    ("recordings-trouble", {"recordings_trouble": "it can't be read"}, "it can't be read"),
    ("disk-low", {"disk": replace(SOUND_DISK, percent=93)}, "7 %"),
    ("disk-fault", {"disk": Disk(0, 0, 0, DiskStatus.NO_DISK, "/x does not exist")}, "/x"),
    ("clock-unset", {"clock": ClockView(False, True, None)}, "long past"),
    ("clock-differs", {"clock": ClockView(False, False, 90.0)}, "90 s ahead of"),
    ("clock-differs", {"clock": ClockView(False, False, -90.0)}, "90 s behind"),
    ("identity-unknown", {"satellite": None}, "MAC address"),
    ("state-damaged", {"damaged": ("ledger-damaged-1.sqlite",)}, "ledger-damaged-1.sqlite"),
    ("state-unusable", {"state_trouble": "read-only"}, "read-only"),
    ("state-unusable", {"unwritten": 1}, "1 step of calls not written"),
    ("state-unusable", {"dropped": 2, "unwritten": 9}, "2 calls lost"),
    ("part-failed", {"parts": (PartView("polls", False, 2, "OSError: x"),)}, "OSError: x"),
    ("part-failed", {"parts": (PartView("polls", True, 2, "OSError: x", True),)}, "began anew"),
]


@pytest.mark.parametrize(("code", "change", "words"), ARISE)
def test_each_problem_arises_and_says_what_it_is_about(
    code: str, change: Mapping[str, Any], words: str
) -> None:
    (finding,) = assess(replace(WELL, **change))
    assert finding.code == code
    assert words in finding.message


@pytest.mark.parametrize(("code", "change", "words"), ARISE)
def test_each_problem_and_what_to_do_can_be_told_in_chinese(
    code: str, change: Mapping[str, Any], words: str
) -> None:
    chinese = language("zh_CN", {})
    foreign = ("refused", "401", "the last 20 records", "it can't be read", "/x does not exist")
    (finding,) = assess(replace(WELL, **change))
    # What a room found is told as that room gives it: here in words of the test.
    if finding.message not in (*foreign, "read-only"):
        assert re.search("[\u4e00-\u9fff]", chinese.tell(finding.message))
    assert re.search("[\u4e00-\u9fff]", chinese.say(KINDS[code].hint))


def test_every_code_of_the_table_can_arise() -> None:
    assert {code for code, _, _ in ARISE} == set(KINDS)


def test_the_codes_that_the_interface_names_are_in_the_table() -> None:
    named = {
        "board-down",
        "channel-fault",
        "platform-unreachable",
        "platform-refuses",
        "queue-attention",
        "disk-low",
        "disk-fault",
        "clock-unset",
        "identity-unknown",
        "state-damaged",
    }
    assert named <= set(KINDS)


@pytest.mark.parametrize("code", KINDS)
def test_every_problem_has_a_hint_that_says_what_to_do(code: str) -> None:
    assert len(KINDS[code].hint) > 20
    assert KINDS[code].hint.endswith(".") or KINDS[code].hint.endswith("?")


def test_where_all_is_well_nothing_is_found() -> None:
    assert assess(WELL) == []
    assert health_of([]) is Health.OK


def test_of_a_pool_with_a_link_down_the_other_ports_faults_are_still_seen() -> None:
    link = replace(LINK, up=False, trouble="port 1: gone", channels_up=frozenset({2}))
    situation = replace(WELL, links=(link,), channels={1: [faulty_port(1), faulty_port(2)]})
    codes = [(finding.code, finding.subject) for finding in assess(situation)]
    assert codes == [("board-down", "1"), ("channel-fault", "port 2 of board 1")]


# How grave it is.


@pytest.mark.parametrize("code", KINDS)
def test_only_what_may_lose_recordings_or_calls_is_failing(code: str) -> None:
    loses = {"disk-fault", "state-unusable", "part-failed"}
    expected = Health.FAILING if code in loses else Health.DEGRADED
    assert health_of([Finding(code, "", "")]) is expected


def test_the_gravest_problem_decides_wherever_it_stands() -> None:
    findings = [Finding("board-down", "1", ""), Finding("disk-fault", "", "")]
    assert health_of(findings) is Health.FAILING
    assert health_of(reversed(findings)) is Health.FAILING


def test_problems_stand_in_the_order_of_the_table() -> None:
    everything = replace(
        WELL,
        links=(replace(LINK, up=False), replace(LINK, serial=2)),
        channels={1: [], 2: [faulty_port(1)]},
        satellite=None,
        queue=replace(EMPTY_QUEUE, attention=1),
        unusable=1,
        lost=1,
        disk=replace(SOUND_DISK, percent=99),
        clock=ClockView(False, True, None),
        recordings_trouble="trouble",
        damaged=("a",),
        unwritten=1,
        parts=(PartView("polls", False, 0, ""),),
    )
    codes = [finding.code for finding in assess(everything)]
    assert codes == [code for code in KINDS if code in codes]
    assert len(codes) == 12


# What does not count.


def test_the_ports_of_a_board_that_is_down_are_no_problem_of_their_own() -> None:
    down = replace(WELL, links=(replace(LINK, up=False),), channels={1: [faulty_port(1)]})
    assert [finding.code for finding in assess(down)] == ["board-down"]


def test_several_boards_and_ports_are_told_apart() -> None:
    two = replace(
        WELL,
        links=(replace(LINK, up=False), replace(LINK, serial=2, up=False)),
        parts=(PartView("a", False, 0, ""), PartView("b", False, 0, "")),
    )
    assert len({(finding.code, finding.subject) for finding in assess(two)}) == 4


def test_trouble_with_the_directory_is_not_said_twice_where_the_disk_is_at_fault() -> None:
    fault = Disk(0, 0, 0, DiskStatus.NOT_MOUNTED, "nothing is mounted on /x")
    now = replace(WELL, disk=fault, recordings_trouble="it is not there")
    assert [finding.code for finding in assess(now)] == ["disk-fault"]


@pytest.mark.parametrize("percent", [80, 90, 91, 92])
def test_a_disk_that_is_kept_full_by_making_room_is_no_problem(percent: int) -> None:
    # Room is made by the minute: about keep_free_percent it always moves a little.
    assert assess(replace(WELL, disk=replace(SOUND_DISK, percent=percent))) == []


@pytest.mark.parametrize("ahead", [None, 0.0, 59.0, -59.0])
def test_clocks_that_about_agree_are_no_problem(ahead: float | None) -> None:
    assert assess(replace(WELL, clock=ClockView(False, False, ahead))) == []


def test_a_clock_that_was_never_set_is_one_problem_and_not_two() -> None:
    now = replace(WELL, clock=ClockView(False, True, 1e9))
    assert [finding.code for finding in assess(now)] == ["clock-unset"]


# Since when, and in the log.


def test_a_problem_keeps_its_time_while_it_stands_and_begins_anew_after_it_went() -> None:
    book = ProblemBook()
    finding = Finding("board-down", "1", "board 1: gone")
    assert book.update([finding], NOON)[0].since == NOON
    changed = Finding("board-down", "1", "board 1: still gone")
    (problem,) = book.update([changed], NOON + 50)
    assert (problem.since, problem.message) == (NOON, "board 1: still gone")
    assert problem.hint == KINDS["board-down"].hint
    assert book.update([], NOON + 60) == []
    assert book.update([finding], NOON + 70)[0].since == NOON + 70


def test_the_same_problem_of_two_boards_has_two_times() -> None:
    book = ProblemBook()
    one, two = Finding("board-down", "1", "a"), Finding("board-down", "2", "b")
    book.update([one], NOON)
    assert [problem.since for problem in book.update([one, two], NOON + 9)] == [NOON, NOON + 9]
    assert [problem.message for problem in book.update([two], NOON + 10)] == ["b"]


def test_the_log_says_once_that_a_problem_came_and_once_that_it_went(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "agent")
    book = ProblemBook()
    for second in range(5):
        book.update([Finding("board-down", "1", f"gone for {second} s")], NOON + second)
    for second in range(5):
        book.update([], NOON + 10 + second)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("WARNING", "problem board-down: gone for 0 s"),
        ("INFO", "solved: board-down 1"),
    ]
