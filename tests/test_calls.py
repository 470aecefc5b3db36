"""What a port's states mean: which calls there were, when, which way, and with whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.boards.events import ChannelState, LineState, Peer
from agent.calls import (
    LOST_LONGEST,
    RINGING_EVER,
    RINGING_LONGEST,
    Call,
    Changed,
    ChannelTracker,
    Direction,
    Ended,
    Started,
    Step,
)
from agent.clock import Stamp
from agent.delivery.freezing import record_fields

NOT_CONNECTED, ON_HOOK, IN_CALL, RINGING, ANSWERED, FAULT = LineState
NOON = 1_700_000_000.0


def at(seconds: float) -> Stamp:
    """The moment `seconds` after noon."""
    return Stamp(NOON + seconds, 5000.0 + seconds)


class Port:
    """One port under test: says states, remembers what came of them."""

    def __init__(self, *, known: bool = True) -> None:
        self.tracker = ChannelTracker(7, 3)
        self.steps: list[Step] = []
        if known:
            self.says(-100, ON_HOOK, asked=True)

    def says(  # one line of the board, with all it may hold
        self,
        seconds: float,
        state: LineState,
        phone: str = "",
        peer: Peer = Peer.UNKNOWN,
        timelen: int | None = None,
        asked: bool = False,
        ago: float = 0.0,
        assumed: bool = False,
    ) -> list[Step]:
        event = ChannelState(3, state, peer, phone, timelen, asked, ago, assumed)
        steps = self.tracker.hear(event, at(seconds))
        self.steps += steps
        return steps

    def lost(self, seconds: float) -> None:
        self.steps += self.tracker.lost(at(seconds))

    def tick(self, seconds: float) -> None:
        self.steps += self.tracker.tick(at(seconds))

    @property
    def over(self) -> list[Call]:
        return [step.call for step in self.steps if isinstance(step, Ended)]

    @property
    def only_end(self) -> Call:
        """The call that ended, where nothing else happened."""
        (step,) = (step for step in self.steps if not isinstance(step, Changed))
        assert isinstance(step, Ended)
        return step.call

    @property
    def only(self) -> Call:
        """The one call there was, which is over."""
        assert [type(step) for step in self.steps if not isinstance(step, Changed)] == [
            Started,
            Ended,
        ]
        return self.over[0]


def times(call: Call) -> tuple[float, float | None, float | None]:
    """Start, answer and end as seconds after noon."""
    return (
        call.started.wall - NOON,
        call.answered.wall - NOON if call.answered else None,
        call.ended.wall - NOON if call.ended else None,
    )


@pytest.mark.parametrize("answered", [IN_CALL, ANSWERED])
def test_an_incoming_call_that_is_answered(answered: LineState) -> None:
    port = Port()
    port.says(0, RINGING, "13800138000")
    port.says(8, answered)
    port.says(68, ON_HOOK)
    call = port.only
    assert (call.board, call.channel) == (7, 3)
    assert (call.direction, call.phone, call.duration) == (Direction.IN, "13800138000", 60)
    assert times(call) == (0, 8, 68)


def test_an_incoming_call_that_nobody_answers_is_missed() -> None:
    port = Port()
    port.says(0, RINGING, "13800138000", Peer.INCOMING)
    port.says(20, ON_HOOK)
    call = port.only
    assert (call.direction, call.answered, call.duration) == (Direction.UNKNOWN, None, 0)
    assert times(call) == (0, None, 20)
    assert call.direction.value == "unkown"


def test_a_missed_call_is_unkown_even_where_the_board_says_incoming_while_it_rings() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(1, RINGING, peer=Peer.INCOMING)
    port.says(20, ON_HOOK)
    assert port.only.direction is Direction.UNKNOWN


def test_an_outgoing_call_whose_number_grows_as_it_is_dialled() -> None:
    port = Port()
    port.says(0, IN_CALL)
    for dialled in ("1", "10", "100", "10086"):
        port.says(1, IN_CALL, dialled)
    port.says(30, ON_HOOK)
    call = port.only
    assert (call.direction, call.phone, call.duration) == (Direction.OUT, "10086", 30)
    assert times(call) == (0, 0, 30)
    assert len([step for step in port.steps if isinstance(step, Changed)]) == 4


def test_a_number_that_arrives_after_the_answer_is_taken() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(1, ANSWERED)
    port.says(3, ANSWERED, "10086")
    port.says(9, ON_HOOK)
    assert port.only.phone == "10086"


def test_an_empty_or_shorter_number_erases_nothing() -> None:
    port = Port()
    port.says(0, RINGING, "10086")
    port.says(1, ANSWERED, "")
    port.says(2, ANSWERED, "100")
    port.says(9, ON_HOOK)
    assert port.only.phone == "10086"


def test_an_endless_number_is_cut() -> None:
    port = Port()
    port.says(0, RINGING, "1" * 10_000)
    assert port.tracker.phone == "1" * 32


def test_a_repeated_state_is_the_same_call_and_tells_nothing_new() -> None:
    port = Port()
    port.says(0, RINGING, "1")
    assert port.says(4, RINGING, "1") == []
    port.says(5, IN_CALL)
    assert port.says(6, IN_CALL) == []


def test_call_waiting_is_one_call() -> None:
    port = Port()
    port.says(0, IN_CALL, "1")
    port.says(10, ANSWERED)
    port.says(20, IN_CALL)
    port.says(30, ON_HOOK)
    assert times(port.only) == (0, 0, 30)


@pytest.mark.parametrize("gone", [NOT_CONNECTED, FAULT])
@pytest.mark.parametrize("going_on", [RINGING, IN_CALL, ANSWERED])
def test_a_call_ends_where_its_line_is_lost(gone: LineState, going_on: LineState) -> None:
    port = Port()
    port.says(0, going_on)
    port.says(10, gone)
    port.says(11, ON_HOOK)
    assert times(port.only)[2] == 10


def test_the_board_is_believed_where_it_says_incoming_without_a_ring() -> None:
    port = Port()
    port.says(0, IN_CALL, peer=Peer.INCOMING)
    port.says(9, ON_HOOK)
    assert (port.only.direction, times(port.only)) == (Direction.IN, (0, 0, 9))


def test_a_direction_that_is_said_late_is_taken() -> None:
    port = Port()
    port.says(0, IN_CALL)
    port.says(1, IN_CALL, peer=Peer.INCOMING)
    port.says(9, ON_HOOK)
    assert port.only.direction is Direction.IN


def test_a_call_that_rang_is_incoming_whatever_is_said_later() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(1, IN_CALL, peer=Peer.OUTGOING)
    port.says(2, IN_CALL, peer=Peer.OUTGOING)
    port.says(9, ON_HOOK)
    assert port.only.direction is Direction.IN


def test_answered_out_of_nothing_has_no_known_direction() -> None:
    port = Port()
    port.says(0, ANSWERED)
    assert port.tracker.call is not None
    assert port.tracker.call.direction is Direction.UNKNOWN


@pytest.mark.parametrize("talking", [IN_CALL, ANSWERED])
def test_ringing_out_of_a_call_means_that_its_end_was_not_said(talking: LineState) -> None:
    port = Port()
    port.says(0, talking, "1", Peer.OUTGOING)
    port.says(30, RINGING, "2")
    port.says(40, ON_HOOK)
    first, second = port.over
    assert (first.phone, times(first)) == ("1", (0, 0, 30))
    assert (second.phone, second.direction, times(second)) == (
        "2",
        Direction.UNKNOWN,
        (30, None, 40),
    )


def test_ringing_that_falls_silent_is_a_missed_call_that_ended_when_last_heard() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(6, RINGING)
    port.tick(6 + RINGING_LONGEST - 1)
    assert port.over == []
    port.tick(6 + RINGING_LONGEST)
    assert times(port.only) == (0, None, 6)


def test_a_port_that_rings_again_after_falling_silent_has_a_new_call() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(RINGING_LONGEST + 100, RINGING)
    port.says(RINGING_LONGEST + 110, ON_HOOK)
    assert [times(call) for call in port.over] == [(0, None, 0), (280, None, 290)]


def test_ringing_for_ever_is_one_missed_call() -> None:
    port = Port()
    for seconds in range(0, 3000, 5):
        port.says(seconds, RINGING)
    port.says(3001, ON_HOOK)
    assert times(port.only) == (0, None, RINGING_EVER - 5)


def test_after_ringing_for_ever_the_next_ring_is_a_new_call_once_the_port_was_free() -> None:
    port = Port()
    for seconds in range(0, 620, 5):
        port.says(seconds, RINGING)
    port.says(621, ON_HOOK)
    port.says(623, RINGING)
    port.says(624, ON_HOOK)
    assert [times(call) for call in port.over] == [(0, None, 595), (623, None, 624)]


def test_a_port_that_rang_out_is_not_taken_for_free() -> None:
    port = Port()
    port.says(0, RINGING)
    port.tick(200)
    port.tracker.alive(at(300))
    port.says(301, ANSWERED, timelen=100, asked=True)
    assert port.tracker.call is not None
    assert times(port.tracker.call)[0] == 201


def test_a_line_picked_up_after_it_rang_for_ever_is_an_incoming_call() -> None:
    port = Port()
    port.says(0, RINGING)
    port.tick(500)
    port.says(501, IN_CALL)
    port.says(520, ON_HOOK)
    assert port.over[1].direction is Direction.IN
    assert times(port.over[1]) == (501, 501, 520)


def test_at_start_up_in_the_middle_of_a_call_timelen_gives_the_start_back() -> None:
    port = Port(known=False)
    port.says(0, IN_CALL, "10086", Peer.OUTGOING, timelen=300, asked=True)
    port.says(60, ON_HOOK)
    assert (port.only.direction, times(port.only)) == (Direction.OUT, (-300, -300, 60))
    assert port.only.duration == 360


def test_at_start_up_a_call_whose_side_is_not_said_is_unkown_with_its_duration() -> None:
    port = Port(known=False)
    port.says(0, ANSWERED, timelen=5, asked=True)
    port.says(5, ON_HOOK)
    assert (port.only.direction, port.only.duration) == (Direction.UNKNOWN, 10)


@pytest.mark.parametrize("timelen", [0, None])
def test_another_number_on_a_port_that_rings_after_a_silence_is_another_call(
    timelen: int | None,
) -> None:
    port = Port()
    port.says(0, RINGING, "13800138000")
    port.lost(2)
    port.says(6, RINGING, "02188886666", timelen=timelen, asked=True)
    port.says(9, ON_HOOK)
    assert [(call.phone, call.ended) for call in port.over] == [
        ("13800138000", at(0)),
        ("02188886666", at(9)),
    ]


def test_a_number_that_came_or_grew_in_a_silence_is_the_same_calls() -> None:
    for before in ("", "1380"):
        port = Port()
        port.says(0, RINGING, before)
        port.lost(2)
        port.says(6, RINGING, "13800138000", timelen=0, asked=True)
        port.says(9, ON_HOOK)
        (call,) = port.over
        assert (call.phone, call.started, call.ended) == ("13800138000", at(0), at(9))


def test_at_start_up_a_ringing_port_has_a_call_and_zero_seconds_say_nothing() -> None:
    port = Port(known=False)
    port.says(0, RINGING, timelen=0, asked=True)
    port.says(4, ANSWERED)
    port.says(9, ON_HOOK)
    assert (port.only.direction, times(port.only)) == (Direction.IN, (0, 4, 9))


def test_at_start_up_an_idle_port_has_no_call() -> None:
    assert Port().steps == []


@pytest.mark.parametrize("timelen", [-5, 86_401, 10**30])
def test_nonsense_in_timelen_is_not_believed(timelen: int) -> None:
    port = Port(known=False)
    port.says(0, IN_CALL, timelen=timelen, asked=True)
    assert port.tracker.call is not None
    assert port.tracker.call.started == at(0)


def test_timelen_never_puts_a_start_before_the_port_was_last_known_to_be_free() -> None:
    port = Port()
    port.tracker.alive(at(-10))
    port.says(0, IN_CALL, timelen=3600, asked=True)
    assert port.tracker.call is not None
    assert port.tracker.call.started.monotonic == at(-10).monotonic


def test_a_sign_of_life_that_is_told_late_takes_nothing_back() -> None:
    port = Port()
    port.says(-5, ON_HOOK)
    port.tracker.alive(at(-10))
    port.says(0, IN_CALL, timelen=3600, asked=True)
    port.tracker.alive(at(-10))
    call = port.tracker.call
    assert call is not None
    assert (call.started.monotonic, call.last_heard) == (at(-5).monotonic, at(0))


def test_a_call_is_known_as_far_as_its_board_was_heard_whatever_was_said_of_it_last() -> None:
    port = Port()
    port.says(0, RINGING, "1")
    port.tracker.alive(at(20))
    port.says(30, RINGING, "1")
    port.tracker.alive(at(40))
    assert port.tracker.call is not None
    assert port.tracker.call.last_heard == at(40)
    port.lost(50)
    assert port.tracker.call.last_heard == at(40)


def test_a_call_outlives_a_link_loss() -> None:
    port = Port()
    port.says(0, RINGING, "1")
    port.says(5, ANSWERED)
    port.lost(30)
    port.says(90, ANSWERED, "1", timelen=90, asked=True)
    port.says(100, ON_HOOK)
    assert times(port.only) == (0, 5, 100)


def test_a_call_that_was_over_when_the_link_came_back_ended_when_last_heard() -> None:
    port = Port()
    port.says(0, IN_CALL)
    port.tracker.alive(at(25))
    port.lost(40)
    port.tracker.alive(at(90))
    port.says(90, ON_HOOK, asked=True)
    assert times(port.only) == (0, 0, 25)


def test_another_call_that_began_during_the_link_loss_is_another_call() -> None:
    port = Port()
    port.says(0, IN_CALL, "1")
    port.tracker.alive(at(25))
    port.lost(40)
    port.says(90, IN_CALL, "2", Peer.INCOMING, timelen=20, asked=True)
    port.says(95, ON_HOOK)
    first, second = port.over
    assert (first.phone, times(first)) == ("1", (0, 0, 25))
    assert (second.phone, second.direction, times(second)) == ("2", Direction.IN, (70, 70, 95))


def test_after_a_link_loss_timelen_counts_even_where_a_driver_does_not_mark_answers() -> None:
    port = Port()
    port.says(0, IN_CALL)
    port.lost(40)
    port.says(90, IN_CALL, timelen=20)
    assert [times(call) for call in port.over] == [(0, 0, 0)]


def test_a_port_that_still_rings_with_zero_seconds_in_its_call_rings_on() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(20, RINGING, timelen=0, asked=True)
    port.says(30, ON_HOOK)
    assert times(port.only) == (0, None, 30)


def test_a_call_found_among_lost_lines_has_the_direction_that_the_board_says_or_none() -> None:
    port = Port()
    port.says(0, IN_CALL, timelen=3, asked=True)
    port.says(10, ON_HOOK)
    assert port.only.direction is Direction.UNKNOWN


def test_a_missed_ring_and_a_call_out_among_lost_lines_are_two_calls() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(14, IN_CALL, peer=Peer.OUTGOING, timelen=5, asked=True)
    port.says(30, ON_HOOK)
    assert [(call.direction, *times(call)) for call in port.over] == [
        (Direction.UNKNOWN, 0, None, 0),
        (Direction.OUT, 9, 9, 30),
    ]


def test_a_timelen_that_is_off_by_two_seconds_splits_no_call() -> None:
    port = Port()
    port.says(0, IN_CALL)
    port.lost(40)
    port.says(60, IN_CALL, timelen=58, asked=True)
    assert port.over == []


def test_a_board_that_counts_anew_from_the_answer_splits_no_call() -> None:
    port = Port()
    port.says(0, RINGING, timelen=0)
    port.says(20, ANSWERED, timelen=0)
    port.says(25, ANSWERED, "1", timelen=5)
    port.says(30, ON_HOOK)
    assert times(port.only) == (0, 20, 30)


def test_an_answer_that_was_lost_on_a_noisy_wire_is_dated_by_timelen() -> None:
    port = Port()
    port.says(0, RINGING)
    port.tracker.alive(at(5))
    port.says(14, ANSWERED, timelen=4, asked=True)
    port.says(30, ON_HOOK)
    assert times(port.only) == (0, 10, 30)


def test_the_same_caller_answered_during_a_link_loss_is_the_same_call() -> None:
    port = Port()
    port.says(0, RINGING, "10086")
    port.lost(15)
    port.says(60, ANSWERED, "10086", Peer.INCOMING, timelen=50, asked=True)
    port.says(70, ON_HOOK)
    assert times(port.only) == (0, 10, 70)


@pytest.mark.parametrize(
    ("phone", "peer"), [("2", Peer.INCOMING), ("", Peer.OUTGOING), ("", Peer.UNKNOWN)]
)
def test_a_ringing_call_and_a_later_one_after_a_link_loss_are_two(phone: str, peer: Peer) -> None:
    port = Port()
    port.says(0, RINGING, "1")
    port.lost(15)
    port.says(120, IN_CALL, phone, peer, timelen=30, asked=True)
    port.says(130, ON_HOOK)
    assert [times(call) for call in port.over] == [(0, None, 0), (90, 90, 130)]


def test_an_answer_of_unknown_moment_in_a_link_loss_counts_from_the_last_line_heard() -> None:
    port = Port()
    port.says(0, RINGING)
    port.tracker.alive(at(10))
    port.lost(25)
    port.says(60, ANSWERED, timelen=60, asked=True)
    port.says(70, ON_HOOK)
    assert times(port.only) == (0, 10, 70)


def test_a_hang_up_and_a_new_call_between_two_lost_lines_are_two_calls() -> None:
    port = Port()
    port.says(0, IN_CALL, "1")
    port.tracker.alive(at(50))
    port.says(54, IN_CALL, "2", timelen=0, asked=True)
    assert times(port.over[0]) == (0, 0, 50)
    assert port.tracker.phone == "2"


def test_a_hang_up_that_shows_a_gap_ends_the_call_there() -> None:
    port = Port()
    port.says(0, IN_CALL)
    port.tracker.alive(at(50))
    port.says(53, ON_HOOK, asked=True)
    assert times(port.only) == (0, 0, 53)


def test_a_link_that_stays_lost_ends_the_call_when_last_heard() -> None:
    port = Port()
    port.says(0, IN_CALL)
    port.tracker.alive(at(5))
    port.lost(20)
    port.tick(5 + LOST_LONGEST - 1)
    assert port.over == []
    port.tick(5 + LOST_LONGEST)
    assert times(port.only) == (0, 0, 5)


def test_a_long_call_on_a_living_link_is_never_cut() -> None:
    port = Port()
    port.says(0, IN_CALL)
    port.tick(3 * LOST_LONGEST)
    assert port.over == []


def test_ringing_that_was_lost_with_the_link_is_missed() -> None:
    port = Port()
    port.says(0, RINGING)
    port.lost(15)
    port.says(60, ON_HOOK, asked=True)
    assert times(port.only) == (0, None, 0)


def test_after_a_long_link_loss_a_call_out_is_not_taken_for_the_ringing_before() -> None:
    port = Port()
    port.says(0, RINGING)
    port.lost(15)
    port.says(1000, IN_CALL, peer=Peer.OUTGOING, timelen=10, asked=True)
    assert port.tracker.call is not None
    assert (port.tracker.call.direction, times(port.tracker.call)[0]) == (Direction.OUT, 990)


def open_call(started: float, last_heard: float, *, answered: bool = True) -> Call:
    return Call(
        board=7,
        channel=3,
        direction=Direction.OUT if answered else Direction.UNKNOWN,
        phone="10086",
        started=at(started),
        answered=at(started) if answered else None,
        ended=None,
        last_heard=at(last_heard),
    )


def test_a_call_from_the_ledger_goes_on_after_a_restart_without_a_second_start() -> None:
    port = Port(known=False)
    port.tracker.resume(open_call(-100, -5))
    port.says(0, IN_CALL, timelen=100, asked=True)
    port.says(10, ON_HOOK)
    assert [type(step) for step in port.steps] == [Ended]
    assert times(port.over[0]) == (-100, -100, 10)


def test_a_call_from_the_ledger_that_is_over_ended_when_last_heard() -> None:
    port = Port(known=False)
    port.tracker.resume(open_call(-100, -5))
    port.says(0, ON_HOOK, asked=True)
    assert times(port.over[0]) == (-100, -100, -5)


def test_a_ringing_call_from_the_ledger_is_answered_after_the_restart() -> None:
    port = Port(known=False)
    port.tracker.resume(open_call(-10, -5, answered=False))
    port.says(0, ANSWERED, "10086", timelen=2, asked=True)
    port.says(10, ON_HOOK)
    assert port.over[0].direction is Direction.IN
    assert times(port.over[0]) == (-10, -2, 10)


def test_a_call_never_ends_before_it_was_answered_however_old_the_ledgers_word_is() -> None:
    port = Port(known=False)
    port.tracker.resume(replace(open_call(-100, -90), answered=at(-50)))
    port.says(0, ON_HOOK, asked=True)
    assert times(port.over[0]) == (-100, -50, -50)


def test_a_call_that_is_over_cannot_be_resumed() -> None:
    with pytest.raises(ValueError, match="over"):
        ChannelTracker(7, 3).resume(replace(open_call(0, 1), ended=at(1)))


def test_two_changes_in_one_read_are_both_seen() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(0, ANSWERED)
    port.says(0, ON_HOOK)
    assert (port.only.direction, port.only.duration) == (Direction.IN, 0)


def test_what_the_port_does_can_be_shown() -> None:
    port = Port(known=False)
    assert (port.tracker.state, port.tracker.since, port.tracker.peer) == (None, None, Peer.UNKNOWN)
    port.says(0, RINGING, "1")
    port.says(2, RINGING, "1")
    assert (port.tracker.state, port.tracker.since) == (RINGING, at(0))
    assert (port.tracker.peer, port.tracker.phone) == (Peer.INCOMING, "1")
    port.says(3, ON_HOOK)
    assert (port.tracker.peer, port.tracker.phone) == (Peer.UNKNOWN, "")
    port.says(4, IN_CALL)
    assert port.tracker.peer is Peer.OUTGOING


def test_an_answer_that_is_said_at_the_end_lies_where_the_board_puts_it() -> None:
    port = Port()
    port.says(0, RINGING, "1")
    port.tracker.alive(at(50))
    port.says(50, IN_CALL, "1", Peer.INCOMING, ago=42)
    port.says(50, ON_HOOK, ago=2)
    assert times(port.only) == (0, 8, 48)
    assert port.only.direction is Direction.IN


def test_an_answer_that_is_said_late_never_lies_before_the_ringing() -> None:
    port = Port()
    port.says(0, RINGING)
    port.says(5, IN_CALL, ago=60)
    port.says(9, ON_HOOK)
    assert times(port.only) == (0, 0, 9)


def test_going_off_hook_that_is_said_late_lies_before_though_the_port_was_taken_for_free() -> None:
    port = Port()
    port.tracker.alive(at(10))
    port.says(10, IN_CALL, "10086", Peer.OUTGOING, ago=6)
    port.says(20, ON_HOOK)
    assert (port.only.direction, times(port.only)) == (Direction.OUT, (4, 4, 20))


def test_a_call_that_is_said_late_never_begins_before_the_one_before_it_ended() -> None:
    port = Port()
    port.says(0, IN_CALL, "1")
    port.says(10, ON_HOOK)
    port.says(20, IN_CALL, "2", Peer.OUTGOING, ago=60)
    assert port.tracker.call is not None
    assert times(port.tracker.call)[0] == 10


def test_a_whole_call_told_at_its_end_is_the_one_that_the_ledger_knows_to_go_on() -> None:
    port = Port(known=False)
    port.tracker.resume(open_call(-100, -5))
    port.says(0, IN_CALL, "10086", Peer.OUTGOING, ago=100)
    port.says(0, ON_HOOK)
    assert times(port.only_end) == (-100, -100, 0)


def test_an_assumed_state_ends_no_call_and_makes_an_unknown_port_known() -> None:
    port = Port(known=False)
    port.says(0, ON_HOOK, assumed=True)
    assert port.tracker.state is ON_HOOK
    port.tracker.resume(open_call(-100, -5))
    assert port.says(1, ON_HOOK, assumed=True) == []
    assert port.tracker.call is not None


def test_a_wall_clock_that_went_back_during_a_call_does_not_shorten_it() -> None:
    call = replace(open_call(0, 0), ended=Stamp(NOON - 5000, at(60).monotonic))
    assert call.clock_jump == -5060
    assert (call.duration, call.elapsed) == (60, 60)


lines = st.builds(
    ChannelState,
    channel=st.just(3),
    state=st.sampled_from(LineState),
    peer=st.sampled_from(Peer),
    phone=st.text("0123456789*#", max_size=40),
    timelen=st.none() | st.integers(0, 700) | st.integers(-(10**9), 10**9),
    asked=st.booleans(),
    ago=st.just(0.0) | st.floats(-10, 700) | st.floats(0, 10**9),
    assumed=st.booleans(),
)
moves = st.one_of(lines, st.sampled_from(["alive", "lost", "tick"]))
pauses = st.floats(0, 400) | st.just(0.0) | st.floats(0, 20_000)
opening = st.none() | st.booleans()


@given(st.lists(st.tuples(pauses, moves), max_size=40), opening)
def test_whatever_is_said_each_call_starts_once_ends_once_and_is_booked_soundly(
    story: list[tuple[float, ChannelState | str]], resumed: bool | None
) -> None:
    tracker = ChannelTracker(7, 3)
    steps: list[Step] = []
    if resumed is not None:
        found = open_call(-300.5, -3.25, answered=resumed)
        tracker.resume(found)
        steps.append(Started(found))
    seconds = 0.0
    for pause, move in story:
        seconds += pause
        if isinstance(move, ChannelState):
            steps += tracker.hear(move, at(seconds))
        elif move == "alive":
            tracker.alive(at(seconds))
        else:
            steps += getattr(tracker, move)(at(seconds))
    going_on = False
    last_end = float("-inf")
    for step in steps:
        assert isinstance(step, Started) is not going_on
        going_on = not isinstance(step, Ended)
        if isinstance(step, Started):
            assert step.call.started.monotonic >= last_end
        if isinstance(step, Ended):
            assert step.call.ended is not None
            last_end = step.call.ended.monotonic
            assert step.call.duration >= 0
            assert step.call.elapsed >= step.call.duration - 1e-6
            fields = record_fields(1, step.call, "02:00:00:00:00:01", recorded=False)
            assert fields.hang_up - fields.duration >= fields.start
            assert abs(fields.hang_up - step.call.ended.wall) <= 2
            assert len(step.call.phone) <= 32
    assert (tracker.call is not None) is going_on
