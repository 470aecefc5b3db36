"""The switchboard: what boards say becomes calls in a real ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agent import call_writing
from agent.boards.events import BoardHello, ChannelState, DialAnswer, LineState, Peer
from agent.call_times import in_this_boot
from agent.call_writing import Unwritten
from agent.calls import LOST_LONGEST, RINGING_LONGEST, Call, Direction
from agent.clock import Stamp, TrustedClock
from agent.ledger import Ledger, LedgerError, open_ledger
from agent.ledger.rows import State, StoredCall
from agent.switchboard import Switchboard
from tests.clocks import NOON, HandClock
from tests.rooms import unwritable

ATTACH_WINDOW = 15.0
ON_HOOK, RINGING, IN_CALL, ANSWERED = (
    LineState.ON_HOOK,
    LineState.RINGING,
    LineState.IN_CALL,
    LineState.ANSWERED,
)


class Exchange:
    """A switchboard on a real ledger, and what it told its neighbours."""

    def __init__(self, directory: Path, clock: HandClock, **channels: int) -> None:
        self.directory = directory
        self.clock = clock
        self.channels = {int(name.lstrip("b")): count for name, count in channels.items()} or {1: 8}
        self.changes = 0
        self.calls_told = 0
        self.records_told = 0
        self.answers: list[tuple[int, DialAnswer]] = []
        self.on_calls: Callable[[], None] = lambda: None
        self.ntp = True
        self.ledger: Ledger = open_ledger(directory, clock)
        self.board = self.make()
        for serial in self.channels:
            self.board.link(serial, True, clock.stamp())

    def make(self, inherited: Sequence[Unwritten] = ()) -> Switchboard:
        def changed() -> None:
            self.changes += 1

        def told() -> None:
            self.calls_told += 1
            self.on_calls()

        def record_told() -> None:
            self.records_told += 1

        return Switchboard(
            self.channels,
            self.ledger,
            self.clock,
            TrustedClock(self.clock, lambda: self.ntp),
            ATTACH_WINDOW,
            on_change=changed,
            on_calls=told,
            on_dial_answer=lambda board, answer: self.answers.append((board, answer)),
            on_record=record_told,
            inherited=inherited,
        )

    def start_anew(self) -> None:
        """The agent is killed and starts again on the same ledger."""
        self.ledger.close()
        self.ledger = open_ledger(self.directory, self.clock)
        self.board = self.make()

    def say(self, channel: int, state: LineState, phone: str = "", **more: object) -> None:
        """The board says a port's state."""
        self.say_all(ChannelState(channel, state, phone=phone, **more))  # type: ignore[arg-type]

    def say_all(self, *events: ChannelState, board: int = 1) -> None:
        """Several ports in one read."""
        self.board.hear(board, events, self.clock.stamp())

    def on_hook(self) -> None:
        """All ports are on hook, as a board says when it is asked."""
        for board, count in self.channels.items():
            self.say_all(
                *(ChannelState(channel, ON_HOOK, asked=True) for channel in range(1, count + 1)),
                board=board,
            )

    def open_calls(self) -> list[StoredCall]:
        return self.ledger.calls.open_calls()

    def ended(self) -> list[StoredCall]:
        found = self.ledger.calls.around(0.0, 1e11)
        return sorted((c for c in found if c.call.ended is not None), key=lambda c: c.id)

    def state_of(self, stored: StoredCall) -> State:
        (item,) = self.ledger.queue.find(stored.id)
        return item.state


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def exchange(tmp_path: Path, clock: HandClock) -> Iterator[Exchange]:
    made = Exchange(tmp_path, clock)
    made.on_hook()
    yield made
    made.ledger.close()


def incoming(exchange: Exchange, channel: int = 1, phone: str = "13800138000") -> None:
    """A call that rings for 5 s and lasts 30 s, still going on."""
    exchange.say(channel, RINGING, phone)
    exchange.clock.turn(5)
    exchange.say(channel, IN_CALL, phone, peer=Peer.INCOMING)
    exchange.clock.turn(30)


# One call from its beginning to its end.


