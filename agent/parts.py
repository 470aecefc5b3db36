"""Threads that the daemon can rely on: they beat, they are restarted, they stop when asked."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from msgspec import Struct

from agent.clock import Clock

RESTART_AFTER = 5.0
"""Seconds before a part that failed begins anew: long enough for its cause to pass, or be seen."""

FAILING_FOR = 60.0
"""Seconds for which a failure is shown: a part that fails each time it begins is seen to."""

Alive = Callable[[float], None]
"""Says: I live, and will say so again within this many seconds."""
Body = Callable[[threading.Event, Alive], None]
"""What a part does: returns when the event is set; calls the other before anything long."""

log = logging.getLogger(__name__)


class Bell:
    """Wakes whoever waits; a ring while nobody waits is not lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rings = 0
        self._waiting: list[threading.Lock] = []
        """Of each thread that waits, the lock that it can't get: a Condition does the same in four
        times as much code, which an idle gateway would run at each wait."""

    def ring(self) -> None:
        """Wake all who wait, and the next wait of those who heard fewer rings."""
        with self._lock:
            self._rings += 1
            for each in self._waiting:
                each.release()
            self._waiting.clear()

    @property
    def rings(self) -> int:
        """How often it rang; to be read before looking at what the ring tells of."""
        return self._rings

    def wait(self, heard: int, seconds: float) -> None:
        """Wait until it has rung more often than `heard`, or for so many seconds."""
        mine = threading.Lock()
        mine.acquire()
        with self._lock:
            if self._rings != heard:
                return
            self._waiting.append(mine)
        if not mine.acquire(timeout=max(0.0, seconds)):
            with self._lock:
                if mine in self._waiting:
                    self._waiting.remove(mine)


class Nudge:
    """Wakes one thread, from any other or from a signal's handler.

    A handler runs in between two instructions of the main thread. Where that one just holds the
    lock of an Event, a handler that sets it would wait for ever; a SimpleQueue may be put into at
    any moment.
    """

    def __init__(self) -> None:
        self._nudges: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """End the present wait, or the next one."""
        if self._nudges.empty():
            self._nudges.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for so many seconds at most; tell whether it was nudged."""
        try:
            self._nudges.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        return True

    def clear(self) -> None:
        """Forget what came since."""
        # One thread takes them, so what is there stays there until it does.
        while not self._nudges.empty():
            self._nudges.get_nowait()


class PartView(Struct, frozen=True):
    """A part as the health check sees it."""

    name: str
    alive: bool
    failures: int
    last_failure: str
    failing: bool = False
    """True: it failed a moment ago, and may again."""


class Part:
    """One thread with one job. A job that fails begins anew; one that ends early does too."""

    def __init__(
        self, name: str, body: Body, clock: Clock, wake: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self._body = body
        self._clock = clock
        self._wake = wake
        self.stop = threading.Event()
        """Set when the job is to end."""
        self._running = False
        self._deadline = float("inf")
        self._failures = 0
        self._last_failure = ""
        self._failed_at = float("-inf")
        self._well = PartView(name, alive=True, failures=0, last_failure="")
        # Daemonic: a thread caught in a silent network must not hold up the end of the process.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin the job."""
        self.beat(RESTART_AFTER * 2)
        self._running = True
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Ask the job to end; returns at once."""
        self.stop.set()
        if self._wake is not None:
            self._wake()

    def ended(self, within: float) -> bool:
        """Wait for the job's end for so many seconds; tell whether it came."""
        self._thread.join(max(0.0, within))
        return not self._thread.is_alive()

    def view(self) -> PartView:
        """Whether the job lives, and how often it failed."""
        now = self._clock.monotonic()
        alive = now <= self._deadline and self._running
        if alive and not self._failures:
            return self._well
        failing = now - self._failed_at < FAILING_FOR
        return PartView(self.name, alive, self._failures, self._last_failure, failing)

    def beat(self, within: float) -> None:
        """Say that the job lives, and will say so again within so many seconds."""
        self._deadline = self._clock.monotonic() + within

    def _run(self) -> None:
        try:
            self._go_on()
        finally:
            self._running = False

    def _go_on(self) -> None:
        while not self.stop.is_set():
            try:
                self._body(self.stop, self.beat)
                if self.stop.is_set():
                    return
                failure = "ended without being asked"
                log.error("%s %s; it begins anew in %g s", self.name, failure, RESTART_AFTER)
            except Exception as error:  # whatever it is, the others go on
                failure = f"{type(error).__name__}: {error}"
                log.exception("%s failed; it begins anew in %g s", self.name, RESTART_AFTER)
            self._failures += 1
            self._last_failure = failure
            self._failed_at = self._clock.monotonic()
            self.beat(RESTART_AFTER * 2)
            self.stop.wait(RESTART_AFTER)
