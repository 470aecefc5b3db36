"""The status file: its shape, what it hides, how it is written."""

from __future__ import annotations

import json
import os
import re
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent import __version__
from agent.boards.events import LineState, Peer
from agent.boards.link import LinkView
from agent.clock import ClockView, Stamp
from agent.delivery.gate import GateView, Shut
from agent.language import counted, language, said
from agent.ledger.rows import DialCounts, Errand, ErrandState, QueueCounts
from agent.problems import Health, Problem
from agent.recordings.watcher import WatcherView
from agent.status import STATE_NAMES, Status, StatusFile, as_json, shown_url
from agent.status_words import as_words
from agent.switchboard import ChannelView
from tests.clocks import NOON
from tests.rooms import SOUND_DISK

PHONE = "13800138000"
CHINESE = language("zh_CN", {})

SHAPE = json.loads("""
{"version": 1, "agent": "1.0.0", "satellite": "00:00:00:00:00:01", "pid": 1,
 "started": 1563957071.0, "updated": 1563957099.0, "health": "ok",
 "problems": [{"code": "platform-unreachable", "since": 0, "message": "…", "hint": "…"}],
 "platform": {"url": "…", "reachable": true, "last_ok": 0, "last_error": null,
              "clock_offset": 0.2},
 "boards": [{"serial": 1, "driver": "native", "port": "…", "link": "up", "last_heard": 0,
             "frames": 0, "bad_frames": 0,
             "channels": [{"ch": 1, "state": 2, "name": "in call", "phone": "138****8000",
                           "peer": 2, "since": 0}]}],
 "disk": {"percent": 5, "size_mib": 0, "free_mib": 0, "status": 0},
 "queue": {"records_waiting": 0, "files_waiting": 0, "bytes_waiting": 0, "oldest_waiting": null,
           "attention": 0, "delivered": 0, "delivered_bytes": 0},
 "dial": {"waiting": 0, "placed": 0, "expired": 0, "failed": 0}}
""")
"""As the interface promises it."""

MOMENTS = {"since", "started", "updated", "last_ok", "last_heard", "oldest_waiting"}
"""UNIX seconds: any number."""

PORT = ChannelView(1, LineState.IN_CALL, Peer.INCOMING, PHONE, Stamp(NOON, 1.0), Stamp(NOON, 1.0))
ERRAND = Errand(
    id=7,
    kind="dial",
    entry="call-1",
    source="getCallList",
    board=1,
    channel=2,
    phone=PHONE,
    name="",
    parameters=(),
    state=ErrandState.FAILED,
    outcome="there is no line on the port",
    created=NOON,
    expires=60.0,
)
STATUS = Status(
    url="https://platform.example:8080/voip/api/upload_record",
    satellite="02:00:00:00:00:01",
    started=NOON - 100.0,
    updated=NOON,
    health=Health.DEGRADED,
    problems=[Problem("channel-fault", NOON - 5, "port 2 of board 1 reports a fault", "Check it.")],
    gate=GateView(None, 0.0, "", NOON - 1),
    clock=ClockView(trusted=True, unset=False, platform_ahead=0.23456),
    links=(LinkView(1, "native", "/dev/ttyS1", True, NOON - 2, 120, 3),),
    channels={1: [PORT, replace(PORT, channel=2, state=LineState.FAULT, phone="")]},
    disk=SOUND_DISK,
    queue=QueueCounts(1, 2, 3_000_000, NOON - 9, 1, 40, 50_000_000, 2, 1),
    dial=DialCounts(1, 2, 3, 4),
    errands=(ERRAND,),
    malformed=5,
    watcher=WatcherView("/recordings", None, NOON - 3, 17),
)


def disagreements(promised: Any, found: Any, where: str = "") -> Iterator[str]:
    """Where what was found is not of the promised shape."""
    key = where.rpartition(".")[2]
    if isinstance(promised, dict):
        if not isinstance(found, dict):
            yield f"{where}: no object"
            return
        for name, value in promised.items():
            if name not in found:
                yield f"{where}.{name}: missing"
            else:
                yield from disagreements(value, found[name], f"{where}.{name}")
    elif isinstance(promised, list):
        if not isinstance(found, list) or not found:
            yield f"{where}: no list, or an empty one, which proves nothing"
            return
        for one in found:
            yield from disagreements(promised[0], one, where)
    elif key in MOMENTS or isinstance(promised, float):
        if isinstance(found, bool) or not isinstance(found, int | float):
            yield f"{where}: {found!r} is no number"
    elif promised is None:
        if found is not None and not isinstance(found, str):
            yield f"{where}: {found!r} is neither null nor text"
    elif type(found) is not type(promised):
        yield f"{where}: {found!r} is not like {promised!r}"