def test_an_incoming_call_is_booked_with_ring_answer_and_hang_up(exchange: Exchange) -> None:
    incoming(exchange)
    exchange.say(1, ON_HOOK)
    (stored,) = exchange.ended()
    call = stored.call
    assert (call.direction, call.phone, call.channel) == (Direction.IN, "13800138000", 1)
    assert call.started.wall == NOON
    assert call.answered is not None
    assert call.answered.wall == NOON + 5
    assert call.ended is not None
    assert call.ended.wall == NOON + 35
    assert exchange.state_of(stored) is State.WAITING_FOR_RECORDING
    assert not stored.end_uncertain
    assert stored.clock_trusted


def test_an_outgoing_call_begins_when_the_line_is_taken(exchange: Exchange) -> None:
    exchange.say(2, IN_CALL)
    exchange.clock.turn(20)
    exchange.say(2, ON_HOOK)
    (stored,) = exchange.ended()
    assert stored.call.direction is Direction.OUT
    assert stored.call.duration == 20


def test_a_call_nobody_answers_is_due_at_once_because_it_has_no_recording(
    exchange: Exchange,
) -> None:
    exchange.say(3, RINGING, "555")
    exchange.clock.turn(20)
    exchange.say(3, ON_HOOK)
    (stored,) = exchange.ended()
    assert (stored.call.direction, stored.call.duration) == (Direction.UNKNOWN, 0)
    assert exchange.state_of(stored) is State.RECORD_TO_SEND


def test_a_call_is_in_the_ledger_from_its_first_ring(exchange: Exchange) -> None:
    exchange.say(1, RINGING)
    (stored,) = exchange.open_calls()
    assert stored.call.started.wall == NOON


def test_a_number_that_comes_late_is_in_the_record(exchange: Exchange) -> None:
    exchange.say(1, RINGING)
    exchange.clock.turn(1)
    exchange.say(1, RINGING, "13800138000")
    exchange.say(1, ON_HOOK)
    assert exchange.ended()[0].call.phone == "13800138000"


def test_an_untrusted_clock_is_written_down_with_the_call(exchange: Exchange) -> None:
    exchange.ntp = False
    incoming(exchange)
    exchange.say(1, ON_HOOK)
    assert not exchange.ended()[0].clock_trusted


def test_ringing_that_falls_silent_without_a_word_is_ended_by_the_tick(exchange: Exchange) -> None:
    exchange.say(1, RINGING, "555")
    exchange.clock.turn(RINGING_LONGEST - 1)
    exchange.board.tick()
    assert len(exchange.open_calls()) == 1
    exchange.clock.turn(1)
    exchange.board.tick()
    (stored,) = exchange.ended()
    assert stored.call.direction is Direction.UNKNOWN


