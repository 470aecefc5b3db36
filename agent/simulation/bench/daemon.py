"""The agent as a process under measure: what it used of the processor, memory and disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

KIBIBYTE = 1024
PATIENCE = 60.0
"""Seconds for what takes a few on a quiet machine."""
STOPS_WITHIN = 20.0
"""Seconds after SIGTERM before the bench gives up on a daemon that promised five."""
TICKS = os.sysconf("SC_CLK_TCK")
"""Of a second, in which /proc counts."""
LOOK_AGAIN = 0.02
"""Seconds between looks at what no event tells of, such as another process's file."""


class Use(Struct, frozen=True):
    """What a process has used since its begin."""

    processor: float
    """Seconds of user and system time."""
    kernel: float
    """Of these, system time; counted in hundredths of a second."""
    peak: int
    """Bytes: the most that was resident (VmHWM)."""
    resident: int
    """Bytes, now."""
    wakeups: int
    """Times that one of its threads went to sleep: voluntary context switches."""


class Daemon:
    """One `smarttel-agent run`, told READY=1 as systemd is told."""

    def __init__(self, process: subprocess.Popen[bytes], ready_after: float, folder: Path) -> None:
        self._process = process
        self.ready_after = ready_after
        """Seconds from the fork to READY=1."""
        self._folder = folder

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def status(self) -> dict[str, Any]:
        """The status file; empty where there is none yet."""
        try:
            told: dict[str, Any] = json.loads(_status_file(self._folder).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return told if told.get("pid") == self.pid else {}

    def use(self) -> Use:
        """Read what it has used."""
        told = _proc_status(Path(f"/proc/{self.pid}/status"))
        tasks = Path(f"/proc/{self.pid}/task").glob("*/status")
        wakeups = sum(_proc_status(task)["voluntary_ctxt_switches"] for task in tasks)
        return Use(
            processor=time.clock_gettime(_processor_clock(self.pid)),
            kernel=_kernel_time(Path(f"/proc/{self.pid}/stat")),
            peak=told["VmHWM"] * KIBIBYTE,
            resident=told["VmRSS"] * KIBIBYTE,
            wakeups=wakeups,
        )

    def reload(self, settings: Mapping[str, Any]) -> None:
        """Give it other settings; it reads them while this returns."""
        _configure(self._folder, settings)
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it as systemd does; SIGKILL if it does not end by itself."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def daemon(
    folder: Path, settings: Mapping[str, Any], wrapped_in: tuple[str, ...] = ()
) -> Iterator[Daemon]:
    """Run the agent with `settings`; it keeps state, status and log in `folder`.

    `wrapped_in`: words of a command that runs it, such as a tracer's.
    """
    config = _configure(folder, settings)
    command = [*wrapped_in, sys.executable, "-m", "agent", "run", "--config", str(config)]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        (folder / "log").open("ab") as log,
    ):
        address = folder / "notify"
        address.unlink(missing_ok=True)
        systemd.bind(str(address))
        systemd.settimeout(PATIENCE)
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(address)}
        )
        try:
            while b"READY=1" not in systemd.recv(4096):
                pass
            running = Daemon(process, time.monotonic() - began, folder)
        except BaseException:
            process.kill()
            process.wait()
            raise
    try:
        yield running
    finally:
        running.stop()


def wait_until(
    predicate: Callable[[], bool],
    what: str,
    seconds: float = PATIENCE,
    look_again: float = LOOK_AGAIN,
) -> None:
    """Wait for something that no event tells of, looking every `look_again` seconds.

    Raises TimeoutError.
    """
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(look_again)


def _status_file(folder: Path) -> Path:
    return folder / "run" / "status.json"


def _configure(folder: Path, settings: Mapping[str, Any]) -> Path:
    config = folder / "config.yaml"
    own = {"state_directory": str(folder / "state"), "status_file": str(_status_file(folder))}
    config.write_text(yaml.safe_dump({**settings, **own}), "utf-8")
    return config


def _processor_clock(pid: int) -> int:
    """The clock that counts a process's time to the nanosecond, ended threads included; what /proc
    tells counts in hundredths of a second."""
    return ~pid << 3 | 2  # as clock_getcpuclockid(3) makes it: of all threads, as scheduled


def _kernel_time(stat: Path) -> float:
    """The field stime of proc_pid_stat(5); the name before it may hold blanks and brackets."""
    return int(stat.read_text("ascii", "replace").rpartition(")")[2].split()[12]) / TICKS


def _proc_status(path: Path) -> dict[str, int]:
    """Numbers of a /proc status file; a thread that has just ended counts nothing."""
    found = {"VmHWM": 0, "VmRSS": 0, "voluntary_ctxt_switches": 0}
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0])
    return found
