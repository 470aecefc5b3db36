"""The whole gateway on simulated parts, watched as it works, and an account at the end.

Platform, board, recorder and the real daemon run as processes of their own. In the middle the
platform goes away for a few seconds, and a business system asks for a call.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import yaml

from agent.boards.driver import find_driver
from agent.simulation.booking import BookedFile, BookedRecord
from agent.simulation.command import say
from agent.simulation.demo_account import Account, HeldFile, digest, made_recordings, settle
from agent.simulation.demo_parts import PartFailed, Parts
from agent.simulation.demo_story import Story
from agent.simulation.journal import JournalFollower
from agent.simulation.models import MODELS, OPTIONS, PORTS
from agent.simulation.truth import read_call
from agent.text import masked_phone

SATELLITE = "02:00:00:00:00:01"
DIAL_PHONE = "02188886666"
SHORTEST = 10
"""Seconds; in less nothing could ring, talk, be cut off and recover."""
LONGEST = 3600
"""Seconds; all journals are in memory."""
READY_WITHIN = 30.0
"""Seconds for the parts to start, on a slow machine."""
DRAIN_WITHIN = 60.0
"""Seconds for the queue to drain after the last call; it takes a few."""
TURN = 0.2
"""Seconds between two looks at what happened."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Demo:
    """One run in one folder."""

    def __init__(self, folder: Path, seconds: float, seed: int, driver: str = "native") -> None:
        self.folder = folder
        self._driver = driver
        self._channels = PORTS[driver]
        self._seconds = seconds
        self._seed = seed
        self._parts = Parts(folder)
        self._story = Story()
        self._began = time.monotonic()
        self._url = ""
        self._recordings = folder / "recordings"
        self._journals = {
            name: JournalFollower(folder / path)
            for name, path in {
                "board": "board.jsonl",
                "recorder": "recorder.jsonl",
                "platform": "platform/platform.jsonl",
            }.items()
        }
        self._lines: dict[str, list[dict[str, Any]]] = {name: [] for name in self._journals}

    def run(self) -> tuple[Account, list[str]]:
        """Play; return the account and what else went wrong. Raises PartFailed."""
        try:
            self._start()
            self._play()
            drained = self._until(self._settled, DRAIN_WITHIN)
            self._tell("all has arrived" if drained else "not all has arrived in time")
            status = self._parts.stop("daemon")
            self._look()
            problems = [] if status == 0 else [f"the daemon ended with {status}, not with 0"]
        finally:
            self._parts.stop_all()
        self._look()
        return self._account(), problems + self._other_problems()

    def _start(self) -> None:
        self._tell("starting platform, board, recorder and the daemon")
        self._start_platform("127.0.0.1:0")
        talk = min(6.0, self._seconds / 5)
        self._parts.start(
            "board",
            *("simulate", "board", "--driver", self._driver, "--link", self.folder / "ttyRJ11"),
            *("--journal", self.folder / "board.jsonl", "--seed", str(self._seed)),
            *("--calls-per-minute", "36", "--longest", f"{talk:g}"),
            *("--seconds", f"{max(4.0, self._seconds - talk - 6):g}"),
        )
        self._parts.start(
            "recorder",
            *("simulate", "recorder", "--follow", self.folder / "board.jsonl"),
            *("--directory", self._recordings, "--journal", self.folder / "recorder.jsonl"),
        )
        self._parts.first_line("board", READY_WITHIN)
        self._parts.first_line("recorder", READY_WITHIN)
        configuration = self.folder / "config.yaml"
        configuration.write_text(yaml.safe_dump(self._configuration(), sort_keys=False), "utf-8")
        self._parts.start("daemon", "run", "--config", configuration)
        if not self._until(lambda: bool(self._lines["board"]), READY_WITHIN):
            raise PartFailed(
                "the daemon never spoke to the board; it said last:\n"
                + self._parts.last_lines("daemon")
            )

    def _play(self) -> None:
        """Let the calls happen, with the two incidents in between."""
        began = time.monotonic()
        outage = min(6.0, self._seconds / 5)
        down = began + self._seconds * 0.35
        incidents: list[tuple[float, Callable[[], None]]] = [
            (began + self._seconds * 0.1, self._ask_for_a_call),
            (down, self._take_platform_down),
            (down + outage, self._bring_platform_back),
        ]
        for at, incident in incidents:
            self._watch_until(at)
            incident()
        self._watch_until(began + self._seconds)

    def _ask_for_a_call(self) -> None:
        question = {"method": "sendTelCall", "mac": SATELLITE, "channel": self._channels}
        page = f"{self._origin}/voip/api/jsondata.html?{urlencode(question)}"
        with urlopen(page, urlencode({"phone": DIAL_PHONE}).encode(), timeout=10):  # noqa: S310
            self._tell(
                f"a business system asks port {self._channels} to call {masked_phone(DIAL_PHONE)}"
            )

    def _take_platform_down(self) -> None:
        self._tell("the platform goes down")
        self._parts.stop("platform")

    def _bring_platform_back(self) -> None:
        self._start_platform(urlsplit(self._url).netloc)
        self._tell("the platform is back")

    def _start_platform(self, listen: str) -> None:
        self._parts.log("platform").unlink(missing_ok=True)
        self._parts.start(
            "platform",
            *("simulate", "platform", "--listen", listen, "--directory", self.folder / "platform"),
        )
        self._url = self._parts.first_line("platform", READY_WITHIN).removeprefix("listening on ")

    @property
    def _origin(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc}"

    def _until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Watch and tell until a state is reached; False: it was not in time."""
        deadline = time.monotonic() + seconds
        while True:
            self._parts.watch()
            self._look()
            if reached():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(min(TURN, max(0.0, deadline - time.monotonic())))

    def _watch_until(self, moment: float) -> None:
        self._until(lambda: False, max(0.0, moment - time.monotonic()))

    def _look(self) -> None:
        for name, follower in self._journals.items():
            for line in follower.lines():
                self._lines[name].append(line)
                sentence = self._story.tell(line)
                if sentence:
                    self._tell(sentence)

    def _settled(self) -> bool:
        made = len(self._events("board", "call")) + len(self._lines["recorder"])
        held = len(self._lines["platform"])
        # The digests are worth taking only once everything is there.
        return self._idle() and held >= made and self._account().agrees

    def _idle(self) -> bool:
        last = {
            line["channel"]: line["state"]
            for line in self._lines["board"]
            if line["event"] == "state"
        }
        return set(last.values()) <= {1}

    def _account(self) -> Account:
        held = [
            HeldFile(file, digest(self.folder / "platform" / file.stored))
            for file in (BookedFile(**_values(line)) for line in self._events("platform", "file"))
        ]
        return settle(
            [read_call(line) for line in self._events("board", "call")],
            made_recordings(self._recordings, self._lines["recorder"]),
            [BookedRecord(**_values(line)) for line in self._events("platform", "record")],
            held,
        )

    def _other_problems(self) -> list[str]:
        problems = []
        dialled = any(line["phone"] == DIAL_PHONE for line in self._events("board", "call"))
        if find_driver(self._driver).can_dial:
            if not dialled:
                problems.append("the call that the business system asked for was not dialled")
        elif self._dial_figures().get("failed") != 1:
            problems.append("a call was asked of a board that cannot dial, and did not fail")
        log = self._parts.log("platform").read_text("utf-8", "replace").splitlines()
        problems += [line for line in log if line.startswith("violation:")]
        return problems

    def _dial_figures(self) -> dict[str, int]:
        try:
            status = json.loads((self.folder / "status.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        figures: dict[str, int] = status["dial"]
        return figures

    def _events(self, journal: str, event: str) -> list[dict[str, Any]]:
        return [line for line in self._lines[journal] if line["event"] == event]

    def _tell(self, sentence: str) -> None:
        say(f"{time.monotonic() - self._began:6.1f} s  {sentence}")

    def _configuration(self) -> dict[str, Any]:
        state = self.folder / "state"
        state.mkdir()
        return {
            "identity": {"satellite": SATELLITE},
            "platform": {"url": self._url, "connect_timeout": 2, "read_timeout": 10},
            "boards": [
                {
                    "serial": 1,
                    "driver": self._driver,
                    "port": str(self.folder / "ttyRJ11"),
                    "channels": self._channels,
                    "options": OPTIONS.get(self._driver, {}),
                }
            ],
            "recordings": {
                "directory": str(self._recordings),
                "settle": 1,
                "attach_window": 4,
            },
            "reports": {"interval": 5},
            "polls": {"messages": 2, "calls": 1},
            "retry": {"first": 1, "longest": 4},
            "state_directory": str(state),
            "status_file": str(self.folder / "status.json"),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 only where every call and every byte agrees."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other calls")
    parser.add_argument(
        "--driver", choices=MODELS, default="native", help="whose board (default native)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args(arguments)
    seconds = min(max(options.seconds, SHORTEST), LONGEST)
    if seconds != options.seconds:
        say(f"the demo takes {SHORTEST} to {LONGEST} seconds; it takes {seconds:g}")
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="smarttel-demo-"))
    try:
        well = _run(folder, seconds, options.seed, options.driver)
    except KeyboardInterrupt:
        say("\nstopped; all processes have ended")
        shutil.rmtree(folder, ignore_errors=True)
        return INTERRUPTED
    if well and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"logs, recordings and the platform's files: {folder}")
    return 0 if well else 1


def _run(folder: Path, seconds: float, seed: int, driver: str) -> bool:
    try:
        account, problems = Demo(folder, seconds, seed, driver).run()
    except (PartFailed, OSError) as failure:
        say(f"The demo failed: {failure}")
        return False
    say("\nrecordings, by SHA-256 at the gateway and at the platform:")
    for line in account.compared:
        say(f"  {line}")
    say(account.table())
    problems = account.differences + problems
    for problem in problems:
        say(f"  {problem}")
    if not problems and account.agrees:
        say("All agree: nothing lost, nothing doubled, nothing altered.")
        return True
    say("They do not agree.")
    return False


def _values(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "event"}


if __name__ == "__main__":
    sys.exit(main())
