"""The long life calls flat what is flat, and nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.simulation.long_life_measures import HEADING, MIB, POINTS, Measure, growth

WARM = Measure(20_000, 48.0, 60 * MIB, 20, 11, 10 * MIB, 12_500, 1600)


def test_a_life_that_grows_in_its_first_month_only_is_flat() -> None:
    young = replace(WARM, memory=40 * MIB, ledger=MIB, remembered=3000, descriptors=12, files=100)
    assert growth([young] * 3 + [WARM] * (POINTS - 3)) == []


@pytest.mark.parametrize(
    ("name", "later"),
    [
        ("memory", 65 * MIB),
        ("descriptors", 23),
        ("threads", 12),
        ("ledger", 12 * MIB),
        ("remembered", 14_000),
        ("files", 2000),
    ],
)
def test_whatever_grows_afterwards_is_named(name: str, later: int) -> None:
    grown = replace(WARM, **{name: later})
    (named,) = growth([WARM] * (POINTS - 1) + [grown])
    assert named.startswith(f"{name} grew to {later:,}")


def test_what_goes_up_and_down_a_little_is_flat() -> None:
    busy = replace(WARM, memory=62 * MIB, descriptors=22, remembered=13_000, files=1700)
    assert growth([WARM] * 4 + [busy] + [WARM] * 5) == []


def test_the_figures_stand_below_their_headings() -> None:
    assert len(WARM.line()) == len(HEADING)
    assert [end for end in (8, 15, 24, 37, 46, 58) if WARM.line()[end - 1] == " "] == []
