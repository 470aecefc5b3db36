"""The link: owns a real port, survives its loss, tells up from down, carries orders and events."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import serial

from agent.boards.dial_orders import MOST_ORDERS
from agent.boards.driver import BoardOptions, DialRefused, Driver
from agent.boards.events import BoardHello, ChannelState, DialAnswer, Event, LineState
from agent.boards.frames import frame
from agent.boards.link import BoardLink
from agent.boards.native import NativeDriver
from agent.boards.port import Port, PortFailed, Wake
from agent.clock import Stamp, SystemClock
from agent.settings import Board
from tests.boards import PATIENCE, HandClock, NativeBoard, PtyBoard, until


class Listener:
    """What a link told, and the link's thread."""

    def __init__(
        self,
        port: str,
        driver: Callable[[], Driver] | None = None,
        clock: SystemClock | HandClock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.events: list[Event] = []
        self.stamps: list[Stamp] = []
        self.ups: list[bool] = []
        self.sure: list[Stamp] = []
        self.signs_of_life: list[float] = []
        self.link = BoardLink(
            Board(port=port, serial=1, channels=8),
            driver or (lambda: NativeDriver(BoardOptions(1, 8), self.clock.monotonic)),
            self.clock,
            on_events=self.take,
            on_link=lambda _serial, up, _stamp: self.ups.append(up),
            on_heard=lambda _serial, stamp: self.sure.append(stamp),
            on_alive=self.signs_of_life.append,
            reopen_after=0.05,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.link.run, args=(self._stop,))

    def take(self, serial_number: int, events: Sequence[Event], stamp: Stamp) -> None:
        assert serial_number == 1
        assert events
        self.events += events
        self.stamps.append(stamp)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self.link.wake()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def states(self) -> dict[int, LineState]:
        return {one.channel: one.state for one in self.events if isinstance(one, ChannelState)}

    def knows_all_ports(self) -> bool:
        return len(self.states()) == 8

    def wait_for_all_ports(self) -> None:
        until(self.knows_all_ports, "every port's state")

    def wait_for(self, up: bool, times: int) -> None:
        until(lambda: self.ups.count(up) == times, f"the link {'up' if up else 'down'} x{times}")

    def dials(self) -> list[DialAnswer]:
        return [event for event in self.events if isinstance(event, DialAnswer)]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PtyBoard]:
    """A native board on a real pseudo-terminal."""
    with PtyBoard(tmp_path / "ttyTEST") as board:
        yield board


def test_on_opening_the_board_is_asked_and_the_link_comes_up(board: PtyBoard) -> None:
    before = time.time()
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        assert board.types_heard() == ["SYNC"]
        assert listener.ups == [True]
        view = listener.link.view()
        assert (view.serial, view.driver, view.port) == (1, "native", str(board.path))
        assert (view.up, view.trouble, view.bad_frames) == (True, "", 0)
        assert view.frames == 9
        assert view.last_heard is not None
        assert before <= view.last_heard <= time.time()
    assert not listener.link.view().up


