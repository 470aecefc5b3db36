"""The real daemon on disks that are full, read-only or away, and on a ledger that is damaged."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from agent.gateway import Gateway
from agent.logs import Phones
from agent.settings import Board, Platform, Recordings, Settings
from tests.clocks import HandClock
from tests.gateway import Box, box, wait_until
from tests.ledgers import PAGE, add_recording, ledger_in, state_of
from tests.rooms import unwritable

MIB = 1024 * 1024
DISK_BLOCK = 4096


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made
        assert made.platform.violations == []


class Disk:
    """A real file system that a test fills, freezes and takes away."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        self._filler = path / ".filler"
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path))

    def fill(self) -> None:
        """Leave not a byte."""
        with suppress(OSError), self._filler.open("wb", buffering=0) as file:
            for block in (64 * 1024, DISK_BLOCK, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(block))
        assert os.statvfs(self.path).f_bavail == 0

    def make_room(self) -> None:
        self._filler.unlink()

    def remount(self, option: str) -> None:
        run("mount", "-o", f"remount,{option}", str(self.path))


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def disk_at(path: Path, size: str = "8m") -> Iterator[Disk]:
    path.mkdir(exist_ok=True)
    try:
        made = Disk(path, size)
    except (subprocess.CalledProcessError, OSError):
        pytest.skip("only root can mount a disk here")
    try:
        yield made
    finally:
        while os.path.ismount(path):
            run("umount", "--lazy", str(path))


def call_comes_and_goes(gateway: Box, channel: int, phone: str) -> None:
    """An incoming call, answered, heard by the daemon from its start to its end."""
    gateway.board.ring(channel, phone)
    gateway.wait_for_state(channel, "ringing")
    gateway.board.answer(channel)
    gateway.wait_for_state(channel, "in call")
    gateway.board.hang_up(channel)
    gateway.wait_for_state(channel, "idle")


def says(gateway: Box, words: str) -> bool:
    return any(words in problem["message"] for problem in gateway.status.get("problems", []))


def digests(gateway: Box) -> list[str]:
    return sorted(file.sha256 for file in gateway.platform.files)


def digest(*files: bytes) -> list[str]:
    return sorted(hashlib.sha256(content).hexdigest() for content in files)


# The disk of the ledger.


def test_calls_are_held_in_memory_while_the_ledgers_disk_is_full(gateway: Box) -> None:
    with disk_at(gateway.folder / "state") as disk:
        gateway.start()
        call_comes_and_goes(gateway, 1, "111111")
        gateway.wait_for_records(1)
        disk.fill()
        wait_until(lambda: says(gateway, "is full"), "the full disk is shown before a call comes")
        call_comes_and_goes(gateway, 2, "222222")
        gateway.board.ring(3, "333333")
        gateway.wait_for_state(3, "ringing")
        wait_until(lambda: says(gateway, "not written down yet"), "calls in memory are shown")
        assert gateway.status["health"] == "failing"
        disk.make_room()
        gateway.wait_for_records(2)
        gateway.board.hang_up(3)
        gateway.wait_for_records(3)
        wait_until(lambda: gateway.status["health"] == "ok", "all is well again")
        assert [record.phone for record in gateway.platform.records] == [
            "111111",
            "222222",
            "333333",
        ]
        assert gateway.platform.repeats == 0
        assert gateway.stop() == 0


def test_recordings_and_answers_wait_while_the_ledgers_disk_is_full(gateway: Box) -> None:
    with disk_at(gateway.folder / "state") as disk:
        gateway.start()
        first = gateway.record(1, "in", "111111", ago=60)
        gateway.wait_for_files(1)
        disk.fill()
        second = gateway.record(2, "in", "222222", ago=60)
        wait_until(lambda: says(gateway, "is full"), "the full disk is shown")
        wait_until(lambda: "takes no recordings" in gateway.log, "the recording is not taken")
        disk.make_room()
        gateway.wait_for_files(2)
        assert digests(gateway) == digest(first, second)
        assert gateway.platform.repeated_files == 0
        assert gateway.stop() == 0


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_ledgers_disk_that_is_ill_at_the_start_is_waited_for(gateway: Box, fault: str) -> None:
    """What was waiting on it is sent when it is well again."""
    with disk_at(gateway.folder / "state") as disk:
        gateway.start()
        gateway.platform.stop()
        audio = gateway.record(1, "in", "111111", ago=60)
        wait_until(lambda: gateway.status["queue"]["files_waiting"] == 1, "the file is known")
        gateway.stop()
        gateway.platform.start()
        if fault == "full":
            disk.fill()
        else:
            disk.remount("ro")
        gateway.launch()
        wait_until(lambda: "state-unusable" in gateway.problems(), "it is shown")
        assert gateway.status["health"] == "failing"
        if fault == "full":
            disk.make_room()
        else:
            disk.remount("rw")
        gateway.wait_for_files(1)
        wait_until(lambda: gateway.status["health"] == "ok", "all is well")
        assert digests(gateway) == digest(audio)
        assert gateway.stop() == 0


