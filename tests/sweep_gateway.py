"""The crash sweep's gateway: the real parts, wired as `agent.gateway` does, in one thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from agent.boards.driver import BoardOptions
from agent.boards.events import DialAnswer
from agent.boards.native import NativeDriver
from agent.clock import SystemClock, TrustedClock
from agent.delivery.bells import Bells
from agent.delivery.gate import Gate
from agent.delivery.lane import Surroundings
from agent.delivery.rate import RateLimit
from agent.delivery.recordings import RecordingLane
from agent.delivery.records import RecordLane
from agent.delivery.window import UploadWindow
from agent.errands import Errands
from agent.functions import Functions
from agent.intake import Intake
from agent.ledger import open_ledger
from agent.ledger.rows import RecordingToSend, StoredCall
from agent.recordings.matching import Recorded
from agent.recordings.names import RecordingNames
from agent.settings import Platform, Recordings, Retry
from agent.switchboard import Switchboard
from agent.upkeep import Upkeep
from tests.rooms import SOUND_DISK, finished, unspread
from tests.sweep_cuts import Cuts, CuttableClient, PowerCut, cuttable_ledgers
from tests.sweep_script import ATTACH_WINDOW, POLLS
from tests.sweep_world import CHANNELS, World

BOARD = 1
LONGEST_TURN = 5.0
"""Seconds between two rounds of the gateway, as the board's beat."""
MOST_ROUNDS = 200
"""Rounds after which a run that does not come to rest has run wild."""
TIDY_AGAIN = 20.0
"""Seconds between two looks for files that are to go."""
RETRY = Retry(first=2.0, longest=60.0)


