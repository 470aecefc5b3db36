"""Numbered orders to a native board: sent, repeated while unanswered, answered once (SERIAL.md 1).

No input or output, and no clock: every call is told the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.boards.events import DialAnswer
from agent.boards.frames import frame

ANSWER_WITHIN = 2.0
"""Seconds without answer after which an order is repeated (SERIAL.md 1)."""
REPEATS = 2
MOST_REFERENCE = 65_535

Kind = Literal["DIAL", "HANG"]

REFUSALS: dict[int, tuple[str, bool]] = {
    1: ("the port is busy", True),
    2: ("the board has no such port", False),
    3: ("there is no line on the port", False),
    4: ("the board takes the number for a bad one", False),
    9: ("the board refused without saying why", False),
}
"""What `$ERR` codes mean: the reason, and whether it is worth trying again (SERIAL.md 1)."""
NO_ANSWER = "the board did not answer"


class _Order(Struct, frozen=True):
    kind: Kind
    channel: int
    line: bytes
    repeat_at: float
    """Monotonic time at which it is sent once more, if that is before it is given up."""
    give_up_at: float


class Orders:
    """The orders that the board has not answered yet: at most one of a kind for each port."""

    def __init__(self, first_reference: int) -> None:
        """`first_reference` is any number; it is brought into 1 … MOST_REFERENCE."""
        self._next = first_reference % MOST_REFERENCE + 1
        self._waiting: dict[int, _Order] = {}
        self.waiting: Mapping[int, object] = self._waiting
        """By number; to be looked at before the rest is called, which is in vain without any."""

    def begin(self, kind: Kind, channel: int, number: str, now: float) -> bytes:
        """Give the order a number of its own and return its line; `number` "" where it has none."""
        reference = self._next
        while reference in self._waiting:
            reference = reference % MOST_REFERENCE + 1
        self._next = reference % MOST_REFERENCE + 1
        line = frame(kind, reference, channel, *([number] if number else []))
        give_up_at = now + ANSWER_WITHIN * (REPEATS + 1)
        self._waiting[reference] = _Order(kind, channel, line, now + ANSWER_WITHIN, give_up_at)
        return line

    def pending(self, kind: Kind, channel: int) -> bytes | None:
        """Return the line of an unanswered order of this kind for this port, if there is one."""
        for order in self._waiting.values():
            if (order.kind, order.channel) == (kind, channel):
                return order.line
        return None

    def accepted(self, reference: int) -> list[DialAnswer]:
        """`$OK`: say so for an order to dial; a late or doubled answer says nothing."""
        order = self._waiting.pop(reference, None)
        return [DialAnswer(order.channel, True)] if order and order.kind == "DIAL" else []

    def refused(self, reference: int, code: int) -> list[DialAnswer]:
        """`$ERR`: the same, with the reason."""
        order = self._waiting.pop(reference, None)
        if order is None or order.kind != "DIAL":
            return []
        reason, busy = REFUSALS.get(code, (f"the board refused with code {code}", False))
        return [DialAnswer(order.channel, False, reason, busy)]

    def expire(self, now: float) -> list[DialAnswer]:
        """Give up what was repeated often enough, or could not be for so long."""
        spent = [number for number, order in self._waiting.items() if order.give_up_at <= now]
        return self._drop(spent, NO_ANSWER)

    def abandon(self, reason: str) -> list[DialAnswer]:
        """Give up everything: the board no longer knows which numbers it obeyed.

        Repeating an order to it might dial twice.
        """
        return self._drop(list(self._waiting), reason)

    def repeats(self, now: float) -> bytes:
        """Return the lines that are to be sent once more now."""
        lines = []
        for number, order in self._waiting.items():
            if order.repeat_at <= now < order.give_up_at:
                lines.append(order.line)
                self._waiting[number] = replace(order, repeat_at=now + ANSWER_WITHIN)
        return b"".join(lines)

    def due(self) -> float | None:
        """Monotonic time of the next repeat or giving up."""
        return min(
            (min(order.repeat_at, order.give_up_at) for order in self._waiting.values()),
            default=None,
        )

    def _drop(self, numbers: list[int], reason: str) -> list[DialAnswer]:
        dropped = [self._waiting.pop(number) for number in numbers]
        return [
            DialAnswer(order.channel, False, reason) for order in dropped if order.kind == "DIAL"
        ]
