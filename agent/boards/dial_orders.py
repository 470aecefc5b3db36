"""Orders to dial between who gives them and the thread of the link: each is answered once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sized

from msgspec import Struct

from agent.boards.driver import DialRefused
from agent.boards.events import DialAnswer

MOST_ORDERS = 32
"""Orders to dial that may wait for the thread, which takes them within a second."""


class DialOrder(Struct, frozen=True):
    """A number to be dialled on a port."""

    channel: int
    phone: str


class DialOrders:
    """Those that wait for the thread, and those that have no answer yet; safe from all threads."""

    def __init__(self, name: str) -> None:
        """`name`: what the board is called in refusals."""
        self._name = name
        self._lock = threading.Lock()
        self._waiting: deque[DialOrder] = deque()
        self.waiting: Sized = self._waiting
        """To be looked at without a lock: who gives an order in wakes the thread after that."""
        self._unanswered: set[int] = set()
        """Ports whose order was taken and has no answer yet."""

    def take(self, channel: int, phone: str) -> None:
        """Take an order in.

        Raises DialRefused where the port's last order has no answer yet, or MOST_ORDERS wait.
        """
        with self._lock:
            if channel in self._unanswered:
                raise DialRefused(f"the last order for port {channel} has no answer yet")
            if len(self._waiting) >= MOST_ORDERS:
                raise DialRefused(f"{MOST_ORDERS} orders wait for {self._name}")
            self._waiting.append(DialOrder(channel, phone))
            self._unanswered.add(channel)

    def next(self) -> DialOrder | None:
        """Give the next one out, to be sent to the board."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def awaited(self, answer: DialAnswer) -> bool:
        """Take an answer off the list; False: that order was answered or given up before."""
        with self._lock:
            awaited = answer.channel in self._unanswered
            self._unanswered.discard(answer.channel)
        return awaited

    def given_up(self) -> list[DialAnswer]:
        """Answer every order: those that never left, and those that the board left open.

        The latter may have been obeyed, so they must not be tried again. Like an answer of the
        board, each of these is still `awaited`.
        """
        with self._lock:
            never_left = {order.channel for order in self._waiting}
            self._waiting.clear()
            return [
                DialAnswer(channel, False, "the link broke before the order left", busy=True)
                if channel in never_left
                else DialAnswer(channel, False, "the link broke before the board answered")
                for channel in sorted(self._unanswered)
            ]