class Gateway:
    """One life of the gateway, from power on."""

    def __init__(self, world: World, cuts: Cuts) -> None:
        self._world = world
        self._cuts = cuts
        self.client = CuttableClient(
            Platform(url=world.platform.url, connect_timeout=5.0, read_timeout=10.0),
            lambda: world.satellite,
            SystemClock(),
            lambda answer: self._time.hear(answer.time),
            cuts,
        )
        with cuttable_ledgers(cuts):
            self.ledger = open_ledger(world.state, world.clock)
        try:
            self._begin(world)
        except PowerCut:
            self.drop()
            raise

    def _begin(self, world: World) -> None:
        """As `Gateway.__init__` of the agent: the parts on what earlier lives have left."""
        clock, settings = world.clock, self._recording_settings()
        self._time = TrustedClock(clock, lambda: True)
        self._bells = Bells()
        self._stop = threading.Event()
        self._names = RecordingNames(settings.patterns, UTC)
        self.ledger.deliveries.begin_waiting(ATTACH_WINDOW, new_boot=self.ledger.new_boot)
        self._switchboard = Switchboard(
            {BOARD: CHANNELS},
            self.ledger,
            clock,
            self._time,
            ATTACH_WINDOW,
            on_change=self._ports_changed,
            on_calls=self._calls_changed,
            on_dial_answer=self._dial_answered,
            on_end=lambda number: self._records.call_ended(number),  # noqa: PLW0108 - made below
        )
        self._make_collection(settings)
        self._records, self._recordings = self._make_lanes()
        self._errands = Errands(
            self.ledger,
            self._switchboard,
            clock,
            60.0,
            Functions(self.ledger, clock, {"note": self._function}, {}),
            dial=self._dial,
            shown=str,
        )
        self._errands.recover()
        self._driver = NativeDriver(BoardOptions(BOARD, CHANNELS), clock.monotonic)
        self._driver.opened()
        self._polls = [world.began + seconds for seconds in POLLS]
        self._poll_at = self._tidy_at = clock.wall()

    def round(self) -> float:
        """Do all that is due now; return the seconds until something may be due again."""
        if self._settings.after_upload != self._world.after_upload:
            self._make_collection(self._recording_settings())
        self._talk_with_board()
        self._scan()
        waits = self._keep_house()
        waits += [self._drain(self._records), self._drain(self._recordings)]
        waits.append(self._poll())
        self._talk_with_board()
        if self._world.clock.wall() >= self._tidy_at:
            self._tidy_at = self._world.clock.wall() + TIDY_AGAIN
            self._upkeep.tidy()
        return min(LONGEST_TURN, *(wait for wait in waits if wait is not None))

    @property
    def at_rest(self) -> bool:
        """Nothing waits, in the ledger and at the board."""
        counts = self.ledger.queue.counts(attention_after=1)
        waiting = counts.records_waiting + counts.files_waiting + counts.missing
        return not waiting and not self.ledger.calls.open_calls() and self._errands.due() is None

    def drop(self) -> None:
        """Let go of what a dead process would not hold any more."""
        self.client.close()
        self.ledger.close()

    def _recording_settings(self) -> Recordings:
        world = self._world
        return Recordings(
            directory=str(world.recordings),
            attach_window=ATTACH_WINDOW,
            after_upload="delete" if world.after_upload == "delete" else "keep",
        )

    def _make_collection(self, settings: Recordings) -> None:
        world, self._settings = self._world, settings
        self._intake = Intake(
            settings,
            self._names,
            self.ledger,
            world.clock,
            self._time,
            [BOARD],
            shown=str,
            on_new=self._bells.ring,
        )
        self._upkeep = Upkeep(
            settings, self.ledger, world.clock, self._time, disk=lambda: SOUND_DISK, shown=str
        )

    def _make_lanes(self) -> tuple[RecordLane, RecordingLane]:
        clock = self._world.clock
        around = Surroundings(
            ledger=self.ledger,
            clock=clock,
            gate=Gate(RETRY, clock, self._bells.ring, lambda: 1.0),
            spread=unspread(clock),
            retry=RETRY,
            bells=self._bells,
            duplicate_status=frozenset(),
            read_identity=lambda: self._world.satellite,
            longest_request=60.0,
            draw=lambda: 1.0,
        )
        records = RecordLane(
            around,
            self._time,
            lambda: self._world.satellite,
            lambda stored: self._intake.being_recorded(stored, ()),
            self._recordings_of,
        )
        recordings = RecordingLane(
            around,
            self._world.recordings,
            UploadWindow(None, lambda: datetime.fromtimestamp(clock.wall(), UTC)),
            RateLimit(0, clock),
            self._stop,
            sound=lambda: True,
            shown=str,
            look_again=lambda: None,
            after=self._after_delivery,
        )
        return records, recordings

    def _ports_changed(self) -> None:
        self._errands.port_changed()

    def _calls_changed(self) -> None:
        self._intake.match_waiting()

    def _dial_answered(self, board: int, answer: DialAnswer) -> None:
        self._errands.answered(board, answer)

    def _recordings_of(self, stored: StoredCall) -> list[Recorded]:
        return self._intake.recordings_of(stored)

    def _after_delivery(self, item: RecordingToSend) -> None:
        self._upkeep.after_delivery(item)

    def _talk_with_board(self) -> None:
        """As the link does: read, judge, tell, and send, until the board has no more to say."""
        world, driver = self._world, self._driver
        world.tell_board(driver.poll())
        while data := world.heard():
            stamp = world.clock.stamp()
            events = driver.feed(data)
            if not self._switchboard.is_up(BOARD):
                self._switchboard.link(BOARD, True, stamp)
            if driver.in_step:
                self._switchboard.heard(BOARD, stamp)
            self._switchboard.hear(BOARD, events, stamp)
            world.tell_board(driver.poll())

    def _dial(self, _board: int, channel: int, phone: str) -> None:
        line = self._driver.dial(channel, phone)
        with self._cuts.around("order to dial"):
            self._world.tell_board(line)

    def _function(self, _parameters: Mapping[str, str]) -> str:
        with self._cuts.around("function"):
            self._world.functions_run += 1
        return "noted"

    def _scan(self) -> None:
        """As the watcher does: every file that the ledger does not know is told."""
        directory = self._world.recordings
        found = {path.name: path.stat() for path in sorted(directory.iterdir())}
        keys = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found.items()]
        known = self._intake.known(keys)
        fresh = [finished(directory, key[0], self._names) for key in keys if key not in known]
        if fresh:
            self._intake.take(fresh)

    def _keep_house(self) -> list[float | None]:
        self._switchboard.tick()
        waits = [self._intake.match_waiting()]
        self._errands.pump()
        return [*waits, self._errands.due(), self.ledger.settle()]

    def _drain(self, lane: RecordLane | RecordingLane) -> float:
        for _ in range(MOST_ROUNDS):
            wait = lane.step(self.client, self._stop, lambda _: None)
            if wait > 0:
                return wait
        raise AssertionError(f"the lane of {lane.kind}s does not come to rest")

    def _poll(self) -> float | None:
        now = self._world.clock.wall()
        if now >= self._poll_at:
            self._errands.take("getCallList", self.client.calls())
            self._errands.take("getMessageList", self.client.messages())
            self._poll_at = min((at for at in self._polls if at > now), default=float("inf"))
        return self._poll_at - now
