"""Every known damage to the ledger's file: it opens, and saves what can be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.ledger import (
    FILE_NAME,
    Ledger,
    LedgerDamaged,
    damaged_ledgers,
    open_ledger,
    salvage,
    suspect,
)
from agent.ledger.aside import MOST_SET_ASIDE
from agent.ledger.errands import DIAL, Order
from agent.ledger.rows import ErrandState, State
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    PAGE,
    SCHEMA_PAGES,
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
    state_of,
    store_of,
    tear_pages,
)

EVERY = int(os.environ.get("SMARTTEL_TEST_EVERY", "8"))
"""Of the pages that are spoilt one by one, each so many. The full proof, SMARTTEL_TEST_EVERY=1,
takes half a minute."""

WEEK = 7 * 86_400.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


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
    tear_pages(tmp_path / FILE_NAME, first=SCHEMA_PAGES)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        assert "do not fit together" in anew.damage
        add_call(anew)


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
    root = look_into(tmp_path, "SELECT rootpage FROM sqlite_master WHERE name = 'meta'")[0][0]
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[(root - 1) * PAGE : root * PAGE] = os.urandom(PAGE)
    path.write_bytes(content)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None
        add_call(ledger)


def test_damage_that_shows_itself_in_use_is_set_aside_at_the_next_start(
    tmp_path: Path, clock: HandClock
) -> None:
    filled(tmp_path, clock)
    tear_pages(tmp_path / FILE_NAME, first=SCHEMA_PAGES)
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
    """Page by page such a ledger is whole; only index and table together tell."""
    filled(tmp_path, clock)
    index = look_into(tmp_path, "SELECT * FROM sqlite_master WHERE name = 'calls_by_end'")[0]
    change_schema(tmp_path, "DELETE FROM sqlite_master WHERE name = 'calls_by_end'")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("UPDATE calls SET ended = ended + 1000")
        connection.commit()
    change_schema(tmp_path, "INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
    assert look_into(tmp_path, "PRAGMA quick_check") == [("ok",)]
    suspect(tmp_path)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None


def change_schema(directory: Path, sql: str, parameters: tuple[object, ...] = ()) -> None:
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(sql, parameters)
        connection.commit()


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
        assert len(ledger.queue.items(1000)) == 400, "what the file itself holds is saved"
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


@pytest.mark.parametrize(("wall", "jump"), [(NOON, 0), (NOON, 10), (NOON, -(10**8)), (9, 0)])
def test_the_last_few_damaged_ledgers_are_kept_whatever_the_clock_does(
    tmp_path: Path, wall: float, jump: float
) -> None:
    clock = HandClock(wall_time=wall)
    for number in range(MOST_SET_ASIDE + 2):
        (tmp_path / FILE_NAME).write_bytes(b"garbage %d " % number * 1000)
        with ledger_in(tmp_path, clock) as ledger:
            assert ledger.set_aside is not None
            assert ledger.set_aside.exists()
            assert damaged_ledgers(tmp_path)[-1] == ledger.set_aside
        clock.jump(jump)
    kept = [path.read_bytes()[:9] for path in damaged_ledgers(tmp_path)]
    assert kept == [b"garbage 2", b"garbage 3", b"garbage 4"]


def overwrite(path: Path, page: int, content: bytes | None = None) -> None:
    """Put garbage, or something else, in the place of one page, counted from 1."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(os.urandom(PAGE) if content is None else content)


def test_a_torn_page_is_found_after_a_power_cut(tmp_path: Path, clock: HandClock) -> None:
    filled(tmp_path, clock)
    ledger = open_ledger(tmp_path, clock)
    add_call(ledger)
    end_uncleanly(ledger, tmp_path)
    path = tmp_path / FILE_NAME
    page = path.stat().st_size // PAGE // 2
    overwrite(path, page, os.urandom(PAGE))
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        assert len(anew.calls.open_calls()) == 0
        add_call(anew)