def test_a_port_beyond_the_configured_ones_is_said_in_the_log(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.say(9, RINGING)
    assert "board 1 speaks of port 9" in caplog.text
    assert not exchange.open_calls()


# What it costs: flash wears.


def test_digits_are_saved_by_the_tick_and_not_one_commit_each(exchange: Exchange) -> None:
    exchange.say(1, IN_CALL)
    before = exchange.ledger.soft_commits
    for length in range(1, 12):
        exchange.say(1, IN_CALL, "13800138000"[:length])
        exchange.clock.turn(0.1)
    assert exchange.ledger.soft_commits == before
    exchange.board.tick()
    assert exchange.ledger.soft_commits == before + 1
    assert exchange.open_calls()[0].call.phone == "13800138000"


def test_digits_of_all_ports_are_saved_in_one_transaction(exchange: Exchange) -> None:
    exchange.say_all(*(ChannelState(channel, IN_CALL) for channel in range(1, 9)))
    exchange.say_all(*(ChannelState(channel, IN_CALL, phone="1") for channel in range(1, 9)))
    before = exchange.ledger.soft_commits
    exchange.board.tick()
    assert exchange.ledger.soft_commits == before + 1
    assert [stored.call.phone for stored in exchange.open_calls()] == ["1"] * 8


def test_a_tick_with_nothing_new_writes_nothing(exchange: Exchange) -> None:
    incoming(exchange)
    before = exchange.ledger.commits, exchange.ledger.soft_commits
    exchange.board.tick()
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.board.tick()
    assert (exchange.ledger.commits, exchange.ledger.soft_commits) == before


def test_two_ports_that_change_in_one_read_are_one_transaction(exchange: Exchange) -> None:
    before = exchange.ledger.commits
    exchange.say_all(ChannelState(1, RINGING), ChannelState(2, IN_CALL))
    assert exchange.ledger.commits == before + 1
    assert [stored.call.channel for stored in exchange.open_calls()] == [1, 2]


def test_a_call_waits_for_the_disk_as_it_begins_and_as_it_ends(exchange: Exchange) -> None:
    before = exchange.ledger.commits, exchange.ledger.soft_commits
    incoming(exchange)
    exchange.say(1, ON_HOOK)
    after = exchange.ledger.commits, exchange.ledger.soft_commits
    assert after == (before[0] + 2, before[1] + 1), "its answer does not"


def test_a_callers_number_is_written_at_once_for_nothing_tells_it_again(exchange: Exchange) -> None:
    exchange.say(1, RINGING)
    exchange.say(1, RINGING, "13800138000")
    assert exchange.open_calls()[0].call.phone == "13800138000"


def test_the_answer_is_written_at_once(exchange: Exchange) -> None:
    exchange.say(1, RINGING)
    exchange.clock.turn(3)
    exchange.say(1, IN_CALL, "13800138000", peer=Peer.INCOMING)
    assert exchange.open_calls()[0].call.answered is not None
    exchange.board.tick()
    (stored,) = exchange.open_calls()
    assert stored.call.answered is not None
    assert stored.call.direction is Direction.IN


def test_eight_ports_at_once_are_eight_calls(exchange: Exchange) -> None:
    exchange.say_all(
        *(ChannelState(channel, RINGING, phone=f"1380013800{channel}") for channel in range(1, 9))
    )
    exchange.clock.turn(4)
    exchange.say_all(*(ChannelState(channel, IN_CALL) for channel in range(1, 9)))
    exchange.clock.turn(10)
    exchange.say_all(*(ChannelState(channel, ON_HOOK) for channel in range(1, 9)))
    ended = exchange.ended()
    assert [stored.call.channel for stored in ended] == list(range(1, 9))
    assert [stored.call.phone[-1] for stored in ended] == [str(n) for n in range(1, 9)]
    assert len({stored.id for stored in ended}) == 8


def test_the_same_port_of_two_boards_is_two_ports(tmp_path: Path, clock: HandClock) -> None:
    exchange = Exchange(tmp_path, clock, b1=2, b2=2)
    exchange.on_hook()
    exchange.say_all(ChannelState(1, RINGING, phone="1"), board=1)
    exchange.say_all(ChannelState(1, RINGING, phone="2"), board=2)
    found = [(stored.call.board, stored.call.phone) for stored in exchange.open_calls()]
    assert found == [(1, "1"), (2, "2")]
    exchange.ledger.close()


# The agent ends and starts in the middle of a call.


def test_after_a_restart_in_mid_call_the_call_goes_on_under_its_number(
    exchange: Exchange,
) -> None:
    incoming(exchange)
    (before,) = exchange.open_calls()
    exchange.clock.turn(60)
    exchange.start_anew()
    exchange.say(1, IN_CALL, "13800138000", peer=Peer.INCOMING, timelen=90, asked=True)
    exchange.clock.turn(10)
    exchange.say(1, ON_HOOK)
    (stored,) = exchange.ended()
    assert stored.id == before.id
    assert stored.call.answered == before.call.answered
    assert stored.call.duration == 100
    assert not stored.end_uncertain
    assert not exchange.open_calls()


def test_a_call_that_ended_while_the_agent_was_down_ends_as_last_heard_and_says_so(
    exchange: Exchange,
) -> None:
    incoming(exchange)
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.board.save()
    exchange.clock.turn(60)
    exchange.start_anew()
    exchange.say(1, ON_HOOK, asked=True)
    (stored,) = exchange.ended()
    assert stored.call.ended is not None
    assert stored.call.ended.wall == NOON + 35
    assert stored.end_uncertain


def test_another_call_that_began_while_the_agent_was_down_is_a_call_of_its_own(
    exchange: Exchange,
) -> None:
    incoming(exchange)
    exchange.clock.turn(100)
    exchange.start_anew()
    exchange.say(1, IN_CALL, "999", peer=Peer.OUTGOING, timelen=8, asked=True)
    (old,) = exchange.ended()
    (new,) = exchange.open_calls()
    assert old.end_uncertain
    assert new.id != old.id
    assert new.call.started.wall == exchange.clock.wall() - 8
    exchange.say(1, ON_HOOK)
    assert [stored.end_uncertain for stored in exchange.ended()] == [True, False]


def test_a_call_missed_while_the_agent_was_down_waits_for_a_recording_that_knows_better(
    exchange: Exchange,
) -> None:
    exchange.say(1, RINGING, "555")
    exchange.start_anew()
    exchange.clock.turn(60)
    exchange.say(1, ON_HOOK, asked=True)
    (stored,) = exchange.ended()
    assert stored.end_uncertain
    assert exchange.state_of(stored) is State.WAITING_FOR_RECORDING


def test_an_agent_that_stops_writes_down_how_far_each_call_has_come(exchange: Exchange) -> None:
    incoming(exchange)
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.board.save()
    (stored,) = exchange.open_calls()
    assert stored.call.last_heard.wall == NOON + 35


def test_a_call_goes_on_over_a_restart_of_the_gateway(exchange: Exchange) -> None:
    incoming(exchange)
    (before,) = exchange.open_calls()
    exchange.clock.jump(40)
    exchange.clock.start_anew()
    exchange.start_anew()
    exchange.clock.turn(5)
    exchange.say(1, IN_CALL, "13800138000", peer=Peer.INCOMING, timelen=75, asked=True)
    exchange.clock.turn(10)
    exchange.say(1, ON_HOOK)
    (stored,) = exchange.ended()
    assert stored.id == before.id
    assert stored.call.duration == pytest.approx(85)
    assert stored.boot == "second boot"


def test_a_call_that_a_restart_of_the_gateway_cut_ends_as_last_heard(exchange: Exchange) -> None:
    incoming(exchange)
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.board.save()
    exchange.clock.jump(40)
    exchange.clock.start_anew()
    exchange.start_anew()
    exchange.say(1, ON_HOOK, asked=True)
    (stored,) = exchange.ended()
    assert stored.call.ended is not None
    assert stored.call.ended.wall == NOON + 35
    assert stored.call.duration == pytest.approx(30)
    assert stored.end_uncertain


def test_a_gateway_that_wakes_in_1970_does_not_put_its_old_call_into_the_future(
    exchange: Exchange,
) -> None:
    incoming(exchange)
    exchange.board.save()
    exchange.clock.jump(-NOON)
    exchange.clock.start_anew()
    exchange.start_anew()
    exchange.clock.turn(50)
    exchange.say(1, ON_HOOK, asked=True)
    (stored,) = exchange.ended()
    assert stored.call.ended is not None
    assert stored.call.ended.monotonic <= exchange.clock.monotonic()
    exchange.say(1, RINGING, "777")
    assert [stored.call.phone for stored in exchange.open_calls()] == ["777"]


def test_a_call_on_a_port_that_is_no_longer_configured_is_ended_and_sent(
    exchange: Exchange,
) -> None:
    incoming(exchange, channel=8)
    incoming(exchange, channel=1)
    exchange.channels = {1: 4}
    exchange.start_anew()
    (stored,) = exchange.ended()
    assert stored.call.channel == 8
    assert stored.end_uncertain
    assert exchange.state_of(stored) is State.WAITING_FOR_RECORDING
    assert [stored.call.channel for stored in exchange.open_calls()] == [1]


def test_of_two_calls_left_open_on_one_port_the_later_one_goes_on(exchange: Exchange) -> None:
    incoming(exchange, phone="1111")
    exchange.clock.turn(100)
    call = replace(exchange.open_calls()[0].call, phone="2222", started=exchange.clock.stamp())
    exchange.ledger.calls.begin(call, clock_trusted=True)
    exchange.start_anew()
    assert [stored.call.phone for stored in exchange.open_calls()] == ["2222"]
    assert [stored.call.phone for stored in exchange.ended()] == ["1111"]


@given(
    ago=st.floats(0, 1e6),
    elapsed=st.floats(0, 1e4),
    jump=st.floats(-1e5, 1e5),
    now=st.floats(0, 1e6),
    wakes_at=st.floats(0, NOON * 2),
)
def test_a_call_taken_over_into_another_boot_keeps_its_length_and_is_never_ahead_of_now(
    ago: float, elapsed: float, jump: float, now: float, wakes_at: float
) -> None:
    call = Call(
        board=1,
        channel=1,
        direction=Direction.IN,
        phone="",
        started=Stamp(NOON, ago),
        answered=Stamp(NOON, ago),
        ended=None,
        last_heard=Stamp(NOON + elapsed + jump, ago + elapsed),
    )
    taken = in_this_boot(call, Stamp(wakes_at, now))
    assert taken.last_heard.monotonic <= now + 0.001
    assert taken.duration == pytest.approx(call.duration, abs=0.01)
    assert taken.started.wall == call.started.wall
    if wakes_at > call.last_heard.wall:
        since = wakes_at - call.last_heard.wall
        assert now - taken.last_heard.monotonic == pytest.approx(since, abs=0.01)


# The board is lost.


def test_a_call_whose_board_was_lost_and_came_back_is_one_call(exchange: Exchange) -> None:
    incoming(exchange)
    exchange.board.link(1, False, exchange.clock.stamp())
    exchange.clock.turn(20)
    exchange.board.link(1, True, exchange.clock.stamp())
    exchange.say(1, IN_CALL, "13800138000", peer=Peer.INCOMING, timelen=50, asked=True)
    exchange.clock.turn(10)
    exchange.say(1, ON_HOOK)
    (stored,) = exchange.ended()
    assert stored.call.duration == 60


def test_a_call_that_ended_while_its_board_was_lost_ends_as_last_heard(exchange: Exchange) -> None:
    incoming(exchange)
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.clock.turn(3)
    exchange.board.link(1, False, exchange.clock.stamp())
    exchange.clock.turn(20)
    exchange.board.link(1, True, exchange.clock.stamp())
    exchange.say(1, ON_HOOK, asked=True)
    (stored,) = exchange.ended()
    assert stored.call.ended is not None
    assert stored.call.ended.wall == NOON + 35


def test_losing_one_board_leaves_the_other_ones_calls_alone(
    tmp_path: Path, clock: HandClock
) -> None:
    exchange = Exchange(tmp_path, clock, b1=1, b2=1)
    exchange.on_hook()
    exchange.board.link(1, False, clock.stamp())
    assert (exchange.board.is_up(1), exchange.board.is_up(2)) == (False, True)
    assert (exchange.board.idle(1, 1), exchange.board.idle(2, 1)) == (False, True)
    exchange.ledger.close()


# The ledger can't be written for a while.


def test_calls_are_kept_while_the_ledger_cannot_be_written_and_written_afterwards(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    with unwritable(exchange.directory):
        incoming(exchange)
        exchange.say(1, ON_HOOK)
        exchange.clock.turn(10)
        incoming(exchange, channel=2, phone="222")
        exchange.say(1, IN_CALL, "333")
        exchange.board.tick()
        assert exchange.board.unwritten == 4
        assert not exchange.open_calls()
        assert not exchange.ended()
    assert "kept in memory" in caplog.text
    exchange.board.tick()
    assert exchange.board.unwritten == 0
    (stored,) = exchange.ended()
    assert (stored.call.phone, stored.call.duration) == ("13800138000", 30)
    # Channel 2 was answered and channel 1 dialled meanwhile: that is not lost either.
    opened = {stored.call.channel: stored.call for stored in exchange.open_calls()}
    assert opened[2].answered is not None
    assert (opened[1].phone, opened[1].direction) == ("333", Direction.OUT)
    exchange.board.tick()
    assert len(exchange.ended()) == 1


def test_a_call_that_begins_during_the_fault_does_not_touch_the_one_before_it(
    exchange: Exchange,
) -> None:
    incoming(exchange, phone="111")
    with unwritable(exchange.directory):
        exchange.say(1, ON_HOOK)
        exchange.clock.turn(10)
        exchange.say(1, IN_CALL)
        exchange.say(1, IN_CALL, "222")
        exchange.board.tick()
    exchange.board.tick()
    (old,) = exchange.ended()
    (new,) = exchange.open_calls()
    assert (old.call.phone, old.call.duration) == ("111", 30)
    assert new.call.phone == "222"


def test_a_dial_answer_is_passed_on_even_while_the_ledger_cannot_be_written(
    exchange: Exchange,
) -> None:
    answer = DialAnswer(2, accepted=True)
    with unwritable(exchange.directory):
        exchange.board.hear(
            1, [ChannelState(1, RINGING), answer, BoardHello(1, 8, "x")], exchange.clock.stamp()
        )
    assert exchange.answers == [(1, answer)]


def test_what_goes_wrong_with_whoever_is_told_of_calls_loses_nothing(exchange: Exchange) -> None:
    def failing() -> None:
        raise LedgerError("the disk is full")

    exchange.on_calls = failing
    changes = exchange.changes
    with pytest.raises(LedgerError):
        exchange.board.hear(
            1, [ChannelState(1, RINGING), DialAnswer(2, accepted=True)], exchange.clock.stamp()
        )
    assert len(exchange.answers) == 1
    assert exchange.changes == changes + 1
    assert len(exchange.open_calls()) == 1
    assert exchange.board.unwritten == 0
    with pytest.raises(LedgerError):
        exchange.say(1, ON_HOOK)
    assert exchange.records_told == 1


def test_that_there_is_a_record_to_send_is_told_at_a_calls_end_and_not_before(
    exchange: Exchange,
) -> None:
    exchange.say(1, RINGING)
    exchange.say(1, RINGING, "13800138000")
    exchange.say(1, IN_CALL, "13800138000")
    exchange.board.tick()
    assert (exchange.calls_told, exchange.records_told) == (3, 0)
    exchange.say(1, ON_HOOK)
    assert (exchange.calls_told, exchange.records_told) == (4, 1)


def test_an_end_that_is_written_late_is_told_of_then(exchange: Exchange) -> None:
    exchange.say(1, RINGING)
    with unwritable(exchange.directory):
        exchange.say(1, ON_HOOK)
        assert exchange.records_told == 0
    exchange.board.tick()
    assert exchange.records_told == 1


def test_an_end_is_told_of_whichever_way_it_was_noticed(exchange: Exchange) -> None:
    exchange.say(1, RINGING)
    exchange.clock.turn(RINGING_LONGEST)
    exchange.board.tick()
    assert exchange.records_told == 1
    exchange.say(2, RINGING)
    exchange.clock.turn(RINGING_LONGEST)
    exchange.board.link(1, False, exchange.clock.stamp())
    assert exchange.records_told == 2


def test_beyond_its_bound_no_call_is_begun_and_those_begun_are_ended(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_writing, "MOST_UNWRITTEN", 3)
    with unwritable(exchange.directory):
        for channel in (1, 2, 3, 4):
            exchange.say(channel, RINGING, str(channel))
        assert exchange.board.dropped == 1
        for channel in (1, 2, 3, 4):
            exchange.say(channel, IN_CALL, str(channel))
            exchange.clock.turn(5)
            exchange.say(channel, ON_HOOK)
        assert exchange.board.unwritten == 6
    exchange.board.tick()
    assert [stored.call.phone for stored in exchange.ended()] == ["1", "2", "3"]
    # The port whose call was lost takes its next one as ever.
    exchange.say(4, RINGING, "44")
    exchange.say(4, ON_HOOK)
    assert [stored.call.phone for stored in exchange.ended()] == ["1", "2", "3", "44"]
    assert exchange.board.dropped == 1


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"),
            st.sampled_from([1, 2]),
            st.sampled_from(list(LineState)),
            st.sampled_from(["", "1", "12", "99"]),
        ),
        st.tuples(st.sampled_from(["fault", "mended", "tick", "lost", "back", "restart"])),
        st.tuples(st.just("turn"), st.sampled_from([1.0, 30.0, 200.0, 6000.0])),
    ),
    max_size=40,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=EVENTS)
