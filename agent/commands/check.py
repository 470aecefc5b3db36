"""`smarttel-agent check`: is the configuration right, and is the device as it says."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.commands.check_agents import check_daemon
from agent.commands.check_boards import check_boards
from agent.commands.check_functions import check_functions
from agent.commands.check_platform import check_platform
from agent.commands.check_print import printer
from agent.commands.findings import Device, Finding
from agent.commands.status_file import NoStatus, look
from agent.config import ConfigError, load
from agent.config_text import user_name
from agent.identity import interface, lan_address, satellite
from agent.instance import holder
from agent.language import AUTO, language, marked, said
from agent.recordings import disk
from agent.settings import Settings
from agent.system_words import system_words
from agent.text import printable

EXIT_WELL = 0
EXIT_FINDINGS = 1
EXIT_BAD_CONFIGURATION = 2

MOST_PROBLEM = 2000
"""Characters of a mistake in the configuration: a path, what stood there, what is accepted."""
EARLIEST_PLAUSIBLE = 1_704_067_200.0
"""UNIX seconds of the year 2024: an earlier clock was never set."""

_DISK_ADVICE = {
    disk.DiskStatus.NO_DISK: marked("plug the disk in, or correct recordings.directory"),
    disk.DiskStatus.NOT_MOUNTED: marked(
        "mount it (mount {path}), see that /etc/fstab mounts it at start-up, or correct"
        " recordings.mount_point"
    ),
    disk.DiskStatus.NOT_WRITABLE: marked(
        "give the agent's user write permission; where the file system is read-only, check the disk"
    ),
    disk.DiskStatus.FULL: marked(
        "move files away; what is not delivered is never deleted by the agent"
    ),
}

Check = Callable[[Device], Iterable[Finding]]


def run(path: Path, environment: Mapping[str, str], clock: Clock | None = None) -> int:
    """Print one line a finding; return the exit status."""
    try:
        settings = load(path, environment)
    except ConfigError as error:
        # Before there is a configuration, the language is that of whoever types.
        speaking = language(AUTO, environment)
        for line in error.lines:
            words = printable(speaking.tell(line), MOST_PROBLEM)
            print(f"smarttel-agent: {words}", file=sys.stderr)
        return EXIT_BAD_CONFIGURATION
    speaking = language(settings.language, environment)
    show = printer(speaking, sys.stdout, environment)
    show(Finding(said("configuration: {path} is valid", path=str(path))))
    well = True
    for finding in findings(looked_at(settings, clock or SystemClock()), CHECKS):
        well = well and finding.well
        show(finding)
    return EXIT_WELL if well else EXIT_FINDINGS


def looked_at(settings: Settings, clock: Clock) -> Device:
    """Return what the checks look at, with the daemon that runs on it."""
    found = holder(Path(settings.state_directory))
    if found is None:
        return Device(settings, clock, None)
    seen = None
    with contextlib.suppress(NoStatus):
        seen = look(Path(settings.status_file), clock.wall())
    return Device(settings, clock, str(found), found.pid, seen)


def findings(device: Device, checks: Mapping[str, Check]) -> Iterator[Finding]:
    """Run each check; one that fails itself is a finding."""
    for name, check in checks.items():
        try:
            yield from check(device)
        except Exception as error:  # whatever a driver, a file system or a network comes up with
            yield Finding(
                said(
                    "{name}: could not be looked at: {kind}: {why}",
                    name=name,
                    kind=type(error).__name__,
                    why=str(error),
                ),
                said("report this line to the maker; the other findings stand"),
            )


def check_identity(device: Device) -> Iterator[Finding]:
    """Look for the MAC address that goes with every command."""
    section = device.settings.identity
    mac = satellite(section)
    if mac is None:
        name = interface(section) or section.interface
        yield Finding(
            said("identity: no MAC address at interface {name}", name=name),
            said("connect the network, or set identity.interface or identity.satellite"),
        )
        return
    address = lan_address(section)
    yield Finding(said("identity: {mac}, LAN address {address}", mac=mac, address=address))


def check_clock(device: Device) -> Iterator[Finding]:
    """Tell a clock that was never set."""
    if device.clock.wall() < EARLIEST_PLAUSIBLE:
        yield Finding(
            said("clock: stands before the year 2024"),
            said(
                "set up NTP (timedatectl set-ntp true), or set the clock by hand"
                ' (date -s "2026-01-31 12:00")'
            ),
        )
    else:
        yield Finding(said("clock: plausible"))


def check_recordings(device: Device) -> Iterator[Finding]:
    """Look at the recordings' directory and its disk."""
    section = device.settings.recordings
    directory = Path(section.directory)
    absent = disk.missing_mount(directory, section.mount_point)
    if absent is not None:
        # First: the directory below the mount point may well be there, or rightly be missing.
        yield _disk_fault(absent, directory, section.mount_point)
        return
    fault = _directory_fault(directory, "recordings.directory", os.R_OK | os.X_OK, _MAY_NOT_READ)
    if fault is not None:
        yield fault
        return
    yield Finding(said("recordings.directory: {path} can be read", path=str(directory)))
    seen = disk.look(directory, section.mount_point)
    if seen.status is not disk.DiskStatus.NORMAL:
        yield _disk_fault(seen, directory, section.mount_point)
        return
    free = seen.free_bytes // disk.MEBIBYTE
    text = said("disk: {percent} % used, {free} MiB free", percent=seen.percent, free=free)
    if 100 - seen.percent < section.keep_free_percent:
        yield Finding(
            said(
                "{disk}; less than recordings.keep_free_percent, {wanted} %",
                disk=text,
                wanted=f"{section.keep_free_percent:g}",
            ),
            said("move files away, or use a larger disk; what is not delivered is never deleted"),
        )
    else:
        yield Finding(text)


