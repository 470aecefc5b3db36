"""The boards' part of `smarttel-agent check`: is the port there, free, and does the board speak."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import serial
from msgspec import Struct

from agent.boards.driver import BoardOptions, Driver, baudrate, find_driver, parted
from agent.boards.events import BoardHello
from agent.boards.port import port_trouble
from agent.commands.check_ports import device_fault, held, other_ports
from agent.commands.findings import Device, Finding
from agent.language import Said, counted, said
from agent.settings import Board

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


def check_boards(device: Device) -> Iterator[Finding]:
    """Look at each configured board: on its port, or through the eyes of the agent that has it."""
    for board in device.settings.boards:
        if device.daemon is not None:
            yield from _as_the_daemon_sees_it(board, device)
            continue
        # The boxes of a pool are looked at one by one.
        for each in board.members().values() or (board,):
            yield from _check_board(each, device)


def _as_the_daemon_sees_it(board: Board, device: Device) -> Iterator[Finding]:
    """A serial line has one listener: while the agent runs, its own word counts."""
    for path in board.devices.values():
        fault = None if "://" in path else device_fault(Path(path), _name(board.serial, path))
        if fault is not None:
            yield fault
            return
    name = _name(board.serial, board.port or ", ".join(board.devices.values()))
    boards = device.seen.status.boards if device.seen is not None else ()
    up = next((each.link == "up" for each in boards if each.serial == board.serial), None)
    if up is None:
        yield Finding(
            said(
                "{board}: held by the running agent ({daemon}), as it should be",
                board=name,
                daemon=str(device.daemon),
            )
        )
    elif up:
        yield Finding(said("{board}: heard, says the running agent", board=name))
    else:
        yield Finding(
            said(
                "{board}: not heard, says the running agent: {why}",
                board=name,
                why=_why(board, device),
            ),
            said(
                "to have the line listened to: systemctl stop smarttel-agent, smarttel-agent check,"
                " systemctl start smarttel-agent"
            ),
        )


def _why(board: Board, device: Device) -> str:
    for problem in device.seen.status.problems if device.seen is not None else ():
        if problem.code == "board-down" and problem.values.get("serial") == board.serial:
            told = problem.said()
            trouble = told.values.get("trouble") if isinstance(told, Said) else None
            return trouble if isinstance(trouble, str) else told
    return said("nothing is heard")


def _name(serial: int, port: str) -> str:
    return said("board {serial} on {port}", serial=serial, port=port)


def _check_board(board: Board, device: Device) -> Iterator[Finding]:
    name = _name(board.serial, board.port)
    if "://" not in board.port:
        fault = device_fault(Path(board.port), name) or held(Path(board.port), name)
        if fault is not None:
            yield fault
            return
    try:
        heard = _listen(board, device.clock.monotonic)
    except (serial.SerialException, OSError, ValueError) as error:
        yield Finding(
            said("{board}: cannot be used: {why}", board=name, why=port_trouble(error, board.port)),
            said(
                "see that no other program holds it, that its address is right and its adapter"
                " works"
            ),
        )
        return
    yield from _heard_findings(board, heard, name, device)
    yield from _told_findings(heard, name)


class _Heard(Struct, frozen=True):
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
        what, advice = parted(sentence)
        yield Finding(said("{board}: {what}", board=name, what=what), advice)


def _heard_findings(board: Board, heard: _Heard, name: str, device: Device) -> Iterator[Finding]:
    if not heard.frames:
        yield _silence(board, heard, name)
        return
    if heard.bad_frames > heard.frames:
        yield Finding(
            said(
                "{board}: {bad} damaged frames, {good} good ones",
                board=name,
                bad=heard.bad_frames,
                good=heard.frames,
            ),
            said(
                "see that cable and plugs sit firmly, far from power lines, and that ground is"
                " joined"
            ),
        )
    hello = heard.hello
    if hello is None:
        yield Finding(
            said(
                "{board}: speaks, {good} good frames, {bad} bad",
                board=name,
                good=heard.frames,
                bad=heard.bad_frames,
            )
        )
        return
    ports = counted("{number} port", "{number} ports", hello.channels)
    yield Finding(
        said(
            "{board}: answers; {ports}, firmware {firmware}",
            board=name,
            ports=ports,
            firmware=hello.firmware,
        )
    )
    if hello.serial != board.serial:
        yield _another_box(board, hello.serial, name, device)
    if hello.channels != board.channels:
        yield Finding(
            said(
                "{board}: says that it has {ports}, configured are {configured}",
                board=name,
                ports=ports,
                configured=len(board.numbers),
            ),
            said("set the board's channels to {number}", number=hello.channels),
        )


def _another_box(board: Board, found: int, name: str, device: Device) -> Finding:
    text = said("{board}: says that it is box {number}", board=name, number=found)
    if any(each.serial == found for each in device.settings.boards):
        return Finding(
            text,
            said(
                "the ports of boards {one} and {other} look swapped: swap their port keys or their"
                " cables",
                one=board.serial,
                other=found,
            ),
        )
    return Finding(
        text,
        said("set this board's serial to {number}, if the platform knows the box so", number=found),
    )


def _silence(board: Board, heard: _Heard, name: str) -> Finding:
    if heard.bad_frames:
        return Finding(
            said(
                "{board}: {bad} damaged frames and no good one within {seconds} s",
                board=name,
                bad=heard.bad_frames,
                seconds=f"{LISTEN:g}",
            ),
            said(
                "see that the board's speed is {baudrate} and its driver is {driver}, and that this"
                " is its port; {others}",
                baudrate=baudrate(board),
                driver=board.driver,
                others=other_ports(Path(board.port)),
            ),
        )
    if heard.may_be_silent:
        return Finding(
            said(
                "{board}: open and silent, as a {driver} board may be until a line changes",
                board=name,
                driver=board.driver,
            )
        )
    return Finding(
        said("{board}: said nothing within {seconds} s", board=name, seconds=f"{LISTEN:g}"),
        said(
            "see that the box has power, that the cable is in this port, and that receive and"
            " transmit are not swapped; {others}",
            others=other_ports(Path(board.port)),
        ),
    )
