"""The long life: four months of calls through the real gateway, in minutes, on a clock that leaps.

Real are the driver, the switchboard, the ledger on a file, the watcher, the intake, the lanes with
their connections, reports and polls, upkeep, the status file and the log: the gateway as the daemon
builds it, in this process. Only two threads are left out, as they wait by the machine's clock: the
board's link (the driver is fed by hand) and upkeep's (it is called by hand). The platform is a
process of its own, so that what it keeps is not taken for the gateway's.

Ten times the process and its state are measured. Exit status 0 only where, once the month of
history that the ledger keeps has passed, nothing grew any more, and every call and recording was
booked once.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from agent.config import load
from agent.gateway import Gateway
from agent.ledger import Ledger, open_ledger
from agent.logs import Phones, set_up
from agent.parts import Part
from agent.settings import Settings
from agent.simulation.command import say
from agent.simulation.demo_parts import PartFailed, Parts
from agent.simulation.journal import JournalFollower
from agent.simulation.long_life_measures import HEADING, POINTS, Measure, growth, measure
from agent.simulation.long_life_office import LeapingClock, Office
from agent.status import StatusFile, as_json
from agent.switchboard import Switchboard

SATELLITE = "02:00:00:00:00:01"
PORTS = 8
DAYS = 120.0
"""The life's length, however many calls it has."""
KEEP_DAYS = 5.0
"""Days for which delivered recordings stay, in the configuration."""
DEFAULT_CALLS, FEWEST_CALLS, MOST_CALLS = 40_000, 1_000, 1_000_000
"""40,000 take seven minutes on two cores that have other work too; 50,000 took eight and a half."""
LONGEST_REQUEST = 86_400.0
"""Seconds of the leaping clock for one request: the most that can be configured. No leap is half
as long, and a request takes milliseconds: so none is taken for one that got no answer."""
LONGEST_LEAP = LONGEST_REQUEST / 3
LEAP_PAUSE = 0.005
"""Seconds between two leaps, in which what is under way may end."""
LOOK_PAUSE = 0.02
"""Seconds between two looks at a queue that is too long."""
UPKEEP_EVERY = 4 * 3600.0
"""Seconds between two rounds of upkeep; by itself it makes one a minute."""
MOST_WAITING = 48
"""Records and recordings that may wait before the office makes its next calls."""
DRAIN_WITHIN = 60.0
"""Seconds for what waits to be delivered; it takes a fraction of one."""
READY_WITHIN = 30.0
"""Seconds for the platform to start, on a loaded machine."""
MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
ROOM_NEEDED = 2 * 1024**3
"""Bytes free in memory for a life there: a call and its recording take 12 KiB at both ends."""


class LongGateway(Gateway):
    """The gateway without the threads that wait by the machine's clock; driven by hand."""

    def _parts(self) -> list[Part]:
        by_hand = {*self._lines.parts, self._collection.parts[-1]}
        return [part for part in super()._parts() if part not in by_hand]

    @property
    def switchboard(self) -> Switchboard:
        """What the board speaks to."""
        return self._lines.switchboard

    def tidy(self) -> None:
        """Make one round of upkeep."""
        self._collection.upkeep.tidy()


