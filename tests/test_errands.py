"""What the platform asks for: each call dialled at most once, each outcome written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.boards.driver import DialRefused
from agent.boards.events import ChannelState, DialAnswer, LineState
from agent.boards.orders import REFUSALS
from agent.clock import TrustedClock
from agent.errands import AFTER_BUSY, AFTER_PLACED, MOST_LISTED, SAME_ORDER, Errands
from agent.function_queue import FunctionQueue
from agent.functions import BuiltIn, Functions
from agent.ledger import Ledger, LedgerError, open_ledger
from agent.ledger.errands import FUNCTION, MOST_WAITING, Order
from agent.ledger.rows import Errand, ErrandState
from agent.lines import Lines
from agent.platform.listing import MOST_ENTRIES, read_listing
from agent.settings import Board
from agent.settings import Functions as Section
from agent.switchboard import Switchboard
from tests.clocks import HandClock
from tests.rooms import unwritable

CALLS, MESSAGES = "getCallList", "getMessageList"
EXPIRE = 60.0
PHONE = "13800138000"


def entry(channel: int = 1, phone: str = PHONE, **more: object) -> dict[str, object]:
    """A call to place (PROTOCOL.md 2.4), for box 1 unless said otherwise."""
    return {"status": "0", "mdcWan": str(channel), "mdcCode": "1", "phone": phone, **more}


def message(function: str, parameters: str = "") -> dict[str, object]:
    """A message that names a function (PROTOCOL.md 2.3)."""
    memo = {"functionname": function, "paramvalue": parameters}
    return {"status": "51", "mdcWan": "1", "mdcCode": "1", "phone": PHONE, "memo": memo}


class Office:
    """Errands on a real ledger and a real switchboard; orders to dial are collected."""

    def __init__(self, directory: Path, clock: HandClock, boards: Mapping[int, int]) -> None:
        self.directory = directory
        self.clock = clock
        self.boards = boards
        self.dialled: list[tuple[int, int, str]] = []
        self.refusal: str | None = None
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.more: dict[str, BuiltIn] = {}
        self.ledger: Ledger = open_ledger(directory, clock)
        self.switchboard = self._switchboard()
        self.errands = self.make()

    def _switchboard(self) -> Switchboard:
        made = Switchboard(
            self.boards,
            self.ledger,
            self.clock,
            TrustedClock(self.clock, lambda: True),
            15.0,
            on_change=lambda: None,
            on_calls=lambda: None,
            # The errands may be others by then.
            on_dial_answer=lambda board, answer: self.errands.answered(board, answer),  # noqa: PLW0108
        )
        for board, count in self.boards.items():
            made.link(board, True, self.clock.stamp())
            states = [ChannelState(channel, LineState.ON_HOOK) for channel in range(1, count + 1)]
            made.hear(board, states, self.clock.stamp())
        return made

    def make(self, dial: Callable[[int, int, str], None] | None = None) -> Errands:
        return Errands(
            self.ledger,
            self.switchboard,
            self.clock,
            EXPIRE,
            Functions(
                self.ledger,
                self.clock,
                {"report": self._report, "rescan": self._rescan, "boom": self._boom, **self.more},
                {"list": "rescan", "statusNow": "report", "lost": "nowhere"},
            ),
            dial=dial or self._dial,
            shown=lambda phone: f"<{phone[-2:]}>",
        )

    def start_anew(self) -> None:
        """The agent ends at once, as by a power cut, and starts on the same ledger."""
        self.ledger.close()
        self.ledger = open_ledger(self.directory, self.clock)
        self.switchboard = self._switchboard()
        self.errands = self.make()
        self.errands.recover()

    def _dial(self, board: int, channel: int, phone: str) -> None:
        if self.refusal is not None:
            raise DialRefused(self.refusal)
        self.dialled.append((board, channel, phone))

    def _report(self, parameters: Mapping[str, str]) -> str:
        self.asked.append(("report", parameters))
        return "a report is on its way"

    def _rescan(self, parameters: Mapping[str, str]) -> str:
        self.asked.append(("rescan", parameters))
        return "the recording directory is looked at anew"

    def _boom(self, _parameters: Mapping[str, str]) -> str:
        raise ValueError("no such\x1b thing " + "x" * 10_000)

    def take(self, *entries: object, source: str = CALLS) -> None:
        self.errands.take(source, read_listing(list(entries)))

    def say(self, channel: int, state: LineState, board: int = 1) -> None:
        self.switchboard.hear(board, [ChannelState(channel, state)], self.clock.stamp())

    def answer(self, channel: int = 1, board: int = 1, **answer: object) -> None:
        told = DialAnswer(channel, **{"accepted": False, **answer})  # type: ignore[arg-type]
        self.switchboard.hear(board, [told], self.clock.stamp())

    def found(self) -> list[Errand]:
        return list(reversed(self.ledger.errands.recent(5000)))

    def only(self) -> Errand:
        (errand,) = self.found()
        return errand


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def office(tmp_path: Path, clock: HandClock) -> Iterator[Office]:
    made = Office(tmp_path, clock, {1: 8})
    yield made
    made.ledger.close()


# A call to place.


def test_a_call_to_place_is_dialled_at_once_where_its_port_is_idle(office: Office) -> None:
    office.take(entry(channel=3))
    assert office.dialled == [(1, 3, PHONE)]
    assert office.only().state is ErrandState.ORDERED
    office.answer(3, accepted=True)
    assert office.only().state is ErrandState.PLACED
    counts = office.ledger.errands.counts()
    assert (counts.waiting, counts.placed) == (0, 1)


def test_the_order_is_in_the_ledger_before_it_goes_to_the_board(office: Office) -> None:
    seen: list[ErrandState] = []

    def look(_board: int, _channel: int, _phone: str) -> None:
        seen.append(office.only().state)

    office.errands = office.make(look)
    office.take(entry())
    assert seen == [ErrandState.ORDERED]


def test_an_order_that_cannot_be_written_down_is_not_given(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    with unwritable(office.directory):
        office.say(1, LineState.ON_HOOK)
        office.errands.pump()
        assert office.dialled == []
    assert "the ledger can't be used" in caplog.text
    office.switchboard.tick()
    office.errands.pump()
    assert office.dialled == [(1, 1, PHONE)]


def test_a_call_to_place_waits_while_its_port_is_busy(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    assert office.dialled == []
    assert office.only().state is ErrandState.WAITING
    office.clock.turn(EXPIRE - 1)
    office.say(1, LineState.ON_HOOK)
    office.errands.pump()
    assert office.dialled == [(1, 1, PHONE)]


def test_a_call_to_place_expires_and_is_never_dialled_after_that(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    office.clock.turn(EXPIRE)
    office.errands.pump()
    assert office.only().state is ErrandState.EXPIRED
    assert "60 s" in office.only().outcome
    office.say(1, LineState.ON_HOOK)
    office.errands.pump()
    assert office.dialled == []
    assert office.ledger.errands.counts().expired == 1


def test_a_wall_clock_that_jumps_expires_nothing(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    office.clock.jump(1e6)
    office.errands.pump()
    assert office.only().state is ErrandState.WAITING


@pytest.mark.parametrize("reason", [words for words, busy in REFUSALS.values() if not busy])
def test_a_call_that_the_board_refuses_fails_with_its_reason(office: Office, reason: str) -> None:
    office.take(entry())
    office.answer(reason=reason)
    assert (office.only().state, office.only().outcome) == (ErrandState.FAILED, reason)
    office.clock.turn(10)
    office.errands.pump()
    assert len(office.dialled) == 1
    assert office.ledger.errands.counts().failed == 1


def test_a_busy_port_is_tried_again_a_little_later(office: Office) -> None:
    office.take(entry())
    office.answer(reason="the port is busy", busy=True)
    assert (office.only().state, office.only().outcome) == (
        ErrandState.WAITING,
        "the port is busy",
    )
    office.errands.pump()
    assert len(office.dialled) == 1
    office.clock.turn(AFTER_BUSY)
    office.errands.pump()
    assert len(office.dialled) == 2
    office.answer(accepted=True)
    assert office.only().state is ErrandState.PLACED


def test_a_port_that_stays_busy_lets_the_call_expire(office: Office) -> None:
    office.take(entry())
    for _ in range(10):
        office.answer(reason="the port is busy", busy=True)
        office.clock.turn(EXPIRE / 10)
        office.errands.pump()
    assert office.only().state is ErrandState.EXPIRED
    assert len(office.dialled) == 10


def test_one_port_has_one_order_at_a_time_and_a_rest_after_it(office: Office) -> None:
    office.take(entry(phone="111"), entry(phone="222"), entry(channel=2, phone="333"))
    assert office.dialled == [(1, 1, "111"), (1, 2, "333")]
    office.answer(1, accepted=True)
    office.errands.pump()
    assert len(office.dialled) == 2
    office.clock.turn(AFTER_PLACED)
    office.errands.pump()
    assert office.dialled[2:] == [(1, 1, "222")]


def test_an_answer_that_nobody_waits_for_changes_nothing(office: Office) -> None:
    office.answer(accepted=True)
    office.take(entry())
    office.answer(accepted=True)
    office.answer(reason="late")
    assert office.only().state is ErrandState.PLACED


def test_errands_say_when_they_want_to_be_asked_again(office: Office) -> None:
    assert office.errands.due() is None
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    office.clock.turn(20)
    assert office.errands.due() == pytest.approx(EXPIRE - 20)
    office.say(1, LineState.ON_HOOK)
    office.errands.pump()
    assert office.errands.due() is None
    office.answer(reason="the port is busy", busy=True)
    assert office.errands.due() == pytest.approx(AFTER_BUSY)


# The board or the agent is lost in between.


def test_an_order_under_way_when_the_board_is_lost_fails_and_is_never_repeated(
    office: Office,
) -> None:
    office.take(entry())
    office.errands.link_lost(1)
    assert office.only().state is ErrandState.FAILED
    assert "not repeated" in office.only().outcome
    office.clock.turn(10)
    office.errands.pump()
    assert len(office.dialled) == 1


def test_losing_one_board_leaves_the_other_ones_orders_alone(
    tmp_path: Path, clock: HandClock
) -> None:
    office = Office(tmp_path, clock, {1: 2, 2: 2})
    office.take(entry(mdcCode="1"), entry(mdcCode="2"))
    office.errands.link_lost(1)
    assert [one.state for one in office.found()] == [ErrandState.FAILED, ErrandState.ORDERED]
    office.ledger.close()


def test_an_order_under_way_when_the_agent_ended_is_not_repeated(office: Office) -> None:
    office.take(entry())
    office.start_anew()
    assert office.only().state is ErrandState.FAILED
    office.take(entry())  # the list still shows it
    office.clock.turn(10)
    office.errands.pump()
    assert len(office.dialled) == 1


def test_a_call_that_waited_when_the_agent_ended_is_still_dialled(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    office.start_anew()
    office.errands.pump()
    assert len(office.dialled) == 1


def test_a_call_that_waited_when_the_power_failed_is_not_dialled_later(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    office.clock.jump(3600)
    office.clock.start_anew()
    office.start_anew()
    office.errands.pump()
    assert office.only().state is ErrandState.EXPIRED
    assert office.dialled == []


def test_errands_in_the_place_of_others_still_hear_what_became_of_an_open_order(
    office: Office,
) -> None:
    office.take(entry())
    office.errands = office.make()
    office.errands.take_over()
    office.take(entry(phone="222"))
    assert len(office.dialled) == 1
    office.answer(accepted=True)
    assert [one.state for one in office.found()] == [ErrandState.PLACED, ErrandState.WAITING]


def test_a_board_that_refuses_the_order_itself_fails_the_call_and_no_other(
    office: Office,
) -> None:
    office.refusal = "board 1 cannot dial: its driver is whozz"
    office.take(entry(), entry(channel=2, phone="222"))
    assert [one.state for one in office.found()] == [ErrandState.FAILED] * 2
    assert office.found()[0].outcome == office.refusal
    office.refusal = None
    office.take(entry(phone="333"))
    assert office.dialled == [(1, 1, "333")]


def test_a_pools_link_that_is_lost_fails_the_order_of_its_own_port_only(office: Office) -> None:
    office.take(entry(channel=1, phone="111"), entry(channel=2, phone="222"))
    office.errands.link_lost(1, (2,))
    by_phone = {one.phone: one.state for one in office.found()}
    assert by_phone == {"111": ErrandState.ORDERED, "222": ErrandState.FAILED}


def test_a_link_that_goes_down_between_looking_and_dialling_fails_the_call(
    tmp_path: Path, clock: HandClock
) -> None:
    ledger = open_ledger(tmp_path, clock)
    lines = Lines(
        [Board(port="/nowhere")],
        15.0,
        ledger,
        clock,
        TrustedClock(clock, lambda: True),
        on_change=lambda: None,
        on_calls=lambda: None,
        on_dial_answer=lambda board, answer: None,
        on_link=lambda board, channels, up: None,
    )
    lines.switchboard.link(1, True, clock.stamp())
    lines.switchboard.hear(1, [ChannelState(1, LineState.ON_HOOK)], clock.stamp())
    errands = Errands(
        ledger,
        lines.switchboard,
        clock,
        EXPIRE,
        Functions(ledger, clock, {}, {}),
        dial=lines.dial,
        shown=lambda p: p,
    )
    errands.take(CALLS, read_listing([entry()]))
    (errand,) = ledger.errands.recent(10)
    assert (errand.state, errand.outcome) == (ErrandState.FAILED, "board 1 is not connected")
    ledger.close()


def test_an_outcome_that_comes_while_the_ledger_is_full_is_written_down_later(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.take(entry())
    with unwritable(office.directory):
        office.answer(accepted=True)
        office.errands.pump()
        assert office.only().state is ErrandState.ORDERED
    assert "can't be written down yet" in caplog.text
    office.errands.pump()
    assert office.only().state is ErrandState.PLACED
    assert len(office.dialled) == 1


def test_a_port_that_changes_is_given_the_call_that_waits_for_it(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    office.errands.port_changed()
    assert office.dialled == []
    office.say(1, LineState.ON_HOOK)
    office.errands.port_changed()
    assert len(office.dialled) == 1


def test_a_port_that_changes_costs_no_look_into_the_ledger_where_no_call_waits(
    office: Office,
) -> None:
    office.take(entry())
    office.answer(accepted=True)
    office.errands.pump()
    office.ledger.close()
    office.errands.port_changed()


def test_a_call_that_the_board_was_too_busy_for_is_ordered_again_as_its_port_changes(
    office: Office,
) -> None:
    office.take(entry())
    office.answer(busy=True)
    office.clock.turn(10)
    office.errands.port_changed()
    assert len(office.dialled) == 2


# The same entry again.


def test_an_entry_that_the_list_goes_on_showing_is_dialled_once(office: Office) -> None:
    for _ in range(20):
        office.take(entry())
        office.answer(accepted=True)
        office.clock.turn(30)
    assert len(office.dialled) == 1
    assert len(office.found()) == 1


def test_an_entry_that_comes_again_after_the_list_was_without_it_is_dialled_again(
    office: Office,
) -> None:
    office.take(entry())
    office.answer(accepted=True)
    office.take()
    office.clock.turn(10)
    office.take(entry())
    assert len(office.dialled) == 2


def test_an_entry_whose_call_still_waits_is_not_taken_a_second_time(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    office.take(entry())
    office.take()
    office.take(entry())
    assert len(office.found()) == 1


def test_an_entry_twice_in_one_answer_is_dialled_once(office: Office) -> None:
    office.take(entry(), entry(), entry(surplus="key"))
    office.answer(accepted=True)
    office.clock.turn(10)
    office.errands.pump()
    assert len(office.dialled) == 1


def test_an_entry_in_both_lists_is_dialled_once(office: Office) -> None:
    office.take(entry(), source=CALLS)
    office.answer(accepted=True)
    office.clock.turn(SAME_ORDER - 1)
    office.take(entry(), source=MESSAGES)
    office.errands.pump()
    assert len(office.dialled) == 1
    assert len(office.found()) == 1


def test_an_entry_that_the_other_list_brings_much_later_is_another_order(office: Office) -> None:
    office.take(entry(), source=CALLS)
    office.answer(accepted=True)
    office.take(source=CALLS)
    office.clock.turn(max(SAME_ORDER, EXPIRE) + 1)
    office.take(entry(), source=MESSAGES)
    assert len(office.dialled) == 2


def test_a_long_list_in_changing_order_is_dialled_once_each(office: Office) -> None:
    entries = [entry(channel=n % 8 + 1, phone=f"1{n:04}") for n in range(MOST_ENTRIES * 2)]
    for turn in range(6):
        office.take(*(entries if turn % 2 else entries[::-1]))
        for _ in range(40):
            for channel in range(1, 9):
                office.answer(channel, accepted=True)
            office.clock.turn(AFTER_PLACED)
            office.errands.pump()
    assert len(office.dialled) == len(set(office.dialled))
    assert len(office.found()) <= MOST_ENTRIES * 2


def test_what_is_remembered_of_an_endless_list_is_bounded(office: Office) -> None:
    for turn in range(12):
        office.take(*(entry(channel=9, phone=f"{turn}{n:04}") for n in range(MOST_ENTRIES + 1)))
    assert len(office.ledger.errands.listed(CALLS)) == MOST_LISTED


# Entries that cannot be obeyed.


def test_a_call_for_a_box_that_is_not_here_fails(office: Office) -> None:
    office.take(entry(mdcCode="7"))
    assert (office.only().state, office.only().outcome) == (
        ErrandState.FAILED,
        "no such box here",
    )


def test_a_call_for_a_port_that_is_not_there_fails(office: Office) -> None:
    office.take(entry(channel=9))
    assert office.only().outcome == "the box has no such port"


def test_a_call_that_names_no_box_is_for_the_only_one(office: Office) -> None:
    office.take({"status": 0, "mdcWan": 2, "phone": "555"})
    assert office.dialled == [(1, 2, "555")]


def test_a_call_that_names_no_box_where_there_are_two_fails(
    tmp_path: Path, clock: HandClock
) -> None:
    office = Office(tmp_path, clock, {1: 8, 2: 8})
    office.take({"status": 0, "mdcWan": 2, "phone": "555"}, entry(mdcCode="2"))
    assert [one.state for one in office.found()] == [ErrandState.FAILED, ErrandState.ORDERED]
    assert "several" in office.found()[0].outcome
    assert office.dialled == [(2, 1, PHONE)]
    office.ledger.close()


def test_more_calls_than_may_wait_fail_and_the_first_ones_stay(office: Office) -> None:
    office.say(1, LineState.IN_CALL)
    for start in range(0, MOST_WAITING + 50, 50):
        office.take(*(entry(phone=f"1{number:04}") for number in range(start, start + 50)))
    states = [one.state for one in office.found()]
    assert states == [ErrandState.WAITING] * MOST_WAITING + [ErrandState.FAILED] * 50
    assert office.ledger.errands.counts().waiting == MOST_WAITING


def test_malformed_entries_are_counted_in_one_line_of_the_log_and_harm_no_other(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.take(
        {"status": "0", "phone": PHONE},
        entry(phone="call me"),
        entry(phone="1" * 1_000_000),
        entry(channel=10_000),
        "nothing",
        None,
        {"status": []},
        entry(channel=2, phone="222"),
    )
    assert office.dialled == [(1, 2, "222")]
    assert office.errands.counts.malformed == 7
    lines = [one for one in caplog.messages if "can't be understood" in one]
    assert len(lines) == 1
    assert len(lines[0]) < 500


def test_ten_thousand_entries_are_looked_at_as_far_as_the_limit(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.take(*(entry(channel=n % 8 + 1, phone=f"1{n}") for n in range(10_000)))
    assert len(office.found()) == MOST_ENTRIES
    assert office.errands.counts.ignored == 10_000 - MOST_ENTRIES
    assert len([one for one in caplog.messages if "more entries" in one]) == 1


def test_an_entry_of_a_status_that_is_not_known_is_left_and_counted_once(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agent")
    for _ in range(3):
        office.take(entry(status="1"), source=MESSAGES)
    assert office.found() == []
    assert office.dialled == []
    assert office.errands.counts.ignored == 1
    assert len([one for one in caplog.messages if "an entry of status 1 is left" in one]) == 1


def test_an_entry_that_is_left_shows_no_whole_number_in_the_log(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "agent")
    office.take(entry(status="1"), source=MESSAGES)
    assert "is left" in caplog.text
    assert PHONE not in caplog.text


def test_a_list_that_cannot_be_written_down_is_not_obeyed_and_can_come_again(
    office: Office,
) -> None:
    with unwritable(office.directory), pytest.raises(LedgerError):
        office.take(entry(), message("report"))
    assert (office.dialled, office.asked) == ([], [])
    office.take(entry(), message("report"))
    assert len(office.dialled) == len(office.asked) == 1


# Functions.


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("report", "report"),
        ("rescan", "rescan"),
        ("list", "rescan"),
        ("statusNow", "report"),
    ],
)
def test_a_message_runs_the_function_it_names_or_that_its_name_stands_for(
    office: Office, name: str, function: str
) -> None:
    office.take(message(name, "a=b&c=d%20e"), source=MESSAGES)
    assert office.asked == [(function, {"a": "b", "c": "d e"})]
    assert (office.only().state, office.only().name) == (ErrandState.DONE, name)
    assert office.only().outcome


@pytest.mark.parametrize("name", ["reboot", "lost"])
def test_a_message_of_an_unknown_function_is_kept_and_shown(
    office: Office, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    office.take(message(name, "when=now"), source=MESSAGES)
    errand = office.only()
    assert (errand.state, errand.name) == (ErrandState.UNKNOWN, name)
    assert errand.parameters == (("when", "now"),)
    assert name in caplog.text


def test_a_function_that_raises_fails_alone_and_says_why_in_bounded_printable_words(
    office: Office,
) -> None:
    office.take(message("boom"), message("report"), source=MESSAGES)
    failed, done = office.found()
    assert failed.state is ErrandState.FAILED
    assert failed.outcome.startswith("ValueError: no such\\x1b thing")
    assert len(failed.outcome) < 300
    assert done.state is ErrandState.DONE


def test_a_message_that_the_list_goes_on_showing_runs_once(office: Office) -> None:
    office.take(message("report"), source=MESSAGES)
    office.take(message("report"), source=MESSAGES)
    office.take(source=MESSAGES)
    office.take(message("report"), source=MESSAGES)
    assert len(office.asked) == 2


def test_a_message_twice_in_one_answer_runs_once(office: Office) -> None:
    office.take(message("report"), message("report"), source=MESSAGES)
    assert len(office.asked) == 1


def test_a_reload_after_a_boot_expires_no_function_of_this_boot(office: Office) -> None:
    office.clock.start_anew()
    office.start_anew()
    assert office.ledger.new_boot
    queued = Order(FUNCTION, "key", MESSAGES, name="hello", expires=1e9)
    office.ledger.errands.add(queued, ErrandState.WAITING)
    queue = FunctionQueue(
        Section(directory="/opt"), office.ledger, office.clock, satellite=str, shown=str
    )
    office.errands._functions = Functions(office.ledger, office.clock, {}, {}, queue)
    office.errands.take_over()
    assert office.only().state is ErrandState.WAITING


def test_a_message_in_both_lists_runs_once(office: Office) -> None:
    office.take(message("report"), source=MESSAGES)
    office.take(message("report"), source="getMessageList1125")
    assert len(office.asked) == 1
    office.clock.turn(SAME_ORDER + 1)
    office.take(message("report", "a=b"), source="getMessageList1125")
    assert len(office.asked) == 2


def test_a_function_under_way_when_the_agent_ended_is_not_repeated(office: Office) -> None:
    class PowerCut(BaseException):
        pass

    def cut(_parameters: Mapping[str, str]) -> str:
        raise PowerCut

    office.more = {"report": cut}
    office.errands = office.make()
    with pytest.raises(PowerCut):
        office.take(message("report"), source=MESSAGES)
    office.start_anew()
    assert office.only().state is ErrandState.FAILED


def test_the_log_shows_numbers_only_as_they_may_be_shown(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "agent")
    office.take(entry())
    office.answer(reason="there is no line on the port")
    assert "<00>" in caplog.text
    assert PHONE not in caplog.text


STEPS = st.lists(
    st.sampled_from(
        ["list", "other list", "empty", "answer", "busy", "refuse", "in use", "free"]
        + ["lost", "crash", "second", "minute", "full", "mended"]
    ),
    max_size=60,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_whatever_happens_each_errand_is_dialled_once_but_for_busy_ports(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    clock = HandClock()
    office = Office(tmp_path_factory.mktemp("state"), clock, {1: 1})
    dialled: dict[int, int] = {}
    excused: dict[int, int] = {}

    def dial(_board: int, _channel: int, _phone: str) -> None:
        (number,) = [one.id for one in office.found() if one.state is ErrandState.ORDERED]
        dialled[number] = dialled.get(number, 0) + 1

    def busy() -> None:
        for one in office.found():
            if one.state is ErrandState.ORDERED:
                excused[one.id] = excused.get(one.id, 0) + 1
        office.answer(busy=True, reason="the port is busy")

    def crash() -> None:
        office.start_anew()
        office.errands = office.make(dial)

    actions: dict[str, Callable[[], None]] = {
        "list": lambda: office.take(entry()),
        "other list": lambda: office.take(entry(), source=MESSAGES),
        "empty": office.take,
        "answer": lambda: office.answer(accepted=True),
        "busy": busy,
        "refuse": lambda: office.answer(reason="there is no line on the port"),
        "in use": lambda: office.say(1, LineState.IN_CALL),
        "free": lambda: office.say(1, LineState.ON_HOOK),
        "lost": lambda: office.errands.link_lost(1),
        "crash": crash,
        "second": lambda: clock.turn(1),
        "minute": lambda: clock.turn(61),
    }
    office.errands = office.make(dial)
    fault = None
    try:
        for step in steps:
            if step == "full" and fault is None:
                fault = unwritable(office.directory)
                fault.__enter__()
            elif step == "mended" and fault is not None:
                fault.__exit__(None, None, None)
                fault = None
            elif step in actions and not (step == "crash" and fault is not None):
                try:
                    actions[step]()
                except LedgerError:
                    assert fault is not None
                office.errands.pump()
        for number, times in dialled.items():
            assert times <= 1 + excused.get(number, 0)
        # Two calls to the same number begin at least one full list apart.
        assert len(office.found()) <= 1 + steps.count("empty") + steps.count("minute")
    finally:
        if fault is not None:
            fault.__exit__(None, None, None)
        office.ledger.close()
