"""Names tell what they say, never more, and never stop anything."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calls import Direction
from agent.recordings.names import NOTHING, NameFacts, Places, RecordingNames, display_name

DEFAULT = "{start:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}"
SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def facts(name: str, *patterns: str, zone: str = "Asia/Shanghai") -> NameFacts:
    return RecordingNames(patterns or (DEFAULT,), ZoneInfo(zone)).facts(name)


def unix(*moment: int, zone: ZoneInfo = SHANGHAI) -> float:
    year, month, day, hour, minute, second = moment
    return datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp()


def test_the_default_pattern_reads_the_whole_name() -> None:
    start = unix(2026, 3, 9, 10, 11, 12)
    assert facts("20260309-101112_3_in_13800138000.wav") == NameFacts(
        start=start,
        channel=3,
        direction=Direction.IN,
        phone="13800138000",
        starts=(start,),
        places=Places(phone=(21, 32), times=((0, 15),)),
    )


def test_a_name_without_a_number_says_that_there_is_none() -> None:
    assert facts("20260309-101112_3_out_.wav").phone == ""


def test_a_word_in_the_numbers_place_is_no_number() -> None:
    assert facts("20260309-101112_3_out_anonymous.wav").phone == ""


def test_a_number_keeps_its_stars_and_crosses() -> None:
    assert facts("20260309-101112_3_out_+86*21#.wav").phone == "+86*21#"


@pytest.mark.parametrize(
    ("word", "direction"),
    [
        ("in", Direction.IN),
        ("OUT", Direction.OUT),
        ("Outgoing", Direction.OUT),
        ("unkown", Direction.UNKNOWN),
        ("unknown", Direction.UNKNOWN),
        ("i", Direction.IN),
        ("sideways", None),
    ],
)
def test_a_direction_is_a_word_in_any_case(word: str, direction: Direction | None) -> None:
    found = facts(f"20260309-101112_3_{word}_1.wav")
    assert (found.direction, found.channel) == (direction, 3)


@pytest.mark.parametrize("channel", ["0", "100", "999999999"])
def test_a_port_that_cannot_be_is_not_said(channel: str) -> None:
    found = facts(f"20260309-101112_{channel}_in_1.wav")
    assert found.channel is None
    assert found.start is not None


@pytest.mark.parametrize("date", ["19691231", "00010101", "20261301", "20260230", "99991231"])
def test_a_day_that_cannot_be_is_not_said(date: str) -> None:
    found = facts(f"{date}-101112_3_in_1.wav")
    assert (found.start, found.starts, found.channel) == (None, (), 3)


@pytest.mark.parametrize("name", ["voice.wav", "20260309-101112_3_in_1_2.wav", "x" * 255, ".", ""])
def test_a_name_that_does_not_fit_says_nothing(name: str) -> None:
    assert facts(name) == NOTHING


def test_patterns_are_tried_in_their_order() -> None:
    patterns = ("{channel}-{start:%Y%m%d%H%M%S}", "{channel}-{phone}")
    assert facts("2-20260309101112.wav", *patterns).start is not None
    assert facts("2-13800138000.wav", *patterns).phone == "13800138000"


def test_a_pattern_with_a_slash_reads_the_end_of_the_path() -> None:
    pattern = "{channel}/{start:%Y-%m-%d/%H%M%S}"
    found = facts("usb/recorder/7/2026-03-09/101112.mp3", pattern)
    assert (found.channel, found.start) == (7, unix(2026, 3, 9, 10, 11, 12))
    assert facts("2026-03-09/101112.mp3", pattern) == NOTHING


def test_a_pattern_without_a_slash_reads_the_name_alone() -> None:
    assert facts("a/20260309-101112_9_in_1/20260309-101112_3_in_1.wav").channel == 3


def test_box_duration_end_and_ignored_text_are_read() -> None:
    pattern = "{serial}-{start:%Y%m%d%H%M%S}-{end:%Y%m%d%H%M%S}-{duration}s-{any}"
    found = facts("2-20260309101112-20260309101212-60.5s-what-ever.x.wav", pattern)
    assert (found.serial, found.duration) == (2, 60.5)
    assert found.end == unix(2026, 3, 9, 10, 12, 12)


def test_unix_seconds_and_milliseconds_are_told_apart_by_size() -> None:
    assert facts("1563957071_2.wav", "{start:%s}_{channel}").start == 1563957071.0
    assert facts("1563957071500_2.wav", "{start:%s}_{channel}").start == 1563957071.5


def test_an_offset_in_the_name_beats_the_configured_zone() -> None:
    found = facts("20260309-101112+0000_1.wav", "{start:%Y%m%d-%H%M%S%z}_{channel}")
    assert (
        found.start == datetime(2026, 3, 9, 10, 11, 12, tzinfo=timezone(timedelta(0))).timestamp()
    )


def test_braces_and_signs_of_expressions_in_a_pattern_mean_themselves() -> None:
    assert facts("{a}(b)+[c].*3.wav", "{{a}}(b)+[c].*{channel}").channel == 3
    assert facts("{a}bb+c..3.wav", "{{a}}(b)+[c].*{channel}") == NOTHING


def test_an_hour_that_comes_twice_has_two_readings() -> None:
    found = facts("20261025-023000_1_in_.wav", zone="Europe/Berlin")
    assert len(found.starts) == 2
    assert found.starts[1] - found.starts[0] == 3600
    assert found.start == found.starts[0]


def test_an_hour_that_never_comes_has_two_readings_too() -> None:
    assert len(facts("20260329-023000_1_in_.wav", zone="Europe/Berlin").starts) == 2


def test_without_a_zone_the_systems_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        found = RecordingNames((DEFAULT,)).facts("20260309-101112_3_in_1.wav")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.start == unix(2026, 3, 9, 10, 11, 12)


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("{start:%Y%m%d-%H%M%S}_{port}", "{port} is no field"),
        ("{channel", "{ without its other half"),
        ("channel}", "} without its other half"),
        ("{start}_{channel}", "{start} needs a format"),
        ("{start:}_{channel}", "{start} needs a format"),
        ("{start:%Y%m%d%H%U}", "%U in {start:…} can't be read"),
        ("{start:%Y%m%d%H%}", "% in {start:…} can't be read"),
        ("{start:%H%M%S}", "needs a year, a month, a day and an hour"),
        ("{start:%Y%m%d%H%Y}", "%Y stands twice"),
        ("{channel}_{channel}", "{channel} stands in it twice"),
        ("{channel:%d}", "{channel} takes no format"),
        ("recording", "reads nothing"),
        ("{any}", "reads nothing"),
        ("{}", "{} is no field"),
    ],
)
def test_a_bad_pattern_is_refused_with_what_is_accepted(pattern: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)) as refusal:
        RecordingNames((pattern,))
    assert "%" in str(refusal.value) or "{" in str(refusal.value)


@given(st.text(max_size=60))
def test_a_pattern_is_compiled_or_refused_and_nothing_else(pattern: str) -> None:
    try:
        RecordingNames((pattern,), SHANGHAI).facts("20260309-101112_3_in_1.wav")
    except ValueError as refusal:
        assert str(refusal)


NAMES = RecordingNames(
    (DEFAULT, "{any}_{channel}_{direction}{phone}", "{channel}/{start:%Y%m%d%H%M%S}_{any}"), BERLIN
)


@given(st.text(alphabet="0123456789-_/.inout*#\udce4\x1b\n", max_size=255))
def test_no_name_raises_anything(name: str) -> None:
    found = NAMES.facts(name)
    assert found.channel is None or 1 <= found.channel <= 99
    assert NAMES.places(name) == found.places
    display_name(name, found.places, masked=True).encode("utf-8")


def test_the_most_ambiguous_name_is_read_at_once() -> None:
    pattern = "{any}{channel}{serial}{phone}{duration}{direction}x"
    begun = time.monotonic()
    facts("1" * 255, pattern)
    assert time.monotonic() - begun < 20


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)),
    st.integers(1, 99),
    st.sampled_from(["in", "out", "unkown"]),
    st.text(alphabet="0123456789*#+", max_size=40),
)
def test_what_is_written_into_a_name_is_read_from_it(
    moment: datetime, channel: int, direction: str, phone: str
) -> None:
    name = f"{moment:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}.wav"
    found = NAMES.facts(name)
    assert moment.replace(microsecond=0, tzinfo=BERLIN).timestamp() in found.starts
    assert (found.channel, found.direction, found.phone) == (channel, direction, phone)


def shown(name: str, *patterns: str, masked: bool = True) -> str:
    return display_name(name, facts(name, *patterns).places, masked)


def test_a_shown_name_hides_the_number_and_not_the_time() -> None:
    name = "a/20260309-101112_3_in_13800138000.wav"
    assert shown(name) == "a/20260309-101112_3_in_138****8000.wav"
    assert shown(name, masked=False) == name


def test_a_short_number_is_hidden_in_its_place_only() -> None:
    assert shown("20260309-101112_1_in_110.wav") == "20260309-101112_1_in_****.wav"


def test_a_name_that_fits_no_pattern_hides_what_may_be_a_number() -> None:
    name = "13800138000 on 20260309 at 20260309101112, room 1204.wav"
    assert shown(name) == "138****8000 on 20260309 at 20260309101112, room 1204.wav"


def test_digits_like_a_date_that_are_none_are_hidden() -> None:
    assert "20267777" not in shown("call from 20267777.wav")


def test_the_start_in_unix_seconds_is_not_taken_for_a_number() -> None:
    assert shown("1563957071_2.wav", "{start:%s}_{channel}") == "1563957071_2.wav"


def test_ignored_text_may_hold_a_number_too() -> None:
    assert shown("2_13800138000.wav", "{channel}_{any}") == "2_138****8000.wav"


def test_a_second_number_is_hidden_too() -> None:
    name = "2_13800138000_13900139000.wav"
    assert shown(name, "{channel}_{phone}_{any}") == "2_138****8000_139****9000.wav"


def test_a_shown_name_obeys_no_terminal() -> None:
    assert shown("\x1b[2J\n\udcff.wav") == "\\x1b[2J\\x0a\\udcff.wav"
