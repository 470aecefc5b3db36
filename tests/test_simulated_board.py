"""The simulated board speaks SERIAL.md 1 on a real pty, and its traffic is what an office does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import serial

from agent.boards.events import LineState, Peer
from agent.boards.frames import Frame, FrameReader, frame
from agent.clock import Stamp
from agent.simulation.board import SimulatedBoard
from agent.simulation.board_model import BEAT, REF_KEPT, BoardModel
from agent.simulation.journal import read
from agent.simulation.traffic import GAP, Traffic
from agent.simulation.truth import TrueCall, read_call

PHONE = "13800138000"


class Host:
    """The gateway's end of the wire."""

    def __init__(self, port: str) -> None:
        self.serial = serial.Serial(port, 115200, timeout=10, exclusive=True)
        self._reader = FrameReader()
        self._frames: list[Frame] = []

    def send(self, *fields: str | int) -> None:
        self.serial.write(frame(*fields))

    def next(self, kind: str) -> tuple[str, ...]:
        while True:
            while self._frames:
                found = self._frames.pop(0)
                if found.type == kind:
                    return found.fields
            data = self.serial.read(1) + self.serial.read(self.serial.in_waiting)
            assert data, f"no {kind} came"
            self._frames += self._reader.feed(data)

    def port(self) -> tuple[str, ...]:
        """The next CH line without its sequence number and time."""
        return self.next("CH")[1:5]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "port", 2, journal=tmp_path / "journal") as running:
        yield running


@pytest.fixture
def host(board: SimulatedBoard) -> Iterator[Host]:
    end = Host(board.port)
    with end.serial:
        end.send("SYNC")
        assert end.next("HELLO")[:3] == ("1", "1", "2")
        assert [end.port(), end.port()] == [("1", "1", "0", ""), ("2", "1", "0", "")]
        yield end


def parsed(data: bytes) -> list[Frame]:
    reader = FrameReader()
    frames = reader.feed(data)
    assert reader.bad == 0
    return frames


def test_an_incoming_call_is_told_step_by_step(board: SimulatedBoard, host: Host) -> None:
    board.ring(1)
    board.number(1, PHONE)
    board.answer(1)
    board.hang_up(1)
    steps = [host.port() for _ in range(4)]
    assert steps == [
        ("1", "3", "2", ""),
        ("1", "3", "2", PHONE),
        ("1", "2", "2", PHONE),
        ("1", "1", "0", ""),
    ]
    (call,) = board.calls
    assert (call.channel, call.direction, call.phone) == (1, "in", PHONE)


def test_an_outgoing_number_grows_and_its_signs_are_letters(
    board: SimulatedBoard, host: Host
) -> None:
    board.off_hook(2)
    for digit in "*1#":
        board.digits(2, digit)
    assert [host.port()[3] for _ in range(4)] == ["", "A", "A1", "A1B"]
    board.fault(2)
    assert board.calls[0].phone == "*1#"


def test_a_dial_is_obeyed_with_a_call(board: SimulatedBoard, host: Host) -> None:
    host.send("DIAL", 7, 1, "1A0")
    assert host.next("OK") == ("7",)
    assert host.port() == ("1", "2", "1", "1A0")
    assert board.wait_for_dial(10)
    assert [(dial.channel, dial.phone) for dial in board.dials] == [(1, "1*0")]


def test_a_host_comes_and_goes_without_harm(board: SimulatedBoard, host: Host) -> None:
    host.serial.close()
    board.ring(1, PHONE)
    again = Host(board.port)
    with again.serial:
        again.send("SYNC")
        again.next("HELLO")
        assert again.port() == ("1", "3", "2", PHONE)


