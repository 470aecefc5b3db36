"""The SIGKILL storm: the real daemon under traffic, killed at random, in bad weather.

A simulated board, recorder and platform live in this process. The daemon is a process of its own:
killed with SIGKILL at moments drawn from a seed, often in the middle of something, and started
again at once, while the platform's faults come and go, the serial line is noisy, and now and then
a call is asked for. In the end the weather clears, the last calls end, the queue drains, and an
account is drawn up; how it judges what no gateway can know stands in `torture_account`.

Exit status 0 only where nothing was lost, doubled or altered, nothing was dialled twice, and the
daemon never ended by itself.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from agent.simulation.board import SimulatedBoard
from agent.simulation.command import say
from agent.simulation.demo_account import HeldFile, digest, made_recordings
from agent.simulation.demo_parts import PartFailed, Parts
from agent.simulation.journal import read
from agent.simulation.platform import SimulatedPlatform
from agent.simulation.recorder import SimulatedRecorder
from agent.simulation.torture_account import StormAccount, judge
from agent.simulation.torture_hearing import listen
from agent.simulation.torture_moments import Moments
from agent.simulation.torture_weather import Weather
from agent.simulation.traffic import Traffic

SATELLITE = "02:00:00:00:00:01"
DAEMON = "daemon"
MOST_KILLS = 10_000
"""The journals of a run are in memory: this many take eight hours."""
MOST_PORTS = 99
CALLS_PER_PORT_AND_MINUTE = 7.0
LONGEST_TALK = 5.0
"""Seconds."""
NOISE = 0.01
"""Share of the board's lines that the cable damages."""
READY_WITHIN = 30.0
"""Seconds for the daemon to speak to the board, on a loaded machine."""
LAST_CALLS_WITHIN = 60.0
"""Seconds for the last calls to end; a few suffice."""
DRAIN_WITHIN = 120.0
"""Seconds for the queue to drain once the weather is clear; ten suffice."""
QUIET = 4.0
"""Seconds without news from the lines before the queue's figures count: longer than a recording
takes into the ledger."""
TURN = 0.1
"""Seconds between two looks."""
TOLD_EVERY = 25
"""Kills between two lines of progress."""


