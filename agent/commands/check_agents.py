"""The agent's own part of `smarttel-agent check`: does one run, and is it the one that should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from agent.commands.findings import Device, Finding
from agent.language import said
from agent.text import printable

UNIT = "smarttel-agent.service"
MOST_COMMAND = 4096
"""Bytes read of a process's command line."""


class Places(Struct, frozen=True):
    """Where the system tells of processes and services; tests hand in folders of their own."""

    processes: Path = Path("/proc")
    systemd: Path = Path("/run/systemd/system")
    units: tuple[Path, ...] = (
        Path("/etc/systemd/system"),
        Path("/usr/lib/systemd/system"),
        Path("/lib/systemd/system"),
    )


SYSTEM_PLACES = Places()


def check_daemon(device: Device, places: Places = SYSTEM_PLACES) -> Iterator[Finding]:
    """Tell whether an agent runs, and whether it stands in the service's way."""
    if device.daemon is None:
        yield Finding(said("agent: not running on this state directory"))
        return
    if device.pid is not None and _by_hand(device.pid, places):
        yield Finding(
            said(
                "agent: process {pid} ({command}) was started by hand and holds the state"
                " directory, so the service can't start",
                pid=device.pid,
                command=command_line(device.pid, places.processes),
            ),
            said("end it (kill {pid}), then: systemctl restart smarttel-agent", pid=device.pid),
        )
        return
    yield Finding(said("agent: running, {daemon}", daemon=device.daemon))


def command_line(pid: int, processes: Path = SYSTEM_PLACES.processes) -> str:
    """Return a process's command as it was typed; "" where it can't be read."""
    try:
        with (processes / str(pid) / "cmdline").open("rb") as file:
            raw = file.read(MOST_COMMAND)
    except OSError:
        return ""
    return printable(raw.replace(b"\0", b" ").decode("utf-8", "replace").strip())


def is_agent(command: str) -> bool:
    """Tell whether a command line is that of an agent's daemon."""
    words = command.split()
    named = any(Path(word).name == "smarttel-agent" for word in words[:2]) or "-m agent" in command
    return named and "run" in words


def _by_hand(pid: int, places: Places) -> bool:
    """Whether a process is none of the service's, on a system that has the service."""
    installed = any((folder / UNIT).is_file() for folder in places.units)
    if not installed or not places.systemd.is_dir():
        return False
    try:
        groups = (places.processes / str(pid) / "cgroup").read_text("utf-8", "replace")
    except OSError:
        return False
    return UNIT not in groups
