"""A delivery lane for tests: a real ledger, real files, a real HTTP platform, a clock by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.clock import SystemClock, TrustedClock
from agent.delivery.bells import Bells
from agent.delivery.gate import Gate
from agent.delivery.lane import Surroundings
from agent.delivery.rate import RateLimit
from agent.delivery.recordings import RecordingLane
from agent.delivery.records import RecordLane
from agent.delivery.spread import Spread, Usual
from agent.delivery.window import UploadWindow
from agent.ledger import Ledger, open_ledger
from agent.ledger.rows import QueueItem, StoredCall
from agent.platform.client import PlatformClient
from agent.recordings.matching import Recorded
from agent.recordings.names import RecordingNames
from agent.settings import Platform, Retry
from agent.simulation.platform import SimulatedPlatform
from tests.audio_files import pcm
from tests.clocks import HandClock
from tests.ledgers import add_recording

SATELLITE = "00:1A:2B:3C:4D:5E"
RETRY = Retry(first=2.0, longest=900.0, configuration_probe=180.0)
USUAL_REQUESTS = 1 / 30 + 1 / 10 + 1 / 5
"""Reports and polls a second, with the intervals as they come."""
DUPLICATE = 3999
"""The code that these platforms are configured to answer repeats with."""
MOST_STEPS = 200
"""Steps after which a lane that does not come to rest has run wild."""


class WatchedPlatform(SimulatedPlatform):
    """Remembers every record and file that came whole, whatever was answered."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.bodies: list[str] = []
        """Of records, as they came."""
        self.uploads: list[tuple[str, str]] = []
        """Callid and SHA-256 of files."""
        self.on_request: Callable[[], None] = lambda: None
        """Called in the server's thread with each of them, before it is answered."""
        desk = self.desk
        prepare, prepare_file = desk.prepare, desk.prepare_file

        def watched(command: str, form: Mapping[str, str], body: str) -> Any:
            self.bodies.append(body)
            self.on_request()
            return prepare(command, form, body)

        def watched_file(upload: Any) -> Any:
            self.uploads.append((upload.form["callid"], upload.file.sha256))
            self.on_request()
            return prepare_file(upload)

        desk.prepare = watched  # type: ignore[method-assign]
        desk.prepare_file = watched_file  # type: ignore[method-assign]


class Stop(threading.Event):
    """An order to stop; waiting for it takes no time, and is told to the test."""

    def __init__(self) -> None:
        super().__init__()
        self.on_wait: Callable[[], None] = lambda: None
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.on_wait()
        return self.is_set()


@dataclass
class Bench:
    """Everything that a lane stands in."""

    ledger: Ledger
    platform: WatchedPlatform
    client: PlatformClient
    clock: HandClock
    time: TrustedClock
    gate: Gate
    bells: Bells
    stop: Stop
    directory: Path
    around: Surroundings
    identity: list[str | None]
    """What the gateway's MAC address is now; tests change its one element."""

    def records(self, growing: bool = False) -> RecordLane:
        names = RecordingNames(["{start:%Y%m%d-%H%M%S}_{phone}"], UTC)

        def recordings_of(stored: StoredCall) -> list[Recorded]:
            return [
                Recorded(names.facts(file.relative), duration, file.modified_ns / 1e9)
                for file, duration in self.ledger.recordings.of_call(stored.id)
            ]

        return RecordLane(
            self.around, self.time, lambda: self.identity[0], lambda _: growing, recordings_of
        )

    def recordings(self, window: str | None = None, **changes: Any) -> RecordingLane:
        self.looked_again = 0
        self.handed_on: list[int] = []

        def look_again() -> None:
            self.looked_again += 1

        wanted: dict[str, Any] = {
            "sound": lambda: True,
            "shown": str,
            "look_again": look_again,
            "after": lambda item: self.handed_on.append(item.id),
            **changes,
        }
        return RecordingLane(
            self.around,
            self.directory,
            UploadWindow(window, lambda: datetime.fromtimestamp(self.clock.wall(), UTC)),
            RateLimit(0, self.clock),
            self.stop,
            **wanted,
        )

    def client_of_its_own(self) -> PlatformClient:
        """A connection for another worker; to be closed."""
        settings = Platform(url=self.platform.url, connect_timeout=5.0, read_timeout=10.0)
        return PlatformClient(settings, lambda: self.identity[0] or "", SystemClock())

    def step(self, lane: RecordLane | RecordingLane) -> float:
        return lane.step(self.client, self.stop, lambda _: None)

    def drain(self, lane: RecordLane | RecordingLane) -> float:
        """Let a lane work until it rests; return for how long it would."""
        for _ in range(MOST_STEPS):
            wait = self.step(lane)
            if wait > 0:
                return wait
        raise AssertionError(f"the lane did not come to rest in {MOST_STEPS} steps")

    def file(self, call_id: int | None, name: str = "call.wav", content: bytes = b"") -> int:
        """Put a recording into the directory and into the ledger; no two are alike."""
        path = self.directory / name
        path.write_bytes(content or pcm(0.1 + 0.01 * len(list(self.directory.iterdir()))))
        found = path.stat()
        return add_recording(
            self.ledger, call_id, name, size=found.st_size, modified_ns=found.st_mtime_ns
        )

    def item(self, number: int) -> QueueItem:
        return next(item for item in self.ledger.queue.find(number) if item.id == number)


@contextmanager
def bench_in(folder: Path, draw: Callable[[], float] = lambda: 1.0) -> Iterator[Bench]:
    """A bench in an empty folder; `draw` gives the jitter, and without it the longest wait."""
    state, directory = folder / "state", folder / "recordings"
    state.mkdir()
    directory.mkdir()
    clock = HandClock()
    identity: list[str | None] = [SATELLITE]
    bells = Bells()
    platform = WatchedPlatform(folder / "platform")
    with platform:
        # A time-out ends a stalled request by the machine's own clock.
        settings = Platform(url=platform.url, connect_timeout=5.0, read_timeout=10.0)
        client = PlatformClient(settings, lambda: identity[0] or "", SystemClock())
        ledger = open_ledger(state, clock)
        spread = Spread(
            Usual(
                USUAL_REQUESTS,
                30.0,
                lambda seconds: ledger.calls.ended_since(clock.wall() - seconds),
                ledger.queue.waiting,
            ),
            clock,
            draw,
        )
        gate = Gate(RETRY, clock, bells.ring, draw, reopened=spread.begin)
        around = Surroundings(
            ledger=ledger,
            clock=clock,
            gate=gate,
            spread=spread,
            retry=RETRY,
            bells=bells,
            duplicate_status=frozenset({DUPLICATE}),
            read_identity=lambda: identity[0],
            longest_request=60.0,
            draw=draw,
        )
        try:
            yield Bench(
                ledger,
                platform,
                client,
                clock,
                TrustedClock(clock, lambda: clock.wall() > clock_is_set),
                gate,
                bells,
                Stop(),
                directory,
                around,
                identity,
            )
        finally:
            client.close()
            ledger.close()


clock_is_set = 1_704_067_200.0
"""Where the wall clock shows a likely time, these tests hold it to be NTP's."""
