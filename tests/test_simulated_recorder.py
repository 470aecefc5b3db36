"""The simulated recorder writes audio that other programs read, while the call goes on."""

from __future__ import annotations

import hashlib
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.recordings.audio import Verdict, inspect
from agent.simulation.board import SimulatedBoard
from agent.simulation.recorder import SimulatedRecorder, write_wav
from agent.simulation.sound import FORMATS

PHONE = "13800138000"


@pytest.fixture
def board(tmp_path: Path) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "port", 2, journal=tmp_path / "journal") as running:
        yield running


@pytest.fixture
def recorder(tmp_path: Path, board: SimulatedBoard) -> Iterator[SimulatedRecorder]:
    with SimulatedRecorder(tmp_path / "journal", tmp_path / "recordings") as running:
        yield running


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_audio_of_the_length_of_the_call(tmp_path: Path, form: str) -> None:
    path = tmp_path / "recording"
    data = write_wav(path, 3.0, "seed", form)
    with path.open("rb") as file:
        audio = inspect(file, len(data), path.name)
    assert audio.verdict == Verdict.GOOD, audio.reason
    assert audio.duration == pytest.approx(3.0, abs=0.1)


def test_pcm_is_read_by_the_standard_library(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 2.0, 1)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (8000, 2, 16000)
        samples = memoryview(file.readframes(16000)).cast("h")
    assert 5000 < max(samples) < 10000, "a tone can be heard"


@pytest.mark.parametrize("form", FORMATS)
def test_two_calls_never_have_the_same_digest(tmp_path: Path, form: str) -> None:
    digests = {
        hashlib.sha256(write_wav(tmp_path / "x", 0.2, seed, form)).digest() for seed in range(50)
    }
    assert len(digests) == 50


def test_an_answered_call_is_in_the_directory_while_it_goes_on(
    tmp_path: Path, board: SimulatedBoard, recorder: SimulatedRecorder
) -> None:
    board.ring(1, PHONE)
    board.answer(1)
    (path,) = wait_for_files(tmp_path / "recordings", "*_1_in_13800138000.wav")
    assert path.read_bytes()[4:8] == b"\xff" * 4, "the size is not known yet"
    board.hang_up(1)
    assert recorder.wait_for(lambda: len(recorder.finished) == 1, 10)
    (done,) = recorder.finished
    assert done.path == path
    assert int.from_bytes(path.read_bytes()[4:8], "little") + 8 == path.stat().st_size
    assert done.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_outgoing_call_gets_its_name_when_its_number_is_known(
    tmp_path: Path, board: SimulatedBoard, recorder: SimulatedRecorder
) -> None:
    board.off_hook(2)
    assert wait_for_files(tmp_path / "recordings", ".*.part")
    board.digits(2, "10086")
    board.hang_up(2)
    assert recorder.wait_for(lambda: len(recorder.finished) == 1, 10)
    assert recorder.finished[0].path.name.endswith("_2_out_10086.wav")
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == [
        recorder.finished[0].path.name
    ]


def test_a_missed_call_is_not_recorded(board: SimulatedBoard, recorder: SimulatedRecorder) -> None:
    board.ring(1, PHONE)
    board.hang_up(1)
    board.off_hook(2)
    board.hang_up(2)
    assert recorder.wait_for(lambda: len(recorder.finished) == 1, 10)
    assert recorder.finished[0].channel == 2


def test_a_late_recorder_hides_the_file_until_its_time(
    tmp_path: Path, board: SimulatedBoard
) -> None:
    late = SimulatedRecorder(tmp_path / "journal", tmp_path / "late", late=0.5, form="mulaw")
    with late:
        board.ring(1, PHONE)
        board.answer(1)
        board.hang_up(1)
        ended = board.calls[0].ended
        assert wait_for_files(tmp_path / "late", ".*.part")
        assert late.wait_for(lambda: len(late.finished) == 1, 10)
    assert time.time() - ended > 0.5
    assert late.finished[0].path.name.endswith(f"_1_in_{PHONE}.wav")


def test_stopping_closes_what_is_open(board: SimulatedBoard, recorder: SimulatedRecorder) -> None:
    board.off_hook(1)
    recorder.stop()
    assert len(recorder.finished) == 1
    assert recorder.finished[0].path.exists()


def wait_for_files(directory: Path, pattern: str) -> list[Path]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = [path for path in directory.glob(pattern) if path.stat().st_size > 0]
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"no {pattern} came")
