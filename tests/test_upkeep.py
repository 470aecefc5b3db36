"""Room is made with delivered recordings, and with nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from agent import upkeep
from agent.clock import TrustedClock
from agent.ledger import Ledger, open_ledger
from agent.ledger.rows import DeliveredRecording, RecordingToSend
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


def looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the ledger is looked at, by the monotonic clock."""
    moments: list[float] = []
    delivered = store.ledger.recordings.delivered

    def noted(limit: int, after: tuple[float, int]) -> Sequence[DeliveredRecording]:
        moments.append(store.clock.monotonic())
        return delivered(limit, after)

    monkeypatch.setattr(store.ledger.recordings, "delivered", noted)
    return moments


def test_where_nothing_was_written_and_there_is_room_the_ledger_is_seldom_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.delivered("old.wav")
    asked = looks(store, monkeypatch)
    for _minute in range(60):
        store.upkeep.look()
        store.clock.turn(upkeep.INTERVAL)
    assert len(asked) == 3600 / upkeep.LOOK_AGAIN
    assert store.names() == ["old.wav"]


def test_age_is_noticed_though_nothing_is_written(store: Store) -> None:
    store.delivered("old.wav")
    store.upkeep.look()
    store.clock.turn(KEEP_DAYS * DAY)
    store.upkeep.look()
    assert store.names() == []


@pytest.mark.parametrize("what", ["a delivery", "no room", "a clock that is set"])
def test_whatever_may_make_a_file_due_is_looked_at_within_the_minute(
    what: str, store: Store
) -> None:
    store.delivered("old.wav")
    store.trusted = what != "a clock that is set"
    store.clock.turn(KEEP_DAYS * DAY - 1)
    store.upkeep.look()
    if what == "no room":
        store.lack(files=0.5)
    elif what == "a delivery":
        store.delivered("new.wav")
    store.trusted = True
    store.clock.turn(upkeep.INTERVAL)
    store.upkeep.look()
    assert "old.wav" not in store.names()


def test_a_file_that_cannot_be_deleted_is_tried_again_a_minute_later(store: Store) -> None:
    store.delivered("old.wav")
    store.clock.turn(KEEP_DAYS * DAY)
    with read_only(store.directory):
        store.upkeep.look()
    assert store.names() == ["old.wav"]
    store.clock.turn(upkeep.INTERVAL)
    store.upkeep.look()
    assert store.names() == []


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


@pytest.mark.parametrize("status", [DiskStatus.NOT_MOUNTED, DiskStatus.NO_DISK])
def test_recordings_whose_disk_is_away_are_not_taken_for_gone(
    store: Store, status: DiskStatus
) -> None:
    """They would stay for ever as it comes back, and be sent anew once they are forgotten."""
    call = store.ledger.recordings.find(store.delivered("1.wav").relative)[0].call_id
    assert call is not None
    away = store.directory.with_name("away")
    store.directory.rename(away)
    sound, store.disk = store.disk, replace(store.disk, status=status)
    store.clock.turn(2 * KEEP_DAYS * DAY)
    store.upkeep.tidy()
    away.rename(store.directory)
    store.disk = sound
    assert store.ledger.calls.get(call) is not None
    store.upkeep.tidy()
    assert store.names() == [], "it goes as soon as it is back"


# By a clock that was wrong.


@pytest.mark.parametrize("wrong_by", [-56 * 365 * DAY, 10 * 365 * DAY])
def test_the_days_of_a_delivery_under_a_wrong_clock_count_from_when_it_was_set(
    store: Store, wrong_by: float
) -> None:
    """Not from 1970, or all that was delivered just now would go at once; nor from the future."""
    store.clock.jump(wrong_by)
    store.trusted = False
    store.delivered("1.wav")
    store.clock.jump(-wrong_by)
    store.trusted = True
    store.upkeep.tidy()
    store.clock.turn(KEEP_DAYS * DAY - 1)
    store.upkeep.tidy()
    assert store.names() == ["1.wav"]
    store.clock.turn(1)
    store.upkeep.tidy()
    assert store.names() == []


def test_dates_that_are_right_are_not_written_again(store: Store) -> None:
    store.delivered("1.wav")
    store.upkeep.tidy()
    before = store.ledger.commits
    assert store.ledger.recordings.date_anew() == 0
    assert store.ledger.commits == before


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


def test_a_file_that_could_not_be_sent_is_forgotten_a_while_after_it_was_cleared_away(
    store: Store,
) -> None:
    def keep(name: str) -> int:
        modified_ns = store.file(name)
        new = a_recording(
            name, size=len(CONTENT), modified_ns=modified_ns, kept="empty", verdict="empty"
        )
        return store.ledger.recordings.add(new, None, call_due=0.0)

    numbers = [keep(name) for name in ("gone.wav", "here.wav", "day/gone.wav")]
    (store.directory / "gone.wav").unlink()
    (store.directory / "day/gone.wav").unlink()
    store.upkeep.tidy()
    assert [item.id for item in store.ledger.queue.items(10)] == numbers
    store.clock.turn(31 * DAY)
    store.disk = replace(SOUND_DISK, status=DiskStatus.NOT_MOUNTED)
    store.upkeep.tidy()
    assert [item.id for item in store.ledger.queue.items(10)] == numbers
    store.disk = SOUND_DISK
    store.upkeep.tidy()
    assert [item.id for item in store.ledger.queue.items(10)] == [numbers[1]]
    assert store.ledger.recordings.find("gone.wav") == []


