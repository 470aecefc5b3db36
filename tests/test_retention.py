"""Only delivered recordings go, the oldest first, and only if they are still what was delivered."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.recordings.retention import (
    DAY,
    MOST_AT_ONCE,
    DeliveredFile,
    Removal,
    Space,
    remove,
    retire,
)

NOW = 1_800_000_000.0


def delivered(days_ago: float, number: int = 1, size: int = 100) -> DeliveredFile:
    return DeliveredFile(f"{number}.wav", size, 1, NOW - days_ago * DAY, number)


def going(
    files: list[DeliveredFile],
    space: Space | None = None,
    keep_days: float = 30,
    keep_free: float = 10,
    trusted: bool = True,
) -> list[int]:
    chosen = retire(files, space, keep_days, keep_free, NOW, trusted)
    return [one.recording_id for one in chosen]


def test_a_recording_goes_when_its_days_are_over() -> None:
    assert going([delivered(31, 1), delivered(30, 2), delivered(29.9, 3)]) == [1, 2]


def test_keeping_for_no_days_lets_a_recording_go_at_once() -> None:
    assert going([delivered(0, 1)], keep_days=0) == [1]


def test_a_clock_that_is_not_trusted_ages_nothing() -> None:
    assert going([delivered(31, 1)], trusted=False) == []


def test_room_is_made_from_the_oldest_on_and_no_more_than_needed() -> None:
    files = [delivered(3, 1), delivered(2, 2), delivered(1, 3)]
    assert going(files, Space(free=850, total=10_000)) == [1, 2]


def test_room_is_made_whatever_the_clock_says() -> None:
    assert going([delivered(-5, 1)], Space(free=0, total=1000), trusted=False) == [1]


def test_enough_room_lets_everything_stay() -> None:
    assert going([delivered(3, 1)], Space(free=1000, total=10_000)) == []


def test_a_disk_of_unknown_room_makes_none() -> None:
    assert going([delivered(3, 1)], None, keep_free=100) == []


def test_no_more_are_chosen_than_can_be_handled_and_read_than_needed() -> None:
    read = 0

    def endless() -> object:
        nonlocal read
        while True:
            read += 1
            yield delivered(100, read)

    assert len(retire(endless(), None, 30, 10, NOW, True)) == MOST_AT_ONCE  # type: ignore[arg-type]
    assert read == MOST_AT_ONCE + 1


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 500)), max_size=30),
    st.integers(0, 2000),
    st.floats(0, 100),
    st.floats(0, 100),
    st.booleans(),
)
def test_what_goes_is_the_oldest_of_the_delivered_and_needed(
    ages: list[tuple[float, int]], free: int, keep_days: float, keep_free: float, trusted: bool
) -> None:
    files = [
        delivered(age, number, size)
        for number, (age, size) in enumerate(sorted(ages, reverse=True))
    ]
    gone = retire(files, Space(free, 2000), keep_days, keep_free, NOW, trusted)
    assert gone == files[: len(gone)]
    for position, file in enumerate(gone):
        aged = trusted and NOW - file.delivered_at >= keep_days * DAY
        freed = sum(one.size for one in gone[:position])
        assert aged or free + freed < 2000 * keep_free / 100
    if len(gone) < len(files):
        following = files[len(gone)]
        assert not (trusted and NOW - following.delivered_at >= keep_days * DAY)
        assert free + sum(one.size for one in gone) >= 2000 * keep_free / 100


def as_delivered(directory: Path, relative: str) -> DeliveredFile:
    found = (directory / relative).stat()
    return DeliveredFile(relative, found.st_size, found.st_mtime_ns, time.time(), 1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "recordings"
    (path / "a").mkdir(parents=True)
    (path / "a" / "1.wav").write_bytes(b"audio")
    return path


def test_a_delivered_recording_is_removed_and_its_folder_stays(directory: Path) -> None:
    assert remove(directory, as_delivered(directory, "a/1.wav")) is Removal.REMOVED
    assert list((directory / "a").iterdir()) == []


def test_a_recording_that_is_gone_already_is_no_error(directory: Path) -> None:
    file = as_delivered(directory, "a/1.wav")
    (directory / "a" / "1.wav").unlink()
    assert remove(directory, file) is Removal.GONE
    (directory / "a").rmdir()
    assert remove(directory, file) is Removal.GONE


def test_a_recording_that_grew_since_stays(directory: Path) -> None:
    file = as_delivered(directory, "a/1.wav")
    (directory / "a" / "1.wav").write_bytes(b"audio and more")
    assert remove(directory, file) is Removal.CHANGED
    assert (directory / "a" / "1.wav").exists()


def test_another_recording_of_the_same_size_stays(directory: Path) -> None:
    file = as_delivered(directory, "a/1.wav")
    os.utime(directory / "a" / "1.wav", (1, 1))
    assert remove(directory, file) is Removal.CHANGED
    assert (directory / "a" / "1.wav").exists()


def test_a_link_in_a_recordings_place_stays_and_so_does_what_it_leads_to(directory: Path) -> None:
    file = as_delivered(directory, "a/1.wav")
    (directory / "a" / "1.wav").rename(directory / "kept.wav")
    (directory / "a" / "1.wav").symlink_to(directory / "kept.wav")
    assert remove(directory, file) is Removal.REFUSED
    assert (directory / "a" / "1.wav").is_symlink()
    assert (directory / "kept.wav").exists()


def test_nothing_is_removed_through_a_linked_folder(directory: Path, tmp_path: Path) -> None:
    file = as_delivered(directory, "a/1.wav")
    (directory / "a").rename(tmp_path / "elsewhere")
    (directory / "a").symlink_to(tmp_path / "elsewhere")
    assert remove(directory, file) is Removal.REFUSED
    assert (tmp_path / "elsewhere" / "1.wav").exists()


@pytest.mark.parametrize("relative", ["../1.wav", "a/../../1.wav", "/etc/hostname", "a", "."])
def test_nothing_outside_and_no_folder_is_removed(
    directory: Path, tmp_path: Path, relative: str
) -> None:
    (tmp_path / "1.wav").write_bytes(b"audio")
    found = (tmp_path / "1.wav").stat()
    file = DeliveredFile(relative, found.st_size, found.st_mtime_ns, 0, 1)
    assert remove(directory, file) is Removal.REFUSED
    assert (tmp_path / "1.wav").exists()
    assert (directory / "a").is_dir()
