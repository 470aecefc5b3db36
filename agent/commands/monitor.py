"""`smarttel-agent monitor`: a board's line as it lives, decoded; it listens and sends nothing."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from agent.boards.driver import BoardOptions, Driver, baudrate, find_driver
from agent.boards.events import BoardHello, ChannelState, DialAnswer, Event, LineState, Peer
from agent.boards.pool import renumbered
from agent.boards.port import Port, PortFailed, Wake
from agent.boards.recorded import LineRecorder
from agent.clock import Clock, SystemClock
from agent.instance import holder
from agent.logs import Phones
from agent.settings import Board, Settings
from agent.status import STATE_NAMES
from agent.text import printable

EXIT_DONE = 0
EXIT_REFUSED = 1
"""The port can't be listened to, or the recording not be written."""
EXIT_USAGE = 2

TURN = 0.5
"""Seconds of one wait, after which the driver may have something to say by the clock."""
MOST_BYTES = 512
"""Bytes of one piece that a line shows; the longest good line of any board has about that."""

_LINES = re.compile(rb"[^\r\n]+[\r\n]*|[\r\n]+")
_PEERS = {Peer.UNKNOWN: "", Peer.INCOMING: "incoming", Peer.OUTGOING: "outgoing"}
STYLES = {
    "hello": "cyan",
    "answer": "cyan",
    "raw": "dim",
    "bad": "bold red",
    LineState.NOT_CONNECTED.name: "red",
    LineState.ON_HOOK.name: "green",
    LineState.IN_CALL.name: "bold blue",
    LineState.RINGING.name: "bold yellow",
    LineState.ANSWERED.name: "bold blue",
    LineState.FAULT.name: "bold red",
}
"""Colour of a line, by its kind or the state it tells of."""


class Shown(Struct, frozen=True):
    """One line of the view."""

    style: str
    """A key of STYLES."""
    subject: str
    """What it is about: `port 3`, `board`, `bad`, `raw`."""
    words: str


Print = Callable[[str, Shown], None]
"""Prints a moment and a line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--board", type=int, metavar="N", help="number of the box, where several")
    parser.add_argument(
        "--channel",
        type=int,
        metavar="N",
        help="port, of a board whose ports have lines of their own",
    )
    parser.add_argument("--raw", action="store_true", help="show the bytes as they come, too")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write them down, for simulate board --replay"
    )


def run(arguments: argparse.Namespace, settings: Settings, clock: Clock | None = None) -> int:
    """Listen until Ctrl-C; return the exit status."""
    chosen = _chosen(settings.boards, arguments.board, arguments.channel)
    if isinstance(chosen, str):
        return _complain(chosen, EXIT_USAGE)
    board, channel = chosen
    found = holder(Path(settings.state_directory))
    if found is not None:
        return _complain(
            f"{printable(board.port)} is held by the running agent ({found}), and a serial line has"
            " one listener; stop it first: systemctl stop smarttel-agent",
            EXIT_REFUSED,
        )
    monitor = Monitor(
        board,
        clock or SystemClock(),
        _printer(),
        Phones(settings.log.phones == "full"),
        channel=channel,
        raw=arguments.raw,
    )
    try:
        monitor.listen(arguments.record)
    except KeyboardInterrupt:
        pass  # the proper end of listening
    except PortFailed as error:
        return _complain(str(error), EXIT_REFUSED)
    except BrokenPipeError:
        raise  # who read along has left: that is no fault of the recording
    except OSError as error:
        return _complain(
            f"the recording {printable(str(arguments.record))} cannot be written:"
            f" {error.strerror}; name a new file where there is room",
            EXIT_REFUSED,
        )
    return EXIT_DONE


class Monitor:
    """Listens to one line and shows what it says."""

    def __init__(
        self,
        board: Board,
        clock: Clock,
        show: Print,
        phones: Phones,
        *,
        channel: int | None = None,
        raw: bool = False,
    ) -> None:
        """`channel`: the port as which a pool's box counts; None: it is no pool's."""
        self._board = board
        self._clock = clock
        self._show = show
        self._phones = phones
        self._channel = channel
        self._raw = raw
        self._moment = ""

    def listen(self, record: Path | None) -> None:
        """Listen for ever. Raises PortFailed, and OSError where the recording can't be written."""
        driver = self._driver()
        with ExitStack() as stack:
            wake = Wake()
            stack.callback(wake.close)
            port = stack.enter_context(Port(self._board, wake))
            recorder = stack.enter_context(self._recorder(record)) if record else None
            self._say(Shown("hello", "monitor", f"listens on {printable(self._board.port)}"))
            driver.opened()
            while True:
                data = port.read(TURN)
                if recorder is not None and data:
                    recorder.take(data, self._clock.monotonic())
                self.hear(driver, data)

    def hear(self, driver: Driver, data: bytes) -> None:
        """Show one read."""
        self._moment = _moment(self._clock.wall())
        if self._raw and data:
            self._say(Shown("raw", "raw", bytes_words(data)))
        # Line by line, so that what is bad is shown where it stood among the good.
        for piece in _LINES.findall(data) or [b""]:
            events = driver.feed(piece)
            for event in events if self._channel is None else renumbered(events, self._channel):
                self._say(shown_event(event, self._phones))

    def _driver(self) -> Driver:
        options = BoardOptions(self._board.serial, len(self._board.numbers), self._board.options)
        driver = find_driver(self._board.driver)(options, self._clock.monotonic)
        driver.on_bad = lambda piece, reason: self._say(
            Shown("bad", "bad", f"{reason}: {bytes_words(piece)}")
        )
        return driver

    def _recorder(self, path: Path) -> LineRecorder:
        board = self._board
        now = self._clock.stamp()
        speed = baudrate(board)
        return LineRecorder(path, board.driver, board.port, speed, now.wall, now.monotonic)

    def _say(self, line: Shown) -> None:
        self._show(self._moment or _moment(self._clock.wall()), line)