def test_a_state_directory_that_is_gone_and_comes_back_is_the_same_one(gateway: Box) -> None:
    state, away = gateway.folder / "state", gateway.folder / "away"
    gateway.start()
    gateway.record(1, "in", "111111", ago=60)
    gateway.wait_for_files(1)
    gateway.stop()
    state.rename(away)
    state.write_text("in the way", "utf-8")
    gateway.launch()
    wait_until(lambda: "state-unusable" in gateway.problems(), "it is shown")
    state.unlink()
    away.rename(state)
    gateway.record(2, "in", "222222", ago=60)
    gateway.wait_for_files(2)
    wait_until(lambda: gateway.status["queue"]["delivered"] == 2, "it goes on counting")
    assert gateway.platform.repeats == 0


def test_a_ledger_that_somebody_removes_while_it_is_in_use_is_put_back(gateway: Box) -> None:
    ledger = gateway.folder / "state" / "ledger.sqlite"
    gateway.start()
    audio = gateway.record(1, "in", "111111", ago=60)
    gateway.wait_for_files(1)
    gateway.board.ring(2, "222222")
    gateway.wait_for_state(2, "ringing")
    ledger.unlink()
    wait_until(lambda: "removed or replaced" in gateway.log and ledger.exists(), "it is put back")
    gateway.wait_for_state(2, "ringing")
    gateway.board.hang_up(2)
    gateway.wait_for_records(2)
    wait_until(lambda: gateway.status["queue"]["delivered"] == 1, "it knows what was delivered")
    assert digests(gateway) == digest(audio)
    assert [record.phone for record in gateway.platform.records] == ["111111", "222222"]


# A ledger that is damaged while it is in use.


def test_a_page_that_goes_bad_in_use_costs_no_call_and_doubles_no_recording(gateway: Box) -> None:
    gateway.start()
    audio = [gateway.record(channel, "in", "10010", ago=60) for channel in (1, 2, 3)]
    gateway.wait_for_files(3)
    gateway.stop()
    gateway.start()
    gateway.board.ring(4, "444444")
    gateway.wait_for_state(4, "ringing")
    gateway.board.answer(4)
    gateway.wait_for_state(4, "in call")
    spoil(gateway.folder / "state" / "ledger.sqlite", "deliveries_waiting")
    wait_until(lambda: "state-damaged" in gateway.problems(), "the damage is shown")
    audio.append(gateway.record(4, "in", "444444", ago=1))
    gateway.board.hang_up(4)
    gateway.wait_for_files(4)
    assert digests(gateway) == digest(*audio)
    assert len(gateway.platform.records) == 4
    record = next(record for record in gateway.platform.records if record.channel == 4)
    (call,) = gateway.board.calls
    assert (record.direction, record.phone) == ("in", "444444")
    assert abs(record.started - call.started) <= 2
    assert gateway.platform.repeats == 0
    assert gateway.platform.repeated_files == 0


