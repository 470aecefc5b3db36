"""The ledger in figures: counted beside a daemon, changing nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.ledger import FILE_NAME, LedgerError, open_ledger
from agent.ledger.census import census
from tests.clocks import NOON, HandClock
from tests.ledgers import (
    add_call,
    add_recording,
    booked_call,
    end_uncleanly,
    filled,
    ledger_in,
)

PHONE = "13800138000"


def test_the_ledger_is_counted_beside_an_agent_that_writes(tmp_path: Path) -> None:
    clock = HandClock()
    with ledger_in(tmp_path, clock) as ledger:
        number = add_call(ledger)
        add_recording(ledger, number, f"{PHONE}.wav", size=700)
        booked_call(ledger, "b.wav", phone=PHONE)
        with ledger.transaction():
            add_call(ledger)
            figures = census(tmp_path / FILE_NAME, NOON + 7200, time.monotonic)
        add_call(ledger)
    text = json.dumps(figures)
    assert PHONE not in text and ".wav" not in text
    assert figures["calls"][0]["count"] == 2, "what is not committed is not seen"
    assert {(row["kind"], row["state"]): row["count"] for row in figures["deliveries"]} == {
        ("record", "record to be sent"): 1,
        ("record", "record sent"): 1,
        ("recording", "waiting for its record"): 1,
        ("recording", "recording to be sent"): 1,
    }
    assert {row["age"] for row in figures["waiting by age"]} == {"3 under a day"}


def test_counting_changes_no_byte_of_the_state_directory(tmp_path: Path) -> None:
    filled(tmp_path, HandClock())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    census(tmp_path / FILE_NAME, NOON, time.monotonic)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_power_cut_left_in_the_log_is_counted_too_and_stays(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    ledger = open_ledger(directory, HandClock())
    add_call(ledger)
    end_uncleanly(ledger, directory)
    names = (FILE_NAME, f"{FILE_NAME}-wal")
    before = [(directory / name).read_bytes() for name in names]
    assert census(directory / FILE_NAME, NOON, time.monotonic)["calls"][0]["count"] == 1
    assert [(directory / name).read_bytes() for name in names] == before


def test_a_table_that_takes_too_long_is_left_out(tmp_path: Path) -> None:
    filled(tmp_path, HandClock())
    with ledger_in(tmp_path, HandClock()) as ledger, ledger.transaction():
        for number in range(2000):
            add_call(ledger, wait=float(number))
    ticks = iter(range(0, 10_000_000, 1000))
    figures = census(tmp_path / FILE_NAME, NOON, lambda: float(next(ticks)))
    assert figures["format"][0]["format"]
    assert figures["calls"] == [{"not counted": "it takes too long"}]


def test_a_ledger_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        census(tmp_path / FILE_NAME, NOON, time.monotonic)
    assert list(tmp_path.iterdir()) == []