def shown_event(event: Event, phones: Phones) -> Shown:
    """Put an event into words."""
    if isinstance(event, BoardHello):
        words = (
            f"says it is box {event.serial}, ports: {event.channels}, {printable(event.firmware)}"
        )
        return Shown("hello", "board", words)
    if isinstance(event, DialAnswer):
        words = "dials" if event.accepted else f"does not dial: {printable(event.reason)}"
        return Shown("answer", f"port {event.channel}", words)
    return Shown(event.state.name, f"port {event.channel}", _state_words(event, phones))


def bytes_words(data: bytes) -> str:
    r"""Write bytes as printable text: `$CH,1*0A0B\r\n`, others as \x.. ."""
    cut = data[:MOST_BYTES]
    shown = repr(cut)[2:-1]
    return f"{shown}… ({len(data)} bytes)" if len(data) > MOST_BYTES else shown


def _state_words(event: ChannelState, phones: Phones) -> str:
    parts = [
        STATE_NAMES[event.state],
        phones.shown(event.phone),
        _PEERS[event.peer],
        "" if not event.timelen else f"for {event.timelen} s",
        "" if not event.ago else f"since {event.ago:.1f} s",
        "(perhaps before)" if event.asked else "",
    ]
    return "  ".join(part for part in parts if part)


def _chosen(
    boards: tuple[Board, ...], serial: int | None, channel: int | None
) -> tuple[Board, int | None] | str:
    """Return the line to listen to and, of a pool, its port; else what is to be said better."""
    numbers = ", ".join(str(board.serial) for board in boards)
    fitting = [board for board in boards if serial in {None, board.serial}]
    if not fitting:
        return f"there is no board {serial}; there are: {numbers}"
    if len(fitting) > 1:
        return f"there are several boards, name one with --board: {numbers}"
    (board,) = fitting
    members = board.members()
    if not members:
        return board, None
    if channel in members:
        return members[channel], channel
    lines = ", ".join(str(number) for number in members)
    return f"board {board.serial} has a line for each port, name one with --channel: {lines}"


def _printer() -> Print:
    if not sys.stdout.isatty():
        return _print_plain
    from rich.console import Console  # noqa: PLC0415 - for a terminal alone
    from rich.text import Text  # noqa: PLC0415

    console = Console(markup=False, highlight=False, emoji=False)

    def print_colours(moment: str, line: Shown) -> None:
        text = Text()
        text.append(f"{moment}  ", "dim")
        text.append(f"{line.subject:<8} ", "bold")
        text.append(line.words, STYLES[line.style])
        console.print(text, soft_wrap=True)

    return print_colours


def _print_plain(moment: str, line: Shown) -> None:
    encoding = sys.stdout.encoding or "ascii"
    text = f"{moment}  {line.subject:<8} {line.words}"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _moment(wall: float) -> str:
    local = time.strftime("%H:%M:%S", time.localtime(wall))
    return f"{local}.{int(wall * 1000) % 1000:03}"


def _complain(words: str, status: int) -> int:
    print(f"smarttel-agent: {words}", file=sys.stderr)
    return status
