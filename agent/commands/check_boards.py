"""The boards' part of `smarttel-agent check`: is the port there, free, and does the board speak."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import serial
from serial.tools import list_ports

from agent.boards.driver import BoardOptions, Driver, baudrate, find_driver
from agent.boards.events import BoardHello
from agent.commands.findings import Device, Finding
from agent.config_text import user_name
from agent.settings import Board
from agent.text import printable

LISTEN = 6.0
"""Seconds a board may take to say something; the native board's beat comes every 5."""
READ_TIMEOUT = 0.2
"""Seconds of one read at most; less where the driver has something to send before."""
READ_SHORTEST = 0.02
"""Seconds of one read at least, so that a driver that is always due makes nothing spin."""
WRITE_TIMEOUT = 2.0
"""Seconds; a port that takes nothing for so long is stuck."""
AFTER_FIRST_FRAME = 3.0
"""Seconds that are left for a board to be set up and to introduce itself once it speaks."""
MOST_PORTS_NAMED = 8
"""Other ports that a finding names."""

_PSEUDO_TERMINALS = Path("/dev/pts")
"""Whoever makes a pseudo-terminal may hold the end that is our port too, and rightly so."""


def check_boards(device: Device) -> Iterator[Finding]:
    """Look at each configured board."""
    for board in device.settings.boards:
        # The boxes of a pool are looked at one by one.
        for each in board.members().values() or (board,):
            yield from _check_board(each, device)


def _check_board(board: Board, device: Device) -> Iterator[Finding]:
    name = f"board {board.serial} on {board.port}"
    if "://" not in board.port:
        fault = _device_fault(Path(board.port), name)
        if fault is not None:
            yield fault
            return
    if device.daemon is not None:
        yield Finding(f"{name}: held by the running agent ({device.daemon}), as it should be")
        return
    holder = "" if "://" in board.port else _holder(Path(board.port))
    if holder:
        yield Finding(f"{name}: held by {holder}", "end that program; the agent needs the port")
        return
    try:
        heard = _listen(board, device.clock.monotonic)
    except (serial.SerialException, OSError, ValueError) as error:
        yield Finding(
            f"{name}: cannot be used: {error}",
            "see that no other program holds it, that its address is right and its adapter works",
        )
        return
    yield from _heard_findings(board, heard, name, device)
    yield from _told_findings(heard, name)


def _device_fault(path: Path, name: str) -> Finding | None:
    try:
        status = path.stat()
    except OSError as error:
        present = sorted(each.device for each in list_ports.comports())[:MOST_PORTS_NAMED]
        there = f"there are: {', '.join(present)}" if present else "no serial port is there at all"
        return Finding(
            f"{name}: {error.strerror}", f"plug the adapter in or correct the board's port; {there}"
        )
    if not stat.S_ISCHR(status.st_mode):
        return Finding(f"{name}: is not a serial device", "correct the board's port")
    if not os.access(path, os.R_OK | os.W_OK):
        group = _group(status.st_gid)
        return Finding(
            f"{name}: user {user_name()} may not read and write it",
            f"add the user to the group {group} (usermod -aG {group} {user_name()}), then log in"
            " anew",
        )
    return None


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _holder(path: Path) -> str:
    """Name another process that has the device open, where /proc shows it; "" for none."""
    target = path.resolve()
    if target.is_relative_to(_PSEUDO_TERMINALS):
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            held = any(each.readlink() == target for each in (process / "fd").iterdir())
            if held:
                command = (process / "comm").read_text("utf-8", "replace").strip()
                return f"{printable(command)} (pid {process.name})"
        except OSError:
            continue  # ended in between, or another user's
    return ""


@dataclass(frozen=True, slots=True)
class _Heard:
    frames: int
    bad_frames: int
    hello: BoardHello | None
    may_be_silent: bool
    findings: tuple[str, ...]
    """The driver's own words."""


def _listen(board: Board, monotonic: Callable[[], float]) -> _Heard:
    options = BoardOptions(board.serial, len(board.numbers), board.options)
    driver = find_driver(board.driver)(options, monotonic)
    port: Any = serial.serial_for_url(
        board.port,
        do_not_open=True,
        baudrate=baudrate(board),
        timeout=READ_TIMEOUT,
        write_timeout=WRITE_TIMEOUT,
        exclusive=True,
    )
    port.open()
    try:
        hello = _await_hello(port, driver, monotonic)
    finally:
        port.close()
    return _Heard(
        driver.frames,
        driver.bad_frames,
        hello,
        driver.silence_limit is None,
        tuple(driver.findings()),
    )


def _await_hello(
    port: serial.Serial, driver: Driver, monotonic: Callable[[], float]
) -> BoardHello | None:
    """Let the driver ask and listen, until the board introduced itself or had its time."""
    driver.opened()
    end = monotonic() + LISTEN
    spoke = False
    while monotonic() < end:
        asked = driver.poll()
        if asked:
            port.write(asked)
        due = driver.due()
        wait = READ_TIMEOUT if due is None else min(READ_TIMEOUT, due - monotonic())
        port.timeout = max(READ_SHORTEST, wait)
        for event in driver.feed(port.read(max(1, port.in_waiting))):
            if isinstance(event, BoardHello):
                return event
        if driver.frames and not spoke:
            spoke = True
            end = min(end, monotonic() + AFTER_FIRST_FRAME)
    return None


def _told_findings(heard: _Heard, name: str) -> Iterator[Finding]:
    """What the driver says of its board; what is to be done stands behind an arrow."""
    for sentence in heard.findings:
        text, _, advice = sentence.partition(" → ")
        yield Finding(f"{name}: {text}", advice)


def _heard_findings(board: Board, heard: _Heard, name: str, device: Device) -> Iterator[Finding]:
    if not heard.frames:
        yield _silence(board, heard, name)
        return
    if heard.bad_frames > heard.frames:
        yield Finding(
            f"{name}: {heard.bad_frames} damaged frames, {heard.frames} good ones",
            "see that cable and plugs sit firmly, far from power lines, and that ground is joined",
        )
    hello = heard.hello
    if hello is None:
        yield Finding(f"{name}: speaks, {heard.frames} good frames, {heard.bad_frames} bad")
        return
    firmware = printable(hello.firmware)
    yield Finding(f"{name}: answers; {_ports(hello.channels)}, firmware {firmware}")
    if hello.serial != board.serial:
        others = [each for each in device.settings.boards if each.serial == hello.serial]
        advice = (
            f"the ports of boards {board.serial} and {hello.serial} look swapped: swap their port"
            " keys or their cables"
            if others
            else f"set this board's serial to {hello.serial}, if the platform knows the box so"
        )
        yield Finding(f"{name}: says that it is box {hello.serial}", advice)
    if hello.channels != board.channels:
        yield Finding(
            f"{name}: says that it has {hello.channels} ports, configured are {board.channels}",
            f"set the board's channels to {hello.channels}",
        )


def _ports(count: int) -> str:
    return "1 port" if count == 1 else f"{count} ports"


def _silence(board: Board, heard: _Heard, name: str) -> Finding:
    if heard.bad_frames:
        return Finding(
            f"{name}: {heard.bad_frames} damaged frames and no good one within {LISTEN:g} s",
            f"see that the board's speed is {baudrate(board)} and its driver is {board.driver}",
        )
    if heard.may_be_silent:
        return Finding(
            f"{name}: open and silent, as a {board.driver} board may be until a line changes"
        )
    return Finding(
        f"{name}: said nothing within {LISTEN:g} s",
        "see that the box has power, that the cable is in this port, and that receive and transmit"
        " are not swapped",
    )