@pytest.mark.parametrize("unclean", [True, False])
@pytest.mark.parametrize("pages", [0.5, 1, 10.5])
def test_a_truncated_file_is_set_aside(
    tmp_path: Path, clock: HandClock, pages: float, unclean: bool
) -> None:
    """Also one that was closed well: its header says how long it should be."""
    filled(tmp_path, clock)
    if unclean:
        ledger = open_ledger(tmp_path, clock)
        add_call(ledger)
        end_uncleanly(ledger, tmp_path)
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.truncate(int(pages * PAGE))
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        add_call(anew)


def test_a_log_that_is_missing_after_a_power_cut_costs_what_it_held_and_no_number_twice(
    tmp_path: Path, clock: HandClock
) -> None:
    filled(tmp_path, clock)
    clock.turn(1)
    ledger = open_ledger(tmp_path, clock)
    lost = {add_call(ledger) for _ in range(5)}
    end_uncleanly(ledger, tmp_path)
    (tmp_path / f"{FILE_NAME}-wal").unlink()
    clock.turn(1)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is None
        assert all(anew.calls.get(number) is None for number in lost)
        assert len(anew.queue.items(1000)) == 400
        assert add_call(anew) > max(lost)


def test_a_log_that_is_missing_while_the_file_needs_it_is_found(
    tmp_path: Path, clock: HandClock
) -> None:
    """Power failed as the log was being written back: what lies beside tells of an unclean end."""
    filled(tmp_path, clock)
    ledger = open_ledger(tmp_path, clock)
    add_call(ledger)
    end_uncleanly(ledger, tmp_path)
    (tmp_path / f"{FILE_NAME}-wal").unlink()
    tear_pages(tmp_path / FILE_NAME, first=SCHEMA_PAGES)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None