def test_whatever_boards_and_disk_do_the_ledger_agrees_with_the_ports_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[object, ...]]
) -> None:
    clock = HandClock()
    exchange = Exchange(tmp_path_factory.mktemp("state"), clock, b1=2)
    fault = None
    try:
        for kind, *rest in events:
            if kind == "say":
                exchange.say(*rest)  # type: ignore[arg-type]
            elif kind == "turn":
                clock.turn(float(str(rest[0])))
            elif kind == "tick":
                exchange.board.tick()
            elif kind in {"lost", "back"}:
                exchange.board.link(1, kind == "back", clock.stamp())
            elif kind == "fault" and fault is None:
                fault = unwritable(exchange.directory)
                fault.__enter__()
            elif kind == "mended" and fault is not None:
                fault.__exit__(None, None, None)
                fault = None
            elif kind == "restart" and fault is None:
                exchange.start_anew()
            shown = exchange.board.channels(1)
            exchange.board._views.clear()
            assert shown == exchange.board.channels(1), "what is kept is what is so"
        if fault is not None:
            fault.__exit__(None, None, None)
        exchange.board.tick()
        busy = [
            view.channel for view in exchange.board.channels(1) if view.talking_since or view.peer
        ]
        assert sorted(stored.call.channel for stored in exchange.open_calls()) == busy
        for channel in (1, 2):
            free_at = 0.0
            for stored in exchange.ended():
                if stored.call.channel == channel:
                    assert stored.call.ended is not None
                    assert free_at <= stored.call.started.monotonic
                    free_at = stored.call.ended.monotonic
    finally:
        exchange.ledger.close()


