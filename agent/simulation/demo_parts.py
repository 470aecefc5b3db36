"""The processes of the demo and the storm: started, watched, ended, each with a log of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from agent.simulation.command import signals_held

STOP_WITHIN = 10.0
"""Seconds that a process gets before it is killed; the daemon promises 5."""
LAST_LINES = 15


class PartFailed(Exception):
    """A process ended by itself, or never began; the message says which and what it said last."""


class Parts:
    """Processes by name. Their output goes to `FOLDER/NAME.log`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str | Path) -> None:
        """Start `python -m agent ARGUMENTS`."""
        log: BinaryIO
        with self.log(name).open("ab") as log:
            # A session of its own: Ctrl-C reaches the demo alone, which then stops all in order.
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-m", "agent", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def stop(self, name: str) -> int | None:
        """Send SIGTERM, wait; return the exit status, None where it had to be killed."""
        process = self._running.pop(name)
        process.terminate()
        try:
            return process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def kill(self, name: str) -> None:
        """Send SIGKILL, as a power cut would; raise PartFailed where it had ended before."""
        self.watch()
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop_all(self) -> None:
        """Stop what runs, the last one first."""
        # A second Ctrl-C must not leave half of them running; it counts afterwards.
        with signals_held():
            for name in reversed(list(self._running)):
                self.stop(name)

    def watch(self) -> None:
        """Raise PartFailed where a process has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise PartFailed(
                    f"the {name} ended by itself with status {process.returncode}; it said last:\n"
                    + self.last_lines(name)
                )

    def first_line(self, name: str, seconds: float) -> str:
        """Wait for a process's first line and return it. Raises PartFailed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            text = self.log(name).read_text("utf-8", "replace")
            if "\n" in text:
                return text.partition("\n")[0]
            self.watch()
            time.sleep(0.05)
        raise PartFailed(f"the {name} said nothing for {seconds:.0f} seconds")

    def log(self, name: str) -> Path:
        """Return where a process's output is."""
        return self._folder / f"{name}.log"

    def last_lines(self, name: str) -> str:
        """Return the end of a process's output."""
        text = self.log(name).read_text("utf-8", "replace")
        return "\n".join(f"    {line}" for line in text.splitlines()[-LAST_LINES:])
