"""The log is one sanitised line after another, and an outage does not fill it."""

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.log_lines import LEFT_OUT, JsonFormat, TextFormat
from agent.logs import (
    MOST_REPEATS,
    WINDOW,
    LineHandler,
    Phones,
    Repeats,
    Said,
    goes_to_journal,
    set_up,
)


class Time:
    """A monotonic clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    names = ("", "agent", "urllib3")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root = logging.getLogger()
    for each in [each for each in root.handlers if isinstance(each, LineHandler)]:
        root.removeHandler(each)
        each.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def stream(time: Time) -> io.StringIO:
    """The journal's end of a log at level info."""
    made = io.StringIO()
    set_up("info", "masked", made, journal=True, monotonic=time)
    return made


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


log = logging.getLogger("agent.delivery")


def test_to_the_journal_a_line_carries_its_priority_and_no_time(stream: io.StringIO) -> None:
    log.info("delivered %d", 3)
    log.warning("slow")
    log.error("refused")
    log.critical("gone")
    assert lines(stream) == [
        "<6>delivery: delivered 3",
        "<4>delivery: slow",
        "<3>delivery: refused",
        "<3>delivery: gone",
    ]


def test_elsewhere_a_line_carries_time_and_level() -> None:
    stream = io.StringIO()
    set_up("debug", "masked", stream, journal=False)
    log.debug("asked")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d debug   delivery: asked\n", stream.getvalue()
    )


def test_below_the_level_nothing_is_said(stream: io.StringIO) -> None:
    log.debug("asked")
    assert lines(stream) == []


def test_other_packages_are_heard_from_warnings_on_even_at_debug() -> None:
    stream = io.StringIO()
    set_up("debug", "masked", stream, journal=True)
    logging.getLogger("urllib3.connectionpool").debug('"POST /voip?sa_password=secret"')
    logging.getLogger("elsewhere").info("chatter")
    logging.getLogger("elsewhere").warning("trouble")
    assert lines(stream) == ["<4>elsewhere: trouble"]


def test_a_line_break_from_outside_forges_no_line(stream: io.StringIO) -> None:
    log.info("platform says %s", "no\n<0>agent: all recordings deleted\x1b[2J")
    assert lines(stream) == [
        "<6>delivery: platform says no\\x0a<0>agent: all recordings deleted\\x1b[2J"
    ]


@given(st.text())
def test_any_text_is_one_line(text: str) -> None:
    stream = io.StringIO()
    handler = LineHandler(stream, TextFormat(journal=True), monotonic=lambda: 0.0)
    handler.emit(logging.makeLogRecord({"name": "agent.x", "levelno": 20, "msg": text}))
    assert len(lines(stream)) == 1


def test_a_flood_of_text_is_cut(stream: io.StringIO) -> None:
    log.info("x" * 1_000_000)
    assert len(stream.getvalue()) < 2100


def test_a_traceback_is_lines_of_its_own_each_sanitised(stream: io.StringIO) -> None:
    try:
        raise ValueError("bad\n<0>forged\x1b[31m")
    except ValueError:
        log.exception("part failed")
    said = lines(stream)
    assert said[0] == "<3>delivery: part failed"
    assert all(line.startswith("<3>delivery:   ") for line in said[1:])
    assert "\x1b" not in stream.getvalue()


def test_an_endless_traceback_is_shortened_in_the_middle(stream: io.StringIO) -> None:
    def down(depth: int) -> None:
        if depth == 0:
            raise ValueError("the bottom")
        (down if depth % 2 else down_too)(depth - 1)

    def down_too(depth: int) -> None:
        down(depth)

    try:
        down(150)
    except ValueError:
        log.exception("part failed")
    assert len(lines(stream)) <= 62
    assert lines(stream)[-1].endswith("ValueError: the bottom")
    assert "lines left out" in stream.getvalue()


def test_arguments_that_do_not_fit_their_text_still_make_a_line() -> None:
    stream = io.StringIO()
    handler = LineHandler(stream, TextFormat(journal=True), monotonic=lambda: 0.0)
    record = {"name": "agent.x", "levelno": 20, "msg": "%d recordings", "args": ("many",)}
    handler.emit(logging.makeLogRecord(record))
    assert lines(stream) == ["<6>x: %d recordings (with ('many',))"]


def test_a_stream_that_knows_no_chinese_gets_escapes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="ascii") as stream:
        set_up("info", "masked", stream, journal=True)
        log.info("录音")
    assert path.read_text("ascii") == "<6>delivery: \\u5f55\\u97f3\n"


def test_a_log_that_cannot_be_written_stops_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("w") as stream:
        set_up("info", "masked", stream, journal=True)
        log.info("onto a full disk")
        after = "reached"
    assert after == "reached"
    assert capfd.readouterr().err == ""