def check_state_directory(device: Device) -> Iterator[Finding]:
    """Look at where the ledger stands."""
    yield _writable(Path(device.settings.state_directory), "state_directory")


def check_status_file(device: Device) -> Iterator[Finding]:
    """Look at where the status file is written."""
    yield _writable(Path(device.settings.status_file).parent, "status_file")


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


_MAY_NOT_READ = marked("{key}: user {user} may not read in {path}")
_MAY_NOT_WRITE = marked("{key}: user {user} may not write in {path}")


def _disk_fault(seen: disk.Disk, directory: Path, mount_point: str | None) -> Finding:
    advice = _DISK_ADVICE[seen.status]
    return Finding(
        said("disk: {why}", why=seen.reason), said(advice, path=mount_point or str(directory))
    )


def _writable(directory: Path, key: str) -> Finding:
    fault = _directory_fault(directory, key, os.W_OK | os.X_OK, _MAY_NOT_WRITE)
    return fault or Finding(said("{key}: {path} can be written", key=key, path=str(directory)))


def _directory_fault(directory: Path, key: str, mode: int, refused: str) -> Finding | None:
    path = str(directory)
    try:
        is_directory = stat.S_ISDIR(directory.stat().st_mode)
    except OSError as error:
        return Finding(
            said("{key}: {path}: {why}", key=key, path=path, why=system_words(error)),
            said(
                "start the service, whose unit makes its own directories, or create it for the"
                " agent's user: install -d -o smarttel {path}",
                path=path,
            ),
        )
    if not is_directory:
        return Finding(
            said("{key}: {path} is not a directory", key=key, path=path),
            said("correct {key}", key=key),
        )
    if not os.access(directory, mode):
        return Finding(
            said(refused, key=key, user=user_name(), path=path),
            said(
                "run this check as the agent's user (sudo -u smarttel smarttel-agent check); if it"
                " stays, change the owner: chown smarttel {path}",
                path=path,
            ),
        )
    return None
