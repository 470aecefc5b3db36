"""The machine as a support bundle shows it: versions, disks, memory, network, serial devices.

Nothing here raises: what can't be had says why in its place.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from serial.tools import list_ports

from agent import __version__
from agent.clock import synchronised
from agent.config_text import user_name

MEBIBYTE = 1024 * 1024
PACKAGE = "smarttel-agent"
MOST_LISTED = 200
"""Devices, interfaces and mounts that are listed; a box has a dozen."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
_SERIAL_NAMES = ("serial/by-id/*", "smarttel*", "ttyS[0-9]*", "ttyUSB*", "ttyACM*", "ttyAMA*")
"""Where ports have their names, below /dev; the udev rule's are among them."""

Facts = dict[str, Any]


def versions() -> Facts:
    """Versions of all that works together here."""
    return _each(
        {
            "smarttel-agent": lambda: __version__,
            "python": lambda: sys.version.split(" ", 1)[0],
            "python executable": lambda: sys.executable,
            "sqlite": lambda: sqlite3.sqlite_version,
            "kernel": lambda: f"{os.uname().sysname} {os.uname().release}",
            "machine": platform.machine,
            "system": _system,
            "dependencies": _dependencies,
        }
    )


def machine(directories: Mapping[str, Path], daemon: int | None) -> Facts:
    """The machine as it is now. `directories`: by their keys; `daemon`: the agent's process."""
    return _each(
        {
            "time": lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "timezone": lambda: time.strftime("%Z %z"),
            "clock synchronised": synchronised,
            "up for seconds": lambda: round(time.monotonic()),
            "made by user": user_name,
            "processors": psutil.cpu_count,
            "load": lambda: [round(each, 2) for each in psutil.getloadavg()],
            "memory": _memory,
            "directories": lambda: {key: _directory(path) for key, path in directories.items()},
            "agent": lambda: _process(daemon),
            "interfaces": _interfaces,
            "serial devices": _serial_devices,
            "usb serial ports": _usb_ports,
        }
    )


def _each(makers: Mapping[str, Callable[[], object]]) -> Facts:
    facts: Facts = {}
    for name, make in makers.items():
        try:
            facts[name] = make()
        except Exception as error:  # whatever a kernel without /proc or a strange driver does
            facts[name] = f"not to be had: {type(error).__name__}: {error}"
    return facts


def _system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "without a name")


def _dependencies() -> Facts:
    found: Facts = {}
    for line in metadata.requires(PACKAGE) or ():
        name = _REQUIREMENT.match(line)
        if name is not None and "extra ==" not in line:
            try:
                found[name[0]] = metadata.version(name[0])
            except metadata.PackageNotFoundError:
                found[name[0]] = "not installed"
    return found


def _memory() -> Facts:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "total MiB": memory.total // MEBIBYTE,
        "available MiB": memory.available // MEBIBYTE,
        "swap MiB": swap.total // MEBIBYTE,
        "swap used MiB": swap.used // MEBIBYTE,
    }


def _directory(path: Path) -> Facts:
    facts: Facts = {"path": str(path), "as it is": _access(path)}
    place = next(each for each in (path, *path.parents) if each.exists())
    room = os.statvfs(place)
    mounts = [each for each in psutil.disk_partitions(all=True) if place.is_relative_to(each[1])]
    mount = max(mounts, key=lambda each: len(each.mountpoint), default=None)
    return facts | {
        "size MiB": room.f_blocks * room.f_frsize // MEBIBYTE,
        "free MiB": room.f_bavail * room.f_frsize // MEBIBYTE,
        "free files": room.f_favail,
        "mounted at": mount.mountpoint if mount else "not known",
        "kind": f"{mount.fstype} {mount.opts}" if mount else "not known",
    }


def _access(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    return f"{stat.filemode(found.st_mode)} owner {found.st_uid} group {found.st_gid}"


def _process(pid: int | None) -> Facts | str:
    if pid is None:
        return "not running"
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return {
            "pid": pid,
            "state": process.status(),
            "threads": process.num_threads(),
            "resident KiB": process.memory_info().rss // 1024,
            "processor seconds": round(times.user + times.system, 2),
            "running for seconds": round(time.time() - process.create_time()),
        }


def _interfaces() -> Facts:
    states = psutil.net_if_stats()
    named = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6", psutil.AF_LINK: "MAC"}
    facts: Facts = {}
    for name, addresses in sorted(psutil.net_if_addrs().items())[:MOST_LISTED]:
        state = states.get(name)
        facts[name] = {
            "up": state.isup if state else None,
            "megabits": state.speed if state else None,
            "addresses": [
                f"{named.get(each.family, 'other')} {each.address}" for each in addresses
            ],
        }
    return facts


def _serial_devices() -> Facts:
    return {str(path): f"{_access(path)}{_target(path)}" for path in _serial_paths()}


def _serial_paths() -> Iterator[Path]:
    found = [path for pattern in _SERIAL_NAMES for path in sorted(Path("/dev").glob(pattern))]
    yield from found[:MOST_LISTED]


def _target(path: Path) -> str:
    return f" -> {path.resolve()}" if path.is_symlink() else ""


def _usb_ports() -> list[Facts]:
    return [
        {"device": each.device, "description": each.description, "hardware": each.hwid}
        for each in list(list_ports.comports())[:MOST_LISTED]
        if each.vid is not None
    ]
