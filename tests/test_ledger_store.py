"""The ledger's file: durable, checked, set aside where damaged, and never twice the same number."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path

import pytest

from agent.clock import EARLIEST_TRUE_TIME, SystemClock
from agent.ledger import (
    FILE_NAME,
    Ledger,
    LedgerError,
    LedgerTooNew,
    damaged_ledgers,
    formats,
    open_existing,
    open_ledger,
    opening,
)
from agent.ledger.formats import APPLICATION_ID
from agent.ledger.opening import LARGEST_LOG
from agent.ledger.store import SOFT_LONGEST, Store
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    PAGE,
    a_call,
    add_call,
    add_recording,
    begin_call,
    booked_call,
    end_uncleanly,
    filled,
    ledger_in,
    look_into,
    next_recording,
    store_of,
)
from tests.sweep_cuts import PowerCut

LOG = f"{FILE_NAME}-wal"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def some_numbers(directory: Path, clock: HandClock | SystemClock, count: int = 50) -> set[int]:
    """Begin or open a ledger, and have it give out numbers."""
    with ledger_in(directory, clock) as ledger:
        return {store_of(ledger).next_id() for _ in range(count)}


def lose_ledger(directory: Path) -> None:
    for path in directory.glob("*"):
        path.unlink()


# Durable


def test_each_transaction_is_durable_when_it_returns(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        store = store_of(ledger)
        full = 2
        assert store.row("PRAGMA journal_mode") == ("wal",)
        assert store.row("PRAGMA synchronous") == (full,)
        assert store.row("PRAGMA application_id") == (APPLICATION_ID,)


def test_steps_in_one_transaction_are_one_commit(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        before = ledger.commits
        with ledger.transaction():
            add_recording(ledger, add_call(ledger))
        assert ledger.commits == before + 1


def test_a_failure_inside_takes_everything_back(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        with pytest.raises(ZeroDivisionError), ledger.transaction():
            number = add_call(ledger)
            with ledger.transaction():
                add_recording(ledger, number)
                _ = 1 / 0
        assert ledger.calls.get(number) is None
        assert ledger.recordings.find("call.wav") == []


def test_a_failed_step_that_somebody_overlooks_still_takes_everything_back(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        torn = pytest.raises(LedgerError, match="one of several steps failed")
        with torn, ledger.transaction():
            number = add_call(ledger)
            with suppress(LedgerError):
                store_of(ledger).write("INSERT INTO nowhere VALUES (1)")
        assert ledger.calls.get(number) is None
        assert ledger.calls.get(add_call(ledger)) is not None, "the next transaction is whole again"


def test_nothing_is_written_after_a_failed_step(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        store = store_of(ledger)
        with suppress(LedgerError), ledger.transaction():
            with suppress(LedgerError):
                store.write("INSERT INTO nowhere VALUES (1)")
            store.set_meta("after", 1)
        assert store.meta("after", None) is None


def test_an_error_of_the_caller_stays_what_it_was(tmp_path: Path, clock: HandClock) -> None:
    """A file that vanished while its recording was written down is no fault of the ledger."""
    no_ledger_error = pytest.raises(FileNotFoundError)
    with ledger_in(tmp_path, clock) as ledger, no_ledger_error, ledger.transaction():
        (tmp_path / "vanished.wav").read_bytes()


# Soft


def power_cut(directory: Path, durable: int) -> None:
    """Leave of the log what was waited for."""
    os.truncate(directory / LOG, durable)


def test_a_soft_transaction_is_seen_by_all_and_outlives_the_process(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        with ledger.transaction(soft=True):
            number = add_call(ledger)
        with closing(open_existing(tmp_path, clock)) as command:
            assert command.calls.get(number) is not None
        end_uncleanly(ledger, tmp_path)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.calls.get(number) is not None


def test_only_the_outermost_transaction_says_whether_it_is_soft(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        before = ledger.commits, ledger.soft_commits
        with ledger.transaction(soft=True), ledger.transaction():
            add_call(ledger)
        with ledger.transaction(), ledger.transaction(soft=True):
            add_call(ledger)
        assert (ledger.commits, ledger.soft_commits) == (before[0] + 1, before[1] + 1)


def test_each_transaction_waits_for_the_disk_unless_it_is_soft(
    tmp_path: Path, clock: HandClock
) -> None:
    full, normal = (2,), (1,)
    with ledger_in(tmp_path, clock) as ledger:
        for soft, expected in ((True, normal), (False, full), (True, normal), (False, full)):
            with ledger.transaction(soft=soft):
                assert store_of(ledger).row("PRAGMA synchronous") == expected
                add_call(ledger)


@pytest.mark.parametrize("lost", range(5))
def test_a_power_cut_undoes_soft_transactions_from_the_latest_on(
    tmp_path: Path, clock: HandClock, lost: int
) -> None:
    """And none before a durable one; whatever is left of the log."""
    with ledger_in(tmp_path, clock) as ledger:
        with ledger.transaction(soft=True):
            durable = [add_call(ledger)]
        durable.append(add_call(ledger))
        sizes, soft = [(tmp_path / LOG).stat().st_size], []
        for _ in range(4):
            with ledger.transaction(soft=True):
                soft.append(add_call(ledger))
            sizes.append((tmp_path / LOG).stat().st_size)
        end_uncleanly(ledger, tmp_path)
    # A little more than a whole transaction is left of the next one: it counts for nothing.
    power_cut(tmp_path, sizes[4 - lost] + (PAGE if lost else 0))
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is None
        found = [number for number in durable + soft if anew.calls.get(number)]
    assert found == durable + soft[: 4 - lost]


def test_what_is_soft_is_made_durable_in_time_and_only_if_nothing_else_did(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.settle() is None
        with ledger.transaction(soft=True):
            add_call(ledger)
        clock.turn(10)
        with ledger.transaction(soft=True):
            add_call(ledger)
        before = ledger.commits
        assert ledger.settle() == SOFT_LONGEST - 10, "from the first one on"
        assert ledger.commits == before
        clock.turn(SOFT_LONGEST - 10)
        assert ledger.settle() is None
        assert ledger.commits == before + 1
        with ledger.transaction(soft=True):
            add_call(ledger)
        add_call(ledger)
        assert ledger.settle() is None
        clock.turn(SOFT_LONGEST)
        before = ledger.commits
        assert ledger.settle() is None
        assert ledger.commits == before


def test_a_durable_transaction_of_nothing_waits_for_what_was_soft(
    tmp_path: Path, clock: HandClock
) -> None:
    """SQLite's own commit of nothing waits for no disk."""
    with ledger_in(tmp_path, clock) as ledger:
        with ledger.transaction(soft=True):
            number = add_call(ledger)
        before = (tmp_path / LOG).stat().st_size
        with ledger.transaction():
            pass
        assert (tmp_path / LOG).stat().st_size > before
        again = (tmp_path / LOG).stat().st_size
        with ledger.transaction():
            pass
        assert (tmp_path / LOG).stat().st_size == again, "once"
        assert ledger.calls.get(number) is not None