class Storm:
    """One run in one folder."""

    def __init__(self, folder: Path, kills: int, seed: int, ports: int) -> None:
        self._folder = folder
        self._kills = kills
        self._ports = ports
        self._parts = Parts(folder)
        self._recordings = folder / "recordings"
        self._platform = SimulatedPlatform(folder / "platform")
        self._weather = Weather(self._platform, seed, SATELLITE, ports)
        self._traffic: list[Traffic] = []
        self._board = SimulatedBoard(
            folder / "ttyRJ11",
            ports,
            journal=folder / "board.jsonl",
            traffic=self._make_traffic,
            noise=NOISE,
            seed=seed,
        )
        self._moments = Moments(self._platform, self._board, seed)
        self._recorder = SimulatedRecorder(
            folder / "board.jsonl", self._recordings, journal=folder / "recorder.jsonl"
        )
        self._killed: list[float] = []
        """UNIX seconds."""
        self._began = time.monotonic()
        self._seed = seed

    def run(self) -> tuple[StormAccount, str, list[str]]:
        """Storm; return the account, the line of figures, and what else went wrong.

        Raises PartFailed where the daemon ended by itself or never began.
        """
        with self._platform, self._board, self._recorder:
            try:
                self._storm()
                drained = self._clear_up()
                status = self._parts.stop(DAEMON)
            finally:
                self._weather.clear()
                self._parts.stop_all()
        problems = [] if drained else ["the queue did not drain in time"]
        problems += [] if status == 0 else [f"the daemon ended with {status}, not with 0"]
        account = self._account()
        return account, self._figures(account), problems + self._other_problems()

    def _storm(self) -> None:
        self._configure()
        self._start()
        if not self._until(lambda: bool(self._traffic), READY_WITHIN):
            raise PartFailed(
                f"the daemon never spoke to the board; it said last:\n{self._last_words()}"
            )
        self._weather.start()
        for number in range(1, self._kills + 1):
            self._moments.wait()
            self._killed.append(time.time())
            self._parts.kill(DAEMON)
            self._start()
            if number % TOLD_EVERY == 0:
                self._tell(number)

    def _clear_up(self) -> bool:
        """Clear the weather, let the last calls end and the queue drain; False: it did not."""
        self._weather.clear()
        self._traffic[0].finish()
        if not self._until(self._all_idle, LAST_CALLS_WITHIN):
            return False
        last_news = time.time()
        return self._until(
            lambda: self._all_idle() and self._queue_is_empty(since=last_news + QUIET),
            DRAIN_WITHIN,
        )

    def _all_idle(self) -> bool:
        return all(self._board.idle(channel) for channel in range(1, self._ports + 1))

    def _queue_is_empty(self, since: float) -> bool:
        try:
            status = json.loads((self._folder / "status.json").read_text("utf-8"))
        except FileNotFoundError:
            return False
        queue = status["queue"]
        waiting = queue["records_waiting"] + queue["files_waiting"]
        return bool(status["updated"] >= since and waiting == 0)

    def _until(self, reached: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not reached():
            self._parts.watch()
            if time.monotonic() >= deadline:
                return False
            time.sleep(TURN)
        return True

    def _start(self) -> None:
        self._parts.start(DAEMON, "run", "--config", self._folder / "config.yaml")

    def _make_traffic(self, board: SimulatedBoard, now: float) -> Traffic:
        traffic = Traffic(
            board,
            self._ports,
            calls_per_minute=CALLS_PER_PORT_AND_MINUTE * self._ports,
            seed=self._seed,
            now=now,
            longest=LONGEST_TALK,
        )
        self._traffic.append(traffic)
        return traffic

    def _account(self) -> StormAccount:
        return judge(
            listen(read(self._folder / "board.jsonl"), self._killed, self._board.calls),
            made_recordings(self._recordings, read(self._folder / "recorder.jsonl")),
            self._platform.records,
            [
                HeldFile(file, digest(self._platform.file_path(file)))
                for file in self._platform.files
            ],
        )

    def _figures(self, account: StormAccount) -> str:
        figures = {
            "calls": account.calls,
            "records": account.records,
            "files": account.files,
            "lost": len(account.lost),
            "doubled": len(account.doubled),
            "altered": len(account.altered),
            "unheard": account.unheard,
            "sent again": self._platform.repeats + self._platform.repeated_files,
            "booked anew": self._weather.forgotten,
            "asked to dial": len(self._weather.asked),
            "dialled": len(self._board.dials),
            "kills": len(self._killed),
            "down (median)": f"{self._median_silence():.1f} s",
            "seconds": round(time.monotonic() - self._began),
            "seed": self._seed,
        }
        return ", ".join(f"{name} {figure}" for name, figure in figures.items())

    def _median_silence(self) -> float:
        """Seconds from a kill until the board was asked for everything."""
        journal = read(self._folder / "board.jsonl")
        syncs = [line["at"] for line in journal if line["event"] == "sync"]
        return statistics.median(
            min((sync for sync in syncs if sync > kill), default=kill) - kill
            for kill in self._killed
        )

    def _other_problems(self) -> list[str]:
        dialled = Counter(dial.phone for dial in self._board.dials)
        problems = [f"{phone} was dialled {n} times" for phone, n in dialled.items() if n > 1]
        unasked = set(dialled) - set(self._weather.asked)
        problems += [f"{phone} was dialled and never asked for" for phone in unasked]
        problems += [f"violation: {line}" for line in self._platform.violations]
        log = self._parts.log(DAEMON).read_text("utf-8", "replace").splitlines()
        return problems + [line for line in log if _is_alarming(line)]

    def _last_words(self) -> str:
        return self._parts.last_lines(DAEMON)

    def _tell(self, kills: int) -> None:
        print(
            f"{kills} of {self._kills} kills, {len(self._board.calls)} calls,"
            f" {len(self._platform.records)} records, {len(self._platform.files)} files",
            file=sys.stderr,
            flush=True,
        )

    def _configure(self) -> None:
        configuration: dict[str, Any] = {
            "identity": {"satellite": SATELLITE},
            "platform": {"url": self._platform.url, "connect_timeout": 1, "read_timeout": 2},
            "boards": [{"port": self._board.port, "channels": self._ports}],
            "recordings": {
                "directory": str(self._recordings),
                "settle": 0.5,
                "attach_window": 3,
            },
            "reports": {"interval": 2},
            "polls": {"messages": 1, "calls": 0.5},
            "retry": {"first": 0.5, "longest": 2},
            "state_directory": str(self._folder / "state"),
            "status_file": str(self._folder / "status.json"),
        }
        path = self._folder / "config.yaml"
        path.write_text(yaml.safe_dump(configuration, sort_keys=False), "utf-8")


def _is_alarming(line: str) -> bool:
    return "Traceback" in line or "was damaged" in line or "begins anew" in line


def main(arguments: Sequence[str] | None = None) -> int:
    """Storm; 0 only where nothing was lost, doubled, altered or dialled twice."""
    parser = argparse.ArgumentParser(
        prog="scripts/torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=_up_to(MOST_KILLS), default=200, help="default 200")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another storm")
    parser.add_argument("--ports", type=_up_to(MOST_PORTS), default=8, help="RJ11 ports, default 8")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="smarttel-torture-"))
    well = False
    try:
        well = _run(Storm(folder, options.kills, options.seed, options.ports))
    except KeyboardInterrupt:
        say("stopped; all processes have ended")
        well = True
        return 130
    finally:
        if well and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs, journals, recordings and the ledger: {folder}")
    return 0 if well else 1


def _run(storm: Storm) -> bool:
    try:
        account, figures, problems = storm.run()
    except (PartFailed, OSError) as failure:
        say(f"The storm failed: {failure}")
        return False
    for problem in account.differences + problems:
        say(f"  {problem}")
    say(figures)
    return account.agrees and not problems


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdigit() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