def test_an_unplugged_board_is_an_error_and_comes_back_under_its_name(
    board: SimulatedBoard, host: Host
) -> None:
    board.unplug()
    with pytest.raises(serial.SerialException):
        host.next("CH")
    assert not Path(board.port).is_symlink()
    board.ring(1, PHONE)
    board.plug_in()
    again = Host(board.port)
    with again.serial:
        again.send("SYNC")
        assert board.wait_for_sync(10)
        again.next("HELLO")
        assert again.port() == ("1", "3", "2", PHONE)


def test_a_cable_that_is_pulled_just_as_the_board_listens_stops_no_board(
    board: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled = threading.Event()
    pause = board._pause

    def pull() -> float:
        if not pulled.is_set():
            board.unplug()
            pulled.set()
        return pause()

    monkeypatch.setattr(board, "_pause", pull)
    board.ring(1)
    assert pulled.wait(20)
    board.plug_in()
    with serial.Serial(board.port, timeout=20) as port:
        port.write(frame("SYNC"))
        assert board.wait_for_sync(20)


def test_lines_nobody_reads_are_lost_and_block_nothing(board: SimulatedBoard) -> None:
    for _ in range(2000):
        board.ring(1, PHONE)
    assert board.lost_bytes > 0


def test_the_journal_holds_every_change_and_every_call(
    board: SimulatedBoard, tmp_path: Path
) -> None:
    board.ring(1, PHONE)
    board.hang_up(1)
    lines = read(tmp_path / "journal")
    assert [line["event"] for line in lines] == ["state", "state", "call"]
    assert read_call(lines[2]) == board.calls[0]
    assert board.calls[0].direction == "unkown"


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        (("DIAL", 1, 9, "10086"), ("ERR", "1", "2")),
        (("DIAL", 1, 1, "10086"), ("ERR", "1", "1")),
        (("DIAL", 1, 2, "10086"), ("ERR", "1", "3")),
        (("DIAL", 1, 3, "10-86"), ("ERR", "1", "4")),
        (("DIAL", 1), ("ERR", "1", "2")),
        (("HANG", 1, 3), ("ERR", "1", "9")),
        (("HANG", 1, 1), ("OK", "1")),
    ],
)
def test_an_order_gets_the_answer_that_it_deserves(
    order: tuple[str | int, ...], answer: tuple[str, ...]
) -> None:
    model = BoardModel(channels=3)
    model.change(1, 0.0, LineState.IN_CALL, Peer.OUTGOING)
    model.change(2, 0.0, LineState.FAULT)
    first = parsed(model.feed(frame(*order), 1.0))[0]
    assert (first.type, *first.fields) == answer
    assert model.dials == []


def test_a_repeated_order_is_answered_again_and_obeyed_once() -> None:
    model = BoardModel()
    order = frame("DIAL", 5, 1, "10086")
    assert [line.type for line in parsed(model.feed(order, 0.0))] == ["OK", "CH"]
    assert [line.type for line in parsed(model.feed(order, 4.0))] == ["OK"]
    assert len(model.dials) == 1
    model.change(1, 5.0, LineState.ON_HOOK)
    model.feed(order, REF_KEPT + 1)
    assert len(model.dials) == 2, "a host that began anew counts from 1 again"


def test_sequence_numbers_go_round_and_the_beat_repeats_the_last() -> None:
    model = BoardModel(channels=1)
    sequence = [parsed(model.feed(frame("SYNC"), 0.0))[1].fields[0] for _ in range(258)]
    assert sequence[:2] == ["0", "1"]
    assert sequence[255:] == ["255", "0", "1"]
    assert parsed(model.tick(BEAT))[0] == Frame("BEAT", ("1",))
    assert model.tick(BEAT + 4.9) == b""
    assert model.tick(BEAT * 2) != b""


def test_timelen_counts_from_the_first_ring() -> None:
    model = BoardModel(channels=1)
    model.change(1, 100.0, LineState.RINGING, Peer.INCOMING, PHONE)
    model.change(1, 103.0, LineState.IN_CALL)
    assert parsed(model.feed(frame("SYNC"), 135.5))[1].fields[5] == "35"