@pytest.mark.parametrize("version", [0, -5])
def test_a_format_that_no_agent_writes_is_set_aside(
    tmp_path: Path, clock: HandClock, version: int
) -> None:
    filled(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with ledger_in(tmp_path, clock) as ledger:
        assert "no format that any agent writes" in ledger.damage
        assert len(ledger.queue.items(1000)) == 400, "and what is in it is saved"


@pytest.mark.parametrize("table", ["meta", "calls", "recordings", "deliveries", "errands"])
def test_a_ledger_without_one_of_its_tables_is_set_aside(
    tmp_path: Path, clock: HandClock, table: str
) -> None:
    filled(tmp_path, clock)
    change_schema(tmp_path, f"DELETE FROM sqlite_master WHERE tbl_name = '{table}'")
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None
        add_recording(ledger, add_call(ledger), "new.wav")


# Put back from an older copy.


def test_a_ledger_put_back_from_last_week_gives_out_no_number_twice(
    tmp_path: Path, clock: HandClock
) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    with ledger_in(state, clock) as ledger:
        add_call(ledger)
    shutil.copytree(state, copy)
    given: set[int] = set()
    with ledger_in(state, clock) as ledger:
        for _ in range(7):
            clock.turn(86_400)
            given |= {add_call(ledger) for _ in range(10)}
    shutil.rmtree(state)
    copy.rename(state)
    clock.turn(60)
    with ledger_in(state, clock) as ledger:
        assert ledger.set_aside is None
        anew = {add_call(ledger) for _ in range(100)}
    assert min(anew) > max(given)


def test_a_copy_put_back_while_the_clock_was_never_set_gives_out_no_number_twice(
    tmp_path: Path,
) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    with ledger_in(state, HandClock()) as ledger:
        add_call(ledger)
    shutil.copytree(state, copy)
    rounds: list[set[int]] = []
    for _ in range(4):
        with ledger_in(state, HandClock(wall_time=30.0)) as ledger:
            rounds.append({add_call(ledger) for _ in range(100)})
        shutil.rmtree(state)
        shutil.copytree(copy, state)
    assert len(set.union(*rounds)) == 400
    assert max(set.union(*rounds)) < 2**53


def test_what_waited_in_an_older_copy_goes_again_under_its_number_and_with_its_bytes(
    tmp_path: Path, clock: HandClock
) -> None:
    """So the platform knows it for a repeat."""
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    with ledger_in(state, clock) as ledger:
        number = add_call(ledger)
        ledger.deliveries.freeze(number, b"as first sent")
    shutil.copytree(state, copy)
    with ledger_in(state, clock) as ledger:
        ledger.deliveries.booked(number, "77")
    shutil.rmtree(state)
    copy.rename(state)
    with ledger_in(state, clock) as ledger:
        again = ledger.deliveries.next_record()
        assert again is not None
        assert (again.stored.id, again.body) == (number, b"as first sent")


# What is saved of a damaged one.


@dataclass
class Told:
    """What a ledger was told, by number."""

    going_on: int
    waiting: dict[int, bytes]
    booked: dict[int, str]
    delivered: dict[str, int]
    undelivered: dict[str, int]


def a_full_ledger(directory: Path, clock: HandClock) -> Told:
    """Calls and recordings in every state, over many pages; closed well."""
    told = Told(0, {}, {}, {}, {})
    with ledger_in(directory, clock) as ledger, ledger.transaction():
        for n in range(100):
            call, *recordings = booked_call(
                ledger, f"{n}a.wav", f"{n}b.wav", callid=f"callid {n}", phone=f"1380013{n:04}"
            )
            told.booked[call] = f"callid {n}"
            sent = next_recording(ledger)
            assert ledger.deliveries.delivered(sent, f"{n:064}")
            told.delivered[sent.relative] = n
            told.undelivered[f"{n}b.wav"] = recordings[1]
            ledger.deliveries.postponed(recordings[1], "", 1e9)
            number = add_call(ledger, a_call(phone=str(n)))
            told.waiting[number] = f"frozen {n}".encode()
            ledger.deliveries.freeze(number, told.waiting[number])
        told.going_on = begin_call(ledger)
        ledger.errands.add(Order(DIAL, "key", "getCallList"), ErrandState.PLACED)
        ledger.errands.set_listed("getCallList", frozenset({"key"}))
    return told


def check_saved(ledger: Ledger, told: Told) -> int:
    """Check that what was saved is true; return how many things were not."""
    lost = 0
    for number, body in told.waiting.items():
        stored, frozen = ledger.calls.get(number), ledger.deliveries.frozen(number)
        lost += stored is None or frozen is None
        assert frozen in {body, None}
        if stored is not None:
            assert state_of(ledger, number) == "record to be sent"
    for number, callid in told.booked.items():
        items = [item for item in ledger.queue.find(number) if item.id == number]
        lost += not items or items[0].state is not State.RECORD_SENT
        if items and items[0].state is State.RECORD_SENT:
            assert items[0].callid == callid
    for name, n in told.delivered.items():
        known = ledger.recordings.find(name)
        lost += not known
        for one in known:
            assert (one.state, one.digest) == (State.DELIVERED, f"{n:064}")
    for name, number in told.undelivered.items():
        known = ledger.recordings.find(name)
        lost += not known
        for one in known:
            assert one.id == number
            assert one.call_id is not None, "without a call it would wait for ever"
            assert one.state in {State.RECORDING_TO_SEND, State.WAITING_FOR_RECORD}
    return lost


def test_a_ledger_that_only_its_header_condemns_is_saved_whole(
    tmp_path: Path, clock: HandClock
) -> None:
    told = a_full_ledger(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA application_id = 5")
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None
        assert check_saved(ledger, told) == 0
        (going_on,) = ledger.calls.open_calls()
        assert going_on.id == told.going_on
        assert ledger.queue.counts(10).delivered == 100
        assert ledger.errands.listed("getCallList") == {"key"}, "what was dialled is not again"
        assert not ledger.new_boot


def test_a_damaged_ledger_of_an_older_format_is_saved_too(tmp_path: Path, clock: HandClock) -> None:
    told = a_full_ledger(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("ALTER TABLE recordings RENAME COLUMN digest TO sha256")
        connection.execute("DROP TABLE errands")
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        assert check_saved(anew, told) == 0


@pytest.mark.parametrize("kind", [salvage._Call, salvage._Recording, salvage._Delivery])
def test_no_column_is_left_out(tmp_path: Path, clock: HandClock, kind: type) -> None:
    """A column that the ledger gains one day is saved as well."""
    filled(tmp_path, clock)
    columns = {
        name for _, name, *_ in look_into(tmp_path, f"PRAGMA table_info({salvage._NAMES[kind]})")
    }
    anew = {"target", "waiting", "sendable", "due"} if kind is salvage._Delivery else set()
    assert columns == {*kind.__struct_fields__, *anew}  # type: ignore[attr-defined]


def test_one_bad_page_costs_what_stood_on_it_and_nothing_else(
    tmp_path: Path, clock: HandClock
) -> None:
    """One page after the other becomes garbage; what is saved is true, and most of it is saved."""
    whole, state = tmp_path / "whole", tmp_path / "state"
    whole.mkdir()
    told = a_full_ledger(whole, clock)
    content = (whole / FILE_NAME).read_bytes()
    leaves = {0x0A, 0x0D}
    at_most_on_a_page = 100
    highest = max([*told.waiting, *told.booked, *told.undelivered.values(), told.going_on])
    saved_from = 0
    for page in range(1, len(content) // PAGE + 1, EVERY):
        state.mkdir()
        shutil.copy(whole / FILE_NAME, state / FILE_NAME)
        overwrite(state / FILE_NAME, page)
        suspect(state)
        with ledger_in(state, clock) as ledger:
            assert ledger.set_aside is not None, f"page {page}"
            lost = check_saved(ledger, told)
            # The pages above the leaves and those of the schema hold all together, and are hardly
            # ever written.
            before = content[(page - 1) * PAGE : page * PAGE]
            if before[0] in leaves and b"CREATE " not in before:
                saved_from += 1
                assert lost <= at_most_on_a_page, f"page {page}"
            assert add_call(ledger) > highest
        shutil.rmtree(state)
    assert saved_from > 80 // EVERY


def test_two_bad_pages_of_one_table_cost_what_stood_on_them(
    tmp_path: Path, clock: HandClock
) -> None:
    """What lies between the two is found by another way."""
    told = a_full_ledger(tmp_path, clock)
    if not has_dbstat():
        pytest.skip("this SQLite does not tell which page is whose")
    query = "SELECT pageno FROM dbstat WHERE name = 'recordings' AND pagetype = 'leaf'"
    pages = [page for (page,) in look_into(tmp_path, query)]
    assert len(pages) > 3
    overwrite(tmp_path / FILE_NAME, pages[0])
    overwrite(tmp_path / FILE_NAME, pages[-1])
    suspect(tmp_path)
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.set_aside is not None
        assert check_saved(ledger, told) <= 100


def has_dbstat() -> bool:
    with closing(sqlite3.connect(":memory:")) as connection:
        options = {name for (name,) in connection.execute("PRAGMA compile_options")}
    return "ENABLE_DBSTAT_VTAB" in options


def test_a_bad_page_in_a_table_and_one_in_its_index_cost_what_stood_on_both(
    tmp_path: Path, clock: HandClock
) -> None:
    told = a_full_ledger(tmp_path, clock)
    if not has_dbstat():
        pytest.skip("this SQLite does not tell which page is whose")
    for name in ("recordings", "sqlite_autoindex_recordings_1"):
        query = f"SELECT pageno FROM dbstat WHERE name = '{name}' AND pagetype = 'leaf' LIMIT 1"
        overwrite(tmp_path / FILE_NAME, look_into(tmp_path, query)[0][0])
    suspect(tmp_path)
    with ledger_in(tmp_path, clock) as ledger:
        assert check_saved(ledger, told) <= 100


def test_a_recording_that_an_old_page_lets_wait_for_a_record_long_sent_is_sent(
    tmp_path: Path, clock: HandClock
) -> None:
    """A page that was not written in time says what was true before."""
    with ledger_in(tmp_path, clock) as ledger:
        _, recording = booked_call(ledger, "a.wav")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(
            "UPDATE deliveries SET state = 'waiting for its record', sendable = 0"
            " WHERE kind = 'recording'"
        )
        connection.execute("PRAGMA application_id = 5")
        connection.commit()
    with ledger_in(tmp_path, clock) as ledger:
        assert next_recording(ledger).id == recording


def test_what_the_log_held_is_saved_too(tmp_path: Path, clock: HandClock) -> None:
    filled(tmp_path, clock)
    ledger = open_ledger(tmp_path, clock)
    clock.turn(1)
    number = add_call(ledger, a_call(channel=7))
    end_uncleanly(ledger, tmp_path)
    tear_pages(tmp_path / FILE_NAME, first=len((tmp_path / FILE_NAME).read_bytes()) // PAGE - 3)
    with ledger_in(tmp_path, clock) as anew:
        assert anew.set_aside is not None
        stored = anew.calls.get(number)
        assert stored is not None
        assert stored.call.channel == 7


def test_rows_that_are_not_whole_are_left(tmp_path: Path, clock: HandClock) -> None:
    """Values that are none, such as a page of another file has, are never taken for a call."""
    filled(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for column, value in (
            ("direction", "'sideways'"),
            ("started", "'noon'"),
            ("channel", "-4"),
            ("phone", "x'ff00'"),
            ("heard", "9e99"),
            ("clock_trusted", "77"),
        ):
            connection.execute(
                f"UPDATE calls SET {column} = {value} WHERE id ="
                f" (SELECT id FROM calls WHERE {column} NOT IN ({value}) LIMIT 1)"
            )
        connection.execute("UPDATE meta SET value = 'many' WHERE name = 'last_id'")
        connection.execute("INSERT INTO meta VALUES ('listed by getCallList', '{]')")
        connection.execute("INSERT INTO meta VALUES ('delivered', x'00')")
        connection.execute("PRAGMA application_id = 5")
        connection.commit()
    with ledger_in(tmp_path, clock) as ledger:
        assert 190 <= len(ledger.calls.around(0, 1e12)) + len(ledger.calls.open_calls()) <= 199
        assert ledger.errands.listed("getCallList") == frozenset()
        assert ledger.queue.counts(10).delivered == 0


def test_power_that_fails_while_a_damaged_ledger_is_saved_costs_nothing(
    tmp_path: Path, clock: HandClock
) -> None:
    told = a_full_ledger(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA application_id = 5")
    # As it stands between the two steps: set aside, and no new one begun.
    (tmp_path / FILE_NAME).rename(tmp_path / f"ledger-damaged-{int(NOON)}.sqlite")
    suspect(tmp_path)
    with ledger_in(tmp_path, clock) as ledger:
        assert check_saved(ledger, told) == 0


def test_a_full_disk_while_a_damaged_ledger_is_saved_costs_nothing(
    tmp_path: Path, clock: HandClock
) -> None:
    told = a_full_ledger(tmp_path, clock)
    aside = tmp_path / f"ledger-damaged-{int(NOON)}.sqlite"
    (tmp_path / FILE_NAME).rename(aside)
    with ledger_in(tmp_path, clock) as ledger:
        # As it stands where the new one was begun and the transaction with what is saved failed.
        store_of(ledger).set_meta("to take over", aside.name)
    with ledger_in(tmp_path, clock) as ledger:
        assert check_saved(ledger, told) == 0
    with ledger_in(tmp_path, clock) as ledger:
        add_call(ledger)
        assert check_saved(ledger, told) == 0


def test_a_damaged_ledger_of_long_ago_is_not_saved_into_a_later_one(
    tmp_path: Path, clock: HandClock
) -> None:
    """It was saved once; what it knows is old."""
    a_full_ledger(tmp_path, clock)
    (tmp_path / FILE_NAME).rename(tmp_path / f"ledger-damaged-{int(NOON)}.sqlite")
    with ledger_in(tmp_path, clock) as ledger:
        assert ledger.queue.items(10) == []
