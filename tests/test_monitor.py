"""The monitor: a line as it lives, in words; it listens only, and what it records can be played."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from agent.boards.driver import BoardOptions, Driver
from agent.boards.events import BoardHello, ChannelState, DialAnswer, LineState, Peer
from agent.boards.frames import frame
from agent.boards.modem import ModemDriver
from agent.boards.native import NativeDriver
from agent.boards.recorded import read
from agent.cli import main
from agent.commands.monitor import MOST_BYTES, Monitor, Shown, bytes_words, shown_event
from agent.instance import InstanceLock
from agent.logs import Phones
from agent.settings import Board
from agent.simulation.board import SimulatedBoard
from agent.simulation.replay import Replay
from tests.boards import HandClock, until

PHONE = "13800138000"
Captured = pytest.CaptureFixture[str]


def configuration(folder: Path, boards: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        'platform: {url: "http://127.0.0.1:1/"}\n'
        f"boards: {boards}\n"
        f"recordings: {{directory: {folder}}}\nstate_directory: {folder}\n"
    )
    return path


class Running:
    """A monitor in a process of its own, and the lines it has printed."""

    def __init__(self, config: Path, *options: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "monitor", "--config", str(config), *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        # What comes before the words is the time of day.
        self.lines += (line[14:].rstrip("\n") for line in self.process.stdout)

    def _said(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def wait_for(self, words: str) -> None:
        until(lambda: self._said(words), f"{words!r} among {self.lines}")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        status = self.process.wait(20)
        self._thread.join(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@contextmanager
def monitor(config: Path, *options: str | Path) -> Iterator[Running]:
    running = Running(config, *options)
    try:
        running.wait_for("listens on")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.end()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "port", 2) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, board: SimulatedBoard) -> Path:
    return configuration(tmp_path, f"[{{port: {board.port}, channels: 2}}]")


def a_call(board: SimulatedBoard) -> None:
    board.write(frame("HELLO", 1, 1, 2, "simulated-1"))
    board.ring(1)
    board.number(1, PHONE)
    board.answer(1)
    board.write(b"$BEAT,7*0000\r\n")
    board.hang_up(1)


def test_a_call_is_shown_in_words_with_what_is_damaged_and_ctrl_c_is_no_error(
    board: SimulatedBoard, config: Path
) -> None:
    with monitor(config) as running:
        a_call(board)
        running.wait_for("idle")
        assert running.interrupt() == 0
    said = [line.replace("  (perhaps before)", "") for line in running.lines]
    assert said[0] == f"monitor  listens on {board.port}"
    assert "board    says it is box 1, ports: 2, simulated-1" in said
    assert [line for line in said if line.startswith(("port", "bad"))] == [
        "port 1   ringing  incoming",
        "port 1   ringing  138****8000  incoming",
        "port 1   in call  138****8000  incoming",
        r"bad      check 0000, but the bytes give 4266: $BEAT,7*0000",
        "port 1   idle",
    ]


def test_it_sends_nothing_at_all(board: SimulatedBoard, config: Path) -> None:
    with monitor(config) as running:
        a_call(board)
        running.wait_for("idle")
        running.interrupt()
    assert not board.wait_for_sync(0)


def test_raw_shows_the_bytes_as_they_come(board: SimulatedBoard, config: Path) -> None:
    with monitor(config, "--raw") as running:
        board.write(b"\x00\xffA\r\n")
        running.wait_for(r"raw      \x00\xffA\r\n")
        running.wait_for("bad      a line without $: " + r"\x00\xffA")
        running.interrupt()


def test_on_a_terminal_it_is_in_colours(board: SimulatedBoard, config: Path) -> None:
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "monitor", "--config", str(config)],
        stdout=terminal,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(terminal)
    shown = os.read(controller, 4096)
    while b"listens on" not in shown:
        shown += os.read(controller, 4096)
    board.ring(2, PHONE)
    while b"ringing" not in shown:
        shown += os.read(controller, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    os.close(controller)
    assert re.search(rb"\x1b\[1;33mringing", shown), shown


def test_a_modem_is_shown_as_well(tmp_path: Path) -> None:
    with SimulatedBoard(tmp_path / "modem", driver="modem") as modem:
        config = configuration(tmp_path, f"[{{driver: modem, channels: {{4: {modem.port}}}}}]")
        with monitor(config, "--channel", "4") as running:
            modem.ring(1)
            modem.write(b"\r\nNMBR = 13800138000\r\n\r\nR$NG\r\n")
            running.wait_for("port 4   ringing  138****8000  incoming")
            running.wait_for("bad      a line that no modem is known to say: R$NG")
            running.interrupt()


# What is recorded.


def test_a_recorded_line_played_back_says_the_same(
    board: SimulatedBoard, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "line.jsonl"
    with monitor(config, "--record", file) as first:
        a_call(board)
        board.ring(2, "10086")
        first.wait_for("****6")
        assert first.interrupt() == 0
    with Replay(file, tmp_path / "replayed", speed=50.0) as replay:
        again = configuration(tmp_path, f"[{{port: {tmp_path / 'replayed'}, channels: 2}}]")
        with monitor(again) as second:
            second.wait_for("****6")
            assert replay.over.wait(20)
            second.interrupt()
    assert second.lines[1:] == first.lines[1:]
    assert len(second.lines) >= 7


def test_a_recording_holds_every_byte_and_only_its_owner_reads_it(
    board: SimulatedBoard, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "line.jsonl"
    with monitor(config, "--record", file) as running:
        board.write(bytes(range(256)))
        board.ring(1)
        running.wait_for("ringing")
        running.interrupt()
    assert bytes(range(256)) in b"".join(heard.data for heard in read(file))
    assert file.stat().st_mode & 0o777 == 0o600
    head = json.loads(file.read_text().partition("\n")[0])
    assert (head["recording"], head["driver"], head["baudrate"]) == (1, "native", 115_200)


def test_a_reader_who_leaves_is_not_taken_for_a_recording_that_fails(
    board: SimulatedBoard, config: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "agent", "monitor", "--config", str(config), "--record"]
    with subprocess.Popen(
        [*command, str(tmp_path / "line.jsonl")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        board.ring(1)
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


def test_an_earlier_recording_is_not_overwritten(
    config: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "line.jsonl"
    file.write_text("precious")
    assert main(["monitor", "--config", str(config), "--record", str(file)]) == 1
    assert "cannot be written: File exists; name a new file" in capsys.readouterr().err
    assert file.read_text() == "precious"


# What it refuses.


def test_a_port_that_the_agent_holds_is_not_shared(
    config: Path, tmp_path: Path, capsys: Captured
) -> None:
    lock = InstanceLock(tmp_path)
    try:
        assert main(["monitor", "--config", str(config)]) == 1
    finally:
        lock.close()
    error = capsys.readouterr().err
    assert f"is held by the running agent (pid {os.getpid()})" in error
    assert "stop it first" in error


def test_a_port_that_another_program_holds_is_not_shared(
    config: Path, board: SimulatedBoard, capsys: Captured
) -> None:
    with serial.Serial(board.port, exclusive=True):
        assert main(["monitor", "--config", str(config)]) == 1
    assert f"another program holds {board.port}" in capsys.readouterr().err


def test_a_port_that_vanishes_ends_it_and_says_so(board: SimulatedBoard, config: Path) -> None:
    with monitor(config) as running:
        board.unplug()
        assert running.end() == 1
    # Without a time before it, the error's line is cut as well.
    assert "vanished" in running.lines[-1]


SEVERAL = "[{port: /dev/a}, {serial: 2, driver: modem, channels: {1: /dev/b, 3: /dev/c}}]"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "there are several boards, name one with --board: 1, 2"),
        (["--board", "7"], "there is no board 7; there are: 1, 2"),
        (["--board", "2"], "board 2 has a line for each port, name one with --channel: 1, 3"),
        (["--board", "2", "--channel", "2"], "name one with --channel: 1, 3"),
    ],
)
def test_a_line_that_is_not_named_well_is_asked_for(
    options: list[str], words: str, tmp_path: Path, capsys: Captured
) -> None:
    config = configuration(tmp_path, SEVERAL)
    assert main(["monitor", "--config", str(config), *options]) == 2
    assert words in capsys.readouterr().err


# Words.


def test_events_in_words() -> None:
    phones = Phones(full=False)
    for event, words in (
        (BoardHello(1, 8, "2.0\x1b[2J"), "says it is box 1, ports: 8, 2.0\\x1b[2J"),
        (ChannelState(1, LineState.FAULT), "line fault"),
        (
            ChannelState(1, LineState.IN_CALL, Peer.OUTGOING, PHONE, 9, asked=True),
            "in call  138****8000  outgoing  for 9 s  (perhaps before)",
        ),
        (DialAnswer(1, True), "dials"),
        (DialAnswer(1, False, "busy"), "does not dial: busy"),
    ):
        assert shown_event(event, phones).words == words


def test_numbers_are_shown_in_full_where_the_log_does() -> None:
    event = ChannelState(1, LineState.RINGING, phone=PHONE)
    assert PHONE in shown_event(event, Phones(full=True)).words


def test_bytes_are_printable_and_cut() -> None:
    assert bytes_words(b"$A\r\n\x00\xe4'\"") == r"$A\r\n\x00\xe4\'" + '"'
    words = bytes_words(b"x" * (MOST_BYTES + 1))
    assert words.endswith(f"… ({MOST_BYTES + 1} bytes)")
    assert len(words) < MOST_BYTES + 30


@pytest.mark.parametrize("driver", [NativeDriver, ModemDriver])
def test_whatever_comes_nothing_but_printable_text_is_shown(driver: type[Driver]) -> None:
    clock = HandClock()
    shown: list[Shown] = []
    take: Callable[[str, Shown], None] = lambda _moment, line: shown.append(line)  # noqa: E731
    listening = Monitor(Board(port="x", channels=1), clock, take, Phones(), raw=True)
    made = driver(BoardOptions(1, 1), clock.monotonic)
    listening.hear(made, bytes(range(256)) * 3 + b"\r\n" + frame("HELLO", 1, 1, 1, "x") + b"\n")
    assert shown
    assert all(line.words.isprintable() for line in shown)
