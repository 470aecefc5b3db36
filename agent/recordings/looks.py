"""Looking after files until they are finished and told.

What was told before is asked of the ledger, so nothing here must survive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from agent.clock import Clock, Stamp
from agent.language import said, text_of
from agent.recordings.candidates import Candidate, Candidates
from agent.recordings.judging import FinishedFile, Judge
from agent.recordings.names import NameFacts, RecordingNames
from agent.recordings.scanning import FileKey, SeenFile, waits_for_rename
from agent.recordings.troubles import Troubles
from agent.recordings.walks import BATCH

MOST_LOOKS = 100
"""Files opened and judged before events get their turn."""
AGAIN_SECONDS = 5.0
"""After the ledger refused: when the same is tried again."""


class GrowingFile(Struct, frozen=True):
    """A recording that was seen and is not finished."""

    relative: str
    facts: NameFacts
    first_seen: Stamp
    modified: float
    """UNIX seconds, as its file system says."""


class Looks:
    """Files that were seen, each looked at when its time has come; for the watcher's thread.

    `known` tells which keys the ledger has (at most BATCH are asked at once); `on_finished` puts
    files into it. Both may raise: the files stay and are offered again. `watched` tells whether a
    file's close will be an event.
    """

    def __init__(
        self,
        directory: Path,
        names: RecordingNames,
        settle: float,
        clock: Clock,
        troubles: Troubles,
        watched: Callable[[], bool],
        known: Callable[[Sequence[FileKey]], set[FileKey]],
        on_finished: Callable[[Sequence[FinishedFile]], None],
    ) -> None:
        self.unreadable = 0
        """Files that could not be read, for the watcher to count from 0 with each scan."""
        self._names = names
        self._settle = settle
        self._clock = clock
        self._troubles = troubles
        self._watched = watched
        self._known = known
        self._on_finished = on_finished
        self._candidates = Candidates()
        self._judge = Judge(directory, settle)

    def growing(self) -> tuple[GrowingFile, ...]:
        """Give the files that were seen and are not finished; from any thread."""
        return tuple(
            GrowingFile(
                one.file.relative, one.facts, one.first_seen, one.file.modified_ns / 1_000_000_000
            )
            for one in self._candidates
        )

    def next_due(self) -> float | None:
        """Monotonic time of the next look; None without any."""
        return self._candidates.next_due()

    def look_at_due(self) -> None:
        """Look at files whose time has come."""
        now = self._clock.monotonic()
        due = self._candidates.take_due(now, MOST_LOOKS)
        there = [one for one in due if self._is_there(one, now)]
        self._look([one for one in there if one.closed or self._judge.rested(one, now)])

    def found(self, files: Sequence[SeenFile], moved: bool) -> bool:
        """Take what a scan found; False where the ledger can't be asked and nothing was taken.

        `moved`: the files lie in a folder that was renamed into place.
        """
        fresh: list[SeenFile] = []
        for one in files:
            candidate = self._candidates.get(one.relative)
            if candidate is None:
                fresh.append(one)
            elif moved:
                self._closed(candidate)
        known = self._ask([one.key for one in fresh])
        if known is None:
            return False
        for one in fresh:
            if one.key not in known:
                self._add(one, closed=moved, found_by_scan=True)
        return True

    def hinted(self, files: Mapping[str, bool]) -> None:
        """Take hints of files, True where one was closed; those are looked at at once."""
        hints = list(files.items())
        for first in range(0, len(hints), MOST_LOOKS):
            hinted = [self._hinted(*hint) for hint in hints[first : first + MOST_LOOKS]]
            self._look([one for one in hinted if one is not None])

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

    def _look(self, ready: Sequence[Candidate]) -> None:
        """Look into files that were closed or have rested, and tell of those that are finished."""
        if not ready:
            return
        now = self._clock.monotonic()
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
            self.unreadable += 1
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
        growing = self._judge.refresh(candidate, file, now) and self._watched()
        self._judge.put_off(candidate, now, growing)
        self._candidates.put(candidate)
        return True

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
