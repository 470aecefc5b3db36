"""The disk that is looked at every few seconds: a glance hides nothing a whole look would see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.recordings import disk_watch
from agent.recordings.disk import Disk, DiskStatus, look
from agent.recordings.disk_watch import LOOK_AGAIN, DiskWatch
from tests.clocks import HandClock

AVAILABLE, FILES, FREE_FILES, FLAGS = 4, 5, 7, 8
"""Places in what statvfs returns."""


def turn(monkeypatch: pytest.MonkeyPatch, changed: dict[int, int]) -> None:
    """Have statvfs tell what a test can't bring about: it has no disk of its own to fill."""
    real = os.statvfs

    def told(path: str | Path) -> os.statvfs_result:
        figures = [changed.get(place, value) for place, value in enumerate(real(path))]
        return os.statvfs_result(figures)

    monkeypatch.setattr(os, "statvfs", told)


class Looks:
    """Counts whole looks."""

    def __init__(self) -> None:
        self.number = 0

    def look(self, directory: Path, mount_point: str | None) -> Disk:
        self.number += 1
        return look(directory, mount_point)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    counted = Looks()
    monkeypatch.setattr(disk_watch, "look", counted.look)
    return counted


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "recordings"
    place.mkdir()
    return place


def test_a_sound_disk_is_looked_at_in_full_twice_a_minute(
    place: Path, clock: HandClock, looks: Looks
) -> None:
    watch = DiskWatch(place, None, clock)
    for _ in range(12):
        found = watch.look()
        assert found.status is DiskStatus.NORMAL
        assert found.size_bytes == look(place, None).size_bytes
        clock.turn(5.0)
    assert looks.number == 60 / LOOK_AGAIN


def test_a_directory_that_goes_and_comes_back_is_seen_at_once(
    place: Path, clock: HandClock
) -> None:
    watch = DiskWatch(place, None, clock)
    assert watch.look().status is DiskStatus.NORMAL
    place.rmdir()
    assert watch.look().status is DiskStatus.NO_DISK
    place.mkdir()
    assert watch.look().status is DiskStatus.NORMAL


def test_a_fault_is_looked_at_in_full_each_time(
    tmp_path: Path, clock: HandClock, looks: Looks
) -> None:
    watch = DiskWatch(tmp_path / "missing", None, clock)
    for _ in range(3):
        assert watch.look().status is DiskStatus.NO_DISK
    assert looks.number == 3


def test_another_directory_of_the_same_name_is_looked_at_in_full(
    place: Path, clock: HandClock, looks: Looks
) -> None:
    watch = DiskWatch(place, None, clock)
    watch.look()
    other = place.with_name("other")
    other.mkdir()
    place.rename(place.with_name("old"))
    other.rename(place)
    watch.look()
    assert looks.number == 2


def test_a_directory_whose_permissions_change_is_looked_at_in_full(
    place: Path, clock: HandClock, looks: Looks
) -> None:
    watch = DiskWatch(place, None, clock)
    watch.look()
    place.chmod(0o500)
    found = watch.look()
    assert looks.number == 2
    assert found.status is (DiskStatus.NORMAL if os.geteuid() == 0 else DiskStatus.NOT_WRITABLE)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({AVAILABLE: 0}, DiskStatus.FULL),
        ({FILES: 10, FREE_FILES: 0}, DiskStatus.FULL),
        ({FLAGS: os.ST_RDONLY}, DiskStatus.NOT_WRITABLE),
    ],
    ids=["no room", "no inode", "read-only"],
)
def test_a_disk_that_fills_up_or_turns_read_only_is_seen_at_once(
    place: Path,
    clock: HandClock,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[int, int],
    status: DiskStatus,
) -> None:
    watch = DiskWatch(place, None, clock)
    assert watch.look().status is DiskStatus.NORMAL
    turn(monkeypatch, changed)
    assert watch.look().status is status


def test_room_that_goes_shows_in_the_figures_of_a_glance(
    place: Path, clock: HandClock, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = DiskWatch(place, None, clock)
    watch.look()
    turn(monkeypatch, {AVAILABLE: 54_321})
    assert watch.look().free_bytes == 54_321 * os.statvfs(place).f_frsize
    assert looks.number == 1