def test_a_soft_transaction_that_fails_takes_everything_back(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        with pytest.raises(ZeroDivisionError), ledger.transaction(soft=True):
            number = add_call(ledger)
            _ = 1 / 0
        assert ledger.calls.get(number) is None
        assert ledger.settle() is None


# Pages


def test_the_log_is_written_back_before_it_grows_beyond_its_bound(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        store_of(ledger).row("PRAGMA synchronous")
        for _ in range(12):
            with ledger.transaction(soft=True):
                for _ in range(400):
                    add_call(ledger, a_call(phone="1" * 900))
        most = 2 * LARGEST_LOG
        assert LARGEST_LOG / 2 < (tmp_path / LOG).stat().st_size < most


def test_an_older_ledger_of_larger_pages_keeps_them_and_its_log_is_as_long(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(opening, "PAGE_SIZE", 4096)
        with ledger_in(tmp_path, clock) as ledger:
            number = add_call(ledger)
    with ledger_in(tmp_path, clock) as ledger:
        store = store_of(ledger)
        assert store.row("PRAGMA page_size") == (4096,)
        assert store.row("PRAGMA wal_autocheckpoint") == (LARGEST_LOG // 4096,)
        assert ledger.calls.get(number) is not None


def test_threads_take_turns(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        given: list[int] = []

        def take() -> None:
            for _ in range(20):
                given.append(store_of(ledger).next_id())

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(given)) == 80


# Numbers


def test_numbers_go_on_where_they_stood(tmp_path: Path, clock: HandClock) -> None:
    first = some_numbers(tmp_path, clock)
    clock.jump(-3600)
    assert min(some_numbers(tmp_path, clock)) > max(first)


def test_a_ledger_begun_after_another_was_lost_counts_higher(tmp_path: Path) -> None:
    clock = SystemClock()
    lost: set[int] = set()
    for _ in range(3):
        numbers = some_numbers(tmp_path, clock)
        assert min(numbers) > max(lost, default=0), "also within one second"
        lost |= numbers
        lose_ledger(tmp_path)


def test_numbers_fit_a_double_and_begin_high(tmp_path: Path, clock: HandClock) -> None:
    numbers = some_numbers(tmp_path, clock)
    assert min(numbers) > NOON * 1_000_000 - 1
    assert max(numbers) < 2**53


def test_two_ledgers_begun_in_1970_share_no_number(tmp_path: Path) -> None:
    first = some_numbers(tmp_path, HandClock(wall_time=30.0))
    lose_ledger(tmp_path)
    second = some_numbers(tmp_path, HandClock(wall_time=30.0))
    assert not first & second
    assert min(first | second) > EARLIEST_TRUE_TIME * 1_000_000


def test_a_clock_gone_back_an_hour_does_not_bring_old_numbers(
    tmp_path: Path, clock: HandClock
) -> None:
    """A file that lies beside the lost ledger still tells how late it was."""
    first = some_numbers(tmp_path, clock)
    (tmp_path / "agent.lock").touch()
    os.utime(tmp_path / "agent.lock", (NOON + 5, NOON + 5))
    (tmp_path / FILE_NAME).unlink()
    clock.jump(-3600)
    second = some_numbers(tmp_path, clock)
    assert min(second) > max(first)
    (tmp_path / FILE_NAME).unlink()
    assert not second & some_numbers(tmp_path, clock), "nor those given out behind the time"


@pytest.mark.parametrize("year_2400", [True, False])
def test_what_lies_beside_it_keeps_no_ledger_from_beginning(
    tmp_path: Path, clock: HandClock, year_2400: bool
) -> None:
    if year_2400:
        (tmp_path / "from the future").touch()
        os.utime(tmp_path / "from the future", (13_600_000_000, 13_600_000_000))
    else:
        (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert max(some_numbers(tmp_path, clock)) < 2**53


# Formats


def test_a_new_ledger_has_the_newest_format(tmp_path: Path, clock: HandClock) -> None:
    with ledger_in(tmp_path, clock):
        pass
    steps = [step for step in (files("agent.ledger") / "schema").iterdir() if step.is_file()]
    assert look_into(tmp_path, "PRAGMA user_version") == [(len(steps),)]


FIRST_FORMAT = formats._schemas()[:1]
TABLES = ("meta", "calls", "recordings", "deliveries", "errands")


def of_the_first_format(directory: Path, clock: HandClock) -> None:
    """A ledger as the first agents left it, with something in each state."""
    newest = directory / "newest"
    newest.mkdir()
    with ledger_in(newest, clock) as ledger:
        begin_call(ledger)
        add_call(ledger, wait=15.0)
        booked_call(ledger, "sent.wav", channel=2)
        assert ledger.deliveries.delivered(next_recording(ledger), "digest")
        booked_call(ledger, "due.wav", "kept.wav", channel=3)
        add_recording(ledger, None, "alone.wav")
        add_recording(ledger, None, "empty.wav", kept="empty")
    with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.executescript(FIRST_FORMAT[0])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA journal_mode = WAL")
        for table in TABLES:
            for row in look_into(newest, f"SELECT * FROM {table}"):
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
    shutil.rmtree(newest)


def test_a_ledger_of_an_earlier_format_keeps_all_that_it_holds(
    tmp_path: Path, clock: HandClock
) -> None:
    of_the_first_format(tmp_path, clock)
    before = [look_into(tmp_path, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES]
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is None
        assert store_of(ledger).row("PRAGMA page_size") == (4096,)
        assert len(ledger.calls.open_calls()) == 1
        assert next_recording(ledger).relative == "due.wav"
        assert ledger.queue.counts(1).delivered == 1
    after = [look_into(tmp_path, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES]
    assert after == before
    assert look_into(tmp_path, "PRAGMA integrity_check") == [("ok",)]


def test_power_that_fails_while_a_format_is_brought_up_leaves_the_earlier_one(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_the_first_format(tmp_path, clock)
    before = look_into(tmp_path, "SELECT * FROM deliveries ORDER BY 1")
    last = list(formats._statements(formats._schemas()[1]))[-1]
    write = Store.write

    def fails(store: Store, sql: str, parameters: Sequence[object] = ()) -> int:
        if sql == last:
            raise PowerCut
        return write(store, sql, parameters)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", fails)
        with pytest.raises(PowerCut):
            open_ledger(tmp_path, clock)
    assert look_into(tmp_path, "PRAGMA user_version") == [(1,)]
    assert look_into(tmp_path, "SELECT * FROM deliveries ORDER BY 1") == before
    with ledger_in(tmp_path, clock) as ledger:
        assert next_recording(ledger).relative == "due.wav"


def test_an_earlier_agent_refuses_a_ledger_of_this_format(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, clock)
    newest = len(formats._schemas())
    monkeypatch.setattr(formats, "_schemas", lambda: FIRST_FORMAT)
    with pytest.raises(LedgerTooNew, match=rf"format {newest}.*knows formats up to 1"):
        open_ledger(tmp_path, clock)


def test_a_ledger_whose_making_was_cut_off_is_made_to_its_end(
    tmp_path: Path, clock: HandClock
) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is None
        assert add_call(ledger) > 0


def test_power_that_fails_while_a_ledger_is_begun_leaves_nothing_that_looks_damaged(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_fails(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", power_fails)
        with pytest.raises(PowerCut):
            open_ledger(tmp_path, clock)
    assert not (tmp_path / FILE_NAME).exists()
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is None
        add_call(ledger)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_ledger_is_put_in_place_in_its_final_form(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal of its making beside it could not be rolled back by whoever only looks."""
    rename = Path.rename
    placed: list[tuple[bytes, list[str]]] = []

    def watched(path: Path, to: Path) -> Path:
        beside = [one.name for one in tmp_path.iterdir() if one != path]
        placed.append((path.read_bytes()[18:20], beside))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", watched)
    with ledger_in(tmp_path, clock):
        write_ahead_log = bytes([2, 2])
        assert placed == [(write_ahead_log, [])]
        assert not (tmp_path / f"{FILE_NAME}-journal").exists()


def test_a_newer_agents_ledger_is_refused_and_left_alone(tmp_path: Path, clock: HandClock) -> None:
    filled(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(LedgerTooNew, match=r"format 999.*install the newer agent"):
        open_ledger(tmp_path, clock)
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert damaged_ledgers(tmp_path) == []


# Storage that fails


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of half a MiB, where the tests may mount one."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("only root can mount a small disk here")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def test_a_full_disk_loses_nothing_that_was_written(small_disk: Path, clock: HandClock) -> None:
    with ledger_in(small_disk, clock) as ledger:
        written = write_until_full(ledger)
        assert all(ledger.calls.get(number) for number in written)
        assert not ledger.damaged
    with ledger_in(small_disk, clock) as anew:
        assert anew.set_aside is None
        assert all(anew.calls.get(number) for number in written)


def test_a_ledger_at_its_limit_goes_on_when_there_is_room_again(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        store = store_of(ledger)
        pages = store.row("PRAGMA page_count")
        assert pages is not None
        store.row(f"PRAGMA max_page_count = {pages[0] + 20}")
        written = write_until_full(ledger)
        assert all(ledger.calls.get(number) for number in written)
        store.row("PRAGMA max_page_count = 100000")
        assert ledger.calls.get(add_call(ledger)) is not None


def write_until_full(ledger: Ledger) -> list[int]:
    written: list[int] = []
    with pytest.raises(LedgerError, match="full"):
        for _ in range(10_000):
            with ledger.transaction():
                number = add_call(ledger, a_call(phone="1" * 500))
                add_recording(ledger, number, f"{number}.wav")
            written.append(number)
    assert written
    return written


def test_a_directory_that_is_not_there_is_an_error_with_its_path(
    tmp_path: Path, clock: HandClock
) -> None:
    with pytest.raises(LedgerError, match=r"nowhere/ledger\.sqlite"):
        open_ledger(tmp_path / "nowhere", clock)


# Beside the daemon


def test_a_command_sees_what_the_daemon_wrote_and_may_write(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as daemon:
        number = add_call(daemon)
        with closing(open_existing(tmp_path, clock)) as command:
            command.deliveries.postponed(number, "", clock.monotonic() + 60)
            assert command.deliveries.retry(number) == 1
        assert daemon.deliveries.next_record() is not None


def test_a_command_begins_no_ledger(tmp_path: Path, clock: HandClock) -> None:
    with pytest.raises(LedgerError, match="no ledger yet"):
        open_existing(tmp_path, clock)
    assert list(tmp_path.iterdir()) == []


def test_a_command_mends_nothing(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"garbage " * 1000)
    with pytest.raises(LedgerError):
        open_existing(tmp_path, clock)
    assert (tmp_path / FILE_NAME).read_bytes() == b"garbage " * 1000


@pytest.mark.parametrize("version", [0, 999])
def test_a_command_of_another_age_says_so(tmp_path: Path, clock: HandClock, version: int) -> None:
    filled(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(LedgerError, match=f"format {version}"):
        open_existing(tmp_path, clock)


def test_a_ledger_knows_whether_its_machine_was_started_anew(
    tmp_path: Path, clock: HandClock
) -> None:
    with ledger_in(tmp_path, clock) as ledger:
        assert not ledger.new_boot
    clock.start_anew()
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.new_boot
        ledger.deliveries.begin_waiting(15.0, new_boot=True)
    with ledger_in(tmp_path, clock) as ledger:
        assert not ledger.new_boot
