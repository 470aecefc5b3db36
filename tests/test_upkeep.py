"""Room is made with delivered recordings, and with nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.clock import TrustedClock
from agent.ledger import Ledger, open_ledger
from agent.ledger.rows import RecordingToSend
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.retention import DAY
from agent.settings import Recordings
from agent.upkeep import Upkeep
from tests.audio_files import pcm
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    a_call,
    a_recording,
    add_call,
    add_recording,
    booked_call,
    next_recording,
    state_of,
)
from tests.rooms import SOUND_DISK, unwritable

CONTENT = pcm(0.05)
KEEP_DAYS = 30.0


class Store:
    """An upkeep on a real ledger and real files."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.clock = HandClock()
        self.directory = folder / "recordings"
        self.directory.mkdir()
        self.state = folder / "state"
        self.state.mkdir()
        self.ledger: Ledger = open_ledger(self.state, self.clock)
        self.disk = SOUND_DISK
        self.trusted = True
        self.settings = Recordings(
            directory=str(self.directory),
            keep_days=KEEP_DAYS,
            **settings,  # type: ignore[arg-type]
        )
        self.upkeep = Upkeep(
            self.settings,
            self.ledger,
            self.clock,
            TrustedClock(self.clock, lambda: self.trusted),
            disk=lambda: self.disk,
            shown=lambda name: f"<{name}>",
        )

    def file(self, relative: str, content: bytes = CONTENT) -> int:
        """A real file that is known; returns its modification time in ns."""
        path = self.directory / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path.stat().st_mtime_ns

    def waiting(self, relative: str, call_id: int | None = None) -> int:
        """A recording that was not delivered yet."""
        modified_ns = self.file(relative)
        return add_recording(
            self.ledger, call_id, relative, size=len(CONTENT), modified_ns=modified_ns
        )

    def delivered(self, relative: str) -> RecordingToSend:
        """A recording that the platform has, and the ledger says so."""
        (call,) = booked_call(self.ledger)
        self.waiting(relative, call)
        sent = next_recording(self.ledger)
        self.ledger.deliveries.delivered(sent, "ab" * 32)
        return sent

    def names(self) -> list[str]:
        """Files that are there."""
        found = self.directory.rglob("*")
        return sorted(str(one.relative_to(self.directory)) for one in found if one.is_file())

    def lack(self, files: float) -> None:
        """Let the disk lack the room of so many files."""
        total = 100 * 1024**2
        free = round(total * self.settings.keep_free_percent / 100 - len(CONTENT) * files)
        self.disk = Disk(91, total, free, DiskStatus.NORMAL, "")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def deleting(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path, after_upload="delete")
    yield made
    made.ledger.close()


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Nobody of this process may write to a directory, root's tests neither."""
    directory.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)
        directory.chmod(0o755)


# After the delivery.