# What others ask.


def test_a_call_lasts_as_long_as_its_board_was_heard_whichever_port_spoke(
    exchange: Exchange,
) -> None:
    exchange.on_hook()
    exchange.say(1, IN_CALL)
    exchange.clock.turn(60)
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.say(2, RINGING)
    exchange.clock.turn(10)
    exchange.board.link(1, False, exchange.clock.stamp())
    exchange.clock.turn(LOST_LONGEST)
    exchange.board.tick()
    (call,) = (stored.call for stored in exchange.ended() if stored.call.channel == 1)
    assert call.duration == 60


def test_what_was_heard_before_the_link_broke_says_nothing_of_a_call_after_it(
    exchange: Exchange,
) -> None:
    exchange.on_hook()
    exchange.clock.turn(100)
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.clock.turn(100)
    exchange.board.link(1, False, exchange.clock.stamp())
    exchange.clock.turn(100)
    exchange.board.link(1, True, exchange.clock.stamp())
    # It was taken 150 s ago, when nobody listened; the board was heard 200 s ago.
    exchange.say(1, IN_CALL, asked=True, timelen=150)
    (stored,) = exchange.open_calls()
    assert stored.call.started.monotonic == exchange.clock.monotonic() - 150


def test_a_calls_start_lies_after_the_port_was_last_known_to_be_free(exchange: Exchange) -> None:
    exchange.on_hook()
    exchange.clock.turn(100)
    exchange.board.heard(1, exchange.clock.stamp())
    exchange.clock.turn(50)
    exchange.say(1, IN_CALL, asked=True, timelen=90)
    (stored,) = exchange.open_calls()
    assert stored.call.started.monotonic == exchange.clock.monotonic() - 50


