"""A recording is told of once, when it is finished, and not before; whatever lies in its folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from watchdog.observers.inotify import InotifyObserver

from agent.clock import Stamp, SystemClock
from agent.recordings.audio import Verdict
from agent.recordings.candidates import MOST_CANDIDATES, Candidate, Candidates
from agent.recordings.files import NotARecording, open_recording
from agent.recordings.finished import Seen, is_finished, open_for_writing
from agent.recordings.hints import MOST_HINTS, HintBox, TreeWatch
from agent.recordings.names import NameFacts, RecordingNames
from agent.recordings.scanning import SeenFile, TreeWalk
from agent.recordings.watcher import FileKey, FinishedFile, RecordingWatcher
from tests import audio_files as make

LONG = 20.0
"""Seconds; ten times what the slowest of these takes, and more."""
SETTLE = 0.3
NAMES = RecordingNames(
    ("{start:%Y%m%d-%H%M%S}_{channel}_{direction}_{phone}",), ZoneInfo("Asia/Shanghai")
)
NAME = "20260309-101112_3_in_13800138000.wav"


class Ledger:
    """Remembers what it was told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: list[FinishedFile] = []
        self.asked: list[int] = []
        self.refuses = 0
        self.deaf = 0
        self._changed = threading.Condition()

    def known(self, keys: Sequence[FileKey]) -> set[FileKey]:
        self.asked.append(len(keys))
        if self.deaf > 0:
            self.deaf -= 1
            raise OSError("the ledger is locked")
        return {(one.relative, one.size, one.modified_ns) for one in self.told} & set(keys)

    def finished(self, files: Sequence[FinishedFile]) -> None:
        with self._changed:
            self._changed.notify_all()
            if self.refuses > 0:
                self.refuses -= 1
                raise OSError("the disk is full")
            self.told.extend(files)

    def names(self) -> list[str]:
        return sorted(one.relative for one in self.told)

    def wait_for(self, *names: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(names) <= set(self.names()), LONG), (
                f"{names} were not all told of, only {self.names()}"
            )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@contextmanager
def watching(
    directory: Path, ledger: Ledger, settle: float = SETTLE, scan: float = 1000.0
) -> Iterator[RecordingWatcher]:
    alive: list[float] = []
    watcher = RecordingWatcher(
        directory=directory,
        names=NAMES,
        settle=settle,
        scan_interval=scan,
        clock=SystemClock(),
        known=ledger.known,
        on_finished=ledger.finished,
        on_alive=alive.append,
    )
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    try:
        if directory.is_dir():
            assert watcher.first_scan_done.wait(LONG)
        yield watcher
    finally:
        stop.set()
        thread.join(LONG)
    assert not thread.is_alive()
    assert alive


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "recordings"
    path.mkdir()
    return path


def leave(path: Path, content: bytes | None = None, age: float = 3600.0) -> Path:
    """A file that was finished a while ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make.pcm(0.1) if content is None else content)
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


@contextmanager
def other_process_writing(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the file open for writing, until its input ends."""
    program = "import sys; f = open(sys.argv[1], 'ab'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def test_a_recording_that_is_closed_is_told_of_without_waiting(
    directory: Path, ledger: Ledger
) -> None:
    with watching(directory, ledger, settle=1000):
        (directory / NAME).write_bytes(make.pcm(1))
        ledger.wait_for(NAME)
    told = ledger.told[0]
    assert (told.audio.verdict, told.audio.duration) == (Verdict.GOOD, 1.0)
    assert (told.facts.channel, told.facts.phone) == (3, "13800138000")
    found = (directory / NAME).stat()
    assert (told.size, told.modified_ns) == (found.st_size, found.st_mtime_ns)


def test_recordings_that_came_while_nobody_ran_are_found(directory: Path, ledger: Ledger) -> None:
    for number in range(1200):
        leave(directory / f"folder{number % 7}" / f"{number}.wav", b"RIFF")
    with watching(directory, ledger, settle=60) as watcher:
        assert len(set(ledger.names())) == len(ledger.told) == 1200
        assert max(ledger.asked) <= 500
        assert watcher.view().files_seen == 1200
        assert watcher.view().last_scan == pytest.approx(time.time(), abs=LONG)


def test_what_the_ledger_knows_is_not_told_again(directory: Path, ledger: Ledger) -> None:
    leave(directory / NAME)
    with watching(directory, ledger):
        pass
    ledger.asked.clear()
    with watching(directory, ledger) as watcher:
        assert sum(ledger.asked) == 1
        watcher.rescan()
        leave(directory / "other.wav")
        ledger.wait_for("other.wav")
    assert ledger.names() == [NAME, "other.wav"]


