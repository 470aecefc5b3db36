"""The ledger's file: durable, checked, set aside where damaged, and never twice the same number."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path

import pytest

from agent.clock import EARLIEST_TRUE_TIME, SystemClock
from agent.ledger import (
    FILE_NAME,
    Ledger,
    LedgerDamaged,
    LedgerError,
    LedgerTooNew,
    damaged_ledgers,
    open_existing,
    open_ledger,
    suspect,
)
from agent.ledger.opening import APPLICATION_ID, MOST_SET_ASIDE
from tests.clocks import NOON, HandClock
from tests.ledgers import a_call, add_call, add_recording, ledger_in, look_into, store_of

PAGE = 4096


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


def end_uncleanly(ledger: Ledger, directory: Path) -> None:
    """Leave the files as they are when power fails, the write-ahead log beside them."""
    copy = directory.with_name("at the moment of the power cut")
    shutil.copytree(directory, copy)
    ledger.close()
    lose_ledger(directory)
    for path in copy.iterdir():
        path.rename(directory / path.name)
    copy.rmdir()


def tear_pages(path: Path, first: int = 1) -> None:
    """Overwrite all pages but the first ones, as a dying flash does."""
    content = bytearray(path.read_bytes())
    assert len(content) > (first + 2) * PAGE
    for start in range(first * PAGE, len(content), PAGE):
        content[start : start + 64] = os.urandom(64)
    path.write_bytes(content)


def filled(directory: Path, clock: HandClock) -> None:
    """A ledger of many pages, closed well."""
    with ledger_in(directory, clock) as ledger, ledger.transaction():
        for number in range(200):
            call_id = add_call(ledger, a_call(phone=str(number)))
            add_recording(ledger, call_id, f"{number}.wav")


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


def test_a_ledger_whose_making_was_cut_off_is_made_to_its_end(
    tmp_path: Path, clock: HandClock
) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is None
        assert add_call(ledger) > 0


def test_a_newer_agents_ledger_is_refused_and_left_alone(tmp_path: Path, clock: HandClock) -> None:
    filled(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(LedgerTooNew, match=r"format 999.*install the newer agent"):
        open_ledger(tmp_path, clock)
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert damaged_ledgers(tmp_path) == []


# Damage


def test_a_foreign_database_is_set_aside(tmp_path: Path, clock: HandClock) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside == tmp_path / f"ledger-damaged-{int(NOON)}.sqlite"
        assert "not a ledger" in ledger.damage
        add_call(ledger)
    with closing(sqlite3.connect(ledger.set_aside)) as connection:
        assert connection.execute("SELECT * FROM recipes").fetchall() == []


@pytest.mark.parametrize("content", [b"", b"garbage " * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_an_empty_or_garbled_file_is_set_aside(
    tmp_path: Path, clock: HandClock, content: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None
        assert ledger.set_aside.read_bytes() == content
        assert ledger.damage
        add_call(ledger)


def test_torn_pages_are_found_after_a_power_cut(tmp_path: Path, clock: HandClock) -> None:
    filled(tmp_path, clock)
    ledger = open_ledger(tmp_path, clock)
    add_call(ledger)
    end_uncleanly(ledger, tmp_path)
    tear_pages(tmp_path / FILE_NAME, first=20)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        assert anew.deliveries.next_record() is None


def test_what_was_committed_before_a_power_cut_is_there_after_it(
    tmp_path: Path, clock: HandClock
) -> None:
    ledger = open_ledger(tmp_path, clock)
    number = add_call(ledger)
    end_uncleanly(ledger, tmp_path)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is None
        assert anew.calls.get(number) is not None


def test_a_ledger_that_cannot_say_its_numbers_is_set_aside(
    tmp_path: Path, clock: HandClock
) -> None:
    """Damage that shows itself only as the ledger is opened, without a power cut before."""
    filled(tmp_path, clock)
    tear_pages(tmp_path / FILE_NAME)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None
        add_call(ledger)


def test_damage_that_shows_itself_in_use_is_set_aside_at_the_next_start(
    tmp_path: Path, clock: HandClock
) -> None:
    filled(tmp_path, clock)
    tear_pages(tmp_path / FILE_NAME, first=20)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is None, "closed well, so not looked at page by page"
        with pytest.raises(LedgerDamaged):
            for number in range(200):
                ledger.recordings.find(f"{number}.wav")
        assert ledger.damaged
    suspect(tmp_path)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        assert not anew.damaged


def test_an_index_that_lost_its_rows_is_found_once_it_is_suspected(
    tmp_path: Path, clock: HandClock
) -> None:
    filled(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master"
            " WHERE name = 'calls_open') WHERE name = 'calls_by_end'"
        )
        connection.commit()
    suspect(tmp_path)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None


def test_a_healthy_suspect_is_acquitted(tmp_path: Path, clock: HandClock) -> None:
    filled(tmp_path, clock)
    suspect(tmp_path)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME]


def test_a_log_of_another_database_never_becomes_part_of_the_ledger(
    tmp_path: Path, clock: HandClock
) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    state.mkdir()
    other.mkdir()
    filled(state, clock)
    with closing(sqlite3.connect(other / "recipes", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE recipes (name)")
        connection.execute("INSERT INTO recipes VALUES ('soup')")
        shutil.copy(other / "recipes-wal", state / f"{FILE_NAME}-wal")
    with ledger_in(state, clock) as ledger:
        assert ledger.set_aside is not None
        assert store_of(ledger).row("SELECT 1 FROM sqlite_master WHERE name = 'recipes'") is None
        add_call(ledger)


def test_a_log_left_by_a_lost_ledger_is_no_part_of_the_new_one(
    tmp_path: Path, clock: HandClock
) -> None:
    ledger = open_ledger(tmp_path, clock)
    number = add_call(ledger)
    end_uncleanly(ledger, tmp_path)
    (tmp_path / FILE_NAME).unlink()
    with ledger_in(tmp_path, clock) as anew:
        assert anew.calls.get(number) is None
        add_call(anew)


def test_the_journal_goes_aside_with_its_file(tmp_path: Path, clock: HandClock) -> None:
    filled(tmp_path, clock)
    ledger = open_ledger(tmp_path, clock)
    add_call(ledger)
    end_uncleanly(ledger, tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"garbage " * 1000)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        journal = anew.set_aside.with_name(anew.set_aside.name + "-wal")
        assert journal.stat().st_size > 0


@pytest.mark.parametrize("backwards", [False, True])
def test_the_last_few_damaged_ledgers_are_kept_whatever_the_clock_does(
    tmp_path: Path, clock: HandClock, backwards: bool
) -> None:
    for number in range(MOST_SET_ASIDE + 2):
        (tmp_path / FILE_NAME).write_bytes(b"garbage %d " % number * 1000)
        with ledger_in(tmp_path, clock) as ledger:
            assert ledger.set_aside is not None
            assert ledger.set_aside.exists()
            assert damaged_ledgers(tmp_path)[-1] == ledger.set_aside
        clock.jump(-100_000_000 if backwards else 0)
    kept = [path.read_bytes()[:9] for path in damaged_ledgers(tmp_path)]
    assert kept == [b"garbage 2", b"garbage 3", b"garbage 4"]


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