def test_the_ports_of_a_board_are_shown_as_they_are_whoever_asked_before(
    exchange: Exchange,
) -> None:
    def shown() -> list[tuple[LineState | None, str]]:
        return [(view.state, view.phone) for view in exchange.board.channels(1)[:2]]

    assert shown() == [(ON_HOOK, ""), (ON_HOOK, "")]
    exchange.say(1, RINGING)
    exchange.say(1, RINGING, "1")
    assert shown() == [(RINGING, "1"), (ON_HOOK, "")]
    exchange.say(2, IN_CALL, "2")
    assert shown() == [(RINGING, "1"), (IN_CALL, "2")]
    exchange.clock.turn(RINGING_LONGEST)
    exchange.board.tick()
    assert shown() == [(RINGING, ""), (IN_CALL, "2")]
    exchange.clock.turn(1)
    exchange.say(2, ON_HOOK)
    assert shown() == [(RINGING, ""), (ON_HOOK, "")]


def test_a_call_known_from_the_ledger_is_shown_before_its_board_speaks(exchange: Exchange) -> None:
    exchange.say(1, IN_CALL, "13800138000")
    exchange.start_anew()
    assert exchange.board.channels(1)[0].phone == "13800138000"


def test_a_port_is_idle_on_hook_while_its_board_is_heard(exchange: Exchange) -> None:
    board = exchange.board
    assert board.idle(1, 1)
    exchange.say(1, RINGING)
    assert not board.idle(1, 1)
    exchange.say(1, ON_HOOK)
    assert board.idle(1, 1)
    board.link(1, False, exchange.clock.stamp())
    assert not board.idle(1, 1)


