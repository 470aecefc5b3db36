"""The YES Tele monitor: its events, its answers, and rings that have no end of their own."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.boards.driver import BoardOptions, DialRefused
from agent.boards.events import BoardHello, ChannelState, Event, LineState, Peer
from agent.boards.yes4 import DOUBT_APART, MOST_TRIES, ROUND_APART, Yes4Driver
from agent.boards.yes4_line import NEXT_RING, NEXT_RING_AFTER_STOP
from agent.calls import Call, ChannelTracker, Ended, Started, Step
from agent.simulation.yes4_model import Yes4Model
from tests.boards import HandClock

ON_HOOK, IN_CALL, RINGING = LineState.ON_HOOK, LineState.IN_CALL, LineState.RINGING
TRANSCRIPT = (
    *("+2,1,001", "+2,2,001", "+1,9543440584,Y E S SOFTWARE ,001"),
    *("+2,1,001", "+2,2,001", "+2,3,001", "+2,0,001"),
)
"""The transcript of BOARDS.md 3, byte for byte."""


class Line:
    """A driver whose box answers, the tracker of port 1, and a clock turned by hand."""

    def __init__(self, *, answers: str = "0") -> None:
        self.clock = HandClock(monotonic=0.0, wall=1_700_000_000.0)
        self.driver = Yes4Driver(BoardOptions(1, 4), self.clock.monotonic)
        self.driver.opened()
        self.tracker = ChannelTracker(1, 1)
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.asked: list[bytes] = []
        self.answers = answers
        """The code of each line as the box would say it when asked; empty: it does not answer."""
        self.waits(1.0)
        self.events.clear()

    def hears(self, *lines: str) -> list[Event]:
        events = self.driver.feed("".join(f"{line}\r\n" for line in lines).encode("latin-1"))
        self.events += events
        for event in events:
            if isinstance(event, ChannelState) and event.channel == 1:
                self.steps += self.tracker.hear(event, self.clock.stamp())
        return events

    def waits(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.now = round(self.clock.now + 0.1, 3)
            question = self.driver.poll()
            self.asked += [question] if question else []
            number = question[3:-1]
            answer = number.isdigit() and self.answers
            self.hears(*([f"+7,{self.answers},{int(number):03}"] if answer else []))

    @property
    def over(self) -> list[Call]:
        return [step.call for step in self.steps if isinstance(step, Ended)]

    @property
    def summary(self) -> list[tuple[str, str, float, float]]:
        """Direction, number, start and length of each call that is over."""
        return [
            (call.direction.name, call.phone, call.started.monotonic, round(call.duration, 1))
            for call in self.over
        ]


@pytest.fixture
def line() -> Line:
    return Line()


def test_on_opening_it_enters_event_mode_and_asks_each_line() -> None:
    line = Line()
    assert line.asked == [b"ATSN\r", b"ATS1\r", b"ATS2\r", b"ATS3\r", b"ATS4\r"]
    assert line.driver.in_step
    assert line.tracker.state is ON_HOOK


def test_the_transcript_of_the_manual_is_an_answered_call(line: Line) -> None:
    for said in TRANSCRIPT[:-1]:
        line.hears(said)
        line.waits(2)
    line.hears(TRANSCRIPT[-1])
    assert line.summary == [("IN", "9543440584", 1.0, 2.0)]
    assert line.driver.bad_frames == 0


def test_rings_that_cease_are_a_missed_call_that_ended_with_the_last_one(line: Line) -> None:
    line.hears("+2,1,001")
    line.waits(2)
    line.hears("+2,2,001")
    line.waits(4)
    line.hears("+2,1,001")
    line.waits(2)
    line.hears("+2,2,001")
    line.waits(NEXT_RING_AFTER_STOP + 0.2)
    (call,) = line.over
    assert call.ended is not None
    assert (call.direction.name, round(call.ended.monotonic, 1)) == ("UNKNOWN", 9.0)


def test_a_ring_whose_stop_was_lost_ends_too(line: Line) -> None:
    line.hears("+2,1,001")
    line.waits(NEXT_RING - 0.2)
    assert line.over == []
    line.waits(0.4)
    assert line.summary == [("UNKNOWN", "", 1.0, 0.0)]


def test_an_outgoing_call_grows_with_its_digits(line: Line) -> None:
    line.hears("+2,4,001", *(f"+5,{digit},001" for digit in "10086*1#"))
    line.waits(5)
    line.hears("+2,0,001")
    assert line.summary == [("OUT", "10086*1#", 1.0, 5.0)]


def test_digits_pressed_in_an_incoming_call_are_not_its_number(line: Line) -> None:
    line.hears("+2,1,001", "+1,123,NAME,001", "+2,3,001", "+5,9,001")
    assert line.tracker.phone == "123"


def test_a_failed_caller_id_is_a_call_without_number(line: Line) -> None:
    line.hears("+2,1,001", "+8,1,001")
    assert (line.tracker.state, line.tracker.phone) == (RINGING, "")
    assert line.driver.bad_frames == 0


def test_a_ring_that_stops_because_the_line_was_taken_is_no_new_ringing(line: Line) -> None:
    line.hears("+2,1,001", "+2,3,001", "+2,2,001")
    assert line.tracker.state is IN_CALL


def test_distinctive_rings_ring(line: Line) -> None:
    line.hears("+2,1,001", "+2,5,001")
    assert line.tracker.state is RINGING


def test_a_detail_gives_a_number_that_was_not_heard(line: Line) -> None:
    line.hears("+2,4,001", "+6,0504214900,18005551234,NAME,1,001")
    assert line.tracker.phone == "18005551234"


def test_another_caller_right_after_one_gave_up_is_another_call(line: Line) -> None:
    line.hears("+2,1,001", "+1,111,ONE,001")
    line.waits(2)
    line.hears("+2,2,001")
    line.waits(3)
    line.hears("+2,1,001")
    line.waits(1)
    line.hears("+1,222,TWO,001")
    line.waits(1)
    line.hears("+2,3,001")
    line.waits(3)
    line.hears("+2,0,001")
    assert line.summary == [("UNKNOWN", "111", 1.0, 0.0), ("IN", "222", pytest.approx(6.0), 3.0)]


def test_a_line_that_is_taken_for_a_call_out_while_it_seemed_to_ring_had_a_missed_call(
    line: Line,
) -> None:
    line.hears("+2,1,001", "+2,2,001")
    line.waits(3)
    line.hears("+2,4,001", "+5,1,001")
    line.waits(3)
    line.hears("+2,0,001")
    assert line.summary == [("UNKNOWN", "", 1.0, 0.0), ("OUT", "1", pytest.approx(4.0), 3.0)]


@pytest.mark.parametrize(
    ("code", "state", "peer"),
    [
        ("0", ON_HOOK, Peer.UNKNOWN),
        ("1", RINGING, Peer.INCOMING),
        ("3", IN_CALL, Peer.INCOMING),
        ("4", IN_CALL, Peer.OUTGOING),
    ],
)
def test_an_answer_tells_the_lines_state(
    line: Line, code: str, state: LineState, peer: Peer
) -> None:
    (event,) = line.hears(f"+7,{code},002")
    assert event == ChannelState(2, state, peer, asked=True)


def test_an_answer_between_two_rings_ends_no_ringing(line: Line) -> None:
    line.hears("+2,1,001", "+2,2,001")
    assert line.hears("+7,2,001", "+7,0,001") == []
    assert line.tracker.state is RINGING


def test_a_line_whose_last_event_was_a_ring_once_is_taken_for_idle() -> None:
    line = Line(answers="2")
    assert line.tracker.state is ON_HOOK
    assert line.steps == []


def test_a_change_that_the_wire_lost_is_found_within_a_round(line: Line) -> None:
    line.answers = "4"
    line.waits(ROUND_APART + 1)
    assert line.tracker.state is IN_CALL


def test_a_damaged_line_is_asked_after_soon(line: Line) -> None:
    line.hears("+2,x,001")
    assert not line.driver.in_step
    assert line.driver.bad_frames == 1
    line.asked.clear()
    line.waits(DOUBT_APART + 1)
    assert line.asked[0] == b"ATSN\r"
    assert len(line.asked) == 5
    assert line.driver.in_step


@pytest.mark.parametrize(
    "said",
    [
        *("+2,1,01", "+2,1,0001", "+2,9,001", "+2,,001", "+7,x,001", "+5,xx,001", "+2,1,009"),
        *("+2,1,001+2,2,001", "2,1,001", "+2,1", "noise", "+1,1,A,001 +2,1,001", "\xff"),
    ],
)
def test_what_is_no_event_of_a_configured_line_is_damage(line: Line, said: str) -> None:
    assert line.hears(said) == []
    assert line.driver.bad_frames == 1


@pytest.mark.parametrize("said", ["ATS1", "OK", "", "+9,1,001", "+8,2,001"])
def test_echo_results_and_unknown_events_are_neither_damage_nor_news(line: Line, said: str) -> None:
    assert line.hears(said) == []
    assert line.driver.bad_frames == 0


def test_a_box_with_fewer_lines_than_configured_serves_those_it_has() -> None:
    clock = HandClock()
    model = Yes4Model(channels=2)
    driver = Yes4Driver(BoardOptions(1, 4), clock.monotonic)
    driver.opened()
    said: list[Event] = []
    for _ in range(round((ROUND_APART + MOST_TRIES * 4) * 10)):
        clock.now += 0.1
        said += driver.feed(model.feed(driver.poll(), clock.now))
    assert driver.in_step
    assert {one.channel for one in said if isinstance(one, ChannelState)} == {1, 2}
    assert [one for one in said if isinstance(one, BoardHello)] == [
        BoardHello(1, 4, "YES Tele MLM-4X")
    ]


def test_a_box_that_fell_silent_is_not_taken_for_unchanged(line: Line) -> None:
    line.answers = ""
    line.waits(2 * ROUND_APART + 2)
    assert not line.driver.in_step
    assert line.asked.count(b"ATSN\r") == 3


def test_it_cannot_dial_and_says_so(line: Line) -> None:
    with pytest.raises(DialRefused, match="a yes4 board cannot dial"):
        line.driver.dial(1, "10086")
    assert line.driver.findings() == ["it does not dial, so calls that the platform asks for fail"]


said_lines = st.one_of(
    st.sampled_from(TRANSCRIPT),
    st.builds(lambda code, data: f"+{code},{data},001", st.integers(0, 9), st.text(max_size=20)),
    st.text(max_size=40),
)


@given(st.lists(st.tuples(st.floats(0, 20), said_lines), max_size=30))
def test_whatever_is_said_calls_start_once_and_end_once(story: list[tuple[float, str]]) -> None:
    line = Line()
    for pause, said in story:
        line.clock.now += pause
        line.hears(said.encode("utf-8", "surrogatepass").decode("latin-1"))
    going_on = False
    for step in line.steps:
        assert isinstance(step, Started) is not going_on
        going_on = not isinstance(step, Ended)
    assert all(call.duration >= 0 for call in line.over)


@pytest.mark.parametrize("seed", range(4))
def test_calls_whose_lines_are_lost_now_and_then_end_in_the_true_state(seed: int) -> None:
    chance = random.Random(seed)
    clock = HandClock()
    model = Yes4Model()
    driver = Yes4Driver(BoardOptions(1, 4), clock.monotonic)
    driver.opened()
    states: dict[int, LineState] = {}
    for turn in range(3000):
        clock.now += 0.1
        data = model.tick(clock.now) + model.feed(driver.poll(), clock.now)
        if turn < 2000 and turn % 20 == 0:
            channel = turn // 20 % 4 + 1
            state = chance.choice((ON_HOOK, RINGING, IN_CALL))
            if state is not model.ports[channel].state:
                peer = Peer.INCOMING if state is RINGING else None
                if (model.ports[channel].state, state) == (ON_HOOK, IN_CALL):
                    peer = Peer.OUTGOING
                data += model.change(channel, clock.now, state, peer)
        if turn < 2000 and chance.random() < 0.2:
            data = b""
        for event in driver.feed(data):
            if isinstance(event, ChannelState):
                states[event.channel] = event.state
    assert states == {channel: port.state for channel, port in model.ports.items()}
