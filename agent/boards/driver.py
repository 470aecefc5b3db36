"""The driver contract: bytes in, events out, no input or output of its own.

A driver is a class found through the entry-point group `smarttel_agent.drivers`. The link
(`agent.boards.link`) owns the port and calls the driver from one thread only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import ClassVar

from agent.boards.events import Event

GROUP = "smarttel_agent.drivers"


class UnknownDriver(LookupError):
    """No installed package offers a driver of this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"no driver {name!r} is installed; there are: {', '.join(known) or 'none'}"
        )


class DialRefused(Exception):
    """The board cannot or will not dial; the message says why, in words for a technician."""


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """What a driver is told about its board."""

    serial: int
    """Number of the box."""
    channels: int
    """Number of RJ11 ports."""


class Driver(ABC):
    """Base of all drivers. No method may block, and `feed` raises nothing, whatever the bytes."""

    name: ClassVar[str]
    silence_limit: ClassVar[float | None] = None
    """Seconds without a good frame after which the link is down; None: this board may be silent."""
    can_dial: ClassVar[bool] = False

    def __init__(self, options: BoardOptions, monotonic: Callable[[], float]) -> None:
        self.options = options
        self.monotonic = monotonic
        self.frames = 0
        """Good frames so far."""
        self.bad_frames = 0
        """Damaged frames and stray bytes between frames so far."""

    @property
    def in_step(self) -> bool:
        """False while lines are known to be missing: the board lives, but a change may be unheard.

        Only a driver whose wire tells missing lines (by numbering them) needs to say so.
        """
        return True

    @abstractmethod
    def opened(self) -> None:
        """The port was opened (anew): forget what was half read, and ask for every port's state."""

    @abstractmethod
    def feed(self, data: bytes) -> list[Event]:
        """Take bytes as they came, in any pieces; return what they say.

        Called with b"" at times, so that what is due by the clock (an order without answer) comes
        out as events too.
        """

    @abstractmethod
    def poll(self) -> bytes:
        """Return the bytes to send now, b"" for none; called after each `feed`, and when due."""

    def due(self) -> float | None:
        """Monotonic time at which `feed(b"")` and `poll` want to be called next; None: no hurry."""
        return None

    def dial(self, channel: int, phone: str) -> bytes:
        """Return the bytes that make port `channel` dial `phone`; a `DialAnswer` follows by `feed`.

        Raises DialRefused where the board cannot dial at all or not this number.
        """
        raise DialRefused(f"a {self.name} board cannot dial")


def find_driver(name: str) -> type[Driver]:
    """Find a driver class by the name in the configuration. Raises UnknownDriver."""
    found = entry_points(group=GROUP)
    for entry in found:
        if entry.name == name:
            loaded: type[Driver] = entry.load()
            return loaded
    raise UnknownDriver(name, sorted(entry.name for entry in found))
