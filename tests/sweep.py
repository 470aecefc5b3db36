"""A run of the crash sweep: the whole script, with power cuts at chosen steps.

What lay in memory is gone, new parts begin on the same files in the daemon's own order, and the
script goes on.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from agent.ledger import FILE_NAME
from agent.ledger.rows import State
from agent.recordings.retention import DeliveredFile, Removal, remove
from tests.sweep_cuts import Cuts, PowerCut
from tests.sweep_gateway import MOST_ROUNDS, Gateway
from tests.sweep_script import write_script
from tests.sweep_world import MoodyPlatform, World


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which the gateway heard nothing; wall times, both ends included."""

    begin: float
    end: float
    known: float
    """What became known of calls that went on is not forgotten where it is older than this."""


class Run:
    """The script from its beginning to its end, with cuts at chosen steps."""

    def __init__(
        self,
        folder: Path,
        platform: MoodyPlatform,
        satellite: str,
        cuts_at: Sequence[int] = (),
        *,
        outage: float = 1.0,
        reboots: bool = False,
        forgets: bool = False,
    ) -> None:
        """`outage`: seconds without power. `reboots`: the monotonic clock begins anew with it.

        `forgets`: of the ledger's log a cut leaves only what was waited for.
        """
        self.world = World(folder, platform, satellite)
        self.cuts = Cuts(
            cuts_at,
            self._keep_state,
            self.world.state / f"{FILE_NAME}-wal",
            self.world.clock.wall,
        )
        self.gaps: list[Gap] = []
        self.undelivered_unlinked: list[str] = []
        """Files that were deleted before the ledger knew, durably, of their delivery."""
        self.may_be_undone: set[str] = set()
        """Errands that had left the platform when power failed, and were not obeyed yet."""
        self._outage = outage
        self._reboots = reboots
        self._forgets = forgets
        self._boots = 1
        self._gateway: Gateway | None = None
        write_script(self.world)

    def play(self) -> None:
        """Play it. Raises what the gateway raises, and AssertionError where it finds no rest."""
        with self._watched_removals():
            try:
                self._play()
            finally:
                self._drop()

    def _play(self) -> None:
        for _ in range(MOST_ROUNDS):
            try:
                gateway = self._gateway = self._gateway or Gateway(self.world, self.cuts)
                wait = gateway.round()
            except PowerCut:
                self._be_without_power()
                continue
            if self._all_is_done(gateway):
                return
            self._let_time_pass(wait)
        raise AssertionError(f"not at rest after {MOST_ROUNDS} rounds: {self.cuts.steps[-5:]}")

    def _drop(self) -> None:
        if self._gateway is not None:
            self._gateway.drop()
            self._gateway = None

    def _all_is_done(self, gateway: Gateway) -> bool:
        fetched = self.world.posted - self.world.waits_at_the_platform
        return self.world.next_at is None and len(fetched) == 2 and gateway.at_rest

    def _let_time_pass(self, wait: float) -> None:
        next_at = self.world.next_at
        if next_at is not None:
            wait = min(wait, next_at - self.world.clock.wall())
        self.world.go_on(max(0.01, wait))

    def _keep_state(self) -> None:
        """Keep the state as the cut leaves it: closing a ledger would tidy its log away.

        Its shared memory is no file that outlives a power cut.
        """
        obeyed = {"dial": bool(self.world.dialled), "function": bool(self.world.functions_run)}
        on_the_way = self.world.posted - self.world.waits_at_the_platform
        self.may_be_undone |= {errand for errand in on_the_way if not obeyed[errand]}
        no_memory = shutil.ignore_patterns("*-shm")
        left = self.world.folder / "left"
        shutil.copytree(self.world.state, left, ignore=no_memory)
        log = left / f"{FILE_NAME}-wal"
        if self._forgets and log.exists():
            os.truncate(log, self.cuts.durable)

    def _be_without_power(self) -> None:
        self._drop()
        world = self.world
        shutil.rmtree(world.state)
        (world.folder / "left").rename(world.state)
        began = known = world.clock.wall()
        if self._forgets and self.cuts.soft_since is not None:
            known = self.cuts.soft_since
        world.go_on(self._outage)
        world.heard()
        if self.gaps and self.gaps[-1].end == began:
            # It had power for hardly a moment in between.
            earlier = self.gaps.pop()
            began, known = earlier.begin, min(known, earlier.known)
        self.gaps.append(Gap(began, world.clock.wall(), known))
        if self._reboots:
            self._boots += 1
            world.clock.start_anew(f"boot {self._boots}")
        self.cuts.power_is_back()

    @contextmanager
    def _watched_removals(self) -> Iterator[None]:
        with patch("agent.upkeep.remove", self._watched_remove()):
            yield

    def _watched_remove(self) -> Callable[[Path, DeliveredFile], Removal]:
        def watched(directory: Path, file: DeliveredFile) -> Removal:
            if not self._is_durably_delivered(file.recording_id):
                self.undelivered_unlinked.append(file.relative)
            with self.cuts.around("unlink"):
                return remove(directory, file)

        return watched

    def _is_durably_delivered(self, number: int) -> bool:
        """Ask as somebody else: what is not committed is not seen."""
        with closing(sqlite3.connect(self.world.state / FILE_NAME)) as ledger:
            sql = "SELECT 1 FROM deliveries WHERE item_id = ? AND state = ?"
            return ledger.execute(sql, (number, State.DELIVERED)).fetchone() is not None
