"""The ledger on a disk that forgets what was not synchronised."""

from __future__ import annotations

import random

import pytest

from tests.forgetful import SECTOR, ForgetfulFile, ForgetfulFolder, Survival
from tests.fuse import NoFuse, require_fuse
from tests.power_cut import Figures, cut_power

CUTS = 12


@pytest.fixture
def fuse() -> None:
    """A machine on which power can be cut."""
    try:
        require_fuse()
    except NoFuse as reason:
        pytest.skip(str(reason))


def lives(synchronous: str) -> Figures:
    return cut_power(CUTS if synchronous == "FULL" else CUTS // 2, 1, synchronous)


@pytest.mark.usefixtures("fuse")
def test_what_the_ledger_took_is_there_after_any_power_cut() -> None:
    figures = lives("FULL")
    print(figures.line())
    assert not figures.faults
    assert figures.cuts == CUTS
    assert figures.steps > 0


@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_a_ledger_that_does_not_wait_for_the_disk_is_found_out(synchronous: str) -> None:
    assert any(fault.startswith("lost") for fault in lives(synchronous).faults)


# The disk itself


def written(*, synchronised: bool) -> ForgetfulFolder:
    """A folder with a durable entry, whose file was written to twice; the first write durable."""
    folder = ForgetfulFolder()
    file = folder.create("file", 0o644)
    folder.synchronise()
    file.write(0, b"a" * 4 * SECTOR)
    file.synchronise()
    file.write(0, b"b" * 4 * SECTOR)
    if synchronised:
        file.synchronise()
    return folder


def test_what_was_synchronised_survives_every_cut() -> None:
    folder = written(synchronised=True)
    for seed in range(50):
        after = folder.survivor(random.Random(seed))
        assert after.entries["file"].content == b"b" * 4 * SECTOR


def test_what_was_not_synchronised_survives_in_whole_sectors_old_or_new() -> None:
    folder = written(synchronised=False)
    found = set()
    for seed in range(200):
        content = bytes(folder.survivor(random.Random(seed)).entries["file"].content)
        sectors = [content[place : place + SECTOR] for place in range(0, len(content), SECTOR)]
        assert set(sectors) <= {b"a" * SECTOR, b"b" * SECTOR}
        found.add(bytes(sector[0] for sector in sectors).decode())
    assert {"aaaa", "bbbb"} < found
    assert "baab" in found or "abba" in found, "no cut reordered writes"


def test_an_entry_is_there_for_sure_only_once_its_folder_was_synchronised() -> None:
    folder = ForgetfulFolder()
    folder.create("file", 0o644).synchronise()
    there = {("file" in folder.survivor(random.Random(seed)).entries) for seed in range(50)}
    assert there == {True, False}
    folder.unlink("file")
    folder.create("other", 0o644)
    folder.synchronise()
    assert all(
        folder.survivor(random.Random(seed)).entries.keys() == {"other"} for seed in range(50)
    )


def test_a_file_grows_by_holes_where_its_new_end_survived_alone() -> None:
    file = ForgetfulFile()
    file.write(0, b"a" * SECTOR)
    file.write(SECTOR, b"b" * SECTOR)
    contents = {
        bytes(file.survivor(Survival.SCATTERED, random.Random(seed)).content) for seed in range(100)
    }
    assert bytes(SECTOR) + b"b" * SECTOR in contents