def test_a_recording_in_a_new_folder_is_told_of(directory: Path, ledger: Ledger) -> None:
    with watching(directory, ledger):
        (directory / "2026" / "03").mkdir(parents=True)
        (directory / "2026" / "03" / NAME).write_bytes(make.pcm(0.1))
        ledger.wait_for(f"2026/03/{NAME}")


def test_the_first_folder_is_watched_as_well(directory: Path, ledger: Ledger) -> None:
    with watching(directory, ledger, settle=1000):
        path = directory / "2026" / NAME
        path.parent.mkdir()
        path.write_bytes(make.pcm(0.1))

        def told_by_its_close() -> bool:
            path.open("ab").close()
            return f"2026/{NAME}" in ledger.names()

        until(told_by_its_close)


def test_a_watch_reads_no_list_of_all_names(directory: Path) -> None:
    for number in range(3000):
        (directory / f"{number:0200}.wav").touch()
    tracemalloc.start()
    try:
        TreeWatch(directory, HintBox()).close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3000 * 200


def test_a_file_waits_for_its_rename(directory: Path, ledger: Ledger) -> None:
    names = (".hidden.wav", "a.wav.tmp", "b.wav.PART", ".folder/c.wav")
    for name in names:
        leave(directory / name)
    with watching(directory, ledger, settle=1000):
        for number, name in enumerate(names):
            (directory / name).write_bytes(make.pcm(0.1))
            (directory / name).rename(directory / f"{number}.wav")
        ledger.wait_for("0.wav", "1.wav", "2.wav", "3.wav")
        (directory / "last.wav").write_bytes(make.pcm(0.1))
        ledger.wait_for("last.wav")
    assert len(ledger.told) == 5


def test_a_file_moved_in_from_outside_is_told_of_at_once(
    directory: Path, ledger: Ledger, tmp_path: Path
) -> None:
    with watching(directory, ledger, settle=1000):
        (tmp_path / "made.wav").write_bytes(make.pcm(0.1))
        (tmp_path / "made.wav").rename(directory / NAME)
        ledger.wait_for(NAME)


def test_a_folder_moved_in_brings_its_recordings(
    directory: Path, ledger: Ledger, tmp_path: Path
) -> None:
    with watching(directory, ledger, settle=1000):
        (tmp_path / "made" / "deep").mkdir(parents=True)
        (tmp_path / "made" / "deep" / NAME).write_bytes(make.pcm(0.1))
        (tmp_path / "made").rename(directory / "moved")
        ledger.wait_for(f"moved/deep/{NAME}")


def test_a_file_seen_before_its_folder_was_known_to_be_moved_in_is_told_of(
    directory: Path, ledger: Ledger
) -> None:
    leave(directory / "moved" / NAME, age=0)
    with watching(directory, ledger, settle=1000) as watcher:
        assert [one.relative for one in watcher.growing()] == [f"moved/{NAME}"]
        watcher._box.folder("moved", moved=True)  # the kernel's word may come after a scan's look
        ledger.wait_for(f"moved/{NAME}")


def test_a_recording_that_its_recorder_holds_open_is_growing_and_not_finished(
    directory: Path, ledger: Ledger
) -> None:
    path = leave(directory / NAME)
    with other_process_writing(path), watching(directory, ledger) as watcher:
        with path.open("ab") as second:  # another one closes it; the recorder still has it
            second.write(b"more")
        growing = watcher.growing()
        assert [one.relative for one in growing] == [NAME]
        assert growing[0].facts.channel == 3
        (directory / "last.wav").write_bytes(make.pcm(0.1))
        ledger.wait_for("last.wav")
        assert ledger.names() == ["last.wav"]


def test_the_close_of_a_held_recording_tells_of_it(directory: Path, ledger: Ledger) -> None:
    path = leave(directory / NAME)
    with watching(directory, ledger, settle=1000):
        ledger.told.clear()
        with other_process_writing(path):
            path.write_bytes(make.pcm(2))
            (directory / "last.wav").write_bytes(make.pcm(0.1))
            ledger.wait_for("last.wav")
            assert NAME not in ledger.names()
        ledger.wait_for(NAME)
    assert next(one for one in ledger.told if one.relative == NAME).audio.duration == 2.0


