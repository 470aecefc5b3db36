"""Whozz Calling boxes: their records, what those mean for a line, and how a box is set up."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.boards.bench import BadWire
from agent.boards.driver import BoardOptions, DialRefused
from agent.boards.events import BoardHello, ChannelState, Event, LineState, Peer
from agent.boards.whozz import WhozzDriver
from agent.boards.whozz_line import END_WITHIN
from agent.boards.whozz_records import CallRecord, Detail, Version, parse
from agent.boards.whozz_setup import AWAY, PROBE_WHEN_QUIET
from agent.calls import Call, ChannelTracker, Direction, Ended, Started, Step
from agent.clock import SystemClock
from agent.commands.check_boards import check_boards
from agent.commands.findings import Device
from agent.settings import Board, Platform, Recordings, Settings
from agent.simulation.board import SimulatedBoard
from agent.simulation.whozz_model import WhozzModel
from tests.boards import HandClock

ON_HOOK, IN_CALL, RINGING = LineState.ON_HOOK, LineState.IN_CALL, LineState.RINGING
NIGHT = datetime(2026, 9, 26, 23, 28, 41)

# The sample lines of BOARDS.md 1, byte for byte.
CALL_RECORDS = {
    "01 I S 0276 G B3 09/26 11:28 AM 800-240-4637   CallerID.com": CallRecord(
        1, Peer.INCOMING, False, 276, "8002404637", "09/26 11:28 AM", True
    ),
    "01 I S 0000 G A0 09/26 01:28 PM 770-263-7111 CALLERID.COM": CallRecord(
        1, Peer.INCOMING, False, 0, "7702637111", "09/26 01:28 PM", True
    ),
    "02 I E 0042 B A2 12/31 12:07 AM OUT-OF-AREA": CallRecord(
        2, Peer.INCOMING, True, 42, "", "12/31 12:07 AM", True
    ),
    "$03 O E 0125 G A0 01/01 12:00 PM 18004444444": CallRecord(
        3, Peer.OUTGOING, True, 125, "18004444444", "01/01 12:00 PM", True
    ),
    "$01 O S 0 10/14  18004444444": CallRecord(
        1, Peer.OUTGOING, False, 0, "18004444444", "10/14 None None", False
    ),
}
DETAILS = {
    "01 R             11/07 07:43:52": Detail(1, "R", "11/07 07:43:52", True),
    "01 F             11/07 17:45:04": Detail(1, "F", "11/07 17:45:04", True),
    "02 N             11/07 10:46:23": Detail(2, "N", "11/07 10:46:23", True),
    "01 H             11/07 22:11:08": Detail(1, "H", "11/07 22:11:08", True),
}
PADDED = "$01 I S 0000 G A1 09/26 11:28 AM 8002404637     CallerID.com   "


@pytest.mark.parametrize(("line", "record"), [*CALL_RECORDS.items(), *DETAILS.items()])
def test_a_sample_line_of_the_manual_is_read_as_it_says(
    line: str, record: CallRecord | Detail
) -> None:
    assert parse(line) == record


def test_the_answer_to_v_tells_firmware_options_and_first_line() -> None:
    assert parse("V3.1 ECXUDASOBKT L=01 00/00 00:00:05") == Version("3.1", "ECXUDASOBKT", 1)
    assert parse("V3.1 EcXUdASoBKT L=09 00/00 00:00:05") == Version("3.1", "EcXUdASoBKT", 9)
    assert parse("V2.0 cdASoT") == Version("2.0", "cdASoT", 1)


@pytest.mark.parametrize(
    "words",
    [
        *("No-CallerID", "NoCallerID", "PRIVATE", "OUT-OF-AREA", "OUTOFAREA"),
        *("no-callerid", "Private", "out-of-area"),
    ],
)
def test_words_in_the_place_of_a_number_are_no_number(words: str) -> None:
    record = parse(f"01 I S 0000 G A1 09/26 11:28 AM {words:<14} NAME           ")
    assert isinstance(record, CallRecord)
    assert (record.phone, record.whole) == ("", True)


def test_an_empty_number_before_a_name_is_told_by_its_columns() -> None:
    record = parse(f"01 I S 0000 G A1 09/26 11:28 AM {'':<14} 4 SEASONS HOTEL")
    assert isinstance(record, CallRecord)
    assert (record.phone, record.whole) == ("", True)


def test_digits_dialled_after_a_pause_belong_to_the_number() -> None:
    record = parse("$03 O E 0125 G A0 01/01 12:00 PM 8004444444     22*5#          ")
    assert isinstance(record, CallRecord)
    assert record.phone == "800444444422*5#"


@pytest.mark.parametrize("length", range(6, len(PADDED.rstrip())))
def test_a_record_cut_anywhere_says_what_is_left_of_it(length: int) -> None:
    record = parse(PADDED[:length])
    if length < 7:
        assert record is None
        return
    assert isinstance(record, CallRecord)
    assert (record.line, record.peer, record.is_end) == (1, Peer.INCOMING, False)
    assert record.whole is (length > len("$01 I S 0000 G A1 09/26 11:28 AM "))
    assert "8002404637".startswith(record.phone)


def test_a_shifted_record_is_read_by_runs_of_spaces_and_counts_as_damaged() -> None:
    record = parse("\x7f" + PADDED.replace(" S ", " S  ").replace("AM ", "AM"))
    assert isinstance(record, CallRecord)
    assert (record.line, record.is_end, record.whole) == (1, False, False)
    record = parse(PADDED.replace(" S ", " S   "))
    assert isinstance(record, CallRecord)
    assert (record.phone, record.when) == ("8002404637", "09/26 11:28 AM")


def test_a_detail_record_cut_short_is_taken_and_counts_as_damaged() -> None:
    assert parse("01 R             11/07 07:4") == Detail(1, "R", "11/07 None", False)
    assert parse("01 N") == Detail(1, "N", "None None", False)


@pytest.mark.parametrize("line", ["", "#", "1", "hello", "01 Q 11/07", "0x I S", "01 I X", "VX"])
def test_what_is_no_record_is_none(line: str) -> None:
    assert parse(line) is None


class Line:
    """A driver that knows its box, the tracker of one of its ports, and a clock by hand."""

    def __init__(self, channels: int = 8) -> None:
        self.clock = HandClock(monotonic=0.0, wall=1_700_000_000.0)
        options = BoardOptions(1, channels, now=lambda: NIGHT)
        self.driver = WhozzDriver(options, self.clock.monotonic)
        self.driver.opened()
        self.tracker = ChannelTracker(1, 1)
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.driver.poll()
        self.hears("#")

    def hears(self, *lines: str) -> None:
        self.take(self.driver.feed("".join(f"{line}\r\n" for line in lines).encode("latin-1")))

    def take(self, events: list[Event]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, ChannelState) and event.channel == 1:
                self.steps += self.tracker.hear(event, self.clock.stamp())

    def says(self, *story: tuple[float, str]) -> None:
        """Hear each line at its second, and what is due in between."""
        for second, line in story:
            self.waits_until(second)
            self.hears(line)
        self.waits_until(self.clock.now + END_WITHIN + 1)

    def waits_until(self, second: float) -> None:
        while self.clock.now < second:
            self.clock.now = min(second, self.clock.now + 0.25)
            self.take(self.driver.feed(b""))
            if self.driver.poll() == b"@":
                self.hears("#")

    @property
    def over(self) -> list[Call]:
        return [step.call for step in self.steps if isinstance(step, Ended)]

    @property
    def summary(self) -> list[tuple[str, str, float, float]]:
        """Direction, number, start and length of each call that is over."""
        return [
            (call.direction.name, call.phone, call.started.monotonic, round(call.duration, 3))
            for call in self.over
        ]


def detail(kind: str, second: int) -> str:
    return f"$01 {kind}             09/26 11:28:{second:02}"


def record(words: str, seconds: int = 0, number: str = "8002404637", name: str = "") -> str:
    return f"$01 {words} {seconds:04} G A2 09/26 11:28 AM {number:<14} {name:<15}"


ANSWERED = (
    (10, detail("R", 10)),
    (12, record("I S")),
    (15, detail("F", 15)),
    (45, detail("N", 45)),
    (45, record("I E", 30)),
)
MISSED = ((10, detail("R", 10)), (12, record("I S")), (40, record("I E")))
OUTGOING = (
    (10, detail("F", 10)),
    (18, record("O S", number="18004444444")),
    (70, detail("N", 59)),
    (70, record("O E", 60, "18004444444", "*3")),
)


def test_an_answered_call_is_rung_taken_and_hung_up() -> None:
    line = Line()
    line.says(*ANSWERED)
    assert line.summary == [("IN", "8002404637", 10, 30)]
    assert line.driver.bad_frames == 0


def test_a_missed_call_is_over_with_its_end_record() -> None:
    line = Line()
    line.says(*MISSED)
    assert line.summary == [("UNKNOWN", "8002404637", 10, 0)]
    (call,) = line.over
    assert call.ended is not None
    assert call.ended.monotonic == 40


def test_an_outgoing_call_begins_where_the_handset_was_lifted_and_has_all_its_digits() -> None:
    line = Line()
    line.says(*OUTGOING)
    assert line.summary == [("OUT", "18004444444*3", 10, 60)]


def test_off_and_on_hook_without_digits_is_no_call() -> None:
    line = Line()
    line.says((10, detail("F", 10)), (20, detail("N", 20)))
    assert line.steps == []
    assert line.tracker.state is ON_HOOK


def test_a_start_record_that_comes_after_the_answer_gives_its_number() -> None:
    line = Line()
    line.says(
        (10, detail("R", 10)),
        (11, detail("F", 11)),
        (13, record("I S")),
        (21, detail("N", 21)),
        (21, record("I E", 10)),
    )
    assert line.summary == [("IN", "8002404637", 10, 10)]


def test_a_start_without_caller_id_is_a_call_without_number() -> None:
    line = Line()
    line.says((10, detail("R", 10)), (12, record("I S", number="No-CallerID")))
    assert line.tracker.state is RINGING
    assert line.tracker.phone == ""


def test_a_hook_flash_is_one_call() -> None:
    line = Line()
    line.says(*ANSWERED[:3], (20, detail("H", 20)), *ANSWERED[3:])
    assert line.summary == [("IN", "8002404637", 10, 30)]


def test_a_doubtful_number_is_kept() -> None:
    line = Line()
    line.says((10, "01 I S 0000 B A1 09/26 11:28 AM 8002404637"))
    assert line.tracker.phone == "8002404637"


@pytest.mark.parametrize("lost", range(5))
def test_an_answered_call_survives_the_loss_of_any_one_record(lost: int) -> None:
    line = Line()
    line.says(*(said for at, said in enumerate(ANSWERED) if at != lost))
    ((direction, phone, start, length),) = line.summary
    assert (direction, phone) == ("IN", "8002404637")
    assert start == (12 if lost == 0 else 10)
    assert length == 30


@pytest.mark.parametrize("lost", range(3))
def test_a_missed_call_survives_the_loss_of_any_one_record(lost: int) -> None:
    line = Line()
    line.says(*(said for at, said in enumerate(MISSED) if at != lost), *later(MISSED, 100))
    assert [(direction, phone) for direction, phone, _, _ in line.summary] == [
        ("UNKNOWN", "8002404637")
    ] * 2


@pytest.mark.parametrize("lost", range(4))
def test_an_outgoing_call_survives_the_loss_of_any_one_record(lost: int) -> None:
    line = Line()
    line.says(*(said for at, said in enumerate(OUTGOING) if at != lost))
    ((direction, phone, start, length),) = line.summary
    assert direction == "OUT"
    assert phone == ("18004444444" if lost == 3 else "18004444444*3")
    assert (start, length) == ((18, 52) if lost == 0 else (10, 60))


@pytest.mark.parametrize("story", [ANSWERED, MISSED, OUTGOING])
@pytest.mark.parametrize("doubled", range(5))
def test_a_record_that_comes_twice_doubles_no_call(
    story: tuple[tuple[float, str], ...], doubled: int
) -> None:
    line = Line()
    line.says(*story[: doubled + 1], *story[doubled:])
    assert len(line.summary) == 1


def later(story: tuple[tuple[float, str], ...], seconds: float) -> list[tuple[float, str]]:
    """The same calls at another hour."""
    return [(at + seconds, said.replace("11:28", "11:31")) for at, said in story]


def test_an_end_record_that_comes_late_is_no_second_call() -> None:
    line = Line()
    line.says(*ANSWERED[:4], (45 + END_WITHIN + 10, ANSWERED[4][1]))
    assert line.summary == [("IN", "8002404637", 10, 30)]


def test_a_call_of_which_only_the_end_came_is_booked_with_its_length() -> None:
    line = Line()
    line.says((100, record("I E", 30)), *later((OUTGOING[3],), 100))
    assert line.summary == [("IN", "8002404637", 70, 30), ("OUT", "18004444444*3", 110, 60)]


def test_an_end_record_that_is_damaged_and_alone_makes_no_call() -> None:
    line = Line()
    line.says((100, "$01 I E 0030 G A2"))
    assert line.summary == []
    assert line.driver.bad_frames == 1


def test_a_unit_without_detail_records_tells_an_answer_at_the_end() -> None:
    line = Line()
    line.says((10, record("I S")), (45, record("I E", 30)))
    line.says(*((at + 100, said.replace("11:28", "11:31")) for at, said in MISSED[1:]))
    assert line.summary == [("IN", "8002404637", 10, 30), ("UNKNOWN", "8002404637", 112, 0)]


def test_a_new_call_ends_one_whose_end_was_lost() -> None:
    line = Line()
    line.says(*ANSWERED[:3], *later(OUTGOING, 100))
    assert [entry[:2] for entry in line.summary] == [("IN", "8002404637"), ("OUT", "18004444444*3")]


def test_a_call_that_went_on_over_a_restart_is_the_same_call_with_its_whole_length() -> None:
    line = Line()
    line.says(*ANSWERED[:3])
    (started,) = (step.call for step in line.steps if isinstance(step, Started))
    again = Line()
    again.clock.now = 30.0
    again.tracker = ChannelTracker(1, 1)
    again.tracker.resume(line.tracker.call or started)
    again.says(*ANSWERED[3:])
    assert again.summary == [("IN", "8002404637", 10, 30)]
    assert not any(isinstance(step, Started) for step in again.steps)


def test_a_handset_lifted_before_the_cable_was_pulled_dates_no_later_call() -> None:
    line = Line()
    line.says((10, detail("F", 10)))
    line.driver.opened()
    line.says((4000, record("O S", number="10086")), (4010, record("O E", 18, "10086")))
    assert line.summary == [("OUT", "10086", 4000, 10)]


def test_a_line_that_never_seems_to_end_is_told_once() -> None:
    line = Line()
    for _ in range(10):
        line.driver.feed(b"0" * 500)
    line.hears("", detail("R", 10))
    assert line.driver.bad_frames == 1
    assert line.tracker.state is RINGING


def test_a_line_is_taken_for_idle_until_its_first_record() -> None:
    line = Line(channels=2)
    assert line.events == [
        ChannelState(1, ON_HOOK, assumed=True),
        ChannelState(2, ON_HOOK, assumed=True),
    ]


def test_lines_are_numbered_over_a_chain_and_one_too_many_is_damage() -> None:
    line = Line(channels=12)
    line.hears("12 R             11/07 07:43:52", "13 R             11/07 07:43:52")
    assert line.events[-1] == ChannelState(12, RINGING, Peer.INCOMING)
    assert line.driver.bad_frames == 1


def test_a_hash_that_nobody_asked_for_is_noise() -> None:
    line = Line()
    frames = line.driver.frames
    line.hears("#")
    assert (line.driver.frames, line.driver.bad_frames) == (frames, 1)


def test_it_cannot_dial() -> None:
    with pytest.raises(DialRefused, match="a whozz board cannot dial"):
        Line().driver.dial(1, "10086")


class Box:
    """A driver and a simulated box on one table; what the driver sends is kept with its time."""

    def __init__(self, model: WhozzModel | None) -> None:
        self.clock = HandClock(monotonic=0.0)
        self.model = model
        options = BoardOptions(1, len(model.ports) if model else 8, now=lambda: NIGHT)
        self.driver = WhozzDriver(options, self.clock.monotonic)
        self.driver.opened()
        self.sent: list[tuple[float, bytes]] = []
        self.said: list[Event] = []

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            data = self.driver.poll()
            if data:
                self.sent.append((round(self.clock.now, 2), data))
            answer = self.model.feed(data, self.clock.now) if self.model else b""
            self.said += self.driver.feed(answer)
            self.clock.now += 0.01

    @property
    def bytes_sent(self) -> bytes:
        return b"".join(data for _, data in self.sent)


def test_a_box_as_it_comes_from_the_factory_is_asked_set_and_looked_at_again() -> None:
    model = WhozzModel(channels=8)
    box = Box(model)
    box.run(3)
    assert box.bytes_sent == b"@VcdoVZ09262328\r"
    assert model.options == "EcXUdASoBKT"
    assert [event for event in box.said if isinstance(event, BoardHello)] == [
        BoardHello(1, 8, "3.1 EcXUdASoBKT")
    ]


def test_what_is_set_goes_out_byte_by_byte_fifty_milliseconds_apart() -> None:
    box = Box(WhozzModel(channels=8))
    box.run(3)
    times = [at for at, data in box.sent if data not in {b"@", b"V"}]
    assert all(len(data) == 1 for _, data in box.sent)
    assert min(round(after - before, 2) for before, after in pairwise(times)) >= 0.05
    asked = next(at for at, data in box.sent if data == b"V")
    assert times[0] - asked >= 0.1


def test_a_box_that_is_set_already_is_only_given_the_time() -> None:
    model = WhozzModel(channels=8)
    model.options = "EcXUdASoBKT"
    box = Box(model)
    box.run(3)
    assert box.bytes_sent == b"@VZ09262328\r"
    assert box.driver.findings() == [
        "it never goes off hook, so calls that the platform asks for fail"
    ]


def test_a_unit_of_two_lines_is_told_only_what_it_knows() -> None:
    box = Box(WhozzModel(channels=2))
    box.run(3)
    assert box.bytes_sent == b"@VcdoVZ09262328\r"
    assert box.model is not None
    assert box.model.options == "cdASoT"
    assert not any("keeps" in finding for finding in box.driver.findings())


def test_findings_say_which_switches_were_off() -> None:
    box = Box(WhozzModel(channels=8))
    box.run(3)
    assert [finding[:25] for finding in box.driver.findings()] == [
        "it had option c off (a $ ",
        "it had option d off (deta",
        "it had option o off (outg",
        "it never goes off hook, s",
    ]


def test_findings_say_which_switches_stay_off_and_what_to_do() -> None:
    class Stubborn(WhozzModel):
        def feed(self, data: bytes, now: float) -> bytes:
            return super().feed(data.replace(b"d", b""), now)

    box = Box(Stubborn(channels=8))
    box.run(5)
    (finding,) = (one for one in box.driver.findings() if "keeps option d off" in one)
    assert " → set it with the maker's program" in finding


def test_findings_name_a_unit_without_detail_records() -> None:
    box = Box(WhozzModel(channels=8, details=False))
    box.run(3)
    assert any("does not know option d" in finding for finding in box.driver.findings())


def test_findings_name_a_unit_that_numbers_its_lines_from_elsewhere() -> None:
    class Ninth(WhozzModel):
        def feed(self, data: bytes, now: float) -> bytes:
            return super().feed(data, now).replace(b"L=01", b"L=09")

    box = Box(Ninth(channels=8))
    box.run(3)
    assert any("numbers its lines from 09 → " in finding for finding in box.driver.findings())


def test_every_unit_of_a_chain_is_looked_at() -> None:
    class Chain(WhozzModel):
        def feed(self, data: bytes, now: float) -> bytes:
            said = super().feed(data, now)
            if not said.startswith(b"V"):
                return said
            return said + said.replace(b"L=01", b"L=09").replace(b"d", b"D")

    box = Box(Chain(channels=12))
    box.run(5)
    assert [one for one in box.driver.findings() if "keeps" in one] == [
        "the unit of line 9 keeps option d off (detail records: ring, off hook, on hook) → set it"
        " with the maker's program, or replace the unit"
    ]
    assert not any("numbers its lines" in one for one in box.driver.findings())


def test_a_box_that_is_not_there_is_sought_every_two_seconds() -> None:
    box = Box(None)
    box.run(10)
    assert [(round(at), data) for at, data in box.sent] == [(at, b"@") for at in (0, 2, 4, 6, 8)]
    assert box.driver.frames == 0


def test_a_box_that_does_not_say_how_it_is_set_is_set_all_the_same() -> None:
    class Mute(WhozzModel):
        def feed(self, data: bytes, now: float) -> bytes:
            return super().feed(data.replace(b"V", b""), now)

    box = Box(Mute(channels=8))
    box.run(12)
    assert box.bytes_sent.startswith(b"@VVVEcXdAoZ09262328\r")
    assert "does not say how it is set" in box.driver.findings()[0]


def test_a_quiet_box_is_asked_whether_it_is_there() -> None:
    box = Box(WhozzModel(channels=8))
    box.run(3)
    frames = box.driver.frames
    box.run(PROBE_WHEN_QUIET + 1)
    assert box.sent[-1][1] == b"@"
    assert box.driver.frames == frames + 1
    assert WhozzDriver.silence_limit == AWAY


def test_a_box_that_was_away_is_set_up_anew() -> None:
    model = WhozzModel(channels=8)
    box = Box(model)
    box.run(3)
    box.model = None
    box.run(AWAY + PROBE_WHEN_QUIET)
    box.model = model
    model.options = "ECXUDASOBKT"
    box.run(5)
    assert model.options == "EcXUdASoBKT"


@pytest.mark.parametrize("seed", range(4))
def test_a_box_behind_a_bad_wire_is_set_up_in_the_end(seed: int) -> None:
    model = WhozzModel(channels=4)
    wire = BadWire(seed, 0.2)
    box = Box(model)
    for _ in range(6000):
        box.clock.now += 0.01
        answer = model.feed(wire.carry(box.driver.poll()), box.clock.now)
        box.driver.feed(answer)
    assert {"c", "d", "o"} <= set(model.options)


def test_check_tells_a_technician_which_switches_were_off(tmp_path: Path) -> None:
    with SimulatedBoard(tmp_path / "port", driver="whozz") as board:
        settings = Settings(
            platform=Platform(url="http://127.0.0.1:1/voip"),
            boards=(Board(port=board.port, driver="whozz"),),
            recordings=Recordings(directory=str(tmp_path)),
        )
        found = list(check_boards(Device(settings, SystemClock(), None)))
    texts = [finding.text.partition(": ")[2] for finding in found]
    assert texts[0] == "answers; 8 ports, firmware 3.1 EcXUdASoBKT"
    assert "it had option d off (detail records: ring, off hook, on hook); it is set now" in texts
    assert "it never goes off hook, so calls that the platform asks for fail" in texts
    assert all(finding.well for finding in found)


lines = st.one_of(
    st.sampled_from([*CALL_RECORDS, *DETAILS, "#", "?", "V3.1 ECXUDASOBKT L=01"]),
    st.sampled_from([said for story in (ANSWERED, MISSED, OUTGOING) for _, said in story]),
    st.text(max_size=70),
)


@given(st.lists(st.tuples(st.floats(0, 100), lines), max_size=30))
def test_whatever_is_said_calls_start_once_end_once_and_are_never_negative(
    story: list[tuple[float, str]],
) -> None:
    line = Line()
    for pause, said in story:
        line.clock.now += pause
        line.take(line.driver.feed(said.encode("utf-8", "surrogatepass") + b"\r\n"))
    going_on = False
    for step in line.steps:
        assert isinstance(step, Started) is not going_on
        going_on = not isinstance(step, Ended)
    for call in line.over:
        assert call.duration >= 0
        assert call.direction in Direction
