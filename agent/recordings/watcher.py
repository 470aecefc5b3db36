"""Watches the recording directory and tells of each recording once it is finished.

One thread does everything: it waits for hints (inotify), deadlines of files that may still grow,
and the next full scan, and takes a scan in slices between the others. The scan is the truth:
events are lost when the kernel's queue overflows or nobody ran. What was told before is asked of
the ledger (`known`), so the watcher itself remembers nothing that must survive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.clock import Clock, Stamp
from agent.language import said, text_of
from agent.recordings.candidates import Candidate, Candidates
from agent.recordings.hints import HintBox, Hints
from agent.recordings.judging import FinishedFile, Judge
from agent.recordings.names import NameFacts, RecordingNames
from agent.recordings.presence import Presence
from agent.recordings.scanning import FileKey, SeenFile, TreeWalk, waits_for_rename
from agent.recordings.troubles import Troubles
from agent.recordings.walks import BATCH, Walks

__all__ = ["FileKey", "FinishedFile", "GrowingFile", "RecordingWatcher", "WatcherView"]

MOST_LOOKS = 100
"""Files opened and judged before events get their turn."""
CHECK_SECONDS = 15.0
"""Between looks whether the directory is still there and the same one."""
MISSED_SECONDS = 5.0
"""Between looks whether it has come back."""
AGAIN_SECONDS = 5.0
"""After the ledger refused: when the same is tried again."""
BLIND_SCAN_SECONDS = 30.0
"""Between scans where there are no events, so that a recording is not minutes late."""


@dataclass(frozen=True, slots=True)
class GrowingFile:
    """A recording that was seen and is not finished."""

    relative: str
    facts: NameFacts
    first_seen: Stamp
    modified: float
    """UNIX seconds, as its file system says."""


@dataclass(frozen=True, slots=True)
class WatcherView:
    """How the watching goes, for `status`."""

    directory: str
    trouble: str | None
    """What hinders, in words; None where nothing does."""
    last_scan: float | None
    """UNIX seconds at which the last full scan ended."""
    files_seen: int
    """Files that the last full scan saw."""


class RecordingWatcher:
    """Finds finished recordings; `run` belongs to one thread, the rest may be called by any.

    `known` tells which keys the ledger has (at most BATCH are asked at once); `on_finished` puts
    files into it. Both are called by `run`'s thread and may raise: the files stay and are offered
    again. `on_alive` gets the monotonic time, at least every CHECK_SECONDS.
    """

    def __init__(
        self,
        directory: Path,
        names: RecordingNames,
        settle: float,
        scan_interval: float,
        clock: Clock,
        known: Callable[[Sequence[FileKey]], set[FileKey]],
        on_finished: Callable[[Sequence[FinishedFile]], None],
        on_alive: Callable[[float], None],
    ) -> None:
        self.first_scan_done = threading.Event()
        """Set once a full scan ended and what it found finished was told."""
        self._directory = directory
        self._names = names
        self._settle = settle
        self._scan_interval = scan_interval
        self._clock = clock
        self._known = known
        self._on_finished = on_finished
        self._on_alive = on_alive
        self._box = HintBox()
        self._troubles = Troubles()
        self._presence = Presence(directory, self._box, self._troubles)
        self._walks = Walks(directory)
        self._candidates = Candidates()
        self._judge = Judge(directory, settle)
        self._next_check = self._next_scan = clock.monotonic()
        self._ended: TreeWalk | None = None
        self._unreadable = 0
        self._last_scan: float | None = None
        self._files_seen = 0
        self._waker: threading.Thread | None = None
        """One for all runs: where a run fails, the next one waits for the same event."""

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set. What a file, the directory or the ledger does is survived."""
        # An event can't be waited for together with hints: a thread of its own passes it on.
        if self._waker is None or not self._waker.is_alive():
            self._waker = threading.Thread(
                target=self._wake_at, args=(stop,), name="recordings-stop", daemon=True
            )
            self._waker.start()
        try:
            while not stop.is_set():
                self._turn()
        finally:
            self._walks.forget()
            self._presence.close()

    def rescan(self) -> None:
        """Ask for a full scan now."""
        self._box.everything()

    def growing(self) -> tuple[GrowingFile, ...]:
        """Give the files that were seen and are not finished."""
        return tuple(
            GrowingFile(
                one.file.relative, one.facts, one.first_seen, one.file.modified_ns / 1_000_000_000
            )
            for one in self._candidates
        )

    def view(self) -> WatcherView:
        """Say how the watching goes."""
        return WatcherView(
            str(self._directory), self._troubles.words(), self._last_scan, self._files_seen
        )

    def _wake_at(self, stop: threading.Event) -> None:
        stop.wait()
        self._box.wake()

    def _turn(self) -> None:
        now = self._clock.monotonic()
        self._on_alive(now)
        if now >= self._next_check:
            if self._presence.check():
                self._next_scan = now
            wait = CHECK_SECONDS if self._presence.there else min(CHECK_SECONDS, MISSED_SECONDS)
            self._next_check = now + wait
        if self._presence.there and now >= self._next_scan:
            self._begin_scan(now)
        self._take(self._box.take(self._pause(now)))
        self._look(self._candidates.take_due(self._clock.monotonic(), MOST_LOOKS))
        due = self._candidates.next_due()
        if due is None or due > self._clock.monotonic():
            self._end_scan()
            self._go_on_walking()

    def _pause(self, now: float) -> float:
        if self._walks or self._ended is not None:
            return 0.0
        moments = [self._next_check, self._candidates.next_due()]
        if self._presence.there:
            moments.append(self._next_scan)
        return max(0.0, min(moment for moment in moments if moment is not None) - now)

    # Scans.

    def _begin_scan(self, now: float) -> None:
        self._presence.watch()  # before the scan, so that nothing falls between the two
        seen = self._presence.watched
        interval = self._scan_interval if seen else min(self._scan_interval, BLIND_SCAN_SECONDS)
        self._next_scan = now + interval
        self._unreadable = 0
        self._walks.scan()

    def _go_on_walking(self) -> None:
        try:
            piece = self._walks.take()
        except OSError:
            self._next_check = self._clock.monotonic()
            return
        if piece is None or (piece.files and not self._offer(piece.files, piece.moved)):
            return
        self._ended = piece.ended or self._ended

    def _offer(self, files: Sequence[SeenFile], moved: bool) -> bool:
        fresh: list[SeenFile] = []
        for one in files:
            candidate = self._candidates.get(one.relative)
            if candidate is None:
                fresh.append(one)
            elif moved:
                self._closed(candidate)
        known = self._ask([one.key for one in fresh])
        if known is None:
            self._walks.forget()
            self._next_scan = self._clock.monotonic() + AGAIN_SECONDS
            return False
        for one in fresh:
            if one.key not in known:
                self._add(one, closed=moved, found_by_scan=True)
        return True

    def _end_scan(self) -> None:
        """The walk is over, and what it found finished was told: the scan is done."""
        if self._ended is None:
            return
        walk, self._ended = self._ended, None
        self._files_seen = walk.files
        self._last_scan = self._clock.wall()
        if walk.unreadable:
            detail = said("{number}, first {example}", number=walk.unreadable, example=walk.example)
            self._troubles.note("folders", said("folders in it can't be read"), detail)
        else:
            self._troubles.over("folders")
        if not self._unreadable:
            self._troubles.over("files")
        self.first_scan_done.set()

    # Hints and looks.

    def _take(self, hints: Hints) -> None:
        if hints.everything:
            self._next_scan = self._clock.monotonic()
        for folder, moved in hints.folders.items():
            if not waits_for_rename(f"{folder}/any") and not self._walks.folder(folder, moved):
                self._next_scan = self._clock.monotonic()
                break
        hinted = [self._hinted(*hint) for hint in hints.files.items()]
        closed = [one for one in hinted if one is not None]
        for first in range(0, len(closed), MOST_LOOKS):
            self._look(closed[first : first + MOST_LOOKS])

    def _hinted(self, relative: str, closed: bool) -> Candidate | None:
        """Take a hint; give the candidate where it is to be looked at at once."""
        if waits_for_rename(relative):
            return None
        file = self._judge.see(relative)
        if file is None:
            self._candidates.drop(relative)
            return None
        candidate = self._candidates.get(relative)
        if candidate is None:
            candidate = self._add(file, closed, found_by_scan=False)
        else:
            self._judge.refresh(candidate, file, self._clock.monotonic())
        if candidate is None or not closed:
            return None
        self._closed(candidate)
        return candidate

    def _closed(self, candidate: Candidate) -> None:
        candidate.closed, candidate.looks = True, 0
        candidate.due = self._clock.monotonic()
        self._candidates.put(candidate)

    def _add(self, file: SeenFile, closed: bool, found_by_scan: bool) -> Candidate | None:
        if self._candidates.full:
            return None
        stamp = self._clock.stamp()
        age = stamp.wall - file.modified_ns / 1_000_000_000
        # A time in the future proves nothing: such a file must be seen resting.
        rested = found_by_scan and age >= self._settle
        unchanged_since = stamp.monotonic - (self._settle if rested else 0.0)
        candidate = Candidate(
            file=file,
            facts=self._names.facts(file.relative),
            first_seen=stamp,
            closed=closed,
            unchanged_since=unchanged_since,
            due=stamp.monotonic if closed else unchanged_since + self._settle,
        )
        self._candidates.put(candidate)
        return candidate

    def _look(self, candidates: Sequence[Candidate]) -> None:
        """Look at files whose time has come, and tell of those that are finished."""
        if not candidates:
            return
        now = self._clock.monotonic()
        there = [one for one in candidates if self._is_there(one, now)]
        ready = [one for one in there if one.closed or self._judge.rested(one, now)]
        known = self._ask([one.file.key for one in ready])
        if known is None:
            self._put_off(ready)
            return
        for one in ready:
            if one.file.key in known:
                self._candidates.drop(one.file.relative)
        judged = self._judge.judge([one for one in ready if one.file.key not in known], now)
        for relative in judged.gone:
            self._candidates.drop(relative)
        for relative, trouble in judged.unreadable.items():
            # It keeps no place among the candidates; each scan tries it again.
            self._unreadable += 1
            self._candidates.drop(relative)
            self._troubles.note("files", said("recordings can't be read"), trouble)
        for one in judged.waiting:
            self._candidates.put(one)
        self._tell(judged.finished)

    def _is_there(self, candidate: Candidate, now: float) -> bool:
        file = self._judge.see(candidate.file.relative)
        if file is None:
            self._candidates.drop(candidate.file.relative)
            return False
        growing = self._judge.refresh(candidate, file, now) and self._presence.watched
        self._judge.put_off(candidate, now, growing)
        self._candidates.put(candidate)
        return True

    # The ledger.

    def _tell(self, finished: Sequence[tuple[Candidate, FinishedFile]]) -> None:
        if not finished:
            return
        try:
            self._on_finished([file for _, file in finished])
        except Exception as error:
            self._refused(error)
            self._put_off([one for one, _ in finished])
            return
        self._troubles.over("ledger")
        for one, _ in finished:
            self._candidates.drop(one.file.relative)

    def _ask(self, keys: Sequence[FileKey]) -> set[FileKey] | None:
        """Ask the ledger which of these it knows; None where it can't be asked."""
        known: set[FileKey] = set()
        try:
            for first in range(0, len(keys), BATCH):
                known |= self._known(keys[first : first + BATCH])
        except Exception as error:
            self._refused(error)
            return None
        return known

    def _refused(self, error: Exception) -> None:
        words = said("the ledger takes no recordings just now")
        self._troubles.note("ledger", words, text_of(error))

    def _put_off(self, candidates: Sequence[Candidate]) -> None:
        for one in candidates:
            one.due = self._clock.monotonic() + AGAIN_SECONDS
            self._candidates.put(one)
