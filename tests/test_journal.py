"""Outcomes of errands reach the ledger once, however long it does not take them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.journal import Journal
from agent.ledger import Ledger, LedgerError, open_ledger
from agent.ledger.errands import FUNCTION, Order
from agent.ledger.rows import ErrandState
from tests.clocks import HandClock
from tests.rooms import unwritable


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = open_ledger(tmp_path, HandClock())
    yield made
    made.close()


def ordered(ledger: Ledger, name: str) -> int:
    return ledger.errands.add(Order(FUNCTION, name, "list", name=name), ErrandState.ORDERED)


def outcomes(ledger: Ledger) -> list[str]:
    return [errand.outcome for errand in reversed(ledger.errands.recent(10))]


def test_an_outcome_is_written_at_once_and_only_once(ledger: Ledger) -> None:
    journal = Journal(ledger)
    journal.move(ordered(ledger, "a"), ErrandState.DONE, "well")
    assert outcomes(ledger) == ["well"]
    before = ledger.commits
    journal.write()
    assert ledger.commits == before


def test_outcomes_that_a_full_disk_kept_back_are_written_when_it_has_room(
    ledger: Ledger, tmp_path: Path
) -> None:
    journal = Journal(ledger)
    numbers = [ordered(ledger, name) for name in "ab"]
    with unwritable(tmp_path):
        for number in numbers:
            journal.move(number, ErrandState.DONE, f"well\x1b {'x' * 1000}")
        with pytest.raises(LedgerError):
            journal.write()
        assert outcomes(ledger) == ["", ""]
    journal.write()
    assert all(one.startswith("well\\x1b xx") and len(one) < 300 for one in outcomes(ledger))
    before = ledger.commits
    journal.write()
    assert ledger.commits == before
