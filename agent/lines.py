"""The side of the boards: a link and its thread for each, and the switchboard they talk to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.boards.driver import BoardOptions, DialRefused, Driver, find_driver
from agent.boards.events import DialAnswer
from agent.boards.link import BoardLink, LinkView
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
        on_link: Callable[[int, bool], None],
    ) -> None:
        self._clock = clock
        self._on_link = on_link
        self.switchboard = Switchboard(
            {board.serial: board.channels for board in boards},
            ledger,
            clock,
            time,
            attach_window,
            on_change=on_change,
            on_calls=on_calls,
            on_dial_answer=on_dial_answer,
        )
        self._links: dict[int, BoardLink] = {}
        self.parts: list[Part] = []
        for board in boards:
            self._add(board)

    def views(self) -> tuple[LinkView, ...]:
        """How each link is now."""
        return tuple(link.view() for link in self._links.values())

    def dial(self, board: int, channel: int, phone: str) -> None:
        """Order a call. Raises DialRefused, with nothing ordered."""
        link = self._links.get(board)
        if link is None:
            raise DialRefused(f"there is no board {board}")
        link.dial(channel, phone)

    def _add(self, board: Board) -> None:
        options = BoardOptions(board.serial, board.channels)
        driver_class = find_driver(board.driver)

        def make_driver() -> Driver:
            return driver_class(options, self._clock.monotonic)

        def on_link(serial: int, up: bool, at: Stamp) -> None:
            self.switchboard.link(serial, up, at)
            self._on_link(serial, up)

        link = BoardLink(
            board,
            make_driver,
            self._clock,
            self.switchboard.hear,
            on_link,
            self.switchboard.heard,
            on_alive=lambda seconds: part.beat(seconds),  # noqa: PLW0108 - made below
        )
        part = Part(
            f"board {board.serial}",
            lambda stop, _alive: link.run(stop),
            self._clock,
            wake=link.wake,
        )
        self._links[board.serial] = link
        self.parts.append(part)