def test_a_recording_in_the_making_is_told_of_once_and_whole(
    directory: Path, ledger: Ledger
) -> None:
    whole = make.pcm(2)
    with watching(directory, ledger, settle=LONG) as watcher:
        with (directory / NAME).open("wb", buffering=0) as file:
            for first in range(0, len(whole), 4000):
                file.write(whole[first : first + 4000])
                until(lambda: [one.relative for one in watcher.growing()] == [NAME])
        ledger.wait_for(NAME)
    assert [one.size for one in ledger.told] == [len(whole)]


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (b"", Verdict.EMPTY),
        (make.wav(b"\1" * 16_000, data_size=0), Verdict.CUT_OFF),
        (b"a text", Verdict.FOREIGN),
    ],
)
def test_a_file_that_is_no_whole_recording_must_rest_though_it_was_closed(
    directory: Path, ledger: Ledger, content: bytes, verdict: Verdict
) -> None:
    with watching(directory, ledger, settle=1.0):
        begun = time.monotonic()
        (directory / NAME).write_bytes(content)
        ledger.wait_for(NAME)
        assert time.monotonic() - begun >= 1.0
    assert ledger.told[0].audio.verdict is verdict


def test_a_recorder_that_makes_its_file_empty_first_is_given_time(
    directory: Path, ledger: Ledger
) -> None:
    with watching(directory, ledger, settle=2.0) as watcher:
        (directory / NAME).touch()
        until(lambda: len(watcher.growing()) == 1)
        (directory / NAME).write_bytes(make.pcm(0.1))
        ledger.wait_for(NAME)
    assert [one.audio.verdict for one in ledger.told] == [Verdict.GOOD]


def test_a_file_from_the_future_must_be_seen_resting(directory: Path, ledger: Ledger) -> None:
    leave(directory / NAME, age=-86_400)
    begun = time.monotonic()
    with watching(directory, ledger, settle=0.5):
        ledger.wait_for(NAME)
        assert time.monotonic() - begun >= 0.5


def test_a_file_that_was_written_just_before_the_start_must_rest(
    directory: Path, ledger: Ledger
) -> None:
    leave(directory / NAME, age=0)
    with watching(directory, ledger, settle=LONG) as watcher:
        assert [one.relative for one in watcher.growing()] == [NAME]
        assert ledger.names() == []


def test_links_and_pipes_are_neither_followed_nor_opened(
    directory: Path, ledger: Ledger, tmp_path: Path
) -> None:
    outside = leave(tmp_path / "outside" / NAME)
    (directory / "link.wav").symlink_to(outside)
    (directory / "folder").symlink_to(outside.parent)
    (directory / "broken.wav").symlink_to("nowhere")
    os.mkfifo(directory / "pipe.wav")
    with watching(directory, ledger) as watcher:
        assert watcher.view().trouble is None
        (directory / "second.wav").symlink_to(outside)
        os.mkfifo(directory / "second-pipe.wav")
        (directory / "last.wav").write_bytes(make.pcm(0.1))
        ledger.wait_for("last.wav")
    assert ledger.names() == ["last.wav"]


def test_a_name_that_is_no_utf8_is_a_name(directory: Path, ledger: Ledger) -> None:
    name = os.fsdecode(b"\xff\xfe 1.wav")
    with watching(directory, ledger):
        (directory / name).write_bytes(make.pcm(0.1))
        ledger.wait_for(name)


