"""A whole gateway for tests: the real daemon as a process, on a real pty, files and HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from agent.simulation.board import SimulatedBoard
from agent.simulation.models import OPTIONS
from agent.simulation.platform import SimulatedPlatform
from agent.simulation.sound import write_wav

PATIENCE = 20.0
"""Seconds for what takes a fraction of one on a quiet machine."""
SATELLITE = "02:00:00:00:00:01"


def wait_until(predicate: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something that no event tells of, such as another process's file."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class Box:
    """One gateway's folder, its board and platform, and the daemon that runs on them."""

    def __init__(self, folder: Path, boards: int = 1, driver: str = "native") -> None:
        self.folder = folder
        self.driver = driver
        self.recordings = folder / "recordings"
        self.recordings.mkdir()
        self.platform = SimulatedPlatform(folder / "platform")
        self.boards = [
            SimulatedBoard(folder / f"board{number}", serial=number, driver=driver)
            for number in range(1, boards + 1)
        ]
        self.settings: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    @property
    def board(self) -> SimulatedBoard:
        return self.boards[0]

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def status_file(self) -> Path:
        return self.folder / "run" / "status.json"

    def configure(self, **changes: Any) -> None:
        """Write the configuration, with changes a section deep."""
        settings: dict[str, Any] = {
            "identity": {"satellite": SATELLITE},
            "platform": {"url": self.platform.url, "connect_timeout": 2, "read_timeout": 5},
            "boards": [
                {
                    "serial": number,
                    "driver": self.driver,
                    "port": board.port,
                    "channels": board.channels,
                    "options": OPTIONS.get(self.driver, {}),
                }
                for number, board in enumerate(self.boards, start=1)
            ],
            "recordings": {
                "directory": str(self.recordings),
                "settle": 0.3,
                "attach_window": 1.0,
            },
            "reports": {"interval": 1},
            "polls": {"messages": 0.3, "calls": 0.3},
            "retry": {"first": 0.2, "longest": 1},
            "state_directory": str(self.folder / "state"),
            "status_file": str(self.status_file),
        }
        for name, value in {**self.settings, **changes}.items():
            if isinstance(value, dict):
                settings[name] = {**settings.get(name, {}), **value}
            else:
                settings[name] = value
        self.config.write_text(yaml.safe_dump(settings), "utf-8")

    def start(self, **changes: Any) -> None:
        """Start the daemon and wait until it hears its boards and has its first scan done."""
        self.launch(**changes)
        wait_until(
            lambda: (
                self.status.get("pid") == self.pid
                and all(board["link"] == "up" for board in self.status["boards"])
            ),
            "the daemon hears its boards",
        )

    def launch(self, **changes: Any) -> None:
        """Start the daemon."""
        self.configure(**changes)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent", "run", "--config", str(self.config)],
                stderr=log,
                env={**os.environ, **self.environment},
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def status(self) -> dict[str, Any]:
        """The status file; empty while there is none."""
        try:
            told: dict[str, Any] = json.loads(self.status_file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return told

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")

    def problems(self) -> set[str]:
        return {problem["code"] for problem in self.status.get("problems", [])}

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """End the daemon as systemd does; return its exit status."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Cut the daemon off as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def record(
        self, channel: int, direction: str, phone: str, seconds: float = 1.0, ago: float = 1.0
    ) -> bytes:
        """Leave a finished recording that began `ago` seconds ago; return its bytes."""
        began = time.strftime("%Y%m%d-%H%M%S", time.localtime(time.time() - ago))
        name = f"{began}_{channel}_{direction}_{phone}.wav"
        return write_wav(self.recordings / name, seconds, seed=name)

    def wait_for(self, predicate: Callable[[], bool], what: str) -> None:
        """Wait for something at the platform."""
        if not self.platform.wait_for(predicate, PATIENCE):
            raise AssertionError(f"not at the platform in time: {what}\n{self.log}")

    def wait_for_records(self, count: int) -> None:
        self.wait_for(lambda: len(self.platform.records) >= count, f"{count} records")

    def wait_for_files(self, count: int) -> None:
        self.wait_for(lambda: len(self.platform.files) >= count, f"{count} files")

    def wait_for_report(self, predicate: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a report whose status object fits; return that object."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [r["status"] for r in self.platform.reports if predicate(r["status"])]
            return bool(found)

        self.wait_for(look, "a report")
        return found[-1]

    def wait_for_state(self, channel: int, name: str) -> None:
        """Wait until the daemon has heard a port's state: the next report tells."""
        states = {"idle": "1", "in call": "2", "ringing": "3", "answered": "4", "fault": "5"}

        def fits(status: dict[str, Any]) -> bool:
            return bool(status["channels"][channel - 1]["state"] == states[name])

        self.wait_for(
            lambda: bool(self.platform.reports) and fits(self.platform.reports[-1]["status"]),
            f"port {channel} {name}",
        )


@contextmanager
def box(folder: Path, boards: int = 1, driver: str = "native") -> Iterator[Box]:
    """A gateway's surroundings, running; the daemon is started by the test."""
    made = Box(folder, boards, driver)
    with made.platform:
        for board in made.boards:
            board.start()
        try:
            yield made
        finally:
            if made.process is not None:
                made.process.kill()
                made.process.wait()
            for board in made.boards:
                board.stop()
