"""Takes finished recordings in: judged, matched to their call, written into the ledger.

One that belongs to no known call gets a record of its own, so that it still arrives.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.calls import Call
from agent.clock import EARLIEST_TRUE_TIME, Clock, Stamp
from agent.ledger import Ledger
from agent.ledger.calls import FROM_RECORDING
from agent.ledger.recordings import FileKey, NewRecording
from agent.ledger.rows import KnownFile, State, StoredCall
from agent.recordings.audio import Verdict
from agent.recordings.files import open_recording
from agent.recordings.judging import FinishedFile
from agent.recordings.matching import SLACK, CallSpan, Recorded, best_call, call_of_its_own
from agent.recordings.names import RecordingNames
from agent.recordings.watcher import GrowingFile
from agent.settings import Recordings

AT_ONCE = 200
"""Recordings without a call looked at in one go; the rest follows in the next."""
BLOCK = 256 * 1024
"""Bytes read at once where two files are compared."""

log = logging.getLogger(__name__)


class Intake:
    """Between the recording directory and the ledger."""

    def __init__(
        self,
        settings: Recordings,
        names: RecordingNames,
        ledger: Ledger,
        clock: Clock,
        boards: Sequence[int],
        *,
        shown: Callable[[str], str],
        on_new: Callable[[], None],
    ) -> None:
        """`boards`: numbers of the boxes. `shown` makes a file's name fit for the log.

        `on_new` is called when there may be something new to send.
        """
        self._settings = settings
        self._directory = Path(settings.directory)
        self._names = names
        self._ledger = ledger
        self._clock = clock
        self._boards = boards
        self._shown = shown
        self._on_new = on_new
        self._lock = threading.Lock()

    def known(self, keys: Sequence[FileKey]) -> set[FileKey]:
        """Tell the watcher which files need no further look."""
        return self._ledger.recordings.known(keys)

    def take(self, files: Sequence[FinishedFile]) -> None:
        """Write finished files down, with their calls where these are known."""
        with self._lock:
            # Reading them takes a while, in which the ledger must stay free for the calls.
            touched = self._digests_of_touched(files)
            with self._ledger.transaction():
                for file in files:
                    self._take(file, touched)
        self._on_new()

    def match_waiting(self) -> float | None:
        """Look for the calls of recordings that have none; give up on those whose time is over.

        Returns the seconds after which to look again, None where none waits.
        """
        now = self._clock.monotonic()
        with self._lock:
            waiting = self._ledger.recordings.without_call(AT_ONCE)
            if not waiting:
                return None
            with self._ledger.transaction():
                left = [
                    due
                    for file, due, duration in waiting
                    if not self._match(file, duration, over=due <= now)
                ]
        if len(left) < len(waiting):
            self._on_new()
        if len(waiting) == AT_ONCE > len(left):
            return 0.0
        return max(0.0, min(left) - now) if left else None

    def _match(self, file: KnownFile, duration: float | None, *, over: bool) -> bool:
        """Attach a recording to its call; to one of its own where its wait is over."""
        recorded = self._recorded(file, duration)
        call_id = self._call_of(recorded)
        if call_id is None and over:
            call_id = self._book_on_its_own(file, recorded)
        if call_id is None:
            return False
        self._ledger.recordings.attach(file.id, call_id)
        return True

    def being_recorded(self, stored: StoredCall, growing: Sequence[GrowingFile]) -> bool:
        """Tell whether one of the files still being written is of this call."""
        now = self._clock.wall()
        return any(
            best_call(Recorded(file.facts, None, file.modified), _spans(stored), now) is not None
            for file in growing
        )

    def _take(self, file: FinishedFile, touched: Mapping[str, str]) -> None:
        new = NewRecording(
            relative=file.relative,
            size=file.size,
            modified_ns=file.modified_ns,
            verdict=file.audio.verdict.value,
            reason=file.audio.reason,
            container=file.audio.container,
            duration=file.audio.duration,
            kept=self._why_kept(file),
        )
        call_due = self._clock.monotonic() + self._settings.attach_window
        earlier = self._ledger.recordings.find(file.relative)
        if earlier:
            self._take_again(file, new, earlier, call_due, touched)
            return
        call_id = None if new.kept else self._call_of(Recorded.of(file))
        number = self._ledger.recordings.add(new, call_id, call_due=call_due)
        self._tell(number, new, call_id)

    def _take_again(
        self,
        file: FinishedFile,
        new: NewRecording,
        earlier: list[KnownFile],
        call_due: float,
        touched: Mapping[str, str],
    ) -> None:
        """A path that is known: it came back, grew before it was sent, or is a new recording."""
        same = [
            known
            for known in earlier
            if (known.size, known.modified_ns) == (new.size, new.modified_ns)
        ]
        last = earlier[0]
        if same:
            if same[0].state is State.MISSING:
                self._ledger.deliveries.restored(same[0].id, same[0].call_id, call_due)
        elif last.state is not State.DELIVERED:
            self._ledger.recordings.replace(last.id, new, call_due=call_due)
            self._tell(last.id, new, last.call_id)
        elif file.relative in touched and touched[file.relative] == last.sha256:
            self._ledger.recordings.touch(last.id, new.modified_ns)
        else:
            log.warning("%s has changed since its delivery", self._shown(new.relative))
            call_id = None if new.kept else self._call_of(Recorded.of(file))
            number = self._ledger.recordings.add(new, call_id, call_due=call_due)
            self._tell(number, new, call_id)

    def _why_kept(self, file: FinishedFile) -> str:
        audio = file.audio
        if audio.verdict in {Verdict.EMPTY, Verdict.FOREIGN}:
            return audio.reason or audio.verdict.value
        if audio.duration is not None and audio.duration < self._settings.shortest:
            return f"shorter than recordings.shortest, {self._settings.shortest:g} s"
        return ""

    def _call_of(self, recorded: Recorded) -> int | None:
        begins, ends = zip(*recorded.spans(), strict=True)
        calls = self._ledger.calls.around(min(begins) - SLACK, max(ends) + SLACK)
        spans = [span for stored in calls for span in _spans(stored)]
        found = best_call(recorded, spans, self._clock.wall())
        return None if found is None else found.call_id

    def _recorded(self, file: KnownFile, duration: float | None) -> Recorded:
        return Recorded(self._names.facts(file.relative), duration, file.modified_ns / 1e9)

    def _book_on_its_own(self, file: KnownFile, recorded: Recorded) -> int:
        own = call_of_its_own(recorded)
        now = self._clock.stamp()
        start, end = (
            Stamp(wall, now.monotonic - (now.wall - wall)) for wall in (own.start, own.end)
        )
        call = Call(
            board=own.board if own.board is not None else self._boards[0],
            channel=own.channel,
            direction=own.direction,
            phone=own.phone,
            started=start,
            answered=start,
            ended=None,
            last_heard=end,
        )
        trusted = own.start >= EARLIEST_TRUE_TIME
        number = self._ledger.calls.begin(call, clock_trusted=trusted, source=FROM_RECORDING)
        self._ledger.calls.end(
            number,
            replace(call, ended=end),
            clock_trusted=trusted,
            wait_for_recording=0.0,
        )
        shown = self._shown(file.relative)
        log.info("%s belongs to no known call and gets a record of its own", shown)
        return number

    def _digests_of_touched(self, files: Sequence[FinishedFile]) -> dict[str, str]:
        """SHA-256 of the files that were delivered and have a new time: are they the same?"""
        digests: dict[str, str] = {}
        for file in files:
            last = next(iter(self._ledger.recordings.find(file.relative)), None)
            if last is None or last.state is not State.DELIVERED or last.size != file.size:
                continue
            # One that vanishes meanwhile counts as another, and turns out to be missing.
            with contextlib.suppress(OSError):
                digests[file.relative] = self._digest(file.relative)
        return digests

    def _digest(self, relative: str) -> str:
        digest = hashlib.sha256()
        with open_recording(self._directory, relative) as file:
            while block := file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _tell(self, number: int, new: NewRecording, call_id: int | None) -> None:
        shown = self._shown(new.relative)
        if new.kept:
            log.warning("recording %d (%s) is kept and not sent: %s", number, shown, new.kept)
        elif call_id is None:
            log.info("recording %d (%s) waits for its call", number, shown)
        else:
            log.info("recording %d (%s) belongs to call %d", number, shown, call_id)


def _spans(stored: StoredCall) -> list[CallSpan]:
    """A call as matching sees it; twice where its times were corrected after they were named."""
    call = stored.call
    offsets = {0.0, stored.clock_offset}
    return [
        CallSpan(
            call_id=stored.id,
            board=call.board,
            channel=call.channel,
            direction=call.direction,
            phone=call.phone,
            started=call.started.wall - offset,
            ended=None if call.ended is None else call.ended.wall - offset,
        )
        for offset in sorted(offsets)
    ]