def prints(text: str) -> bool:
    """Whether no character of it can move a cursor, break a line or turn it round."""
    categories = {unicodedata.category(character) for character in text}
    return not any(one[0] == "C" or one in {"Zl", "Zp"} for one in categories)


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)


# What it says.


def test_the_file_has_every_key_of_the_interface_with_its_type() -> None:
    assert list(disagreements(SHAPE, as_json(STATUS))) == []


def test_the_check_of_the_shape_finds_what_is_missing_or_of_another_type() -> None:
    told = as_json(STATUS)
    told["boards"][0]["channels"][0]["phone"] = 7
    del told["queue"]["attention"]
    told["disk"]["percent"] = "5"
    assert len(list(disagreements(SHAPE, told))) == 3


def test_what_it_says_is_what_the_agent_knows() -> None:
    told = as_json(STATUS)
    assert (told["version"], told["agent"], told["pid"]) == (1, __version__, os.getpid())
    assert (told["started"], told["updated"]) == (NOON - 100, NOON)
    assert told["health"] == "degraded"
    assert told["problems"] == [
        {
            "code": "channel-fault",
            "since": NOON - 5,
            "message": "port 2 of board 1 reports a fault",
            "hint": "Check it.",
            "template": "{message}",
            "values": {"message": "port 2 of board 1 reports a fault"},
        }
    ]
    assert told["platform"]["reachable"] is True
    assert told["platform"]["clock_offset"] == 0.235
    (board,) = told["boards"]
    assert (board["link"], board["frames"], board["bad_frames"]) == ("up", 120, 3)
    assert board["channels"][0] == {
        "ch": 1,
        "state": 2,
        "name": "in call",
        "phone": "138****8000",
        "peer": 2,
        "since": NOON,
        "heard": True,
    }
    assert board["channels"][1]["name"] == "line fault"
    assert told["disk"] == {"percent": 20, "size_mib": 100, "free_mib": 80, "status": 0}
    assert told["queue"]["bytes_waiting"] == 3_000_000
    assert told["dial"] == {"waiting": 1, "placed": 2, "expired": 3, "failed": 4}
    assert told["errands"][0]["outcome"] == "there is no line on the port"
    assert told["errands_malformed"] == 5


def test_every_state_of_a_port_has_a_name() -> None:
    assert set(STATE_NAMES) == set(LineState)


def test_a_port_of_which_nothing_is_known_yet_says_so() -> None:
    unknown = ChannelView(1, None, Peer.UNKNOWN, "", None, None)
    told = as_json(replace(STATUS, channels={1: [unknown]}))["boards"][0]["channels"][0]
    assert (told["state"], told["name"], told["since"]) == (0, "not known yet", 0)


@pytest.mark.parametrize(
    ("gate", "reachable"),
    [
        (GateView(None, 0.0, "", None), False),
        (GateView(None, 0.0, "", NOON), True),
        (GateView(Shut.OUTAGE, NOON, "refused", NOON), False),
        (GateView(Shut.CONFIGURATION, NOON, "401", NOON), False),
    ],
)
def test_a_platform_is_reachable_once_it_answered_and_until_it_is_lost(
    gate: GateView, reachable: bool
) -> None:
    told = as_json(replace(STATUS, gate=gate))["platform"]
    assert told["reachable"] is reachable
    assert told["last_error"] == (gate.reason or None)


def test_the_status_before_anything_is_known_has_the_same_keys() -> None:
    nothing = replace(
        STATUS,
        satellite=None,
        problems=(),
        gate=GateView(None, 0.0, "", None),
        clock=ClockView(False, False, None),
        links=(),
        channels={},
        queue=QueueCounts(0, 0, 0, None, 0, 0, 0, 0, 0),
        errands=(),
        watcher=None,
    )
    told = as_json(nothing)
    assert set(told) == set(as_json(STATUS))
    assert told["satellite"] is None
    assert "without a MAC address" in as_words(told)
    assert "last answer never" in as_words(told)


