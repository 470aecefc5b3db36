"""Takes finished recordings in: judged, matched to their call, written into the ledger.

One that belongs to no known call gets a record of its own, so that it still arrives.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.call_times import own_times, spans_of
from agent.calls import Call
from agent.clock import EARLIEST_TRUE_TIME, Clock, TrustedClock
from agent.digest import digest_like
from agent.ledger import Ledger
from agent.ledger.recordings import FileKey, NewRecording
from agent.ledger.rows import KnownFile, State, StoredCall
from agent.recordings.audio import Verdict
from agent.recordings.files import open_recording
from agent.recordings.judging import FinishedFile
from agent.recordings.matching import SLACK, Recorded, best_call, call_of_its_own
from agent.recordings.names import RecordingNames
from agent.recordings.watcher import GrowingFile
from agent.settings import Recordings

AT_ONCE = 200
"""Recordings without a call looked at in one go; the rest follows in the next."""
BLOCK = 256 * 1024
"""Bytes read at once where two files are compared."""

_MAY_BE_DELIVERED = frozenset({State.DELIVERED, State.RECORDING_TO_SEND})

log = logging.getLogger(__name__)


class Intake:
    """Between the recording directory and the ledger."""

    def __init__(
        self,
        settings: Recordings,
        names: RecordingNames,
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        boards: Sequence[int],
        *,
        shown: Callable[[str], str],
        on_new: Callable[[], None],
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`boards`: numbers of the boxes. `shown` makes a file's name fit for the log.

        `on_new` is called when there may be something new to send; `alive` before each file that
        is read whole.
        """
        self._settings = settings
        self._directory = Path(settings.directory)
        self._names = names
        self._ledger = ledger
        self._clock = clock
        self._time = time
        self._boards = boards
        self._shown = shown
        self._on_new = on_new
        self._alive = alive
        self._lock = threading.Lock()
        self._none_waits = False
        """True: no recording waits for its call. `take` alone lets one wait; what other hands do,
        housekeeping finds, which asks in any case."""

    def known(self, keys: Sequence[FileKey]) -> set[FileKey]:
        """Tell the watcher which files need no further look."""
        return self._ledger.recordings.known(keys)

    def take(self, files: Sequence[FinishedFile]) -> None:
        """Write finished files down, with their calls where these are known."""
        # Reading them takes a while, in which nothing of the calls' may wait for a lock.
        known = self._digests_of_known(files)
        # Soft: after a power cut the scan finds them anew.
        with self._lock, self._ledger.transaction(soft=True):
            # Before a call is looked for: one that is written down from here on is asked about.
            self._none_waits = False
            for file in files:
                self._take(file, known)
        self._on_new()

    def calls_changed(self) -> None:
        """A call was written down: look whether a recording waits for it. Raises LedgerError."""
        if not self._none_waits:
            self.match_waiting()

    def match_waiting(self) -> float | None:
        """Look for the calls of recordings that have none; give up on those whose time is over.

        Returns the seconds after which to look again, None where none waits.
        """
        now = self._clock.monotonic()
        with self._lock:
            waiting = self._ledger.recordings.without_call(AT_ONCE)
            self._none_waits = not waiting
            if not waiting:
                return None
            with self._ledger.transaction(soft=True):
                left = [
                    due
                    for file, due, duration in waiting
                    if not self._match(file, duration, over=due <= now)
                ]
        if len(left) < len(waiting):
            self._on_new()
        if len(waiting) == AT_ONCE > len(left):
            return 0.0
        return max(min(left) - now, self._time.ready_in()) if left else None

    def _match(self, file: KnownFile, duration: float | None, *, over: bool) -> bool:
        """Attach a recording to its call; to one of its own where its wait is over."""
        recorded = self._recorded(file, duration)
        call_id = self._call_of(recorded)
        # Before the time is known a call may be there, and its recording named by a truer clock.
        if call_id is None and over and not self._time.ready_in():
            call_id = self._book_on_its_own(file, recorded)
        if call_id is None:
            return False
        self._ledger.recordings.attach(file.id, call_id)
        return True

    def recordings_of(self, stored: StoredCall) -> list[Recorded]:
        """What a call's recordings tell of it."""
        found = self._ledger.recordings.of_call(stored.id)
        return [self._recorded(file, duration) for file, duration in found]

    def being_recorded(self, stored: StoredCall, growing: Sequence[GrowingFile]) -> bool:
        """Tell whether one of the files still being written is of this call, and long enough."""
        if not growing or stored.call.duration < self._settings.shortest:
            return False
        now = self._clock.wall()
        spans = spans_of(stored, self._clock, self._time)
        files = [Recorded(file.facts, None, file.modified) for file in growing]
        return any(
            best_call(file, spans, now) is not None and self._call_of(file) == stored.id
            for file in files
        )

    def _take(self, file: FinishedFile, known: Mapping[str, str | None]) -> None:
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
        if file.relative in known:
            earlier = self._ledger.recordings.find(file.relative)
            self._take_again(file, new, earlier, call_due, known[file.relative])
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
        digest: str | None,
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
            else:
                self._ledger.recordings.returned(same[0].id)
        elif last.state is not State.DELIVERED:
            # A recorder that overwrites a name may have another call in it by now.
            call_id = self._call_of(Recorded.of(file)) or last.call_id
            self._ledger.recordings.replace(last.id, new, call_id, call_due=call_due)
            self._tell(last.id, new, call_id)
        elif digest is not None and digest == last.digest:
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
        boot, is_set = self._clock.boot, max(ends) >= EARLIEST_TRUE_TIME
        calls = self._ledger.calls.around(
            min(begins) - SLACK,
            max(ends) + SLACK,
            channel=recorded.facts.channel,
            unset_in=boot if is_set else None,
        )
        if is_set:
            return self._best(recorded, calls)
        # Each boot whose clock is not set begins in the same hour: the present one goes before.
        found = self._best(recorded, [stored for stored in calls if stored.boot == boot])
        return found or self._best(recorded, [one for one in calls if one.boot != boot])

    def _best(self, recorded: Recorded, calls: Sequence[StoredCall]) -> int | None:
        spans = [span for stored in calls for span in spans_of(stored, self._clock, self._time)]
        found = best_call(recorded, spans, self._clock.wall())
        return None if found is None else found.call_id

    def _recorded(self, file: KnownFile, duration: float | None) -> Recorded:
        return Recorded(self._names.facts(file.relative), duration, file.modified_ns / 1e9)

    def _book_on_its_own(self, file: KnownFile, recorded: Recorded) -> int:
        own = call_of_its_own(recorded)
        boot, start, end = own_times(own, recorded.modified, self._clock, self._time)
        call = Call(
            board=own.board if own.board is not None else self._boards[0],
            channel=own.channel,
            direction=own.direction,
            phone=own.phone,
            started=start,
            answered=start,
            ended=end,
            last_heard=end,
        )
        trusted = end.wall >= EARLIEST_TRUE_TIME
        number = self._ledger.calls.add_told(call, clock_trusted=trusted, boot=boot)
        shown = self._shown(file.relative)
        log.info("%s belongs to no known call and gets a record of its own", shown)
        return number

    def _digests_of_known(self, files: Sequence[FinishedFile]) -> dict[str, str | None]:
        """The files whose paths the ledger knows; it learns of others by this thread alone.

        With the digests of those that were delivered and have a new time: are they the same? And of
        those on their way, too: their delivery may end while they are read.
        """
        digests: dict[str, str | None] = {}
        for file in files:
            last = next(iter(self._ledger.recordings.find(file.relative)), None)
            if last is None:
                continue
            digests[file.relative] = None
            if last.state not in _MAY_BE_DELIVERED or last.size != file.size:
                continue
            self._alive()
            # One that vanishes meanwhile counts as another, and turns out to be missing.
            with contextlib.suppress(OSError):
                digests[file.relative] = self._digest(file.relative, last.digest or "")
        return digests

    def _digest(self, relative: str, known: str) -> str:
        digest = digest_like(known)
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
