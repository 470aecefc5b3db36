"""A recorded line is played back byte for byte, at its own speed or a higher one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from agent.boards.recorded import BadRecording, Heard, LineRecorder, read
from agent.cli import main
from agent.simulation.replay import SETTLE, Replay
from tests.boards import PATIENCE

HEAD = '{"recording": 1, "driver": "native", "port": "x", "baudrate": 9600, "started": 0}\n'


def recording(path: Path, *pieces: tuple[float, bytes]) -> Path:
    path.unlink(missing_ok=True)
    with LineRecorder(path, "native", "/dev/ttyS1", 115_200, wall=1e9, monotonic=50.0) as recorder:
        for at, data in pieces:
            recorder.take(data, 50.0 + at)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "line.jsonl"


def hear(port: Path, size: int) -> bytes:
    with serial.Serial(str(port), timeout=PATIENCE) as host:
        data: bytes = host.read(size)
    return data


# The file.


def test_what_was_recorded_is_read_in_order(file: Path) -> None:
    recording(file, (0.25, b"\x00\xff$"), (1.5, b"ring"))
    assert list(read(file)) == [Heard(0.25, b"\x00\xff$"), Heard(1.5, b"ring")]


BAD: dict[str, tuple[str, str]] = {
    "nothing": ("", "it is empty"),
    "another file": ("precious\n", "line 1: not a JSON object"),
    "other JSON": ('{"event": "call"}\n', "line 1: not a recording of"),
    "a later version": ('{"recording": 2}\n', "line 1: a recording of version 2, known is 1"),
    "no list": (HEAD + "[1]\n", "line 2: not a JSON object"),
    "no time": (HEAD + '{"hex": "00"}\n', "line 2: `at` must be seconds"),
    "a time that is none": (HEAD + '{"at": NaN, "hex": "00"}\n', "line 2: `at` must be seconds"),
    "no digits": (HEAD + '{"at": 1, "hex": "0g"}\n', "line 2: `at` must be seconds"),
    "no text": (HEAD + '{"at": 1, "hex": 5}\n', "line 2: `at` must be seconds"),
    "time running backwards": (
        HEAD + '{"at": 2, "hex": "00"}\n{"at": 1, "hex": "00"}\n',
        "line 3: its time lies before",
    ),
    "an endless line": (HEAD + " " * 70_000, "line 2: longer than"),
}


@pytest.mark.parametrize(("text", "why"), BAD.values(), ids=BAD.keys())
def test_a_file_that_cannot_be_played_says_on_which_line_and_why(
    file: Path, text: str, why: str
) -> None:
    file.write_text(text)
    with pytest.raises(BadRecording, match="^" + why.replace("(", r"\(")):
        list(read(file))


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    whole = recording(file, (0.0, b"abc"), (1.0, data)).read_bytes()
    file.write_bytes(whole[:cut] + data)
    try:
        assert all(isinstance(heard, Heard) for heard in read(file))
    except BadRecording as error:
        assert str(error)


# The playing.


def test_every_byte_comes_in_order_and_none_before_the_host_is_there(
    file: Path, tmp_path: Path
) -> None:
    recording(file, (9.0, b"one "), (9.1, b"\x00\xff two "), (9.2, b"three"))
    with Replay(file, tmp_path / "port") as replay:
        assert not replay.over.wait(SETTLE + 0.5)
        assert replay.played == 0
        assert hear(tmp_path / "port", 16) == b"one \x00\xff two three"
        assert replay.over.wait(PATIENCE)


def test_at_its_own_speed_it_takes_as_long_as_it_did(file: Path, tmp_path: Path) -> None:
    recording(file, (0.0, b"a"), (0.6, b"b"))
    with Replay(file, tmp_path / "port"):
        before = time.monotonic()
        assert hear(tmp_path / "port", 2) == b"ab"
        assert time.monotonic() - before >= 0.6 + SETTLE


def test_at_a_higher_speed_an_hour_takes_no_time(file: Path, tmp_path: Path) -> None:
    recording(file, (0.0, b"a"), (3600.0, b"b"))
    with Replay(file, tmp_path / "port", speed=36_000):
        assert hear(tmp_path / "port", 2) == b"ab"


def test_a_host_slower_than_the_speed_loses_nothing(file: Path, tmp_path: Path) -> None:
    pieces = [(at / 100, bytes((at % 256,)) * 1000) for at in range(64)]
    recording(file, *pieces)
    with Replay(file, tmp_path / "port", speed=1e6):
        assert hear(tmp_path / "port", 64_000) == b"".join(data for _, data in pieces)


def test_what_the_host_says_neither_stops_nor_answers_it(file: Path, tmp_path: Path) -> None:
    recording(file, (0.0, b"a"), (0.1, b"b"))
    with (
        Replay(file, tmp_path / "port"),
        serial.Serial(str(tmp_path / "port"), timeout=PATIENCE) as host,
    ):
        host.write(b"ATZ\r" * 10)
        assert host.read(2) == b"ab"


# The command.


@pytest.fixture
def playing(file: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    recording(file, (0.0, b"heard"))
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "simulate", "board", "--link", str(tmp_path / "port")]
        + ["--replay", str(file), "--speed", "10"],
        stdout=subprocess.PIPE,
    )
    yield process
    process.kill()
    process.communicate()


def test_the_command_plays_and_stays_until_it_is_ended(
    playing: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert playing.stdout is not None
    assert b"it begins when a host opens the port" in playing.stdout.readline()
    assert hear(tmp_path / "port", 5) == b"heard"
    assert b"the recording is over: 5 bytes" in playing.stdout.readline()
    assert os.path.lexists(tmp_path / "port")
    playing.send_signal(signal.SIGTERM)
    assert playing.wait(PATIENCE) == 0
    assert not os.path.lexists(tmp_path / "port")


@pytest.mark.parametrize(
    ("text", "options", "status", "words"),
    [
        (json.dumps({"a": 1}), [], 1, "cannot be played at"),
        (HEAD, [], 1, "nothing was heard in it"),
        (None, [], 1, "No such file"),
        (HEAD, ["--speed", "0"], 2, "--speed is a number above 0"),
        (HEAD, ["--speed", "nan"], 2, "--speed is a number above 0"),
    ],
)
def test_what_cannot_be_played_is_said(
    text: str | None,
    options: list[str],
    status: int,
    words: str,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if text is not None:
        file.write_text(text)
    link = ["--link", str(tmp_path / "port")]
    assert main(["simulate", "board", *link, "--replay", str(file), *options]) == status
    assert words in capsys.readouterr().out
    assert not os.path.lexists(tmp_path / "port")