# What it hides.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://user:secret@platform.example:8443/voip/api?sa_password=ABC#part",
            "https://platform.example:8443/voip/api",
        ),
        ("http://[2001:db8::1]:8080/x?y", "http://[2001:db8::1]:8080/x"),
        ("http://platform.example", "http://platform.example"),
        ("http://platform.example/a\x1b[2Jb", "http://platform.example/a\\x1b[2Jb"),
    ],
)
def test_the_url_is_shown_without_account_query_and_control_characters(
    url: str, shown: str
) -> None:
    assert shown_url(url) == shown


HOSTILE = f"call {PHONE}\x1b[2J\n\r\x00\u202e\u2028 and 0086{PHONE}, *69#{PHONE}\udcff"


def hostile_status(text: str) -> Status:
    """A status in which everybody who has a word in it says `text`."""
    return replace(
        STATUS,
        url=f"http://platform.example/{text}",
        problems=[Problem("platform-refuses", NOON, text, "Check it.")],
        gate=GateView(Shut.OUTAGE, NOON, text, NOON),
        links=(LinkView(1, "native", text, trouble=text),),
        channels={1: [replace(PORT, phone=text), PORT]},
        errands=(replace(ERRAND, phone=text, name=text, outcome=text), ERRAND),
        watcher=WatcherView("/x", text, None, 0),
    )


def test_no_whole_telephone_number_stands_in_either_file() -> None:
    # The URL and the name of the device are the configuration's own.
    links = (LinkView(1, "native", "/dev/ttyS1", trouble=HOSTILE),)
    told = as_json(replace(hostile_status(HOSTILE), url=STATUS.url, links=links))
    for text in (*texts(told), as_words(told)):
        assert not re.search(r"[0-9*#+]*[0-9]{7,}", text), text
    assert "138****8000" in as_words(told)


def test_no_control_character_of_anybody_stands_in_either_file() -> None:
    told = as_json(hostile_status(HOSTILE))
    for text in texts(told):
        assert prints(text), text
    words = as_words(told)
    assert all(prints(line) for line in words.split("\n"))
    assert json.dumps(told, ensure_ascii=False).encode("utf-8")


def test_one_who_says_too_much_is_cut() -> None:
    told = as_json(hostile_status("x" * 1_000_000))
    assert len(json.dumps(told)) < 10_000


@given(st.text())
def test_whatever_anybody_says_the_files_stay_printable(text: str) -> None:
    told = as_json(replace(hostile_status(text), url=STATUS.url))
    assert all(prints(one) for one in texts(told))
    assert all(prints(line) for line in as_words(told).split("\n"))


# In words.


def test_the_words_begin_with_health_and_problems_and_name_each_port() -> None:
    words = as_words(as_json(STATUS)).splitlines()
    assert words[0].startswith(f"smarttel-agent {__version__}: degraded")
    assert words[3].startswith("!! channel-fault since 20")
    assert words[4] == "   Check it."
    text = "\n".join(words)
    assert "1 records and 2 recordings wait" in text
    assert "board 1   native on /dev/ttyS1: link up, 120 lines heard, 3 bad" in text
    assert "   port  1  in call        138****8000" in words
    assert "   port  2  line fault" in words


@pytest.mark.parametrize("moment", [1e20, float("inf"), -1e20])
def test_a_moment_that_no_calendar_has_is_no_error(moment: float) -> None:
    told = as_json(replace(STATUS, gate=GateView(None, 0.0, "", moment)))
    assert "at an unknown time" in as_words(told)


# In the technician's language.

TOLD = Problem(
    "board-down",
    NOON - 5,
    said(
        "board {serial} on {port}: {trouble}",
        serial=1,
        port="/dev/tty\x1b[2J",
        trouble=counted(
            "{number} item refused again and again by the platform",
            "{number} items refused again and again by the platform",
            3,
        ),
    ),
    "Check the telephone line and its plug at this RJ11 socket.",
)


def test_problems_and_what_to_do_are_in_the_agents_language() -> None:
    (problem,) = as_json(replace(STATUS, problems=[TOLD]), CHINESE)["problems"]
    assert problem["message"] == "板卡 1（/dev/tty\\x1b[2J）：3 项被平台多次拒绝"
    assert problem["hint"] == "请检查该 RJ11 插口的电话线和插头。"


def test_a_problem_carries_what_is_needed_to_tell_it_in_another_language() -> None:
    told = as_json(replace(STATUS, problems=[TOLD]), CHINESE)
    (problem,) = json.loads(json.dumps(told))["problems"]
    assert problem["template"] == "board {serial} on {port}: {trouble}"
    assert problem["values"] == {
        "serial": 1,
        "port": "/dev/tty\\x1b[2J",
        "trouble": {
            "template": "{number} item refused again and again by the platform",
            "plural": "{number} items refused again and again by the platform",
            "values": {"number": 3},
        },
    }


