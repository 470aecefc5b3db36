"""Trying again what a person names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.delivery.by_hand import MOST_NAME, find, try_again
from agent.ledger import Ledger, open_ledger
from tests.clocks import HandClock
from tests.ledgers import add_call, add_calls


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = open_ledger(tmp_path, HandClock())
    yield made
    made.close()


def test_everything_that_waits_for_its_time_is_tried_again(ledger: Ledger) -> None:
    add_calls(ledger, 2)
    again = try_again(ledger, None)
    assert (again.count, again.words) == (2, "2 items are tried again")


def test_one_item_is_tried_again_by_its_number(ledger: Ledger) -> None:
    number, _ = add_calls(ledger, 2)
    again = try_again(ledger, str(number))
    assert (again.count, again.words) == (1, "1 item is tried again")
    assert [item.id for item in again.found] == [number]


@pytest.mark.parametrize(
    "name", ["", "0", "1", "all", "٣", "-1", "9" * 18, "9" * 19, "9" * 10**6, "\udc80", "' OR 1"]
)
def test_what_nothing_is_called_finds_nothing(ledger: Ledger, name: str) -> None:
    add_call(ledger)
    again = try_again(ledger, name)
    assert (again.count, list(again.found)) == (0, [])


def test_a_name_of_any_length_costs_nothing(ledger: Ledger) -> None:
    assert find(ledger, "9" * (MOST_NAME + 1)) == []
