"""The last day in figures: bounded, saved, and fooled by no clock and no file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.history import DAY, SLOT, History, Sample, sample_of
from tests.clocks import NOON, HandClock
from tests.pages import told, well, without_ledger

FIRST = int(NOON) // SLOT * SLOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status-history.json"


def status(now: float, waiting: int = 0) -> dict[str, Any]:
    """A status of that moment with so many recordings waiting."""
    box = well(now)
    queue = replace(box.queue, files_waiting=waiting, bytes_waiting=waiting * 1000)
    return told(replace(box, queue=queue))


def slots(history: History) -> list[int]:
    """The slots that it has, counted from that of the tests' noon."""
    return [(one.slot - FIRST) // SLOT for one in history.samples]


def test_each_ten_minutes_make_one_sample_however_often_the_status_is_written(path: Path) -> None:
    history, clock = History(path), HandClock(wall_time=float(FIRST))
    for step in range(360):
        history.take(status(clock.wall(), waiting=step))
        clock.turn(5)
    assert slots(history) == [0, 1, 2]
    assert [one.recordings for one in history.samples] == [0, 120, 240]


def test_a_sample_is_what_the_status_says_of_the_queue() -> None:
    box = well()
    queue = replace(
        box.queue, records_waiting=3, files_waiting=7, bytes_waiting=900, delivered=48_000
    )
    sample = sample_of(told(replace(box, queue=queue)))
    assert sample == Sample(FIRST, records=3, recordings=7, size=900, delivered=48_000)
    assert sample.waiting == 10


def test_a_day_is_kept_and_no_more(path: Path) -> None:
    history = History(path)
    for slot in range(DAY + 30):
        history.take(status(FIRST + slot * SLOT))
    assert slots(history) == list(range(30, DAY + 30))


def test_what_is_older_than_a_day_goes_even_where_the_agent_slept_meanwhile(path: Path) -> None:
    history = History(path)
    for slot in (0, 1, DAY, 3 * DAY):
        history.take(status(FIRST + slot * SLOT))
    assert slots(history) == [3 * DAY]


def test_an_agent_that_starts_anew_goes_on_with_the_day_of_the_one_before(path: Path) -> None:
    before = History(path)
    for slot in range(5):
        before.take(status(FIRST + slot * SLOT, waiting=slot))
    after = History(path)
    assert after.samples == before.samples
    after.take(status(FIRST + 5 * SLOT))
    assert slots(after) == [0, 1, 2, 3, 4, 5]


def test_the_file_is_small_and_for_everybody_to_read(path: Path) -> None:
    history = History(path)
    for slot in range(DAY):
        history.take(status(FIRST + slot * SLOT, waiting=100_000))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_size < 8192


# Clocks.


def test_a_clock_that_was_never_set_makes_no_sample_and_drops_none(path: Path) -> None:
    history = History(path)
    history.take(status(FIRST))
    history.take(status(3600.0))
    assert slots(history) == [0]


def test_samples_of_times_to_come_go_when_the_clock_is_set_back(path: Path) -> None:
    history = History(path)
    for slot in (0, 1, 2, 3):
        history.take(status(FIRST + slot * SLOT))
    history.take(status(FIRST + SLOT + 10.0, waiting=9))
    assert slots(history) == [0, 1]
    assert history.samples[-1].recordings == 9


def test_a_clock_that_leaps_forward_leaves_the_samples_of_its_new_day_alone(path: Path) -> None:
    history = History(path)
    for slot in (0, 1, 2, 2 + DAY - 2):
        history.take(status(FIRST + slot * SLOT))
    assert slots(history) == [1, 2, DAY]


@settings(max_examples=60)
@given(st.lists(st.integers(-3 * DAY * SLOT, 3 * DAY * SLOT), max_size=40))
def test_whatever_the_clock_does_samples_are_of_the_day_that_ends_now_in_order(
    moments: list[int],
) -> None:
    history = History(Path("/nonexistent/folder/history.json"))
    for moment in moments:
        history.take(status(FIRST + moment))
        taken = [one.slot for one in history.samples]
        now = (FIRST + moment) // SLOT * SLOT
        assert taken == sorted(set(taken))
        assert now - DAY * SLOT < taken[0] and taken[-1] == now
        assert len(taken) <= DAY


def test_an_agent_without_a_ledger_knows_no_queue_and_takes_no_sample(path: Path) -> None:
    history = History(path)
    history.take(told(without_ledger()))
    assert list(history.samples) == []
    assert not path.exists()


# Files that are none of ours.

ROW = [FIRST, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"null",
        b"[]",
        b'{"samples": null}',
        b'{"samples": [[1790000000, 1, 2, 3]]}',
        json.dumps({"samples": [[*ROW[:4], -1]]}).encode(),
        json.dumps({"samples": [[*ROW[:4], 1e300]]}).encode(),
        json.dumps({"samples": [[*ROW[:4], "4"]]}).encode(),
        json.dumps({"samples": [[FIRST + 1, *ROW[1:]]]}).encode(),
        json.dumps({"samples": [[0, *ROW[1:]]]}).encode(),
        json.dumps({"samples": [[10**30, *ROW[1:]]]}).encode(),
        json.dumps({"samples": [ROW] * 10_000}).encode(),
    ],
)
def test_a_damaged_or_hostile_file_is_ignored_and_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    history = History(path)
    assert list(history.samples) == []
    history.take(status(FIRST))
    assert slots(History(path)) == [0]


def test_rows_in_disorder_and_twice_are_put_in_order(path: Path) -> None:
    rows = [[FIRST + slot * SLOT, 0, slot, 0, 0] for slot in (3, 1, 1, 2)]
    path.write_text(json.dumps({"samples": rows}), "utf-8")
    assert slots(History(path)) == [1, 2, 3]


def test_no_more_than_a_day_is_taken_from_a_file(path: Path) -> None:
    rows = [[FIRST + slot * SLOT, 0, 0, 0, 0] for slot in range(DAY + 20)]
    path.write_text(json.dumps({"samples": rows}), "utf-8")
    assert slots(History(path)) == list(range(20, DAY + 20))


def test_a_pipe_in_the_file_s_place_stops_nothing(path: Path) -> None:
    os.mkfifo(path)
    assert list(History(path).samples) == []


def test_nothing_is_written_through_a_link(path: Path) -> None:
    victim = path.parent / "victim"
    victim.write_text("mine")
    path.symlink_to(victim)
    History(path).take(status(FIRST))
    assert victim.read_text() == "mine"


def test_a_folder_that_takes_no_file_is_said_once_and_the_day_stays_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    history = History(tmp_path / "taken" / "history.json")
    for slot in range(4):
        history.take(status(FIRST + slot * SLOT))
    assert slots(history) == [0, 1, 2, 3]
    assert len(caplog.messages) == 1
    assert "in memory only" in caplog.messages[0]
