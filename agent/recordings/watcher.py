"""Watches the recording directory and tells of each recording once it is finished.

One thread does everything: it waits for hints (inotify), deadlines of files that may still grow,
and the next full scan, and takes a scan in slices between the others. The scan is the truth:
events are lost when the kernel's queue overflows or nobody ran. What was told before is asked of
the ledger (`known`), so the watcher itself remembers nothing that must survive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from agent.clock import Clock
from agent.language import said
from agent.recordings.hints import HintBox, Hints
from agent.recordings.judging import FinishedFile
from agent.recordings.looks import AGAIN_SECONDS, GrowingFile, Looks
from agent.recordings.names import RecordingNames
from agent.recordings.presence import Presence
from agent.recordings.scanning import FileKey, TreeWalk, waits_for_rename
from agent.recordings.troubles import Troubles
from agent.recordings.walks import Walks

__all__ = ["FileKey", "FinishedFile", "GrowingFile", "RecordingWatcher", "WatcherView"]

CHECK_SECONDS = 30.0
"""Between looks whether the directory is still there and the same one, which events tell mostly."""
MISSED_SECONDS = 5.0
"""Between looks whether it has come back."""
BLIND_SCAN_SECONDS = 30.0
"""Between scans where there are no events, so that a recording is not minutes late."""


class WatcherView(Struct, frozen=True):
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
        self._scan_interval = scan_interval
        self._clock = clock
        self._on_alive = on_alive
        self._box = HintBox()
        self._troubles = Troubles()
        self._presence = Presence(directory, self._box, self._troubles)
        self._walks = Walks(directory)
        self._looks = Looks(
            directory,
            names,
            settle,
            clock,
            self._troubles,
            lambda: self._presence.watched,
            known,
            on_finished,
        )
        self._next_check = self._next_scan = clock.monotonic()
        self._ended: TreeWalk | None = None
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
        return self._looks.growing()

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
        self._looks.look_at_due()
        due = self._looks.next_due()
        if due is None or due > self._clock.monotonic():
            self._end_scan()
            self._go_on_walking()

    def _pause(self, now: float) -> float:
        if self._walks or self._ended is not None:
            return 0.0
        moments = [self._next_check, self._looks.next_due()]
        if self._presence.there:
            moments.append(self._next_scan)
        return max(0.0, min(moment for moment in moments if moment is not None) - now)

    # Scans.

    def _begin_scan(self, now: float) -> None:
        self._presence.watch()  # before the scan, so that nothing falls between the two
        seen = self._presence.watched
        interval = self._scan_interval if seen else min(self._scan_interval, BLIND_SCAN_SECONDS)
        self._next_scan = now + interval
        self._looks.unreadable = 0
        self._walks.scan()

    def _go_on_walking(self) -> None:
        try:
            piece = self._walks.take()
        except OSError:
            self._next_check = self._clock.monotonic()
            return
        if piece is None:
            return
        if piece.files and not self._looks.found(piece.files, piece.moved):
            self._walks.forget()
            self._next_scan = self._clock.monotonic() + AGAIN_SECONDS
            return
        self._ended = piece.ended or self._ended

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
        if not self._looks.unreadable:
            self._troubles.over("files")
        self.first_scan_done.set()

    # Hints.

    def _take(self, hints: Hints) -> None:
        if hints.everything:
            self._next_scan = self._clock.monotonic()
        if hints.folders:
            self._next_check = self._clock.monotonic()  # the first ones must be watched as well
        for folder, moved in hints.folders.items():
            if not waits_for_rename(f"{folder}/any") and not self._walks.folder(folder, moved):
                self._next_scan = self._clock.monotonic()
                break
        self._looks.hinted(hints.files)