def test_a_repeated_failure_is_said_once_and_then_counted(stream: io.StringIO, time: Time) -> None:
    for _ in range(121):
        log.warning("no route to the platform")
        time.now += 5
    assert lines(stream) == [
        "<4>delivery: no route to the platform",
        "<4>delivery: no route to the platform (said again 119 times in the last 10 minutes)",
    ]


def test_the_sum_is_said_without_a_new_line_when_the_window_ends(time: Time) -> None:
    stream = io.StringIO()
    made = set_up("info", "masked", stream, journal=True, monotonic=time)
    log.warning("no route")
    log.warning("no route")
    time.now += WINDOW - 1
    made.handler.say_sums()
    assert len(lines(stream)) == 1
    time.now += 1
    made.handler.say_sums()
    assert lines(stream)[1:] == ["<4>delivery: no route (said again once in the last 10 minutes)"]


def test_a_failure_that_was_said_once_is_said_again_after_the_window(
    stream: io.StringIO, time: Time
) -> None:
    log.warning("no route")
    time.now += WINDOW
    log.warning("no route")
    assert lines(stream) == ["<4>delivery: no route"] * 2


def test_a_failure_that_comes_back_hours_later_is_said_in_full(
    stream: io.StringIO, time: Time
) -> None:
    log.warning("no route")
    log.warning("no route")
    time.now += 5 * 3600
    log.warning("no route")
    assert lines(stream) == [
        "<4>delivery: no route",
        "<4>delivery: no route (said again once in the last 300 minutes)",
        "<4>delivery: no route",
    ]


def test_the_same_words_from_another_room_are_another_failure(stream: io.StringIO) -> None:
    log.warning("no route")
    logging.getLogger("agent.polls").warning("no route")
    assert lines(stream) == ["<4>delivery: no route", "<4>polls: no route"]


def test_two_calls_that_ring_alike_are_both_said(stream: io.StringIO) -> None:
    log.info("port 1 rings")
    log.info("port 1 rings")
    assert lines(stream) == ["<6>delivery: port 1 rings"] * 2


def test_setting_up_anew_says_what_was_counted_and_takes_the_old_ones_place(
    stream: io.StringIO,
) -> None:
    log.warning("no route")
    log.warning("no route")
    second = io.StringIO()
    set_up("info", "full", second, journal=True)
    log.info("after the reload")
    assert lines(stream)[-1] == "<4>delivery: no route (said again once in the last minute)"
    assert lines(second) == ["<6>delivery: after the reload"]


@given(st.lists(st.tuples(st.integers(0, 2 * MOST_REPEATS), st.integers(0, 200)), max_size=900))
def test_nothing_is_lost_and_memory_is_bounded(heard: list[tuple[int, int]]) -> None:
    repeats = Repeats(window=600)
    said = counted = 0
    now = 0.0
    for number, passed in heard:
        now += passed
        counted += sum(each.times for each in repeats.ended(now))
        said += repeats.hear("agent.x", logging.WARNING, f"failure {number}", now)
        assert len(repeats._heard) <= MOST_REPEATS
    counted += sum(each.times for each in repeats.close(now))
    assert said + counted == len(heard)


def test_one_message_more_than_the_limit_makes_the_oldest_say_its_sum() -> None:
    repeats = Repeats(window=600, most=2)
    for number in (1, 1, 2):
        assert list(repeats.ended(0.0)) == []
        repeats.hear("agent.x", 30, f"failure {number}", 0.0)
    assert list(repeats.ended(0.0)) == [Said("agent.x", 30, "failure 1", 1, 0.0)]


# One JSON object a line.

JOURNAL_LINE = 48 * 1024
"""Bytes that journald takes as one entry (LineMax= of journald.conf)."""


@pytest.fixture
def objects(time: Time) -> io.StringIO:
    """A log for programs, not in the journal."""
    made = io.StringIO()
    set_up("info", "masked", made, journal=False, monotonic=time, line_format="json")
    return made


def told(stream: io.StringIO) -> list[dict[str, Any]]:
    """Every line as an object; fails where one is none."""
    text = stream.getvalue()
    assert text.endswith("\n")
    # Not splitlines, which knows more line ends than a log's reader does.
    return [json.loads(line, parse_constant=pytest.fail) for line in text.split("\n")[:-1]]


def test_for_a_program_a_line_is_one_object_with_the_time_in_utc(objects: io.StringIO) -> None:
    before = datetime.now(UTC)
    log.warning("delivered %d of %s", 3, "录音")
    (line,) = told(objects)
    moment = line.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert -1 < (datetime.fromisoformat(moment) - before).total_seconds() < 60
    assert line == {
        "level": "warning",
        "thread": "MainThread",
        "logger": "delivery",
        "message": "delivered 3 of 录音",
    }