def test_a_change_on_the_line_becomes_an_event_with_the_moment_it_was_read(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        before = time.monotonic()
        board.say(board.board.change(2, LineState.RINGING, "10086"))
        until(lambda: listener.states()[2] is LineState.RINGING, "the ringing")
        assert before <= listener.stamps[-1].monotonic <= time.monotonic()


def test_a_beat_is_told_as_heard_while_nothing_is_missing(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        count = len(listener.sure)
        board.say(board.board.beat())
        until(lambda: len(listener.sure) > count, "the beat")


def test_lost_lines_are_asked_for_and_nothing_is_sure_until_they_came(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        board.board.deaf = True
        count = len(listener.sure)
        board.board.change(3, LineState.FAULT)
        board.say(board.board.change(4, LineState.RINGING))
        until(lambda: board.types_heard().count("SYNC") >= 2, "the question")
        assert len(listener.sure) == count
        board.board.deaf = False
        until(lambda: listener.states()[3] is LineState.FAULT, "what was lost")
        until(lambda: len(listener.sure) > count, "certainty")


def test_bad_frames_are_counted_and_are_no_life(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        heard = listener.link.view().last_heard
        board.say(b"noise\r\n$CH,1*0000\r\n")
        until(lambda: listener.link.view().bad_frames == 2, "the bad frames")
        assert listener.link.view().last_heard == heard


def test_an_order_to_dial_wakes_the_thread_and_is_answered(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        listener.link.dial(5, "10086")
        until(lambda: listener.dials() == [DialAnswer(5, accepted=True)], "the answer")
        (order,) = board.board.obeyed
        assert order.fields[1:] == ("5", "10086")


def test_a_port_has_one_order_at_a_time(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        board.board.deaf = True
        listener.link.dial(5, "10086")
        with pytest.raises(DialRefused, match="no answer yet"):
            listener.link.dial(5, "10010")
        until(lambda: "DIAL" in board.types_heard(), "the order")
        board.say(frame("OK", board.board.orders[-1].fields[0]))
        until(lambda: len(listener.dials()) == 1, "the answer")
        listener.link.dial(5, "10010")


def test_an_answer_that_nobody_waits_for_is_not_told(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        board.board.deaf = True
        listener.link.dial(5, "10086")
        until(lambda: "DIAL" in board.types_heard(), "the order")
        board.unplug()
        listener.wait_for(up=False, times=1)
        board.board.deaf = False
        board.plug()
        listener.wait_for(up=True, times=2)
        assert [answer.accepted for answer in listener.dials()] == [False]


def test_an_order_does_not_wait_for_the_board_to_speak(
    board: PtyBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Patient(NativeDriver):
        silence_limit = None

    monkeypatch.setattr("agent.boards.link.IDLE_LONGEST", 10 * PATIENCE)
    with Listener(str(board.path), lambda: Patient(BoardOptions(1, 8), time.monotonic)) as listener:
        listener.wait_for_all_ports()
        listener.link.dial(5, "10086")
        until(lambda: len(listener.dials()) == 1, "the answer")


def test_a_number_that_the_driver_refuses_is_answered_too(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        listener.link.dial(5, "call me")
        until(lambda: bool(listener.dials()), "the refusal")
        assert not listener.dials()[0].accepted
        assert "digits" in listener.dials()[0].reason


def test_nothing_is_ordered_while_the_link_is_down(tmp_path: Path) -> None:
    with (
        Listener(str(tmp_path / "nothing")) as listener,
        pytest.raises(DialRefused, match="board 1 is not connected"),
    ):
        listener.link.dial(1, "1")


def test_before_the_thread_runs_nothing_is_ordered(tmp_path: Path) -> None:
    with pytest.raises(DialRefused, match="not connected"):
        Listener(str(tmp_path / "nothing")).link.dial(1, "1")


def test_a_port_that_another_program_holds_is_refused_and_said(board: PtyBoard) -> None:
    with serial.Serial(str(board.path), exclusive=True), Listener(str(board.path)) as listener:
        until(lambda: bool(listener.link.view().trouble), "the trouble")
        assert "another program holds" in listener.link.view().trouble
        assert str(board.path) in listener.link.view().trouble
        assert not listener.link.view().up


def test_a_port_is_taken_as_soon_as_the_other_program_lets_go(board: PtyBoard) -> None:
    other = serial.Serial(str(board.path), exclusive=True)
    with Listener(str(board.path)) as listener:
        until(lambda: bool(listener.link.view().trouble), "the trouble")
        other.close()
        listener.wait_for_all_ports()
        assert listener.link.view().trouble == ""


def test_while_the_agent_holds_the_port_no_other_program_gets_it(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        with pytest.raises(serial.SerialException, match="exclusive"):
            serial.Serial(str(board.path), exclusive=True)


def test_a_board_that_is_unplugged_and_back_is_heard_again(
    board: PtyBoard, caplog: pytest.LogCaptureFixture
) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        board.unplug()
        until(lambda: listener.ups == [True, False], "the loss")
        until(lambda: "not there" in listener.link.view().trouble, "what is missing")
        board.board.change(6, LineState.IN_CALL)
        board.plug()
        until(lambda: listener.ups == [True, False, True], "the return")
        until(lambda: listener.states()[6] is LineState.IN_CALL, "the state meanwhile")
        assert listener.link.view().trouble == ""
        asked = [one for one in listener.events if isinstance(one, ChannelState) and one.asked]
        assert len(asked) == 16


def test_a_port_that_stays_away_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO),
        Listener(str(tmp_path / "nothing")) as listener,
    ):
        # Each attempt to open begins with a sign of life.
        until(lambda: len(listener.signs_of_life) >= 3, "three attempts")
    assert len(caplog.records) == 1
    assert "is not there" in caplog.text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.write_bytes(b""), "not a serial port"),
        (os.mkfifo, "not a serial port"),
    ],
)
def test_what_is_no_serial_port_is_said_and_not_opened(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "port"
    make(path)
    with Listener(str(path)) as listener:
        until(lambda: bool(listener.link.view().trouble), "the trouble")
        assert words in listener.link.view().trouble


def test_an_unknown_kind_of_url_is_trouble_and_no_crash() -> None:
    with Listener("carrier-pigeon://roof") as listener:
        until(lambda: "carrier-pigeon" in listener.link.view().trouble, "the trouble")


class Ticking(HandClock):
    """Runs by itself, a thousand times as fast."""

    def monotonic(self) -> float:
        return time.monotonic() * 1000

    def stamp(self) -> Stamp:
        return Stamp(time.time(), self.monotonic())


def test_a_board_that_falls_silent_takes_the_link_down_and_the_next_beat_up(
    board: PtyBoard,
) -> None:
    board.board.deaf = True
    with Listener(str(board.path), clock=Ticking()) as listener:
        until(lambda: bool(board.types_heard()), "the port to be open")
        board.say(board.board.beat())
        until(lambda: listener.ups[:2] == [True, False], "up, then silence")
        assert "nothing good heard" in listener.link.view().trouble
        board.say(board.board.beat())
        until(lambda: listener.ups[:3] == [True, False, True], "up again")


def test_an_order_without_answer_comes_back_as_not_dialled(board: PtyBoard) -> None:
    with Listener(str(board.path), clock=Ticking()) as listener:
        until(lambda: True in listener.ups, "the link")
        board.board.deaf = True
        dial_as_soon_as_up(listener, board)
        until(lambda: bool(listener.dials()), "the answer")
        assert listener.dials() == [DialAnswer(1, False, "the board did not answer")]


def dial_as_soon_as_up(listener: Listener, board: PtyBoard) -> None:
    """On the fast clock the link is up for 15 ms after each beat only."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        board.say(board.board.beat())
        try:
            listener.link.dial(1, "1")
        except DialRefused:
            continue
        return
    raise AssertionError("the link never came up")


class Parrot(Driver):
    """A driver of somebody else: an event a byte, dies of `!`, may be silent."""

    name = "parrot"
    made = 0

    def __init__(self, options: BoardOptions, monotonic: Callable[[], float]) -> None:
        super().__init__(options, monotonic)
        type(self).made += 1

    def opened(self) -> None:
        pass

    def feed(self, data: bytes) -> list[Event]:
        if b"!" in data:
            raise OSError("the parrot died")
        self.frames += len(data)
        return [BoardHello(byte, 1, "parrot") for byte in data]

    def poll(self) -> bytes:
        return b""

    def due(self) -> float | None:
        return 0.0


@pytest.fixture
def parrot() -> Iterator[Callable[[], Driver]]:
    """Makes parrots, counted from none."""
    Parrot.made = 0
    yield lambda: Parrot(BoardOptions(1, 1), time.monotonic)


def test_a_driver_that_raises_is_replaced_by_a_fresh_one_and_logged_once(
    board: PtyBoard, parrot: Callable[[], Driver], caplog: pytest.LogCaptureFixture
) -> None:
    with Listener(str(board.path), parrot) as listener:
        until(lambda: listener.ups == [True], "the link")
        board.say(b"a")
        until(lambda: len(listener.events) == 1, "the first event")
        for deaths in (1, 2):
            board.say(b"!")
            listener.wait_for(up=True, times=1 + deaths)
            assert Parrot.made == 1 + deaths
        board.say(b"b")
        until(lambda: len(listener.events) == 2, "the second event")
        assert listener.link.view().frames == 2
    deaths_logged = [one for one in caplog.records if "the parrot died" in one.message]
    assert [one.levelname for one in deaths_logged] == ["ERROR"]


def test_an_order_that_a_driver_took_with_it_when_it_failed_is_answered(board: PtyBoard) -> None:
    class Mortal(NativeDriver):
        def feed(self, data: bytes) -> list[Event]:
            if b"$DEATH" in data:
                raise ValueError("it died")
            return super().feed(data)

    with Listener(str(board.path), lambda: Mortal(BoardOptions(1, 8), time.monotonic)) as listener:
        listener.wait_for_all_ports()
        board.board.deaf = True
        listener.link.dial(4, "1")
        until(lambda: "DIAL" in board.types_heard(), "the order")
        board.say(frame("DEATH"))
        until(lambda: bool(listener.dials()), "the answer")
        assert listener.dials() == [
            DialAnswer(4, False, "the link broke before the board answered")
        ]


def test_an_order_on_its_way_when_the_board_is_unplugged_is_answered(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        board.board.deaf = True
        listener.link.dial(4, "1")
        until(lambda: "DIAL" in board.types_heard(), "the order")
        board.unplug()
        until(lambda: bool(listener.dials()), "the answer")
        assert listener.dials() == [
            DialAnswer(4, False, "the link broke before the board answered")
        ]


def test_a_driver_that_cannot_even_be_made_is_trouble_and_tried_again(board: PtyBoard) -> None:
    attempts: list[int] = []

    def broken() -> Driver:
        attempts.append(1)
        raise RuntimeError("no such chip")

    with Listener(str(board.path), broken) as listener:
        until(lambda: len(attempts) == 2, "a second attempt")
        assert "no such chip" in listener.link.view().trouble


def test_a_board_that_may_be_silent_is_up_once_its_port_is_open_but_not_heard(
    board: PtyBoard, parrot: Callable[[], Driver]
) -> None:
    with Listener(str(board.path), parrot) as listener:
        until(lambda: listener.ups == [True], "the link")
        assert listener.link.view().last_heard is None


def test_a_driver_that_cannot_dial_is_not_asked_to(
    board: PtyBoard, parrot: Callable[[], Driver]
) -> None:
    with Listener(str(board.path), parrot) as listener:
        until(lambda: listener.ups == [True], "the link")
        with pytest.raises(DialRefused, match="cannot dial"):
            listener.link.dial(1, "1")


def test_a_driver_that_is_always_due_makes_no_thread_spin(
    board: PtyBoard, parrot: Callable[[], Driver]
) -> None:
    with Listener(str(board.path), parrot) as listener:
        until(lambda: listener.ups == [True], "the link")
        start, turns = time.monotonic(), len(listener.signs_of_life)
        until(lambda: len(listener.signs_of_life) >= turns + 6, "some turns")
        # Each turn waits 50 ms, so six of them last longer than a tenth of that.
        assert time.monotonic() - start > 6 * 0.05 / 10


def test_after_an_order_the_thread_sleeps_again(
    board: PtyBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.boards.link.IDLE_LONGEST", 1.0)
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        listener.link.dial(1, "1")
        until(lambda: len(listener.dials()) == 1, "the answer")
        start, turns = time.monotonic(), len(listener.signs_of_life)
        until(lambda: len(listener.signs_of_life) >= turns + 3, "some turns")
        # The first of them may be under way; the other two wait for a second each.
        assert time.monotonic() - start > 2 * 1.0 / 10


def test_a_line_that_takes_no_bytes_holds_the_thread_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.boards.port.WRITE_WITHIN", 0.2)
    controller, terminal = os.openpty()
    wake = Wake()
    try:
        with (
            Port(Board(port=os.ttyname(terminal)), wake) as port,
            pytest.raises(PortFailed, match="takes no bytes"),
        ):
            port.write(b"x" * 1_000_000)
    finally:
        wake.close()
        os.close(controller)
        os.close(terminal)


def test_a_listener_that_raises_stops_nothing(
    board: PtyBoard, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(str(board.path))
    calls: list[int] = []

    def deaf_ear(_serial: int, events: Sequence[Event], _stamp: Stamp) -> None:
        calls.append(len(events))
        raise ValueError("disk full")

    listener.link._on_events = deaf_ear
    with listener:
        until(lambda: sum(calls) >= 9, "every event")
        board.say(board.board.change(1, LineState.RINGING))
        until(lambda: sum(calls) >= 10, "one more event")
        assert listener.link.view().up
    failures = [one for one in caplog.records if "disk full" in one.message]
    assert [one.levelname for one in failures] == ["ERROR"]


def test_orders_that_pile_up_are_refused_and_those_that_never_left_may_be_tried_again(
    board: PtyBoard,
) -> None:
    listener = Listener(str(board.path))
    held, release = threading.Event(), threading.Event()

    def slow(serial_number: int, events: Sequence[Event], stamp: Stamp) -> None:
        listener.take(serial_number, events, stamp)
        if any(isinstance(one, ChannelState) and one.channel == 8 for one in events):
            held.set()
            release.wait(PATIENCE)

    listener.link._on_events = slow
    with listener:
        assert held.wait(PATIENCE)
        for channel in range(MOST_ORDERS):
            listener.link.dial(channel, "1")
        with pytest.raises(DialRefused, match="32 orders wait"):
            listener.link.dial(99, "1")
        board.unplug()
        release.set()
        until(lambda: len(listener.dials()) >= MOST_ORDERS, "the answers")
        never_left = [
            answer for answer in listener.dials() if "before the order left" in answer.reason
        ]
        assert len(never_left) >= MOST_ORDERS - 8
        assert all(answer.busy and not answer.accepted for answer in never_left)
        assert not any(answer.accepted for answer in listener.dials())


def test_a_board_behind_a_serial_server_is_reached_and_reached_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        with Listener(f"socket://127.0.0.1:{server.getsockname()[1]}") as listener:
            for connections in (1, 2):
                board = NativeBoard()
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(PATIENCE)
                    until_synced(connection, board)
                    listener.wait_for(up=True, times=connections)
                listener.wait_for(up=False, times=connections)
            assert listener.knows_all_ports()


def until_synced(connection: socket.socket, board: NativeBoard) -> None:
    while not board.orders:
        connection.sendall(board.hear(connection.recv(4096)))


def test_a_port_without_a_file_descriptor_is_read_all_the_same() -> None:
    # What is written to loop:// comes back: the driver's own question is heard as a good frame.
    with Listener("loop://") as listener:
        until(lambda: listener.ups == [True], "the link")
        assert listener.link.view().frames >= 1


def test_a_link_that_is_stopped_gives_its_port_back_and_takes_no_more_orders(
    board: PtyBoard,
) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
    serial.Serial(str(board.path), exclusive=True).close()
    assert listener.ups == [True]
    with pytest.raises(DialRefused, match="not connected"):
        listener.link.dial(1, "1")


def test_the_thread_shows_that_it_lives(board: PtyBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.boards.link.IDLE_LONGEST", 0.3)
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        count = len(listener.signs_of_life)
        until(lambda: len(listener.signs_of_life) > count, "the next sign")
        assert all(0 < seconds <= 60 for seconds in listener.signs_of_life)


def test_a_busy_board_makes_its_thread_show_no_more_often_that_it_lives(
    board: PtyBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.boards.link.ALIVE_APART", 1000.0)
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        shown, said = len(listener.signs_of_life), len(listener.events)
        for state in [LineState.RINGING, LineState.ON_HOOK] * 10:
            board.say(board.board.change(1, state))
        until(lambda: len(listener.events) == said + 20, "every change")
        assert len(listener.signs_of_life) <= shown + 1


def test_a_port_that_is_opened_anew_shows_again_that_its_thread_lives(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        board.unplug()
        listener.wait_for(up=False, times=1)
        count = len(listener.signs_of_life)
        board.plug()
        listener.wait_for(up=True, times=2)
        # One holds for the opening, the other for the first turn and what it waits for.
        assert len(listener.signs_of_life) >= count + 2


def test_a_flood_of_noise_hides_no_good_line(board: PtyBoard) -> None:
    with Listener(str(board.path)) as listener:
        listener.wait_for_all_ports()
        for _ in range(100):
            board.say(bytes(range(1, 256)))
        board.say(frame("BEAT", "x") + board.board.change(7, LineState.ANSWERED))
        until(lambda: listener.states()[7] is LineState.ANSWERED, "the good line")