def test_telephone_numbers_are_masked_in_what_fills_a_problem_too() -> None:
    message = said("{path}: {why}", path=PHONE, why=said("nothing is heard on {port}", port=PHONE))
    told = as_json(replace(STATUS, problems=[replace(TOLD, message=message)]))
    assert PHONE not in json.dumps(told["problems"])


def test_what_scripts_go_by_is_english_whatever_the_language() -> None:
    english, chinese = as_json(STATUS), as_json(STATUS, CHINESE)
    assert chinese["health"] == "degraded"
    assert chinese["boards"] == english["boards"]


def test_the_words_are_in_the_agents_language_and_their_columns_stand_under_each_other() -> None:
    text = as_words(as_json(replace(STATUS, problems=[TOLD]), CHINESE), CHINESE)
    assert text.splitlines()[0].startswith(f"smarttel-agent {__version__}: 降级")
    for words in ("平台      https://", "队列      1 条话单、2 个录音", "磁盘      已用 20 %"):
        assert words in text
    for words in (
        "板卡 1    native（/dev/ttyS1）：链路正常",
        "端口  1  通话中         138****8000",
    ):
        assert words in text
    assert not re.search(
        r"[a-z]{4,}",
        re.sub(r"smarttel-agent|https?://\S+|native|tty", "", text).replace("board-down", ""),
    )


def test_the_words_in_the_file_are_in_the_language_given(tmp_path: Path) -> None:
    StatusFile(tmp_path / "status.json").write(as_json(STATUS, CHINESE), CHINESE)
    assert "平台" in (tmp_path / "status.txt").read_text("utf-8")


# How it is written.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "status.json"


def test_both_files_are_written_for_everybody_to_read_whatever_the_umask(path: Path) -> None:
    before = os.umask(0o077)
    try:
        StatusFile(path).write(as_json(STATUS))
    finally:
        os.umask(before)
    assert json.loads(path.read_text("utf-8")) == as_json(STATUS)
    assert path.with_suffix(".txt").read_text("utf-8") == as_words(as_json(STATUS))
    for one in (path, path.with_suffix(".txt")):
        assert one.stat().st_mode & 0o777 == 0o644
    assert sorted(one.name for one in path.parent.iterdir()) == ["status.json", "status.txt"]


def test_a_file_that_is_called_txt_itself_is_not_overwritten_by_the_words(tmp_path: Path) -> None:
    StatusFile(tmp_path / "status.txt").write(as_json(STATUS))
    assert json.loads((tmp_path / "status.txt").read_text("utf-8"))["version"] == 1
    assert (tmp_path / "status.txt.txt").read_text("utf-8").startswith("smarttel-agent")


def test_a_reader_sees_one_whole_status_or_another_and_never_half_of_one(path: Path) -> None:
    file = StatusFile(path)
    many = as_json(replace(STATUS, problems=[*STATUS.problems] * 500))
    few = as_json(STATUS)
    file.write(few)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            file.write(many)
            file.write(few)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        lengths = set()
        for _ in range(300):
            lengths.add(len(json.loads(path.read_text("utf-8"))["problems"]))
            assert path.with_suffix(".txt").read_text("utf-8").endswith("line fault\n")
    finally:
        stop.set()
        writer.join()
    assert lengths <= {1, 500}


def test_a_status_that_cannot_be_written_is_said_once_and_the_agent_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    file = StatusFile(tmp_path / "run" / "status.json")
    for _ in range(5):
        file.write(as_json(STATUS))
    assert len(caplog.messages) == 1
    assert "the rest goes on" in caplog.messages[0]
    assert str(tmp_path) in file.trouble
    (tmp_path / "run").unlink()
    file.write(as_json(STATUS))
    assert file.trouble == ""
    assert (tmp_path / "run" / "status.json").exists()


def test_nothing_is_written_through_a_link_that_somebody_left_there(path: Path) -> None:
    path.parent.mkdir()
    victim = path.parent / "victim"
    victim.write_text("mine")
    (path.parent / ".status.json.new").symlink_to(victim)
    path.symlink_to(victim)
    StatusFile(path).write(as_json(STATUS))
    assert victim.read_text() == "mine"
    assert not path.is_symlink()
