"""The disk under the recordings: how full, and what is wrong with it (PROTOCOL.md 2.1)."""

from __future__ import annotations

import os
import re
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from agent.language import Said, said
from agent.system_words import system_words

MEBIBYTE = 1024 * 1024
LEAST_FREE = MEBIBYTE
"""Bytes; with less free, a disk is full: a minute of telephone audio does not fit."""
MOST_TABLE_BYTES = MEBIBYTE
"""Bytes read of fstab and of the kernel's list of mounts."""
PIECE = 16 * 1024


class DiskStatus(IntEnum):
    """`diskStatus`. Which fault has which number is open in PROTOCOL.md 2.1; this is the place."""

    NORMAL = 0
    NO_DISK = -1
    NOT_MOUNTED = -2
    NOT_WRITABLE = -3
    FULL = -4


class Disk(Struct, frozen=True):
    """One look at the disk; the figures are 0 where there is no disk to measure."""

    percent: int
    """Used, in percent, as df shows it: of what is used and what is left to us, rounded up."""
    size_bytes: int
    free_bytes: int
    """Left to programs that are not root's."""
    status: DiskStatus
    reason: str
    """What is wrong, in words that can be told in another language; empty where nothing is."""


class _Expected(Struct, frozen=True):
    """A file system that should be there."""

    mount_point: str
    device: str
    """As fstab spells it; empty where fstab does not know it."""


_BY_NAME = MappingProxyType(
    {
        "UUID": "disk/by-uuid",
        "LABEL": "disk/by-label",
        "PARTUUID": "disk/by-partuuid",
        "PARTLABEL": "disk/by-partlabel",
    }
)
"""Where the system keeps devices under the names that fstab may use, below /dev."""


def look(
    directory: Path,
    mount_point: str | None,
    fstab: Path = Path("/etc/fstab"),
    mounts: Path = Path("/proc/self/mountinfo"),
    devices: Path = Path("/dev"),
) -> Disk:
    """Look at the disk that holds `directory`; raises nothing.

    `mount_point` names the mount that must be there; None: the nearest one at or above the
    directory that fstab mounts at start-up (an entry that says `noauto` may rightly be absent).
    """
    absent = missing_mount(directory, mount_point, fstab, mounts, devices)
    if absent is not None:
        return absent
    try:
        directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _fault(DiskStatus.NO_DISK, said("{path} does not exist", path=str(directory)))
    except OSError as error:
        return _fault(DiskStatus.NOT_WRITABLE, _path_error(directory, error))
    return _measured(directory)


def missing_mount(
    directory: Path,
    mount_point: str | None = None,
    fstab: Path = Path("/etc/fstab"),
    mounts: Path = Path("/proc/self/mountinfo"),
    devices: Path = Path("/dev"),
) -> Disk | None:
    """Tell what is wrong where the mount that should hold `directory` is not there; see `look`."""
    expected = _expected(os.path.realpath(directory), mount_point, fstab)
    if expected is None or _is_mounted(expected.mount_point, mounts):
        return None
    return _not_mounted(expected, devices)


def _measured(directory: Path) -> Disk:
    try:
        with os.scandir(directory) as entries:
            next(entries, None)
        found = os.statvfs(directory)
    except OSError as error:
        why = said("{path} can't be read: {why}", path=str(directory), why=system_words(error))
        return _fault(DiskStatus.NOT_WRITABLE, why)
    return measured(found, *_judged(directory, found))


