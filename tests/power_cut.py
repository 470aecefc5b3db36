"""Power cuts under the ledger's file system: `scripts/power-cut [--cuts 100] [--seed N]`.

A worker process does ledger work on a disk that forgets what was not synchronised, and tells each
step once it is durable. At a change drawn by lot the disk stops for ever and the worker is killed;
the next one opens the ledger on what survived. The ledger must open, undamaged, and hold every step
that was told; of those that nobody waited for, the latest may be undone, without a hole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.forgetful import ForgetfulFolder
from tests.fuse import FolderServer, NoFuse, require_fuse

LIVES_OF_A_LEDGER = 6
"""Cuts after which a new ledger begins, so that its making is cut too."""
MOST_CHANGES = 3000
"""Changes on the disk after which power fails at the latest: several checkpoints of the ledger."""
PATIENCE = 60.0
"""Seconds for one life; it takes a fraction of one."""


@dataclass
class Figures:
    """What came of all cuts."""

    cuts: int = 0
    steps: int = 0
    """Told as durable."""
    soft: int = 0
    """Steps that nobody had waited for as power failed."""
    undone: int = 0
    """Of these, how many it undid."""
    changes: int = 0
    """Writes, synchronisations and changed entries that the disk took."""
    at: Counter[str] = field(default_factory=Counter)
    """In the middle of what the disk was stopped."""
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """All in one line."""
        kinds = ", ".join(f"{count} {name}" for name, count in sorted(self.at.items()))
        return (
            f"{self.cuts} cuts ({kinds}), {self.changes} changes on the disk,"
            f" {self.steps} steps told as durable, {self.undone} of {self.soft} soft ones undone,"
            f" {len(self.faults)} faults"
        )


class Power:
    """Lets a number of changes through, and kills the worker in the middle of the next."""

    def __init__(self, folder: ForgetfulFolder, chance: random.Random) -> None:
        self.worker: subprocess.Popen[str] | None = None
        self.changes = 0
        self.survivors: ForgetfulFolder | None = None
        """What is left; None: power never failed."""
        self.at = ""
        self._folder = folder
        self._chance = chance
        # As many early cuts, in the making and opening, as late ones in a log of many pages.
        self._last = int(MOST_CHANGES ** chance.random())
        self._before = chance.random() < 0.5

    def before(self, name: str) -> bool:
        """A change begins; False: it does not."""
        self.changes += 1
        return not self._fails(name, before=True)

    def after(self, name: str) -> bool:
        """A change is done; False: nobody will hear of it."""
        return not self._fails(name, before=False)

    def _fails(self, name: str, *, before: bool) -> bool:
        if self.changes < self._last or before != self._before:
            return False
        self.survivors = self._folder.survivor(self._chance)
        self.at = name
        assert self.worker is not None
        os.kill(self.worker.pid, signal.SIGKILL)
        return True


class Ledger:
    """One ledger through its lives, and what is known of it."""

    def __init__(self, at: Path, figures: Figures, synchronous: str) -> None:
        self._at = at
        self._figures = figures
        self._synchronous = synchronous
        self._folder = ForgetfulFolder()
        self._told: dict[int, int] = {}
        self._soft: list[tuple[int, int]] = []
        """Number and stage of steps that a cut may undo, in their order."""
        self._given: set[int] = set()

    def live(self, chance: random.Random) -> None:
        """One life, from opening to the cut."""
        power = Power(self._folder, chance)
        server = FolderServer(self._at, self._folder, power.before, power.after)
        try:
            lines, complaint = self._work(power, chance.randrange(2**32))
        finally:
            server.close()
        if power.survivors is None:
            self._figures.faults.append(f"the worker ended by itself: {complaint[-2000:]}")
            power.survivors = self._folder.survivor(chance)
        self._folder = power.survivors
        self._figures.cuts += 1
        self._figures.changes += power.changes
        self._figures.at[power.at] += 1
        for line in lines:
            self._hear(*json.loads(line))

    def _work(self, power: Power, seed: int) -> tuple[list[str], str]:
        orders = {"seed": seed, "synchronous": self._synchronous, "told": self._told}
        with subprocess.Popen(
            [sys.executable, "-m", "tests.power_cut_worker", str(self._at)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as worker:
            power.worker = worker
            said, complaint = worker.communicate(json.dumps(orders) + "\n", PATIENCE)
        # The last line may have been cut off with the rest.
        return said.split("\n")[:-1], complaint

    def _hear(self, what: str, *more: object) -> None:
        if what == "step":
            number, stage = (int(str(one)) for one in more)
            if stage == 1 and number in self._given:
                self._figures.faults.append(f"number {number} was given out twice")
            self._given.add(number)
            self._told[number] = stage
            self._figures.steps += 1
            self._soft.clear()
        elif what == "soft":
            self._soft.append((int(str(more[0])), int(str(more[1]))))
        elif what == "opened":
            found = more[0]
            assert isinstance(found, dict)
            # A step that was durable and not told counts from now on.
            self._told = {int(number): int(stage) for number, stage in found.items()}
            self._judge_soft()
            self._given |= self._told.keys()
        else:
            self._figures.faults.append(f"{what}: {more[0]}")

    def _judge_soft(self) -> None:
        """Of the steps that nobody waited for, the latest may be undone, and none before others."""
        there = [self._told.get(number, 0) >= stage for number, stage in self._soft]
        if there != sorted(there, reverse=True):
            self._figures.faults.append(f"soft steps survived with a hole: {there}")
        self._figures.soft += len(there)
        self._figures.undone += there.count(False)
        self._soft.clear()


def cut_power(cuts: int, seed: int, synchronous: str = "FULL") -> Figures:
    """Cut power so often. `synchronous` is the ledger's setting of that name. Raises NoFuse."""
    require_fuse()
    figures, chance = Figures(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="power-cut-") as folder:
        ledger = Ledger(Path(folder), figures, synchronous)
        for number in range(cuts):
            if number % LIVES_OF_A_LEDGER == 0:
                ledger = Ledger(Path(folder), figures, synchronous)
            ledger.live(chance)
    return figures


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="scripts/power-cut", description=__doc__)
    parser.add_argument("--cuts", type=int, default=100, help="how often (100)")
    parser.add_argument("--seed", type=int, default=1, help="which cuts (1)")
    arguments = parser.parse_args()
    try:
        figures = cut_power(arguments.cuts, arguments.seed)
    except NoFuse as reason:
        print(f"no power was cut: {reason}", file=sys.stderr)
        return 2
    for fault in figures.faults:
        print(fault)
    print(figures.line())
    return 1 if figures.faults else 0


if __name__ == "__main__":
    sys.exit(main())