@pytest.mark.parametrize("state", [LineState.NOT_CONNECTED, LineState.FAULT])
def test_a_port_without_a_line_is_not_idle(exchange: Exchange, state: LineState) -> None:
    exchange.say(1, state)
    assert not exchange.board.idle(1, 1)


def test_a_port_of_which_nothing_is_known_yet_or_which_is_not_there_is_not_idle(
    tmp_path: Path, clock: HandClock
) -> None:
    exchange = Exchange(tmp_path, clock)
    assert not exchange.board.idle(1, 1)
    exchange.on_hook()
    assert not exchange.board.idle(1, 9)
    assert not exchange.board.idle(2, 1)
    exchange.ledger.close()


def test_each_port_can_be_looked_at(exchange: Exchange) -> None:
    incoming(exchange, channel=2)
    views = exchange.board.channels(1)
    assert [view.channel for view in views] == list(range(1, 9))
    view = views[1]
    assert (view.state, view.peer, view.phone) == (IN_CALL, Peer.INCOMING, "13800138000")
    assert view.talking_since == Stamp(NOON + 5, 1005.0)
    assert views[0].talking_since is None


def test_neighbours_are_told_of_changes_and_of_calls(exchange: Exchange) -> None:
    changes, told = exchange.changes, exchange.calls_told
    exchange.say(1, ON_HOOK)
    assert (exchange.changes, exchange.calls_told) == (changes, told)
    exchange.say(1, IN_CALL)
    assert (exchange.changes, exchange.calls_told) == (changes + 1, told + 1)
    exchange.say(1, IN_CALL, "1")
    assert (exchange.changes, exchange.calls_told) == (changes + 2, told + 1)