class FastClock:
    """A clock that a test turns by hand."""

    boot = "test"

    def __init__(self) -> None:
        self.now = 1000.0

    def wall(self) -> float:
        return self.now + 1_600_000_000

    def monotonic(self) -> float:
        return self.now

    def stamp(self) -> Stamp:
        return Stamp(self.wall(), self.monotonic())


def hour_of_traffic(tmp_path: Path, seed: int) -> list[TrueCall]:
    clock = FastClock()
    board = SimulatedBoard(tmp_path / "port", clock=clock)
    traffic = Traffic(board, 8, calls_per_minute=10, seed=seed, now=clock.now, seconds=3600)
    while (due := traffic.due()) is not None:
        clock.now = max(clock.now, due)
        traffic.act(clock.now)
    assert all(board.idle(channel) for channel in range(1, 9)), "every call ended"
    return board.calls


def test_traffic_has_every_kind_of_call_and_ends(tmp_path: Path) -> None:
    calls = hour_of_traffic(tmp_path, seed=3)
    assert 300 < len(calls) < 900
    for direction in ("in", "out", "unkown"):
        assert sum(call.direction == direction for call in calls) > 50
    assert {call.channel for call in calls} == set(range(1, 9))
    assert all(call.phone for call in calls)
    for channel in range(1, 9):
        own = [call for call in calls if call.channel == channel]
        for before, after in pairwise(own):
            assert after.started - before.ended >= GAP - 0.001, "a port rests between two calls"


def test_the_same_seed_gives_the_same_calls(tmp_path: Path) -> None:
    assert hour_of_traffic(tmp_path, 5) == hour_of_traffic(tmp_path, 5)
    assert hour_of_traffic(tmp_path, 5) != hour_of_traffic(tmp_path, 6)


def test_traffic_waits_for_a_host_and_follows_a_dial(tmp_path: Path) -> None:
    def make(board: SimulatedBoard, now: float) -> Traffic:
        return Traffic(board, 1, calls_per_minute=0, seed=1, now=now, longest=1.5)

    with SimulatedBoard(tmp_path / "port", 1, traffic=make) as board:
        host = Host(board.port)
        with host.serial:
            host.send("SYNC")
            host.send("DIAL", 1, 1, "10086")
            assert board.wait_for(lambda: len(board.calls) == 1, 20)
    assert (board.calls[0].direction, board.calls[0].phone) == ("out", "10086")


def test_noise_damages_lines(tmp_path: Path) -> None:
    with SimulatedBoard(tmp_path / "port", 1, noise=0.5) as board:
        host = Host(board.port)
        with host.serial:
            for number in range(40):
                board.ring(1, str(number))
            board.state(1, LineState.ON_HOOK)
            reader = FrameReader()
            while reader.good + reader.bad < 20:
                data = host.serial.read(1)
                assert data
                reader.feed(data)
    assert reader.bad > 0
    assert reader.good > 0


def test_a_journal_line_is_plain_json(tmp_path: Path, board: SimulatedBoard) -> None:
    board.ring(1, PHONE)
    line = json.loads((tmp_path / "journal").read_text().splitlines()[0])
    assert line == {
        "event": "state",
        "at": line["at"],
        "channel": 1,
        "state": 3,
        "peer": 2,
        "phone": PHONE,
    }


def test_the_command_makes_the_port_and_takes_it_away(tmp_path: Path) -> None:
    link = tmp_path / "port"
    command = [sys.executable, "-m", "agent", "simulate", "board", "--link", str(link)]
    with subprocess.Popen([*command, "--channels", "4"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"a board of 4 ports at {link}\n".encode()
        host = Host(str(link))
        with host.serial:
            host.send("SYNC")
            assert host.next("HELLO")[2] == "4"
        process.terminate()
        assert process.wait(10) == 0
    assert not link.is_symlink()