def test_kept_files_are_looked_at_a_page_at_a_time_until_all_were(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAGE", 2)
    for number in range(5):
        new = a_recording(f"{number}.wav", kept="empty", verdict="empty")
        store.ledger.recordings.add(new, None, call_due=0.0)
    store.clock.turn(31 * DAY)
    left = []
    for _ in range(3):
        store.upkeep.tidy()
        left.append(len(store.ledger.queue.items(10)))
    assert left == [3, 1, 0]


def test_a_ledger_that_cannot_be_written_as_a_file_goes_is_told_later(
    deleting: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The delivery counts all the same, and once."""
    sent = deleting.delivered("1.wav")
    with unwritable(deleting.state):
        deleting.upkeep.after_delivery(sent)
    assert "can't be removed" in caplog.text
    deleting.upkeep.tidy()
    assert deleting.ledger.recordings.delivered(10) == []
    assert deleting.names() == []


# Whatever happens.


class UpkeepMachine(RuleBasedStateMachine):
    """Files come, are delivered or not, age; the disk fills, is away and comes back; somebody
    touches files. Only what was delivered ever goes, the oldest delivery first.
    """

    @initialize(delete=st.booleans(), keep_free=st.sampled_from([5.0, 10.0]))
    def begin(self, delete: bool, keep_free: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="upkeep-"))
        self.store = Store(
            self.folder,
            after_upload="delete" if delete else "keep",
            keep_free_percent=keep_free,
        )
        self.waiting: set[str] = set()
        self.delivered: dict[str, float] = {}
        """When, by name; the oldest first."""
        self.changed: set[str] = set()
        self.lacking = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.ledger.close()
            shutil.rmtree(self.folder)

    @rule(kind=st.sampled_from(["to be sent", "of no call", "kept", "not known"]))
    def file_comes(self, kind: str) -> None:
        name = f"{kind}/{len(self.waiting)}.wav"
        self.waiting.add(name)
        if kind == "to be sent":
            self.store.waiting(name, add_call(self.store.ledger))
        elif kind == "of no call":
            self.store.waiting(name)
        else:
            modified_ns = self.store.file(name)
            if kind == "kept":
                new = a_recording(name, size=len(CONTENT), modified_ns=modified_ns, kept="x")
                self.store.ledger.recordings.add(new, None, call_due=0.0)

    @rule()
    def file_is_delivered(self) -> None:
        name = f"delivered/{len(self.delivered) + len(self.changed)}.wav"
        self.store.delivered(name)
        self.delivered[name] = self.store.clock.wall()

    @precondition(lambda self: self.there())
    @rule(data=st.data())
    def delivered_file_changes(self, data: st.DataObject) -> None:
        """It is another one now, which nobody delivered."""
        name = data.draw(st.sampled_from(sorted(self.there())))
        self.store.file(name, CONTENT + b"more")
        self.changed.add(name)
        del self.delivered[name]

    def there(self) -> set[str]:
        return {name for name in self.delivered if name in self.store.names()}

    @rule(days=st.sampled_from([0.1, 5.0, 20.0]))
    def time_passes(self, days: float) -> None:
        self.store.clock.turn(days * DAY)

    @rule(trusted=st.booleans())
    def clock_is_doubted(self, trusted: bool) -> None:
        self.store.trusted = trusted

    @rule(files=st.sampled_from([0, 1, 2, 1000]))
    def disk_fills(self, files: int) -> None:
        self.lacking = files
        if files:
            self.store.lack(files - 0.5)
        else:
            self.store.disk = SOUND_DISK

    @rule(away=st.booleans())
    def room_is_made(self, away: bool) -> None:
        before = self.store.names()
        sound = self.store.disk
        if away:
            self.store.disk = replace(sound, status=DiskStatus.NOT_MOUNTED)
        self.store.upkeep.tidy()
        self.store.disk = sound
        gone = {name for name in before if name not in self.store.names()}
        assert gone <= set(self.delivered), "only what was delivered goes"
        if away:
            assert not gone
            return
        stays = self.there()
        moments = [self.delivered[name] for name in stays]
        assert all(self.delivered[name] <= moment for name in gone for moment in moments)
        now = self.store.clock.wall()
        keep_days = 0.0 if self.store.settings.after_upload == "delete" else KEEP_DAYS
        aged = {
            name
            for name in gone
            if self.store.trusted and now - self.delivered[name] >= keep_days * DAY
        }
        assert len(gone - aged) <= max(0, self.lacking - len(aged)), "no further than needed"
        if self.store.trusted:
            assert all(now - moment < keep_days * DAY for moment in moments)

    @invariant()
    def nothing_else_is_missing(self) -> None:
        assert self.waiting | self.changed <= set(self.store.names())


def test_only_delivered_recordings_go_and_the_oldest_first_whatever_happens() -> None:
    run_state_machine_as_test(
        UpkeepMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
