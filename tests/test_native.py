"""The native driver: lines become events, lost ones are noticed, orders are answered."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.boards.bench import BadWire
from agent.boards.driver import BoardOptions, DialRefused, find_driver
from agent.boards.events import (
    BoardHello,
    ChannelState,
    DialAnswer,
    Event,
    LineState,
    Peer,
)
from agent.boards.frames import frame
from agent.boards.native import NativeDriver
from tests.boards import HandClock, NativeBoard

SYNC = frame("SYNC")
NOT_CONNECTED, ON_HOOK, IN_CALL, RINGING, ANSWERED, FAULT = LineState


class Bench:
    """A driver and a board on one table, and a clock between them."""

    def __init__(self, channels: int = 4, board_channels: int | None = None) -> None:
        self.clock = HandClock()
        self.board = NativeBoard(channels=board_channels or channels)
        self.driver = NativeDriver(BoardOptions(1, channels), self.clock.monotonic)
        self.driver.opened()
        self.said: list[Event] = []

    def run(self, seconds: float, *, beats: bool = True) -> None:
        """Let time pass, orders and answers go to and fro, in steps of a tenth of a second."""
        for tenth in range(round(seconds * 10)):
            self.clock.now += 0.1
            line = self.board.beat() if beats and tenth % 50 == 49 else b""
            self.said += self.driver.feed(line)
            self.said += self.driver.feed(self.board.hear(self.driver.poll()))

    def states(self) -> dict[int, LineState]:
        """Each port's last said state."""
        return {one.channel: one.state for one in self.said if isinstance(one, ChannelState)}

    def heard(self, line: bytes) -> list[Event]:
        events = self.driver.feed(line)
        self.said += events
        return events

    def in_step(self) -> bool:
        return self.driver.in_step

    def syncs(self) -> int:
        return [order.type for order in self.board.orders].count("SYNC")


@pytest.fixture
def bench() -> Bench:
    """A bench whose driver knows every port."""
    bench = Bench()
    bench.run(1)
    assert bench.in_step()
    return bench


def test_the_driver_is_found_by_its_name_or_its_absence_is_explained() -> None:
    with pytest.raises(LookupError, match="no driver 'toaster' is installed"):
        find_driver("toaster")


def test_on_opening_the_board_is_asked_and_says_every_port() -> None:
    bench = Bench(channels=2)
    assert not bench.in_step()
    assert bench.driver.poll() == SYNC
    bench.board.change(2, RINGING, "139*1", Peer.INCOMING, 4)
    assert bench.heard(bench.board.hear(SYNC)) == [
        BoardHello(1, 2, "test"),
        ChannelState(1, ON_HOOK, Peer.UNKNOWN, "", 0, asked=True),
        ChannelState(2, RINGING, Peer.INCOMING, "139*1", 4, asked=True),
    ]
    assert bench.in_step()
    assert bench.driver.due() is None


def test_a_half_line_from_before_the_port_was_lost_damages_nothing(bench: Bench) -> None:
    bench.heard(bench.board.beat()[:7])
    bench.driver.opened()
    bench.heard(bench.board.beat())
    assert bench.driver.bad_frames == 0


def test_a_change_that_was_not_asked_for_says_so(bench: Bench) -> None:
    assert bench.heard(bench.board.change(3, IN_CALL, "1", Peer.OUTGOING, 9)) == [
        ChannelState(3, IN_CALL, Peer.OUTGOING, "1", 9, asked=False)
    ]


def test_two_ports_changing_in_one_read_are_two_events(bench: Bench) -> None:
    both = bench.board.change(1, RINGING) + bench.board.change(2, IN_CALL)
    assert [type(event) for event in bench.heard(both)] == [ChannelState, ChannelState]


def test_letters_of_the_caller_id_chip_are_star_and_hash(bench: Bench) -> None:
    (event,) = bench.heard(frame("CH", 4, 1, 3, 2, "+86A1B2", 0))
    assert isinstance(event, ChannelState)
    assert event.phone == "+86*1#2"


def test_a_number_full_of_nonsense_is_stripped_and_cut(bench: Bench) -> None:
    (event,) = bench.heard(frame("CH", 4, 1, 3, 2, "C;-x" + "7" * 60, 0))
    assert isinstance(event, ChannelState)
    assert event.phone == "7" * 32


