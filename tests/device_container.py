"""A booted container: `systemd-nspawn -b`, commands run in it, rebooted, switched off."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

UNIT = "smarttel-agent.service"
BOOT_WITHIN = 180.0
"""Seconds for systemd to be up, on a busy machine; it takes three."""
OFF_WITHIN = 120.0
COMMAND_WITHIN = 90.0
"""Seconds for one command; installing the package takes the longest, a few."""
TURN = 0.2
"""Seconds between two looks at something that no event tells of."""


class Failed(Exception):
    """A proof that did not hold; the message says what was expected and what was there."""


def wait_until(predicate: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for something in the container. Raises Failed."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(TURN)


class Container:
    """A machine of its own below `root`; what `binds` names is seen in it."""

    def __init__(self, root: Path, binds: Sequence[str], console: Path) -> None:
        self.root = root
        self._binds = binds
        self._console = console
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Boot it and wait until systemd is up."""
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                [
                    *("systemd-nspawn", "-q", "-b", "--register=no", "--keep-unit"),
                    *("--console=pipe", "-D", str(self.root)),
                    *(f"--bind={bind}" for bind in self._binds),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        wait_until(self._found, "the container's first process", BOOT_WITHIN)
        wait_until(self._is_up, "the container has booted", BOOT_WITHIN)

    def reboot(self) -> None:
        """Restart it as `reboot` does: systemd ends all services, then begins anew."""
        self.run("systemctl", "reboot", check=False)
        self._wait_for_end()
        self.boot()

    def power_off(self) -> None:
        """Switch it off, by force if it does not go."""
        if self._process is None:
            return
        if self._process.poll() is None and self._leader:
            self.run("systemctl", "poweroff", check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(OFF_WITHIN)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def run(self, *command: str, check: bool = True, text: str = "") -> str:
        """Run a command in it and return what it said, both ways. Raises Failed."""
        done = self.attempt(*command, text=text)
        if check and done.returncode:
            raise Failed(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def attempt(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in it; its exit status is the caller's matter."""
        try:
            return subprocess.run(
                ["nsenter", "-t", str(self._leader), "-a", "--", *command],
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=COMMAND_WITHIN,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"`{' '.join(command)}` did not end in {COMMAND_WITHIN:g} s") from None

    def show(self, name: str) -> str:
        """Return one property of the agent's unit."""
        return self.run("systemctl", "show", "-P", name, UNIT).strip()

    @property
    def pid(self) -> int:
        """The agent's process, as the container numbers it; 0: none."""
        return int(self.show("MainPID"))

    def status(self) -> dict[str, Any]:
        """The agent's status file; empty while there is none."""
        try:
            told: dict[str, Any] = json.loads(self.run("cat", "/run/smarttel-agent/status.json"))
        except (Failed, ValueError):
            return {}
        return told

    def journal(self, *more: str) -> str:
        """What the unit and systemd said of it, since the container was made."""
        return self.run("journalctl", "--no-pager", "-q", "-o", "cat", "-u", UNIT, *more)

    def _found(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = self._console.read_text("utf-8", "replace").splitlines()[-5:]
            raise Failed("the container ended at once:\n" + "\n".join(said))
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        children = path.read_text("ascii").split()
        self._leader = int(children[0]) if children else 0
        return self._leader > 0

    def _is_up(self) -> bool:
        told = self.attempt("systemctl", "is-system-running").stdout.strip()
        return told in {"running", "degraded"}

    def _wait_for_end(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(OFF_WITHIN)
        except subprocess.TimeoutExpired:
            raise Failed(f"the container did not go down within {OFF_WITHIN:g} s") from None
