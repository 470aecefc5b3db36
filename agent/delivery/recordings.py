"""The lane of recordings: read from disk as they are sent, booked under their record's callid."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from agent.delivery.gate import full_jitter
from agent.delivery.lane import Lane, Outcome, Surroundings
from agent.delivery.outcomes import Meaning, Remedy
from agent.delivery.rate import RateLimit
from agent.delivery.window import UploadWindow
from agent.ledger.rows import RecordingToSend
from agent.parts import Alive
from agent.platform.client import PlatformClient
from agent.platform.failures import FailureKind, PlatformFailure
from agent.recordings.files import NotARecording, open_recording

LOOK_AGAIN_AFTER = 5.0
"""Seconds after which a file that changed or could not be opened is looked at again."""
SOUND_FOR = 1.0
"""Seconds for which a directory that was there counts as there."""

_GONE = (FileNotFoundError, NotADirectoryError, NotARecording)

log = logging.getLogger(__name__)


class RecordingLane(Lane[RecordingToSend]):
    """Finished files whose record is booked.

    `sound` tells whether the recording directory is there at all; `shown` makes a file's name fit
    for the log; `after` is called with each delivered recording, once that is durable.
    """

    kind = "recording"

    def __init__(
        self,
        surroundings: Surroundings,
        directory: Path,
        window: UploadWindow,
        rate: RateLimit,
        stop: threading.Event,
        *,
        sound: Callable[[], bool],
        shown: Callable[[str], str],
        look_again: Callable[[], None],
        after: Callable[[RecordingToSend], None],
    ) -> None:
        super().__init__(surroundings, surroundings.bells.recordings)
        self._directory = directory
        self._window = window
        self._rate = rate
        self._stop = stop
        self._sound = sound
        self._shown = shown
        self._look_again = look_again
        self._after = after
        self._sound_until = 0.0
        """Monotonic seconds until which the directory counts as there."""

    def closed_for(self) -> float:
        """Recordings wait for their hours, and for their directory."""
        if not self._was_sound():
            return LOOK_AGAIN_AFTER
        return self._window.opens_in()

    def _was_sound(self) -> bool:
        # A look at the disk takes as long as a request. Where it went away since, an attempt's
        # failure looks anew.
        now = self.around.clock.monotonic()
        if now >= self._sound_until:
            sound = self._sound()
            self._sound_until = now + SOUND_FOR if sound else now
            return sound
        return True

    def choose(self, busy: set[int]) -> RecordingToSend | None:
        """The recording whose turn it is."""
        while (item := self._next(busy)) is not None and not item.callid:
            # A duplicate's answer named none; booking it anew may bring one.
            self._book_anew(item, "its record has no callid")
        return item

    def _next(self, busy: set[int]) -> RecordingToSend | None:
        return self.around.ledger.deliveries.next_recording(busy, self.pick())

    def number(self, item: RecordingToSend) -> int:
        """The recording's number in the ledger."""
        return item.id

    def name(self, item: RecordingToSend) -> str:
        """Its number and its file's name, the telephone number in it masked."""
        return f"recording {item.id} ({self._shown(item.relative)})"

    def send(self, item: RecordingToSend, client: PlatformClient, alive: Alive) -> Outcome:
        """Send the file under its record's callid."""
        with self._open(item) as file:
            _, digest = client.recording(
                item.callid,
                file,
                item.size,
                item.modified_ns,
                item.relative,
                item.container,
                before_block=self._before_block(alive),
            )
        name = self.name(item)

        def write() -> bool:
            if self.around.ledger.deliveries.delivered(item, digest):
                log.info("%s is delivered, %d bytes", name, item.size)
                self._after(item)
            else:
                log.warning("%s changed as it was sent, and goes again as it is now", name)
            return False

        return write

    def accept_duplicate(self, item: RecordingToSend, callid: str | None) -> bool:
        """The platform had the file before; it is the same one, as the ledger knows it."""
        if self.around.ledger.deliveries.delivered(item, ""):
            self._after(item)
        return False

    def remedy(self, item: RecordingToSend, failure: PlatformFailure, found: Meaning) -> bool:
        """Book its record anew, look at its file again, or read the identity anew."""
        deliveries = self.around.ledger.deliveries
        if found.remedy is Remedy.BOOK_ANEW:
            self._book_anew(item, failure.message)
            return True
        if found.remedy is Remedy.LOOK_AGAIN:
            if failure.kind is FailureKind.FILE_CHANGED:
                due = self.around.clock.monotonic() + LOOK_AGAIN_AFTER
                deliveries.postponed(item.id, failure.message, due)
                self._look_again()
                return True
            if isinstance(failure.__cause__, _GONE):
                if self._sound():
                    deliveries.missing(item.id, failure.message)
                else:  # its disk went away since the lane looked, and it with its disk
                    due = self.around.clock.monotonic() + LOOK_AGAIN_AFTER
                    deliveries.postponed(item.id, failure.message, due)
                return True
        if found.remedy is Remedy.READ_IDENTITY:
            self.around.read_identity()
        return False

    def _book_anew(self, item: RecordingToSend, trouble: str) -> None:
        wait = full_jitter(self.around.retry, item.refusals + 1, self.around.draw)
        due = self.around.clock.monotonic() + wait
        self.around.ledger.deliveries.book_anew(item.id, item.call_id, trouble, due)
        self.around.bells.records.ring()

    def _open(self, item: RecordingToSend) -> BinaryIO:
        try:
            return open_recording(self._directory, item.relative)
        except (OSError, NotARecording) as error:
            reason = getattr(error, "strerror", None) or str(error)
            words = f"its file can't be read: {reason}"
            raise PlatformFailure(FailureKind.FILE_UNREADABLE, words) from error

    def _before_block(self, alive: Alive) -> Callable[[int], None]:
        def before_block(count: int) -> None:
            wait = self._rate.reserve(count)
            alive(wait + self.around.longest_request)
            if self._stop.wait(wait) if wait > 0 else self._stop.is_set():
                raise PlatformFailure(FailureKind.ABANDONED, "the agent is stopping")

        return before_block