def test_an_exception_is_one_text_of_its_object(objects: io.StringIO) -> None:
    try:
        raise ValueError('bad\n{"level": "forged"}\x1b[31m')
    except ValueError:
        log.exception("part failed")
    (line,) = told(objects)
    assert (line["level"], line["message"]) == ("error", "part failed")
    said = line["exception"].split("\n")
    assert said[0] == "Traceback (most recent call last):"
    assert said[-1] == '{"level": "forged"}\\x1b[31m'
    assert "\x1b" not in objects.getvalue()


def test_what_was_counted_is_a_figure_of_the_object(objects: io.StringIO, time: Time) -> None:
    for _ in range(121):
        log.warning("no route to the platform")
        time.now += 5
    first, last = told(objects)
    assert "repeated" not in first
    assert (last["message"], last["repeated"]) == (first["message"], 119)
    assert last["seconds"] == 600.0
    assert "thread" not in last, "others may have said it"


def test_in_the_journal_the_priority_stands_before_the_object() -> None:
    stream = io.StringIO()
    set_up("info", "masked", stream, journal=True, line_format="json")
    log.error("refused")
    assert stream.getvalue().startswith("<3>{")
    assert json.loads(stream.getvalue().removeprefix("<3>"))["message"] == "refused"


@given(
    message=st.text(),
    said=st.text(),
    logger=st.text(),
    thread=st.text(),
    level=st.integers(-5, 60),
    encoding=st.sampled_from(["ascii", "utf-8", "latin-1"]),
)
def test_whatever_is_logged_every_line_is_one_object(
    message: str, said: str, logger: str, thread: str, level: int, encoding: str
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    handler = LineHandler(stream, JsonFormat(journal=False), monotonic=lambda: 0.0)
    error = ValueError(said)
    error.add_note(message)
    record = {"name": logger, "levelno": level, "msg": message, "threadName": thread}
    handler.emit(logging.makeLogRecord({**record, "exc_info": (ValueError, error, None)}))
    buffer = stream.detach()
    assert isinstance(buffer, io.BytesIO)
    (line,) = buffer.getvalue().decode("ascii").split("\n")[:-1]
    found = json.loads(line)
    assert len(found) >= 4
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", found["message"])


@pytest.mark.parametrize("character", ["x", "\x1b", "é", "\U0001f600", '"', "\\", "\u2028"])
def test_the_longest_object_is_one_entry_of_the_journal(character: str) -> None:
    stream = io.StringIO()
    handler = LineHandler(stream, JsonFormat(journal=True), monotonic=lambda: 0.0)
    error = ValueError(character * 5000)
    for _ in range(100):
        error.add_note(character * 5000)
    record = {"name": "agent.x", "levelno": 40, "msg": character * 5000}
    # Past the process's log, which the tests' own capture would keep too.
    handler.emit(logging.makeLogRecord({**record, "exc_info": (ValueError, error, None)}))
    assert len(stream.getvalue()) < JOURNAL_LINE
    line = json.loads(stream.getvalue().removeprefix("<3>"))
    assert line["exception"]
    assert character in {"\x1b", "\u2028"} or character * 1000 in line["message"]


def test_of_an_exception_that_is_too_long_the_beginning_and_the_end_are_kept(
    objects: io.StringIO,
) -> None:
    error = ValueError("first words")
    for number in range(40):
        error.add_note(f"note {number} " + "x" * 1500)
    log.error("part failed", exc_info=error)
    said = told(objects)[0]["exception"].split("\n")
    assert said[0] == "ValueError: first words"
    assert said[-1].startswith("note 39 ")
    assert said.count(LEFT_OUT) == 1
    assert 5 < len(said) < 15


def test_the_format_changes_with_a_new_configuration(objects: io.StringIO) -> None:
    log.info("for a program")
    second = io.StringIO()
    set_up("info", "masked", second, journal=True, line_format="text")
    log.info("for people")
    assert [line["message"] for line in told(objects)] == ["for a program"]
    assert lines(second) == ["<6>delivery: for people"]


def test_phones_are_masked_unless_configured() -> None:
    stream = io.StringIO()
    assert set_up("info", "masked", stream, journal=True).phones.shown("13800138000") == (
        "138****8000"
    )
    assert set_up("info", "full", stream, journal=True).phones.shown("13800138000") == "13800138000"


def test_a_full_phone_is_still_printable() -> None:
    assert Phones(full=True).shown("1\x1b2") == "1\\x1b2"


def test_the_journal_is_known_by_its_socket(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert goes_to_journal(stream, named)
        assert not goes_to_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not goes_to_journal(stream, {})


def test_a_stream_without_a_file_is_not_the_journal() -> None:
    assert not goes_to_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