MALFORMED: dict[str, tuple[str | int, ...]] = {
    "a state that does not exist": ("CH", 4, 1, 9, 0, "", 0),
    "a side that does not exist": ("CH", 4, 1, 1, 3, "", 0),
    "port 0": ("CH", 4, 0, 1, 0, "", 0),
    "a port over the configured ones": ("CH", 4, 5, 1, 0, "", 0),
    "a duration that is no number": ("CH", 4, 1, 1, 0, "", "x"),
    "a negative duration": ("CH", 4, 1, 1, 0, "", "-1"),
    "an endless duration": ("CH", 4, 1, 1, 0, "", "9" * 40),
    "a duration in other digits than ASCII ones": ("CH", 4, 1, 1, 0, "", "1e3"),
    "too few fields": ("CH", 4, 1, 1),
    "no fields": ("CH",),
    "a sequence number over 255": ("CH", 256, 1, 1, 0, "", 0),
    "a beat without a number": ("BEAT",),
    "a beat of nonsense": ("BEAT", "x"),
    "a HELLO cut short": ("HELLO", 1, 1),
    "a HELLO of nonsense": ("HELLO", "one", 1, 4, "f"),
    "an OK without a number": ("OK",),
    "an ERR without a code": ("ERR", 1),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_good_frame_that_makes_no_sense_is_counted_and_ignored(
    bench: Bench, fields: tuple[str | int, ...]
) -> None:
    assert bench.heard(frame(*fields)) == []
    assert bench.driver.ignored == 1
    assert bench.driver.bad_frames == 0


def test_unknown_types_and_surplus_fields_are_for_boards_to_come(bench: Bench) -> None:
    assert bench.heard(frame("TEMPERATURE", 31)) == []
    assert len(bench.heard(frame("CH", 4, 1, 3, 0, "", 0, "more", "and more"))) == 1
    assert bench.driver.ignored == 0


def test_damaged_lines_are_counted_apart_from_good_ones(bench: Bench) -> None:
    good = bench.driver.frames
    bench.heard(b"noise" + bench.board.beat() + b"$BEAT,1*0000\r\n")
    assert (bench.driver.frames, bench.driver.bad_frames) == (good + 1, 2)


def test_a_gap_in_the_numbers_asks_the_board_and_marks_what_comes(bench: Bench) -> None:
    bench.board.change(1, RINGING)
    (event,) = bench.heard(bench.board.change(2, IN_CALL))
    assert isinstance(event, ChannelState)
    assert event.asked
    assert not bench.in_step()
    bench.run(3)
    assert bench.states() == {1: RINGING, 2: IN_CALL, 3: ON_HOOK, 4: ON_HOOK}
    assert bench.in_step()
    assert bench.syncs() == 2


def test_a_beat_gives_a_lost_line_away(bench: Bench) -> None:
    bench.board.change(1, RINGING)
    bench.run(6)
    assert bench.states()[1] is RINGING


def test_numbers_go_round_after_255(bench: Bench) -> None:
    for _ in range(600):
        bench.heard(bench.board.say(1))
    bench.run(3)
    assert bench.syncs() == 1


def test_a_doubled_line_is_no_gap(bench: Bench) -> None:
    bench.heard(bench.board.change(1, RINGING) * 2)
    bench.run(3)
    assert bench.syncs() == 1


def test_a_board_that_was_power_cycled_is_asked_again(bench: Bench) -> None:
    bench.run(10)
    bench.board.ports[3].state = FAULT
    bench.heard(bench.board.power_up())
    bench.run(3)
    assert bench.states()[3] is FAULT
    assert bench.syncs() == 2


def test_a_wire_that_was_silent_for_two_beats_may_hide_a_change_so_the_board_is_asked(
    bench: Bench,
) -> None:
    bench.run(14, beats=False)
    bench.heard(bench.board.beat())
    assert not bench.in_step()
    bench.run(3)
    assert bench.syncs() == 2


def test_a_silent_board_is_asked_every_two_seconds() -> None:
    bench = Bench()
    bench.board.deaf = True
    bench.run(20, beats=False)
    assert 9 <= bench.syncs() <= 11


def test_a_wire_that_loses_every_other_line_causes_no_flood_of_questions(bench: Bench) -> None:
    for _ in range(100):
        bench.board.say(1)
        bench.heard(bench.board.say(2))
        bench.driver.poll()
        bench.clock.now += 0.1
    count = sum(bench.driver.poll() == SYNC for _ in range(100))
    assert count <= 1
    bench = Bench()
    asked = 0
    for _ in range(100):
        bench.board.say(1)
        bench.heard(bench.board.say(2))
        asked += bench.driver.poll() == SYNC
        bench.clock.now += 0.1
    assert 5 <= asked <= 11


def test_a_board_with_fewer_ports_than_configured_is_said_and_serves_those_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(channels=4, board_channels=2)
    with caplog.at_level(logging.WARNING):
        bench.run(60)
        bench.heard(bench.board.power_up())
        bench.run(5)
    assert bench.states() == {1: ON_HOOK, 2: ON_HOOK}
    assert bench.in_step()
    assert [record.message for record in caplog.records] == [
        "board 1 says it has 2 ports, but boards[].channels is 4: correct the configuration"
    ]


def test_a_board_that_never_says_all_its_ports_is_asked_ever_more_slowly() -> None:
    bench = Bench(channels=4)
    del bench.board.ports[4]
    bench.board.hello = lambda: frame("HELLO", 1, 1, 4, "liar")  # type: ignore[method-assign]
    bench.run(300)
    assert bench.states() == {1: ON_HOOK, 2: ON_HOOK, 3: ON_HOOK}
    assert bench.syncs() < 12


def test_another_version_of_the_protocol_is_said_once_and_understood_as_far_as_it_goes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert bench.heard(frame("HELLO", 2, 1, 4, "new")) == [BoardHello(1, 4, "new")]
    assert len(caplog.records) == 1
    assert "version 2" in caplog.text


def test_an_order_to_dial_reaches_the_board_and_is_answered(bench: Bench) -> None:
    line = bench.driver.dial(2, "*86#10")
    assert bench.heard(bench.board.hear(line)) == [DialAnswer(2, accepted=True)]
    (order,) = bench.board.obeyed
    assert (order.type, order.fields[1:]) == ("DIAL", ("2", "A86B10"))
    assert 1 <= int(order.fields[0]) <= 65_535


@pytest.mark.parametrize(
    ("code", "busy", "reason"),
    [
        (1, True, "busy"),
        (2, False, "no such port"),
        (3, False, "no line"),
        (4, False, "bad one"),
        (9, False, "refused"),
        (77, False, "code 77"),
    ],
)
def test_a_refusal_says_why(bench: Bench, code: int, busy: bool, reason: str) -> None:
    bench.board.refuse_with = code
    (answer,) = bench.heard(bench.board.hear(bench.driver.dial(1, "1")))
    assert isinstance(answer, DialAnswer)
    assert (answer.channel, answer.accepted, answer.busy) == (1, False, busy)
    assert reason in answer.reason


@pytest.mark.parametrize("phone", ["", "1" * 33, "12a", "+86", "1 2", "1,2", "1\n", "A", "１２"])
def test_a_number_that_no_line_can_dial_is_refused(bench: Bench, phone: str) -> None:
    with pytest.raises(DialRefused, match="digits"):
        bench.driver.dial(1, phone)


@pytest.mark.parametrize("channel", [0, 5, -1])
def test_a_port_that_is_not_there_is_refused(bench: Bench, channel: int) -> None:
    with pytest.raises(DialRefused, match="no port"):
        bench.driver.dial(channel, "1")


def test_an_unanswered_order_is_repeated_twice_with_its_number_then_given_up(bench: Bench) -> None:
    line = bench.driver.dial(1, "10086")
    sent = [line]
    for _ in range(100):
        bench.clock.now += 0.1
        bench.heard(b"")
        sent += [out] if (out := bench.driver.poll()) else []
    assert sent == [line, line, line]
    assert bench.said[-1] == DialAnswer(1, False, "the board did not answer")
    assert len([event for event in bench.said if isinstance(event, DialAnswer)]) == 1


def test_an_order_that_was_given_up_is_never_sent_again(bench: Bench) -> None:
    bench.driver.dial(1, "10086")
    bench.clock.now += 3600
    assert b"DIAL" not in bench.driver.poll()


def test_an_order_whose_answer_was_lost_is_obeyed_once(bench: Bench) -> None:
    bench.board.hear(bench.driver.dial(1, "10086"))
    bench.run(3)
    assert len(bench.board.obeyed) == 1
    assert bench.said[-1] == DialAnswer(1, accepted=True)


def test_a_doubled_or_late_answer_says_nothing_more(bench: Bench) -> None:
    answer = bench.board.hear(bench.driver.dial(1, "1"))
    assert len(bench.heard(answer * 3)) == 1
    assert bench.heard(frame("ERR", 4711, 1)) == []


def test_a_second_order_for_a_port_waits_for_the_first_ones_answer(bench: Bench) -> None:
    bench.driver.dial(1, "1")
    with pytest.raises(DialRefused, match="not answered"):
        bench.driver.dial(1, "2")
    bench.driver.dial(2, "2")


@pytest.mark.parametrize("how", ["opened", "power cycle"])
def test_an_order_is_never_repeated_to_a_board_that_may_have_forgotten_it(
    bench: Bench, how: str
) -> None:
    bench.run(10)
    bench.board.hear(bench.driver.dial(1, "1"))
    if how == "opened":
        bench.driver.opened()
    else:
        bench.heard(bench.board.power_up())
    bench.run(10)
    assert len(bench.board.obeyed) == 1
    answers = [event for event in bench.said if isinstance(event, DialAnswer)]
    assert [answer.accepted for answer in answers] == [False]


def test_numbers_of_orders_stay_in_range_and_differ(bench: Bench) -> None:
    numbers = []
    for _ in range(66_000):
        order = bench.driver.dial(1, "1")
        number = int(order.split(b",")[1])
        numbers.append(number)
        bench.driver.feed(frame("OK", number))
    assert min(numbers) == 1
    assert max(numbers) == 65_535
    assert len(set(numbers[:65_535])) == 65_535


def test_two_runs_of_the_agent_do_not_begin_with_the_same_number() -> None:
    early, late = HandClock(1000.0), HandClock(1060.5)
    lines = {
        NativeDriver(BoardOptions(1, 1), clock.monotonic).dial(1, "1") for clock in (early, late)
    }
    assert len(lines) == 2


def test_a_line_can_be_put_back(bench: Bench) -> None:
    line = bench.driver.hang_up(3)
    assert bench.driver.hang_up(3) == line
    assert bench.heard(bench.board.hear(line)) == []
    (order,) = bench.board.obeyed
    assert (order.type, order.fields[1:]) == ("HANG", ("3",))


def test_the_driver_says_when_it_wants_to_be_called(bench: Bench) -> None:
    assert bench.driver.due() is None
    bench.driver.dial(1, "1")
    assert bench.driver.due() == bench.clock.now + 2


good_lines = st.sampled_from(
    [
        *[frame("CH", seq, channel, 3, 0, "1", 0) for seq in (4, 5, 9) for channel in (1, 4, 5)],
        *[frame(*fields) for fields in MALFORMED.values()],
        frame("HELLO", 1, 1, 4, "f"),
        frame("BEAT", 4),
        frame("OK", 1),
        frame("ERR", 1, 1),
    ]
)
anything = st.lists(st.one_of(st.binary(max_size=30), good_lines), max_size=15).map(b"".join)


@given(anything)
def test_after_any_bytes_the_next_good_line_is_understood(data: bytes) -> None:
    driver = NativeDriver(BoardOptions(1, 4), HandClock().monotonic)
    driver.opened()
    driver.feed(data)
    driver.poll()
    driver.feed(b"\n")
    (event,) = driver.feed(frame("CH", 77, 2, 2, 1, "10086", 5))
    assert isinstance(event, ChannelState)
    assert (event.channel, event.state, event.phone) == (2, IN_CALL, "10086")


@given(anything)
def test_bytes_one_at_a_time_say_the_same_as_all_at_once(data: bytes) -> None:
    clock = HandClock()
    whole, single = (NativeDriver(BoardOptions(1, 4), clock.monotonic) for _ in range(2))
    whole.opened()
    single.opened()
    expected = whole.feed(data)
    got = [event for at in range(len(data)) for event in single.feed(data[at : at + 1])]
    assert got == expected
    assert (single.frames, single.bad_frames) == (whole.frames, whole.bad_frames)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_over_a_wire_that_mangles_a_fifth_of_its_bytes_the_boards_true_state_is_found(
    seed: int,
) -> None:
    bench = Bench()
    mangle(bench, seed, share=0.2)
    assert bench.states() == {channel: port.state for channel, port in bench.board.ports.items()}


@pytest.mark.parametrize("share", [0.002, 0.01])
@pytest.mark.parametrize("seed", range(5))
def test_over_a_wire_that_is_only_bad_now_and_then_too(seed: int, share: float) -> None:
    bench = Bench()
    mangle(bench, seed, share)
    assert bench.driver.bad_frames > 0
    assert bench.states() == {channel: port.state for channel, port in bench.board.ports.items()}


def mangle(bench: Bench, seed: int, share: float) -> None:
    """A minute of changes over bad wires in both directions, then half a minute of good ones."""
    to_host, to_board = BadWire(seed, share), BadWire(seed + 1, share)
    for tenth in range(900):
        if tenth == 600:
            to_host.share = to_board.share = 0.0
        bench.clock.now += 0.1
        line = b""
        if tenth < 600 and tenth % 7 == 0:
            states = list(LineState)
            line = bench.board.change(tenth % 4 + 1, states[(tenth * 31 + seed) % len(states)])
        if tenth % 50 == 0:
            line += bench.board.beat()
        answer = bench.board.hear(to_board.carry(bench.driver.poll()))
        bench.heard(to_host.carry(line + answer))