def test_a_ledger_that_refuses_is_offered_the_recording_again(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.recordings.looks.AGAIN_SECONDS", 0.1)
    ledger.refuses = 2
    with watching(directory, ledger) as watcher:
        (directory / NAME).write_bytes(make.pcm(0.1))
        until(lambda: "the disk is full" in (watcher.view().trouble or ""))
        ledger.wait_for(NAME)
        until(lambda: watcher.view().trouble is None)
    assert len(ledger.told) == 1


def test_a_ledger_that_cannot_be_asked_is_asked_again(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.recordings.looks.AGAIN_SECONDS", 0.1)
    monkeypatch.setattr("agent.recordings.watcher.AGAIN_SECONDS", 0.1)
    ledger.deaf = 2
    leave(directory / NAME)
    with watching(directory, ledger):
        assert ledger.names() == [NAME]
        ledger.deaf = 1
        (directory / "second.wav").write_bytes(make.pcm(0.1))
        ledger.wait_for("second.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_recording_that_may_not_be_read_hinders_no_other(directory: Path, ledger: Ledger) -> None:
    leave(directory / "1.wav").chmod(0)
    leave(directory / "folder" / "2.wav").parent.chmod(0)
    try:
        with watching(directory, ledger) as watcher:
            trouble = watcher.view().trouble or ""
            assert "recordings can't be read: 1.wav: Permission denied" in trouble
            assert "folders in it can't be read: 1, first folder: Permission denied" in trouble
            assert not watcher.growing()
            (directory / NAME).write_bytes(make.pcm(0.1))
            ledger.wait_for(NAME)
            (directory / "1.wav").chmod(0o600)
            (directory / "folder").chmod(0o700)
            watcher.rescan()
            ledger.wait_for("1.wav", "folder/2.wav")
            until(lambda: watcher.view().trouble is None)
    finally:
        (directory / "folder").chmod(0o700)


def test_watching_ends_at_once_though_nothing_is_due(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.recordings.watcher.CHECK_SECONDS", 1000.0)
    with watching(directory, ledger):
        pass  # leaving waits for the thread, and not for 1000 seconds


def test_a_directory_that_is_missing_is_waited_for(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.recordings.watcher.CHECK_SECONDS", 0.1)
    directory.rmdir()
    with watching(directory, ledger) as watcher:
        until(lambda: "No such file" in (watcher.view().trouble or ""))
        assert not watcher.first_scan_done.is_set()
        leave(directory / NAME)
        ledger.wait_for(NAME)
        until(lambda: watcher.view().trouble is None)


def test_a_directory_made_anew_is_watched_anew(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.recordings.watcher.CHECK_SECONDS", 0.1)
    with watching(directory, ledger, settle=1000) as watcher:
        for number in range(3):
            shutil.rmtree(directory)
            directory.mkdir()
            until(lambda: watcher.view().trouble is None)
            first = f"{number}-first.wav"
            leave(directory / first, age=7200)
            ledger.wait_for(first)
            (directory / f"{number}.wav").write_bytes(make.pcm(0.1))
            ledger.wait_for(f"{number}.wav")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_mounted_over_the_directory_is_watched(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.recordings.watcher.CHECK_SECONDS", 0.1)
    with watching(directory, ledger, settle=1000):
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "none", str(directory)], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode()}")
        try:
            leave(directory / "first.wav", age=7200)
            ledger.wait_for("first.wav")
            (directory / NAME).write_bytes(make.pcm(0.1))
            ledger.wait_for(NAME)
        finally:
            subprocess.run(["umount", "-l", str(directory)], check=True)


def test_without_inotify_the_scans_find_everything(
    directory: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_watches(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(InotifyObserver, "schedule", no_watches)
    with watching(directory, ledger, scan=0.2) as watcher:
        assert "inotify watch limit reached" in (watcher.view().trouble or "")
        (directory / NAME).write_bytes(make.pcm(0.1))
        ledger.wait_for(NAME)


def test_a_close_is_told_of_in_the_middle_of_a_large_scan(directory: Path, ledger: Ledger) -> None:
    for number in range(3000):
        leave(directory / f"{number}.wav", b"")
    with watching(directory, ledger, settle=60) as watcher:
        ledger.told = ledger.told[:1]  # the ledger forgot: all are news to the next scan
        watcher.rescan()
        until(lambda: len(ledger.told) > 200)
        (directory / NAME).write_bytes(make.pcm(0.1))
        ledger.wait_for(NAME)
        position = [one.relative for one in ledger.told].index(NAME)
        until(lambda: len(ledger.told) == 3001)
    assert position < 2900


def test_idle_watching_wakes_seldom(directory: Path, ledger: Ledger) -> None:
    with watching(directory, ledger) as watcher:
        turns: list[float] = []
        watcher._on_alive = turns.append
        time.sleep(1.0)  # nothing is to happen, so there is nothing to wait for
        assert len(turns) <= 2


def test_a_close_is_not_forgotten_by_a_later_hint() -> None:
    box = HintBox()
    box.file("a.wav", closed=True)
    box.file("a.wav", closed=False)
    assert box.take(0).files == {"a.wav": True}
    assert not box.take(0)


def test_more_hints_than_can_be_kept_make_one_full_scan() -> None:
    box = HintBox()
    for number in range(MOST_HINTS + 10):
        box.file(f"{number}.wav", closed=True)
    hints = box.take(0)
    assert (len(hints.files), hints.everything) == (MOST_HINTS, True)


def test_deadlines_that_move_all_the_time_take_no_room() -> None:
    candidates = Candidates()
    stamp = Stamp(0, 0)
    seen = SeenFile("a.wav", 1, 1, (1, 1))
    candidate = Candidate(seen, NameFacts(), stamp, False, 0.0, 0.0)
    for moment in range(50_000):
        candidate.due = float(moment)
        candidates.put(candidate)
    assert len(candidates._deadlines) <= 4 * MOST_CANDIDATES + 1
    assert candidates.next_due() == 49_999
    assert candidates.take_due(49_998, 10) == []
    assert candidates.take_due(49_999, 10) == [candidate]


# Walking, opening, deciding: the parts on their own.


def test_a_walk_goes_no_deeper_than_it_has_descriptors_for(directory: Path) -> None:
    deep = directory
    for _ in range(40):
        deep /= "d"
    leave(deep / "deep.wav")
    leave(directory / "flat.wav")
    walk = TreeWalk(directory)
    found = [one.relative for piece in walk.slices() for one in piece]
    assert found == ["flat.wav"]
    assert (walk.unreadable, "folders deep" in walk.example) == (1, True)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_walk_given_up_closes_what_it_opened(directory: Path) -> None:
    for number in range(300):
        leave(directory / "a" / "b" / f"{number}.wav", b"")
    before = descriptors()
    slices = TreeWalk(directory).slices()
    next(slices)
    assert descriptors() > before
    slices.close()
    assert descriptors() == before


@pytest.mark.parametrize(
    "relative",
    [
        "../outside.wav",
        "/etc/passwd",
        "a/../../outside.wav",
        "",
        "a//b.wav",
        ".",
        "link.wav",
        "folder-link/inside.wav",
        "pipe.wav",
        "folder",
    ],
)
def test_only_a_plain_file_of_the_directory_is_opened(
    directory: Path, tmp_path: Path, relative: str
) -> None:
    leave(tmp_path / "outside.wav")
    leave(tmp_path / "elsewhere" / "inside.wav")
    (directory / "folder").mkdir()
    (directory / "link.wav").symlink_to(tmp_path / "outside.wav")
    (directory / "folder-link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(directory / "pipe.wav")
    with pytest.raises(NotARecording):
        open_recording(directory, relative)


def test_a_recording_in_a_folder_is_opened(directory: Path) -> None:
    leave(directory / "a" / "b" / NAME, b"audio")
    with open_recording(directory, f"a/b/{NAME}") as file:
        assert file.read() == b"audio"


def test_a_missing_recording_is_an_ordinary_error(directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_recording(directory, "a/b.wav")


def test_only_writers_of_other_processes_hold_a_file(directory: Path) -> None:
    written, read = leave(directory / "written.wav"), leave(directory / "read.wav")
    identities = {(one.stat().st_dev, one.stat().st_ino): one.name for one in (written, read)}
    program = "import sys; f = open(sys.argv[1], 'rb'); print(flush=True); sys.stdin.read()"
    with (
        other_process_writing(written),
        subprocess.Popen(
            [sys.executable, "-c", program, str(read)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as reader,
        read.open("ab"),
    ):
        assert reader.stdout is not None
        reader.stdout.readline()
        held = open_for_writing(identities)
        reader.communicate()
    assert [identities[one] for one in held] == ["written.wav"]


def test_a_machine_without_proc_holds_nothing(tmp_path: Path) -> None:
    assert open_for_writing({(1, 2)}, tmp_path / "nothing") == set()


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("rested", [True, False])
def test_what_is_enough_to_be_finished(verdict: Verdict, closed: bool, rested: bool) -> None:
    assert not is_finished(Seen(verdict, closed, rested, held=True))
    enough = rested or (closed and verdict is Verdict.GOOD)
    assert is_finished(Seen(verdict, closed, rested, held=False)) == enough


def test_a_run_that_fails_again_and_again_leaves_one_thread_that_waits_for_the_stop(
    tmp_path: Path,
) -> None:
    def failing(_now: float) -> None:
        raise RuntimeError("the one who listens fails")

    watcher = RecordingWatcher(
        tmp_path, NAMES, SETTLE, LONG, SystemClock(), lambda _: set(), lambda _: None, failing
    )
    stop = threading.Event()
    for _ in range(5):
        with pytest.raises(RuntimeError):
            watcher.run(stop)
    waiting = [one for one in threading.enumerate() if one.name == "recordings-stop"]
    stop.set()
    for thread in waiting:
        thread.join(LONG)
    assert len(waiting) == 1