class LongLife:
    """One life in one folder."""

    def __init__(self, folder: Path, calls: int, seed: int) -> None:
        self._folder = folder
        self._calls = calls
        self._parts = Parts(folder)
        self._recordings = folder / "recordings"
        self._clock = LeapingClock()
        self._office = Office(self._clock, PORTS, self._recordings, seed)
        self._status_file = StatusFile(folder / "status.json")
        self._upkeep_due = 0.0
        self.measures: list[Measure] = []

    def run(self) -> list[str]:
        """Live; return what was wrong. Raises PartFailed."""
        try:
            settings = self._begin()
            with (self._folder / "log").open("w", encoding="utf-8") as log:
                phones = set_up(settings.log.level, settings.log.phones, log, False).phones
                self._live(settings, phones)
        finally:
            self._parts.stop_all()
        return growth(self.measures) + self._booking_errors()

    def _begin(self) -> Settings:
        self._recordings.mkdir()
        self._parts.start(
            "platform",
            *("simulate", "platform", "--listen", "127.0.0.1:0"),
            *("--directory", self._folder / "platform"),
        )
        url = self._parts.first_line("platform", READY_WITHIN).removeprefix("listening on ")
        path = self._folder / "config.yaml"
        path.write_text(yaml.safe_dump(self._configuration(url), sort_keys=False), "utf-8")
        return load(path, {})

    def _live(self, settings: Settings, phones: Phones) -> None:
        state = Path(settings.state_directory)
        state.mkdir()
        ledger = open_ledger(state, self._clock)
        gateway = LongGateway(
            settings,
            ledger,
            self._clock,
            phones,
            on_change=lambda: None,
            synchronised=lambda: True,
        )
        gateway.start()
        try:
            self._office.open(gateway.switchboard)
            say(HEADING)
            for point in range(1, POINTS + 1):
                self._make_calls(self._calls * point // POINTS, gateway, ledger)
                self._measure(state)
        finally:
            gateway.stop()
            ledger.close()

    def _make_calls(self, until: int, gateway: LongGateway, ledger: Ledger) -> None:
        pause = DAYS * 86_400 * PORTS / self._calls
        while self._office.calls < until:
            began = self._clock.monotonic()
            self._office.make_calls(min(PORTS, until - self._office.calls))
            gateway.keep_house()
            self._let_drain(gateway, ledger, MOST_WAITING)
            self._leap(max(0.0, pause - (self._clock.monotonic() - began)))
            self._status_file.write(as_json(gateway.status()))
            if self._clock.monotonic() >= self._upkeep_due:
                self._upkeep_due = self._clock.monotonic() + UPKEEP_EVERY
                gateway.tidy()
        self._let_drain(gateway, ledger, 0)

    def _let_drain(self, gateway: LongGateway, ledger: Ledger, most: int) -> None:
        deadline = time.monotonic() + DRAIN_WITHIN
        while True:
            queue = ledger.queue.counts(1)
            if queue.records_waiting + queue.files_waiting <= most:
                return
            if time.monotonic() > deadline:
                raise PartFailed(f"the queue does not drain: {queue}; see {self._folder / 'log'}")
            self._parts.watch()
            time.sleep(LOOK_PAUSE)
            self._clock.leap(LOOK_PAUSE)
            gateway.keep_house()

    def _leap(self, seconds: float) -> None:
        while seconds > 0:
            self._clock.leap(min(seconds, LONGEST_LEAP))
            seconds -= LONGEST_LEAP
            time.sleep(LEAP_PAUSE)

    def _measure(self, state: Path) -> None:
        gc.collect()
        day = self._clock.age / 86_400
        self.measures.append(measure(self._office.calls, day, state, self._recordings))
        say(self.measures[-1].line())

    def _booking_errors(self) -> list[str]:
        """Compare in figures: records and files at the platform against calls and recordings."""
        lines = JournalFollower(self._folder / "platform" / "platform.jsonl").lines()
        booked = Counter(line["event"] for line in lines)
        wanted = {"record": self._office.calls, "file": self._office.recorded}
        errors = [
            f"{booked[event]} {event}s are booked, not {count}"
            for event, count in wanted.items()
            if booked[event] != count
        ]
        log = self._parts.log("platform").read_text("utf-8", "replace").splitlines()
        return errors + [line for line in log if line.startswith("violation:")]

    def _configuration(self, url: str) -> dict[str, Any]:
        return {
            "identity": {"satellite": SATELLITE},
            "platform": {"url": url, "read_timeout": LONGEST_REQUEST},
            "boards": [{"port": str(self._folder / "no-port"), "channels": PORTS}],
            "recordings": {
                "directory": str(self._recordings),
                "keep_days": KEEP_DAYS,
                "keep_free_percent": 0,
                # Events tell of each file; a look at all of them once a day.
                "scan": 86_400,
            },
            "state_directory": str(self._folder / "state"),
            "status_file": str(self._folder / "status.json"),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Live; 0 only where nothing grows and nothing is missing."""
    parser = argparse.ArgumentParser(
        prog="scripts/long-life",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--calls", type=_calls, default=DEFAULT_CALLS, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other calls")
    parser.add_argument(
        "--directory",
        type=Path,
        help="where to live; without it in memory where there is room: a call waits for"
        " the disk four times, and a real one makes the life many times as long",
    )
    options = parser.parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="smarttel-long-life-", dir=_place(options.directory)))
    say(f"{options.calls} calls in {DAYS:g} days, in {folder}")
    well = False
    try:
        well = _run(LongLife(folder, options.calls, options.seed))
    except KeyboardInterrupt:
        say("stopped; all processes have ended")
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    if well:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"its log, state and recordings: {folder}")
    return 0 if well else 1


def _run(life: LongLife) -> bool:
    began = time.monotonic()
    try:
        errors = life.run()
    except (PartFailed, OSError) as failure:
        say(f"The long life failed: {failure}")
        return False
    for error in errors:
        say(f"  {error}")
    took = time.monotonic() - began
    verdict = "not flat, or not complete" if errors else "flat, pruned, and every call booked once"
    say(f"{verdict}; {took:.0f} seconds, {threading.active_count()} threads left")
    return not errors


def _place(asked: Path | None) -> Path | None:
    if asked is None and MEMORY_DISK.is_dir():
        return MEMORY_DISK if shutil.disk_usage(MEMORY_DISK).free >= ROOM_NEEDED else None
    return asked


def _calls(text: str) -> int:
    if not text.isdigit() or not FEWEST_CALLS <= int(text) <= MOST_CALLS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number from {FEWEST_CALLS} to {MOST_CALLS}"
        )
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