def test_a_delivered_recording_is_deleted_at_once_where_that_is_configured(
    deleting: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agent")
    deleting.upkeep.after_delivery(deleting.delivered("1.wav"))
    assert deleting.names() == []
    assert deleting.ledger.recordings.delivered(10) == []
    assert "(<1.wav>): removed" in caplog.text


def test_a_delivered_recording_stays_where_it_is_to_be_kept(store: Store) -> None:
    store.upkeep.after_delivery(store.delivered("1.wav"))
    assert store.names() == ["1.wav"]
    store.upkeep.tidy()
    assert store.names() == ["1.wav"]


def test_what_a_power_cut_left_between_delivery_and_deletion_is_deleted_later(
    deleting: Store,
) -> None:
    deleting.delivered("1.wav")
    deleting.waiting("2.wav")
    deleting.upkeep.tidy()
    assert deleting.names() == ["2.wav"]


def test_a_file_that_changed_since_its_delivery_is_not_deleted(deleting: Store) -> None:
    sent = deleting.delivered("1.wav")
    deleting.file("1.wav", CONTENT + b"more")
    deleting.upkeep.after_delivery(sent)
    deleting.upkeep.tidy()
    assert deleting.names() == ["1.wav"]


def test_a_file_that_cannot_be_deleted_just_now_is_deleted_later(
    deleting: Store, caplog: pytest.LogCaptureFixture
) -> None:
    sent = deleting.delivered("1.wav")
    with read_only(deleting.directory):
        deleting.upkeep.after_delivery(sent)
        deleting.upkeep.tidy()
    assert deleting.names() == ["1.wav"]
    assert "1 delivered file can't be removed, first <1.wav>: Permission denied" in caplog.text
    deleting.upkeep.tidy()
    assert deleting.names() == []


# By age.


def test_delivered_recordings_go_after_the_days_that_are_configured(store: Store) -> None:
    store.delivered("old.wav")
    store.clock.turn(DAY)
    store.delivered("new.wav")
    store.clock.turn((KEEP_DAYS - 1) * DAY - 1)
    store.upkeep.tidy()
    assert store.names() == ["new.wav", "old.wav"]
    store.clock.turn(1)
    store.upkeep.tidy()
    assert store.names() == ["new.wav"]


def test_the_days_count_from_the_delivery_and_not_from_the_recording(store: Store) -> None:
    (call,) = booked_call(store.ledger)
    store.waiting("1.wav", call)
    store.clock.turn(100 * DAY)
    store.ledger.deliveries.delivered(next_recording(store.ledger), "ab" * 32)
    store.upkeep.tidy()
    assert store.names() == ["1.wav"]


def test_a_clock_that_is_not_trusted_deletes_nothing_by_age(store: Store) -> None:
    store.delivered("1.wav")
    store.trusted = False
    store.clock.jump(1000 * DAY)
    store.upkeep.tidy()
    assert store.names() == ["1.wav"]


# By space.


def test_room_is_made_from_the_oldest_delivery_on_and_no_further_than_needed(
    store: Store,
) -> None:
    for name in ("1.wav", "2.wav", "3.wav"):
        store.delivered(name)
        store.clock.turn(1)
    store.lack(1.5)
    store.upkeep.tidy()
    assert store.names() == ["3.wav"]


def test_a_full_disk_makes_room_too_and_one_that_is_away_does_not(store: Store) -> None:
    store.delivered("1.wav")
    store.lack(1)
    store.disk = replace(store.disk, status=DiskStatus.NOT_MOUNTED)
    store.upkeep.tidy()
    assert store.names() == ["1.wav"]
    store.disk = replace(store.disk, status=DiskStatus.FULL)
    store.upkeep.tidy()
    assert store.names() == []


def test_no_recording_that_was_not_delivered_is_ever_deleted(tmp_path: Path) -> None:
    store = Store(tmp_path, after_upload="delete", keep_free_percent=100.0)
    store.delivered("delivered.wav")
    (booked,) = booked_call(store.ledger)
    store.waiting("to be sent.wav", booked)
    store.waiting("waits for its record.wav", add_call(store.ledger, a_call(channel=2)))
    store.waiting("waits for its call.wav")
    kept = a_recording("kept.wav", size=len(CONTENT), modified_ns=store.file("kept.wav"), kept="x")
    store.ledger.recordings.add(kept, None, call_due=0.0)
    store.file("not even known.wav")
    before = [name for name in store.names() if name != "delivered.wav"]
    store.clock.turn(1000 * DAY)
    store.lack(1e6)
    store.upkeep.tidy()
    assert store.names() == before
    assert len(before) == 5
    store.ledger.close()


def test_files_that_cannot_be_deleted_do_not_keep_those_behind_them(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    # Two of names that no disk takes: looking for them fails as a real file's removal may.
    for name in ("x" * 300 + ".wav", "y" * 300 + ".wav"):
        (call,) = booked_call(store.ledger)
        add_recording(store.ledger, call, name, size=len(CONTENT))
        store.ledger.deliveries.delivered(next_recording(store.ledger), "ab" * 32)
        store.clock.turn(1)
    store.delivered("1.wav")
    store.clock.turn(1)
    store.delivered("2.wav")
    store.lack(0.5)
    store.upkeep.tidy()
    assert store.names() == ["2.wav"]
    assert len([one for one in caplog.messages if "can't be removed" in one]) == 2


def test_a_read_only_directory_is_said_in_one_line_and_nothing_is_forgotten(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        store.delivered(f"{number}.wav")
    store.clock.turn(KEEP_DAYS * DAY)
    with read_only(store.directory):
        store.upkeep.tidy()
    assert [one for one in caplog.messages if "can't be removed" in one] == [
        "5 delivered files can't be removed, first <0.wav>: Permission denied; it is tried later"
    ]
    assert len(store.ledger.recordings.delivered(10)) == 5
    store.upkeep.tidy()
    assert store.names() == []


def test_a_file_that_somebody_deleted_already_is_not_asked_for_again(store: Store) -> None:
    store.delivered("1.wav")
    (store.directory / "1.wav").unlink()
    store.clock.turn(KEEP_DAYS * DAY)
    store.upkeep.tidy()
    assert store.ledger.recordings.delivered(10) == []


# The ledger's own history.


def test_calls_long_done_are_forgotten_and_those_with_a_file_are_not(store: Store) -> None:
    bare = booked_call(store.ledger)[0]
    store.delivered("1.wav")
    store.clock.turn(29 * DAY)
    recent = booked_call(store.ledger, start=NOON + 29 * DAY - 60)[0]
    waiting = add_call(store.ledger)
    store.clock.turn(2 * DAY)
    store.upkeep.tidy()
    assert store.ledger.calls.get(bare) is None
    assert store.ledger.calls.get(recent) is not None
    assert store.ledger.calls.get(waiting) is not None
    assert state_of(store.ledger, waiting) == "record to be sent"


def test_a_clock_that_is_not_trusted_forgets_nothing(store: Store) -> None:
    number = booked_call(store.ledger)[0]
    store.trusted = False
    store.clock.jump(1000 * DAY)
    store.upkeep.tidy()
    assert store.ledger.calls.get(number) is not None


def test_a_ledger_that_cannot_be_written_stops_no_upkeep(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.delivered("1.wav")
    store.clock.turn(KEEP_DAYS * DAY)

    class OneRound(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return True

    with unwritable(store.state):
        store.upkeep.run(OneRound(), lambda seconds: None)
    assert "nothing is tidied, the ledger can't be used" in caplog.text
    store.upkeep.run(OneRound(), lambda seconds: None)
    assert store.ledger.recordings.delivered(10) == []