def test_the_boards_firmware_is_in_the_log(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agent")
    exchange.board.hear(1, [BoardHello(1, 8, "F7")], exchange.clock.stamp())
    assert "firmware F7" in caplog.text


def test_a_board_that_introduces_itself_without_end_does_not_fill_the_log(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "agent")
    for number in range(1000):
        exchange.board.hear(1, [BoardHello(1, 8, f"2.{number}")], exchange.clock.stamp())
        exchange.clock.turn(0.1)
    assert 2 <= len([one for one in caplog.messages if "firmware" in one]) <= 3


def test_a_number_from_a_careless_driver_holds_nothing_but_digits(exchange: Exchange) -> None:
    exchange.on_hook()
    exchange.say(1, RINGING, phone="\ud800138\x1b[2J00\n" + "1" * 100)
    exchange.say(2, RINGING, phone="10086")
    (first, second) = exchange.open_calls()
    assert first.call.phone == "138200" + "1" * 26
    assert second.call.phone == "10086"


# On another ledger, where this one failed.


def test_calls_in_memory_go_over_to_a_new_ledger(exchange: Exchange, tmp_path: Path) -> None:
    """What could not be written, and what goes on: each call once, and whole."""
    with unwritable(exchange.directory):
        exchange.say(1, RINGING, "111111")
        exchange.clock.turn(5)
        exchange.say(1, IN_CALL, "111111")
        exchange.clock.turn(60)
        exchange.say(1, ON_HOOK)
        exchange.say(2, RINGING, "222222")
        handed_over = exchange.board.handover()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    exchange.ledger.close()
    exchange.ledger = open_ledger(fresh, exchange.clock)
    exchange.board = exchange.make(handed_over)
    record = exchange.ledger.queue.items(10)
    assert [item.phone for item in record] == ["111111"]
    (going_on,) = exchange.ledger.calls.open_calls()
    assert going_on.call.phone == "222222"
    exchange.say(2, ON_HOOK, asked=True)
    assert len(exchange.ledger.queue.items(10)) == 2
    assert exchange.ledger.calls.open_calls() == []


def test_a_ledger_that_kept_a_call_is_told_how_it_went_on(exchange: Exchange) -> None:
    """As one that was saved from a damaged one does: the same call, under the same number."""
    exchange.say(1, RINGING, "111111")
    (begun,) = exchange.ledger.calls.open_calls()
    with unwritable(exchange.directory):
        exchange.clock.turn(5)
        exchange.say(1, IN_CALL, "111111")
        exchange.clock.turn(60)
        exchange.say(1, ON_HOOK)
        handed_over = exchange.board.handover()
    exchange.board = exchange.make(handed_over)
    (item,) = exchange.ledger.queue.items(10)
    assert item.id == begun.id
    stored = exchange.ledger.calls.get(begun.id)
    assert stored is not None
    assert stored.call.duration == 60