def spoil(ledger: Path, index: str) -> None:
    """Put garbage over an index, and have every connection read the file anew."""
    with closing(sqlite3.connect(ledger, timeout=10)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = connection.execute(query, (index,)).fetchall()
        # What is in the log would cover the garbage up.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE meta SET value = value WHERE name = 'last_id'")
        with ledger.open("r+b") as file:
            file.seek((page - 1) * PAGE)
            file.write(os.urandom(PAGE))
        connection.commit()


# The disk of the recordings.


def test_a_full_recording_disk_is_reported_and_what_is_on_it_is_delivered(gateway: Box) -> None:
    with disk_at(gateway.recordings, "4m") as disk:
        gateway.start()
        audio = gateway.record(1, "in", "10010", ago=60)
        disk.fill()
        gateway.wait_for_report(lambda status: status["diskStatus"] == -4)
        wait_until(lambda: "disk-fault" in gateway.problems(), "it is shown")
        assert gateway.status["health"] == "failing"
        gateway.wait_for_files(1)
        assert digests(gateway) == digest(audio)
        disk.make_room()
        wait_until(lambda: gateway.status["health"] == "ok", "all is well again")
        gateway.wait_for(
            lambda: gateway.platform.reports[-1]["status"]["diskStatus"] == 0, "a sound report"
        )


def test_a_full_recording_disk_makes_room_with_delivered_recordings_alone(gateway: Box) -> None:
    with disk_at(gateway.recordings, "4m") as disk:
        gateway.record(1, "in", "10010", seconds=30.0, ago=60)
        gateway.start()
        gateway.wait_for_files(1)
        gateway.stop()
        gateway.platform.faults.set("file:status", 3001)
        gateway.record(2, "in", "10010", seconds=30.0, ago=60)
        disk.fill()
        gateway.start()
        wait_until(lambda: recorded_on(gateway) == [2], "the delivered one has gone")
        wait_until(lambda: gateway.status["queue"]["files_waiting"] == 1, "the other one waits")
        gateway.platform.faults.clear()
        gateway.wait_for_files(2)


def recorded_on(gateway: Box) -> list[int]:
    """Ports of the recordings that are there."""
    return sorted(int(path.name.split("_")[1]) for path in gateway.recordings.glob("*.wav"))


@pytest.mark.parametrize("named", [True, False])
def test_a_recording_disk_that_is_taken_away_and_mounted_again(gateway: Box, named: bool) -> None:
    """What was waiting on it goes, what was delivered does not go again; by itself."""
    real = gateway.folder / "disk"
    with disk_at(real):
        run("mount", "--bind", str(real), str(gateway.recordings))
        try:
            mount_point = str(gateway.recordings) if named else None
            gateway.start(recordings={"mount_point": mount_point, "scan": 5})
            first = gateway.record(1, "in", "111111", ago=60)
            gateway.wait_for_files(1)
            gateway.platform.faults.set("file:status", 3001)
            second = gateway.record(2, "in", "222222", ago=60)
            gateway.wait_for_records(2)
            run("umount", "--lazy", str(gateway.recordings))
            if named:
                gateway.wait_for_report(lambda status: status["diskStatus"] == -2)
                assert gateway.status["recordings"]["missing"] == 0, (
                    "its disk is away, not the file"
                )
            else:
                wait_until(lambda: "recording-missing" in gateway.problems(), "it is shown")
            gateway.platform.faults.clear()
            run("mount", "--bind", str(real), str(gateway.recordings))
            gateway.wait_for_files(2)
            assert digests(gateway) == digest(first, second)
            assert len(gateway.platform.records) == 2
            wait_until(lambda: gateway.status["health"] == "ok", "all is well again")
        finally:
            gateway.kill()
            while os.path.ismount(gateway.recordings):
                run("umount", "--lazy", str(gateway.recordings))


def test_a_read_only_recording_disk_is_reported_and_what_is_on_it_is_delivered(
    gateway: Box,
) -> None:
    with disk_at(gateway.recordings) as disk:
        audio = gateway.record(1, "in", "10010", ago=60)
        disk.remount("ro")
        gateway.start(recordings={"after_upload": "delete"})
        gateway.wait_for_report(lambda status: status["diskStatus"] == -3)
        gateway.wait_for_files(1)
        wait_until(lambda: gateway.status["queue"]["delivered"] == 1, "the delivery is durable")
        assert gateway.status["health"] == "failing"
        assert digests(gateway) == digest(audio)
        disk.remount("rw")
        wait_until(lambda: gateway.status["health"] == "ok", "all is well again")


# The disk of the status file.


def test_a_full_disk_of_the_status_file_stops_nothing(gateway: Box) -> None:
    with disk_at(gateway.folder / "run", "64k") as disk:
        gateway.start()
        disk.fill()
        wait_until(lambda: "status can't be written" in gateway.log, "it is said")
        gateway.record(1, "in", "10010", ago=60)
        gateway.wait_for_files(1)
        assert gateway.log.count("status can't be written") == 1
        disk.make_room()
        wait_until(lambda: gateway.status["queue"]["delivered"] == 1, "it is written again")


# The threads of the boards.


def test_a_ledger_that_fails_ends_no_boards_thread(tmp_path: Path) -> None:
    """A call is written, and then the disk is full as its recording is to be attached."""
    clock = HandClock()
    state, recordings = tmp_path / "state", tmp_path / "recordings"
    state.mkdir()
    recordings.mkdir()
    settings = Settings(
        platform=Platform(url="http://127.0.0.1:9/nobody"),
        boards=(Board(port=str(tmp_path / "board1")),),
        recordings=Recordings(directory=str(recordings)),
        state_directory=str(state),
    )
    with ledger_in(state, clock) as ledger:
        gateway = Gateway(settings, ledger, clock, Phones(False), on_change=lambda: None)
        recording = add_recording(ledger, None, "20260921-141319_1_in_13800138000.wav")
        clock.turn(3600)
        with unwritable(state):
            gateway._calls_changed()
            assert gateway.status().health == "failing"
        gateway.keep_house()
        assert state_of(ledger, recording) == "waiting for its record"
