"""Plays a recorded line back on a pseudo-terminal, at true or at another speed.

What was heard in the field is heard again: byte for byte, in the pieces and with the pauses of
then. What the host says to it is taken and not answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from agent.boards.recorded import BadRecording, Heard, read
from agent.clock import Clock, SystemClock
from agent.simulation.command import say, signals_held, wait_for_signal
from agent.simulation.pty_link import PtyLink

SETTLE = 0.3
"""Seconds after the host opened the port until the first byte: opening may throw bytes away."""
LOOK = 0.05
"""Seconds between two looks whether the host has opened the port; nothing tells it."""


class Replay:
    """A recording on a pty: `start()`, `stop()`; it begins when a host opens the port."""

    def __init__(
        self,
        recording: Path,
        link: Path,
        speed: float = 1.0,
        *,
        clock: Clock | None = None,
        announce: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`speed`: 1 as it was, 10 ten times as fast."""
        self._recording = recording
        self._speed = speed
        self._link = PtyLink(link, keeps_open=False)
        self._clock = clock or SystemClock()
        self._announce = announce
        self._stop = threading.Event()
        self.over = threading.Event()
        """Set when all was played, or could not be."""
        self.played = 0
        """Bytes so far."""
        self._thread = threading.Thread(target=self._run, name="replay")

    def start(self) -> None:
        """Make the pty. Raises BadRecording for a file that is none, and OSError."""
        first = next(read(self._recording), None)
        if first is None:
            raise BadRecording("nothing was heard in it")
        self._link.plug_in()
        self._thread.start()

    def stop(self) -> None:
        """End it; what was not played yet is not."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._link.unplug()

    def __enter__(self) -> Replay:
        self.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._link.has_host:
            if self._stop.wait(LOOK):
                return
        if self._stop.wait(SETTLE):
            return
        try:
            self._play()
        except (BadRecording, OSError) as error:
            self._announce(f"the recording can be played no further: {error}")
        self.over.set()

    def _play(self) -> None:
        began = self._clock.monotonic()
        pieces = read(self._recording)
        first = next(pieces)
        # The silence before the first byte is that of whoever began to record.
        for heard in chain([first], pieces):
            if not self._wait(heard, first.at, began):
                return
            self._link.read()
            self._send(heard.data)
        self._announce(
            f"the recording is over: {self.played} bytes in {self._clock.monotonic() - began:.1f} s"
        )

    def _send(self, data: bytes) -> None:
        """Send all of it: a host that is slower than the speed asked for loses nothing."""
        while data and not self._stop.is_set():
            written = self._link.write_some(data, LOOK)
            data = data[written:]
            self.played += written

    def _wait(self, heard: Heard, first: float, began: float) -> bool:
        """Wait until it is its turn; False: it is not wanted any more."""
        due = began + (heard.at - first) / self._speed
        return not self._stop.wait(max(0.0, due - self._clock.monotonic()))


def run(recording: Path, link: Path, speed: float) -> int:
    """Play until SIGINT or SIGTERM; the port stays when the recording is over."""
    if not 0 < speed <= 1e6:
        say(f"--speed is a number above 0, such as 10, not {speed:g}")
        return 2
    replay = Replay(recording, link, speed, announce=say)
    with signals_held():
        try:
            replay.start()
        except (BadRecording, OSError) as error:
            say(f"{recording} cannot be played at {link}: {error}")
            return 1
        try:
            say(f"the recorded line at {link}; it begins when a host opens the port")
            wait_for_signal()
        finally:
            replay.stop()
    return 0
