"""The modem driver: set up, rings, caller ID, hook codes, dialling, and a modem that lost power."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.boards.bench import BadWire
from agent.boards.driver import BadOption, BoardOptions, DialRefused, OptionValue
from agent.boards.events import BoardHello, ChannelState, DialAnswer, Event, LineState, Peer
from agent.boards.modem import ANSWER_WITHIN, SET_UP_AGAIN, ModemDriver
from agent.boards.modem_line import DIGITS_APART, LINE_AGAIN, RING_MARGIN
from agent.boards.modem_lines import MOST_LINE
from agent.boards.modem_presence import BETTER_AFTER, PROBE_APART
from agent.boards.modem_results import DIALLED_WITHIN
from agent.boards.modem_setup import CALLER_ID
from agent.boards.testing import DriverContract
from agent.calls import Call, ChannelTracker, Direction, Ended
from agent.simulation.modem_model import ModemModel
from tests.boards import HandClock

NOT_CONNECTED, ON_HOOK, IN_CALL, RINGING, ANSWERED, FAULT = LineState
CADENCE = 6.0
PHONE = "13800138000"
RINGS = ChannelState(1, RINGING, Peer.INCOMING)
IDLE = ChannelState(1, ON_HOOK)


class Bench:
    """A driver and a modem on one table, and a clock between them."""

    def __init__(self, modem: ModemModel | None = None, **options: OptionValue) -> None:
        self.clock = HandClock()
        self.modem = modem or ModemModel()
        self.driver = ModemDriver(BoardOptions(1, 1, options), self.clock.monotonic)
        self.driver.opened()
        self.said: list[Event] = []
        self.bad: list[tuple[bytes, str]] = []
        self.driver.on_bad = lambda piece, reason: self.bad.append((piece, reason))

    def run(self, seconds: float) -> list[Event]:
        """Let time pass in steps of a tenth, bytes going to and fro; return what was said."""
        before = len(self.said)
        for _ in range(round(seconds * 10)):
            self.clock.now += 0.1
            self.hear(self.modem.tick(self.clock.now))
            self.hear(self.modem.feed(self.driver.poll(), self.clock.now))
        return self.said[before:]

    def hear(self, data: bytes) -> list[Event]:
        events = self.driver.feed(data)
        self.said += events
        return events

    def lines(self, *lines: str) -> list[Event]:
        """The modem says these lines at once."""
        return self.hear("".join(f"\r\n{line}\r\n" for line in lines).encode())

    def dial(self, phone: str = PHONE) -> list[Event]:
        """Order a call and let the modem answer."""
        before = len(self.said)
        self.hear(self.modem.feed(self.driver.dial(1, phone), self.clock.now))
        self.run(0.5)
        return self.said[before:]

    def move(self, state: LineState, peer: Peer | None = None, phone: str | None = None) -> None:
        self.hear(self.modem.change(1, self.clock.now, state, peer, phone))


def states(events: list[Event]) -> list[LineState]:
    return [event.state for event in events if isinstance(event, ChannelState)]


def last_phone(events: list[Event]) -> str:
    return [event.phone for event in events if isinstance(event, ChannelState)][-1]


@pytest.fixture
def bench() -> Bench:
    """A modem that is set up."""
    return ready(Bench())


@pytest.fixture
def voice() -> Bench:
    """A modem that is set up and reports its handset."""
    return ready(Bench(handset="yes"))


def ready(bench: Bench) -> Bench:
    bench.run(5)
    assert bench.driver.in_step
    bench.said.clear()
    return bench


# Set-up.


def test_the_set_up_ends_with_the_first_caller_id_command_that_is_accepted() -> None:
    for position, command in enumerate(CALLER_ID):
        bench = Bench(ModemModel(caller_id=command))
        assert not bench.driver.in_step
        said = bench.run(5)
        assert bench.modem.commands[:2] == ["ATZ", "ATE0V1Q0S0=0"]
        assert bench.modem.commands[2:] == list(CALLER_ID[: position + 1])
        assert said == [
            BoardHello(1, 1, f"caller ID by {command}"),
            ChannelState(1, ON_HOOK, asked=True),
        ]
        assert bench.driver.in_step


def test_raw_caller_id_is_asked_for_first_where_it_is_wanted() -> None:
    bench = Bench(ModemModel(caller_id="AT+VCID=2"), caller_id="raw")
    bench.run(5)
    assert bench.modem.commands[2:] == ["AT+VCID=2"]


def test_a_modem_without_caller_id_works_all_the_same_and_check_says_so() -> None:
    bench = ready(Bench(ModemModel(caller_id="")))
    assert "calls come without numbers" in bench.driver.findings()[0]
    bench.lines("RING")
    assert bench.said == [RINGS]


def test_a_modem_that_was_told_to_be_quiet_is_set_up_though_it_does_not_answer_atz() -> None:
    bench = Bench()
    assert bench.driver.poll() == b"ATZ\r"
    bench.clock.now += ANSWER_WITHIN
    assert bench.hear(b"") == []
    bench.clock.now += 1
    assert bench.driver.poll() == b"ATE0V1Q0S0=0\r"


def test_a_set_up_that_is_not_answered_begins_again_until_it_is() -> None:
    bench = Bench()
    bench.modem.power_off()
    assert bench.run(2 * ANSWER_WITHIN + SET_UP_AGAIN + 1) == []
    bench.modem.power_on()
    ready_within = 2 * ANSWER_WITHIN + SET_UP_AGAIN + 2
    assert isinstance(bench.run(ready_within)[0], BoardHello)


def test_a_modem_that_stops_answering_within_its_set_up_is_set_up_from_the_beginning() -> None:
    bench = Bench()
    bench.modem.feed(bench.driver.poll(), bench.clock.now)
    bench.lines("OK")
    bench.clock.now += 1
    bench.driver.poll()
    bench.lines("OK")
    bench.modem.power_off()
    bench.run(len(CALLER_ID) * (ANSWER_WITHIN + 1))
    assert not bench.driver.in_step
    bench.modem.power_on()
    bench.run(20)
    assert bench.driver.in_step


def test_a_set_up_that_a_bad_wire_spoilt_is_tried_again() -> None:
    bench = Bench(ModemModel(caller_id="AT+NONE"))
    bench.run(5)
    assert bench.driver.in_step
    bench.modem = ModemModel()
    bench.run(BETTER_AFTER)
    bench.lines("RING", f"NMBR = {PHONE}")
    assert bench.driver.findings()[0].startswith("is not asked for its handset")


def test_a_modem_that_simply_cannot_is_asked_ever_more_rarely() -> None:
    bench = Bench(ModemModel(caller_id=""))
    bench.run(BETTER_AFTER * 20)
    assert bench.modem.commands.count("ATZ") == 5


def test_ringing_is_heard_while_the_modem_is_being_set_up() -> None:
    bench = Bench()
    assert bench.lines("RING") == [RINGS]
    assert bench.run(2)[-1] == ChannelState(1, RINGING, Peer.INCOMING, asked=True)


def test_one_command_is_under_way_at_a_time() -> None:
    bench = Bench()
    assert bench.driver.poll() == b"ATZ\r"
    assert bench.driver.poll() == b""
    bench.lines("OK")
    # A modem needs a moment after its answer.
    assert bench.driver.poll() == b""
    due = bench.driver.due()
    assert due is not None
    bench.clock.now = due
    assert bench.driver.poll() == b"ATE0V1Q0S0=0\r"


# Calls that ring.


BURSTS: dict[str, tuple[str, str]] = {
    "8055554567": (
        "RING|DATE=0801|TIME=1801|NMBR=8055554567|NAME=Test1 - Permitted|RING",
        "8055554567",
    ),
    "private": ("RING|MESG = 110101|DATE = 0421|TIME = 0934|NMBR = P|NAME = WITHHELD|RING", ""),
    "empty date": ("DATE =|TIME=|NAME = NO DATE|NMBR = 5551234", "5551234"),
    "DDN": ("DATE = 0103|TIME = 1254|NAME = SARASOTA,FL|DDN_NMBR = 9415557218", "9415557218"),
    "five digits": ("DATE = 0312|TIME = 12541|NMBR = 6305551500|NAME = ELMHURST, IL", "6305551500"),
    "usual": (
        "RING|DATE = 0504|TIME = 2149|NMBR = 4075551212|NAME = Chmielewski Joh|RING",
        "4075551212",
    ),
}


@pytest.mark.parametrize(("burst", "number"), BURSTS.values(), ids=BURSTS.keys())
def test_each_sample_burst_rings_with_its_number(bench: Bench, burst: str, number: str) -> None:
    data = "\r\n".join(["", *burst.split("|"), ""]).encode()
    events = bench.hear(data)
    assert set(states(events)) == {RINGING}
    assert last_phone(events) == number
    assert bench.bad == []


def test_the_number_is_told_as_soon_as_the_caller_id_is_whole(bench: Bench) -> None:
    assert bench.lines("RING") == [RINGS]
    assert bench.lines("DATE = 0504", "TIME = 2149", f"NMBR = {PHONE}") == []
    assert bench.lines("NAME = A") == [ChannelState(1, RINGING, Peer.INCOMING, PHONE)]


def test_a_number_without_a_name_is_told_after_a_second_of_silence(bench: Bench) -> None:
    bench.lines("RING", f"NMBR = {PHONE}")
    bench.clock.now += 0.9
    assert bench.hear(b"") == []
    due = bench.driver.due()
    assert due == pytest.approx(bench.clock.now + 0.1)
    bench.clock.now += 0.1
    assert bench.hear(b"") == [ChannelState(1, RINGING, Peer.INCOMING, PHONE)]


def test_caller_id_before_the_first_ring_already_rings(bench: Bench) -> None:
    events = bench.lines("DATE = 0504", "TIME = 2149", f"NMBR = {PHONE}", "NAME = A")
    assert events == [ChannelState(1, RINGING, Peer.INCOMING, PHONE)]
    assert last_phone(bench.lines("RING")) == PHONE


def test_letters_in_between_do_not_spoil_a_caller_id(bench: Bench) -> None:
    data = f"\x10R\r\nDA\x10sTE = 0504\r\nTIME = 2149\r\nNM\x10qBR = {PHONE}\r\nNAME = A\r\n"
    assert last_phone(bench.hear(data.encode())) == PHONE
    assert bench.bad == []


def test_a_raw_packet_gives_the_number(bench: Bench) -> None:
    assert last_phone(bench.lines("RING", "040B3033303231323234353535C4")) == "555"


def test_a_damaged_raw_packet_is_counted_and_the_call_rings_on(bench: Bench) -> None:
    assert bench.lines("RING", "040B3033303231323234353536C4") == [RINGS]
    assert bench.driver.bad_frames == 1
    assert "do not add up" in bench.bad[0][1]


@pytest.mark.parametrize("cadence", [6, 5])
def test_ringing_ends_when_no_ring_came_for_a_cadence_and_its_margin(cadence: int) -> None:
    bench = ready(Bench(ring_cadence=str(cadence)))
    bench.lines("RING")
    bench.clock.now += cadence + RING_MARGIN - 0.1
    assert bench.lines("RING") == [RINGS]
    bench.clock.now += cadence + RING_MARGIN - 0.1
    assert bench.hear(b"") == []
    assert bench.driver.due() == pytest.approx(bench.clock.now + 0.1)
    bench.clock.now += 0.1
    (ended,) = bench.hear(b"")
    assert states([ended]) == [ON_HOOK]
    assert isinstance(ended, ChannelState)
    assert ended.ago == pytest.approx(cadence + RING_MARGIN), "it ended as last heard"


def test_another_number_while_it_rings_is_another_call(bench: Bench) -> None:
    four = ["DATE = 0504", "TIME = 2149", "NAME = A"]
    bench.lines("RING", *four, "NMBR = 111")
    bench.clock.now += 5
    bench.lines("RING")
    bench.clock.now += 2
    # The first one was last heard 7 s ago; the second one's first ring was 2 s ago.
    assert bench.lines(*four, "NMBR = 222") == [
        replace(IDLE, ago=7.0),
        ChannelState(1, RINGING, Peer.INCOMING, "222", ago=2.0),
    ]


def test_two_numbers_before_any_ring_are_two_calls(bench: Bench) -> None:
    four = ["DATE = 0504", "TIME = 2149", "NAME = A"]
    bench.lines(*four, "NMBR = 111")
    bench.clock.now += 3
    ended, began = bench.lines(*four, "NMBR = 222")
    assert states([ended, began]) == [ON_HOOK, RINGING]
    assert isinstance(ended, ChannelState)
    assert ended.ago == 3


# Handsets.


def test_a_handset_lifted_while_it_rings_answers_the_call(voice: Bench) -> None:
    voice.move(RINGING, Peer.INCOMING, PHONE)
    voice.run(1)
    voice.move(IN_CALL)
    assert voice.said[-1] == ChannelState(1, IN_CALL, Peer.INCOMING, PHONE)
    assert IDLE not in voice.run(60)
    voice.move(ON_HOOK)
    assert voice.said[-1] == IDLE


def test_a_handset_lifted_before_the_burst_was_whole_keeps_the_number(voice: Bench) -> None:
    voice.lines("RING", f"NMBR = {PHONE}")
    assert voice.hear(b"\x10H")[-1] == ChannelState(1, IN_CALL, Peer.INCOMING, PHONE)


def test_a_number_that_comes_after_the_answer_is_told(voice: Bench) -> None:
    voice.lines("RING")
    voice.hear(b"\x10H")
    four = ("DATE = 0504", "TIME = 2149", f"NMBR = {PHONE}", "NAME = A")
    assert voice.lines(*four) == [ChannelState(1, IN_CALL, Peer.INCOMING, PHONE)]


def test_a_handset_lifted_on_an_idle_line_dials_and_its_digits_are_told(voice: Bench) -> None:
    events = voice.hear(b"\x10H\x101\x102\x10*\x10#\x10A")
    assert [last_phone([event]) for event in events] == ["", "1", "12", "12*", "12*#"]
    assert events[-1] == ChannelState(1, IN_CALL, Peer.OUTGOING, "12*#")


def test_digits_long_after_the_number_are_said_to_whoever_answered(voice: Bench) -> None:
    voice.hear(b"\x10H\x101")
    voice.clock.now += DIGITS_APART
    assert voice.hear(b"\x109") == []


def test_digits_pressed_in_an_incoming_call_are_no_number(voice: Bench) -> None:
    voice.lines("RING")
    voice.hear(b"\x10H")
    assert voice.hear(b"\x101") == []


@pytest.mark.parametrize(("option", "lifted", "back"), [("P", "P", "p"), ("p", "p", "P")])
def test_which_letter_says_extension_lifted_is_configured(
    option: str, lifted: str, back: str
) -> None:
    bench = ready(Bench(handset=True, extension_off_hook=option))
    bench.lines("RING")
    assert states(bench.hear(b"\x10" + lifted.encode())) == [IN_CALL]
    assert states(bench.hear(b"\x10" + back.encode())) == [ON_HOOK]


def test_a_call_goes_on_until_the_last_telephone_is_put_back(voice: Bench) -> None:
    voice.lines("RING")
    voice.hear(b"\x10H\x10P")
    assert voice.hear(b"\x10h") == []
    assert voice.hear(b"\x10p") == [IDLE]


def test_a_broken_loop_current_ends_the_call(voice: Bench) -> None:
    voice.lines("RING")
    voice.hear(b"\x10H")
    assert voice.hear(b"\x10l") == [IDLE]
    assert voice.hear(b"\x10h") == []


def test_a_ring_during_a_call_tells_that_its_end_was_not_heard(voice: Bench) -> None:
    voice.hear(b"\x10H")
    assert voice.lines("RING") == [RINGS]


def test_a_telephone_lifted_twice_was_put_back_unheard(voice: Bench) -> None:
    voice.lines("RING")
    voice.hear(b"\x10H")
    assert voice.hear(b"\x10H") == [IDLE, ChannelState(1, IN_CALL, Peer.OUTGOING)]


def test_a_call_outlives_a_set_up_where_the_end_will_be_told(voice: Bench) -> None:
    voice.move(RINGING, Peer.INCOMING, PHONE)
    voice.move(IN_CALL)
    voice.modem.power_off()
    voice.modem.power_on()
    voice.said.clear()
    voice.run(PROBE_APART + 5)
    assert "ATZ" in voice.modem.commands[5:]
    assert set(states(voice.said)) == {IN_CALL}
    voice.move(ON_HOOK)
    assert voice.said[-1] == IDLE


def test_after_a_start_a_modem_that_tells_hooks_only_assumes_that_the_line_is_free() -> None:
    for handset in (True, False):
        *_, state = Bench(handset=handset).run(5)
        assert state == ChannelState(1, ON_HOOK, asked=True, assumed=handset)


def test_codes_that_say_nothing_about_the_line_are_good_and_say_nothing(voice: Bench) -> None:
    good = voice.driver.frames
    assert voice.hear(b"\x10b\x10d\x10i\x10c\x10e\x10q\x10s\x10L\x10Z") == []
    assert (voice.driver.frames - good, voice.bad) == (9, [])


def test_voice_mode_is_entered_where_the_handset_is_wanted(voice: Bench) -> None:
    assert voice.modem.commands[-2:] == ["AT+FCLASS=8", "AT+VLS=0"]
    assert voice.driver.findings() == []


def test_check_says_that_a_call_answered_on_a_parallel_telephone_looks_missed(
    bench: Bench,
) -> None:
    (finding,) = bench.driver.findings()
    assert "telephone in parallel looks like one that nobody answered" in finding


def test_check_says_that_a_modem_refuses_voice_mode() -> None:
    bench = Bench(handset="yes")
    for answer in ("OK", "OK", "OK", "ERROR"):
        assert bench.driver.poll()
        bench.lines(answer)
        bench.clock.now += 1
    (finding,) = bench.driver.findings()
    assert finding.startswith("does not go into voice mode")
    assert bench.driver.in_step


# Dialling.


def test_a_call_is_dialled_and_told(bench: Bench) -> None:
    assert bench.dial() == [
        DialAnswer(1, True),
        ChannelState(1, IN_CALL, Peer.OUTGOING, PHONE),
    ]
    assert bench.modem.commands[-1] == f"ATDT{PHONE};"


RESULTS = {
    "OK": (True, IN_CALL),
    "CONNECT": (True, IN_CALL),
    "CONNECT 9600": (True, IN_CALL),
    "NO CARRIER": (False, None),
    "BUSY": (False, None),
    "NO DIALTONE": (False, NOT_CONNECTED),
    "NO DIAL TONE": (False, NOT_CONNECTED),
    "NO ANSWER": (False, None),
    "ERROR": (False, None),
}


@pytest.mark.parametrize("result", RESULTS)
def test_each_result_of_dialling_is_answered_once(bench: Bench, result: str) -> None:
    accepted, state = RESULTS[result]
    assert bench.driver.dial(1, PHONE) == f"ATDT{PHONE};\r".encode()
    answer, *rest = bench.lines(result)
    assert isinstance(answer, DialAnswer)
    assert (answer.accepted, answer.busy, bool(answer.reason)) == (accepted, False, not accepted)
    assert states(rest) == ([] if state is None else [state])


def test_a_dialled_call_began_when_the_modem_took_the_line(bench: Bench) -> None:
    bench.driver.dial(1, PHONE)
    bench.clock.now += 4
    *_, state = bench.lines("OK")
    assert state == ChannelState(1, IN_CALL, Peer.OUTGOING, PHONE, ago=4.0)


def test_a_line_without_dial_tone_is_tried_again_after_a_minute(bench: Bench) -> None:
    bench.driver.dial(1, PHONE)
    bench.lines("NO DIALTONE")
    bench.clock.now += LINE_AGAIN
    assert bench.hear(b"") == [IDLE]


def test_a_dial_without_a_result_is_given_up_and_hung_up(bench: Bench) -> None:
    bench.driver.dial(1, PHONE)
    bench.clock.now += DIALLED_WITHIN
    assert bench.hear(b"") == [DialAnswer(1, False, "the modem did not answer within 30 s")]
    bench.clock.now += 1
    assert bench.driver.poll() == b"ATH\r"


def test_the_modem_lets_go_once_somebody_lifts_a_telephone_and_the_call_goes_on(
    voice: Bench,
) -> None:
    voice.dial()
    said = voice.run(2)
    assert voice.modem.commands[-1] == "ATH"
    assert said == []
    assert voice.modem.ports[1].state is IN_CALL
    voice.move(ON_HOOK)
    assert voice.said[-1] == IDLE


def test_the_modem_lets_go_by_itself_where_no_telephone_is_lifted() -> None:
    bench = ready(Bench(ModemModel(handset=False), hang_up_after=10))
    bench.dial()
    assert bench.run(8) == []
    assert bench.run(2) == [IDLE]
    assert bench.modem.commands[-1] == "ATH"


@pytest.mark.parametrize("heard", [b"\r\nNO CARRIER\r\n", b"\r\nBUSY\r\n", b"\x10l"])
def test_a_dialled_call_that_the_exchange_ends_is_hung_up(bench: Bench, heard: bytes) -> None:
    bench.dial()
    bench.hear(heard)
    assert bench.run(1) == [IDLE]
    assert bench.modem.commands[-1] == "ATH"


def test_a_call_is_dialled_after_a_question_was_answered(bench: Bench) -> None:
    bench.clock.now += PROBE_APART
    assert bench.driver.poll() == b"AT\r"
    assert bench.driver.dial(1, PHONE) == b""
    bench.lines("OK")
    bench.clock.now += 1
    assert bench.driver.poll() == f"ATDT{PHONE};\r".encode()


def test_nothing_is_dialled_into_a_line_that_rings(bench: Bench) -> None:
    bench.lines("RING")
    assert bench.driver.dial(1, PHONE) == b""
    assert bench.hear(b"") == [DialAnswer(1, False, "the line is taken", busy=True)]


def test_nothing_is_dialled_before_the_set_up_is_over() -> None:
    bench = Bench()
    assert bench.driver.dial(1, PHONE) == b""
    assert bench.hear(b"") == [DialAnswer(1, False, "the modem is being set up", busy=True)]


@pytest.mark.parametrize("phone", ["", "1;ATZ", "12\r34", "+49", "1" * 33, "１２"])
def test_what_is_no_number_is_refused(bench: Bench, phone: str) -> None:
    with pytest.raises(DialRefused, match="1 to 32 digits"):
        bench.driver.dial(1, phone)


def test_another_port_and_a_second_order_are_refused(bench: Bench) -> None:
    with pytest.raises(DialRefused, match="there is no port 2"):
        bench.driver.dial(2, PHONE)
    bench.driver.dial(1, PHONE)
    with pytest.raises(DialRefused, match="has not answered the last order"):
        bench.driver.dial(1, PHONE)


def test_an_order_is_answered_when_the_port_is_opened_anew(bench: Bench) -> None:
    bench.driver.dial(1, PHONE)
    bench.driver.opened()
    (answer,) = bench.hear(b"")
    assert answer == DialAnswer(1, False, "the port was opened anew before the modem answered")


# A modem that lost its power.


def test_a_quiet_modem_is_asked_whether_it_is_there(bench: Bench) -> None:
    good = bench.driver.frames
    bench.run(PROBE_APART * 3 + 1)
    assert bench.modem.commands[-3:] == ["AT"] * 3
    assert bench.driver.frames == good + 3
    assert bench.driver.in_step


def test_a_ringing_modem_is_left_in_peace() -> None:
    bench = ready(Bench(ring_cadence=30))
    bench.lines("RING")
    bench.run(PROBE_APART + 10)
    assert "AT" not in bench.modem.commands


def test_a_modem_that_holds_the_line_is_asked_as_well() -> None:
    bench = ready(Bench(ModemModel(handset=False), hang_up_after=100))
    bench.dial()
    bench.run(PROBE_APART * 4)
    assert bench.modem.commands.count("AT") >= 3
    assert bench.modem.ports[1].state is IN_CALL


def test_a_modem_that_was_silent_for_long_is_set_up_though_it_does_not_echo(bench: Bench) -> None:
    bench.modem.power_off()
    bench.run(40)
    bench.modem.powered = True
    bench.modem.commands.clear()
    bench.run(10)
    assert bench.modem.commands[:2] == ["AT", "ATZ"]


def test_a_modem_without_power_is_silent_beyond_the_limit_and_then_set_up_anew(
    bench: Bench,
) -> None:
    assert bench.driver.silence_limit is not None
    bench.modem.power_off()
    good = bench.driver.frames
    bench.run(bench.driver.silence_limit + 1)
    assert bench.driver.frames == good
    assert not bench.driver.in_step
    bench.modem.power_on()
    bench.modem.commands.clear()
    said = bench.run(10)
    assert "ATZ" in bench.modem.commands
    assert said[-1] == ChannelState(1, ON_HOOK, asked=True)
    assert bench.driver.in_step


def test_an_echo_tells_that_the_power_was_gone_for_a_moment(bench: Bench) -> None:
    bench.modem.power_off()
    bench.modem.power_on()
    bench.run(PROBE_APART + 2)
    assert bench.modem.commands[-3:] == ["ATZ", "ATE0V1Q0S0=0", "AT+VCID=1"]
    bench.lines("RING", f"NMBR = {PHONE}")
    assert last_phone(bench.run(2)) == PHONE


def test_a_modem_that_always_echoes_is_not_set_up_again_and_again() -> None:
    bench = Bench()
    for _ in range(100):
        bench.clock.now += 1
        command = bench.driver.poll()
        if command:
            bench.hear(command + b"\r\nOK\r\n")
            assert bench.clock.now < 1010 or command == b"AT\r"
    assert bench.driver.in_step


def test_a_lost_answer_is_asked_for_again_soon(bench: Bench) -> None:
    bench.clock.now += PROBE_APART
    assert bench.driver.poll() == b"AT\r"
    bench.run(6)
    assert bench.driver.in_step
    assert "ATZ" not in bench.modem.commands[3:]


# Options.


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ring_cadense": "6"}, "ring_cadense: unknown option; known here: ring_cadence, "),
        ({"ring_cadence": "often"}, "ring_cadence: found 'often'; accepted: a number of seconds"),
        ({"ring_cadence": 0.5}, "ring_cadence: found '0.5'; accepted: a number of seconds from 1"),
        ({"ring_cadence": True}, "ring_cadence: found 'True'"),
        ({"ring_cadence": "nan"}, "ring_cadence: found 'nan'"),
        ({"caller_id": "hex"}, "caller_id: found 'hex'; accepted: one of formatted, raw"),
        ({"handset": "perhaps"}, "handset: found 'perhaps'; accepted: yes or no"),
        ({"extension_off_hook": "H"}, "extension_off_hook: found 'H'; accepted: one of P, p"),
        ({"hang_up_after": "0"}, "hang_up_after: found '0'; accepted: a number of seconds from 1"),
    ],
)
def test_a_bad_option_names_its_key_and_what_is_accepted(
    options: dict[str, OptionValue], problem: str
) -> None:
    with pytest.raises(BadOption) as caught:
        ModemDriver.check_options(options)
    assert str(caught.value).startswith(problem)


def test_options_may_be_text_or_values() -> None:
    ModemDriver.check_options({"ring_cadence": "5", "handset": "Yes", "hang_up_after": 20})
    ModemDriver.check_options({"handset": False})


# Damage.


def test_a_line_that_no_modem_says_and_control_bytes_are_counted_and_shown(bench: Bench) -> None:
    bench.hear(b"\r\nR%NG\r\n\r\nRI\x00NG\r\n\x10\x07")
    bench.hear(b"X" * (MOST_LINE + 50) + b"\r\n")
    assert [reason for _, reason in bench.bad] == [
        "a line that no modem is known to say",
        "control bytes within a line",
        "0x10 that no letter follows",
        f"a line of more than {MOST_LINE} bytes",
    ]
    assert bench.driver.bad_frames == 4
    assert bench.lines("RING") == [RINGS]


def test_a_doubled_0x10_is_nothing(bench: Bench) -> None:
    assert bench.hear(b"\x10\x10RING\r\n") == [RINGS]
    assert bench.bad == []


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"\r\nRING\r\n", b"\x10H", b"\r\nOK"])))
def test_any_bytes_raise_nothing_and_the_next_burst_is_understood(pieces: list[bytes]) -> None:
    bench = Bench()
    for piece in pieces:
        bench.clock.now += 0.3
        bench.hear(piece)
        bench.driver.poll()
        bench.driver.due()
    bench.hear(b"\x10h\x10p\r\n")
    bench.clock.now += 20
    bench.hear(b"")
    bench.lines("RING", "DATE = 0504", "TIME = 2149", f"NMBR = {PHONE}", "NAME = A")
    assert bench.said[-1] == ChannelState(1, RINGING, Peer.INCOMING, PHONE)


@given(st.binary(max_size=200) | st.just(b"\r\nRING\r\n\r\nNMBR = 5551234\r\n\x10H\x101\x10h"))
def test_bytes_mean_the_same_however_they_are_cut_up(data: bytes) -> None:
    whole, single = Bench(), Bench()
    events = whole.hear(data)
    for byte in data:
        single.hear(bytes((byte,)))
    assert single.said == events
    assert single.driver.frames == whole.driver.frames
    assert single.driver.bad_frames == whole.driver.bad_frames


def calls_over(wire: BadWire | None, seed: int) -> list[Call]:
    """Three calls, two answered, the modem's bytes crossing a wire; as the agent books them."""
    bench = ready(Bench(handset="yes"))
    tracker = ChannelTracker(1, 1)
    chance = random.Random(seed)
    booked: list[Call] = []

    def step(data: bytes) -> None:
        events = bench.driver.feed(wire.carry(data) if wire else data)
        for event in events:
            if isinstance(event, ChannelState):
                steps = tracker.hear(event, bench.clock.stamp())
                booked.extend(one.call for one in steps if isinstance(one, Ended))

    def wait(seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            bench.clock.now += 0.1
            step(bench.modem.tick(bench.clock.now))
            step(bench.modem.feed(bench.driver.poll(), bench.clock.now))

    for answered in (True, False, True):
        step(bench.modem.change(1, bench.clock.now, RINGING, Peer.INCOMING, PHONE))
        wait(20)
        if answered:
            step(bench.modem.change(1, bench.clock.now, IN_CALL))
            wait(20 + chance.random() * 10)
        step(bench.modem.change(1, bench.clock.now, ON_HOOK))
        wait(60)
    return booked


def test_calls_are_booked_with_their_directions_and_numbers() -> None:
    calls = calls_over(None, 1)
    assert [(call.direction, call.phone) for call in calls] == [
        (Direction.IN, PHONE),
        (Direction.UNKNOWN, PHONE),
        (Direction.IN, PHONE),
    ]
    assert calls[1].duration == 0
    assert 20 <= calls[0].duration <= 31


@pytest.mark.parametrize("seed", range(4))
def test_a_wire_that_loses_bytes_raises_nothing_and_calls_are_still_heard(seed: int) -> None:
    calls = calls_over(BadWire(seed, 0.05), seed)
    assert calls
    assert all(set(call.phone) <= set(PHONE) for call in calls)


class TestContract(DriverContract):
    """What every driver promises, tried on this one."""

    driver = ModemDriver
    good = (b"RING\r\n", b"OK\r\n", b"NMBR = 5551234\r\n", b"NO CARRIER\r\n", b"ERROR\r\n")
    channels = 1
    options: ClassVar[Mapping[str, OptionValue]] = {"handset": "yes"}
    make_board = staticmethod(lambda channels: ModemModel(1, channels))
    settles_within = 75.0
