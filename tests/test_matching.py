"""A recording finds its call by port and time, and stays alone where that is not certain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calls import Direction
from agent.recordings.matching import (
    CallSpan,
    OwnCall,
    Recorded,
    best_call,
    call_of_its_own,
    same_phone,
)
from agent.recordings.names import NameFacts

NOW = 1_800_000_000.0
T = 1_790_000_000.0


def call(
    number: int,
    begins: float,
    ends: float | None,
    channel: int = 1,
    board: int = 1,
    phone: str = "",
    over: float | None = None,
) -> CallSpan:
    ended = None if ends is None else T + ends
    found_over = None if over is None else T + over
    return CallSpan(number, board, channel, Direction.IN, phone, T + begins, ended, found_over)


def recorded(
    begins: float | None = None,
    duration: float | None = 60.0,
    modified: float = 0.0,
    channel: int | None = 1,
    serial: int | None = None,
    phone: str | None = None,
    starts: tuple[float, ...] = (),
) -> Recorded:
    start = None if begins is None else T + begins
    facts = NameFacts(
        start=start,
        channel=channel,
        serial=serial,
        phone=phone,
        starts=tuple(T + one for one in starts) or (() if start is None else (start,)),
    )
    return Recorded(facts, duration, T + modified)


def number_of(recording: Recorded, *calls: CallSpan, now: float = NOW) -> int | None:
    found = best_call(recording, calls, now)
    return None if found is None else found.call_id


def test_a_recording_belongs_to_the_call_on_its_port_at_its_time() -> None:
    calls = (call(1, 0, 60, channel=1), call(2, 0, 60, channel=2), call(3, 100, 160, channel=2))
    assert number_of(recorded(1, channel=2), *calls) == 2


def test_the_largest_overlap_wins() -> None:
    assert number_of(recorded(0, 60), call(1, -100, 10), call(2, 10, 90)) == 2


def test_of_two_calls_back_to_back_the_one_recorded_is_chosen() -> None:
    calls = (call(1, 0, 59.5), call(2, 60, 120))
    assert number_of(recorded(59, 61), *calls) == 2
    assert number_of(recorded(0, 60), *calls) == 1


def test_a_recording_just_beside_a_call_belongs_to_it() -> None:
    assert number_of(recorded(61, 5), call(1, 0, 60)) == 1
    assert number_of(recorded(-5, 4), call(1, 0, 60)) == 1


def test_a_recording_well_beside_a_call_does_not() -> None:
    assert number_of(recorded(63, 5), call(1, 0, 60)) is None


def test_a_true_overlap_beats_a_nearer_neighbour() -> None:
    assert number_of(recorded(60.5, 100), call(1, 0, 60), call(2, 150, 170)) == 2


def test_a_call_that_goes_on_lasts_until_now() -> None:
    assert number_of(recorded(100, 50), call(1, 0, None), now=T + 160) == 1
    assert number_of(recorded(100, 50), call(1, 0, None), now=T + 60) is None


def test_a_call_whose_end_nobody_heard_may_have_lasted_until_it_was_found_over() -> None:
    before, unheard = call(1, -6.5, 0.47), call(2, 0.49, 0.49, over=9)
    assert number_of(recorded(0, 4.67), before, unheard) == 2
    assert number_of(recorded(5, 4), before, unheard) == 2
    assert number_of(recorded(12, 4), before, unheard) is None


def test_a_call_whose_end_nobody_heard_was_over_when_the_next_one_on_its_port_began() -> None:
    calls = (call(1, 0, 0, over=9), call(2, 6, 8), call(3, 1, 2, channel=2))
    assert number_of(recorded(5.2, 2.8), *calls) == 2


def test_a_recording_with_another_number_is_not_of_a_call_that_may_have_lasted_so_long() -> None:
    unheard = call(1, 0, 0, phone="13800138000", over=9)
    assert number_of(recorded(3, 4, phone="02188886666"), unheard) is None
    assert number_of(recorded(3, 4, phone="13800138000"), unheard) == 1


def test_a_number_that_was_not_dialled_to_its_end_is_no_other_number() -> None:
    unheard = call(1, 0, 0, phone="138", over=9)
    assert number_of(recorded(3, 4, phone="13800138000"), unheard) == 1


def test_a_fraction_of_a_second_in_common_does_not_make_up_for_another_number() -> None:
    before = call(1, -60, 0.47, phone="13800138000")
    assert number_of(recorded(0, 5, phone="02188886666"), before) is None
    assert number_of(recorded(0, 5, phone="13800138000"), before) == 1
    assert number_of(recorded(-59, 59, phone="02188886666"), before) == 1


def test_of_two_calls_back_to_back_the_number_tells_more_than_the_names_whole_seconds() -> None:
    before = call(1, -6.25, -0.02, phone="13800138000")
    after = call(2, -0.01, -0.01, phone="02188886666", over=2.5)
    assert number_of(recorded(-1, 1.84, phone="02188886666"), before, after) == 2
    assert number_of(recorded(-1, 1.84, phone="13800138000"), before, after) == 1


def test_a_name_without_a_time_is_matched_by_when_its_file_ended() -> None:
    calls = (call(1, 0, 60), call(2, 100, 160))
    assert number_of(recorded(None, 55, modified=160), *calls) == 2


def test_both_readings_of_an_hour_that_comes_twice_are_tried() -> None:
    assert number_of(recorded(0, 60, starts=(0, 3600)), call(1, 3600, 3660)) == 1


def test_a_box_that_the_name_says_must_agree() -> None:
    calls = (call(1, 0, 60, board=1), call(2, 0, 60, board=2))
    assert number_of(recorded(0, serial=2), *calls) == 2
    assert number_of(recorded(0, serial=3), *calls) is None


def test_one_port_number_on_two_boxes_is_not_certain() -> None:
    calls = (call(1, 0, 60, board=1, phone="13800138000"), call(2, 0, 60, board=2))
    assert number_of(recorded(0), *calls) is None
    assert number_of(recorded(0, phone="13800138000"), *calls) == 1


def test_a_neighbour_on_another_box_does_not_make_an_overlap_uncertain() -> None:
    assert number_of(recorded(0, 10), call(1, -50, 1, board=1), call(2, 11, 60, board=2)) == 1


def test_without_a_port_only_one_possible_call_counts() -> None:
    one = call(1, 0, 60, channel=4)
    assert number_of(recorded(1, 58, channel=None), one) == 1
    assert number_of(recorded(1, 58, channel=None), one, call(2, 0, 60, channel=5)) is None


def test_without_a_port_a_slight_overlap_is_no_match() -> None:
    assert number_of(recorded(55, 60, channel=None), call(1, 0, 60)) is None


def test_without_a_port_the_number_decides() -> None:
    calls = (
        call(1, 0, 60, channel=4, phone="13800138000"),
        call(2, 0, 60, channel=5, phone="13900139000"),
    )
    assert number_of(recorded(1, 58, channel=None, phone="013900139000"), *calls) == 2
    assert number_of(recorded(1, 58, channel=None, phone="10086"), *calls) is None


def test_a_call_may_have_several_recordings() -> None:
    one = call(1, 0, 120)
    assert number_of(recorded(0, 50), one) == number_of(recorded(60, 50), one) == 1


def test_of_equal_overlaps_the_nearest_start_wins() -> None:
    calls = (call(1, -30, 30), call(2, 0, 30))
    assert number_of(recorded(0, 30), *calls) == 2


def test_of_equal_calls_the_number_decides() -> None:
    calls = (call(1, 0, 30, phone="1"), call(2, 0, 30, phone="13800138000"))
    assert number_of(recorded(0, 30, phone="13800138000"), *calls) == 2


def test_a_recording_of_unknown_length_is_matched_too() -> None:
    assert number_of(recorded(10, None, modified=-9_999_999), call(1, 0, 60)) == 1


def test_no_calls_no_match() -> None:
    assert number_of(recorded(0)) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("13800138000", "8613800138000", True),
        ("5551234", "5551234", True),
        ("110", "3110", False),
        ("", "", False),
        ("110", "110", True),
    ],
)
def test_two_spellings_of_a_number(one: str, other: str, same: bool) -> None:
    assert same_phone(one, other) == same_phone(other, one) == same


def test_a_recording_of_no_call_makes_one_of_its_name_and_header() -> None:
    facts = NameFacts(T, 5, 2, Direction.OUT, "10086", starts=(T,))
    assert call_of_its_own(Recorded(facts, 12.5, T + 999)) == OwnCall(
        2, 5, Direction.OUT, "10086", T, T + 12.5, 12.5
    )


def test_a_recording_that_says_nothing_still_makes_a_call() -> None:
    assert call_of_its_own(Recorded(NameFacts(), 12.5, T)) == OwnCall(
        None, 1, Direction.UNKNOWN, "", T - 12.5, T, 12.5
    )


def test_where_the_header_does_not_tell_the_end_is_when_it_was_written_last() -> None:
    facts = NameFacts(start=T, starts=(T,))
    assert call_of_its_own(Recorded(facts, None, T + 40)).duration == 40


seconds = st.floats(-1000, 1000)
spans = st.tuples(seconds, st.floats(0, 500), st.integers(1, 3), st.integers(1, 2))


@given(
    st.lists(spans, max_size=6),
    st.one_of(st.none(), seconds),
    st.one_of(st.none(), st.floats(0, 500)),
    st.one_of(st.none(), st.integers(1, 3)),
    st.one_of(st.none(), st.integers(1, 2)),
)
def test_a_match_never_contradicts_the_name_and_never_lies_apart(
    calls: list[tuple[float, float, int, int]],
    begins: float | None,
    duration: float | None,
    channel: int | None,
    serial: int | None,
) -> None:
    recording = recorded(begins, duration, channel=channel, serial=serial)
    found = best_call(
        recording,
        [call(n, at, at + length, ch, board) for n, (at, length, ch, board) in enumerate(calls)],
        NOW,
    )
    if found is None:
        return
    assert channel in {None, found.channel}
    assert serial in {None, found.board}
    start, end = recording.spans()[0]
    assert found.ended is not None
    assert found.started - 3.1 <= end
    assert start <= found.ended + 3.1