def measured(found: os.statvfs_result, status: DiskStatus, reason: str) -> Disk:
    """Return the figures of a file system, judged as given."""
    used = found.f_blocks - found.f_bfree
    usable = used + found.f_bavail
    return Disk(
        percent=-(-100 * used // usable) if usable else 0,
        size_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        status=status,
        reason=reason,
    )


def room_left(found: os.statvfs_result) -> bool:
    """Tell whether a file fits; some file systems have no blocks or no inodes to count."""
    no_block = found.f_blocks > 0 and found.f_bavail * found.f_frsize < LEAST_FREE
    return not no_block and not (found.f_files > 0 and found.f_favail == 0)


def _judged(directory: Path, found: os.statvfs_result) -> tuple[DiskStatus, str]:
    free = found.f_bavail * found.f_frsize
    path = str(directory)
    faults = (
        (
            bool(found.f_flag & os.ST_RDONLY),
            DiskStatus.NOT_WRITABLE,
            said("the file system of {path} is read-only", path=path),
        ),
        (
            not os.access(directory, os.W_OK | os.X_OK),
            DiskStatus.NOT_WRITABLE,
            said("{path} may not be written to by this user", path=path),
        ),
        # Some file systems have no blocks or no inodes to count: they say 0 of 0.
        (
            found.f_blocks > 0 and free < LEAST_FREE,
            DiskStatus.FULL,
            said("the disk of {path} is full: {number} bytes are left", path=path, number=free),
        ),
        (
            found.f_files > 0 and found.f_favail == 0,
            DiskStatus.FULL,
            said("the disk of {path} is full: no inode is left, so no file can be made", path=path),
        ),
    )
    for applies, status, reason in faults:
        if applies:
            return status, reason
    return DiskStatus.NORMAL, ""


def _not_mounted(expected: _Expected, devices: Path) -> Disk:
    device = _device(expected.device, devices)
    if device is not None and not device.exists():
        return _fault(
            DiskStatus.NO_DISK,
            said(
                "no disk for {path}: {device} is not there",
                path=expected.mount_point,
                device=expected.device,
            ),
        )
    why = said("nothing is mounted on {path}", path=expected.mount_point)
    return _fault(DiskStatus.NOT_MOUNTED, why)


def _path_error(path: Path, error: OSError) -> Said:
    return said("{path}: {why}", path=str(path), why=system_words(error))


def _fault(status: DiskStatus, reason: str) -> Disk:
    return Disk(0, 0, 0, status, reason)


def _device(spelt: str, devices: Path) -> Path | None:
    """The device's path; None where it is none (a network share) or can't be told."""
    if spelt.startswith("/dev/"):
        return devices / spelt.removeprefix("/dev/")
    name, _, value = spelt.partition("=")
    folder = _BY_NAME.get(name)
    if folder is None or not (devices / folder).is_dir():
        return None
    return devices / folder / value.strip('"')


def _expected(directory: str, mount_point: str | None, fstab: Path) -> _Expected | None:
    entries = [line.split() for line in _lines(fstab) if not line.lstrip().startswith("#")]
    known = {
        os.path.normpath(_unescaped(entry[1])): entry
        for entry in entries
        if len(entry) >= 4 and entry[1].startswith("/")
    }
    if mount_point is not None:
        point = os.path.realpath(mount_point)
        entry = known.get(point) or known.get(os.path.normpath(mount_point))
        return _Expected(point, _unescaped(entry[0]) if entry else "")
    above = [
        point
        for point, entry in known.items()
        if point != "/" and _is_above(point, directory) and _at_start(entry[3])
    ]
    if not above:
        return None
    nearest = max(above, key=len)
    return _Expected(nearest, _unescaped(known[nearest][0]))


def _is_above(point: str, directory: str) -> bool:
    return directory == point or directory.startswith(point + "/")


def _at_start(options: str) -> bool:
    said = set(options.split(","))
    return "noauto" not in said or "x-systemd.automount" in said


def _is_mounted(point: str, mounts: Path) -> bool:
    lines = _lines(mounts)
    if not lines:
        return os.path.ismount(point)
    for line in lines:
        fields, _, rest = line.partition(" - ")
        # autofs only waits for somebody to look; what it then mounts has a line of its own.
        if _unescaped((fields.split() + [""] * 5)[4]) == point and not rest.startswith("autofs"):
            return True
    return False


def _lines(table: Path) -> list[str]:
    # Looked at every few seconds: without a buffer as large as the largest table.
    content = bytearray()
    try:
        descriptor = os.open(table, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        while len(content) < MOST_TABLE_BYTES and (piece := os.read(descriptor, PIECE)):
            content += piece
    except OSError:
        return []
    finally:
        os.close(descriptor)
    return os.fsdecode(bytes(content)).splitlines()


def _unescaped(text: str) -> str:
    """Both tables write blanks and backslashes of a path as three octal digits."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)
