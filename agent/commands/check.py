"""`smarttel-agent check`: is the configuration right, and is the device as it says."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.commands.check_boards import check_boards
from agent.commands.check_functions import check_functions
from agent.commands.check_platform import check_platform
from agent.commands.findings import Device, Finding
from agent.config import ConfigError, load
from agent.config_text import user_name
from agent.identity import interface, lan_address, satellite
from agent.instance import holder
from agent.recordings import disk
from agent.text import printable

EXIT_WELL = 0
EXIT_FINDINGS = 1
EXIT_BAD_CONFIGURATION = 2

EARLIEST_PLAUSIBLE = 1_704_067_200.0
"""UNIX seconds of the year 2024: an earlier clock was never set."""

_DISK_ADVICE = {
    disk.DiskStatus.NO_DISK: "plug the disk in, or correct recordings.directory",
    disk.DiskStatus.NOT_MOUNTED: "mount it, or correct recordings.mount_point",
    disk.DiskStatus.NOT_WRITABLE: "give the agent's user write permission; where the file system is"
    " read-only, check the disk",
    disk.DiskStatus.FULL: "move files away; what is not delivered is never deleted by the agent",
}

Check = Callable[[Device], Iterable[Finding]]


def run(path: Path, environment: Mapping[str, str], clock: Clock | None = None) -> int:
    """Print one line a finding; return the exit status."""
    try:
        settings = load(path, environment)
    except ConfigError as error:
        for line in error.lines:
            print(f"smarttel-agent: {printable(line, 2000)}", file=sys.stderr)
        return EXIT_BAD_CONFIGURATION
    print(Finding(f"configuration: {path} is valid").line(), flush=True)
    found = holder(Path(settings.state_directory))
    daemon = None if found is None else str(found)
    device = Device(settings, clock or SystemClock(), daemon)
    well = True
    for finding in findings(device, CHECKS):
        well = well and finding.well
        print(finding.line(), flush=True)
    return EXIT_WELL if well else EXIT_FINDINGS


def findings(device: Device, checks: Mapping[str, Check]) -> Iterator[Finding]:
    """Run each check; one that fails itself is a finding."""
    for name, check in checks.items():
        try:
            yield from check(device)
        except Exception as error:  # whatever a driver, a file system or a network comes up with
            yield Finding(
                f"{name}: could not be looked at: {type(error).__name__}: {error}",
                "report this line to the maker; the other findings stand",
            )


def check_daemon(device: Device) -> Iterator[Finding]:
    """Tell whether an agent runs."""
    if device.daemon is None:
        yield Finding("agent: not running on this state directory")
    else:
        yield Finding(f"agent: running, {device.daemon}")


def check_identity(device: Device) -> Iterator[Finding]:
    """Look for the MAC address that goes with every command."""
    section = device.settings.identity
    mac = satellite(section)
    if mac is None:
        yield Finding(
            f"identity: no MAC address at interface {interface(section) or section.interface}",
            "connect the network, or set identity.interface or identity.satellite",
        )
    else:
        yield Finding(f"identity: {mac}, LAN address {lan_address(section)}")


def check_clock(device: Device) -> Iterator[Finding]:
    """Tell a clock that was never set."""
    if device.clock.wall() < EARLIEST_PLAUSIBLE:
        yield Finding(
            "clock: stands before the year 2024",
            "set up NTP (timedatectl set-ntp true), or set the clock by hand",
        )
    else:
        yield Finding("clock: plausible")


def check_recordings(device: Device) -> Iterator[Finding]:
    """Look at the recordings' directory and its disk."""
    section = device.settings.recordings
    directory = Path(section.directory)
    fault = _directory_fault(directory, "recordings.directory", os.R_OK | os.X_OK, "read")
    if fault is not None:
        yield fault
        return
    yield Finding(f"recordings.directory: {directory} can be read")
    seen = disk.look(directory, section.mount_point)
    text = f"disk: {seen.percent} % used, {seen.free_bytes // disk.MEBIBYTE} MiB free"
    if seen.status is not disk.DiskStatus.NORMAL:
        yield Finding(f"disk: {seen.reason}", _DISK_ADVICE[seen.status])
    elif 100 - seen.percent < section.keep_free_percent:
        yield Finding(
            f"{text}; less than recordings.keep_free_percent, {section.keep_free_percent:g} %",
            "move files away, or use a larger disk; what is not delivered is never deleted",
        )
    else:
        yield Finding(text)


def check_state_directory(device: Device) -> Iterator[Finding]:
    """Look at where the ledger stands."""
    yield _writable(Path(device.settings.state_directory), "state_directory")


def check_status_file(device: Device) -> Iterator[Finding]:
    """Look at where the status file is written."""
    yield _writable(Path(device.settings.status_file).parent, "status_file's directory")


CHECKS: Mapping[str, Check] = {
    "agent": check_daemon,
    "identity": check_identity,
    "clock": check_clock,
    "recordings": check_recordings,
    "state_directory": check_state_directory,
    "status_file": check_status_file,
    "functions": check_functions,
    "boards": check_boards,
    "platform": check_platform,
}
"""In the order in which they are printed: what takes long comes last."""


def _writable(directory: Path, key: str) -> Finding:
    fault = _directory_fault(directory, key, os.W_OK | os.X_OK, "write")
    return fault or Finding(f"{key}: {directory} can be written")


def _directory_fault(directory: Path, key: str, mode: int, verb: str) -> Finding | None:
    try:
        is_directory = stat.S_ISDIR(directory.stat().st_mode)
    except OSError as error:
        return Finding(
            f"{key}: {directory}: {error.strerror}",
            "start the service, whose unit makes its own directories, or create it for the agent's"
            f" user: install -d -o smarttel {directory}",
        )
    if not is_directory:
        return Finding(f"{key}: {directory} is not a directory", f"correct {key}")
    if not os.access(directory, mode):
        return Finding(
            f"{key}: user {user_name()} may not {verb} in {directory}",
            "run this check as the agent's user (sudo -u smarttel smarttel-agent check); if it"
            f" stays, change the owner: chown smarttel {directory}",
        )
    return None
