"""The side of the boards: a link and its thread for each, and the switchboard they talk to.

A pool of one-port boxes has a link for each port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.boards.driver import BoardOptions, DialRefused, Driver, find_driver
from agent.boards.events import DialAnswer, Event
from agent.boards.link import BoardLink, LinkView
from agent.boards.pool import OWN_CHANNEL, pooled, renumbered
from agent.call_writing import Unwritten
from agent.clock import Clock, Stamp, TrustedClock
from agent.ledger import Ledger
from agent.parts import Part
from agent.settings import Board
from agent.switchboard import Switchboard


class Lines:
    """All boards of the gateway."""

    def __init__(
        self,
        boards: Sequence[Board],
        attach_window: float,
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        *,
        on_change: Callable[[], None],
        on_calls: Callable[[], None],
        on_dial_answer: Callable[[int, DialAnswer], None],
        on_link: Callable[[int, Sequence[int], bool], None],
        on_end: Callable[[int], None] = lambda _number: None,
        on_record: Callable[[], None] = lambda: None,
        inherited: Sequence[Unwritten] = (),
    ) -> None:
        """`on_link` is called with a board, the ports that have this link, and whether it is up.

        The others are as the switchboard has them.
        """
        self._clock = clock
        self._on_link = on_link
        self.switchboard = Switchboard(
            {board.serial: board.numbers for board in boards},
            ledger,
            clock,
            time,
            attach_window,
            on_change=on_change,
            on_calls=on_calls,
            on_dial_answer=on_dial_answer,
            on_end=on_end,
            on_record=on_record,
            inherited=inherited,
        )
        self._links: dict[int, BoardLink] = {}
        """Links of whole boards, by the board's number."""
        self._pools: dict[int, dict[int, BoardLink]] = {}
        """Links of pools, by the board's number and the port's."""
        self._listeners = {
            board.serial: f"board {board.serial} cannot dial: its driver is {board.driver}"
            for board in boards
            if not find_driver(board.driver).can_dial
        }
        """Why boards that only listen can't dial, by their number."""
        self.parts: list[Part] = []
        for board in boards:
            self._add(board)
        self._serials = tuple(board.serial for board in boards)

    def views(self) -> tuple[LinkView, ...]:
        """How each board's link is now; a pool's links count as one."""
        return tuple(self._view(serial) for serial in self._serials)

    def dial(self, board: int, channel: int, phone: str) -> None:
        """Order a call. Raises DialRefused, with nothing ordered."""
        if board in self._links:
            self._links[board].dial(channel, phone)
        elif board in self._pools:
            link = self._pools[board].get(channel)
            if link is None:
                raise DialRefused(f"board {board} has no port {channel}")
            link.dial(OWN_CHANNEL, phone)
        else:
            raise DialRefused(f"there is no board {board}")

    def cannot_dial(self, board: int) -> str:
        """Tell why a board never dials, whatever its lines do; "" where it does."""
        return self._listeners.get(board, "")

    def _view(self, serial: int) -> LinkView:
        if serial in self._links:
            return self._links[serial].view()
        return pooled({channel: link.view() for channel, link in self._pools[serial].items()})

    def _add(self, board: Board) -> None:
        members = board.members()
        if not members:
            self._links[board.serial] = self._link(
                board,
                f"board {board.serial}",
                board.numbers,
                self.switchboard.hear,
                self.switchboard.heard,
            )
            return
        self._pools[board.serial] = {
            channel: self._pool_link(member, channel) for channel, member in members.items()
        }

    def _pool_link(self, member: Board, channel: int) -> BoardLink:
        def hear(serial: int, events: Sequence[Event], at: Stamp) -> None:
            self.switchboard.hear(serial, renumbered(events, channel), at)

        def heard(serial: int, at: Stamp) -> None:
            self.switchboard.heard(serial, at, (channel,))

        name = f"port {channel} of board {member.serial}"
        return self._link(member, name, (channel,), hear, heard)

    def _link(
        self,
        board: Board,
        name: str,
        channels: Sequence[int],
        hear: Callable[[int, Sequence[Event], Stamp], None],
        heard: Callable[[int, Stamp], None],
    ) -> BoardLink:
        """Make the link of these ports of a board, and the part that runs it."""
        options = BoardOptions(board.serial, len(channels), board.options)
        driver_class = find_driver(board.driver)

        def make_driver() -> Driver:
            return driver_class(options, self._clock.monotonic)

        def on_link(serial: int, up: bool, at: Stamp) -> None:
            self.switchboard.link(serial, up, at, channels)
            self._on_link(serial, channels, up)

        link = BoardLink(
            board,
            make_driver,
            self._clock,
            hear,
            on_link,
            heard,
            on_alive=lambda seconds: part.beat(seconds),  # noqa: PLW0108 - made below
            name=name,
        )
        part = Part(name, lambda stop, _alive: link.run(stop), self._clock, wake=link.wake)
        self.parts.append(part)
        return link
